// The univariate form against the textbook filter and the joint normal distribution, with a proper
// start and, as the limit of a large variance, a diffuse one; its adjoint against central
// differences of itself; the adjoint of the smoother against those of the smoother. Scratch arrays
// have exactly the sizes the core asks for.
#include <memory>

#include "core/kalman_smoother_adjoint.h"
#include "core/kalman_univariate_smoother.h"
#include "tests/kalman_pass.h"

namespace {

using namespace statespace;
using namespace statespace::STATESPACE_ISA;
using namespace statespace::STATESPACE_ISA::test;
using namespace statespace::test;

// One step of the univariate form, with all it needs on the way back.
struct Step {
  PassStep<double> loaded;
  std::vector<double> memory, predicted_memory, filtered_memory;
  std::vector<UnivariateState<double>> before;
  std::vector<UnivariateComponent<double>> components;
  UnivariateStep<double> step;
  UnivariateState<double> predicted, filtered;
};

struct Pass {
  std::vector<std::unique_ptr<Step>> steps;
  double log_likelihood = 0;
  bool ok = true;
};

Pass run(const KalmanCase& x, int diffuse) {
  const int n = x.n, m = x.m;
  Pass pass;
  std::vector<double> memory(univariate_state_size(n)), work(n * n + 2 * n);
  UnivariateState<double> state;
  place(state, memory.data(), n);
  const std::vector<double> mean = x.mean.as<double>(), scale = x.scale.as<double>();
  for (int i = 0; i < n; ++i) state.a[i] = i < diffuse ? 0 : mean[i];
  noise_covariance(n, x.scale.columns, scale.data(), state.p);
  mirror(n, state.p);
  for (int i = 0; i < n; ++i) {
    for (int j = 0; j < n; ++j) {
      if (i < diffuse || j < diffuse) state.p[i * n + j] = 0;
      state.b[i * n + j] = i == j && i < diffuse;
    }
  }
  *state.left = diffuse;
  state.diffuse = diffuse > 0;
  for (int t = 0; t < x.steps(); ++t) {
    pass.steps.push_back(std::make_unique<Step>());
    Step& step = *pass.steps.back();
    step.loaded = load_step<double>({x}, t, x.n, x.m);
    step.memory.resize(univariate_step_size(n, m));
    step.predicted_memory.resize(univariate_state_size(n));
    step.filtered_memory.resize(univariate_state_size(n));
    step.before.resize(m);
    step.components.resize(m);
    step.step.before = step.before.data();
    step.step.component = step.components.data();
    CHECK(place(step.step, step.memory.data(), n, m) == step.memory.data() + step.memory.size());
    place(step.predicted, step.predicted_memory.data(), n);
    place(step.filtered, step.filtered_memory.data(), n);
    copy_state(n, state, step.predicted);
    std::vector<double> norms(n);
    univariate_update(n, m, step.loaded.model, step.loaded.y.data(), state, step.step,
                      norms.data());
    copy_state(n, state, step.filtered);
    for (int i = 0; i < m; ++i) {
      const UnivariateComponent<double>& c = step.components[i];
      pass.ok = pass.ok && is_sound(c);
      if (step.step.observation.observed[i] == 0) continue;
      const double variance = c.is_diffuse() ? c.diffuse : c.variance;
      const double square = c.is_diffuse() ? 0 : c.innovation * c.innovation / c.variance;
      pass.log_likelihood -= (static_cast<double>(kLogTwoPi) + std::log(variance) + square) / 2;
    }
    univariate_predict(n, step.loaded.model, state, work.data());
  }
  return pass;
}

// With a variance this large in place of a diffuse start, in long double: its distance from the
// limit is of the order of its inverse.
constexpr long double kLarge = 1e6L;

KalmanCase vague(KalmanCase x, int diffuse) {
  for (int i = 0; i < diffuse; ++i) {
    x.mean(i, 0) = 0;
    for (int j = 0; j < x.scale.columns; ++j) x.scale(i, j) = i == j ? std::sqrt(kLarge) : 0;
  }
  // The proper states' noise keeps to itself.
  for (int i = diffuse; i < x.n; ++i) {
    for (int j = 0; j < diffuse; ++j) x.scale(i, j) = 0;
  }
  return x;
}

void check_filter_and_smoother(const KalmanCase& start, int diffuse) {
  const int n = start.n, m = start.m;
  const KalmanCase x = vague(start, diffuse);
  Pass pass = run(x, diffuse);
  CHECK(pass.ok);
  const long double tolerance = diffuse > 0 ? 1e-3L : 1e-11L;
  const std::vector<FilterStep> expected = naive_filter(x);
  long double total = diffuse * std::log(kLarge) / 2;
  for (const FilterStep& step : expected) total += step.log_density;
  CHECK_NEAR(pass.log_likelihood, total, tolerance);
  for (int t = 2; t < x.steps(); ++t) {  // by then all is met
    CHECK(!pass.steps[t]->predicted.diffuse);
    CHECK_MATRIX(pass.steps[t]->predicted.p, expected[t].predicted_covariance, tolerance);
    CHECK_MATRIX(pass.steps[t]->filtered.a, expected[t].filtered_mean, tolerance);
    CHECK_MATRIX(pass.steps[t]->filtered.p, expected[t].filtered_covariance, tolerance);
  }
  const Posterior joint = condition_jointly(x);
  std::vector<double> memory(univariate_backward_size(n)), work(univariate_smoother_work_size(n));
  UnivariateBackward<double> back;
  CHECK(place(back, memory.data(), n) == memory.data() + memory.size());
  std::vector<double> mean(n), covariance(n * n), lag_one(n * n);
  for (int t = x.steps() - 1; t >= 0; --t) {
    const Step& step = *pass.steps[t];
    const Step& next = *pass.steps[t + 1 < x.steps() ? t + 1 : t];
    univariate_smooth(n, m, step.loaded.model, step.step, step.filtered, next.predicted, back,
                      {mean.data(), covariance.data(), lag_one.data()}, work.data());
    if (diffuse > 0) continue;
    CHECK_MATRIX(mean.data(), joint.mean.block(t * n, 0, n, 1), tolerance);
    CHECK_MATRIX(covariance.data(), joint.covariance.block(t * n, t * n, n, n), tolerance);
    if (t + 1 == x.steps()) continue;
    CHECK_MATRIX(lag_one.data(), joint.covariance.block((t + 1) * n, t * n, n, n), tolerance);
  }
}

void check_adjoint(const KalmanCase& start, int diffuse) {
  const int n = start.n, m = start.m;
  KalmanCase x = vague(start, diffuse);
  Pass pass = run(x, diffuse);
  std::vector<double> memory(n + 2 * n * n), work(univariate_adjoint_work_size(n, m));
  const UnivariateCotangents<double> bar = {memory.data(), memory.data() + n,
                                            memory.data() + n + n * n};
  std::vector<std::vector<double>> by_input[7];
  for (int i = 0; i < 7; ++i) {
    for (const Matrix& matrix : *x.by_step()[i]) by_input[i].emplace_back(matrix.data.size());
  }
  for (int t = x.steps() - 1; t >= 0; --t) {
    const Step& step = *pass.steps[t];
    const auto to = [&](int i) { return by_input[i][t].data(); };
    univariate_adjoint(n, m, x.g[t].columns, x.c[t].columns, step.loaded.model, step.step,
                       step.filtered, 1.0, bar, {to(0), to(1), to(2), to(3), to(4), to(5), to(6)},
                       work.data());
  }
  const std::string name = current_case();
  for (int i = 0; i < 7; ++i) {
    for (int t = 0; t < x.steps(); ++t) {
      say_case(name, "adjoint of input", i, "step", t);
      Matrix& input = (*x.by_step()[i])[t];
      Matrix expected(input.rows, input.columns);
      for (size_t k = 0; k < input.data.size(); ++k) {
        const long double value = input.data[k], h = 1e-5L;
        if (std::isnan(value)) continue;
        const auto at = [&](long double moved) {
          input.data[k] = moved;
          return run(x, diffuse).log_likelihood;
        };
        const double near = at(value + h) - at(value - h),
                     far = at(value + 2 * h) - at(value - 2 * h);
        expected.data[k] = (8 * near - far) / (12 * h);
        input.data[k] = value;
      }
      CHECK_MATRIX(by_input[i][t].data(), expected, 1e-7L);
    }
  }
  say_case(name);
}

// The sum of all smoothed moments times fixed weights, as a function of the covariance and gain
// side, is differentiated in Python against the reference; here the adjoint runs with exact scratch
// sizes and gives the cotangents of r and N that differences of the recursion give.
void check_smoother_adjoint(Random& random, const KalmanCase& x) {
  const int n = x.n, m = x.m, t = 1;
  const std::vector<PassStep<double>> steps = filter_pass<double>({x}, n, m);
  const PassStep<double>& step = steps[t];
  const auto draw = [&](int count) {
    std::vector<double> values(count);
    for (double& value : values) value = normal(random);
    return values;
  };
  const auto symmetric = [&](std::vector<double> values) {
    for (int i = 0; i < n; ++i) {
      for (int j = 0; j < i; ++j) values[i * n + j] = values[j * n + i];
    }
    return values;
  };
  const std::vector<double> r = draw(n), cov = symmetric(draw(n * n));
  const std::vector<double> mean_bar = draw(n), covariance_bar = symmetric(draw(n * n)),
                            lag_one_bar = draw(n * n), r_bar = draw(n),
                            cov_bar = symmetric(draw(n * n));
  const auto objective = [&](std::vector<double> r_in, std::vector<double> cov_in) {
    std::vector<double> work(kalman_smoother_work_size(n, m)), mean(n), covariance(n * n),
        lag_one(n * n);
    kalman_smooth(n, m, step.model, step.update, steps[t + 1].p.data(), r_in.data(), cov_in.data(),
                  {mean.data(), covariance.data(), lag_one.data()}, work.data());
    double sum = 0;
    for (int i = 0; i < n; ++i) sum += mean_bar[i] * mean[i] + r_bar[i] * r_in[i];
    for (int i = 0; i < n * n; ++i) {
      sum += covariance_bar[i] * covariance[i] + lag_one_bar[i] * lag_one[i];
      sum += cov_bar[i] * cov_in[i];
    }
    return sum;
  };
  std::vector<double> r_out = r_bar, cov_out = cov_bar, memory(smoother_adjoint_size(n, m)),
                      work(smoother_adjoint_work_size(n, m));
  SmootherAdjoint<double> out;
  CHECK(place(out, memory.data(), n, m) == memory.data() + memory.size());
  kalman_smooth_adjoint(n, m, step.model, step.update, step.p.data(), steps[t + 1].p.data(),
                        r.data(), cov.data(),
                        {mean_bar.data(), covariance_bar.data(), lag_one_bar.data()}, r_out.data(),
                        cov_out.data(), out, work.data());
  const double h = 1e-3;  // the recursion is linear in r and N
  for (int i = 0; i < n; ++i) {
    std::vector<double> up = r, down = r;
    up[i] += h, down[i] -= h;
    const double slope = (objective(up, cov) - objective(down, cov)) / (2 * h);
    CHECK_NEAR(slope, r_out[i], 1e-9L);
    for (int j = 0; j <= i; ++j) {
      up = down = cov;
      up[i * n + j] += h, down[i * n + j] -= h;
      if (i != j) up[j * n + i] += h, down[j * n + i] -= h;
      const double both = (objective(r, up) - objective(r, down)) / (2 * h);
      CHECK_NEAR(both, (i == j ? 1 : 2) * cov_out[i * n + j], 1e-9L);
    }
  }
}

}  // namespace

int main() {
  if (processor_lacks_instructions()) return kSkipped;
  Random random(1);
  for (const double missing : {0.0, 0.4}) {
    for (int n = 1; n <= 4; ++n) {
      for (int m = 1; m <= 3; ++m) {
        for (int diffuse = 0; diffuse <= n && diffuse <= 2; ++diffuse) {
          say_case("n", n, "m", m, "missing", missing, "diffuse", diffuse);
          KalmanCase x = random_case(random, n, m, 6, missing);
          // Everything is met in the first steps, and none of it barely.
          for (int t = 0; t < 2; ++t) {
            x.y[t] = random_matrix(random, m, 1);
            for (int i = 0; i < m; ++i) x.h[t](i, (i + t) % n) += 3;
          }
          check_filter_and_smoother(x, diffuse);
          if (n <= 3 && m <= 2) check_adjoint(x, diffuse);
          if (diffuse == 0) check_smoother_adjoint(random, x);
        }
      }
    }
  }
}
