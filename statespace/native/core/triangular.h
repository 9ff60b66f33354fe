// Substitution with a triangular matrix, and its adjoint.
#ifndef STATESPACE_NATIVE_CORE_TRIANGULAR_H_
#define STATESPACE_NATIVE_CORE_TRIANGULAR_H_

#include <algorithm>
#include <type_traits>
#include <utility>

#include "core/multiply.h"

namespace statespace {
namespace STATESPACE_ISA {

enum class Order { kForward, kBackward };

// What a zero on the diagonal does: divide, or make its row of X zero (a generalised inverse).
enum class ZeroPivot { kDivide, kSkip };

// Reciprocals of the diagonal, to multiply with instead of dividing. `exact` is where 1 / d neither
// over- nor underflows; elsewhere x / d must be computed as such.
template <class V>
struct Reciprocal {
  V diagonal, inverse;
  Mask<V> exact;

  V divide(const V& x) const { return select<V>(exact, x * inverse, x / diagonal); }
};

template <ZeroPivot pivots, class V>
inline Reciprocal<V> reciprocal(const V& d) {
  const V least = splat<V>(Float<ScalarOf<V>>::kSmallestNormal), one = splat<V>(ScalarOf<V>(1));
  const V size = absolute(d);
  const Mask<V> exact = mask_and(size >= least, size <= one / least);
  if (pivots == ZeroPivot::kDivide) return {d, one / d, exact};
  const Mask<V> zero = d == V();
  return {select<V>(zero, one, d), select<V>(zero, V(), one / d), mask_or(exact, zero)};
}

// Solves for C neighbouring columns of X, each a register, with the few rows of one diagonal block.
template <int C, class U, class V, class N>
inline void substitute_columns(N n, const View<V>& t, const Reciprocal<V>* diagonal, bool all_exact,
                               Order order, V* x, int64_t row, int64_t column) {
  for (int step = 0; step < n; ++step) {
    const int i = order == Order::kForward ? step : n - 1 - step;
    U sums[C];
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) sums[c] = load_register<U>(x + i * row + c * column);
    for (int before = 0; before < step; ++before) {
      const int p = order == Order::kForward ? before : n - 1 - before;
      const U factor = spread<U>(-t(i, p));
#pragma GCC unroll 4
      for (int c = 0; c < C; ++c) {
        sums[c] = mul_add(factor, load_register<U>(x + p * row + c * column), sums[c]);
      }
    }
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) {
      if (all_exact) {
        sums[c] = sums[c] * spread<U>(diagonal[i].inverse);
      } else if constexpr (sizeof(U) == sizeof(V)) {
        sums[c] = diagonal[i].divide(sums[c]);
      } else {
        sums[c] = diagonal[i].exact ? sums[c] * spread<U>(diagonal[i].inverse)
                                    : sums[c] / spread<U>(diagonal[i].diagonal);
      }
      store_register(sums[c], x + i * row + c * column);
    }
  }
}

// C += A B or C -= A B for C[m, k], which lies in memory as B[n, k] does: by rows, or by columns.
template <Into into, class V>
inline void add_product(int m, int k, int n, const View<V>& a, const View<V>& b, V* c) {
  if (b.column == 1) {
    multiply<into>(m, k, n, a, b, c, b.row);
  } else {
    const View<V> a_t = {a.data, a.column, a.row}, b_t = {b.data, b.column, b.row};
    multiply<into>(k, m, n, b_t, a_t, c, b.column);
  }
}

template <ZeroPivot pivots, class V>
void substitute_halves(int n, int k, const View<V>& t, Order order, V* x, int64_t row,
                       int64_t column);

// The rows of one diagonal block: at most kLargestBlock.
constexpr int kLargestBlock = 8;

