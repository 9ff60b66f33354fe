// One step of the smoother in square-root form, backwards over the filter's output.
//
// It needs no inverse and no difference. The reflectors of core/kalman_square_root.h express the
// coordinates xi of a state by those of the next state, xi+, by the components' epsilon, which the
// data fix at z, and by coordinates zeta that no datum ever depends on, before or after:
//   xi = E_eps z + E_xi xi+ + E_zeta zeta.
// So from xi+ ~ N(mu+, M+ M+') given all data, mu = E_eps z + E_xi mu+ and (M, 0) = (E_xi M+,
// E_zeta) times an orthogonal matrix. The state's own moments are a + S mu and S M M' S':
// semidefinite by construction, also where predicted covariances are singular.
#ifndef STATESPACE_NATIVE_CORE_KALMAN_SQUARE_ROOT_SMOOTHER_H_
#define STATESPACE_NATIVE_CORE_KALMAN_SQUARE_ROOT_SMOOTHER_H_

#include "core/kalman_smoother.h"
#include "core/kalman_square_root_adjoint.h"

namespace statespace {
namespace STATESPACE_ISA {

// What the smoother carries from step t + 1 to t.
template <class V>
struct SquareRootPosterior {
  V* mean;   // mu, of xi [n]
  V* scale;  // M [n, n], lower triangular
  V* state;  // S M [n, n]
};

STATESPACE_INLINE int64_t square_root_smoother_work_size(int64_t n, int64_t m, int64_t r,
                                                         int64_t k) {
  return n * (1 + r + n) + m * n + n + 2 * n * n + n * (r + n + k) + block_work_size(n, n);
}

// a, scale: the predicted moments of the step. reflectors: those of the prediction, null at the
// last step, where `posterior` is not read and lag_one not written. `work` holds
// square_root_smoother_work_size numbers.
template <class V, class N, class M>
STATESPACE_INLINE void square_root_smooth(N n, M m, const SquareRootSizes& sizes,
                                          const SquareRootUpdate<V>& update, const V* a,
                                          const V* scale, const V* reflectors,
                                          const SquareRootPosterior<V>& posterior,
                                          const SmoothedMoments<V>& out, V* work) {
  const int filtered = sizes.filtered(n), width = sizes.updated(n);
  const auto take = [&work](int64_t count) { return (work += count) - count; };
  V* const basis = take(int64_t{n} * width);  // rows of xi
  V* const front = take(int64_t{m} * n);      // E_eps'
  V* const mean = take(n);
  V* const carried = take(int64_t{n} * n);  // E_xi M+
  V* const onward = take(int64_t{n} * n);   // S E_xi M+

  coordinate_rows(1 + sizes.observation_noise, n, width, basis);
  reflect_by_update(n, m, width, update.reflectors, basis, front);
  for (int i = 0; i < n; ++i) {
    V sum = V();
    for (int c = 0; c < m; ++c) sum = mul_add(front[c * n + i], update.z[c], sum);
    mean[i] = sum;
  }
  const bool last = reflectors == nullptr;
  const int columns = last ? filtered : sizes.predicted(n);
  V* const rest = take(int64_t{n} * columns);
  for (int i = 0; i < n; ++i) {
    for (int c = 0; c < columns; ++c) {
      rest[i * columns + c] = c < filtered ? basis[i * width + 1 + c] : V();
    }
  }
  if (!last) {
    for (int i = 0; i < n; ++i) {
      apply_reflector(n, columns - i, reflectors + i * columns + i, rest + i, columns);
    }
    multiply(n, n, n, rows<V>(rest, columns), rows<V>(posterior.scale, n), carried);
    for (int i = 0; i < n; ++i) {
      for (int c = 0; c < n; ++c) {
        mean[i] = mul_add(rest[i * columns + c], posterior.mean[c], mean[i]);
        rest[i * columns + c] = carried[i * n + c];
      }
    }
    multiply(n, n, n, rows(scale, n), rows<V>(carried, n), onward);
    multiply(n, n, n, rows<V>(posterior.state, n), transposed<V>(onward, n), out.lag_one);
  }
  factor_rows(n, n, columns, rest, posterior.scale, work);
  multiply(n, n, n, rows(scale, n), rows<V>(posterior.scale, n), posterior.state);
  for (int i = 0; i < n; ++i) {
    posterior.mean[i] = mean[i];
    V sum = a[i];
    for (int c = 0; c <= i; ++c) sum = mul_add(scale[i * n + c], mean[c], sum);
    out.mean[i] = sum;
  }
  multiply<Into::kSet, Part::kLower>(n, n, n, rows<V>(posterior.state, n),
                                     transposed<V>(posterior.state, n), out.covariance);
  mirror(n, out.covariance);
}

}  // namespace STATESPACE_ISA
}  // namespace statespace

#endif  // STATESPACE_NATIVE_CORE_KALMAN_SQUARE_ROOT_SMOOTHER_H_
