// Eigenvalues and eigenvectors of symmetric matrices, A = V diag(lambda) V', and their adjoint.
//
// Householder reflectors make A tridiagonal, implicit QR steps make that diagonal (Golub & Van
// Loan, Matrix Computations, 4th ed., 8.3). Lanes deflate at different times: every lane has a
// window and a shift of its own, and a rotation outside its window is the identity.
#ifndef STATESPACE_NATIVE_CORE_EIGH_H_
#define STATESPACE_NATIVE_CORE_EIGH_H_

#include <algorithm>
#include <limits>

#include "core/lq.h"
#include "core/multiply.h"

namespace statespace {
namespace STATESPACE_ISA {

// Steps of the QR iteration that a matrix may take, times its size.
constexpr int kStepsPerEigenvalue = 30;

// Entries of an eigenvector this close to the largest count as equally large.
constexpr double kNearlyLargest = 1 - 0x1p-10;

// Eigenvalues of an n x n matrix closer than this, relative to the largest, are one cluster.
template <class T>
constexpr T cluster_width(int n) {
  return 4 * n * std::numeric_limits<T>::epsilon();
}

// Squares below this one are lost: a vector this short, where entries are about 1, is zero.
template <class T>
constexpr T kNegligibleSquare = Float<T>::kSmallestNormal / std::numeric_limits<T>::epsilon();

// A rotation of neighbouring rows: (x, y) becomes (c x + s y, c y - s x).
template <class V>
struct Rotation {
  V c, s;
};

template <class V>
STATESPACE_BUILDING_BLOCK void rotate(int count, Rotation<V> by, V* x, V* y) {
  for (int j = 0; j < count; ++j) {
    const V head = x[j], tail = y[j];
    x[j] = mul_add(by.c, head, by.s * tail);
    y[j] = neg_mul_add(by.s, head, by.c * tail);
  }
}

// The reflector H = I - tau x x', x[0] = 1, that maps x[count] to (beta, 0, ..., 0): x is replaced,
// beta returned. Entries are about 1 or less.
template <class V>
STATESPACE_INLINE V reflect(int count, V* x, V* tau) {
  using T = ScalarOf<V>;
  const V one = splat<V>(T(1)), head = x[0];
  V tail = V();
  for (int j = 1; j < count; ++j) tail = mul_add(x[j], x[j], tail);
  const Mask<V> trivial = tail < splat<V>(kNegligibleSquare<T>);
  const V norm = square_root(mul_add(head, head, tail));
  const V beta = select<V>(trivial, head, select<V>(head < V(), norm, -norm));
  *tau = select<V>(trivial, V(), (beta - head) / select<V>(trivial, one, beta));
  const V factor = select<V>(trivial, V(), one / select<V>(trivial, one, head - beta));
  x[0] = one;
  for (int j = 1; j < count; ++j) x[j] = x[j] * factor;
  return beta;
}

// Rows i ... i + R - 1 of the upper triangle of a[n, n]: A -= x w' + w x', then y += A z.
template <int R, class V, class N>
STATESPACE_INLINE void update_and_multiply(N n, int i, V* a, const V* x, const V* w, const V* z,
                                           V* y) {
  V* row[R];
  V sum[R];
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
    row[r] = a + static_cast<int64_t>(i + r) * n;
    sum[r] = V();
  }
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {  // where the rows meet the diagonal
    for (int j = i + r; j < i + R; ++j) {
      const V entry = neg_mul_add(x[i + r], w[j], neg_mul_add(w[i + r], x[j], row[r][j]));
      row[r][j] = entry;
      sum[r] = mul_add(entry, z[j], sum[r]);
      if (j > i + r) y[j] = mul_add(entry, z[i + r], y[j]);
    }
  }
  for (int j = i + R; j < n; ++j) {
    V other = y[j];
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
      const V entry = neg_mul_add(x[i + r], w[j], neg_mul_add(w[i + r], x[j], row[r][j]));
      row[r][j] = entry;
      sum[r] = mul_add(entry, z[j], sum[r]);
      other = mul_add(entry, z[i + r], other);
    }
    y[j] = other;
  }
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) y[i + r] = y[i + r] + sum[r];
}

