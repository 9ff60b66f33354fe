// One step of the filter backwards: cotangents of its inputs from those of its outputs.
//
// The log-likelihood's gradient needs no tape but the predicted moments. With r and N the
// cotangents of the *next* predicted mean and covariance (N symmetric, <N, dP> the differential), a
// step undoes the prediction and then the update. For a log-likelihood with unit weights, N = (r r'
// - N_DK) / 2 in terms of the r, N_DK of Durbin & Koopman's disturbance smoother (section 4.4), and
// what follows is their score (section 7.3); in the form used here it also holds for weights that
// differ by step.
//
// Derivation, with e = S^-1 v, K = P H' S^-1, a_f = a + K v, P_f = P - K S K', l the log-density:
//   1. a+ = F a_f + b, P+ = F P_f F' + G G':
//        F_bar = r a_f' + 2 N F P_f,  b_bar = r,  G_bar = 2 N G,  r_f = F' r,  N_f = F' N F.
//   2. dl = w (tr[(e e' - S^-1) dS] / 2 - e' dv), da_f = da + d(P H') e + K dv - K dS e (P H', S, v
//      taken as independent), dP_f = dP - d(P H') K' - K d(P H')' + K dS K'. So, with g = K' r_f:
//        v_bar = -u, u = w e - g,
//        S_bar = K' N_f K - (g e' + e g') / 2 + w (e e' - S^-1) / 2,
//        (P H')_bar = r_f e' - 2 N_f K.
//   3. v = y - H a - d, S = H (P H') + C C'. With Z = S_bar H + (P H')_bar':
//        y_bar = -u,  d_bar = u,  C_bar = 2 S_bar C,
//        H_bar = (S_bar H + Z) P + u a',
//        a_bar = r_f + H' u,  P_bar = N_f + (H' Z + Z' H) / 2.
#ifndef STATESPACE_NATIVE_CORE_KALMAN_ADJOINT_H_
#define STATESPACE_NATIVE_CORE_KALMAN_ADJOINT_H_

#include "core/kalman_filter.h"

