// One step of the smoother's backward recursion undone, in the direction of time: cotangents of
// what it started from, from those of its results.
//
// The step in the form that is differentiated, with W = S^-1 over the observed components, X = W H,
// e = W v, q = H'e, D = H'X, M = I - P D, and r, N those that came from step t + 1:
//   r_f = F'r,  N_f = F'N F,  x = a_f + P_f r_f,  V = P_f - P_f N_f P_f,
//   C = (I - P+ N) A with A = F P_f,  r- = q + M'r_f,  N- = D + M'N_f M.
// Derivation; N_bar, D_bar and the cotangents of P, P_f, P+, S are symmetric parts:
//   1. r-: q_bar = r-_bar, M_bar = r_f r-_bar', r_f_bar = M r-_bar.
//      N-: D_bar = N-_bar, N_f_bar = M N-_bar M', M_bar += 2 N_f M N-_bar.
//      M: P_bar = -M_bar D, D_bar -= P M_bar.
//   2. x: a_f_bar = x_bar, P_f_bar = x_bar r_f', r_f_bar += P_f x_bar.
//      V: P_f_bar += V_bar - 2 V_bar P_f N_f, N_f_bar -= P_f V_bar P_f.
//   3. C: with Y = N A and U = P+ C_bar: A_bar = C_bar - N U, P+_bar = -C_bar Y', N_bar = -U A',
//      F_bar = A_bar P_f, P_f_bar += F'A_bar.
//   4. F_bar += r r_f_bar' + 2 N F N_f_bar, r_bar = F r_f_bar, N_bar += F N_f_bar F'.
//   5. With p = X q_bar and E = X D_bar: v_bar = p, S_bar = -(p e' + e p') / 2 - E X',
//      H_bar = e q_bar' + 2 E.
#ifndef STATESPACE_NATIVE_CORE_KALMAN_SMOOTHER_ADJOINT_H_
#define STATESPACE_NATIVE_CORE_KALMAN_SMOOTHER_ADJOINT_H_

#include "core/kalman_smoother.h"

