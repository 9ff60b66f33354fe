// One step of the filter in univariate form: the components of an observation one at a time, with
// an exact diffuse start.
//
// Koopman & Durbin, Fast filtering and smoothing for multivariate state space models, Journal of
// Time Series Analysis 21(3), 2000, and Filtering and smoothing of state vector for diffuse
// state-space models, ibid. 24(1), 2003. The diffuse part of the covariance is kept as a factor:
//   P_kappa = P + kappa B B', kappa -> infinity.
// With x = B' h for a component's row h, F_inf = x'x and K_inf = B x / x'x, and B loses that
// direction by the projection B - K_inf x': no rank is read off a difference of matrices.
#ifndef STATESPACE_NATIVE_CORE_KALMAN_UNIVARIATE_H_
#define STATESPACE_NATIVE_CORE_KALMAN_UNIVARIATE_H_

#include "core/kalman_filter.h"

namespace statespace {
namespace STATESPACE_ISA {

// Moments of a state.
template <class V>
struct UnivariateState {
  V* a;          // mean [n]
  V* p;          // covariance [n, n]
  V* b;          // factor of the diffuse part [n, n]; meaningless once `diffuse` is false
  V* left;       // its directions that no observation has met yet [1]
  bool diffuse;  // whether any lane has some left
};

// An observation whose components have independent noise: with R = L D L', L unit lower triangular,
// over the observed components, the rows of L^-1 H and L^-1 (y - d). Those of missing ones are
// zero.
template <class V>
struct Decorrelated {
  V* observed;      // [m] 1 or 0
  V* h;             // [m, n]
  V* y;             // [m]
  V* noise;         // D [m]; 1 where missing
  V* l;             // below the diagonal [m, m]
  bool correlated;  // whether any lane has an L other than the identity
};

// What the observation of one component left.
template <class V>
struct UnivariateComponent {
  V* cross;      // P h [n]
  V* x;          // B' h [n], if any lane is diffuse
  V* gain;       // [n]
  V innovation;  // v
  V variance;    // f = h' P h + noise
  V diffuse;     // s = x'x
  V met;         // 1 in the lanes in which the observation is diffuse, else 0
  bool any_met;  // whether there are any

