// Inverses, determinants and their adjoints against long double arithmetic; singular matrices,
// extreme scales, bad numbers; lanes that pivot differently.
#include "core/lu.h"

#include "tests/dense.h"

namespace {

using namespace statespace;
using namespace statespace::STATESPACE_ISA;
using namespace statespace::test;

// Determinant by elimination with row exchanges.
long double naive_determinant(Matrix a) {
  long double determinant = 1;
  const int n = a.rows;
  for (int j = 0; j < n; ++j) {
    int pivot = j;
    for (int i = j; i < n; ++i) {
      if (std::abs(a(i, j)) > std::abs(a(pivot, j))) pivot = i;
    }
    if (pivot != j) determinant = -determinant;
    for (int c = 0; c < n; ++c) std::swap(a(j, c), a(pivot, c));
    determinant *= a(j, j);
    if (a(j, j) == 0) return 0;
    for (int i = j + 1; i < n; ++i) {
      const long double factor = a(i, j) / a(j, j);
      for (int c = j; c < n; ++c) a(i, c) -= factor * a(j, c);
    }
  }
  return determinant;
}

// Cofactors from minors.
Matrix naive_cofactors(const Matrix& a) {
  const int n = a.rows;
  Matrix result(n, n);
  for (int i = 0; i < n; ++i) {
    for (int j = 0; j < n; ++j) {
      Matrix minor(n - 1, n - 1);
      for (int r = 0; r < n - 1; ++r) {
        for (int c = 0; c < n - 1; ++c) minor(r, c) = a(r + (r >= i), c + (c >= j));
      }
      result(i, j) = ((i + j) % 2 == 0 ? 1 : -1) * naive_determinant(minor);
    }
  }
  return result;
}

template <class V>
struct Results {
  std::vector<V> inverse, cofactors, log_gradient;
  V info, determinant, sign, log_size;
};

template <class V, class N>
Results<V> compute(N n, const std::vector<V>& a, ScalarOf<V> bar = 1) {
  const V marker = splat<V>(7);
  Results<V> out = {std::vector<V>(a.size(), marker),
                    std::vector<V>(a.size(), marker),
                    std::vector<V>(a.size(), marker),
                    V(),
                    V(),
                    V(),
                    V()};
  std::vector<V> work(2 * n * n + 5 * n + 1, marker);
  out.info = inverse(n, a.data(), out.inverse.data(), work.data());
  out.determinant = determinant(n, a.data(), work.data());
  const LogDeterminant<V> log = log_determinant(n, a.data(), work.data());
  out.sign = log.sign, out.log_size = log.log_size;
  determinant_adjoint(n, a.data(), splat<V>(bar), out.cofactors.data(), work.data());
  log_determinant_adjoint(n, a.data(), splat<V>(bar), out.log_gradient.data(), work.data());
  return out;
}

template <class T>
void check_values() {
  Random random(1);
  for (int n : {0, 1, 2, 3, 4, 5, 8, 9, 17, 33, 70}) {
    say_case("values", n);
    Matrix a = random_matrix(random, n, n);
    for (int i = 0; i < n; ++i) a((i * 7 + 3) % n, i) += 4;  // well conditioned, off the diagonal
    const long double det = naive_determinant(a);
    long double log_size;
    const Matrix x = inverse(a, &log_size);
    const Results<T> got = compute(n, a.as<T>());
    CHECK_EQUAL(got.info, T(0));
    CHECK_MATRIX(got.inverse.data(), x, 10 * kTolerance<T>);
    CHECK_MATRIX(got.log_gradient.data(), x.transpose(), 10 * kTolerance<T>);
    CHECK_EQUAL(got.sign, T(det < 0 ? -1 : 1));
    CHECK_NEAR(got.log_size, log_size, kTolerance<T>);
    if (log_size < 80) {
      CHECK_NEAR(got.determinant, det, kTolerance<T>);
      CHECK_MATRIX(got.cofactors.data(), det * x.transpose(), 10 * kTolerance<T>);
    }
    with_size<4>(n, [&](auto size) {
      const Results<T> fixed = compute(size, a.as<T>());
      CHECK(fixed.inverse == got.inverse && fixed.cofactors == got.cofactors);
      CHECK_EQUAL(fixed.determinant, got.determinant);
    });
  }
}

// The determinant is zero, its cofactors are not where one row is missing.
template <class T>
void check_singular() {
  Random random(2);
  for (int n = 1; n <= 6; ++n) {
    for (int missing = 1; missing <= std::min(n, 3); ++missing) {
      say_case("singular", n, missing);
      // The last rows repeat the first one or are zero: exactly singular in every number type.
      Matrix a = random_matrix(random, n, n);
      for (int i = n - missing; i < n; ++i) {
        for (int j = 0; j < n; ++j) a(i, j) = n > missing ? a(0, j) : 0;
      }
      const Matrix cofactors = naive_cofactors(a);
      const Results<T> got = compute(n, a.as<T>());
      CHECK_NEAR(got.determinant, 0, kTolerance<T>);
      CHECK_MATRIX(got.cofactors.data(), cofactors, kTolerance<T>);
    }
    say_case("zero", n);
    const Results<T> zero = compute(n, std::vector<T>(n * n));
    CHECK_EQUAL(zero.info, T(1));
    CHECK_EQUAL(zero.determinant, T(0));
    CHECK_EQUAL(zero.sign, T(0));
    CHECK_EQUAL(zero.log_size, -std::numeric_limits<T>::infinity());
    for (const T entry : zero.inverse) CHECK(entry != entry);
    for (const T entry : zero.log_gradient) CHECK(entry != entry);
    for (const T entry : zero.cofactors) CHECK_EQUAL(entry, T(n == 1 ? 1 : 0));
    say_case("shift", n);  // one entry of the cofactors is not zero, all pivots on the diagonal are
    Matrix shift(n, n);
    for (int i = 0; i + 1 < n; ++i) shift(i, i + 1) = 1;
    CHECK_MATRIX(compute(n, shift.as<T>()).cofactors.data(), naive_cofactors(shift), 0);
  }
}

template <class T>
void check_scales() {
  const T largest = std::numeric_limits<T>::max(), smallest = std::numeric_limits<T>::min();
  say_case("near overflow");
  const T big = largest / 2;
  std::vector<T> a = {big, -big, big, big};
  Results<T> got = compute(2, a);
  CHECK_NEAR(got.inverse[0] * big, 0.5L, kTolerance<T>);
  CHECK_NEAR(got.inverse[1] * big, 0.5L, kTolerance<T>);
  CHECK_EQUAL(got.determinant, std::numeric_limits<T>::infinity());
  CHECK_NEAR(got.log_size, std::log(2.0L) + 2 * std::log(static_cast<long double>(big)),
             kTolerance<T>);
  say_case("products out of range whose product is not");
  const T small = 1 / big;
  a = {big, 0, 0, 0, 0, big, 0, 0, 0, 0, small, 0, 0, 0, 0, small};
  got = compute(4, a);
  CHECK_NEAR(got.determinant, 1, kTolerance<T>);
  CHECK_NEAR(got.cofactors[10] * small, 1, kTolerance<T>);
  CHECK_NEAR(got.cofactors[15] * small, 1, kTolerance<T>);
  say_case("near underflow");
  a = {smallest * 4, smallest, -smallest, smallest * 4};
  got = compute(2, a);
  CHECK_NEAR(got.inverse[0] * smallest, 4.0L / 17, kTolerance<T>);
  CHECK_NEAR(got.cofactors[0] / smallest, 4, kTolerance<T>);
  CHECK_NEAR(got.cofactors[1] / smallest, 1, kTolerance<T>);
}

template <class T>
void check_bad_numbers() {
  const T infinity = std::numeric_limits<T>::infinity();
  for (const T bad : {infinity, -infinity, infinity - infinity}) {
    for (int place = 0; place < 9; ++place) {
      say_case("bad number", bad, place);
      std::vector<T> a = {1, 2, 3, 4, 5, 6, 7, 8, 10};
      a[place] = bad;
      const Results<T> got = compute(3, a);
      CHECK_EQUAL(got.info, T(4));
      for (const auto* x : {&got.inverse, &got.cofactors, &got.log_gradient}) {
        for (const T entry : *x) CHECK(entry != entry);
      }
      for (const T x : {got.determinant, got.sign, got.log_size}) CHECK(x != x);
      const Results<T> unused = compute(3, a, T(0));
      for (const T entry : unused.cofactors) CHECK_EQUAL(entry, T(0));
      for (const T entry : unused.log_gradient) CHECK_EQUAL(entry, T(0));
    }
  }
}

// Matrices in lanes get the same bits as beside copies of themselves.
template <class V>
void check_lanes() {
  using T = ScalarOf<V>;
  Random random(3);
  for (int n : {1, 3, 4, 7, 20}) {
    std::vector<std::vector<T>> items;
    std::vector<V> together(n * n);
    for (int lane = 0; lane < kLanes<V>; ++lane) {
      items.push_back(random_matrix(random, n, n).as<T>());
      if (lane == 1) items.back()[n - 1] = std::numeric_limits<T>::quiet_NaN();
      if (lane == 2) std::fill(items.back().begin(), items.back().begin() + n, T(0));
      for (int i = 0; i < n * n; ++i) set_lane(together[i], lane, items[lane][i]);
    }
    const Results<V> got = compute(n, together);
    for (int lane = 0; lane < kLanes<V>; ++lane) {
      say_case("lanes", n, lane);
      std::vector<V> copies(n * n);
      for (int i = 0; i < n * n; ++i) copies[i] = splat<V>(items[lane][i]);
      const Results<V> alone = compute(n, copies);
      const auto same = [&](const V& x, const V& y) {
        CHECK(same_bits(get_lane(x, lane), get_lane(y, 0)));
      };
      same(got.info, alone.info), same(got.determinant, alone.determinant);
      same(got.sign, alone.sign), same(got.log_size, alone.log_size);
      for (int i = 0; i < n * n; ++i) {
        same(got.inverse[i], alone.inverse[i]);
        same(got.cofactors[i], alone.cofactors[i]);
        same(got.log_gradient[i], alone.log_gradient[i]);
      }
    }
  }
}

void check_inverse_adjoint() {
  Random random(4);
  for (int n = 1; n <= 5; ++n) {
    say_case("adjoint of the inverse", n);
    const Matrix x = random_matrix(random, n, n), x_bar = random_matrix(random, n, n);
    std::vector<double> a_bar(n * n, 7.0), work(n * n);
    inverse_adjoint(n, x.as<double>().data(), x_bar.as<double>().data(), a_bar.data(), work.data());
    CHECK_MATRIX(a_bar.data(), -1.0L * (x.transpose() * x_bar * x.transpose()), kTolerance<double>);
    const std::vector<double> nan(n * n, std::numeric_limits<double>::quiet_NaN()), zero(n * n);
    inverse_adjoint(n, nan.data(), zero.data(), a_bar.data(), work.data());
    CHECK(a_bar == zero);
  }
}

}  // namespace

int main() {
  if (processor_lacks_instructions()) return kSkipped;
  check_values<float>();
  check_values<double>();
  check_singular<float>();
  check_singular<double>();
  check_scales<float>();
  check_scales<double>();
  check_bad_numbers<float>();
  check_bad_numbers<double>();
  check_lanes<Vector<float>>();
  check_lanes<Vector<double>>();
  check_inverse_adjoint();
}
