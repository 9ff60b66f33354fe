// LQ factorisation A = L Q of wide, square and tall matrices, and its adjoints.
//
// With k = min(m, n), A is [m, n], L [m, k] and Q [k, n]. The rows of a tall A below the k-th are
// coordinates in Q, whose rows are then a basis of the whole space.
#ifndef STATESPACE_NATIVE_CORE_LQ_H_
#define STATESPACE_NATIVE_CORE_LQ_H_

#include <algorithm>
#include <limits>

#include "core/reflectors.h"
#include "core/triangular.h"

namespace statespace {
namespace STATESPACE_ISA {

// Scratch of factor_rows, expand_rows and reflect_rows: T of each block, and apply_panel's. One
// panel alone needs none.
STATESPACE_INLINE int64_t block_work_size(int64_t k, int64_t m) {
  constexpr int64_t kLargest = kLargestBlockOfPanels;
  return k <= 16 ? 0 : (k + kLargest) * kLargest + 2 * m * kLargest;
}

// T of the block that starts at reflector `first`.
template <class V>
STATESPACE_INLINE V* block_triangle(int k, int first, V* work) {
  return work + static_cast<int64_t>(first) * block_size<V>(k);
}
// Behind the triangles.
template <class V>
STATESPACE_INLINE V* block_work(int k, V* work) {
  return work + static_cast<int64_t>(k + kLargestBlockOfPanels) * block_size<V>(k);
}

// Reduces A to L. On entry v[k, n] holds the leading rows of A and l[m, k], below row k, the rest;
// on exit l is L and v the reflectors.
template <class K, class M, class N, class V>
STATESPACE_INLINE void factor_rows(K k, M m, N n, V* v, V* l, V* work) {
  for (int i = 0; i < k; ++i) {
    for (int j = i + 1; j < k; ++j) l[static_cast<int64_t>(i) * k + j] = V();
  }
  V* const rest = l + static_cast<int64_t>(k) * k;
  if (k <= kPanel<V>) {
    factor_panel(k, n, 0, v, n, l, k);
    for (int i = 0; i < k && m > k; ++i) {
      apply_reflector(m - k, n - i, v + static_cast<int64_t>(i) * n + i, rest + i, n);
    }
    return;
  }
  V* const scratch = block_work(k, work);
  const int step = block_size<V>(k);
  for (int i = 0; i < k; i += step) {
    const int b = std::min<int>(step, k - i), count = n - i;
    V* const block = v + static_cast<int64_t>(i) * n + i;
    V* const t = block_triangle(k, i, work);
    factor_block(b, count, i, block, n, l + static_cast<int64_t>(i) * k, k, t, scratch);
    apply_panel(k - i - b, b, count, block, n, t, b, Sequence::kFirstToLast,
                block + static_cast<int64_t>(b) * n, n, scratch);
    apply_panel(m - k, b, count, block, n, t, b, Sequence::kFirstToLast, rest + i, n, scratch);
  }
}

// Overwrites the reflectors v[k, n] of factor_rows, which left `work`, with Q.
template <class K, class N, class V>
STATESPACE_INLINE void expand_rows(K k, N n, V* v, V* work) {
  if (k <= kPanel<V>) return expand_panel(k, n, v, n);
  V* const scratch = block_work(k, work);
  const int step = block_size<V>(k);
  for (int i = (k - 1) / step * step; i >= 0; i -= step) {
    const int b = std::min<int>(step, k - i), count = n - i;
    V* const block = v + static_cast<int64_t>(i) * n + i;
    const V* const t = block_triangle(k, i, work);
    apply_panel(k - i - b, b, count, block, n, t, b, Sequence::kLastToFirst,
                block + static_cast<int64_t>(b) * n, n, scratch);
    expand_block(b, count, block, n, t, scratch);
  }
}

// x[m, n] = [X 0] H_{k-1} ... H_0 = X Q for the first k columns X of x; the others are zero.
template <class K, class M, class N, class V>
STATESPACE_INLINE void reflect_rows(K k, M m, N n, const V* v, V* x, V* work) {
  if (k <= kPanel<V>) {
    for (int i = k - 1; i >= 0; --i) {
      apply_reflector(m, n - i, v + static_cast<int64_t>(i) * n + i, x + i, n);
    }
    return;
  }
  const int step = block_size<V>(k);
  for (int i = (k - 1) / step * step; i >= 0; i -= step) {
    const int b = std::min<int>(step, k - i);
    apply_panel(m, b, n - i, v + static_cast<int64_t>(i) * n + i, n, block_triangle(k, i, work), b,
                Sequence::kLastToFirst, x + i, n, block_work(k, work));
  }
}

// Distributes A over the reflectors' rows and L's, and returns the lanes with an infinity or a NaN.
template <class K, class M, class N, class V>
STATESPACE_INLINE Mask<V> load_rows(K k, M m, N n, const V* a, V* v, V* l) {
  const int64_t leading = static_cast<int64_t>(k) * n, all = static_cast<int64_t>(m) * n;
  for (int64_t i = 0; i < leading; ++i) v[i] = a[i];
  for (int64_t i = leading; i < all; ++i) l[i] = a[i];  // only where n = k
  return any_not_finite(all, a);
}

STATESPACE_INLINE int64_t lq_work_size(bool with_q, int64_t m, int64_t n) {
  const int64_t k = std::min(m, n);
  return block_work_size(k, m) + (with_q ? 0 : k * n);
}

// Factorises a[m, n] into l[m, k], lower triangular with non-negative diagonal, and, if kWithQ,
// q[k, n] with orthonormal rows, for k = min(m, n). q may be a. `work` holds lq_work_size numbers.
// A lane of a with an infinity or a NaN becomes NaN in l and q.
template <bool kWithQ, class K, class M, class N, class V>
STATESPACE_INLINE void lq(K k, M m, N n, const V* a, V* l, V* q, V* work) {
  V* const v = kWithQ ? q : work + block_work_size(k, m);
  const Mask<V> failed = load_rows(k, m, n, a, v, l);
  factor_rows(k, m, n, v, l, work);
  if constexpr (kWithQ) {
    expand_rows(k, n, v, work);
    spoil_lanes(static_cast<int64_t>(k) * n, failed, q);
  }
  spoil_lanes(static_cast<int64_t>(m) * k, failed, l);
}

// The lanes in which row i depends on those before it as far as rounding can tell: its pivot is at
// most this multiple of the row's largest number, the error which reflectors leave in the row.
template <class V>
STATESPACE_INLINE V pivot_tolerance(int64_t n) {
  using T = ScalarOf<V>;
  return splat<V>(static_cast<T>(n + 10) * std::numeric_limits<T>::epsilon());
}
template <class V>
STATESPACE_INLINE V largest_in_row(int i, int k, const V* l) {
  V largest = V();
  for (int j = 0; j <= i; ++j) largest = maximum(largest, absolute(l[i * k + j]));
  return largest;
}

// L' l_bar [k, k] added to x.
template <class K, class M, class V>
STATESPACE_INLINE void add_triangular_product(K k, M m, const V* l, const V* l_bar, V* x) {
  constexpr int kStep = 16;  // rows of L above a block's first are zero there
  if (k <= kStep) {
    multiply<Into::kAdd>(k, k, m, transposed<V>(l, k), rows<V>(l_bar, k), x);
    return;
  }
  for (int i = 0; i < k; i += kStep) {
    const int b = std::min<int>(kStep, k - i);
    const V* const corner = l + static_cast<int64_t>(i) * k + i;
    multiply<Into::kAdd>(b, static_cast<int>(k), m - i, transposed<V>(corner, k),
                         rows<V>(l_bar + static_cast<int64_t>(i) * k, k),
                         x + static_cast<int64_t>(i) * k, k);
  }
}

// X[m, k] with A_bar = X Q, from the cotangent of L alone: l_bar + [L_1^-T K; 0], K the strictly
// upper triangle of M' - M, M = L' l_bar (derivation beside `adjoint_l_reference` in
// linalg_ops/lq.py). X is written to the leading columns of x, whose rows are `stride` apart; the
// other columns become zero. `work` holds 2 * k * k numbers.
//
// For a function of L L', M is symmetric; K that is no more than the rounding error of M counts as
// zero where a small pivot would magnify it, and rows of K at pivots that are zero as far as
// rounding can tell are left out, so that X is finite for every L.
template <class K, class M, class V>
STATESPACE_INLINE void l_adjoint(K k, M m, int n, const V* l, const V* l_bar, V* x, int64_t stride,
                                 V* work) {
  using T = ScalarOf<V>;
  V* const skew = work;
  V* const pivots = work + static_cast<int64_t>(k) * k;  // L_1, negligible pivots set to zero
  set_zero(static_cast<int64_t>(k) * k, skew);
  add_triangular_product(k, m, l, l_bar, skew);
  const V tolerance = pivot_tolerance<V>(n), rounding = pivot_tolerance<V>(m);
  for (int i = 0; i < k; ++i) {
    for (int j = 0; j < i; ++j) {
      skew[j * k + i] = skew[i * k + j] - skew[j * k + i];
      skew[i * k + j] = V();
      pivots[i * k + j] = l[i * k + j];
    }
    skew[i * k + i] = V();
  }
  Mask<V> small = V() != V();
  for (int i = 0; i < k; ++i) {
    const V pivot = l[i * k + i], largest = largest_in_row(i, k, l);
    pivots[i * k + i] = select<V>(pivot <= tolerance * largest, V(), pivot);
    // Rounding errors of row i of K are relative to column i of L, and the substitution carries
    // those of every row to the small pivots.
    V column = largest;
    for (int p = i + 1; p < m; ++p) {
      column = maximum(column, absolute(l[static_cast<int64_t>(p) * k + i]));
    }
    small = mask_or(small, pivot <= splat<V>(T(1) / 1024) * column);
  }
  for (int i = 0; i < k && any_lane(small); ++i) {
    for (int j = i + 1; j < k; ++j) {
      V bound = V();
      for (int p = i; p < m; ++p) {
        const V* const row = l + static_cast<int64_t>(p) * k;
        const V* const row_bar = l_bar + static_cast<int64_t>(p) * k;
        bound = mul_add(absolute(row[i]), absolute(row_bar[j]), bound);
        bound = mul_add(absolute(row[j]), absolute(row_bar[i]), bound);
      }
      V& entry = skew[i * k + j];
      entry = select<V>(mask_and(small, absolute(entry) <= rounding * bound), V(), entry);
    }
  }
  substitute<ZeroPivot::kSkip>(k, k, transposed<V>(pivots, k), Order::kBackward, skew, k, 1);
  for (int i = 0; i < m; ++i) {
    V* const row = x + i * stride;
    for (int j = 0; j < k; ++j) row[j] = l_bar[static_cast<int64_t>(i) * k + j];
    for (int j = i + 1; j < k; ++j) {
      const V entry = skew[i * k + j];
      row[j] = row[j] + select<V>(is_finite(entry), entry, V());
    }
    for (int j = k; j < stride; ++j) row[j] = V();
  }
}

// Cotangent a_bar[m, n] of A from that of L alone, A factorised anew. `work` holds
// lq_l_adjoint_work_size numbers. A lane with l_bar = 0 gets zero, whatever A.
STATESPACE_INLINE int64_t lq_l_adjoint_work_size(int64_t m, int64_t n) {
  const int64_t k = std::min(m, n);
  return block_work_size(k, m) + k * n + m * k + 2 * k * k;
}
template <class K, class M, class N, class V>
STATESPACE_INLINE void lq_l_adjoint(K k, M m, N n, const V* a, const V* l_bar, V* a_bar, V* work) {
  V* const v = work + block_work_size(k, m);
  V* const l = v + static_cast<int64_t>(k) * n;
  const Mask<V> failed = load_rows(k, m, n, a, v, l);
  factor_rows(k, m, n, v, l, work);
  l_adjoint(k, m, n, l, l_bar, a_bar, n, l + static_cast<int64_t>(m) * k);
  reflect_rows(k, m, n, v, a_bar, work);
  spoil_lanes(static_cast<int64_t>(m) * n, failed, a_bar);
  zero_lanes(static_cast<int64_t>(m) * n, all_zero(static_cast<int64_t>(m) * k, l_bar), a_bar);
}

// Cotangent a_bar[m, n] of A from those of L and Q, for L_1 of full rank:
// [tril(l_1_bar) + L_1^-T striu(Z' - Z)] Q + L_1^-T [q_bar - q_bar Q' Q] with Z = L_1'
// tril(l_1_bar)
// + L_2' l_2_bar - q_bar Q', and below l_2_bar Q (Seeger et al., arXiv:1710.08717, section 3.3,
// with what cancels left out; derivation beside `adjoint_reference` in linalg_ops/lq.py). NaN where
// L_1 has a pivot that is zero as far as rounding can tell. `work` holds 2 * k * k numbers.
template <class K, class M, class N, class V>
STATESPACE_INLINE void lq_full_adjoint(K k, M m, N n, const V* l, const V* q, const V* l_bar,
                                       const V* q_bar, V* a_bar, V* work) {
  const int64_t square = static_cast<int64_t>(k) * k;
  const int64_t leading = static_cast<int64_t>(k) * n;
  V* const z = work;
  V* const x = work + square;
  set_zero(square, z);
  multiply<Into::kSubtract>(k, k, n, rows<V>(q_bar, n), transposed<V>(q, n), z);
  if (k < n) {
    for (int64_t i = 0; i < leading; ++i) a_bar[i] = q_bar[i];
    multiply<Into::kAdd>(k, n, k, rows<V>(z, k), rows<V>(q, n), a_bar);
    substitute(k, n, transposed<V>(l, k), Order::kBackward, a_bar, n, 1);
  } else {
    set_zero(leading, a_bar);  // square Q: nothing is orthogonal to its rows
  }
  for (int64_t i = 0; i < square; ++i) x[i] = l_bar[i];
  zero_above(k, x);
  add_triangular_product(k, k, l, x, z);
  if (m > k) {
    multiply<Into::kAdd>(k, k, m - k, transposed<V>(l + square, k), rows<V>(l_bar + square, k), z);
  }
  for (int i = 0; i < k; ++i) {
    for (int j = 0; j < i; ++j) {
      z[j * k + i] = z[i * k + j] - z[j * k + i];
      z[i * k + j] = V();
    }
    z[i * k + i] = V();
  }
  substitute_upper(k, transposed<V>(l, k), z);
  for (int i = 0; i < k; ++i) {
    for (int j = i + 1; j < k; ++j) x[i * k + j] = z[i * k + j];
  }
  multiply<Into::kAdd>(k, n, k, rows<V>(x, k), rows<V>(q, n), a_bar);
  if (m > k) multiply(m - k, n, k, rows<V>(l_bar + square, k), rows<V>(q, n), a_bar + leading);
  Mask<V> singular = V() != V();
  const V tolerance = pivot_tolerance<V>(n);
  for (int i = 0; i < k; ++i) {
    singular = mask_or(singular, l[i * k + i] <= tolerance * largest_in_row(i, k, l));
  }
  spoil_lanes(static_cast<int64_t>(m) * n, singular, a_bar);
}

// Cotangent of A from those of L and Q: of L alone in the lanes with q_bar = 0, and zero where
// l_bar is zero too, whatever A. a_bar may be q_bar. `work` holds lq_adjoint_work_size numbers.
STATESPACE_INLINE int64_t lq_adjoint_work_size(int64_t m, int64_t n) {
  const int64_t k = std::min(m, n);
  return m * n + m * k + 2 * k * k;
}
template <class K, class M, class N, class V>
STATESPACE_INLINE void lq_adjoint(K k, M m, N n, const V* l, const V* q, const V* l_bar,
                                  const V* q_bar, V* a_bar, V* work) {
  const int64_t size = static_cast<int64_t>(m) * n;
  const Mask<V> l_alone = all_zero(static_cast<int64_t>(k) * n, q_bar);
  V* const other = work;
  V* const x = work + size;
  V* const rest = x + static_cast<int64_t>(m) * k;
  if (!all_lanes(l_alone)) lq_full_adjoint(k, m, n, l, q, l_bar, q_bar, a_bar, rest);
  if (!any_lane(l_alone)) return;
  l_adjoint(k, m, n, l, l_bar, x, k, rest);
  multiply(m, n, k, rows<V>(x, k), rows<V>(q, n), other);
  for (int64_t i = 0; i < size; ++i) a_bar[i] = select<V>(l_alone, other[i], a_bar[i]);
  const Mask<V> unused = mask_and(l_alone, all_zero(static_cast<int64_t>(m) * k, l_bar));
  zero_lanes(size, unused, a_bar);
}

}  // namespace STATESPACE_ISA
}  // namespace statespace

#endif  // STATESPACE_NATIVE_CORE_LQ_H_
