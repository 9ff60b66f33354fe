// One step of the disturbance smoother in univariate form, backwards over the filter's output.
//
// r and N as in kalman_smoother.h are now the coefficients of kappa^0 in an expansion in 1 / kappa.
// Of those of 1 / kappa and 1 / kappa^2 only three products with the diffuse factor matter, and
// from B' r = 0, B' N = 0, which hold as long as B is not zero, they follow by themselves:
//   rho = B' r_1 [n],  gamma_1 = B' N_1 [n, n],  gamma_2 = B' N_2 B [n, n].
// The prediction and the observations that are not diffuse leave rho and gamma_2 alone. Over a
// diffuse one, with K_1 = (P h - K f) / s the next coefficient of the gain and L = I - K h':
//   rho     += x (v / s - K_1' r)
//   gamma_2 += x x' (K_1' N K_1 - f / s^2) - (gamma_1 K_1) x' - x (gamma_1 K_1)'
//   gamma_1  = gamma_1 L + x (h' / s - K_1' N L)
// with r, N, gamma_1 those of after the observation.
#ifndef STATESPACE_NATIVE_CORE_KALMAN_UNIVARIATE_SMOOTHER_H_
#define STATESPACE_NATIVE_CORE_KALMAN_UNIVARIATE_SMOOTHER_H_

#include "core/kalman_smoother.h"
#include "core/kalman_univariate_adjoint.h"

