// One step of the univariate form backwards: cotangents of its inputs from those of its outputs.
//
// Derivation, for one component: with f = h'm + noise, m = P h, v = y - h'a, x = B'h, s = x'x,
//   a+ = a + K v,  P+ = P - K m' - m K' + f K K',  B+ = B - K x' (B where s = 0),
//   K = B x / s, l = -(log s) / 2            where the observation is diffuse, else
//   K = m / f,   l = -(log f + v^2 / f) / 2.
// r, N, A: the cotangents of a+, P+ (symmetric) and B+; w: that of l.
//   1. K_bar = v r - 2 N m + 2 f N K - A x,  v_bar = r'K,  m_bar = -2 N K,  f_bar = K'N K,
//      x_bar = -A'K.
//   2. Diffuse: A += K_bar x' / s,  x_bar += B'K_bar / s - (2 K_bar'K + w) x / s.
//      Else (where -2 N m + 2 f N K = 0 and A x is left out): m_bar += K_bar / f,
//      f_bar -= K_bar'K / f + w (1 / f - v^2 / f^2) / 2,  v_bar -= w v / f.
//   3. x = B'h: A += h x_bar', h_bar = B x_bar.  f: m_bar += f_bar h, h_bar += f_bar m,
//      noise_bar = f_bar.  m = P h: N += (m_bar h' + h m_bar') / 2, h_bar += P m_bar.
//      v: y_bar = v_bar, h_bar -= v_bar a, r -= v_bar h.
#ifndef STATESPACE_NATIVE_CORE_KALMAN_UNIVARIATE_ADJOINT_H_
#define STATESPACE_NATIVE_CORE_KALMAN_UNIVARIATE_ADJOINT_H_

#include "core/kalman_adjoint.h"
#include "core/kalman_univariate.h"

