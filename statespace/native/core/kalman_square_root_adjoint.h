// One step of the square-root form backwards: cotangents of its inputs from those of its outputs.
//
// As in core/kalman_adjoint.h, r and N are the cotangents of the next predicted mean and
// covariance. After a vague start N spans more orders of magnitude than a number has digits, in
// directions that no single entry shows. So N is carried as W = 2 N S, with S the predicted scale:
// each column belongs to one of the state's coordinates and keeps the accuracy of its own
// magnitude. (For a log-likelihood with unit weights N S = r E[xi | y]' - N_DK S, and S' N_DK S = I
// - Cov[xi | y].)
//
// Derivation, in the coordinates of core/kalman_square_root.h and with the notation of
// core/kalman_adjoint.h. Let Y = Y_eps eps + Y_eta eta be rows of (rho, xi) after the update; for
// the state itself Y_eta = X, Y_eps = K L. Optimality of K gives
//   dP_f = (I - K H) dP (I - K H)' + K dR K',  da_f = ... + (I - K H) dP H' e - K dR e,
// in which nothing cancels.
//   1. (F X, G) = (S+, 0) Q, with Q the reflectors of the prediction. So (W+, 0) Q = 2 N (F X, G):
//        F_bar = r a_f' + 2 N F X X',  G_bar = 2 N G,  b_bar = r,  r_f = F' r,  J = 2 N_f X.
//   2. With e = L^-T z, K' = L^-T (K L)', g = K' r_f, u = w e - g, B = e (X' r_f)' - K' J and
//        A(Y) = u (Y_eps z)' + B Y_eta' - w L^-T Y_eps':
//        y_bar = -u,  d_bar = u,  H_bar = u a' + A(x), x = a + S xi the state,  C_bar = A(rho),
//        a_bar = r_f + H' u,  W = r_f (E_eps z)' + J E_eta' + H' A(E), E the rows of xi.
#ifndef STATESPACE_NATIVE_CORE_KALMAN_SQUARE_ROOT_ADJOINT_H_
#define STATESPACE_NATIVE_CORE_KALMAN_SQUARE_ROOT_ADJOINT_H_

#include "core/kalman_adjoint.h"
#include "core/kalman_square_root.h"

