// One step of the disturbance smoother, backwards over the filter's output.
#ifndef STATESPACE_NATIVE_CORE_KALMAN_SMOOTHER_H_
#define STATESPACE_NATIVE_CORE_KALMAN_SMOOTHER_H_

#include "core/kalman_adjoint.h"

namespace statespace {
namespace STATESPACE_ISA {

// Smoothed moments of one step; lag_one is Cov[x_{t+1}, x_t | y], or null where it is not wanted.
template <class V>
struct SmoothedMoments {
  V* mean;        // [n]
  V* covariance;  // [n, n]
  V* lag_one;     // [n, n]
};

// L^-1 H over the observed components; rows of missing ones are zero.
template <class V, class N, class M>
STATESPACE_INLINE void whiten_observation(N n, M m, const KalmanParameters<V>& model,
                                          const KalmanUpdate<V>& update, V* whitened) {
  for (int i = 0; i < m; ++i) {
    for (int j = 0; j < n; ++j) {
      V row = update.observed[i] * model.h[i * n + j];
      for (int k = 0; k < i; ++k) row = neg_mul_add(update.l[i * m + k], whitened[k * n + j], row);
      whitened[i * n + j] = row * update.inverse[i];
    }
  }
}

// |F|' diag(N)^(1/2) [n], whose products bound the entries of F' N F and what rounding leaves of
// them, for |N_jk| <= (N_jj N_kk)^(1/2).
template <class V, class N>
STATESPACE_INLINE void information_bound(N n, const V* f, const V* cov, V* bound) {
  set_zero(n, bound);
  for (int j = 0; j < n; ++j) {
    const V root = square_root(maximum(cov[j * n + j], V()));
    for (int i = 0; i < n; ++i) bound[i] = mul_add(root, absolute(f[j * n + i]), bound[i]);
  }
}

// How much larger than a smoothed variance, left of P - P N P, is what cancels in it: the worst of
// the states. Times the machine's epsilon it bounds the relative error of that variance. bound: as
// above; p: filtered [n, n]. `work` holds n numbers.
template <class V, class N>
STATESPACE_INLINE V smoother_cancellation(N n, const V* bound, const V* p, const V* smoothed,
                                          V* work) {
  const V zero = V(), infinite = splat<V>(std::numeric_limits<ScalarOf<V>>::infinity());
  V* const sums = work;  // |P| times the bound
  set_zero(n, sums);
  for (int j = 0; j < n; ++j) {
    for (int i = 0; i < n; ++i) sums[i] = mul_add(absolute(p[j * n + i]), bound[j], sums[i]);
  }
  for (int i = 0; i < n; ++i) {
    const V sum = sums[i], left = smoothed[i * n + i];
    const V nothing_left = select<V>(sum > zero, infinite, zero);
    sums[i] = select<V>(left > zero, sum * sum / left, nothing_left);
  }
  V worst = zero;
  for (int i = 0; i < n; ++i) worst = maximum(worst, sums[i]);
  return worst;
}

// From this cancellation on rounding may have taken more than about 1e-9 of a smoothed variance in
// float64, 1e-3 in float32: it is what starts more vague than a thousand times the data's noise do.
template <class T>
constexpr T kLargestCancellation = sizeof(T) == sizeof(double) ? T(1 << 22) : T(1 << 13);

STATESPACE_INLINE int64_t kalman_smoother_work_size(int64_t n, int64_t m) {
  return 3 * n * n + 3 * m * n + m + n;
}

// The smoothed covariances of a step. cov[n, n] is N_t of Durbin & Koopman, section 4.4, as it
// comes from step t + 1; it is replaced by that of step t. next_p: the predicted covariance of step
// t + 1.
//
// The smoothed moments are formed from the *filtered* ones, a_f + P_f F'r and P_f - P_f F'N F P_f:
// equal to a + P r_{t-1} and P - P N_{t-1} P, without the worst of their cancellation after a vague
// start. Returns what is left of it, as smoother_cancellation.
template <class V, class N, class M>
STATESPACE_INLINE V smooth_covariance(N n, M m, const KalmanParameters<V>& model,
                                      const KalmanUpdate<V>& update, const V* next_p, V* cov,
                                      const SmoothedMoments<V>& out, V* work) {
  V* const x = work;                 // scratch [n, n]
  V* const n_p = x + n * n;          // F' N F P_f [n, n]
  V* const back = n_p + n * n;       // F' N F, then F' N F (I - K H) [n, n]
  V* const gain = back + n * n;      // K' [m, n]
  V* const whitened = gain + m * n;  // L^-1 H [m, n]
  V* const k_n = whitened + m * n;   // K' times what `back` holds [m, n]
  V* const e = k_n + m * n;          // scratch [m]
  V* const bound = e + m;            // [n]
  const V* const zero = nullptr;

  congruence(model.f_transpose_pattern, n, model.f_transpose, model.f, cov, zero, x, back);
  if (out.lag_one != nullptr) {  // F P_f - P+ (N F P_f)
    multiply(model.f_pattern, n, n, rows<V>(model.f, n), update.p, out.lag_one);
    multiply(n, n, n, rows<V>(x, n), rows<V>(update.p, n), n_p);
    multiply<Into::kSubtract>(n, n, n, rows(next_p, n), rows<V>(n_p, n), out.lag_one);
  }
  information_bound(n, model.f, cov, bound);
  multiply(n, n, n, rows<V>(back, n), rows<V>(update.p, n), n_p);
  for (int i = 0; i < n * n; ++i) out.covariance[i] = update.p[i];
  multiply<Into::kSubtract, Part::kLowerOrAll>(n, n, n, rows<V>(update.p, n), rows<V>(n_p, n),
                                               out.covariance);
  mirror(n, out.covariance);

  // N = H' S^-1 H + (I - K H)' F'N F (I - K H), one factor after the other: multiplied out, it is a
  // difference of large numbers.
  kalman_gain(n, m, update, gain, e);
  whiten_observation(n, m, model, update, whitened);
  multiply(m, n, n, rows<V>(gain, n), rows<V>(back, n), k_n);
  multiply<Into::kSubtract>(n, n, m, transposed<V>(k_n, n), rows<V>(model.h, n), back);
  multiply(m, n, n, rows<V>(gain, n), rows<V>(back, n), k_n);
  for (int i = 0; i < n * n; ++i) cov[i] = back[i];
  multiply<Into::kSubtract, Part::kLowerOrAll>(n, n, m, transposed<V>(model.h, n), rows<V>(k_n, n),
                                               cov);
  multiply<Into::kAdd, Part::kLowerOrAll>(n, n, m, transposed<V>(whitened, n), rows<V>(whitened, n),
                                          cov);
  mirror(n, cov);
  return smoother_cancellation(n, bound, update.p, out.covariance, x);
}

// u = L'^-1 (z - L^-1 H P r) [m], S^-1 v - K'r, and r += H'u: from r_f = F'r of the step after to
// r.
template <class V, class A, class N, class M>
STATESPACE_INLINE void undo_update(N n, M m, const KalmanWeights<A>& weights, const A* h,
                                   const V* z, V* r, V* u) {
  add_products<Into::kSubtract>(m, n, weights.w, n, 1, r, z, u);
  for (int i = m - 1; i >= 0; --i) {
    V sum = u[i];
    for (int k = i + 1; k < m; ++k) {
      sum = neg_mul_add(spread<V>(weights.l[k * m + i]), u[k], sum);
    }
    u[i] = sum * spread<V>(weights.inverse[i]);
  }
  add_transposed_product<V>(n, m, h, u, r, r);
}

STATESPACE_INLINE int64_t smooth_mean_work_size(int64_t n, int64_t m) { return n + m; }

// The smoothed mean of a step, from its filtered moments. r[n] is r_t as it comes from step t + 1;
// it is replaced by that of step t. What has no data may be the same in all lanes.
template <class V, class A, class N, class M>
STATESPACE_INLINE void smooth_mean(N n, M m, const KalmanWeights<A>& weights, const A* f,
                                   const A* h, const A* filtered_covariance, const V* filtered_mean,
                                   const V* z, V* r, V* mean, V* work) {
  V* const r_filtered = work;
  undo_prediction(n, f, r, r_filtered);
  for (int i = 0; i < n; ++i) r[i] = r_filtered[i];
  add_transposed_product<V>(n, n, filtered_covariance, r_filtered, filtered_mean, mean);
  undo_update(n, m, weights, h, z, r, work + n);
}

// Both. `work` holds kalman_smoother_work_size numbers.
template <class V, class N, class M>
STATESPACE_INLINE V kalman_smooth(N n, M m, const KalmanParameters<V>& model,
                                  const KalmanUpdate<V>& update, const V* next_p, V* r, V* cov,
                                  const SmoothedMoments<V>& out, V* work) {
  smooth_mean<V>(n, m, weights(update), model.f, model.h, update.p, update.a, update.z, r, out.mean,
                 work);
  return smooth_covariance(n, m, model, update, next_p, cov, out, work);
}

}  // namespace STATESPACE_ISA
}  // namespace statespace

#endif  // STATESPACE_NATIVE_CORE_KALMAN_SMOOTHER_H_
