// The core's filter, adjoint and smoother run over a whole series, or over several series in lanes.
// Scratch arrays have exactly the sizes the core asks for, so that the sanitizer sees every
// overrun.
#ifndef STATESPACE_NATIVE_TESTS_KALMAN_PASS_H_
#define STATESPACE_NATIVE_TESTS_KALMAN_PASS_H_

#include "core/kalman_smoother.h"
#include "tests/kalman_case.h"

namespace statespace {
namespace STATESPACE_ISA {
namespace test {

using statespace::test::KalmanCase;
using statespace::test::Matrix;

// One case a lane of V; all have the same sizes.
using Lanes = std::vector<KalmanCase>;

template <class V, class Get>
std::vector<V> pack(const Lanes& lanes, const Get& get) {
  std::vector<V> x(get(lanes[0]).data.size());
  for (int lane = 0; lane < kLanes<V>; ++lane) {
    const Matrix& matrix = get(lanes[lane]);
    for (size_t i = 0; i < x.size(); ++i) {
      set_lane(x[i], lane, static_cast<ScalarOf<V>>(matrix.data[i]));
    }
  }
  return x;
}

template <class V>
struct PassStep {
  std::vector<V> memory, y, a, p;  // a, p: predicted moments
  KalmanParameters<V> model;
  KalmanUpdate<V> update;
};

template <class V, class N, class M>
PassStep<V> load_step(const Lanes& lanes, int t, N n, M m) {
  const KalmanCase& x = lanes[0];
  const int k = x.g[t].columns, r = x.c[t].columns;
  PassStep<V> step;
  step.memory.resize(kalman_parameters_size(n, m, k, r) + kalman_update_size(n, m) +
                     2 * pattern_size<V>(n, n) + pattern_size<V>(m, n));
  V* end = place(step.model, step.memory.data(), n, m, k, r);
  end = place(step.update, end, n, m);
  end = place(step.model.f_pattern, end, n, n);
  end = place(step.model.f_transpose_pattern, end, n, n);
  end = place(step.model.h_pattern, end, m, n);
  CHECK(end <= step.memory.data() + step.memory.size());
  const auto fill = [&](V* to, const std::vector<V>& from) {
    std::copy(from.begin(), from.end(), to);
  };
  step.y = pack<V>(lanes, [t](const KalmanCase& c) -> const Matrix& { return c.y[t]; });
  fill(step.model.f, pack<V>(lanes, [t](const KalmanCase& c) -> const Matrix& { return c.f[t]; }));
  fill(step.model.g, pack<V>(lanes, [t](const KalmanCase& c) -> const Matrix& { return c.g[t]; }));
  fill(step.model.h, pack<V>(lanes, [t](const KalmanCase& c) -> const Matrix& { return c.h[t]; }));
  fill(step.model.c, pack<V>(lanes, [t](const KalmanCase& c) -> const Matrix& { return c.c[t]; }));
  fill(step.model.b, pack<V>(lanes, [t](const KalmanCase& c) -> const Matrix& { return c.b[t]; }));
  fill(step.model.d, pack<V>(lanes, [t](const KalmanCase& c) -> const Matrix& { return c.d[t]; }));
  for (int i = 0; i < n; ++i) {
    for (int j = 0; j < n; ++j) step.model.f_transpose[j * n + i] = step.model.f[i * n + j];
  }
  find_pattern(n, n, n, rows<V>(step.model.f, n), step.model.f_pattern);
  find_pattern(n, n, n, rows<V>(step.model.f_transpose, n), step.model.f_transpose_pattern);
  find_pattern(n, m, n, rows<V>(step.model.h, n), step.model.h_pattern);
  noise_covariance(n, k, step.model.g, step.model.q);
  noise_covariance(m, r, step.model.c, step.model.r);
  return step;
}

template <class V, class N, class M>
std::vector<PassStep<V>> filter_pass(const Lanes& lanes, N n, M m) {
  std::vector<V> a = pack<V>(lanes, [](const KalmanCase& c) -> const Matrix& { return c.mean; });
  const std::vector<V> scale =
      pack<V>(lanes, [](const KalmanCase& c) -> const Matrix& { return c.scale; });
  std::vector<V> p(n * n), work(n * n);
  noise_covariance(n, lanes[0].scale.columns, scale.data(), p.data());
  mirror(n, p.data());
  std::vector<PassStep<V>> steps;
  for (int t = 0; t < lanes[0].steps(); ++t) {
    steps.push_back(load_step<V>(lanes, t, n, m));
    PassStep<V>& step = steps.back();
    step.a = a, step.p = p;
    kalman_update(n, m, step.model, step.y.data(), a.data(), p.data(), step.update);
    kalman_predict(n, step.model, step.update.a, step.update.p, a.data(), p.data(), work.data());
  }
  return steps;
}

// Cotangents by step, in the order of KalmanCase::by_step(), and those of the first state's
// moments.
template <class V>
struct PassGradient {
  std::vector<std::vector<V>> by_step[7];
  std::vector<V> mean, covariance;
};

template <class V, class N, class M>
PassGradient<V> adjoint_pass(const Lanes& lanes, const std::vector<PassStep<V>>& steps,
                             const std::vector<double>& weights, N n, M m) {
  PassGradient<V> out;
  KalmanCase sizes = lanes[0];
  for (int i = 0; i < 7; ++i) {
    for (const Matrix& x : *sizes.by_step()[i]) out.by_step[i].emplace_back(x.data.size());
  }
  out.mean.resize(n);
  out.covariance.resize(n * n);
  for (int t = static_cast<int>(steps.size()) - 1; t >= 0; --t) {
    const PassStep<V>& step = steps[t];
    std::vector<V> work(kalman_adjoint_work_size(n, m));
    const auto bar = [&](int i) { return out.by_step[i][t].data(); };
    const KalmanCotangents<V> cotangents = {bar(0), bar(1), bar(2), bar(3), bar(4), bar(5), bar(6)};
    kalman_adjoint(n, m, sizes.g[t].columns, sizes.c[t].columns, step.model, step.update,
                   step.a.data(), step.p.data(), splat<V>(static_cast<ScalarOf<V>>(weights[t])),
                   static_cast<const KalmanMomentCotangents<V>*>(nullptr), out.mean.data(),
                   out.covariance.data(), cotangents, work.data());
  }
  return out;
}

template <class V>
struct PassSmoothed {
  std::vector<std::vector<V>> mean, covariance, lag_one;
};

// Without `lag_one` those stay zero.
template <class V, class N, class M>
PassSmoothed<V> smoother_pass(const std::vector<PassStep<V>>& steps, N n, M m,
                              bool lag_one = true) {
  const size_t count = steps.size();
  const std::vector<V> vector(n), matrix(n * n);
  PassSmoothed<V> out = {std::vector<std::vector<V>>(count, vector),
                         std::vector<std::vector<V>>(count, matrix),
                         std::vector<std::vector<V>>(count, matrix)};
  std::vector<V> r(n), cov(n * n);
  for (size_t t = count; t-- > 0;) {
    const PassStep<V>& step = steps[t];
    std::vector<V> work(kalman_smoother_work_size(n, m));
    const SmoothedMoments<V> moments = {out.mean[t].data(), out.covariance[t].data(),
                                        lag_one ? out.lag_one[t].data() : nullptr};
    kalman_smooth(n, m, step.model, step.update, steps[t + 1 < count ? t + 1 : t].p.data(),
                  r.data(), cov.data(), moments, work.data());
  }
  return out;
}

}  // namespace test
}  // namespace STATESPACE_ISA
}  // namespace statespace

#endif  // STATESPACE_NATIVE_TESTS_KALMAN_PASS_H_
