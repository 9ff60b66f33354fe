// A random time-varying model with data, and its moments by two textbook roads: the filter written
// with matrix inverses, and conditioning of the joint normal distribution of all states and data.
#ifndef STATESPACE_NATIVE_TESTS_KALMAN_CASE_H_
#define STATESPACE_NATIVE_TESTS_KALMAN_CASE_H_

#include "tests/dense.h"

namespace statespace {
namespace test {

// Parameters and data, one matrix a step; NaN entries of y are missing. Names as in
// core/kalman_filter.h.
struct KalmanCase {
  int n, m;
  std::vector<Matrix> y, f, g, h, c, b, d;
  Matrix mean, scale;  // of the first state

  int steps() const { return static_cast<int>(y.size()); }
  // All that varies by step, in the order of the members.
  std::vector<std::vector<Matrix>*> by_step() { return {&y, &f, &g, &h, &c, &b, &d}; }
};

// `missing` in 0 ... 1: share of entries of y that are missing; every third step misses all.
inline KalmanCase random_case(Random& random, int n, int m, int steps, double missing) {
  KalmanCase x;
  x.n = n, x.m = m;
  x.mean = random_matrix(random, n, 1);
  x.scale = random_matrix(random, n, n);
  for (int t = 0; t < steps; ++t) {
    x.y.push_back(random_matrix(random, m, 1));
    for (long double& entry : x.y[t].data) {
      const bool gone = std::uniform_real_distribution<double>()(random) < missing;
      if (gone || (missing > 0 && t % 3 == 2)) entry = std::numeric_limits<float>::quiet_NaN();
    }
    x.f.push_back(0.5L * random_matrix(random, n, n));
    x.g.push_back(random_matrix(random, n, n + 1));
    x.h.push_back(random_matrix(random, m, n));
    x.c.push_back(random_matrix(random, m, m + 1));
    for (int i = 0; i < m; ++i) x.c[t](i, i) += x.c[t](i, i) < 0 ? -1 : 1;
    x.b.push_back(random_matrix(random, n, 1));
    x.d.push_back(random_matrix(random, m, 1));
  }
  return x;
}

// Leaves about one in four entries of transitions and observation matrices, the same in all of
// `cases`: so few that products skip the zeros.
inline void make_sparse(Random& random, std::vector<KalmanCase>& cases) {
  for (int t = 0; t < cases[0].steps(); ++t) {
    for (auto matrices : {&KalmanCase::f, &KalmanCase::h}) {
      for (size_t i = 0; i < (cases[0].*matrices)[t].data.size(); ++i) {
        if (integer(random, 0, 3) == 0) continue;
        for (KalmanCase& x : cases) (x.*matrices)[t].data[i] = 0;
      }
    }
  }
}

// Rows of the identity that belong to the observed components, and the data with zeros for NaN.
inline Matrix selection(const Matrix& y) {
  Matrix e(0, y.rows);
  for (int i = 0; i < y.rows; ++i) {
    if (std::isnan(y(i, 0))) continue;
    for (int j = 0; j < y.rows; ++j) e.data.push_back(i == j);
    ++e.rows;
  }
  return e;
}
inline Matrix without_nan(Matrix y) {
  for (long double& entry : y.data) entry = std::isnan(entry) ? 0 : entry;
  return y;
}

constexpr long double kLogTwoPi = 1.837877066409345483560659472811L;

struct FilterStep {
  Matrix predicted_mean, predicted_covariance, filtered_mean, filtered_covariance;
  Matrix innovation;             // [m, 1], zero where missing
  Matrix innovation_covariance;  // [m, m], of all components
  long double log_density;
};

inline std::vector<FilterStep> naive_filter(const KalmanCase& x) {
  std::vector<FilterStep> out;
  Matrix a = x.mean, p = x.scale * x.scale.transpose();
  for (int t = 0; t < x.steps(); ++t) {
    FilterStep step;
    step.predicted_mean = a, step.predicted_covariance = p;
    const Matrix e = selection(x.y[t]), h = e * x.h[t];
    step.innovation_covariance = x.h[t] * p * x.h[t].transpose() + x.c[t] * x.c[t].transpose();
    const Matrix v = e * (without_nan(x.y[t]) - x.h[t] * a - x.d[t]);
    step.innovation = e.transpose() * v;
    long double log_determinant;
    const Matrix precision =
        inverse(e * step.innovation_covariance * e.transpose(), &log_determinant);
    const Matrix gain = p * h.transpose() * precision;
    step.filtered_mean = a + gain * v;
    step.filtered_covariance = p - gain * h * p;
    step.log_density = -(e.rows * kLogTwoPi + log_determinant + inner(v, precision * v)) / 2;
    a = x.f[t] * step.filtered_mean + x.b[t];
    p = x.f[t] * step.filtered_covariance * x.f[t].transpose() + x.g[t] * x.g[t].transpose();
    out.push_back(step);
  }
  return out;
}

// All states given all data, stacked: mean [T n, 1], covariance [T n, T n], and log p(y).
struct Posterior {
  Matrix mean, covariance;
  long double log_likelihood;
};

inline Posterior condition_jointly(const KalmanCase& x) {
  const int n = x.n, total = n * x.steps();
  Matrix mean(total, 1), cov(total, total), z(0, total), r(0, 0), v(0, 1);
  Matrix a = x.mean, p = x.scale * x.scale.transpose();
  for (int t = 0; t < x.steps(); ++t) {
    mean.set_block(t * n, 0, a);
    cov.set_block(t * n, t * n, p);
    for (int s = 0; s < t; ++s) {  // Cov(x_t, x_s) = F_{t-1} Cov(x_{t-1}, x_s)
      const Matrix cross = x.f[t - 1] * cov.block((t - 1) * n, s * n, n, n);
      cov.set_block(t * n, s * n, cross);
      cov.set_block(s * n, t * n, cross.transpose());
    }
    const Matrix e = selection(x.y[t]), h = e * x.h[t];
    Matrix longer_z(z.rows + e.rows, total), longer_v(z.rows + e.rows, 1),
        larger_r(z.rows + e.rows, z.rows + e.rows);
    longer_z.set_block(0, 0, z), longer_z.set_block(z.rows, t * n, h);
    longer_v.set_block(0, 0, v);
    longer_v.set_block(z.rows, 0, e * (without_nan(x.y[t]) - x.h[t] * a - x.d[t]));
    larger_r.set_block(0, 0, r);
    larger_r.set_block(z.rows, z.rows, e * x.c[t] * x.c[t].transpose() * e.transpose());
    z = longer_z, v = longer_v, r = larger_r;
    a = x.f[t] * a + x.b[t];
    p = x.f[t] * p * x.f[t].transpose() + x.g[t] * x.g[t].transpose();
  }
  long double log_determinant;
  const Matrix precision = inverse(z * cov * z.transpose() + r, &log_determinant);
  const Matrix gain = cov * z.transpose() * precision;
  return {mean + gain * v, cov - gain * z * cov,
          -(z.rows * kLogTwoPi + log_determinant + inner(v, precision * v)) / 2};
}

}  // namespace test
}  // namespace statespace

#endif  // STATESPACE_NATIVE_TESTS_KALMAN_CASE_H_