namespace statespace {
namespace STATESPACE_ISA {

// What comes from the steps after. All zero at the end; rho and gamma_* stay so while B is zero.
template <class V>
struct UnivariateBackward {
  V* r;        // [n]
  V* cov;      // N [n, n]
  V* rho;      // [n]
  V* gamma_1;  // [n, n]
  V* gamma_2;  // [n, n]
};

STATESPACE_INLINE int64_t univariate_backward_size(int64_t n) { return 2 * n + 3 * n * n; }

template <class V>
STATESPACE_INLINE V* place(UnivariateBackward<V>& x, V* memory, int64_t n) {
  const auto take = [&memory](int64_t count) { return (memory += count) - count; };
  x.r = take(n), x.cov = take(n * n), x.rho = take(n), x.gamma_1 = take(n * n);
  x.gamma_2 = take(n * n);
  return memory;
}

// Takes `back` over a diffuse observation, before r and N have been. `work` holds 4 * n numbers.
template <class V, class N>
STATESPACE_INLINE void smooth_diffuse(N n, const V* h, const UnivariateComponent<V>& x,
                                      const UnivariateBackward<V>& back, const V* n_k, V* work) {
  V *const k_1 = work, *const n_k_1 = work + n, *const gamma_k_1 = work + 2 * n,
           *const gamma_k = work + 3 * n;
  const V s_inverse = select<V>(x.is_diffuse(), splat<V>(ScalarOf<V>(1)) / x.diffuse, V());
  V k_1_r = V(), rate = V(), k_n_k_1 = V();
  for (int i = 0; i < n; ++i) {
    k_1[i] = neg_mul_add(x.gain[i], x.variance, x.cross[i]) * s_inverse;
    k_1_r = mul_add(k_1[i], back.r[i], k_1_r);
  }
  for (int i = 0; i < n; ++i) {
    V sum = V(), first = V(), gain = V();
    for (int j = 0; j < n; ++j) {
      sum = mul_add(back.cov[i * n + j], k_1[j], sum);
      first = mul_add(back.gamma_1[i * n + j], k_1[j], first);
      gain = mul_add(back.gamma_1[i * n + j], x.gain[j], gain);
    }
    n_k_1[i] = sum, gamma_k_1[i] = first, gamma_k[i] = gain;
    rate = mul_add(k_1[i], sum, rate);
    k_n_k_1 = mul_add(n_k[i], k_1[i], k_n_k_1);
  }
  rate = rate - x.variance * s_inverse * s_inverse;
  const V step = x.innovation * s_inverse - k_1_r;
  const V slope = s_inverse + k_n_k_1;
  for (int i = 0; i < n; ++i) {
    const V own = select<V>(x.is_diffuse(), x.x[i], V());
    back.rho[i] = mul_add(own, step, back.rho[i]);
    for (int j = 0; j < n; ++j) {
      const V other = select<V>(x.is_diffuse(), x.x[j], V());
      V second = mul_add(rate * own, other, back.gamma_2[i * n + j]);
      second = neg_mul_add(gamma_k_1[i], other, second);
      back.gamma_2[i * n + j] = neg_mul_add(own, gamma_k_1[j], second);
      const V through = neg_mul_add(gamma_k[i], h[j], back.gamma_1[i * n + j]);
      back.gamma_1[i * n + j] = mul_add(own, slope * h[j] - n_k_1[j], through);
    }
  }
}

// Takes `back` over the observation of component i. `work` holds 6 * n numbers.
template <class V, class N>
STATESPACE_INLINE void smooth_component(N n, const Decorrelated<V>& step, int i,
                                        const UnivariateComponent<V>& x, bool diffuse,
                                        const UnivariateBackward<V>& back, V* work) {
  const V* const h = step.h + i * n;
  const V* const k = x.gain;
  V* const n_k = work;
  V k_r = V();
  for (int r = 0; r < n; ++r) {
    V sum = V();
    for (int s = 0; s < n; ++s) sum = mul_add(back.cov[r * n + s], k[s], sum);
    n_k[r] = sum;
    k_r = mul_add(k[r], back.r[r], k_r);
  }
  if (x.any_met) {
    smooth_diffuse(n, h, x, back, n_k, work + n);
  } else if (diffuse) {
    for (int r = 0; r < n; ++r) {
      V sum = V();
      for (int s = 0; s < n; ++s) sum = mul_add(back.gamma_1[r * n + s], k[s], sum);
      for (int s = 0; s < n; ++s) {
        back.gamma_1[r * n + s] = neg_mul_add(sum, h[s], back.gamma_1[r * n + s]);
      }
    }
  }
  // r = h v / f + L'r,  N = h h' / f + L'N L;  without the information where it is diffuse. L'N L
  // is formed by one factor after the other: multiplied out, it is a difference of large numbers.
  const V information = select<V>(x.is_diffuse(), V(), splat<V>(ScalarOf<V>(1)) / x.variance);
  const V u = mul_add(information, x.innovation, -k_r);
  V* const k_half = work + n;  // K'N L
  for (int s = 0; s < n; ++s) k_half[s] = V();
  for (int r = 0; r < n; ++r) {
    back.r[r] = mul_add(h[r], u, back.r[r]);
    for (int s = 0; s < n; ++s) {
      back.cov[r * n + s] = neg_mul_add(n_k[r], h[s], back.cov[r * n + s]);
      k_half[s] = mul_add(k[r], back.cov[r * n + s], k_half[s]);
    }
  }
  for (int r = 0; r < n; ++r) {
    for (int s = 0; s <= r; ++s) {
      const V own = mul_add(information, h[s], -k_half[s]);
      back.cov[r * n + s] = mul_add(h[r], own, back.cov[r * n + s]);
    }
  }
  mirror(n, back.cov);
}

STATESPACE_INLINE int64_t univariate_smoother_work_size(int64_t n) { return 2 * n * n + 6 * n; }

// The smoothed moments of a step from its filtered state, and `back` over the whole step. next: the
// next predicted state. Returns smoother_cancellation, which makes sense of a proper start.
template <class V, class N, class M>
STATESPACE_INLINE V univariate_smooth(N n, M m, const KalmanParameters<V>& model,
                                      const UnivariateStep<V>& step,
                                      const UnivariateState<V>& filtered,
                                      const UnivariateState<V>& next,
                                      const UnivariateBackward<V>& back,
                                      const SmoothedMoments<V>& out, V* work) {
  V *const x = work, *const mixed = work + n * n, *const more = mixed + n * n;
  const View<V> p = rows<V>(filtered.p, n), b = rows<V>(filtered.b, n);
  // Lag one: (I - P+ N - B+ gamma_1) F P - P+ gamma_1' B' - B+ gamma_2 B'.
  multiply(n, n, n, rows<V>(model.f, n), p, mixed);
  multiply(n, n, n, rows<V>(back.cov, n), rows<V>(mixed, n), x);
  for (int i = 0; i < n * n; ++i) out.lag_one[i] = mixed[i];
  multiply<Into::kSubtract>(n, n, n, rows<V>(next.p, n), rows<V>(x, n), out.lag_one);
  if (filtered.diffuse) {
    multiply(n, n, n, rows<V>(back.gamma_1, n), rows<V>(mixed, n), x);
    if (next.diffuse) {
      multiply<Into::kSubtract>(n, n, n, rows<V>(next.b, n), rows<V>(x, n), out.lag_one);
    }
    multiply(n, n, n, rows<V>(next.p, n), transposed<V>(back.gamma_1, n), x);
    if (next.diffuse) {
      multiply<Into::kAdd>(n, n, n, rows<V>(next.b, n), rows<V>(back.gamma_2, n), x);
    }
    multiply<Into::kSubtract>(n, n, n, rows<V>(x, n), transposed<V>(filtered.b, n), out.lag_one);
  }

  // Back over the prediction.
  for (int i = 0; i < n; ++i) {
    V sum = V();
    for (int j = 0; j < n; ++j) sum = mul_add(model.f[j * n + i], back.r[j], sum);
    more[i] = sum;
  }
  for (int i = 0; i < n; ++i) back.r[i] = more[i];
  V* const bound = more + n;
  information_bound(n, model.f, back.cov, bound);
  multiply(n, n, n, rows<V>(back.cov, n), rows<V>(model.f, n), x);
  multiply<Into::kSet, Part::kLowerOrAll>(n, n, n, rows<V>(model.f_transpose, n), rows<V>(x, n),
                                          back.cov);
  mirror(n, back.cov);
  if (filtered.diffuse) {
    multiply(n, n, n, rows<V>(back.gamma_1, n), rows<V>(model.f, n), x);
    for (int i = 0; i < n * n; ++i) back.gamma_1[i] = x[i];
  }

  // a + P r + B rho, P - P N P - B gamma_1 P - (B gamma_1 P)' - B gamma_2 B'.
  multiply(n, n, n, rows<V>(back.cov, n), p, x);
  if (filtered.diffuse) multiply(n, n, n, rows<V>(back.gamma_1, n), p, mixed);
  for (int i = 0; i < n; ++i) {
    V sum = filtered.a[i];
    for (int j = 0; j < n; ++j) {
      sum = mul_add(filtered.p[i * n + j], back.r[j], sum);
      if (filtered.diffuse) sum = mul_add(filtered.b[i * n + j], back.rho[j], sum);
    }
    out.mean[i] = sum;
    for (int j = 0; j <= i; ++j) out.covariance[i * n + j] = filtered.p[i * n + j];
  }
  multiply<Into::kSubtract, Part::kLower>(n, n, n, p, rows<V>(x, n), out.covariance);
  if (filtered.diffuse) {
    multiply<Into::kSubtract, Part::kLower>(n, n, n, b, rows<V>(mixed, n), out.covariance);
    multiply<Into::kSubtract, Part::kLower>(n, n, n, transposed<V>(mixed, n),
                                            transposed<V>(filtered.b, n), out.covariance);
    multiply(n, n, n, b, rows<V>(back.gamma_2, n), x);
    multiply<Into::kSubtract, Part::kLower>(n, n, n, rows<V>(x, n), transposed<V>(filtered.b, n),
                                            out.covariance);
  }
  mirror(n, out.covariance);
  const V cancellation = smoother_cancellation(n, bound, filtered.p, out.covariance, x);

  for (int i = m - 1; i >= 0; --i) {
    smooth_component(n, step.observation, i, step.component[i], step.before[i].diffuse, back, more);
  }
  return cancellation;
}

}  // namespace STATESPACE_ISA
}  // namespace statespace

#endif  // STATESPACE_NATIVE_CORE_KALMAN_UNIVARIATE_SMOOTHER_H_
