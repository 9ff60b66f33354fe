// Triangular systems on all sides, singular ones, and the adjoint against central differences.
#include "core/triangular.h"

#include "tests/dense.h"

namespace {

using namespace statespace;
using namespace statespace::STATESPACE_ISA;
using namespace statespace::test;

std::vector<TriangularSides> all_sides() {
  std::vector<TriangularSides> sides;
  for (int bits = 0; bits < 8; ++bits) {
    sides.push_back({(bits & 1) != 0, (bits & 2) != 0, (bits & 4) != 0});
  }
  return sides;
}

// A triangle with a diagonal away from zero, and the other triangle as well: it must not be read.
Matrix random_square(Random& random, int n) {
  Matrix x = random_matrix(random, n, n);
  for (int i = 0; i < n; ++i) x(i, i) += x(i, i) < 0 ? -2 : 2;
  return x;
}

Matrix triangle(Matrix x, bool lower) {
  for (int i = 0; i < x.rows; ++i) {
    for (int j = 0; j < x.columns; ++j) {
      if (lower ? j > i : j < i) x(i, j) = 0;
    }
  }
  return x;
}

Matrix naive_solve(const TriangularSides& sides, const Matrix& l, const Matrix& b) {
  Matrix op = triangle(l, sides.lower);
  if (sides.adjoint) op = op.transpose();
  return sides.right ? b * inverse(op) : inverse(op) * b;
}

template <class T>
void check_solve() {
  Random random(1);
  for (const int n : {0, 1, 2, 3, 4, 5, 6, 7, 13, 33, 70}) {
    for (const int k : {0, 1, 2, 3, 4, 6, 29}) {
      for (const TriangularSides& sides : all_sides()) {
        say_case("solve", n, k, sides.lower, sides.adjoint, sides.right);
        Matrix l = random_square(random, n);
        for (int i = 0; i < n && n > 7; ++i) {  // well conditioned at any size
          for (int j = 0; j < n; ++j) l(i, j) /= i == j ? 1 : n;
        }
        const Matrix b = sides.right ? random_matrix(random, k, n) : random_matrix(random, n, k);
        const std::vector<T> factor = l.as<T>(), rhs = b.as<T>();
        std::vector<T> x(rhs.size());
        triangular_solve(n, k, sides, factor.data(), rhs.data(), x.data());
        CHECK_MATRIX(x.data(), naive_solve(sides, l, b), kTolerance<T>);
        with_size<4>(n, [&](auto size) {
          std::vector<T> y(rhs.size());
          triangular_solve(size, k, sides, factor.data(), rhs.data(), y.data());
          CHECK(x == y);
        });
      }
    }
  }
}

void check_singular() {
  Random random(2);
  for (int n = 1; n <= 5; ++n) {
    for (int bad = 0; bad < n; ++bad) {
      for (const TriangularSides& sides : all_sides()) {
        say_case("singular", n, bad, sides.lower, sides.adjoint, sides.right);
        std::vector<double> l = random_square(random, n).as<double>(), b(2 * n, 1.0), x(2 * n);
        l[bad * n + bad] = bad % 2 == 0 ? 0.0 : -0.0;
        triangular_solve(n, 2, sides, l.data(), b.data(), x.data());
        for (const double entry : x) CHECK(entry != entry);
      }
    }
  }
}

void check_adjoint() {
  Random random(3);
  const int n = 4, k = 3;
  const long double step = 1e-6L;
  for (const TriangularSides& sides : all_sides()) {
    Matrix l = random_square(random, n);
    Matrix b = sides.right ? random_matrix(random, k, n) : random_matrix(random, n, k);
    const Matrix x_bar = random_matrix(random, b.rows, b.columns);
    const std::vector<double> factor = l.as<double>(), bar = x_bar.as<double>(),
                              x = naive_solve(sides, l, b).as<double>();
    std::vector<double> l_bar(n * n, 7.0), b_bar(n * k, 7.0);
    triangular_solve_adjoint(n, k, sides, factor.data(), x.data(), bar.data(), l_bar.data(),
                             b_bar.data());
    const auto difference = [&](long double& entry) {
      const long double value = entry;
      entry = value + step;
      const long double up = inner(x_bar, naive_solve(sides, l, b));
      entry = value - step;
      const long double down = inner(x_bar, naive_solve(sides, l, b));
      entry = value;
      return (up - down) / (2 * step);
    };
    for (int i = 0; i < n * n; ++i) {
      say_case("adjoint, L", sides.lower, sides.adjoint, sides.right, i);
      CHECK_NEAR(l_bar[i], difference(l.data[i]), 1e-9L);
    }
    for (int i = 0; i < n * k; ++i) {
      say_case("adjoint, B", sides.lower, sides.adjoint, sides.right, i);
      CHECK_NEAR(b_bar[i], difference(b.data[i]), 1e-9L);
    }
  }
}

void check_unused_gradient() {
  for (const TriangularSides& sides : all_sides()) {
    say_case("zero cotangent of a singular system", sides.lower, sides.adjoint, sides.right);
    const std::vector<double> l = {0, 0, 0, 0}, x(2, std::numeric_limits<double>::quiet_NaN());
    const std::vector<double> zero(2), unit = {1, 0};
    std::vector<double> l_bar(4, 7.0), b_bar(2, 7.0);
    triangular_solve_adjoint(2, 1, sides, l.data(), x.data(), zero.data(), l_bar.data(),
                             b_bar.data());
    CHECK(l_bar == std::vector<double>(4));
    CHECK(b_bar == zero);
    triangular_solve_adjoint(2, 1, sides, l.data(), x.data(), unit.data(), l_bar.data(),
                             b_bar.data());
    for (const double entry : b_bar) CHECK(entry != entry);
  }
}

}  // namespace

int main() {
  if (processor_lacks_instructions()) return kSkipped;
  check_solve<float>();
  check_solve<double>();
  check_singular();
  check_adjoint();
  check_unused_gradient();
}
