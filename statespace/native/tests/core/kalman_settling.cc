// A recursion is stopped at its limit, not before, and in each lane as if it were alone.
#include "core/kalman_settling.h"

#include <vector>

#include "tests/check.h"

namespace {

using namespace statespace;
using namespace statespace::STATESPACE_ISA;
using namespace statespace::test;

constexpr int kSize = 2;
constexpr int kSquare = kSize * kSize;

// P -> rho^2 P + (1 - rho^2) Q, whose limit is Q; in each lane its own rho and Q.
template <class V>
struct Recursion {
  V rate = V(), limit[kSquare] = {}, p[kSquare] = {}, checkpoint[kSquare] = {};
  Settling<V> settling{checkpoint};

  Recursion() = default;
  Recursion(const Recursion&) = delete;
  Recursion& operator=(const Recursion&) = delete;

  // A step that differs from the one before where `same` is false: it adds to P.
  void step(const Mask<V>& same) {
    using T = ScalarOf<V>;
    V next[kSquare];
    for (int i = 0; i < kSquare; ++i) {
      next[i] = mul_add(rate, p[i] - limit[i], limit[i]);
      next[i] = select<V>(same, next[i], next[i] + limit[i] * splat<V>(T(3)));
    }
    if (settling.repeats(same)) {
      settling.count(kSize, p);
    } else {
      settling.advance(kSize, same, p, next);
      for (int i = 0; i < kSquare; ++i) p[i] = next[i];
    }
  }
};

template <class T>
void randomise(Random& random, T distance, Recursion<T>& x) {
  x.rate = 1 - distance;
  const double correlation = 0.9 * std::tanh(normal(random));
  const double a = std::exp(normal(random)), b = std::exp(normal(random));
  const double q[kSquare] = {a * a, correlation * a * b, correlation * a * b, b * b};
  for (int i = 0; i < kSquare; ++i) {
    x.limit[i] = static_cast<T>(q[i]);
    x.p[i] = static_cast<T>(10 * q[i]);
  }
}

template <class T>
void check_limit(Random& random, T distance) {
  say_case("limit", distance);
  Recursion<T> x;
  randomise(random, distance, x);
  int64_t steps = 0;
  for (; !x.settling.repeats(true); ++steps) {
    CHECK(steps < 200 / distance);
    x.step(true);
  }
  // A change of the last digit in every step comes to 1 / distance digits in all.
  const T tolerance = 4 * std::numeric_limits<T>::epsilon() / distance;
  for (int i = 0; i < kSquare; ++i) {
    const T scale = std::sqrt(x.limit[0] * x.limit[kSquare - 1]) + x.limit[i];
    CHECK_NEAR(x.p[i] / scale, x.limit[i] / scale, tolerance);
  }
}

// Neither growth without end nor decay towards nothing is a limit.
template <class T>
void check_no_limit() {
  for (const T factor : {T(1.001), T(0.999)}) {
    say_case("no limit", factor);
    Recursion<T> x;
    x.rate = factor;
    x.p[0] = x.p[kSquare - 1] = 1;
    for (int step = 0; step < 5000; ++step) {
      CHECK(!x.settling.repeats(true));
      x.step(true);
    }
  }
}

template <class T>
void check_lanes(Random& random) {
  using V = Vector<T>;
  say_case("lanes");
  std::vector<Recursion<T>> alone(kLanes<V>);
  Recursion<V> together;
  for (int lane = 0; lane < kLanes<V>; ++lane) {
    randomise(random, T(0.5) / static_cast<T>(lane + 1), alone[lane]);
    set_lane(together.rate, lane, alone[lane].rate);
    for (int i = 0; i < kSquare; ++i) {
      set_lane(together.limit[i], lane, alone[lane].limit[i]);
      set_lane(together.p[i], lane, alone[lane].p[i]);
    }
  }
  for (int step = 0; step < 3000; ++step) {
    V changes = V();
    for (int lane = 0; lane < kLanes<V>; ++lane) {
      const bool same = integer(random, 0, 400) > 0;
      alone[lane].step(same);
      set_lane(changes, lane, T(!same));
    }
    together.step(changes == V());
    for (int lane = 0; lane < kLanes<V>; ++lane) {
      for (int i = 0; i < kSquare; ++i) {
        CHECK(same_bits(get_lane(together.p[i], lane), alone[lane].p[i]));
      }
    }
  }
}

template <class T>
void check_all() {
  Random random(1);
  for (const double distance : {0.9, 0.3, 0.1, 0.01, 0.001}) {
    check_limit<T>(random, static_cast<T>(distance));
  }
  check_no_limit<T>();
  check_lanes<T>(random);
}

}  // namespace

int main() {
  if (processor_lacks_instructions()) return kSkipped;
  check_all<float>();
  check_all<double>();
}
