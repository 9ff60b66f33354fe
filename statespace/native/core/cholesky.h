// Cholesky factorisation A = L L' and its adjoint.
#ifndef STATESPACE_NATIVE_CORE_CHOLESKY_H_
#define STATESPACE_NATIVE_CORE_CHOLESKY_H_

#include <limits>

#include "core/triangular.h"

namespace statespace {
namespace STATESPACE_ISA {

// Factorises a[n, n], lower triangle read, into l[n, n]; the upper triangle of l becomes zero.
//
// Returns the status per lane as a number: 0, or the (1-based) leading minor that is not positive
// and finite; l is NaN throughout in such a lane. l may be a.
template <class V, class N>
inline V cholesky(N n, const V* a, V* l) {
  using T = ScalarOf<V>;
  V info = V();
  for (int j = 0; j < n; ++j) {
    V pivot = a[j * n + j];
    for (int k = 0; k < j; ++k) pivot = neg_mul_add(l[j * n + k], l[j * n + k], pivot);
    const Mask<V> ok = mask_and(pivot > V(), pivot <= splat<V>(std::numeric_limits<T>::max()));
    info = select<V>(mask_and(mask_not(ok), info == V()), splat<V>(T(j + 1)), info);
    const V root = square_root(pivot);
    l[j * n + j] = root;
    for (int i = j + 1; i < n; ++i) {
      V sum = a[i * n + j];
      for (int k = 0; k < j; ++k) sum = neg_mul_add(l[i * n + k], l[j * n + k], sum);
      l[i * n + j] = sum / root;
    }
  }
  const V spoil = select<V>(info != V(), splat<V>(std::numeric_limits<T>::quiet_NaN()), V());
  for (int i = 0; i < n; ++i) {
    for (int j = 0; j <= i; ++j) l[i * n + j] += spoil;
    for (int j = i + 1; j < n; ++j) l[i * n + j] = spoil;
  }
  return info;
}

// Cotangent a_bar[n, n] of A from that of L, l_bar: L^-T copyltu(L' l_bar) L^-1 / 2, where copyltu
// copies the lower triangle to the upper (Seeger et al., arXiv:1710.08717, section 3.1; derivation
// beside `adjoint_reference` in linalg_ops/cholesky.py). A lane with l_bar = 0 gets zero, whatever
// L.
template <class V, class N>
inline void cholesky_adjoint(N n, const V* l, const V* l_bar, V* a_bar) {
  const V half = splat<V>(ScalarOf<V>(0.5));
  const Mask<V> unused = all_zero(n * n, l_bar);
  for (int i = 0; i < n; ++i) {
    for (int j = 0; j <= i; ++j) {
      V sum = V();  // L' is upper triangular
      for (int k = i; k < n; ++k) sum = mul_add(l[k * n + i], l_bar[k * n + j], sum);
      a_bar[i * n + j] = half * sum;
    }
  }
  mirror(n, a_bar);
  substitute(n, n, transposed(l, n), Order::kBackward, a_bar, n, 1);  // X = L^-T X
  substitute(n, n, transposed(l, n), Order::kBackward, a_bar, 1, n);  // X' = L^-T X'
  zero_lanes(n * n, unused, a_bar);
}

}  // namespace STATESPACE_ISA
}  // namespace statespace

#endif  // STATESPACE_NATIVE_CORE_CHOLESKY_H_
