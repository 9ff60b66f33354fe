// Eigenvalues and eigenvectors: residuals over many kinds of matrices, lanes, failures; the adjoint
// against central differences.
#include "core/eigh.h"

#include "tests/dense.h"
#include "tests/pack.h"

namespace {

using namespace statespace;
using namespace statespace::STATESPACE_ISA;
using namespace statespace::test;
using statespace::STATESPACE_ISA::test::pack;
using statespace::STATESPACE_ISA::test::unpack;

template <class V>
struct Eigh {
  int n;
  std::vector<V> a, lambda, v;
  V info;

  Eigh(int n, const std::vector<V>& a) : n(n), a(a), lambda(n), v(a.size()) {
    std::vector<V> work(eigh_work_size(n));
    info = eigh(n, this->a.data(), lambda.data(), v.data(), work.data());
  }
};

Matrix symmetric(Random& random, int n) {
  const Matrix x = random_matrix(random, n, n);
  return x + x.transpose();
}

// An orthogonal matrix: the product of n random reflectors.
Matrix orthogonal(Random& random, int n) {
  Matrix q = identity(n);
  for (int k = 0; k < n; ++k) {
    const Matrix x = random_matrix(random, n, 1);
    q = q - (2 / inner(x, x)) * (q * x) * x.transpose();
  }
  return q;
}

Matrix with_eigenvalues(Random& random, const std::vector<long double>& eigenvalues) {
  const int n = static_cast<int>(eigenvalues.size());
  const Matrix q = orthogonal(random, n);
  Matrix diagonal(n, n);
  for (int i = 0; i < n; ++i) diagonal(i, i) = eigenvalues[i];
  return q * diagonal * q.transpose();
}

long double largest(const Matrix& x) {
  long double most = 0;
  for (const long double entry : x.data) most = std::max(most, std::abs(entry));
  return most;
}

// The kinds of matrices that eigenvalue codes are tried on. Entries about 1.
constexpr int kKinds = 12;
Matrix make(Random& random, int kind, int n) {
  std::vector<long double> eigenvalues(n);
  const long double eps = 0x1p-52L;
  for (int i = 0; i < n; ++i) {
    const long double t = n > 1 ? static_cast<long double>(i) / (n - 1) : 0;
    switch (kind) {
      case 1:
        eigenvalues[i] = 0;
        break;
      case 2:
        eigenvalues[i] = 1;
        break;
      case 3:
        eigenvalues[i] = i == 0 ? 1 : eps;
        break;
      case 4:
        eigenvalues[i] = i == n - 1 ? eps : 1;
        break;
      case 5:
        eigenvalues[i] = std::pow(eps, t);
        break;
      case 6:
        eigenvalues[i] = i % 2 == 0 ? std::pow(eps, t) : -std::pow(eps, t);
        break;
      case 7:
        eigenvalues[i] = i / 3;
        break;
      case 8:
        eigenvalues[i] = 1 + i * eps * 8;
        break;
    }
  }
  if (kind == 0) return symmetric(random, n);
  if (kind <= 8) return with_eigenvalues(random, eigenvalues);
  Matrix x(n, n);
  for (int i = 0; i < n; ++i) {
    for (int j = 0; j < n; ++j) {
      if (kind == 9 && std::abs(i - j) <= 1) x(i, j) = i == j ? 2 : -1;       // tridiagonal
      if (kind == 10) x(i, j) = std::pow(10.0L, -i - j) * (1 + (i + j) % 3);  // graded
      if (kind == 11 && std::abs(i - j) == 1) x(i, j) = std::pow(1e-9L, std::min(i, j) % 3);
    }
  }
  return x;
}

// ||A - V diag(lambda) V'|| / (n ||A|| eps), ||V' V - I|| / (n eps), order and signs.
template <class T>
void check_item(const Matrix& a, const std::vector<T>& lambda, const std::vector<T>& vectors) {
  const int n = a.rows;
  const Matrix v(n, n, vectors.data());
  Matrix scaled = v;
  for (int i = 0; i < n; ++i) {
    for (int j = 0; j < n; ++j) scaled(i, j) *= lambda[j];
  }
  const long double unit = std::max(n, 1) * std::numeric_limits<T>::epsilon();
  CHECK(largest(a - scaled * v.transpose()) <= 4 * unit * largest(a));
  CHECK(largest(v.transpose() * v - identity(n)) <= 4 * unit);
  for (int j = 0; j < n; ++j) {
    if (j > 0) CHECK(lambda[j - 1] <= lambda[j]);
    T most = 0, pivot = 0;
    for (int i = 0; i < n; ++i) most = std::max(most, std::abs(vectors[i * n + j]));
    for (int i = n - 1; i >= 0; --i) {
      const T entry = vectors[i * n + j];
      CHECK(!(entry == 0 && std::signbit(entry)));
      if (std::abs(entry) >= most * T(kNearlyLargest)) pivot = entry;
    }
    CHECK(pivot > 0);
  }
}

// Every kind at every size, from near underflow to near overflow, each lane another one.
template <class V>
void check_factors() {
  using T = ScalarOf<V>;
  Random random(1);
  const int exponents[] = {0, std::numeric_limits<T>::max_exponent - 8,
                           std::numeric_limits<T>::min_exponent + 8};
  for (const int n : {0, 1, 2, 3, 4, 5, 7, 8, 16, 17, 33, 64}) {
    for (const int exponent : exponents) {
      for (int kind = 0; kind < kKinds; kind += kLanes<V>) {
        std::vector<std::vector<T>> items;
        for (int lane = 0; lane < kLanes<V>; ++lane) {
          const Matrix a = make(random, (kind + lane) % kKinds, n);
          items.push_back((std::pow(2.0L, exponent) * a).template as<T>());
          for (int i = 0; i < n; ++i) {  // the upper triangle is not read
            for (int j = i + 1; j < n; ++j) {
              items[lane][i * n + j] = std::numeric_limits<T>::quiet_NaN();
            }
          }
        }
        const Eigh<V> result(n, pack<V>(items));
        for (int lane = 0; lane < kLanes<V>; ++lane) {
          say_case("n", n, "kind", (kind + lane) % kKinds, "2 to the", exponent, "lane", lane);
          CHECK_EQUAL(get_lane(result.info, lane), T(0));
          Matrix a(n, n, items[lane].data());
          for (int i = 0; i < n; ++i) {
            for (int j = i + 1; j < n; ++j) a(i, j) = a(j, i);
          }
          // Against matrices of ordinary size: T's own range is that of the numbers above.
          const long double unscale = std::pow(2.0L, -exponent);
          std::vector<T> lambda = unpack(result.lambda, lane);
          for (T& x : lambda) x = static_cast<T>(x * unscale);
          check_item(unscale * a, lambda, unpack(result.v, lane));
        }
      }
    }
  }
}

// The bits of a lane do not depend on what its neighbours hold, nor on its place.
template <class T>
void check_lanes() {
  using V = Vector<T>;
  Random random(2);
  for (const int n : {1, 2, 3, 5, 9, 24}) {
    std::vector<std::vector<T>> items;
    for (int lane = 0; lane < kLanes<V>; ++lane) {
      items.push_back(make(random, lane % kKinds, n).template as<T>());
    }
    if (kLanes<V> > 2) items[2][n * n - n] = std::numeric_limits<T>::quiet_NaN();
    const Eigh<V> together(n, pack<V>(items));
    for (int lane = 0; lane < kLanes<V>; ++lane) {
      say_case("lanes", n, lane);
      const Eigh<V> alone(n, pack<V>(std::vector<std::vector<T>>(kLanes<V>, items[lane])));
      for (int i = 0; i < n * n; ++i) {
        CHECK(same_bits(get_lane(together.v[i], lane), get_lane(alone.v[i], 0)));
      }
      for (int i = 0; i < n; ++i) {
        CHECK(same_bits(get_lane(together.lambda[i], lane), get_lane(alone.lambda[i], 0)));
      }
      // A matrix at a time takes the same steps.
      const Eigh<T> single(n, items[lane]);
      for (int i = 0; i < n * n; ++i) CHECK(same_bits(single.v[i], get_lane(alone.v[i], 0)));
    }
  }
}

template <class T>
void check_failures() {
  const T infinity = std::numeric_limits<T>::infinity();
  for (const int n : {1, 2, 5}) {
    for (const T bad : {infinity, -infinity, infinity - infinity}) {
      for (const int place : {0, n * n - n, n * n - 1}) {
        say_case("not finite", n, bad, place);
        std::vector<T> a = identity(n).as<T>();
        a[place] = bad;
        const Eigh<T> result(n, a);
        CHECK_EQUAL(result.info, T(n));
        for (const T entry : result.lambda) CHECK(entry != entry);
        for (const T entry : result.v) CHECK(entry != entry);
      }
    }
  }
}

// <lambda_bar, d lambda> + <V_bar, dV> = <A_bar, dA> for symmetric dA.
void check_adjoint() {
  Random random(3);
  for (int n = 1; n <= 7; ++n) {
    say_case("adjoint", n);
    std::vector<long double> eigenvalues;
    for (int i = 0; i < n; ++i) eigenvalues.push_back(i - 2.5L);
    const Matrix a = with_eigenvalues(random, eigenvalues);
    const Eigh<double> at(n, a.as<double>());
    const Matrix lambda_bar = random_matrix(random, 1, n), v_bar = random_matrix(random, n, n);
    std::vector<double> a_bar(n * n), work(n * n);
    eigh_adjoint(n, at.lambda.data(), at.v.data(), lambda_bar.as<double>().data(),
                 v_bar.as<double>().data(), a_bar.data(), work.data());
    const Matrix direction = symmetric(random, n);
    const auto value = [&](long double step) {
      const Eigh<double> moved(n, (a + step * direction).as<double>());
      return inner(lambda_bar, Matrix(1, n, moved.lambda.data())) +
             inner(v_bar, Matrix(n, n, moved.v.data()));
    };
    const long double h = 1e-3L;
    const long double expected =
        (8 * (value(h) - value(-h)) - (value(2 * h) - value(-2 * h))) / (12 * h);
    CHECK_NEAR(inner(Matrix(n, n, a_bar.data()), direction), expected, 1e-8L);
    for (int i = 0; i < n; ++i) {
      for (int j = 0; j < i; ++j) CHECK(a_bar[i * n + j] == a_bar[j * n + i]);
    }
  }
}

// Finite within clusters, and right there for functions of the eigenvalues alone and for the
// projector on the cluster.
void check_clusters() {
  Random random(4);
  for (const long double gap : {0.0L, 1e-16L, 3e-16L, 1e-15L}) {
    say_case("cluster", static_cast<double>(gap));
    const int n = 5;
    const Matrix a = with_eigenvalues(random, {1, 1 + gap, 1 + 2 * gap, 3, 4});
    const Eigh<double> at(n, a.as<double>());
    const Matrix v(n, n, at.v.data()), weights = symmetric(random, n);
    std::vector<double> a_bar(n * n), work(n * n), zero(n * n);
    const std::vector<double> lambda_bar = {2, 2, 2, 6, 8};  // of the sum of squares
    eigh_adjoint(n, at.lambda.data(), at.v.data(), lambda_bar.data(), zero.data(), a_bar.data(),
                 work.data());
    CHECK_MATRIX(a_bar.data(), 2 * a, 1e-13L);
    // <weights, P>, P the projector: its derivative is Q weights S + its transpose, S the reduced
    // resolvent.
    Matrix inside = v, resolvent = v;
    for (int i = 0; i < n; ++i) {
      for (int j = 0; j < n; ++j) {
        inside(i, j) *= j < 3 ? 1 : 0;
        resolvent(i, j) *= j < 3 ? 0 : 1 / (1 - (j == 3 ? 3.0L : 4.0L));
      }
    }
    const Matrix p = inside * v.transpose(), s = resolvent * v.transpose();
    const Matrix expected = p * weights * s + s * weights * p;
    const Matrix v_bar = 2 * weights * inside;
    eigh_adjoint(n, at.lambda.data(), at.v.data(), zero.data(), v_bar.as<double>().data(),
                 a_bar.data(), work.data());
    CHECK_MATRIX(a_bar.data(), expected, 1e-13L);
    // Anything else: finite.
    const std::vector<double> any = random_matrix(random, n, n).as<double>();
    eigh_adjoint(n, at.lambda.data(), at.v.data(), any.data(), any.data(), a_bar.data(),
                 work.data());
    for (const double entry : a_bar) CHECK(entry - entry == 0);
  }
}

void check_unused_gradient() {
  say_case("cotangents of a failed item");
  const std::vector<double> nan(4, std::numeric_limits<double>::quiet_NaN()), zero(4);
  std::vector<double> a_bar(4, 7), work(4);
  eigh_adjoint(2, nan.data(), nan.data(), zero.data(), zero.data(), a_bar.data(), work.data());
  CHECK(a_bar == zero);
  const std::vector<double> one = {1, 0, 0, 0};
  eigh_adjoint(2, nan.data(), nan.data(), one.data(), zero.data(), a_bar.data(), work.data());
  for (const double entry : a_bar) CHECK(entry != entry);
}

}  // namespace

int main() {
  if (processor_lacks_instructions()) return kSkipped;
  check_factors<float>();
  check_factors<double>();
  check_factors<Vector<float>>();
  check_factors<Vector<double>>();
  check_lanes<float>();
  check_lanes<double>();
  check_failures<float>();
  check_failures<double>();
  check_adjoint();
  check_clusters();
  check_unused_gradient();
}
