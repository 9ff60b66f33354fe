// Substitution with a triangular matrix, and its adjoint.
#ifndef STATESPACE_NATIVE_CORE_TRIANGULAR_H_
#define STATESPACE_NATIVE_CORE_TRIANGULAR_H_

#include <limits>

#include "core/matrix.h"

namespace statespace {
namespace STATESPACE_ISA {

enum class Order { kForward, kBackward };

// X = T^-1 X for triangular T[n, n], lower with Order::kForward, upper with kBackward. Entry (i, j)
// of X[n, k] is x[i * row + j * column].
template <class V, class N, class K>
inline void substitute(N n, K k, const View<V>& t, Order order, V* x, int64_t row, int64_t column) {
  for (int step = 0; step < n; ++step) {
    const int i = order == Order::kForward ? step : n - 1 - step;
    V* const x_i = x + i * row;
    for (int before = 0; before < step; ++before) {
      const int p = order == Order::kForward ? before : n - 1 - before;
      const V factor = -t(i, p);
      const V* const x_p = x + p * row;
      for (int j = 0; j < k; ++j) {
        x_i[j * column] = mul_add(factor, x_p[j * column], x_i[j * column]);
      }
    }
    const V diagonal = t(i, i);
    for (int j = 0; j < k; ++j) x_i[j * column] = x_i[j * column] / diagonal;
  }
}

// How op(L) X = B, or X op(L) = B, is solved: as T X = B on X or on its transpose.
struct TriangularSides {
  bool lower;    // L is lower triangular
  bool adjoint;  // op(L) = L'
  bool right;    // L stands on the right; then the system is op(L)' X' = B'

  bool transposed() const { return adjoint != right; }
  Order order() const { return lower != transposed() ? Order::kForward : Order::kBackward; }
};

// x = b solved, for l[n, n] and b, x[n, k], or [k, n] on the right side. NaN throughout in the
// lanes where the diagonal of l has a zero.
template <class V, class N>
inline void triangular_solve(N n, int k, TriangularSides sides, const V* l, const V* b, V* x) {
  using T = ScalarOf<V>;
  V smallest = splat<V>(T(1));
  for (int i = 0; i < n; ++i) {
    smallest = select<V>(l[i * n + i] == V(), V(), smallest);
  }
  const V spoil = select<V>(smallest == V(), splat<V>(std::numeric_limits<T>::quiet_NaN()), V());
  const int64_t count = static_cast<int64_t>(n) * k;
  for (int64_t i = 0; i < count; ++i) x[i] = b[i];
  const View<V> t = sides.transposed() ? transposed(l, n) : rows(l, n);
  const int64_t row = sides.right ? 1 : k, column = sides.right ? static_cast<int>(n) : 1;
  substitute(n, k, t, sides.order(), x, row, column);
  for (int64_t i = 0; i < count; ++i) x[i] = select<V>(spoil == V(), x[i], spoil);
}

// Cotangents of L and B from that of X (derivation beside `adjoint_reference` in
// linalg_ops/triangular.py): b_bar = op(L)^-T x_bar, and l_bar = -b_bar x', or its transpose,
// within the triangle of L.
template <class V, class N>
inline void triangular_solve_adjoint(N n, int k, TriangularSides sides, const V* l, const V* x,
                                     const V* x_bar, V* l_bar, V* b_bar) {
  triangular_solve(n, k, {sides.lower, !sides.adjoint, sides.right}, l, x_bar, b_bar);
  const Mask<V> unused = all_zero(static_cast<int64_t>(n) * k, x_bar);
  const int64_t row = sides.right ? 1 : k, column = sides.right ? static_cast<int>(n) : 1;
  // Seen as T Y = C, with Y and C the possibly transposed X and B, T_bar = -C_bar Y'.
  const V* const left = sides.transposed() ? x : b_bar;
  const V* const right = sides.transposed() ? b_bar : x;
  for (int i = 0; i < n; ++i) {
    for (int j = 0; j < n; ++j) {
      V sum = V();
      if (sides.lower ? j <= i : j >= i) {
        for (int p = 0; p < k; ++p) {
          sum = neg_mul_add(left[i * row + p * column], right[j * row + p * column], sum);
        }
      }
      l_bar[i * n + j] = sum;
    }
  }
  zero_lanes(static_cast<int64_t>(n) * n, unused, l_bar);
  zero_lanes(static_cast<int64_t>(n) * k, unused, b_bar);
}

}  // namespace STATESPACE_ISA
}  // namespace statespace

#endif  // STATESPACE_NATIVE_CORE_TRIANGULAR_H_