template <ZeroPivot pivots, class V, class N, class K>
inline void substitute_block(N n, K k, const View<V>& t, Order order, V* x, int64_t row,
                             int64_t column) {
  Reciprocal<V> diagonal[kLargestBlock];
  bool all_exact = true;
  for (int i = 0; i < n; ++i) {
    diagonal[i] = reciprocal<pivots>(t(i, i));
    all_exact = all_exact && all_lanes(diagonal[i].exact);
  }
  int j = 0;
  if constexpr (kLanes<V> == 1) {
    using U = Vector<V>;
    constexpr int kWidth = 2 * kLanes<U>;
    for (; j + kWidth <= k; j += kWidth) {
      if (column == 1) {
        substitute_columns<2, U>(n, t, diagonal, all_exact, order, x + j, row, kLanes<U>);
        continue;
      }
      V block[kLargestBlock * kWidth];  // transposed, so that neighbours in a row are neighbours
      V* const corner = x + j * column;
      for (int c = 0; c < kWidth; ++c) {
        for (int i = 0; i < n; ++i) block[i * kWidth + c] = corner[i * row + c * column];
      }
      substitute_columns<2, U>(n, t, diagonal, all_exact, order, block, kWidth, kLanes<U>);
      for (int c = 0; c < kWidth; ++c) {
        for (int i = 0; i < n; ++i) corner[i * row + c * column] = block[i * kWidth + c];
      }
    }
  }
  for (; j + 4 <= k; j += 4) {
    substitute_columns<4, V>(n, t, diagonal, all_exact, order, x + j * column, row, column);
  }
  for (; j < k; ++j) {
    substitute_columns<1, V>(n, t, diagonal, all_exact, order, x + j * column, row, column);
  }
}

// X = T^-1 X for triangular T[n, n], lower with Order::kForward, upper with kBackward. Entry (i, j)
// of X[n, k] is x[i * row + j * column]; one of the two strides is 1.
//
// One half of T after the other; what couples them is a product.
template <ZeroPivot pivots = ZeroPivot::kDivide, class V, class N, class K>
inline void substitute(N n, K k, const View<V>& t, Order order, V* x, int64_t row, int64_t column) {
  if constexpr (std::is_same_v<N, int>) {
    if (n > kLargestBlock) {
      return substitute_halves<pivots>(n, static_cast<int>(k), t, order, x, row, column);
    }
  }
  substitute_block<pivots>(n, k, t, order, x, row, column);
}