// Reduces the symmetric matrix in the upper triangle of a[n, n] to tridiagonal form: H' A H = T for
// H = H_0 ... H_{n-3}, with diagonal d[n] and off-diagonal e[n]. Reflector k is left in row k of a,
// from column k + 1 on, with tau[k]. `work` holds 3 n numbers.
//
// The update of A by reflector k and its product with reflector k + 1 share one pass over A.
template <class V, class N>
STATESPACE_BUILDING_BLOCK void tridiagonalise(N n, V* a, V* d, V* e, V* tau, V* work) {
  using T = ScalarOf<V>;
  const V* x = work;  // A -= x w' + w x' is still to be done; nothing at first
  V* w = work + n;
  V* y = work + 2 * n;
  set_zero(2 * n, work);
  for (int k = 0; k < n; ++k) {
    V* const z = a + static_cast<int64_t>(k) * n;
    for (int j = k; j < n; ++j) z[j] = neg_mul_add(x[k], w[j], neg_mul_add(w[k], x[j], z[j]));
    d[k] = z[k];
    e[k] = V();
    if (k == n - 1) break;
    e[k] = k == n - 2 ? z[k + 1] : reflect(n - k - 1, z + k + 1, tau + k);
    if (k == n - 2) {  // nothing to annihilate, but the last entry is still to be updated
      z[k + 1] = splat<V>(T(1));
      tau[k] = V();
    }
    for (int j = k + 1; j < n; ++j) y[j] = V();
    int i = k + 1;
    for (; i + 2 <= n; i += 2) update_and_multiply<2>(n, i, a, x, w, z, y);
    if (i < n) update_and_multiply<1>(n, i, a, x, w, z, y);
    // w = tau y - (tau^2 x'y / 2) x, x now being this reflector.
    V inner = V();
    for (int j = k + 1; j < n; ++j) inner = mul_add(y[j], z[j], inner);
    const V shift = splat<V>(T(0.5)) * tau[k] * tau[k] * inner;
    for (int j = k + 1; j < n; ++j) y[j] = neg_mul_add(shift, z[j], tau[k] * y[j]);
    x = z;
    std::swap(w, y);
  }
}

// Rows i ... i + R - 1 of q times H = I - tau x x', in columns `first` ... n - 1.
template <int R, class V, class N>
STATESPACE_INLINE void reflect_rows(N n, int i, int first, const V& tau, const V* x, V* q) {
  V* row[R];
  V sum[R];
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
    row[r] = q + static_cast<int64_t>(i + r) * n;
    sum[r] = V();
  }
  for (int j = first; j < n; ++j) {
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) sum[r] = mul_add(row[r][j], x[j], sum[r]);
  }
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) sum[r] = tau * sum[r];
  for (int j = first; j < n; ++j) {
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) row[r][j] = neg_mul_add(sum[r], x[j], row[r][j]);
  }
}

// q[n, n] = H' for the reflectors that `tridiagonalise` left in a and tau.
template <class V, class N>
STATESPACE_BUILDING_BLOCK void form_transposed(N n, const V* a, const V* tau, V* q) {
  set_zero(static_cast<int64_t>(n) * n, q);
  for (int i = 0; i < n; ++i) q[static_cast<int64_t>(i) * n + i] = splat<V>(ScalarOf<V>(1));
  for (int k = n - 3; k >= 0; --k) {
    const V* const x = a + static_cast<int64_t>(k) * n;
    int i = k + 1;
    for (; i + 4 <= n; i += 4) reflect_rows<4>(n, i, k + 1, tau[k], x, q);
    for (; i < n; ++i) reflect_rows<1>(n, i, k + 1, tau[k], x, q);
  }
}

