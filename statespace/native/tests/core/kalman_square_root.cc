// The square-root form against its oracles: the filter against the textbook one, its gradient
// against central differences in long double, the smoother against the joint normal distribution.
#include "core/kalman_square_root_smoother.h"
#include "tests/kalman_pass.h"

namespace {

using namespace statespace;
using namespace statespace::STATESPACE_ISA;
using namespace statespace::STATESPACE_ISA::test;
using namespace statespace::test;

template <class T>
constexpr long double kLoose = 20 * kTolerance<T>;

// What a step leaves, in memory of exactly the sizes the core asks for.
template <class T>
struct Step {
  std::vector<T> memory, a, scale, reflectors;
  PassStep<T> parameters;
  SquareRootSizes sizes;
  SquareRootUpdate<T> update;
};

template <class T>
struct Pass {
  std::vector<Step<T>> steps;
  std::vector<T> initial;  // reflectors of the initial scale, and their scratch
};

template <class T>
Pass<T> square_root_pass(const KalmanCase& x) {
  const int n = x.n, m = x.m;
  Pass<T> pass;
  std::vector<T> a = x.mean.as<T>(), scale(n * n);
  pass.initial.resize(reflectors_size(n, triangular_scale_width(n, x.scale.columns)));
  const std::vector<T> initial = x.scale.as<T>();
  triangular_scale(n, x.scale.columns, rows(initial.data(), x.scale.columns), scale.data(),
                   pass.initial.data());
  for (int t = 0; t < x.steps(); ++t) {
    pass.steps.emplace_back();
    Step<T>& step = pass.steps.back();
    step.parameters = load_step<T>({x}, t, x.n, x.m);
    step.sizes = {x.c[t].columns, x.g[t].columns};
    step.memory.resize(square_root_update_size(n, m, x.c[t].columns));
    T* const end = place(step.update, step.memory.data(), n, m, x.c[t].columns);
    CHECK(end == step.memory.data() + step.memory.size());
    step.a = a, step.scale = scale;
    step.reflectors.resize(reflectors_size(n, step.sizes.predicted(n)));
    square_root_update(n, m, step.sizes, step.parameters.model, std::numeric_limits<T>::max(),
                       step.parameters.y.data(), a.data(), scale.data(), step.update);
    square_root_predict(n, step.sizes, step.parameters.model, step.update, a.data(), scale.data(),
                        step.reflectors.data());
  }
  return pass;
}

template <class T>
Matrix gram(int n, int columns, const View<T>& x) {
  Matrix a(n, columns);
  for (int i = 0; i < n; ++i) {
    for (int j = 0; j < columns; ++j) a(i, j) = x(i, j);
  }
  return a * a.transpose();
}

template <class T>
void check_triangle(int n, const T* l) {
  for (int i = 0; i < n; ++i) {
    CHECK(l[i * n + i] >= 0);
    for (int j = i + 1; j < n; ++j) CHECK_EQUAL(l[i * n + j], T(0));
  }
}

template <class T>
void check_filter(const KalmanCase& x) {
  const int n = x.n, m = x.m;
  const Pass<T> pass = square_root_pass<T>(x);
  const std::vector<FilterStep> expected = naive_filter(x);
  for (int t = 0; t < x.steps(); ++t) {
    const Step<T>& step = pass.steps[t];
    const int filtered = step.sizes.filtered(n);
    CHECK(step.update.ok);
    check_triangle(n, step.scale.data());
    CHECK_MATRIX(step.a.data(), expected[t].predicted_mean, kLoose<T>);
    const Matrix predicted = gram(n, n, rows<T>(step.scale.data(), n));
    CHECK_MATRIX(predicted.template as<T>().data(), expected[t].predicted_covariance, kLoose<T>);
    CHECK_MATRIX(step.update.a, expected[t].filtered_mean, kLoose<T>);
    const Matrix covariance = gram(n, filtered, filtered_rows(step.update, step.sizes.updated(n)));
    CHECK_MATRIX(covariance.template as<T>().data(), expected[t].filtered_covariance, kLoose<T>);
    CHECK_MATRIX(step.update.v, expected[t].innovation, kLoose<T>);
    std::vector<T> observation(m * filtered), scale(m * m),
        reflectors(reflectors_size(m, triangular_scale_width(m, filtered)));
    observation_rows(n, m, step.sizes.observation_noise, step.parameters.model, step.scale.data(),
                     observation.data(), filtered);
    triangular_scale(m, filtered, rows<T>(observation.data(), filtered), scale.data(),
                     reflectors.data());
    check_triangle(m, scale.data());
    const Matrix s = gram(m, m, rows<T>(scale.data(), m));
    CHECK_MATRIX(s.template as<T>().data(), expected[t].innovation_covariance, kLoose<T>);
    long double density = 0;
    for (int i = 0; i < m; ++i) {
      const bool seen = !std::isnan(x.y[t](i, 0));
      CHECK_EQUAL(step.update.observed[i], T(seen));
      if (!seen) {
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

template <class T>
void check_smoother(const KalmanCase& x) {
  const int n = x.n, m = x.m;
  const Pass<T> pass = square_root_pass<T>(x);
  const Posterior joint = condition_jointly(x);
  std::vector<T> mu(n), scale(n * n), state(n * n), mean(n), covariance(n * n), lag_one(n * n);
  for (int t = x.steps() - 1; t >= 0; --t) {
    const Step<T>& step = pass.steps[t];
    const bool last = t + 1 == x.steps();
    std::vector<T> work(
        square_root_smoother_work_size(n, m, step.sizes.observation_noise, step.sizes.noise));
    square_root_smooth(n, m, step.sizes, step.update, step.a.data(), step.scale.data(),
                       last ? nullptr : step.reflectors.data(),
                       SquareRootPosterior<T>{mu.data(), scale.data(), state.data()},
                       SmoothedMoments<T>{mean.data(), covariance.data(), lag_one.data()},
                       work.data());
    CHECK_MATRIX(mean.data(), joint.mean.block(t * n, 0, n, 1), kLoose<T>);
    CHECK_MATRIX(covariance.data(), joint.covariance.block(t * n, t * n, n, n), kLoose<T>);
    if (!last) {
      const Matrix expected = joint.covariance.block((t + 1) * n, t * n, n, n);
      CHECK_MATRIX(lag_one.data(), expected, kLoose<T>);
    }
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
  Pass<double> pass = square_root_pass<double>(x);
  std::vector<std::vector<double>> bars[7];
  for (int i = 0; i < 7; ++i) {
    for (const Matrix& input : *x.by_step()[i]) bars[i].emplace_back(input.data.size());
  }
  std::vector<double> r(n), w(n * n);
  for (int t = x.steps() - 1; t >= 0; --t) {
    Step<double>& step = pass.steps[t];
    std::vector<double> work(
        square_root_adjoint_work_size(n, m, step.sizes.observation_noise, step.sizes.noise));
    const auto bar = [&](int i) { return bars[i][t].data(); };
    square_root_adjoint(
        n, m, step.sizes, step.parameters.model, step.update,
        t + 1 == x.steps() ? nullptr : step.reflectors.data(), weights[t],
        SquareRootCotangent<double>{r.data(), w.data()},
        KalmanCotangents<double>{bar(0), bar(1), bar(2), bar(3), bar(4), bar(5), bar(6)},
        work.data());
  }
  const int columns = x.scale.columns, width = triangular_scale_width(n, columns);
  std::vector<double> first(n * width), scale_bar(n * columns);
  reflect_back(n, width, w.data(), pass.initial.data(), first.data());
  for (int i = 0; i < n * columns; ++i) {
    scale_bar[i] = first[i / columns * width + i % columns];
  }

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
      check((*x.by_step()[i])[t], bars[i][t].data());
    }
  }
  say_case(name, "adjoint of the first state");
  check(x.mean, r.data());
  check(x.scale, scale_bar.data());
}

// Moments of numbers whose squares leave the range of float64 by no more than their product.
void check_extreme_scales(Random& random) {
  for (const long double scale : {1e-150L, 1e150L}) {
    say_case("scale", scale);
    KalmanCase x = random_case(random, 3, 2, 4, 0.3);
    for (auto* const input : {&x.y, &x.g, &x.c, &x.b, &x.d}) {
      for (Matrix& matrix : *input) matrix = scale * matrix;
    }
    x.mean = scale * x.mean, x.scale = scale * x.scale;
    check_filter<double>(x);
    check_smoother<double>(x);
  }
}

void check_failures() {
  const double infinity = std::numeric_limits<double>::infinity();
  Random random(2);
  for (int n = 1; n <= 3; ++n) {
    for (int m = 1; m <= 2; ++m) {
      const KalmanCase good = random_case(random, n, m, 1, 0);
      const auto ok = [&](const KalmanCase& x) {
        return square_root_pass<double>(x).steps[0].update.ok;
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
        KalmanCase x = random_case(random, n, m, 5, missing);
        check_filter<float>(x);
        check_filter<double>(x);
        check_smoother<float>(x);
        check_smoother<double>(x);
        if (n > 3 || m > 2) continue;
        x = random_case(random, n, m, 4, missing);
        check_adjoint(random, x);
        // Fewer and more columns than states.
        x.scale = random_matrix(random, n, 1);
        check_adjoint(random, x);
        x.scale = random_matrix(random, n, n + 2);
        check_adjoint(random, x);
      }
    }
  }
  say_case("beyond one panel of reflectors");
  check_filter<double>(random_case(random, 30, 2, 3, 0.3));
  check_smoother<double>(random_case(random, 30, 2, 3, 0.3));
  check_extreme_scales(random);
  check_failures();
}