  STATESPACE_INLINE Mask<V> is_diffuse() const { return met != V(); }
};

STATESPACE_INLINE int64_t univariate_state_size(int64_t n) { return n + 2 * n * n + 1; }
STATESPACE_INLINE int64_t decorrelated_size(int64_t n, int64_t m) { return 3 * m + m * n + m * m; }
STATESPACE_INLINE int64_t univariate_component_size(int64_t n) { return 3 * n; }

template <class V>
STATESPACE_INLINE V* place(UnivariateState<V>& x, V* memory, int64_t n) {
  const auto take = [&memory](int64_t count) { return (memory += count) - count; };
  x.a = take(n), x.p = take(n * n), x.b = take(n * n), x.left = take(1);
  return memory;
}
template <class V>
STATESPACE_INLINE V* place(Decorrelated<V>& x, V* memory, int64_t n, int64_t m) {
  const auto take = [&memory](int64_t count) { return (memory += count) - count; };
  x.observed = take(m), x.h = take(m * n), x.y = take(m), x.noise = take(m), x.l = take(m * m);
  return memory;
}
template <class V>
STATESPACE_INLINE V* place(UnivariateComponent<V>& x, V* memory, int64_t n) {
  const auto take = [&memory](int64_t count) { return (memory += count) - count; };
  x.cross = take(n), x.x = take(n), x.gain = take(n);
  return memory;
}

template <class V, class N>
STATESPACE_INLINE void copy_state(N n, const UnivariateState<V>& from, UnivariateState<V>& to) {
  for (int i = 0; i < n; ++i) to.a[i] = from.a[i];
  for (int i = 0; i < n * n; ++i) to.p[i] = from.p[i];
  to.diffuse = from.diffuse;
  if (!from.diffuse) return;
  for (int i = 0; i < n * n; ++i) to.b[i] = from.b[i];
  *to.left = *from.left;
}

// Up to what share of the sum of its terms' sizes a sum counts as zero: eps^(2/3).
template <class T>
constexpr T kCancelled = sizeof(T) == 4 ? T(2.4e-5) : T(3.7e-11);

template <class V>
STATESPACE_INLINE V norm(int n, const V* x) {
  V sum = V();
  for (int i = 0; i < n; ++i) sum = mul_add(x[i], x[i], sum);
  return square_root(sum);
}

// Rows of B that cancelled down to rounding errors of numbers of size scale[n] become zero. They
// are zero by the structure of the model, but need not be so in the neighbourhood of its
// parameters: the adjoint takes no notice.
template <class V, class N>
STATESPACE_INLINE void clean(N n, const V* scale, V* b) {
  for (int i = 0; i < n; ++i) {
    const V bound = splat<V>(kCancelled<ScalarOf<V>>) * scale[i];
    const Mask<V> noise = norm(n, b + i * n) <= bound;
    for (int j = 0; j < n; ++j) b[i * n + j] = select<V>(noise, V(), b[i * n + j]);
  }
}

template <class V, class N, class M>
STATESPACE_INLINE void decorrelate(N n, M m, const KalmanParameters<V>& model, const V* y,
                                   Decorrelated<V>& out) {
  using T = ScalarOf<V>;
  const V one = splat<V>(T(1)), zero = V();
  for (int i = 0; i < m; ++i) {
    const Mask<V> seen = y[i] == y[i];
    out.observed[i] = select<V>(seen, one, zero);
    out.y[i] = select<V>(seen, y[i] - model.d[i], zero);
    for (int j = 0; j < n; ++j) out.h[i * n + j] = select<V>(seen, model.h[i * n + j], zero);
  }
  out.correlated = false;
  for (int j = 0; j < m; ++j) {
    const Mask<V> seen = out.observed[j] != zero;
    V pivot = select<V>(seen, model.r[j * m + j], zero);
    const V rounding = pivot * splat<V>(8 * (j + 1) * std::numeric_limits<T>::epsilon());
    for (int k = 0; k < j; ++k) {
      pivot = neg_mul_add(out.l[j * m + k] * out.l[j * m + k], out.noise[k], pivot);
    }
    // Where R is singular a column of L is zero. NaN stays what it is.
    const Mask<V> vanished = pivot <= rounding;
    pivot = select<V>(vanished, zero, pivot);
    out.noise[j] = select<V>(seen, pivot, one);
    const V inverse = select<V>(vanished, zero, one / pivot);
    for (int i = j + 1; i < m; ++i) {
      const Mask<V> both = mask_and(seen, out.observed[i] != zero);
      V sum = select<V>(both, model.r[i * m + j], zero);
      for (int k = 0; k < j; ++k) {
        sum = neg_mul_add(out.l[i * m + k] * out.l[j * m + k], out.noise[k], sum);
      }
      out.l[i * m + j] = sum * inverse;
      out.correlated = out.correlated || any_lane(out.l[i * m + j] != zero);
    }
  }
  if (!out.correlated) return;
  for (int i = 1; i < m; ++i) {
    for (int k = 0; k < i; ++k) {
      const V factor = out.l[i * m + k];
      out.y[i] = neg_mul_add(factor, out.y[k], out.y[i]);
      for (int j = 0; j < n; ++j) {
        out.h[i * n + j] = neg_mul_add(factor, out.h[k * n + j], out.h[i * n + j]);
      }
    }
  }
}

// The diffuse part of a component's observation: x, s, and the gain where there is any.
template <class V, class N>
STATESPACE_INLINE void meet_diffuse(N n, const V* h, const UnivariateState<V>& state,
                                    UnivariateComponent<V>& out) {
  out.met = V();
  out.any_met = false;
  if (!state.diffuse) return;
  V bound = V(), square = V();
  for (int j = 0; j < n; ++j) out.x[j] = V();
  for (int i = 0; i < n; ++i) {
    bound = mul_add(absolute(h[i]), norm(n, state.b + i * n), bound);
    for (int j = 0; j < n; ++j) out.x[j] = mul_add(state.b[i * n + j], h[i], out.x[j]);
  }
  for (int j = 0; j < n; ++j) square = mul_add(out.x[j], out.x[j], square);
  bound = bound * splat<V>(kCancelled<ScalarOf<V>>);
  const Mask<V> is_diffuse = square > bound * bound;
  out.met = select<V>(is_diffuse, splat<V>(ScalarOf<V>(1)), V());
  out.any_met = any_lane(is_diffuse);
  out.diffuse = select<V>(is_diffuse, square, splat<V>(ScalarOf<V>(1)));
  if (!out.any_met) return;
  for (int i = 0; i < n; ++i) {
    V sum = V();
    for (int j = 0; j < n; ++j) sum = mul_add(state.b[i * n + j], out.x[j], sum);
    out.gain[i] = select<V>(is_diffuse, sum / out.diffuse, out.gain[i]);
  }
}

// The diffuse factor after the observation. `scale` holds n numbers.
template <class V, class N>
STATESPACE_INLINE void project(N n, const UnivariateComponent<V>& x, UnivariateState<V>& state,
                               V* scale) {
  for (int i = 0; i < n; ++i) {
    scale[i] = norm(n, state.b + i * n);
    for (int j = 0; j < n; ++j) {
      const V projected = neg_mul_add(x.gain[i], x.x[j], state.b[i * n + j]);
      state.b[i * n + j] = select<V>(x.is_diffuse(), projected, state.b[i * n + j]);
    }
  }
  clean(n, scale, state.b);
  // As many diffuse observations as diffuse states: nothing is left, whatever the parameters.
  *state.left = *state.left - x.met;
  const Mask<V> none = *state.left == V();
  for (int i = 0; i < n * n; ++i) state.b[i] = select<V>(none, V(), state.b[i]);
  state.diffuse = !all_lanes(none);
}

// Conditions the state on component i. `scale` holds n numbers.
template <class V, class N>
STATESPACE_INLINE void condition(N n, const Decorrelated<V>& step, int i, UnivariateState<V>& state,
                                 UnivariateComponent<V>& out, V* scale) {
  const V* const h = step.h + i * n;
  V v = step.y[i], f = step.noise[i];
  for (int j = 0; j < n; ++j) {
    V sum = V();
    for (int k = 0; k < n; ++k) sum = mul_add(state.p[j * n + k], h[k], sum);
    out.cross[j] = sum;
    f = mul_add(h[j], sum, f);
    v = neg_mul_add(h[j], state.a[j], v);
  }
  out.innovation = v, out.variance = f;
  const V inverse = splat<V>(ScalarOf<V>(1)) / f;
  for (int j = 0; j < n; ++j) out.gain[j] = out.cross[j] * inverse;
  meet_diffuse(n, h, state, out);

  const V *const k = out.gain, *const c = out.cross;
  for (int r = 0; r < n; ++r) {
    state.a[r] = mul_add(k[r], v, state.a[r]);
    for (int s = 0; s <= r; ++s) {
      V change = k[r] * c[s];
      if (out.any_met) {
        // (I - K h') P (I - K h')' + K noise K', which for K = P h / f is P - K (P h)'.
        const V whole = mul_add(c[r], k[s], change) - f * k[r] * k[s];
        change = select<V>(out.is_diffuse(), whole, change);
      }
      state.p[r * n + s] = state.p[r * n + s] - change;
    }
  }
  mirror(n, state.p);
  if (out.any_met) project(n, out, state, scale);
}

// False in the lanes where an observation's variance is not positive or a number is not finite.
template <class V>
STATESPACE_INLINE Mask<V> is_sound(const UnivariateComponent<V>& x) {
  const V variance = select<V>(x.is_diffuse(), x.diffuse, x.variance);
  const V square = select<V>(x.is_diffuse(), V(), x.innovation * x.innovation / x.variance);
  return mask_and(variance > V(), is_finite<V>(variance + square));
}

// Moments of the next state. `work` holds n * n + 2 * n numbers.
template <class V, class N>
STATESPACE_INLINE void univariate_predict(N n, const KalmanParameters<V>& model,
                                          UnivariateState<V>& state, V* work) {
  V* const mean = work + n * n;
  V* const scale = mean + n;
  for (int i = 0; i < n; ++i) mean[i] = state.a[i];
  kalman_predict(n, model, mean, state.p, state.a, state.p, work);
  if (!state.diffuse) return;
  for (int i = 0; i < n; ++i) mean[i] = norm(n, state.b + i * n);
  for (int i = 0; i < n; ++i) {
    V sum = V();
    for (int j = 0; j < n; ++j) sum = mul_add(absolute(model.f[i * n + j]), mean[j], sum);
    scale[i] = sum;
  }
  multiply(n, n, n, rows<V>(model.f, n), rows<V>(state.b, n), work);
  for (int i = 0; i < n * n; ++i) state.b[i] = work[i];
  clean(n, scale, state.b);
}

}  // namespace STATESPACE_ISA
}  // namespace statespace

#endif  // STATESPACE_NATIVE_CORE_KALMAN_UNIVARIATE_H_
