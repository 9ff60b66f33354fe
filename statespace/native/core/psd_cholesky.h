// Cholesky factorisation of a positive semidefinite matrix, without pivoting: where nothing is left
// of a pivot, its column of L is zero.
#ifndef STATESPACE_NATIVE_CORE_PSD_CHOLESKY_H_
#define STATESPACE_NATIVE_CORE_PSD_CHOLESKY_H_

#include "core/cholesky.h"

namespace statespace {
namespace STATESPACE_ISA {

// How far rounding errors of A may have moved what is left of pivot j: eps times the square of
//
//   sqrt(a_jj) + sum_k |w_k| sqrt(a_kk)   with   w = L1^-T l_j,
//
// L1 being the rows of L before row j (Higham 1990, the Schur complement's sensitivity to A). `w`
// holds n numbers.
template <class V>
STATESPACE_INLINE V pivot_tolerance(int n, int j, const V* a, const V* l, V* w) {
  using T = ScalarOf<V>;
  V sum = square_root(absolute(a[j * n + j]));
  std::copy(l + j * n, l + j * n + j, w);
  substitute<ZeroPivot::kSkip>(j, 1, transposed<V>(l, n), Order::kBackward, w, 1, 1);
  for (int k = 0; k < j; ++k) {
    sum = mul_add(absolute(w[k]), square_root(absolute(a[k * n + k])), sum);
  }
  return splat<V>(T(4) * static_cast<T>(n) * std::numeric_limits<T>::epsilon()) * sum * sum;
}

// Factorises a[n, n], lower triangle read, into l[n, n], whose upper triangle becomes zero.
//
// What is left of a semidefinite matrix after j columns has no entry whose square exceeds the
// product of its two diagonal entries. A column for which that holds is divided by the root of its
// pivot, however small: the diagonal stays non-negative. Another column is rounding error and
// becomes zero, provided that its pivot is small enough for that (`pivot_tolerance`), and so are
// pivots within 8 n eps a_jj of zero. Returns the status per lane: 0, or the (1-based) column where
// neither will do, so that A is not positive semidefinite; l is NaN throughout in such a lane.
// `work` holds 2 n numbers.
template <class V>
STATESPACE_INLINE V psd_cholesky(int n, const V* a, V* l, V* work) {
  using T = ScalarOf<V>;
  constexpr T kEps = std::numeric_limits<T>::epsilon();
  const V negligible = splat<V>(T(8) * static_cast<T>(n) * kEps);
  const V suspicious = splat<V>(std::cbrt(kEps));
  const V most = splat<V>(std::numeric_limits<T>::max()), one = splat<V>(T(1));
  V* const left = work + n;  // what is left of the diagonal
  V info = V();
  for (int i = 0; i < n; ++i) {
    left[i] = a[i * n + i];
    for (int j = 0; j <= i; ++j) l[i * n + j] = a[i * n + j];
    for (int j = i + 1; j < n; ++j) l[i * n + j] = V();
  }
  for (int j = 0; j < n; ++j) {
    const int first = j / kSmallBlock * kSmallBlock;  // of the block of columns
    if (first == j) {
      const int width = std::min(int{kSmallBlock}, n - j), below = j + width;
      multiply<Into::kSubtract, Part::kLower>(width, width, j, rows<V>(l + j * n, n),
                                              transposed<V>(l + j * n, n), l + j * n + j, n);
      multiply<Into::kSubtract>(n - below, width, j, rows<V>(l + below * n, n),
                                transposed<V>(l + j * n, n), l + below * n + j, n);
    }
    const V diagonal = a[j * n + j], pivot = left[j], size = absolute(pivot);
    Mask<V> consistent = V() == V();
    for (int i = j + 1; i < n; ++i) {
      V* const l_i = l + i * n;
      V sum = l_i[j];
      for (int k = first; k < j; ++k) sum = neg_mul_add(l_i[k], l[j * n + k], sum);
      l_i[j] = sum;
      consistent = mask_and(consistent,
                            absolute(sum) <= square_root(absolute(pivot)) * square_root(left[i]));
    }
    const Mask<V> positive = mask_and(pivot > V(), pivot <= most);
    Mask<V> zero = mask_and(size <= suspicious * diagonal, size <= most);
    V tolerance = V();
    if (any_lane(zero)) {
      tolerance = maximum(pivot_tolerance(n, j, a, l, work), negligible * diagonal);
      const Mask<V> noise =
          mask_or(size <= negligible * diagonal, mask_not(mask_and(positive, consistent)));
      zero = mask_and(zero, mask_and(noise, size <= tolerance));
    }
    Mask<V> ok = mask_or(zero, positive);
    const V root = square_root(pivot);
    const V inverse = one / root;
    l[j * n + j] = select<V>(zero, V(), root);
    for (int i = j + 1; i < n; ++i) {
      V& entry = l[i * n + j];
      const Mask<V> small = absolute(entry) <= square_root(tolerance) * square_root(a[i * n + i]);
      ok = mask_and(ok, mask_or(small, mask_not(zero)));
      entry = select<V>(zero, V(), entry * inverse);
      left[i] = neg_mul_add(entry, entry, left[i]);
    }
    info = select<V>(mask_and(mask_not(ok), info == V()), splat<V>(T(j + 1)), info);
  }
  spoil_lanes(n * n, info != V(), l);
  return info;
}

// The lower triangle of L' X for lower-triangular l[n, n] and x[n, n], of which only that triangle
// matters. out may not be x.
template <class V, class N>
STATESPACE_INLINE void lower_of_transposed_product(N n, const V* l, const V* x, V* out) {
  for (int i = 0; i < n; i += kSmallBlock) {
    const int end = std::min<int>(n, i + kSmallBlock);
    for (int r = i; r < end; ++r) {
      for (int j = 0; j <= r; ++j) {
        V sum = V();
        for (int k = r; k < end; ++k) sum = mul_add(l[k * n + r], x[k * n + j], sum);
        out[r * n + j] = sum;
      }
    }
    if (end == n) break;
    // Rows of L and X below the block; up to its last column, which costs little.
    multiply<Into::kAdd>(end - i, i, n - end, transposed<V>(l + end * n + i, n),
                         rows<V>(x + end * n, n), out + i * n, n);
    multiply<Into::kAdd, Part::kLower>(end - i, end - i, n - end, transposed<V>(l + end * n + i, n),
                                       rows<V>(x + end * n + i, n), out + i * n + i, n);
  }
}

// Cotangent a_bar[n, n] of A from that of L, for changes of A that keep the zero pivots (derivation
// beside `adjoint_reference` in linalg_ops/psd_cholesky.py). a_bar may be l_bar; `work` holds 3 n^2
// numbers.
template <class V>
STATESPACE_INLINE void psd_cholesky_adjoint(int n, const V* l, const V* l_bar, V* a_bar, V* work) {
  Mask<V> singular = V() != V();
  for (int i = 0; i < n; ++i) singular = mask_or(singular, l[i * n + i] == V());
  if (!any_lane(singular)) return cholesky_adjoint(n, l, l_bar, a_bar);
  V* const left = work;
  V* const right = left + n * n;
  V* const dependent = right + n * n;  // cotangents of the rows with a zero pivot
  const V half = splat<V>(ScalarOf<V>(0.5));
  const Mask<V> unused = all_zero(n * n, l_bar);
  for (int i = 0; i < n; ++i) {
    const Mask<V> zero = l[i * n + i] == V();
    for (int j = 0; j < n; ++j) left[i * n + j] = right[i * n + j] = dependent[i * n + j] = V();
    for (int j = 0; j < i; ++j) {
      const int at = i * n + j;
      left[at] = select<V>(zero, -l_bar[at], l[at]);
      right[at] = select<V>(zero, l[at], l_bar[at]);
      dependent[at] = half * l_bar[at];
    }
    left[i * n + i] = l[i * n + i];
    right[i * n + i] = select<V>(zero, V(), l_bar[i * n + i]);
  }
  lower_of_transposed_product(n, left, right, a_bar);
  for (int i = 0; i < n; ++i) {
    for (int j = 0; j <= i; ++j) a_bar[i * n + j] = half * a_bar[i * n + j];
  }
  congruence<ZeroPivot::kSkip>(n, l, n, a_bar, n);
  substitute<ZeroPivot::kSkip>(n, n, transposed<V>(l, n), Order::kBackward, dependent, 1, n);
  for (int i = 0; i < n; ++i) {
    const Mask<V> zero = l[i * n + i] == V();
    for (int j = 0; j < i; ++j) {
      a_bar[i * n + j] = select<V>(zero, dependent[i * n + j], a_bar[i * n + j]);
    }
  }
  mirror(n, a_bar);
  zero_lanes(n * n, unused, a_bar);
}

}  // namespace STATESPACE_ISA
}  // namespace statespace

#endif  // STATESPACE_NATIVE_CORE_PSD_CHOLESKY_H_
