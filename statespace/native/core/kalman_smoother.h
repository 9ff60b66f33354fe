// One step of the disturbance smoother, backwards over the filter's output.
#ifndef STATESPACE_NATIVE_CORE_KALMAN_SMOOTHER_H_
#define STATESPACE_NATIVE_CORE_KALMAN_SMOOTHER_H_

#include "core/kalman_adjoint.h"

namespace statespace {
namespace STATESPACE_ISA {

// Smoothed moments of one step; lag_one is Cov[x_{t+1}, x_t | y].
template <class V>
struct SmoothedMoments {
  V* mean;        // [n]
  V* covariance;  // [n, n]
  V* lag_one;     // [n, n]
};

// L^-1 H over the observed components; rows of missing ones are zero.
template <class V, class N, class M>
inline void whiten_observation(N n, M m, const KalmanParameters<V>& model,
                               const KalmanUpdate<V>& update, V* whitened) {
  for (int i = 0; i < m; ++i) {
    for (int j = 0; j < n; ++j) {
      V row = update.observed[i] * model.h[i * n + j];
      for (int k = 0; k < i; ++k) row = neg_mul_add(update.l[i * m + k], whitened[k * n + j], row);
      whitened[i * n + j] = row * update.inverse[i];
    }
  }
}

inline int64_t kalman_smoother_work_size(int64_t n, int64_t m) {
  return 3 * n * n + 2 * m * n + 2 * m + n;
}

// |F|' diag(N)^(1/2) [n], whose products bound the entries of F' N F and what rounding leaves of
// them, for |N_jk| <= (N_jj N_kk)^(1/2).
template <class V, class N>
inline const V* information_bound(N n, const V* f, const V* cov, V* bound) {
  set_zero(n, bound);
  for (int j = 0; j < n; ++j) {
    const V root = square_root(maximum(cov[j * n + j], V()));
    for (int i = 0; i < n; ++i) bound[i] = mul_add(root, absolute(f[j * n + i]), bound[i]);
  }
  return bound;
}

// How much larger than a smoothed variance, left of P - P N P, is what cancels in it: the worst of
// the states. Times the machine's epsilon it bounds the relative error of that variance. bound: as
// above; p: filtered [n, n].
template <class V, class N>
inline V smoother_cancellation(N n, const V* bound, const V* p, const V* smoothed) {
  const V zero = V(), infinite = splat<V>(std::numeric_limits<ScalarOf<V>>::infinity());
  V worst = zero;
  for (int i = 0; i < n; ++i) {
    V sum = zero;
    for (int j = 0; j < n; ++j) sum = mul_add(absolute(p[i * n + j]), bound[j], sum);
    const V left = smoothed[i * n + i];
    const V nothing_left = select<V>(sum > zero, infinite, zero);
    worst = maximum(worst, select<V>(left > zero, sum * sum / left, nothing_left));
  }
  return worst;
}

// r[n] and cov[n, n] are r_t and N_t of Durbin & Koopman, section 4.4, as they come from step t +
// 1; they are replaced by those of step t. next_p: the predicted covariance of step t + 1.
//
// The smoothed moments are formed from the *filtered* ones, a_f + P_f F'r and P_f - P_f F'N F P_f:
// equal to a + P r_{t-1} and P - P N_{t-1} P, without the worst of their cancellation after a vague
// start. Returns smoother_cancellation.
template <class V, class N, class M>
inline V kalman_smooth(N n, M m, const KalmanParameters<V>& model, const KalmanUpdate<V>& update,
                          const V* next_p, V* r, V* cov, const SmoothedMoments<V>& out, V* work) {
  V* const x = work;                   // scratch [n, n]
  V* const n_filtered = x + n * n;     // F' N F [n, n]
  V* const keep = n_filtered + n * n;  // I - K H [n, n]
  V* const gain = keep + n * n;        // K' [m, n]
  V* const whitened = gain + m * n;    // L^-1 H [m, n]
  V* const e = whitened + m * n;       // S^-1 v [m]
  V* const u = e + m;                  // [m]
  V* const r_filtered = u + m;         // F' r [n]

  // Lag one: (I - P+ N) F P_f; out.covariance serves as scratch.
  multiply(n, n, n, rows<V>(model.f, n), rows<V>(update.p, n), out.lag_one);
  multiply(n, n, n, rows<V>(cov, n), rows<V>(out.lag_one, n), x);
  multiply<Into::kSubtract>(n, n, n, rows(next_p, n), rows<V>(x, n), out.lag_one);

  multiply(n, n, n, rows<V>(cov, n), rows<V>(model.f, n), x);
  multiply<Into::kSet, Part::kLower>(n, n, n, rows<V>(model.f_transpose, n), rows<V>(x, n),
                                     n_filtered);
  mirror(n, n_filtered);
  for (int i = 0; i < n; ++i) {
    V sum = V();
    for (int k = 0; k < n; ++k) sum = mul_add(model.f[k * n + i], r[k], sum);
    r_filtered[i] = sum;
  }

  multiply(n, n, n, rows<V>(n_filtered, n), rows<V>(update.p, n), x);
  for (int i = 0; i < n; ++i) {
    V sum = update.a[i];
    for (int j = 0; j < n; ++j) sum = mul_add(update.p[i * n + j], r_filtered[j], sum);
    out.mean[i] = sum;
    for (int j = 0; j <= i; ++j) out.covariance[i * n + j] = update.p[i * n + j];
  }
  multiply<Into::kSubtract, Part::kLower>(n, n, n, rows<V>(update.p, n), rows<V>(x, n),
                                          out.covariance);
  mirror(n, out.covariance);
  const V* const bound = information_bound(n, model.f, cov, x);
  const V cancellation = smoother_cancellation(n, bound, update.p, out.covariance);

  // r = F'r + H'u, u = e - K'F'r;  N = H' S^-1 H + (I - K H)' F'N F (I - K H).
  kalman_gain(n, m, update, gain, e);
  for (int i = 0; i < n; ++i) {
    for (int j = 0; j < n; ++j) keep[i * n + j] = splat<V>(ScalarOf<V>(i == j));
  }
  multiply<Into::kSubtract>(n, n, m, transposed<V>(gain, n), rows<V>(model.h, n), keep);
  whiten_observation(n, m, model, update, whitened);
  for (int i = 0; i < m; ++i) {
    V sum = e[i];
    for (int j = 0; j < n; ++j) sum = neg_mul_add(gain[i * n + j], r_filtered[j], sum);
    u[i] = sum;
  }
  for (int i = 0; i < n; ++i) {
    V sum = r_filtered[i];
    for (int k = 0; k < m; ++k) sum = mul_add(model.h[k * n + i], u[k], sum);
    r[i] = sum;
  }
  multiply(n, n, n, rows<V>(n_filtered, n), rows<V>(keep, n), x);
  multiply<Into::kSet, Part::kLower>(n, n, n, transposed<V>(keep, n), rows<V>(x, n), cov);
  multiply<Into::kAdd, Part::kLower>(n, n, m, transposed<V>(whitened, n), rows<V>(whitened, n),
                                     cov);
  mirror(n, cov);
  return cancellation;
}

}  // namespace STATESPACE_ISA
}  // namespace statespace

#endif  // STATESPACE_NATIVE_CORE_KALMAN_SMOOTHER_H_