// The unreduced block of T at its lower end, per lane: rows first ... last, as numbers; both 0
// where T is diagonal.
template <class V>
struct Window {
  V first, last;
  V head;   // d[first]
  V shift;  // the eigenvalue of the trailing 2 x 2 block next to its last entry (Wilkinson's)
  int begin, end;  // over all lanes
};

// Sets the negligible entries of e to zero and finds the window; no lane's lies beyond row `end`.
template <class V>
STATESPACE_BUILDING_BLOCK Window<V> find_window(int end, const V& norm, const V* d, V* e) {
  using T = ScalarOf<V>;
  constexpr T kEps = std::numeric_limits<T>::epsilon() / 2;
  Window<V> window = {V(), V(), V(), V(), end, 0};
  const V floor = norm * splat<V>(kEps * kEps);
  V before = V(), corner = V(), last = V();  // of the trailing block: [before corner; corner last]
  Mask<V> closed = V() != V();
  for (int i = end - 1; i >= 0; --i) {
    const V scale = absolute(d[i]) + absolute(d[i + 1]);
    const Mask<V> small = absolute(e[i]) <= mul_add(splat<V>(kEps), scale, floor);
    e[i] = select<V>(small, V(), e[i]);
    const Mask<V> outside = window.last == V();
    const Mask<V> open = mask_and(mask_not(small), mask_not(closed));
    const Mask<V> starts = mask_and(open, outside);
    closed = mask_or(closed, mask_and(small, mask_not(outside)));
    window.last = select<V>(starts, splat<V>(T(i + 1)), window.last);
    before = select<V>(starts, d[i], before);
    corner = select<V>(starts, e[i], corner);
    last = select<V>(starts, d[i + 1], last);
    window.first = select<V>(open, splat<V>(T(i)), window.first);
    window.head = select<V>(open, d[i], window.head);
    if (any_lane(open)) {
      window.begin = i;
      window.end = std::max(window.end, i + 1);
    }
  }
  const V half_gap = splat<V>(T(0.5)) * (before - last);
  const V root = square_root(mul_add(half_gap, half_gap, corner * corner));
  const V divisor = half_gap + select<V>(half_gap < V(), -root, root);
  window.shift = last - corner * (corner / select<V>(divisor == V(), splat<V>(T(1)), divisor));
  return window;
}

// One implicit QR step on the window of each lane of the tridiagonal matrix d[n], e[n - 1]: T
// becomes G T G', and q becomes G q, for the rotations G.
//
// The rows of q are rotated one rotation late, so that they fill the time in which the next one
// waits for its square root.
template <class V, class N>
STATESPACE_BUILDING_BLOCK void qr_step(N n, const Window<V>& window, V* d, V* e, V* q) {
  using T = ScalarOf<V>;
  const V one = splat<V>(T(1)), two = splat<V>(T(2));
  V g = V(), p = V(), c = one, s = one;
  Rotation<V> late = {one, V()};
  for (int i = window.begin; i < window.end; ++i) {
    const V place = splat<V>(T(i));
    const Mask<V> active = mask_and(window.first <= place, place < window.last);
    const Mask<V> starts = mask_and(active, window.first == place);
    const Mask<V> ends = mask_and(active, window.last == splat<V>(T(i + 1)));
    g = select<V>(starts, window.head - window.shift, g);
    p = select<V>(starts, V(), p);
    c = select<V>(starts, one, c);
    s = select<V>(starts, one, s);
    const V f = s * e[i], b = c * e[i];
    const V square = mul_add(f, f, g * g);
    const Mask<V> vanishes = square < splat<V>(kNegligibleSquare<T>);
    const V root = select<V>(vanishes, V(), square_root(square));
    const V inverse = root * (one / select<V>(vanishes, one, square));
    c = select<V>(vanishes, one, g * inverse);
    s = f * inverse;
    const V diagonal = d[i] - p;
    const V change = mul_add(d[i + 1] - diagonal, s, two * c * b);
    p = s * change;
    g = mul_add(c, change, -b);
    if (i > 0) e[i - 1] = select<V>(mask_and(active, mask_not(starts)), root, e[i - 1]);
    d[i] = select<V>(active, diagonal + p, d[i]);
    d[i + 1] = select<V>(ends, d[i + 1] - p, d[i + 1]);
    e[i] = select<V>(ends, g, e[i]);
    if (i > window.begin)
      rotate(n, late, q + static_cast<int64_t>(i - 1) * n, q + static_cast<int64_t>(i) * n);
    late = {select<V>(active, c, one), select<V>(active, s, V())};
  }
  rotate(n, late, q + static_cast<int64_t>(window.end - 1) * n,
         q + static_cast<int64_t>(window.end) * n);
}

