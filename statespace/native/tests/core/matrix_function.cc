// Functions of symmetric matrices: against what they undo, and the adjoint of powers against
// products; one matrix and one exponent a lane. (Accuracy is for tests/linalg_ops, against mpmath.)
#include "core/matrix_function.h"

#include "tests/dense.h"
#include "tests/pack.h"

namespace {

using namespace statespace;
using namespace statespace::STATESPACE_ISA;
using namespace statespace::test;
using statespace::STATESPACE_ISA::test::pack;
using statespace::STATESPACE_ISA::test::unpack;

Matrix definite(Random& random, int n) {
  const Matrix x = random_matrix(random, n, n);
  return x * x.transpose() + identity(n);
}

template <class V>
struct Evaluated {
  std::vector<V> lambda, v, x;
  V info;
};

template <class V>
Evaluated<V> evaluate(int n, Function kind, const V& exponent, const std::vector<V>& a) {
  const size_t size = a.size();
  std::vector<V> work(eigh_work_size(n));
  Evaluated<V> e = {std::vector<V>(n), std::vector<V>(size), std::vector<V>(size), V()};
  eigh(n, a.data(), e.lambda.data(), e.v.data(), work.data());
  e.info = matrix_function(n, kind, exponent, e.lambda.data(), e.v.data(), e.x.data(), work.data());
  return e;
}

template <class V>
void check(long double tolerance) {
  using T = ScalarOf<V>;
  Random random(1);
  for (int n = 1; n <= 6; ++n) {
    say_case("lanes", kLanes<V>, "size", n);
    std::vector<Matrix> a, x_bar;
    V exponent = V();
    for (int lane = 0; lane < kLanes<V>; ++lane) {
      a.push_back(definite(random, n));
      x_bar.push_back(random_matrix(random, n, n));
      set_lane(exponent, lane, T(lane % 2 == 0 ? 0.5 : 2));
    }
    const std::vector<V> packed = pack<V>(a), packed_bar = pack<V>(x_bar);
    const Evaluated<V> power = evaluate(n, Function::kPower, exponent, packed);
    const Evaluated<V> logarithm = evaluate(n, Function::kLogarithm, exponent, packed);
    const Evaluated<V> back = evaluate(n, Function::kExponential, exponent, logarithm.x);
    std::vector<V> a_bar(packed.size()), work(2 * packed.size());
    matrix_function_adjoint(n, Function::kPower, exponent, power.lambda.data(), power.v.data(),
                            packed_bar.data(), a_bar.data(), work.data());
    for (int lane = 0; lane < kLanes<V>; ++lane) {
      CHECK_EQUAL(get_lane(power.info, lane), T(0));
      CHECK_MATRIX(unpack(back.x, lane).data(), a[lane], tolerance);
      Matrix x(n, n), bar(n, n);
      for (size_t i = 0; i < x.data.size(); ++i) {
        x.data[i] = get_lane(power.x[i], lane);
        bar.data[i] = get_lane(a_bar[i], lane);
      }
      const Matrix symmetric = 0.5L * (x_bar[lane] + x_bar[lane].transpose());
      if (lane % 2 == 0) {  // X X = A; and a_bar solves X a_bar + a_bar X = x_bar
        const Matrix square = x * x, product = x * bar + bar * x;
        CHECK_MATRIX(square.as<T>().data(), a[lane], tolerance);
        CHECK_MATRIX(product.as<T>().data(), symmetric, tolerance);
      } else {
        const Matrix square = a[lane] * a[lane],
                     product = a[lane] * symmetric + symmetric * a[lane];
        CHECK_MATRIX(x.as<T>().data(), square, 30 * tolerance);
        CHECK_MATRIX(bar.as<T>().data(), product, 30 * tolerance);
      }
    }
  }
}

void check_failures() {
  say_case("no value");
  const std::vector<double> a = {1, 2, 2, 1};  // eigenvalues -1 and 3
  const Evaluated<double> e = evaluate(2, Function::kLogarithm, 0.0, a);
  CHECK_EQUAL(e.info, 1.0);
  for (const double x : e.x) CHECK(x != x);
  std::vector<double> a_bar(4, 7.0), work(8), zero(4), skew = {0, 1, -1, 0}, one = {1, 0, 0, 0};
  const auto adjoint = [&](const std::vector<double>& x_bar) {
    matrix_function_adjoint(2, Function::kLogarithm, 0.0, e.lambda.data(), e.v.data(), x_bar.data(),
                            a_bar.data(), work.data());
  };
  adjoint(zero);
  CHECK(a_bar == zero);
  adjoint(skew);
  CHECK(a_bar == zero);
  adjoint(one);
  for (const double x : a_bar) CHECK(x != x);
}

}  // namespace

int main() {
  if (processor_lacks_instructions()) return kSkipped;
  check<double>(1e-12L);
  check<Vector<double>>(1e-12L);
  check<Vector<float>>(1e-3L);
  check_failures();
}
