// Arithmetic in twice the precision, against the compiler's 113-bit numbers.
#include "core/double_double.h"

#include <cmath>
#include <iterator>

#include "tests/check.h"

namespace {

using namespace statespace;
using namespace statespace::STATESPACE_ISA;
using namespace statespace::test;

__extension__ typedef __float128 Quad;

Quad quad(const DoubleDouble& x) { return static_cast<Quad>(x.high) + static_cast<Quad>(x.low); }

// Whether x is `exact` to within so many units of 2^-104, relative to `scale`.
bool is_close(const DoubleDouble& x, Quad exact, Quad scale, double units) {
  const Quad error = quad(x) - exact, bound = scale * static_cast<Quad>(units * 0x1p-104);
  return error <= bound && -error <= bound;
}

Quad magnitude(Quad x) { return x < 0 ? -x : x; }

// A number with all its digits.
DoubleDouble any_number(Random& random) {
  const double high = normal(random) * std::exp(8 * normal(random));
  return exact_ordered_sum(high, high * 0x1p-54 * normal(random));
}

void check_arithmetic(Random& random) {
  const DoubleDouble x = any_number(random), y = any_number(random), z = any_number(random);
  const Quad a = quad(x), b = quad(y), c = quad(z);
  CHECK(is_close(x + y, a + b, magnitude(a + b), 4));
  CHECK(is_close(x - y, a - b, magnitude(a - b), 4));
  CHECK(is_close(x * y, a * b, magnitude(a * b), 16));
  CHECK(is_close(x / y, a / b, magnitude(a / b), 32));
  CHECK(is_close(mul_add(x, y, z), a * b + c, magnitude(a * b) + magnitude(c), 32));
  CHECK(is_close(neg_mul_add(x, y, z), c - a * b, magnitude(a * b) + magnitude(c), 32));
  const DoubleDouble square = x * x;
  CHECK(is_close(square_root(square), magnitude(a), magnitude(a), 32));
  CHECK((x < y) == (a < b) && (x <= y) == (a <= b) && (x > y) == (a > b));
  CHECK(x == x && !(x != x) && x - x == DoubleDouble());
}

// Every lane as if it were alone.
template <class T>
void check_lanes(Random& random) {
  using V = Vector<T>;
  using Lanes = Doubled<V>;
  Lanes x, y, z;
  for (int i = 0; i < kLanes<V>; ++i) {
    for (Lanes* each : {&x, &y, &z}) {
      const DoubleDouble number = any_number(random);
      set_lane(*each, i, {static_cast<T>(number.high), static_cast<T>(number.low)});
    }
  }
  const Lanes results[] = {x + y,
                           x - y,
                           x * y,
                           x / y,
                           mul_add(x, y, z),
                           neg_mul_add(x, y, z),
                           square_root(x),
                           select<Lanes>(x < y, x, y),
                           splat<Lanes>(get_lane(z, 0))};
  for (int i = 0; i < kLanes<V>; ++i) {
    const Doubled<T> a = get_lane(x, i), b = get_lane(y, i), c = get_lane(z, i);
    const Doubled<T> expected[] = {
        a + b,          a - b,         a * b,         a / b, mul_add(a, b, c), neg_mul_add(a, b, c),
        square_root(a), a < b ? a : b, get_lane(z, 0)};
    for (size_t k = 0; k < std::size(expected); ++k) {
      const Doubled<T> lane = get_lane(results[k], i);
      const bool both_fail = lane.high != lane.high && expected[k].high != expected[k].high;
      CHECK(both_fail || lane == expected[k]);
    }
  }
}

// What a difference of two doubles loses, this keeps.
void check_cancellation() {
  const DoubleDouble one = 1, small = 0x1p-70;
  CHECK((one + small) - one == small);
}

void check_not_finite() {
  using Limits = std::numeric_limits<DoubleDouble>;
  const DoubleDouble one = 1, nan = Limits::quiet_NaN(), infinite = Limits::infinity();
  CHECK(nan != nan && !(nan == nan) && !(nan < one) && !(nan >= one));
  CHECK(!is_finite(nan) && !is_finite(infinite) && is_finite(one));
  CHECK(square_root(DoubleDouble()) == DoubleDouble());
  CHECK(square_root(-one) != square_root(-one));
}

}  // namespace

int main() {
  if (processor_lacks_instructions()) return kSkipped;
  Random random(1);
  for (int i = 0; i < 20000; ++i) check_arithmetic(random);
  for (int i = 0; i < 2000; ++i) {
    check_lanes<double>(random);
    check_lanes<float>(random);
  }
  check_cancellation();
  check_not_finite();
}
