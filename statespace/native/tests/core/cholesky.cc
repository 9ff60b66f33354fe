// Cholesky factor, failures, and the adjoint against central differences of a long double factor.
#include "core/cholesky.h"

#include "tests/dense.h"

namespace {

using namespace statespace;
using namespace statespace::STATESPACE_ISA;
using namespace statespace::test;

Matrix positive_definite(Random& random, int n) {
  const Matrix x = random_matrix(random, n, n + 2);
  Matrix a = x * x.transpose() + identity(n);
  for (long double& entry : a.data) entry = static_cast<float>(entry);
  return a;
}

Matrix naive_cholesky(const Matrix& a) {
  Matrix l(a.rows, a.rows);
  for (int j = 0; j < a.rows; ++j) {
    for (int i = j; i < a.rows; ++i) {
      long double sum = a(i, j);
      for (int k = 0; k < j; ++k) sum -= l(i, k) * l(j, k);
      l(i, j) = i == j ? std::sqrt(sum) : sum / l(j, j);
    }
  }
  return l;
}

template <class T>
void check_factor() {
  Random random(1);
  for (int n = 0; n <= 12; ++n) {
    say_case("factor", n);
    const Matrix a = positive_definite(random, n), expected = naive_cholesky(a);
    std::vector<T> x = a.as<T>(), l(x.size(), T(7));
    for (int i = 0; i < n; ++i) {  // the upper triangle is not read
      for (int j = i + 1; j < n; ++j) x[i * n + j] = std::numeric_limits<T>::quiet_NaN();
    }
    CHECK_EQUAL(cholesky(n, x.data(), l.data()), T(0));
    CHECK_MATRIX(l.data(), expected, kTolerance<T>);
    CHECK_EQUAL(cholesky(n, x.data(), x.data()), T(0));  // in place
    CHECK(x == l);
    with_size<4>(n, [&](auto size) {
      const std::vector<T> input = a.as<T>();
      cholesky(size, input.data(), x.data());
      CHECK(x == l);
    });
  }
}

// Every kind of bad pivot, at every place: status names it and the whole factor is NaN.
template <class T>
void check_failures() {
  const T infinity = std::numeric_limits<T>::infinity(), nan = infinity - infinity;
  Random random(2);
  for (int n = 1; n <= 6; ++n) {
    for (int bad = 0; bad < n; ++bad) {
      for (const T pivot : {T(0), T(-1), T(-0.0), infinity, -infinity, nan}) {
        say_case("failure", n, bad, pivot);
        Matrix a = identity(n);
        a(bad, bad) = pivot;
        const std::vector<T> x = a.as<T>();
        std::vector<T> l(x.size());
        CHECK_EQUAL(cholesky(n, x.data(), l.data()), T(bad + 1));
        for (const T entry : l) CHECK(entry != entry);
      }
    }
    say_case("failure off the diagonal", n);
    std::vector<T> x = positive_definite(random, n).as<T>(), l(x.size());
    x[(n - 1) * n] = infinity;
    CHECK_EQUAL(cholesky(n, x.data(), l.data()), T(n));
    for (const T entry : l) CHECK(entry != entry);
  }
}

// <L_bar, dL> = <A_bar, dA> for symmetric dA.
void check_adjoint() {
  Random random(3);
  for (int n = 1; n <= 6; ++n) {
    const Matrix a = positive_definite(random, n), l = naive_cholesky(a);
    Matrix l_bar = random_matrix(random, n, n);
    const std::vector<double> x = l.as<double>(), x_bar = l_bar.as<double>();
    std::vector<double> a_bar(n * n);
    cholesky_adjoint(n, x.data(), x_bar.data(), a_bar.data());
    const long double step = 1e-6L;
    for (int i = 0; i < n; ++i) {
      for (int j = 0; j <= i; ++j) {
        say_case("adjoint", n, i, j);
        Matrix up = a, down = a;
        up(i, j) += step, down(i, j) -= step;
        const Matrix difference = naive_cholesky(up) - naive_cholesky(down);
        // The lower triangle alone is read: a change there counts for both entries of A.
        const double expected = i == j ? a_bar[i * n + i] : a_bar[i * n + j] + a_bar[j * n + i];
        CHECK_NEAR(expected, inner(l_bar, difference) / (2 * step), 1e-9L);
        CHECK_NEAR(a_bar[i * n + j], a_bar[j * n + i], 1e-12L);
      }
    }
  }
}

void check_unused_gradient() {
  say_case("zero cotangent of a failed factor");
  const std::vector<double> l(4, std::numeric_limits<double>::quiet_NaN()), zero(4);
  std::vector<double> a_bar(4, 7);
  cholesky_adjoint(2, l.data(), zero.data(), a_bar.data());
  CHECK(a_bar == zero);
  const std::vector<double> one = {0, 0, 0, 1};
  cholesky_adjoint(2, l.data(), one.data(), a_bar.data());
  for (const double entry : a_bar) CHECK(entry != entry);
}

}  // namespace

int main() {
  if (processor_lacks_instructions()) return kSkipped;
  check_factor<float>();
  check_factor<double>();
  check_failures<float>();
  check_failures<double>();
  check_adjoint();
  check_unused_gradient();
}
