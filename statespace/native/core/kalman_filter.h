// One step of the Kalman filter in covariance form: measurement update and prediction.
//
// Notation of Durbin & Koopman, Time Series Analysis by State Space Methods, 2nd ed., section 4.3:
// a, P are the predicted moments, H the observation matrix, v the innovation, S = L L' its
// covariance, K = P H' S^-1 the gain. All matrices are row-major, symmetric ones stored whole.
#ifndef STATESPACE_NATIVE_CORE_KALMAN_FILTER_H_
#define STATESPACE_NATIVE_CORE_KALMAN_FILTER_H_

#include <limits>

#include "core/sparse.h"

namespace statespace {
namespace STATESPACE_ISA {

// The parameters of one step. k, r: number of columns of the noise scales.
template <class V>
struct KalmanParameters {
  V* f;            // transition matrix [n, n]
  V* f_transpose;  // [n, n]: products with F' read it along its rows
  V* g;            // transition scale [n, k]
  V* q;            // G G' [n, n], lower triangle
  V* h;            // observation matrix [m, n]
  V* c;            // observation scale [m, r]
  V* r;            // C C' [m, m], lower triangle
  V* b;            // transition offset [n]
  V* d;            // observation offset [m]
  // Of F, F' and H, where they have been looked for.
  Pattern f_pattern, f_transpose_pattern, h_pattern;
};

// What an update leaves for the prediction and for the way back. Rows of missing components are
// zero in v, z and w, and those of the identity in l.
template <class V>
struct KalmanUpdate {
  V* observed;  // [m] 1 or 0
  V* v;         // innovation [m]
  V* s;         // H P H' + R, no component missing [m, m], lower triangle
  V* l;         // Cholesky factor of S over the observed components [m, m]
  V* inverse;   // 1 / diag(L) [m]
  V* z;         // L^-1 v [m]
  V* w;         // L^-1 H P [m, n]
  V* a;         // filtered mean [n]
  V* p;         // filtered covariance [n, n]
  Mask<V> ok;   // false in the lanes where S is not positive definite or a number is not finite
};

// Numbers needed for a KalmanParameters and a KalmanUpdate.
STATESPACE_INLINE int64_t kalman_parameters_size(int64_t n, int64_t m, int64_t k, int64_t r) {
  return 3 * n * n + n * k + m * n + m * r + m * m + n + m;
}
STATESPACE_INLINE int64_t kalman_update_size(int64_t n, int64_t m) {
  return 4 * m + 2 * m * m + m * n + n + n * n;
}

// Lays the arrays out in `memory` and returns what follows them.
template <class V>
STATESPACE_INLINE V* place(KalmanParameters<V>& x, V* memory, int64_t n, int64_t m, int64_t k,
                           int64_t r) {
  const auto take = [&memory](int64_t count) { return (memory += count) - count; };
  x.f = take(n * n), x.f_transpose = take(n * n), x.g = take(n * k), x.q = take(n * n);
  x.h = take(m * n), x.c = take(m * r), x.r = take(m * m), x.b = take(n), x.d = take(m);
  return memory;
}
template <class V>
STATESPACE_INLINE V* place(KalmanUpdate<V>& x, V* memory, int64_t n, int64_t m) {
  const auto take = [&memory](int64_t count) { return (memory += count) - count; };
  x.observed = take(m), x.v = take(m), x.s = take(m * m), x.l = take(m * m), x.inverse = take(m);
  x.z = take(m), x.w = take(m * n), x.a = take(n), x.p = take(n * n);
  return memory;
}

// The lower triangle of Q = G G' or R = C C'.
template <class V, class N>
STATESPACE_ALWAYS_INLINE void noise_covariance(N n, int columns, const V* scale, V* covariance) {
  multiply<Into::kSet, Part::kLower>(n, n, columns, rows(scale, columns),
                                     transposed(scale, columns), covariance);
}

// x = base + A y for `R` rows of A, whose sums need not wait for each other: A(r, l) is
// a[r * row + l * column], and may be the same in all lanes of y. With kSubtract x = base - A y.
template <Into into, int R, class V, class A, class K>
STATESPACE_ALWAYS_INLINE void add_few_products(K k, const A* a, int64_t row, int64_t column,
                                               const V* y, const V* base, V* x) {
  V sums[R];
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) sums[r] = base[r];
  for (int l = 0; l < k; ++l) {
    const V number = y[l];
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
      const V factor = spread<V>(a[r * row + l * column]);
      sums[r] = into == Into::kAdd ? mul_add(factor, number, sums[r])
                                   : neg_mul_add(factor, number, sums[r]);
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) x[r] = sums[r];
}
template <Into into, class V, class A, class N, class K>
STATESPACE_ALWAYS_INLINE void add_products(N n, K k, const A* a, int64_t row, int64_t column,
                                           const V* y, const V* base, V* x) {
  int i = 0;
  for (; i + 4 <= n; i += 4) {
    add_few_products<into, 4>(k, a + i * row, row, column, y, base + i, x + i);
  }
  for (; i < n; ++i) add_few_products<into, 1>(k, a + i * row, row, column, y, base + i, x + i);
}

// x = base + A' y for A[k, n], which may be the same in all lanes of y.
template <class V, class A, class N, class K>
STATESPACE_ALWAYS_INLINE void add_transposed_product(N n, K k, const A* a, const V* y,
                                                     const V* base, V* x) {
  if constexpr (kAlone<V> && std::is_floating_point_v<V>) {
    using U = Vector<V>;
    constexpr int kWidth = kLanes<U>;
    if (n >= kWidth && n <= 4 * kWidth) {  // all of x in registers, the last from n - kWidth on
      return with_fixed_size<4>((n + kWidth - 1) / kWidth, [&](auto registers) {
        constexpr int C = registers;
        const auto place = [n](int s) { return s == C - 1 ? n - kWidth : s * kWidth; };
        U sums[C];
#pragma GCC unroll 4
        for (int s = 0; s < C; ++s) sums[s] = load_register<U>(base + place(s));
        for (int l = 0; l < k; ++l) {
          const U factor = splat<U>(y[l]);
#pragma GCC unroll 4
          for (int s = 0; s < C; ++s) {
            sums[s] = mul_add(factor, load_register<U>(a + l * n + place(s)), sums[s]);
          }
        }
#pragma GCC unroll 4
        for (int s = 0; s < C; ++s) store_register(sums[s], x + place(s));
      });
    }
  }
  if constexpr (kAlone<V>) {
    if (x != base) std::copy_n(base, static_cast<int>(n), x);
    multiply<Into::kAdd>(Fixed<1>(), n, k, rows(y, k), rows(a, n), x);
  } else {
    add_products<Into::kAdd>(n, k, a, 1, n, y, base, x);
  }
}

// The innovation y - H a - d, NaN where y is. H may be the same in all lanes; `pattern` is its own,
// where it has been looked for.
template <class V, class A, class N, class M>
STATESPACE_ALWAYS_INLINE void kalman_innovation_mean(N n, M m, const Pattern& pattern, const A* h,
                                                     const V* d, const V* y, const V* a, V* v) {
  for (int i = 0; i < m; ++i) v[i] = y[i] - d[i];
  if (pattern.is_sparse) {
    for (int i = 0; i < m; ++i) {
      for (int32_t p = pattern.begin[i]; p < pattern.begin[i + 1]; ++p) {
        const int j = pattern.columns[p];
        v[i] = neg_mul_add(spread<V>(h[i * n + j]), a[j], v[i]);
      }
    }
  } else {
    add_products<Into::kSubtract>(m, n, h, n, 1, a, v, v);
  }
}

// w = H P and the lower triangle of s = H P H' + R.
template <class V, class N, class M>
STATESPACE_ALWAYS_INLINE void kalman_innovation_covariance(N n, M m,
                                                           const KalmanParameters<V>& model,
                                                           const V* p, V* w, V* s) {
  multiply(model.h_pattern, m, n, rows<V>(model.h, n), p, w);
  for (int i = 0; i < m; ++i) {
    for (int j = 0; j <= i; ++j) s[i * m + j] = model.r[i * m + j];
  }
  multiply<Into::kAdd, Part::kLower>(m, m, n, rows<V>(w, n), transposed<V>(model.h, n), s);
}

// Both of the above.
template <class V, class N, class M>
STATESPACE_INLINE void kalman_innovation(N n, M m, const KalmanParameters<V>& model, const V* y,
                                         const V* a, const V* p, V* v, V* w, V* s) {
  kalman_innovation_mean<V>(n, m, model.h_pattern, model.h, model.d, y, a, v);
  kalman_innovation_covariance(n, m, model, p, w, s);
}

// An update's covariances, which depend on the data only through what is missing: NaN in y[m].
// p[n, n]: the predicted covariance. Leaves out.v, out.z and out.a alone.
template <class V, class N, class M>
STATESPACE_ALWAYS_INLINE void kalman_update_covariance(N n, M m, const KalmanParameters<V>& model,
                                                       const V* y, const V* p,
                                                       KalmanUpdate<V>& out) {
  using T = ScalarOf<V>;
  const V one = splat<V>(T(1)), zero = V();
  FiniteCheck<V> finite;
  if constexpr (kAlone<V>) {
    finite.add(n * n, p);
  } else {
    for (int i = 0; i < n; ++i) finite.add(i + 1, p + i * n);
  }

  kalman_innovation_covariance(n, m, model, p, out.w, out.s);
  for (int i = 0; i < m; ++i) {
    const Mask<V> seen = y[i] == y[i];
    out.observed[i] = select<V>(seen, one, zero);
    for (int j = 0; j < n; ++j) out.w[i * n + j] = select<V>(seen, out.w[i * n + j], zero);
    for (int j = 0; j < i; ++j) {
      const Mask<V> both = mask_and(seen, out.observed[j] != zero);
      out.l[i * m + j] = select<V>(both, out.s[i * m + j], zero);
    }
    out.l[i * m + i] = select<V>(seen, out.s[i * m + i], one);
  }

  Mask<V> ok = finite.passed();
  for (int j = 0; j < m; ++j) {
    V pivot = out.l[j * m + j];
    for (int k = 0; k < j; ++k) pivot = neg_mul_add(out.l[j * m + k], out.l[j * m + k], pivot);
    ok = mask_and(ok, mask_and(pivot > zero, pivot <= splat<V>(std::numeric_limits<T>::max())));
    const V root = square_root(pivot);
    out.l[j * m + j] = root;
    out.inverse[j] = one / root;
    for (int i = j + 1; i < m; ++i) {
      V sum = out.l[i * m + j];
      for (int k = 0; k < j; ++k) sum = neg_mul_add(out.l[i * m + k], out.l[j * m + k], sum);
      out.l[i * m + j] = sum * out.inverse[j];
    }
  }
  out.ok = ok;

  // w = L^-1 H P and P - w'w.
  for (int i = 0; i < m; ++i) {
    for (int k = 0; k < i; ++k) {
      const V factor = -out.l[i * m + k];
      for (int j = 0; j < n; ++j) {
        out.w[i * n + j] = mul_add(factor, out.w[k * n + j], out.w[i * n + j]);
      }
    }
    for (int j = 0; j < n; ++j) out.w[i * n + j] = out.w[i * n + j] * out.inverse[i];
  }
  if (whole_is_faster<V>(n)) {  // both triangles are summed alike
    for (int i = 0; i < n * n; ++i) out.p[i] = p[i];
    multiply<Into::kSubtract>(n, n, m, transposed<V>(out.w, n), rows<V>(out.w, n), out.p);
    return;
  }
  for (int i = 0; i < n; ++i) {
    for (int j = 0; j <= i; ++j) out.p[i * n + j] = p[i * n + j];
  }
  multiply<Into::kSubtract, Part::kLower>(n, n, m, transposed<V>(out.w, n), rows<V>(out.w, n),
                                          out.p);
  mirror(n, out.p);
}

// What an update's mean needs of its covariances; A is V, or a number that all lanes share.
template <class A>
struct KalmanWeights {
  const A* observed;  // as in KalmanUpdate
  const A* l;
  const A* inverse;
  const A* w;
};

template <class V>
STATESPACE_INLINE KalmanWeights<V> weights(const KalmanUpdate<V>& update) {
  return {update.observed, update.l, update.inverse, update.w};
}

// An update's mean: the innovation v[m], z = L^-1 v and the filtered mean a + w'z, from the
// predicted mean a[n]. pattern: H's, or none. Returns false in the lanes where a number is not
// finite.
template <class V, class A, class N, class M>
STATESPACE_ALWAYS_INLINE Mask<V> kalman_update_mean(N n, M m, const KalmanWeights<A>& weights,
                                                    const Pattern& pattern, const A* h, const V* d,
                                                    const V* y, const V* a, V* v, V* z,
                                                    V* filtered) {
  const V zero = V();
  FiniteCheck<V> finite;
  finite.add(n, a);
  kalman_innovation_mean(n, m, pattern, h, d, y, a, v);
  Mask<V> ok = zero == zero;
  for (int i = 0; i < m; ++i) {
    v[i] = select<V>(spread<V>(weights.observed[i]) != zero, v[i], zero);
    finite.add(Fixed<1>(), v + i);
    V sum = v[i];
    for (int k = 0; k < i; ++k) sum = mul_add(-spread<V>(weights.l[i * m + k]), z[k], sum);
    z[i] = sum * spread<V>(weights.inverse[i]);
    ok = mask_and(ok, is_finite(V(z[i] * z[i])));
  }
  add_transposed_product(n, m, weights.w, z, a, filtered);
  return mask_and(ok, finite.passed());
}

// Conditions the predicted moments a[n], p[n, n] on y[m], of which NaN entries are missing.
template <class V, class N, class M>
STATESPACE_INLINE void kalman_update(N n, M m, const KalmanParameters<V>& model, const V* y,
                                     const V* a, const V* p, KalmanUpdate<V>& out) {
  kalman_update_covariance(n, m, model, y, p, out);
  const Mask<V> ok = kalman_update_mean<V>(n, m, weights(out), model.h_pattern, model.h, model.d, y,
                                           a, out.v, out.z, out.a);
  out.ok = mask_and(out.ok, ok);
}

// The next predicted mean F a + b, from F'. F may be the same in all lanes.
template <class V, class A, class N>
STATESPACE_ALWAYS_INLINE void kalman_predict_mean(N n, const A* f_transpose, const V* b,
                                                  const V* filtered_mean, V* a) {
  add_transposed_product(n, n, f_transpose, filtered_mean, b, a);
}

// The next predicted covariance F P F' + Q. `work` holds n * n numbers.
template <class V, class N>
STATESPACE_ALWAYS_INLINE void kalman_predict_covariance(N n, const KalmanParameters<V>& model,
                                                        const V* filtered_covariance, V* p,
                                                        V* work) {
  congruence(model.f_pattern, n, model.f, model.f_transpose, filtered_covariance, model.q, work, p);
}

// Predicted moments of the next step. `work` holds n * n numbers.
template <class V, class N>
STATESPACE_INLINE void kalman_predict(N n, const KalmanParameters<V>& model, const V* filtered_mean,
                                      const V* filtered_covariance, V* a, V* p, V* work) {
  kalman_predict_covariance(n, model, filtered_covariance, p, work);
  kalman_predict_mean<V>(n, model.f_transpose, model.b, filtered_mean, a);
}

}  // namespace STATESPACE_ISA
}  // namespace statespace

#endif  // STATESPACE_NATIVE_CORE_KALMAN_FILTER_H_
