// Products of small matrices: every size, destination and part, with exact numbers.
#include "core/multiply.h"

#include <array>

#include "tests/dense.h"

namespace {

using namespace statespace;
using namespace statespace::STATESPACE_ISA;
using namespace statespace::test;

// Small integers, whose products every number type holds exactly, in whatever order they are
// summed.
Matrix integers(Random& random, int m, int n) {
  Matrix x(m, n);
  for (long double& entry : x.data) entry = integer(random, -9, 9);
  return x;
}

template <class T, Into into, Part part>
void check_product(Random& random, int m, int n, int k) {
  say_case("multiply into", static_cast<int>(into), "part", static_cast<int>(part), m, n, k);
  const Matrix a = integers(random, m, k), b = integers(random, k, n), c = integers(random, m, n);
  Matrix expected = a * b;
  if (into == Into::kAdd) expected = c + expected;
  if (into == Into::kSubtract) expected = c - expected;
  if (part == Part::kLower) {
    for (int i = 0; i < m; ++i) {
      for (int j = i + 1; j < n; ++j) expected(i, j) = c(i, j);
    }
  }
  const std::vector<T> x = a.as<T>(), y = b.as<T>(), x_t = a.transpose().as<T>(),
                       y_t = b.transpose().as<T>();
  std::vector<T> z = c.as<T>();
  multiply<into, part>(m, n, k, rows(x.data(), k), rows(y.data(), n), z.data());
  CHECK_MATRIX(z.data(), expected, 0);
  z = c.as<T>();
  multiply<into, part>(m, n, k, transposed(x_t.data(), m), transposed(y_t.data(), k), z.data());
  CHECK_MATRIX(z.data(), expected, 0);
  with_size<4>(m, [&](auto fixed) {
    z = c.as<T>();
    multiply<into, part>(fixed, n, k, rows(x.data(), k), rows(y.data(), n), z.data());
    CHECK_MATRIX(z.data(), expected, 0);
  });
}

template <class T>
void check_products() {
  Random random(1);
  for (const int m : {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 37}) {
    for (int k = 0; k <= 5; ++k) {
      for (const int n : {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 21, 45}) {
        check_product<T, Into::kSet, Part::kAll>(random, m, n, k);
        check_product<T, Into::kAdd, Part::kAll>(random, m, n, k);
        check_product<T, Into::kSubtract, Part::kAll>(random, m, n, k);
      }
      check_product<T, Into::kSet, Part::kLower>(random, m, m, k);
      check_product<T, Into::kAdd, Part::kLower>(random, m, m, k);
      check_product<T, Into::kSubtract, Part::kLower>(random, m, m, k);
    }
  }
}

// Sizes that are packed, whole tiles and rims, and diagonals that cross them.
template <class T>
void check_packed_products() {
  Random random(2);
  for (const auto& [m, n, k] : std::vector<std::array<int, 3>>{
           {64, 64, 64}, {61, 67, 50}, {5, 300, 90}, {300, 5, 90}, {200, 50, 131}, {193, 97, 24}}) {
    check_product<T, Into::kSet, Part::kAll>(random, m, n, k);
    check_product<T, Into::kSubtract, Part::kAll>(random, m, n, k);
  }
  for (const int n : {47, 48, 72, 97, 211}) {
    for (const int k : {54, 130}) {
      check_product<T, Into::kSet, Part::kLower>(random, n, n, k);
      check_product<T, Into::kAdd, Part::kLower>(random, n, n, k);
      check_product<T, Into::kSubtract, Part::kLower>(random, n, n, k);
    }
  }
}

void check_mirror_and_zeros() {
  say_case("mirror");
  double x[] = {1, -1, -1, 2, 3, -1, 4, 5, 6};
  const double mirrored[] = {1, 2, 4, 2, 3, 5, 4, 5, 6};
  mirror(3, x);
  CHECK_MATRIX(x, Matrix(3, 3, mirrored), 0);

  say_case("zeros");
  CHECK(!all_zero(9, x));
  CHECK(all_zero(0, x));
  set_zero(9, x);
  CHECK(all_zero(9, x));
  x[4] = std::numeric_limits<double>::quiet_NaN();
  CHECK(!all_zero(9, x));
  zero_lanes(9, false, x);
  CHECK(x[4] != x[4]);
  zero_lanes(9, true, x);
  CHECK(all_zero(9, x));
}

void check_sizes() {
  for (int n = 0; n <= 6; ++n) {
    say_case("with_size", n);
    int seen = -1, calls = 0;
    with_size<4>(n, [&](auto size) { seen = size, ++calls; });
    CHECK_EQUAL(seen, n);
    CHECK_EQUAL(calls, 1);
    calls = 0;
    with_fixed_size<4>(n, [&](auto size) { seen = size, ++calls; });
    CHECK_EQUAL(seen, n);
    CHECK_EQUAL(calls, n >= 1 && n <= 4 ? 1 : 0);
  }
}

}  // namespace

int main() {
  if (processor_lacks_instructions()) return kSkipped;
  check_products<float>();
  check_products<double>();
  check_packed_products<float>();
  check_packed_products<double>();
  check_mirror_and_zeros();
  check_sizes();
}