template <ZeroPivot pivots, class V>
__attribute__((noinline)) void substitute_halves(int n, int k, const View<V>& t, Order order, V* x,
                                                 int64_t row, int64_t column) {
  const bool forward = order == Order::kForward;
  // The half solved first comes first in memory with kForward, last with kBackward.
  const int half = (n / 2 + kLargestBlock - 1) / kLargestBlock * kLargestBlock;
  const int n1 = forward ? half : n - half, n2 = n - n1;
  const View<V> t11 = t, t22 = {&t(n1, n1), t.row, t.column};
  V* const x2 = x + n1 * row;
  if (forward) {
    substitute<pivots>(n1, k, t11, order, x, row, column);
    const View<V> t21 = {&t(n1, 0), t.row, t.column};
    add_product<Into::kSubtract>(n2, k, n1, t21, View<V>{x, row, column}, x2);
    substitute<pivots>(n2, k, t22, order, x2, row, column);
  } else {
    substitute<pivots>(n2, k, t22, order, x2, row, column);
    const View<V> t12 = {&t(0, n1), t.row, t.column};
    add_product<Into::kSubtract>(n1, k, n2, t12, View<V>{x2, row, column}, x);
    substitute<pivots>(n1, k, t11, order, x, row, column);
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

// The layout of the right sides as the columns of T X = B.
struct Strides {
  int64_t row, column;
};
template <class N>
inline Strides strides(TriangularSides sides, N n, int k) {
  return sides.right ? Strides{1, static_cast<int>(n)} : Strides{k, 1};
}

// x = b solved, for l[n, n] and b, x[n, k], or [k, n] on the right side. NaN throughout in the
// lanes where the diagonal of l has a zero. x may be b.
template <class V, class N>
inline void triangular_solve(N n, int k, TriangularSides sides, const V* l, const V* b, V* x) {
  Mask<V> singular = V() != V();
  for (int i = 0; i < n; ++i) singular = mask_or(singular, l[i * n + i] == V());
  const int64_t count = static_cast<int64_t>(n) * k;
  if (x != b) std::copy(b, b + count, x);
  const View<V> t = sides.transposed() ? transposed(l, n) : rows(l, n);
  const Strides layout = strides(sides, n, k);
  substitute(n, k, t, sides.order(), x, layout.row, layout.column);
  spoil_lanes(count, singular, x);
}

// The triangle of A B' for A[n, k] and B[n, k] with common strides; what is outside becomes zero.
template <Into into, class V, class N>
inline void triangle_of_product(N n, int k, bool lower, const V* a, const V* b, Strides layout,
                                V* c) {
  if (!lower) std::swap(a, b);  // the lower triangle of the transpose
  set_zero(n * n, c);
  const View<V> x = {a, layout.row, layout.column}, y = {b, layout.column, layout.row};
  multiply<into, Part::kLower>(n, n, k, x, y, c);
  if (lower) return;
  for (int i = 0; i < n; ++i) {
    for (int j = 0; j < i; ++j) std::swap(c[i * n + j], c[j * n + i]);
  }
}

// Cotangents of L and B from that of X (derivation beside `adjoint_reference` in
// linalg_ops/triangular.py): b_bar = op(L)^-T x_bar, and l_bar = -b_bar x', or its transpose,
// within the triangle of L.
template <class V, class N>
inline void triangular_solve_adjoint(N n, int k, TriangularSides sides, const V* l, const V* x,
                                     const V* x_bar, V* l_bar, V* b_bar) {
  triangular_solve(n, k, {sides.lower, !sides.adjoint, sides.right}, l, x_bar, b_bar);
  const Mask<V> unused = all_zero(static_cast<int64_t>(n) * k, x_bar);
  // Seen as T Y = C, with Y and C the possibly transposed X and B, T_bar = -C_bar Y'.
  const V* const left = sides.transposed() ? x : b_bar;
  const V* const right = sides.transposed() ? b_bar : x;
  triangle_of_product<Into::kSubtract>(n, k, sides.lower, left, right, strides(sides, n, k), l_bar);
  zero_lanes(static_cast<int64_t>(n) * n, unused, l_bar);
  zero_lanes(static_cast<int64_t>(n) * k, unused, b_bar);
}

// X = T X for triangular T[n, n], lower with Order::kForward, upper with kBackward; the layout of X
// is as for `substitute`, and b holds X before.
template <class V, class N>
inline void multiply_triangle(N n, int k, const View<V>& t, Order order, const V* b, V* x,
                              Strides layout) {
  const bool forward = order == Order::kForward;
  set_zero(static_cast<int64_t>(n) * k, x);
  for (int i = 0; i < n; i += kLargestBlock) {
    const int rows = std::min<int>(kLargestBlock, n - i);
    V* const x_i = x + i * layout.row;
    for (int r = i; r < i + rows; ++r) {
      for (int p = forward ? i : r; p <= (forward ? r : i + rows - 1); ++p) {
        for (int j = 0; j < k; ++j) {
          V& sum = x[r * layout.row + j * layout.column];
          sum = mul_add(t(r, p), b[p * layout.row + j * layout.column], sum);
        }
      }
    }
    // The whole blocks beside the diagonal one.
    const int first = forward ? 0 : i + rows, count = forward ? i : static_cast<int>(n) - i - rows;
    if (count == 0) continue;
    const View<V> t_i = {&t(i, first), t.row, t.column};
    add_product<Into::kAdd>(rows, k, count, t_i,
                            View<V>{b + first * layout.row, layout.row, layout.column}, x_i);
  }
}

// x = op(L) B, or B op(L) on the right side, for l[n, n] and b, x[n, k] ([k, n] on the right).
template <class V, class N>
inline void triangular_multiply(N n, int k, TriangularSides sides, const V* l, const V* b, V* x) {
  const View<V> t = sides.transposed() ? transposed(l, n) : rows(l, n);
  multiply_triangle(n, k, t, sides.order(), b, x, strides(sides, n, k));
}

// Cotangents of L and B from that of X (derivation beside `multiply_adjoint_reference` in
// linalg_ops/triangular.py): b_bar = op(L)' x_bar, and l_bar = x_bar b', or its transpose, within
// the triangle of L.
template <class V, class N>
inline void triangular_multiply_adjoint(N n, int k, TriangularSides sides, const V* l, const V* b,
                                        const V* x_bar, V* l_bar, V* b_bar) {
  triangular_multiply(n, k, {sides.lower, !sides.adjoint, sides.right}, l, x_bar, b_bar);
  const Mask<V> unused = all_zero(static_cast<int64_t>(n) * k, x_bar);
  const V* const left = sides.transposed() ? b : x_bar;
  const V* const right = sides.transposed() ? x_bar : b;
  triangle_of_product<Into::kAdd>(n, k, sides.lower, left, right, strides(sides, n, k), l_bar);
  zero_lanes(static_cast<int64_t>(n) * n, unused, l_bar);
  zero_lanes(static_cast<int64_t>(n) * k, unused, b_bar);
}

}  // namespace STATESPACE_ISA
}  // namespace statespace

#endif  // STATESPACE_NATIVE_CORE_TRIANGULAR_H_