namespace statespace {
namespace STATESPACE_ISA {

// Cotangents of a step's smoothed moments, as they come: not symmetric. lag_one is null at the last
// step.
template <class V>
struct SmoothedCotangents {
  const V* mean;        // [n]
  const V* covariance;  // [n, n]
  const V* lag_one;     // [n, n]
};

// What a step of the smoother adds to the cotangents of the filter's; all are set.
template <class V>
struct SmootherAdjoint {
  V* filtered_mean;          // [n]
  V* filtered_covariance;    // [n, n]
  V* covariance;             // of P [n, n]
  V* next_covariance;        // of P+ [n, n]
  V* innovation;             // [m]
  V* innovation_covariance;  // [m, m]
  V* f;                      // [n, n]
  V* h;                      // [m, n]
};

STATESPACE_INLINE int64_t smoother_adjoint_size(int64_t n, int64_t m) {
  return n + 4 * n * n + m + m * m + m * n;
}

template <class V>
STATESPACE_INLINE V* place(SmootherAdjoint<V>& x, V* memory, int64_t n, int64_t m) {
  const auto take = [&memory](int64_t count) { return (memory += count) - count; };
  x.filtered_mean = take(n), x.filtered_covariance = take(n * n), x.covariance = take(n * n);
  x.next_covariance = take(n * n), x.innovation = take(m);
  x.innovation_covariance = take(m * m), x.f = take(n * n), x.h = take(m * n);
  return memory;
}

STATESPACE_INLINE int64_t smoother_adjoint_work_size(int64_t n, int64_t m) {
  return 8 * n * n + 2 * n + 2 * m * n + m;
}

// y = A x for A[rows, columns].
template <class V, class N, class M>
STATESPACE_INLINE void multiply_vector(M rows, N columns, const V* a, const V* x, V* y) {
  for (int i = 0; i < rows; ++i) {
    V sum = V();
    for (int j = 0; j < columns; ++j) sum = mul_add(a[i * columns + j], x[j], sum);
    y[i] = sum;
  }
}

// x = (x + x') / 2 for x[n, n].
template <class V, class N>
STATESPACE_INLINE void symmetrise(N n, V* x) {
  const V half = splat<V>(ScalarOf<V>(0.5));
  for (int i = 0; i < n; ++i) {
    for (int j = 0; j <= i; ++j) x[i * n + j] = half * (x[i * n + j] + x[j * n + i]);
  }
  mirror(n, x);
}

// p, next_p: predicted covariances of the step and the next; r[n], cov[n, n]: what the step started
// from. r_bar[n], cov_bar[n, n] (symmetric): cotangents of what it handed on, replaced by those of
// r and cov.
template <class V, class N, class M>
STATESPACE_INLINE void kalman_smooth_adjoint(N n, M m, const KalmanParameters<V>& model,
                                             const KalmanUpdate<V>& update, const V* p,
                                             const V* next_p, const V* r, const V* cov,
                                             const SmoothedCotangents<V>& bar, V* r_bar, V* cov_bar,
                                             const SmootherAdjoint<V>& out, V* work) {
  using T = ScalarOf<V>;
  const V two = splat<V>(T(2)), half = splat<V>(T(0.5));
  const auto take = [&work](int64_t count) { return (work += count) - count; };
  V *const n_f = take(n * n), *const n_f_bar = take(n * n), *const d = take(n * n),
           *const d_bar = take(n * n), *const keep = take(n * n), *const keep_bar = take(n * n),
           *const x = take(n * n), *const y = take(n * n);
  V *const r_f = take(n), *const r_f_bar = take(n);
  V *const solved = take(m * n), *const product = take(m * n), *const e = take(m);
  const View<V> f = rows<V>(model.f, n), f_transpose = rows<V>(model.f_transpose, n);

  // What the step computed.
  multiply(n, n, n, rows(cov, n), f, x);
  multiply(n, n, n, f_transpose, rows<V>(x, n), n_f);
  multiply_vector(n, n, model.f_transpose, r, r_f);
  whiten_observation(n, m, model, update, product);
  unwhiten(n, m, update, product, solved);
  unwhiten(Fixed<1>(), m, update, update.z, e);
  multiply(n, n, m, transposed<V>(product, n), rows<V>(product, n), d);
  for (int i = 0; i < n; ++i) {
    for (int j = 0; j < n; ++j) keep[i * n + j] = splat<V>(T(i == j));
  }
  multiply<Into::kSubtract>(n, n, n, rows(p, n), rows<V>(d, n), keep);

  // 1.; q_bar is r_bar until 4.
  multiply_vector(n, n, keep, r_bar, r_f_bar);
  multiply(n, n, n, rows<V>(keep, n), rows<V>(cov_bar, n), x);  // M N-_bar
  multiply(n, n, n, rows<V>(n_f, n), rows<V>(x, n), keep_bar);
  for (int i = 0; i < n; ++i) {
    for (int j = 0; j < n; ++j) {
      keep_bar[i * n + j] = mul_add(two, keep_bar[i * n + j], r_f[i] * r_bar[j]);
    }
  }
  multiply(n, n, n, rows<V>(x, n), transposed<V>(keep, n), n_f_bar);
  for (int i = 0; i < n * n; ++i) out.covariance[i] = V(), d_bar[i] = cov_bar[i];
  multiply<Into::kSubtract>(n, n, n, rows<V>(keep_bar, n), rows<V>(d, n), out.covariance);
  multiply<Into::kSubtract>(n, n, n, rows(p, n), rows<V>(keep_bar, n), d_bar);
  symmetrise(n, d_bar);

  // 5.
  multiply_vector(m, n, solved, r_bar, out.innovation);
  multiply(m, n, n, rows<V>(solved, n), rows<V>(d_bar, n), product);
  for (int i = 0; i < m; ++i) {
    for (int j = 0; j < m; ++j) {
      const V both = mul_add(out.innovation[i], e[j], e[i] * out.innovation[j]);
      out.innovation_covariance[i * m + j] = -half * both;
    }
    for (int j = 0; j < n; ++j) {
      out.h[i * n + j] = mul_add(two, product[i * n + j], e[i] * r_bar[j]);
    }
  }
  multiply<Into::kSubtract>(m, m, n, rows<V>(product, n), transposed<V>(solved, n),
                            out.innovation_covariance);

  // 2.
  for (int i = 0; i < n; ++i) {
    out.filtered_mean[i] = bar.mean[i];
    V sum = r_f_bar[i];
    for (int j = 0; j < n; ++j) {
      sum = mul_add(update.p[i * n + j], bar.mean[j], sum);
      out.filtered_covariance[i * n + j] = mul_add(bar.mean[i], r_f[j], bar.covariance[i * n + j]);
      y[i * n + j] = half * (bar.covariance[i * n + j] + bar.covariance[j * n + i]);
    }
    r_f_bar[i] = sum;
  }
  multiply(n, n, n, rows<V>(y, n), rows<V>(update.p, n), x);  // V_bar P_f
  multiply<Into::kSubtract>(n, n, n, rows<V>(update.p, n), rows<V>(x, n), n_f_bar);
  for (int i = 0; i < n * n; ++i) x[i] = two * x[i];
  multiply<Into::kSubtract>(n, n, n, rows<V>(x, n), rows<V>(n_f, n), out.filtered_covariance);

  // 3.; keep_bar becomes A, keep C_bar P+ and then A_bar.
  for (int i = 0; i < n * n; ++i) out.next_covariance[i] = V(), out.f[i] = V(), cov_bar[i] = V();
  if (bar.lag_one != nullptr) {
    multiply(n, n, n, f, rows<V>(update.p, n), keep_bar);
    multiply(n, n, n, rows(cov, n), rows<V>(keep_bar, n), y);
    multiply<Into::kSubtract>(n, n, n, rows(bar.lag_one, n), transposed<V>(y, n),
                              out.next_covariance);
    multiply(n, n, n, rows(next_p, n), rows(bar.lag_one, n), x);
    multiply<Into::kSubtract>(n, n, n, rows<V>(x, n), transposed<V>(keep_bar, n), cov_bar);
    for (int i = 0; i < n * n; ++i) keep[i] = bar.lag_one[i];
    multiply<Into::kSubtract>(n, n, n, rows(cov, n), rows<V>(x, n), keep);
    multiply(n, n, n, rows<V>(keep, n), rows<V>(update.p, n), out.f);
    multiply<Into::kAdd>(n, n, n, f_transpose, rows<V>(keep, n), out.filtered_covariance);
  }

  // 4.
  symmetrise(n, n_f_bar);
  multiply_vector(n, n, model.f, r_f_bar, r_bar);
  multiply(n, n, n, f, rows<V>(n_f_bar, n), x);
  multiply<Into::kAdd>(n, n, n, rows<V>(x, n), f_transpose, cov_bar);
  symmetrise(n, cov_bar);
  for (int i = 0; i < n; ++i) {
    for (int j = 0; j < n; ++j) {
      out.f[i * n + j] = mul_add(r[i], r_f_bar[j], out.f[i * n + j]);
      x[i * n + j] = two * x[i * n + j];
    }
  }
  multiply<Into::kAdd>(n, n, n, rows(cov, n), rows<V>(x, n), out.f);
}

}  // namespace STATESPACE_ISA
}  // namespace statespace

#endif  // STATESPACE_NATIVE_CORE_KALMAN_SMOOTHER_ADJOINT_H_