namespace statespace {
namespace STATESPACE_ISA {

// The cotangents of a state: of its mean, r[n], and W = 2 N S[n, n].
template <class V>
struct SquareRootCotangent {
  V* r;
  V* w;
};

// Rows of the identity over (epsilon, rho, xi): those of `count` coordinates from `first` on.
template <class V>
STATESPACE_INLINE void coordinate_rows(int first, int count, int width, V* x) {
  set_zero(static_cast<int64_t>(count) * width, x);
  for (int i = 0; i < count; ++i) x[i * width + first + i] = splat<V>(ScalarOf<V>(1));
}

STATESPACE_INLINE int64_t square_root_adjoint_work_size(int64_t n, int64_t m, int64_t r,
                                                        int64_t k) {
  const int64_t filtered = r + n;
  return n * (filtered + k) + n * filtered + filtered * (1 + filtered) + 3 * m * filtered + m * n +
         3 * m + n + filtered;
}

// Undoes a prediction: `cotangent` of the next state becomes r_f and J[n, r + n] of the filtered
// one. reflectors: what square_root_predict left. `work` holds n * (r + n + k) numbers.
template <class V, class N>
STATESPACE_INLINE void undo_prediction(N n, const SquareRootSizes& sizes,
                                       const KalmanParameters<V>& model,
                                       const SquareRootUpdate<V>& update, V* reflectors,
                                       const SquareRootCotangent<V>& cotangent, V* r_filtered, V* j,
                                       const KalmanCotangents<V>& bar, V* work) {
  const int filtered = sizes.filtered(n), width = sizes.predicted(n), noise = sizes.noise;
  const View<V> x = filtered_rows(update, sizes.updated(n));
  const V* const r = cotangent.r;
  reflect_back(n, width, cotangent.w, reflectors, work);
  for (int i = 0; i < n; ++i) {
    bar.b[i] = bar.b[i] + r[i];
    for (int c = 0; c < noise; ++c) {
      bar.g[i * noise + c] = bar.g[i * noise + c] + work[i * width + filtered + c];
    }
    V sum = V();
    for (int c = 0; c < n; ++c) sum = mul_add(model.f[c * n + i], r[c], sum);
    r_filtered[i] = sum;
  }
  if (bar.f != nullptr) {
    for (int i = 0; i < n; ++i) {
      for (int c = 0; c < n; ++c) bar.f[i * n + c] = mul_add(r[i], update.a[c], bar.f[i * n + c]);
    }
    multiply<Into::kAdd>(n, n, filtered, rows<V>(work, width), View<V>{x.data, x.column, x.row},
                         bar.f);
  }
  multiply(n, filtered, n, rows<V>(model.f_transpose, n), rows<V>(work, width), j);
}

// Undoes one step: `cotangent` of the next state is replaced by that of this one. reflectors: those
// of the prediction, null where there was none. weight: cotangent of the step's log-density. `work`
// holds square_root_adjoint_work_size numbers.
template <class V, class N, class M>
STATESPACE_INLINE void square_root_adjoint(N n, M m, const SquareRootSizes& sizes,
                                           const KalmanParameters<V>& model,
                                           const SquareRootUpdate<V>& update, V* reflectors,
                                           const V& weight, const SquareRootCotangent<V>& cotangent,
                                           const KalmanCotangents<V>& bar, V* work) {
  const int observation_noise = sizes.observation_noise;
  const int filtered = sizes.filtered(n), width = sizes.updated(n);
  const auto take = [&work](int64_t count) { return (work += count) - count; };
  V* const reflected = take(int64_t{n} * sizes.predicted(n));
  V* const j = take(int64_t{n} * filtered);                   // J
  V* const basis = take(int64_t{filtered} * (1 + filtered));  // rows of (rho, xi)
  V* const front = take(int64_t{m} * filtered);               // their epsilon, then L^-T of it
  V* const b = take(int64_t{m} * filtered);                   // B
  V* const pulled = take(int64_t{m} * filtered);              // A(rho, xi)
  V* const gain = take(int64_t{m} * n);                       // K'
  V* const e = take(m);
  V* const g = take(m);
  V* const u = take(m);
  V* const r_filtered = take(n);
  V* const x_r = take(filtered);  // X' r_f, then the means Y_eps z of (rho, xi)
  const View<V> x = filtered_rows(update, width);

  if (reflectors != nullptr) {
    undo_prediction(n, sizes, model, update, reflectors, cotangent, r_filtered, j, bar, reflected);
  } else {
    set_zero(n, r_filtered);
    set_zero(int64_t{n} * filtered, j);
  }

  kalman_gain(n, m, update, gain, e);
  for (int c = 0; c < filtered; ++c) {
    V sum = V();
    for (int i = 0; i < n; ++i) sum = mul_add(x(i, c), r_filtered[i], sum);
    x_r[c] = sum;
  }
  for (int i = 0; i < m; ++i) {
    V sum = V();
    for (int c = 0; c < n; ++c) sum = mul_add(gain[i * n + c], r_filtered[c], sum);
    g[i] = sum;
    u[i] = mul_add(weight, e[i], -sum);
    bar.y[i] = bar.y[i] - u[i];
    bar.d[i] = bar.d[i] + u[i];
    for (int c = 0; c < filtered; ++c) b[i * filtered + c] = e[i] * x_r[c];
    for (int c = 0; bar.h != nullptr && c < n; ++c) {
      const V own = neg_mul_add(weight, gain[i * n + c], u[i] * update.a[c]);
      bar.h[i * n + c] = bar.h[i * n + c] + own;
    }
  }
  multiply<Into::kSubtract>(m, filtered, n, rows<V>(gain, n), rows<V>(j, filtered), b);
  if (bar.h != nullptr) {
    multiply<Into::kAdd>(m, n, filtered, rows<V>(b, filtered), View<V>{x.data, x.column, x.row},
                         bar.h);
  }

  coordinate_rows(1, filtered, width, basis);
  reflect_by_update(filtered, m, width, update.reflectors, basis, front);
  for (int c = 0; c < filtered; ++c) {
    V mean = V();
    for (int i = 0; i < m; ++i) mean = mul_add(front[i * filtered + c], update.z[i], mean);
    x_r[c] = mean;
  }
  const V* const xi_mean = x_r + observation_noise;
  const V* const xi_rows = basis + observation_noise * width;
  // W without what comes through H, before `front` is overwritten.
  const View<V> eta_of_xi = {xi_rows + 1, 1, width};
  multiply(n, n, filtered, rows<V>(j, filtered), eta_of_xi, cotangent.w);

  substitute(m, filtered, transposed<V>(update.l, m), Order::kBackward, front, filtered, 1);
  for (int i = 0; i < m; ++i) {
    for (int c = 0; c < filtered; ++c) {
      pulled[i * filtered + c] = neg_mul_add(weight, front[i * filtered + c], u[i] * x_r[c]);
    }
  }
  multiply<Into::kAdd>(m, filtered, filtered, rows<V>(b, filtered), View<V>{basis + 1, 1, width},
                       pulled);
  for (int i = 0; i < m; ++i) {
    for (int c = 0; c < observation_noise; ++c) {
      V& entry = bar.c[i * observation_noise + c];
      entry = entry + pulled[i * filtered + c];
    }
  }
  for (int i = 0; i < n; ++i) {
    V sum = r_filtered[i];
    for (int c = 0; c < m; ++c) sum = mul_add(model.h[c * n + i], u[c], sum);
    cotangent.r[i] = sum;
    for (int c = 0; c < n; ++c) {
      cotangent.w[i * n + c] = mul_add(r_filtered[i], xi_mean[c], cotangent.w[i * n + c]);
    }
  }
  multiply<Into::kAdd>(n, n, m, transposed<V>(model.h, n),
                       rows<V>(pulled + observation_noise, filtered), cotangent.w);
}

}  // namespace STATESPACE_ISA
}  // namespace statespace

#endif  // STATESPACE_NATIVE_CORE_KALMAN_SQUARE_ROOT_ADJOINT_H_