namespace statespace {
namespace STATESPACE_ISA {

// L'^-1 X for X[m, n].
template <class V, class N, class M, class Update>
STATESPACE_INLINE void unwhiten(N n, M m, const Update& update, const V* x, V* out) {
  for (int i = m - 1; i >= 0; --i) {
    for (int j = 0; j < n; ++j) out[i * n + j] = x[i * n + j];
    for (int k = i + 1; k < m; ++k) {
      const V factor = update.l[k * m + i];
      for (int j = 0; j < n; ++j) {
        out[i * n + j] = neg_mul_add(factor, out[k * n + j], out[i * n + j]);
      }
    }
    for (int j = 0; j < n; ++j) out[i * n + j] = out[i * n + j] * update.inverse[i];
  }
}

// Gain and weighted innovation of an update, K' = S^-1 H P [m, n] and e = S^-1 v [m].
template <class V, class N, class M, class Update>
STATESPACE_INLINE void kalman_gain(N n, M m, const Update& update, V* gain, V* weight) {
  unwhiten<V>(n, m, update, update.w, gain);
  unwhiten<V>(Fixed<1>(), m, update, update.z, weight);
}

// Cotangents of one step's parameters and data; each entry is added to. f and h may be null: they
// are then not wanted.
template <class V>
struct KalmanCotangents {
  V* y;  // [m]
  V* f;  // [n, n]
  V* g;  // [n, k]
  V* h;  // [m, n]
  V* c;  // [m, r]
  V* b;  // [n]
  V* d;  // [m]
};

// Cotangents of what a step gives besides its log-density: filtered and predicted moments,
// innovation and its covariance over all components. Matrices need not be symmetric.
template <class V>
struct KalmanMomentCotangents {
  const V* filtered_mean;          // [n]
  const V* filtered_covariance;    // [n, n]
  const V* mean;                   // [n]
  const V* covariance;             // [n, n]
  const V* innovation;             // [m]
  const V* innovation_covariance;  // [m, m]
};

// x += (y + y') / 2 for x[n, n], symmetric.
template <class V, class N>
STATESPACE_INLINE void add_symmetric(N n, const V* y, V* x) {
  const V half = splat<V>(ScalarOf<V>(0.5));
  for (int i = 0; i < n; ++i) {
    for (int j = 0; j <= i; ++j) {
      x[i * n + j] = mul_add(half, y[i * n + j] + y[j * n + i], x[i * n + j]);
      x[j * n + i] = x[i * n + j];
    }
  }
}

STATESPACE_INLINE int64_t kalman_adjoint_work_size(int64_t n, int64_t m) {
  return 2 * n * n + 3 * m * n + 2 * m * m + 3 * m + n;
}

// S^-1 over the observed components from its Cholesky factor, lower triangle; rows of missing
// components are zero. `work` holds m * m numbers.
template <class V, class M>
STATESPACE_INLINE void innovation_precision(M m, const KalmanUpdate<V>& update, V* precision,
                                            V* work) {
  for (int j = 0; j < m; ++j) {  // work = L^-1, column by column
    for (int i = j; i < m; ++i) {
      V sum = i == j ? update.observed[j] : V();
      for (int k = j; k < i; ++k) sum = neg_mul_add(update.l[i * m + k], work[k * m + j], sum);
      work[i * m + j] = sum * update.inverse[i];
    }
  }
  for (int i = 0; i < m; ++i) {
    for (int j = 0; j <= i; ++j) {
      V sum = V();
      for (int k = i; k < m; ++k) sum = mul_add(work[k * m + i], work[k * m + j], sum);
      precision[i * m + j] = sum;
    }
  }
}

// F' r, for F that may be the same in all lanes.
template <class V, class A, class N>
STATESPACE_INLINE void undo_prediction(N n, const A* f, const V* r, V* r_filtered) {
  set_zero(n, r_filtered);
  add_transposed_product<V>(n, n, f, r, r_filtered, r_filtered);
}

// 1. Undoes the prediction from the filtered moments: r[n], cov[n, n], the cotangents of the next
// predicted moments, become r_filtered and n_filtered. `work` holds n * n numbers.
template <class V, class N>
STATESPACE_INLINE void kalman_predict_adjoint(N n, int noise, const KalmanParameters<V>& model,
                                              const V* filtered_mean, const V* filtered_covariance,
                                              const V* r, const V* cov,
                                              const KalmanCotangents<V>& bar, V* r_filtered,
                                              V* n_filtered, V* work) {
  const V two = splat<V>(ScalarOf<V>(2));
  const V* const zero = nullptr;
  congruence(model.f_transpose_pattern, n, model.f_transpose, model.f, cov, zero, work, n_filtered);
  if (bar.f != nullptr) {
    for (int i = 0; i < n * n; ++i) work[i] = two * work[i];  // 2 N F
    multiply<Into::kAdd>(n, n, n, rows<V>(work, n), rows(filtered_covariance, n), bar.f);
    for (int i = 0; i < n; ++i) {
      for (int j = 0; j < n; ++j) {
        bar.f[i * n + j] = mul_add(r[i], filtered_mean[j], bar.f[i * n + j]);
      }
    }
  }
  for (int i = 0; i < n * n; ++i) work[i] = two * cov[i];
  multiply<Into::kAdd>(n, noise, n, rows<V>(work, n), rows<V>(model.g, noise), bar.g);
  for (int i = 0; i < n; ++i) bar.b[i] = bar.b[i] + r[i];
  undo_prediction(n, model.f, r, r_filtered);
}

// Undoes one step. a, p: the predicted moments it started from; r[n], cov[n, n]: cotangents of the
// next predicted moments, replaced by those of a and p. weight: cotangent of the step's
// log-density; moments: those of its other outputs, or null.
template <class V, class N, class M>
STATESPACE_INLINE void kalman_adjoint(N n, M m, int noise, int observation_noise,
                                      const KalmanParameters<V>& model,
                                      const KalmanUpdate<V>& update, const V* a, const V* p,
                                      const V& weight, const KalmanMomentCotangents<V>* moments,
                                      V* r, V* cov, const KalmanCotangents<V>& bar, V* work) {
  const V two = splat<V>(ScalarOf<V>(2)), half = splat<V>(ScalarOf<V>(0.5));
  V* const nf = work;                  // scratch [n, n]
  V* const n_filtered = nf + n * n;    // N_f [n, n]
  V* const gain = n_filtered + n * n;  // K' [m, n]
  V* const k_n = gain + m * n;         // K' N_f [m, n]
  V* const cross = k_n + m * n;        // (P H')_bar', then Z [m, n]
  V* const s_bar = cross + m * n;      // [m, m]
  V* const inverse = s_bar + m * m;    // scratch [m, m]
  V* const e = inverse + m * m;        // S^-1 v [m]
  V* const g = e + m;                  // K' r_f [m]
  V* const u = g + m;                  // [m]
  V* const r_filtered = u + m;         // [n]

  kalman_predict_adjoint(n, noise, model, update.a, update.p, r, cov, bar, r_filtered, n_filtered,
                         nf);
  if (moments != nullptr) {
    for (int i = 0; i < n; ++i) r_filtered[i] = r_filtered[i] + moments->filtered_mean[i];
    add_symmetric(n, moments->filtered_covariance, n_filtered);
  }

  // 2. Update.
  kalman_gain(n, m, update, gain, e);
  innovation_precision(m, update, s_bar, inverse);
  multiply(m, n, n, rows<V>(gain, n), rows<V>(n_filtered, n), k_n);
  for (int i = 0; i < m; ++i) {
    V sum = V();
    for (int j = 0; j < n; ++j) sum = mul_add(gain[i * n + j], r_filtered[j], sum);
    g[i] = sum;
    u[i] = mul_add(weight, e[i], -sum);
    if (moments != nullptr) {
      u[i] = neg_mul_add(update.observed[i], moments->innovation[i], u[i]);
    }
    bar.y[i] = bar.y[i] - u[i];
    bar.d[i] = bar.d[i] + u[i];
    for (int j = 0; j <= i; ++j) {
      const V own = half * weight * mul_add(e[i], e[j], -s_bar[i * m + j]);
      s_bar[i * m + j] = own - half * mul_add(g[i], e[j], e[i] * g[j]);
    }
  }
  multiply<Into::kAdd, Part::kLower>(m, m, n, rows<V>(k_n, n), transposed<V>(gain, n), s_bar);
  mirror(m, s_bar);
  if (moments != nullptr) add_symmetric(m, moments->innovation_covariance, s_bar);
  for (int i = 0; i < m; ++i) {
    for (int j = 0; j < n; ++j) {
      cross[i * n + j] = neg_mul_add(two, k_n[i * n + j], e[i] * r_filtered[j]);
    }
  }

  // 3. Observation. k_n becomes S_bar H, then S_bar H + Z.
  multiply(m, n, m, rows<V>(s_bar, m), rows<V>(model.h, n), k_n);
  for (int i = 0; i < m * n; ++i) cross[i] = cross[i] + k_n[i];
  if (bar.h != nullptr) {
    for (int i = 0; i < m * n; ++i) k_n[i] = k_n[i] + cross[i];
    multiply<Into::kAdd>(m, n, n, rows<V>(k_n, n), rows(p, n), bar.h);
    for (int i = 0; i < m; ++i) {
      for (int j = 0; j < n; ++j) bar.h[i * n + j] = mul_add(u[i], a[j], bar.h[i * n + j]);
    }
  }
  for (int i = 0; i < m; ++i) {
    for (int j = 0; j < observation_noise; ++j) {
      V sum = V();
      for (int k = 0; k < m; ++k) {
        sum = mul_add(s_bar[i * m + k], model.c[k * observation_noise + j], sum);
      }
      bar.c[i * observation_noise + j] = mul_add(two, sum, bar.c[i * observation_noise + j]);
    }
  }
  multiply(n, n, m, transposed<V>(model.h, n), rows<V>(cross, n), nf);
  for (int i = 0; i < n; ++i) {
    V sum = r_filtered[i];
    for (int k = 0; k < m; ++k) sum = mul_add(model.h[k * n + i], u[k], sum);
    r[i] = sum;
    for (int j = 0; j <= i; ++j) {
      cov[i * n + j] = mul_add(half, nf[i * n + j] + nf[j * n + i], n_filtered[i * n + j]);
    }
  }
  mirror(n, cov);
  if (moments != nullptr) {
    for (int i = 0; i < n; ++i) r[i] = r[i] + moments->mean[i];
    add_symmetric(n, moments->covariance, cov);
  }
}

}  // namespace STATESPACE_ISA
}  // namespace statespace

#endif  // STATESPACE_NATIVE_CORE_KALMAN_ADJOINT_H_