namespace statespace {
namespace STATESPACE_ISA {

// A step again, with all that its components started from, for the way back.
template <class V>
struct UnivariateStep {
  Decorrelated<V> observation;
  UnivariateState<V>* before;         // [m] the state before each component
  UnivariateComponent<V>* component;  // [m]
};

// Numbers needed for a step's arrays; the structures themselves are the caller's.
STATESPACE_INLINE int64_t univariate_step_size(int64_t n, int64_t m) {
  return decorrelated_size(n, m) + m * (univariate_state_size(n) + univariate_component_size(n));
}

template <class V>
STATESPACE_INLINE V* place(UnivariateStep<V>& x, V* memory, int64_t n, int64_t m) {
  memory = place(x.observation, memory, n, m);
  for (int64_t i = 0; i < m; ++i) {
    memory = place(x.before[i], memory, n);
    memory = place(x.component[i], memory, n);
  }
  return memory;
}

// Runs the step from `state`, which becomes the filtered one. `scale` holds n numbers.
template <class V, class N, class M>
STATESPACE_INLINE void univariate_update(N n, M m, const KalmanParameters<V>& model, const V* y,
                                         UnivariateState<V>& state, UnivariateStep<V>& step,
                                         V* scale) {
  decorrelate(n, m, model, y, step.observation);
  for (int i = 0; i < m; ++i) {
    copy_state(n, state, step.before[i]);
    condition(n, step.observation, i, state, step.component[i], scale);
  }
}

// Cotangents of a state's moments.
template <class V>
struct UnivariateCotangents {
  V* r;       // of the mean [n]
  V* cov;     // of the covariance [n, n], symmetric
  V* factor;  // of the diffuse factor [n, n]; zero where there is none
};

// Undoes the observation of component i. h_bar[n] is set; y_bar and noise_bar: its other inputs.
// `work` holds 3 * n numbers.
template <class V, class N>
STATESPACE_INLINE void condition_adjoint(N n, const Decorrelated<V>& step, int i,
                                         const UnivariateState<V>& before,
                                         const UnivariateComponent<V>& x, const V& weight,
                                         const UnivariateCotangents<V>& bar, V* h_bar, V& y_bar,
                                         V& noise_bar, V* work) {
  const V* const h = step.h + i * n;
  const V *const k = x.gain, *const m = x.cross;
  const V two = splat<V>(ScalarOf<V>(2)), half = splat<V>(ScalarOf<V>(0.5));
  const V inverse = splat<V>(ScalarOf<V>(1)) / x.variance;
  const V w = weight * step.observed[i], v = x.innovation, f = x.variance;
  V *const n_k = work, *const k_bar = work + n, *const x_bar = k_bar + n;
  V r_k = V(), k_n_k = V();
  for (int r = 0; r < n; ++r) {
    V sum = V();
    for (int s = 0; s < n; ++s) sum = mul_add(bar.cov[r * n + s], k[s], sum);
    n_k[r] = sum;
    r_k = mul_add(bar.r[r], k[r], r_k);
    k_n_k = mul_add(k[r], sum, k_n_k);
    k_bar[r] = bar.r[r] * v;
    h_bar[r] = V();
  }
  // 2., otherwise: from K_bar = v r.
  const V u = v * inverse;
  V v_bar = neg_mul_add(w, u, r_k);
  V f_bar = mul_add(half * w, mul_add(u, u, -inverse), neg_mul_add(u, r_k, k_n_k));
  V scale = inverse;  // of K_bar in m_bar
  if (x.any_met) {
    const V s_inverse = select<V>(x.is_diffuse(), splat<V>(ScalarOf<V>(1)) / x.diffuse, V());
    v_bar = select<V>(x.is_diffuse(), r_k, v_bar);
    f_bar = select<V>(x.is_diffuse(), k_n_k, f_bar);
    scale = select<V>(x.is_diffuse(), V(), inverse);
    V along = V();
    for (int r = 0; r < n; ++r) {
      V n_m = V(), a_x = V(), a_k = V();
      for (int s = 0; s < n; ++s) {
        n_m = mul_add(bar.cov[r * n + s], m[s], n_m);
        a_x = mul_add(bar.factor[r * n + s], x.x[s], a_x);
        a_k = mul_add(bar.factor[s * n + r], k[s], a_k);
      }
      const V more = two * (f * n_k[r] - n_m) - a_x;
      k_bar[r] = k_bar[r] + select<V>(x.is_diffuse(), more, V());
      x_bar[r] = select<V>(x.is_diffuse(), -a_k, V());
      along = mul_add(k_bar[r], k[r], along);
    }
    along = (two * along + w) * s_inverse;
    for (int s = 0; s < n; ++s) {
      V sum = V();
      for (int r = 0; r < n; ++r) sum = mul_add(before.b[r * n + s], k_bar[r], sum);
      x_bar[s] = mul_add(sum, s_inverse, neg_mul_add(along, x.x[s], x_bar[s]));
    }
    for (int r = 0; r < n; ++r) {
      const V step_bar = k_bar[r] * s_inverse;
      for (int s = 0; s < n; ++s) {
        const V change = mul_add(step_bar, x.x[s], h[r] * x_bar[s]);
        bar.factor[r * n + s] = bar.factor[r * n + s] + select<V>(x.is_diffuse(), change, V());
        h_bar[r] = mul_add(before.b[r * n + s], x_bar[s], h_bar[r]);
      }
    }
  }
  // 3. k_bar becomes m_bar.
  for (int r = 0; r < n; ++r) {
    k_bar[r] = neg_mul_add(two, n_k[r], mul_add(k_bar[r], scale, f_bar * h[r]));
    h_bar[r] = mul_add(f_bar, m[r], neg_mul_add(v_bar, before.a[r], h_bar[r]));
    bar.r[r] = neg_mul_add(v_bar, h[r], bar.r[r]);
  }
  for (int r = 0; r < n; ++r) {
    for (int s = 0; s < n; ++s) h_bar[r] = mul_add(before.p[r * n + s], k_bar[s], h_bar[r]);
    for (int s = 0; s <= r; ++s) {
      const V both = mul_add(k_bar[r], h[s], h[r] * k_bar[s]);
      bar.cov[r * n + s] = mul_add(half, both, bar.cov[r * n + s]);
    }
  }
  mirror(n, bar.cov);
  y_bar = v_bar, noise_bar = f_bar;
}

// From the cotangents of the decorrelated observation, h_bar[m, n], y_bar[m] and noise_bar[m],
// which are overwritten, to those of H, y, d and C. `work` holds m * m numbers.
template <class V, class N, class M>
STATESPACE_INLINE void decorrelate_adjoint(N n, M m, int observation_noise,
                                           const KalmanParameters<V>& model,
                                           const Decorrelated<V>& x, V* h_bar, V* y_bar,
                                           V* noise_bar, const KalmanCotangents<V>& bar, V* work) {
  const V two = splat<V>(ScalarOf<V>(2));
  V* const l_bar = work;  // below the diagonal; on it and below it then R_bar
  for (int i = 0; i < m; ++i) noise_bar[i] = noise_bar[i] * x.observed[i];
  for (int i = 0; i < m * m; ++i) l_bar[i] = V();
  if (x.correlated) {
    for (int i = m - 1; i > 0; --i) {
      for (int k = i - 1; k >= 0; --k) {
        const V factor = x.l[i * m + k];
        V sum = y_bar[i] * x.y[k];
        y_bar[k] = neg_mul_add(factor, y_bar[i], y_bar[k]);
        for (int j = 0; j < n; ++j) {
          sum = mul_add(h_bar[i * n + j], x.h[k * n + j], sum);
          h_bar[k * n + j] = neg_mul_add(factor, h_bar[i * n + j], h_bar[k * n + j]);
        }
        l_bar[i * m + k] = -sum;
      }
    }
  }
  // Column j of R = L D L' gave noise_j = R_jj - sum_k L_jk^2 D_k, L_ij = (R_ij - sum_k L_ik L_jk
  // D_k) / D_j, k < j < i.
  for (int j = m - 1; j >= 0; --j) {
    const V d = x.noise[j];
    const V inverse = select<V>(d == V(), V(), x.observed[j] / d);
    for (int i = j + 1; x.correlated && i < m; ++i) {
      const V t = l_bar[i * m + j] * inverse;
      l_bar[i * m + j] = t;
      noise_bar[j] = neg_mul_add(t, x.l[i * m + j], noise_bar[j]);
      for (int k = 0; k < j; ++k) {
        const V left = x.l[i * m + k], right = x.l[j * m + k], scaled = t * x.noise[k];
        l_bar[i * m + k] = neg_mul_add(scaled, right, l_bar[i * m + k]);
        l_bar[j * m + k] = neg_mul_add(scaled, left, l_bar[j * m + k]);
        noise_bar[k] = neg_mul_add(t * left, right, noise_bar[k]);
      }
    }
    l_bar[j * m + j] = noise_bar[j];
    for (int k = 0; x.correlated && k < j; ++k) {
      const V l = x.l[j * m + k];
      l_bar[j * m + k] = neg_mul_add(two * noise_bar[j] * x.noise[k], l, l_bar[j * m + k]);
      noise_bar[k] = neg_mul_add(noise_bar[j] * l, l, noise_bar[k]);
    }
  }
  for (int i = 0; i < m; ++i) {
    bar.y[i] = bar.y[i] + y_bar[i];
    bar.d[i] = bar.d[i] - y_bar[i];
    for (int j = 0; bar.h != nullptr && j < n; ++j) {
      bar.h[i * n + j] = mul_add(x.observed[i], h_bar[i * n + j], bar.h[i * n + j]);
    }
    for (int j = 0; j < observation_noise; ++j) {
      V sum = two * l_bar[i * m + i] * model.c[i * observation_noise + j];
      for (int k = 0; x.correlated && k < m; ++k) {
        if (k == i) continue;
        const V& entry = k < i ? l_bar[i * m + k] : l_bar[k * m + i];
        sum = mul_add(entry, model.c[k * observation_noise + j], sum);
      }
      bar.c[i * observation_noise + j] = bar.c[i * observation_noise + j] + sum;
    }
  }
}

STATESPACE_INLINE int64_t univariate_adjoint_work_size(int64_t n, int64_t m) {
  return 2 * n * n + 4 * n + m * n + 2 * m + m * m;
}

// Undoes one step whose filtered state is `filtered`: `bar` holds the cotangents of the next
// predicted moments, and then those of this step's.
template <class V, class N, class M>
STATESPACE_INLINE void univariate_adjoint(N n, M m, int noise, int observation_noise,
                                          const KalmanParameters<V>& model,
                                          const UnivariateStep<V>& step,
                                          const UnivariateState<V>& filtered, const V& weight,
                                          const UnivariateCotangents<V>& bar,
                                          const KalmanCotangents<V>& parameters, V* work) {
  V* const cov = work;
  V* const scratch = cov + n * n;
  V* const r = scratch + n * n;
  V* const h_bar = r + n;
  V* const y_bar = h_bar + m * n;
  V* const noise_bar = y_bar + m;
  V* const more = noise_bar + m;  // 3 * n or m * m numbers
  kalman_predict_adjoint(n, noise, model, filtered.a, filtered.p, bar.r, bar.cov, parameters, r,
                         cov, scratch);
  for (int i = 0; i < n; ++i) bar.r[i] = r[i];
  for (int i = 0; i < n * n; ++i) bar.cov[i] = cov[i];
  if (filtered.diffuse) {
    if (parameters.f != nullptr) {
      multiply<Into::kAdd>(n, n, n, rows<V>(bar.factor, n), transposed<V>(filtered.b, n),
                           parameters.f);
    }
    multiply(n, n, n, rows<V>(model.f_transpose, n), rows<V>(bar.factor, n), scratch);
    for (int i = 0; i < n * n; ++i) bar.factor[i] = scratch[i];
  }
  for (int i = m - 1; i >= 0; --i) {
    condition_adjoint(n, step.observation, i, step.before[i], step.component[i], weight, bar,
                      h_bar + i * n, y_bar[i], noise_bar[i], more);
  }
  decorrelate_adjoint(n, m, observation_noise, model, step.observation, h_bar, y_bar, noise_bar,
                      parameters, more);
}

}  // namespace STATESPACE_ISA
}  // namespace statespace

#endif  // STATESPACE_NATIVE_CORE_KALMAN_UNIVARIATE_ADJOINT_H_
