// The recursions against their oracles: the filter against the textbook one, its gradient against
// central differences in long double, the smoother against the joint normal distribution.
#include "tests/kalman_pass.h"

namespace {

using namespace statespace;
using namespace statespace::STATESPACE_ISA;
using namespace statespace::STATESPACE_ISA::test;
using namespace statespace::test;

template <class T>
constexpr long double kLoose = 10 * kTolerance<T>;

template <class T>
Matrix lower(int m, const T* x) {
  Matrix out(m, m);
  for (int i = 0; i < m; ++i) {
    for (int j = 0; j <= i; ++j) out(i, j) = out(j, i) = x[i * m + j];
  }
  return out;
}

template <class T>
void check_filter(const KalmanCase& x) {
  const int n = x.n, m = x.m;
  const std::vector<PassStep<T>> steps = filter_pass<T>({x}, n, m);
  const std::vector<FilterStep> expected = naive_filter(x);
  for (int t = 0; t < x.steps(); ++t) {
    const PassStep<T>& step = steps[t];
    CHECK(step.update.ok);
    CHECK_MATRIX(step.a.data(), expected[t].predicted_mean, kLoose<T>);
    CHECK_MATRIX(step.p.data(), expected[t].predicted_covariance, kLoose<T>);
    CHECK_MATRIX(step.update.a, expected[t].filtered_mean, kLoose<T>);
    CHECK_MATRIX(step.update.p, expected[t].filtered_covariance, kLoose<T>);
    CHECK_MATRIX(step.update.v, expected[t].innovation, kLoose<T>);
    const Matrix s = lower(m, step.update.s);
    CHECK_MATRIX(s.data.data(), expected[t].innovation_covariance, kLoose<T>);
    // The log-density's ingredients.
    long double density = 0;
    for (int i = 0; i < m; ++i) {
      const bool seen = !std::isnan(x.y[t](i, 0));
      CHECK_EQUAL(step.update.observed[i], T(seen));
      if (!seen) {  // as declared: zero rows, and one on the diagonal of L
        CHECK_EQUAL(step.update.z[i], T(0));
        CHECK_EQUAL(step.update.l[i * m + i], T(1));
        for (int j = 0; j < n; ++j) CHECK_EQUAL(step.update.w[i * n + j], T(0));
      }
      const long double z = step.update.z[i];
      density -= (seen * kLogTwoPi + z * z) / 2 + std::log(1.0L * step.update.l[i * m + i]);
    }
    CHECK_NEAR(density, expected[t].log_density, kLoose<T>);
  }
}

// The two oracles agree with each other.
void check_oracles(const KalmanCase& x) {
  long double total = 0;
  const std::vector<FilterStep> filtered = naive_filter(x);
  for (const FilterStep& step : filtered) total += step.log_density;
  const Posterior joint = condition_jointly(x);
  CHECK_NEAR(joint.log_likelihood, total, 1e-14L);
  if (x.steps() == 0) return;
  const Matrix last = joint.mean.block((x.steps() - 1) * x.n, 0, x.n, 1);
  CHECK_MATRIX(last.data.data(), filtered.back().filtered_mean, 1e-14L);
}

template <class T>
void check_smoother(const KalmanCase& x) {
  const int n = x.n;
  const std::vector<PassStep<T>> steps = filter_pass<T>({x}, n, x.m);
  const PassSmoothed<T> smoothed = smoother_pass<T>(steps, n, x.m);
  const PassSmoothed<T> marginals = smoother_pass<T>(steps, n, x.m, false);
  CHECK(marginals.mean == smoothed.mean && marginals.covariance == smoothed.covariance);
  const Posterior joint = condition_jointly(x);
  for (int t = 0; t < x.steps(); ++t) {
    const Matrix mean = joint.mean.block(t * n, 0, n, 1),
                 covariance = joint.covariance.block(t * n, t * n, n, n);
    CHECK_MATRIX(smoothed.mean[t].data(), mean, kLoose<T>);
    CHECK_MATRIX(smoothed.covariance[t].data(), covariance, kLoose<T>);
    if (t + 1 == x.steps()) continue;
    const Matrix lag_one = joint.covariance.block((t + 1) * n, t * n, n, n);
    CHECK_MATRIX(smoothed.lag_one[t].data(), lag_one, kLoose<T>);
  }
}

long double objective(const KalmanCase& x, const std::vector<double>& weights) {
  const std::vector<FilterStep> steps = naive_filter(x);
  long double sum = 0;
  for (int t = 0; t < x.steps(); ++t) sum += weights[t] * steps[t].log_density;
  return sum;
}

// Every entry of every input; those of missing y have gradient zero.
void check_adjoint(Random& random, KalmanCase x) {
  const int n = x.n, m = x.m;
  std::vector<double> weights;
  for (int t = 0; t < x.steps(); ++t) weights.push_back(t == 1 ? 0 : normal(random));
  const std::vector<PassStep<double>> steps = filter_pass<double>({x}, n, m);
  const PassGradient<double> gradient = adjoint_pass<double>({x}, steps, weights, n, m);
  const long double step = 1e-6L;
  const auto check = [&](Matrix& input, const double* actual) {
    Matrix expected(input.rows, input.columns);
    for (size_t i = 0; i < input.data.size(); ++i) {
      const long double value = input.data[i];
      if (std::isnan(value)) continue;
      input.data[i] = value + step;
      const long double up = objective(x, weights);
      input.data[i] = value - step;
      expected.data[i] = (up - objective(x, weights)) / (2 * step);
      input.data[i] = value;
    }
    CHECK_MATRIX(actual, expected, 1e-8L);
  };
  const std::string name = current_case();
  for (int i = 0; i < 7; ++i) {
    for (int t = 0; t < x.steps(); ++t) {
      say_case(name, "adjoint of input", i, "step", t);
      check((*x.by_step()[i])[t], gradient.by_step[i][t].data());
    }
  }
  say_case(name, "adjoint of the first state");
  check(x.mean, gradient.mean.data());
  // d <N, S S'> = <2 N S, dS>.
  const Matrix scale_bar = 2.0L * (Matrix(n, n, gradient.covariance.data()) * x.scale);
  check(x.scale, scale_bar.as<double>().data());
}

// Transitions and observations that are mostly zeros.
void check_sparse(Random& random, double missing) {
  for (int n = 2; n <= 9; ++n) {
    say_case("sparse, n", n, "missing", missing);
    std::vector<KalmanCase> x = {random_case(random, n, 2, 4, missing)};
    make_sparse(random, x);
    check_filter<float>(x[0]);
    check_filter<double>(x[0]);
    check_smoother<float>(x[0]);
    check_smoother<double>(x[0]);
    if (n <= 5) check_adjoint(random, x[0]);
  }
}

void check_failures() {
  const double infinity = std::numeric_limits<double>::infinity();
  Random random(2);
  for (int n = 1; n <= 3; ++n) {
    for (int m = 1; m <= 2; ++m) {
      const KalmanCase good = random_case(random, n, m, 1, 0);
      const auto ok = [&](const KalmanCase& x) {
        return filter_pass<double>({x}, n, m)[0].update.ok;
      };
      say_case("failures", n, m);
      CHECK(ok(good));
      KalmanCase x = good;
      x.y[0](m - 1, 0) = infinity;
      CHECK(!ok(x));
      x = good, x.mean(n - 1, 0) = infinity - infinity;
      CHECK(!ok(x));
      x = good, x.scale(n - 1, 0) = infinity;
      CHECK(!ok(x));
      x = good, x.h[0](m - 1, 0) = infinity;
      CHECK(!ok(x));
      x = good, x.c[0] = Matrix(m, m + 1), x.h[0] = Matrix(m, n);  // S = 0
      CHECK(!ok(x));
      x.y[0] = Matrix(m, 1);
      for (long double& entry : x.y[0].data) entry = infinity - infinity;
      CHECK(ok(x));                 // a singular S of missing data is no failure
      x.mean(n - 1, 0) = infinity;  // but this is, though nothing observed shows it
      CHECK(!ok(x));
      x.mean = good.mean, x.scale(n - 1, 0) = infinity;
      CHECK(!ok(x));
    }
  }
}

}  // namespace

int main() {
  if (processor_lacks_instructions()) return kSkipped;
  Random random(1);
  for (const double missing : {0.0, 0.4, 1.0}) {
    for (int n = 0; n <= 5; ++n) {
      for (int m = 0; m <= 3; ++m) {
        say_case("n", n, "m", m, "missing", missing);
        const KalmanCase x = random_case(random, n, m, 5, missing);
        check_oracles(x);
        check_filter<float>(x);
        check_filter<double>(x);
        check_smoother<float>(x);
        check_smoother<double>(x);
        if (n <= 3 && m <= 2) check_adjoint(random, random_case(random, n, m, 4, missing));
      }
    }
    check_sparse(random, missing);
  }
  check_failures();
}
