// What follows from a Cholesky factor: (L L')^-1 and its products, and the adjoints.
#ifndef STATESPACE_NATIVE_CORE_CHOLESKY_SOLVE_H_
#define STATESPACE_NATIVE_CORE_CHOLESKY_SOLVE_H_

#include "core/cholesky.h"

namespace statespace {
namespace STATESPACE_ISA {

// X = (L L')^-1.
template <class V, class N>
STATESPACE_INLINE void cholesky_inverse(N n, const V* l, V* x) {
  for (int i = 0; i < n; ++i) {
    for (int j = 0; j < n; ++j) x[i * n + j] = splat<V>(ScalarOf<V>(i == j));
  }
  congruence(n, l, n, x, n);
  mirror(n, x);
  spoil_lanes(n * n, singular(n, l, true), x);
}

// Cotangent of L from that of X = (L L')^-1 (derivation beside `inverse_adjoint_reference` in
// linalg_ops/cholesky.py): -tril(X (x_bar + x_bar') L^-T). `work` holds n * n numbers.
template <class V, class N>
STATESPACE_INLINE void cholesky_inverse_adjoint(N n, const V* l, const V* x, const V* x_bar,
                                                V* l_bar, V* work) {
  for (int i = 0; i < n; ++i) {
    for (int j = 0; j < n; ++j) work[i * n + j] = -(x_bar[i * n + j] + x_bar[j * n + i]);
  }
  const Mask<V> unused = all_zero(n * n, x_bar);
  multiply(n, n, n, rows<V>(x, n), rows<V>(work, n), l_bar);
  substitute(n, n, rows<V>(l, n), Order::kForward, l_bar, 1, n);  // times L^-T, by rows
  zero_above(n, l_bar);
  zero_lanes(n * n, unused, l_bar);
}

// x[n, k] = (L L')^-1 B. x may be b.
template <class V, class N>
STATESPACE_INLINE void cholesky_solve(N n, int k, const V* l, const V* b, V* x) {
  const int64_t count = static_cast<int64_t>(n) * k;
  if (x != b) std::copy(b, b + count, x);
  substitute(n, k, rows<V>(l, n), Order::kForward, x, k, 1);
  substitute(n, k, transposed<V>(l, n), Order::kBackward, x, k, 1);
  spoil_lanes(count, singular(n, l, true), x);
}

// Cotangents of L and B from that of X (derivation beside `solve_adjoint_reference` in
// linalg_ops/cholesky.py): b_bar = (L L')^-1 x_bar, and l_bar = -tril((b_bar X' + X b_bar') L).
// `work` holds n * n numbers.
template <class V, class N>
STATESPACE_INLINE void cholesky_solve_adjoint(N n, int k, const V* l, const V* x, const V* x_bar,
                                              V* l_bar, V* b_bar, V* work) {
  const Mask<V> unused = all_zero(static_cast<int64_t>(n) * k, x_bar);
  cholesky_solve(n, k, l, x_bar, b_bar);
  set_zero(n * n, work);
  multiply<Into::kSubtract, Part::kLower>(n, n, k, rows<V>(b_bar, k), transposed<V>(x, k), work);
  multiply<Into::kSubtract, Part::kLower>(n, n, k, rows<V>(x, k), transposed<V>(b_bar, k), work);
  mirror(n, work);
  triangular_multiply(n, n, {true, false, true}, l, work, l_bar);
  zero_above(n, l_bar);
  zero_lanes(n * n, unused, l_bar);
  zero_lanes(static_cast<int64_t>(n) * k, unused, b_bar);
}

}  // namespace STATESPACE_ISA
}  // namespace statespace

#endif  // STATESPACE_NATIVE_CORE_CHOLESKY_SOLVE_H_
