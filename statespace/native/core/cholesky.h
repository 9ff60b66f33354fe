// Cholesky factorisation A = L L' and its adjoint.
#ifndef STATESPACE_NATIVE_CORE_CHOLESKY_H_
#define STATESPACE_NATIVE_CORE_CHOLESKY_H_

#include "core/triangular.h"

namespace statespace {
namespace STATESPACE_ISA {

// Columns j ... j + B - 1 of the factor, in place, from those before them. Returns the status: 0,
// or `first` + 1 + the column whose pivot is not positive and finite.
template <int B, class V, class N>
STATESPACE_BUILDING_BLOCK V cholesky_columns(int j, N n, int64_t stride, int first, V* l) {
  using T = ScalarOf<V>;
  const V most = splat<V>(std::numeric_limits<T>::max()), one = splat<V>(T(1));
  V* const corner = l + j * stride + j;
  V block[B][B];
#pragma GCC unroll 4
  for (int r = 0; r < B; ++r) {
#pragma GCC unroll 4
    for (int c = 0; c <= r; ++c) block[r][c] = corner[r * stride + c];
  }
  for (int p = 0; p < j; ++p) {
    V x[B];
#pragma GCC unroll 4
    for (int r = 0; r < B; ++r) x[r] = l[(j + r) * stride + p];
#pragma GCC unroll 4
    for (int r = 0; r < B; ++r) {
#pragma GCC unroll 4
      for (int c = 0; c <= r; ++c) block[r][c] = neg_mul_add(x[r], x[c], block[r][c]);
    }
  }
  V info = V();
  Reciprocal<V> diagonal[B];
#pragma GCC unroll 4
  for (int c = 0; c < B; ++c) {
#pragma GCC unroll 4
    for (int r = c; r < B; ++r) {
#pragma GCC unroll 4
      for (int p = 0; p < c; ++p) block[r][c] = neg_mul_add(block[r][p], block[c][p], block[r][c]);
    }
    const V pivot = block[c][c];
    const Mask<V> ok = mask_and(pivot > V(), pivot <= most);
    info = select<V>(mask_and(mask_not(ok), info == V()), splat<V>(T(first + j + c + 1)), info);
    const V root = square_root(pivot), inverse = one / root;
    diagonal[c] = {root, inverse, V() == V()};  // the root of any positive number has an inverse
    block[c][c] = root;
#pragma GCC unroll 4
    for (int r = c + 1; r < B; ++r) block[r][c] = block[r][c] * inverse;
  }
#pragma GCC unroll 4
  for (int r = 0; r < B; ++r) {
#pragma GCC unroll 4
    for (int c = 0; c <= r; ++c) corner[r * stride + c] = block[r][c];
  }
  // Below: L_i L_j' = A_ij, the rows of L being columns of the right side.
  const View<V> rows_j = rows<V>(l, stride);
  constexpr int kColumns = kTileColumns;
  int i = j + B;
  for (; i + kColumns <= n; i += kColumns) {
    substitute_tile<B, kColumns, V>(j, rows_j, diagonal, true, l + i * stride, 1, stride);
  }
  for (; i < n; ++i) {
    substitute_tile<B, 1, V>(j, rows_j, diagonal, true, l + i * stride, 1, stride);
  }
  return info;
}

// The largest triangle that is factorised at once.
template <class V>
constexpr int kCholeskyBlock = kAlone<V> ? 8 : 16;

// Factorises the lower triangle of n <= kCholeskyBlock columns in place, four at a time.
template <class V, class N>
STATESPACE_INLINE V cholesky_block(N n, int64_t stride, int first, V* l) {
  V info = V();
  const auto add = [&info](const V& more) { info = select<V>(info == V(), more, info); };
  int j = 0;
  for (; j + 4 <= n; j += 4) add(cholesky_columns<4>(j, n, stride, first, l));
  if (n - j == 3) add(cholesky_columns<3>(j, n, stride, first, l));
  if (n - j == 2) add(cholesky_columns<2>(j, n, stride, first, l));
  if (n - j == 1) add(cholesky_columns<1>(j, n, stride, first, l));
  return info;
}

// One half after the other: L21 = A21 L11^-T, and L22 is the factor of A22 - L21 L21'. Not on a
// GPU, whose threads have no stack to call themselves on.
template <class V, class N>
STATESPACE_INLINE V cholesky_in_place(N n, int64_t stride, int first, V* l) {
  if constexpr (std::is_same_v<N, int> && !kIsDevice) {
    constexpr int kBlock = kCholeskyBlock<V>;
    if (n > kBlock) {
      const int n1 = (n / 2 + kBlock - 1) / kBlock * kBlock, n2 = n - n1;
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
STATESPACE_INLINE V cholesky(N n, const V* a, V* l) {
  for (int i = 0; i < n; ++i) {
    for (int j = 0; j <= i; ++j) l[i * n + j] = a[i * n + j];
    for (int j = i + 1; j < n; ++j) l[i * n + j] = V();
  }
  const V info = cholesky_in_place(n, n, 0, l);
  spoil_lanes(n * n, info != V(), l);
  return info;
}

// The largest triangle that `congruence` takes at once.
constexpr int kSmallBlock = 8;

// X = L^-T X L^-1 for symmetric X, of which the lower triangle is read and written; what is above
// it is used as scratch. From the last row up, one by one:
//
//   with L = [L1 0; l d] and X = [X1 .; x s]:   s <- s / d^2,   y = x / d - s l / 2,
//   X1 <- X1 - y' l - l' y, which leaves the same problem for L1,   x <- (y - s l / 2) L1^-1.
template <ZeroPivot pivots, class V, class N>
STATESPACE_BUILDING_BLOCK void congruence_block(N n, const V* l, int64_t l_stride, V* x,
                                                int64_t stride) {
  const V half = splat<V>(ScalarOf<V>(0.5));
  Reciprocal<V> diagonal[kSmallBlock];
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

// Where n rows are cut in two: whole blocks come first. A GPU's threads have no stack to call
// themselves on: there the second part is a single block.
STATESPACE_INLINE int rows_before_cut(int n, int block) {
  return (kIsDevice ? n - 1 : n / 2 + block - 1) / block * block;
}

// The same by halves, the second first: with Z = L22^-T X21 and Y = Z - X22 L21 / 2,
//   X11 <- X11 - Y' L21 - L21' Y,   X21 <- (Y - X22 L21 / 2) L11^-1.
template <ZeroPivot pivots = ZeroPivot::kDivide, class V, class N>
STATESPACE_BUILDING_BLOCK void congruence(N n, const V* l, int64_t l_stride, V* x, int64_t stride) {
  if constexpr (std::is_same_v<N, int>) {
    while (n > kSmallBlock) {
      const int n1 = rows_before_cut(n, kSmallBlock), n2 = n - n1;
      const V* const l21 = l + n1 * l_stride;
      const V* const l22 = l21 + n1;
      V* const x12 = x + n1;  // scratch: (X22 L21)'
      V* const x21 = x + n1 * stride;
      V* const x22 = x21 + n1;
      if constexpr (kIsDevice) {
        congruence_block<pivots>(n2, l22, l_stride, x22, stride);
      } else {
        congruence<pivots>(n2, l22, l_stride, x22, stride);
      }
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
      n = n1;
    }
  }
  congruence_block<pivots>(n, l, l_stride, x, stride);
}

// Twice the cotangent of A in the place of that of L, lower triangles alone; what is above them is
// used as scratch. Small triangles by the closed form, L^-T copyltu(L' l_bar) L^-1, where copyltu
// copies the lower triangle to the upper; larger ones by halves, the last first, which takes half
// as many operations as the closed form. With Y = 2 a_bar and the forward pass
//
//   L21 = A21 L11^-T,   A22 - L21 L21' = L22 L22',
//
// the cotangent of the latter is Y22 / 2, so that L21_bar gains -Y22 L21; Y21 = L21_bar L11^-1; and
// L11_bar gains -tril(Y21' L21) (Murray, Differentiation of the Cholesky decomposition,
// arXiv:1602.07527, section 4).
template <class V, class N>
STATESPACE_BUILDING_BLOCK void cholesky_adjoint_in_place(N n, const V* l, int64_t l_stride, V* x,
                                                         int64_t stride) {
  constexpr int kLeaf = 4;
  if constexpr (std::is_same_v<N, int>) {
    while (n > kLeaf) {
      const int n1 = rows_before_cut(n, kLeaf), n2 = n - n1;
      const V* const l21 = l + n1 * l_stride;
      V* const x21 = x + n1 * stride;
      V* const x22 = x21 + n1;
      if constexpr (kIsDevice) {
        with_fixed_size<kLeaf>(n2, [&](auto fixed) {
          cholesky_adjoint_in_place(fixed, l21 + n1, l_stride, x22, stride);
        });
      } else {
        cholesky_adjoint_in_place(n2, l21 + n1, l_stride, x22, stride);
      }
      mirror(n2, x22, stride);
      multiply<Into::kSubtract>(n2, n1, n2, rows<V>(x22, stride), rows<V>(l21, l_stride), x21,
                                stride);
      substitute(n1, n2, transposed<V>(l, l_stride), Order::kBackward, x21, 1, stride);
      multiply<Into::kSubtract, Part::kLower>(n1, n1, n2, transposed<V>(x21, stride),
                                              rows<V>(l21, l_stride), x, stride);
      n = n1;
    }
    with_fixed_size<kLeaf>(
        n, [&](auto fixed) { cholesky_adjoint_in_place(fixed, l, l_stride, x, stride); });
  } else {
    for (int r = 0; r < n; ++r) {  // L' l_bar; row r needs no row before it
      for (int j = 0; j <= r; ++j) {
        V sum = V();
        for (int k = r; k < n; ++k) sum = mul_add(l[k * l_stride + r], x[k * stride + j], sum);
        x[r * stride + j] = sum;
      }
    }
    congruence_block<ZeroPivot::kDivide>(n, l, l_stride, x, stride);
  }
}

// Cotangent a_bar[n, n] of A, symmetric, from that of L, l_bar, of which the lower triangle is
// read: L^-T copyltu(L' l_bar) L^-1 / 2 (Seeger et al., arXiv:1710.08717, section 3.1; derivation
// beside `adjoint_reference` in linalg_ops/cholesky.py). A lane with l_bar = 0 gets zero, whatever
// L. a_bar may be l_bar.
template <class V, class N>
STATESPACE_INLINE void cholesky_adjoint(N n, const V* l, const V* l_bar, V* a_bar) {
  const V half = splat<V>(ScalarOf<V>(0.5));
  const Mask<V> unused = all_zero(n * n, l_bar);
  for (int i = 0; i < n; ++i) {
    for (int j = 0; j <= i; ++j) a_bar[i * n + j] = l_bar[i * n + j];
  }
  cholesky_adjoint_in_place(n, l, n, a_bar, n);
  for (int i = 0; i < n; ++i) {
    for (int j = 0; j <= i; ++j) a_bar[i * n + j] = half * a_bar[i * n + j];
  }
  mirror(n, a_bar);
  zero_lanes(n * n, unused, a_bar);
}

}  // namespace STATESPACE_ISA
}  // namespace statespace

#endif  // STATESPACE_NATIVE_CORE_CHOLESKY_H_