// Diagonalises the tridiagonal matrix d[n], e[n - 1]. Returns, per lane, how many entries of e did
// not vanish within the limit.
template <class V, class N>
STATESPACE_INLINE V diagonalise(N n, V* d, V* e, V* q) {
  using T = ScalarOf<V>;
  V norm = V();
  for (int i = 0; i < n; ++i) norm = maximum(norm, absolute(d[i]) + absolute(e[i]));
  int end = n - 1;
  for (int64_t step = 0; step < int64_t{kStepsPerEigenvalue} * n; ++step) {
    const Window<V> window = find_window(end, norm, d, e);
    if (window.end == 0) return V();
    qr_step(n, window, d, e, q);
    end = window.end;
  }
  find_window(end, norm, d, e);
  V left = V();
  for (int i = 0; i + 1 < n; ++i) left = left + select<V>(e[i] == V(), V(), splat<V>(T(1)));
  return left;
}

// The sign that makes positive the first entry of nearly largest magnitude of x[n].
template <class V, class N>
STATESPACE_INLINE V eigenvector_sign(N n, const V* x) {
  using T = ScalarOf<V>;
  V largest = V(), pivot = V();
  for (int j = 0; j < n; ++j) largest = maximum(largest, absolute(x[j]));
  const V bound = largest * splat<V>(T(kNearlyLargest));
  for (int j = n - 1; j >= 0; --j) pivot = select<V>(absolute(x[j]) < bound, pivot, x[j]);
  return select<V>(pivot < V(), splat<V>(T(-1)), splat<V>(T(1)));
}

// Row i of the eigenvectors q, as columns of v[n, n], in ascending order of d[n], each with
// its sign fixed.
template <class V, class N>
STATESPACE_BUILDING_BLOCK void sort(N n, const V* d, const V* q, V* eigenvalues, V* v) {
  using T = ScalarOf<V>;
  for (int i = 0; i < n; ++i) {
    V rank = V();  // how many come before
    for (int j = 0; j < n; ++j) {
      const Mask<V> before = j < i ? d[j] <= d[i] : d[j] < d[i];
      rank = rank + select<V>(before, splat<V>(T(1)), V());
    }
    const V* const row = q + static_cast<int64_t>(i) * n;
    const V sign = eigenvector_sign(n, row);
    int64_t column[kLanes<V>];
    for (int lane = 0; lane < kLanes<V>; ++lane) {
      column[lane] = static_cast<int64_t>(get_lane(rank, lane));
      set_lane(eigenvalues[column[lane]], lane, get_lane(d[i], lane));
    }
    for (int j = 0; j < n; ++j) {
      const V entry = mul_add(sign, row[j], V());  // never -0
      for (int lane = 0; lane < kLanes<V>; ++lane) {
        set_lane(v[static_cast<int64_t>(j) * n + column[lane]], lane, get_lane(entry, lane));
      }
    }
  }
}

// Numbers of scratch of `eigh`.
STATESPACE_INLINE int64_t eigh_work_size(int64_t n) { return n * n + 6 * n; }

