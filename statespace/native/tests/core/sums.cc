// Long sums and products against long double, over the whole range of the number types.
#include "core/sums.h"

#include <vector>

#include "tests/dense.h"

namespace {

using namespace statespace;
using namespace statespace::STATESPACE_ISA;
using namespace statespace::test;

template <class T>
void check_sum() {
  say_case("compensated sum");
  // 1, then a hundred thousand numbers each too small to change it.
  const T small = std::numeric_limits<T>::epsilon() / 4;
  CompensatedSum<T> sum;
  sum.add(T(1));
  for (int i = 0; i < 100000; ++i) sum.add(small);
  CHECK_NEAR(sum.value(), 1 + 100000.0L * small, 2 * std::numeric_limits<T>::epsilon());

  Random random(1);
  CompensatedSum<T> many;
  long double expected = 0;
  for (int i = 0; i < 100000; ++i) {
    const T x = static_cast<T>(std::exp(normal(random)));
    many.add(x);
    expected += x;
  }
  CHECK_NEAR(many.value() / expected, 1, 2 * std::numeric_limits<T>::epsilon());
}

// Of numbers spread evenly over the exponents from the smallest subnormal up to the given one.
template <class T>
void check_product(int highest_exponent, int count) {
  say_case("product up to exponent", highest_exponent, "of", count);
  Random random(2);
  const int lowest = std::numeric_limits<T>::min_exponent - std::numeric_limits<T>::digits;
  LogProduct<T> product;
  long double expected = 0, size = 0;
  for (int i = 0; i < count; ++i) {
    const T x = static_cast<T>(
        std::ldexp(1.0L + (random() % 1024) / 1024.0L, integer(random, lowest, highest_exponent)));
    product.multiply(x);
    expected += std::log(static_cast<long double>(x));
    size += std::abs(std::log(static_cast<long double>(x)));
  }
  CHECK_NEAR(product.log() / size, expected / size, 4 * std::numeric_limits<T>::epsilon());
}

template <class T>
void check_single_numbers() {
  using Limits = std::numeric_limits<T>;
  CHECK_EQUAL(LogProduct<T>().log(), T(0));
  for (const T x : {T(1), T(2), T(0.5), T(3), Limits::min(), Limits::denorm_min(),
                    3 * Limits::denorm_min(), std::nextafter(Limits::min(), T(0)),
                    Limits::max() / 2, std::nextafter(T(1), T(0)), std::nextafter(T(1), T(2))}) {
    say_case("single number", x);
    LogProduct<T> product;
    product.multiply(x);
    CHECK_NEAR(product.log(), std::log(static_cast<long double>(x)), 2 * Limits::epsilon());
  }
}

// A product in balance stays exact however long it is.
template <class T>
void check_balance() {
  say_case("balance");
  LogProduct<T> product;
  for (int i = 0; i < 100000; ++i) {
    product.multiply(std::numeric_limits<T>::min());
    product.multiply(1 / std::numeric_limits<T>::min());
  }
  CHECK_EQUAL(product.log(), T(0));
}

// A number that is not positive spoils the whole gradient, unless nobody asks for it.
template <class T>
void check_failed_adjoint() {
  say_case("failed adjoint");
  std::vector<T> x(100, T(2)), x_bar(100);
  x[7] = -1;
  sum_log_adjoint(100, x.data(), T(3), x_bar.data());
  for (const T value : x_bar) CHECK(std::isnan(value));
  sum_log_adjoint(100, x.data(), T(0), x_bar.data());
  for (const T value : x_bar) CHECK_EQUAL(value, T(0));
}

template <class T>
void check_all() {
  check_failed_adjoint<T>();
  check_sum<T>();
  check_single_numbers<T>();
  check_balance<T>();
  for (const int count : {1, 2, 10, 1000, 100000}) {
    check_product<T>(std::numeric_limits<T>::max_exponent - 2, count);
    check_product<T>(std::numeric_limits<T>::min_exponent - 1, count);
  }
}

}  // namespace

int main() {
  if (processor_lacks_instructions()) return kSkipped;
  check_all<float>();
  check_all<double>();
}
