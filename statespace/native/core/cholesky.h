// Cholesky factorisation A = L L' and its adjoint.
#ifndef STATESPACE_NATIVE_CORE_CHOLESKY_H_
#define STATESPACE_NATIVE_CORE_CHOLESKY_H_

#include "core/triangular.h"

namespace statespace {
namespace STATESPACE_ISA {

// Factorises the lower triangle of the leading columns in place, column by column, and returns the
// status: 0, or `first` + 1 + the column whose pivot is not positive and finite.
template <class V, class N>
inline V cholesky_block(N n, int64_t stride, int first, V* l) {
  using T = ScalarOf<V>;
  const V most = splat<V>(std::numeric_limits<T>::max()), one = splat<V>(T(1));
  V info = V();
  for (int j = 0; j < n; ++j) {
    V* const l_j = l + j * stride;
    V pivot = l_j[j];
    for (int k = 0; k < j; ++k) pivot = neg_mul_add(l_j[k], l_j[k], pivot);
    const Mask<V> ok = mask_and(pivot > V(), pivot <= most);
    info = select<V>(mask_and(mask_not(ok), info == V()), splat<V>(T(first + j + 1)), info);
    const V root = square_root(pivot);
    const V inverse = one / root;  // the root of any positive number has one
    l_j[j] = root;
    for (int i = j + 1; i < n; ++i) {
      V* const l_i = l + i * stride;
      V sum = l_i[j];
      for (int k = 0; k < j; ++k) sum = neg_mul_add(l_i[k], l_j[k], sum);
      l_i[j] = sum * inverse;
    }
  }
  return info;
}

// One half after the other: L21 = A21 L11^-T, and L22 is the factor of A22 - L21 L21'.
template <class V, class N>
inline V cholesky_in_place(N n, int64_t stride, int first, V* l) {
  if constexpr (std::is_same_v<N, int>) {
    if (n > kLargestBlock) {
      const int n1 = (n / 2 + kLargestBlock - 1) / kLargestBlock * kLargestBlock, n2 = n - n1;
      V* const l21 = l + n1 * stride;
      V* const l22 = l21 + n1;
      const V info = cholesky_in_place(n1, stride, first, l);
      substitute(n1, n2, rows<V>(l, stride), Order::kForward, l21, 1, stride);
      multiply<Into::kSubtract, Part::kLower>(n2, n2, n1, rows<V>(l21, stride),
                                              transposed<V>(l21, stride), l22, stride);
      const V info2 = cholesky_in_place(n2, stride, first + n1, l22);
      return select<V>(info == V(), info2, info);
    }
  }
  return cholesky_block(n, stride, first, l);
}

// Factorises a[n, n], lower triangle read, into l[n, n]; the upper triangle of l becomes zero.
//
// Returns the status per lane as a number: 0, or the (1-based) leading minor that is not positive
// and finite; l is NaN throughout in such a lane. l may be a.
template <class V, class N>
inline V cholesky(N n, const V* a, V* l) {
  for (int i = 0; i < n; ++i) {
    for (int j = 0; j <= i; ++j) l[i * n + j] = a[i * n + j];
    for (int j = i + 1; j < n; ++j) l[i * n + j] = V();
  }
  const V info = cholesky_in_place(n, n, 0, l);
  spoil_lanes(n * n, info != V(), l);
  return info;
}

// X = L^-T X L^-1 for symmetric X, of which the lower triangle is read and written; what is above
// it is used as scratch. From the last row up, one by one:
//
//   with L = [L1 0; l d] and X = [X1 .; x s]:   s <- s / d^2,   y = x / d - s l / 2,
//   X1 <- X1 - y' l - l' y, which leaves the same problem for L1,   x <- (y - s l / 2) L1^-1.
template <ZeroPivot pivots, class V, class N>
inline void congruence_block(N n, const V* l, int64_t l_stride, V* x, int64_t stride) {
  const V half = splat<V>(ScalarOf<V>(0.5));
  Reciprocal<V> diagonal[kLargestBlock];
  for (int i = 0; i < n; ++i) diagonal[i] = reciprocal<pivots>(l[i * l_stride + i]);
  for (int p = n - 1; p >= 0; --p) {
    const V* const l_p = l + p * l_stride;
    V* const x_p = x + p * stride;
    x_p[p] = diagonal[p].divide(diagonal[p].divide(x_p[p]));
    const V s = half * x_p[p];
    for (int j = 0; j < p; ++j) x_p[j] = neg_mul_add(s, l_p[j], diagonal[p].divide(x_p[j]));
    for (int i = 0; i < p; ++i) {
      V* const x_i = x + i * stride;
      for (int j = 0; j <= i; ++j) {
        x_i[j] = neg_mul_add(l_p[i], x_p[j], neg_mul_add(x_p[i], l_p[j], x_i[j]));
      }
    }
    for (int j = p - 1; j >= 0; --j) {
      V sum = neg_mul_add(s, l_p[j], x_p[j]);
      for (int k = p - 1; k > j; --k) sum = neg_mul_add(x_p[k], l[k * l_stride + j], sum);
      x_p[j] = diagonal[j].divide(sum);
    }
  }
}

// The same by halves, the second first: with Z = L22^-T X21 and Y = Z - X22 L21 / 2,
//   X11 <- X11 - Y' L21 - L21' Y,   X21 <- (Y - X22 L21 / 2) L11^-1.
template <ZeroPivot pivots = ZeroPivot::kDivide, class V, class N>
inline void congruence(N n, const V* l, int64_t l_stride, V* x, int64_t stride) {
  if constexpr (std::is_same_v<N, int>) {
    if (n > kLargestBlock) {
      const int n1 = (n / 2 + kLargestBlock - 1) / kLargestBlock * kLargestBlock, n2 = n - n1;
      const V* const l21 = l + n1 * l_stride;
      const V* const l22 = l21 + n1;
      V* const x12 = x + n1;  // scratch: (X22 L21)'
      V* const x21 = x + n1 * stride;
      V* const x22 = x21 + n1;
      congruence<pivots>(n2, l22, l_stride, x22, stride);
      mirror(n2, x22, stride);
      substitute<pivots>(n2, n1, transposed<V>(l22, l_stride), Order::kBackward, x21, stride, 1);
      multiply(n1, n2, n2, transposed<V>(l21, l_stride), rows<V>(x22, stride), x12, stride);
      const V half = splat<V>(ScalarOf<V>(0.5));
      const auto subtract_half = [&] {
        for (int i = 0; i < n2; ++i) {
          for (int j = 0; j < n1; ++j) {
            x21[i * stride + j] = neg_mul_add(half, x12[j * stride + i], x21[i * stride + j]);
          }
        }
      };
      subtract_half();
      multiply<Into::kSubtract, Part::kLower>(n1, n1, n2, transposed<V>(x21, stride),
                                              rows<V>(l21, l_stride), x, stride);
      multiply<Into::kSubtract, Part::kLower>(n1, n1, n2, transposed<V>(l21, l_stride),
                                              rows<V>(x21, stride), x, stride);
      subtract_half();
      substitute<pivots>(n1, n2, transposed<V>(l, l_stride), Order::kBackward, x21, 1, stride);
      congruence<pivots>(n1, l, l_stride, x, stride);
      return;
    }
  }
  congruence_block<pivots>(n, l, l_stride, x, stride);
}

// The lower triangle of L' X for lower-triangular l[n, n] and x[n, n], of which only that triangle
// matters. out may not be x.
template <class V, class N>
inline void lower_of_transposed_product(N n, const V* l, const V* x, V* out) {
  for (int i = 0; i < n; i += kLargestBlock) {
    const int end = std::min<int>(n, i + kLargestBlock);
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

// Cotangent a_bar[n, n] of A from that of L, l_bar: L^-T copyltu(L' l_bar) L^-1 / 2, where copyltu
// copies the lower triangle to the upper (Seeger et al., arXiv:1710.08717, section 3.1; derivation
// beside `adjoint_reference` in linalg_ops/cholesky.py). A lane with l_bar = 0 gets zero, whatever
// L.
template <class V, class N>
inline void cholesky_adjoint(N n, const V* l, const V* l_bar, V* a_bar) {
  const V half = splat<V>(ScalarOf<V>(0.5));
  const Mask<V> unused = all_zero(n * n, l_bar);
  lower_of_transposed_product(n, l, l_bar, a_bar);
  for (int i = 0; i < n; ++i) {
    for (int j = 0; j <= i; ++j) a_bar[i * n + j] = half * a_bar[i * n + j];
  }
  congruence(n, l, n, a_bar, n);
  mirror(n, a_bar);
  zero_lanes(n * n, unused, a_bar);
}

}  // namespace STATESPACE_ISA
}  // namespace statespace

#endif  // STATESPACE_NATIVE_CORE_CHOLESKY_H_