// Eigenvalues lambda[n], ascending, and eigenvectors, the columns of v[n, n], of the symmetric
// matrix whose lower triangle is that of a[n, n]. v may be a. `work` holds eigh_work_size(n)
// numbers.
//
// Returns per lane how many eigenvalues were not found: 0, or else lambda and v are NaN. With an
// infinity or a NaN in the lower triangle none is.
template <class V, class N>
STATESPACE_BUILDING_BLOCK V eigh(N n, const V* a, V* lambda, V* v, V* work) {
  using T = ScalarOf<V>;
  const int64_t size = static_cast<int64_t>(n) * n;
  V probe = V(), largest = V();
  for (int i = 0; i < n; ++i) {
    for (int j = 0; j <= i; ++j) {
      const V entry = a[static_cast<int64_t>(i) * n + j];
      probe = probe + (entry - entry);
      largest = maximum(largest, absolute(entry));
    }
  }
  const Mask<V> finite = probe == V();
  const V scale = power_of_two_scale(largest), inverse = splat<V>(T(1)) / scale;
  for (int i = 0; i < n; ++i) {
    for (int j = 0; j <= i; ++j) {
      v[static_cast<int64_t>(j) * n + i] =
          select<V>(finite, a[static_cast<int64_t>(i) * n + j] * inverse, V());
    }
  }
  V* const q = work;
  V* const d = q + size;
  V* const e = d + n;
  V* const tau = e + n;
  tridiagonalise(n, v, d, e, tau, tau + n);
  form_transposed(n, v, tau, q);
  V info = diagonalise(n, d, e, q);
  sort(n, d, q, lambda, v);
  info = select<V>(finite, info, splat<V>(T(n)));
  for (int i = 0; i < n; ++i) lambda[i] = mul_add(lambda[i], scale, V());
  const Mask<V> failed = info != V();
  spoil_lanes(n, failed, lambda);
  spoil_lanes(size, failed, v);
  return info;
}

// Cotangent a_bar[n, n] of A, symmetric, from those of the eigenvalues and the eigenvectors:
// V (diag(lambda_bar) + E o (V' v_bar - v_bar' V) / 2) V' with E_ij = 1 / (lambda_j - lambda_i), 0
// within a cluster (derivation beside `adjoint_reference` in linalg_ops/eigh.py). `work` holds n *
// n numbers. A lane whose cotangents are all zero gets zero.
template <class V, class N>
STATESPACE_INLINE void eigh_adjoint(N n, const V* lambda, const V* v, const V* lambda_bar,
                                    const V* v_bar, V* a_bar, V* work) {
  using T = ScalarOf<V>;
  const int64_t size = static_cast<int64_t>(n) * n;
  const Mask<V> unused = mask_and(all_zero(n, lambda_bar), all_zero(size, v_bar));
  multiply(n, n, n, transposed(v, n), rows(v_bar, n), a_bar);
  V largest = V();
  for (int i = 0; i < n; ++i) largest = maximum(largest, absolute(lambda[i]));
  const V cluster =
      maximum(largest * splat<V>(cluster_width<T>(n)), splat<V>(Float<T>::kSmallestNormal));
  const V half = splat<V>(T(0.5));
  for (int i = 0; i < n; ++i) {
    for (int j = 0; j < i; ++j) {
      V* const lower = a_bar + static_cast<int64_t>(i) * n + j;
      V* const upper = a_bar + static_cast<int64_t>(j) * n + i;
      const V gap = lambda[i] - lambda[j];
      const V turn = half * (*upper - *lower) / gap;
      *lower = *upper = select<V>(gap <= cluster, V(), turn);
    }
    a_bar[static_cast<int64_t>(i) * n + i] = lambda_bar[i];
  }
  multiply(n, n, n, rows<V>(v, n), rows<V>(a_bar, n), work);
  multiply<Into::kSet, Part::kLower>(n, n, n, rows<V>(work, n), transposed(v, n), a_bar);
  mirror(n, a_bar);
  zero_lanes(size, unused, a_bar);
}

}  // namespace STATESPACE_ISA
}  // namespace statespace

#endif  // STATESPACE_NATIVE_CORE_EIGH_H_
