// Products that skip zeros against those that do not: the same to the last bit. Arrays have exactly
// the sizes the core asks for, so that the sanitizer sees every overrun.
#include "core/sparse.h"

#include <algorithm>
#include <numeric>

#include "tests/pack.h"

namespace {

using namespace statespace;
using namespace statespace::STATESPACE_ISA;
using namespace statespace::STATESPACE_ISA::test;
using namespace statespace::test;

// The most entries that are not zero in a matrix whose products skip the others.
int most_entries(int m, int n) { return m * n * 2 / 5; }

// A matrix with `count` entries that are not zero, at random places; zeros of either sign.
Matrix sparse_matrix(Random& random, int m, int n, int count) {
  Matrix x = random_matrix(random, m, n);
  std::vector<int> places(x.data.size());
  std::iota(places.begin(), places.end(), 0);
  std::shuffle(places.begin(), places.end(), random);
  for (size_t i = count; i < places.size(); ++i) x.data[places[i]] = i % 2 == 0 ? 0.0L : -0.0L;
  return x;
}

Matrix symmetric_matrix(Random& random, int n) {
  const Matrix x = random_matrix(random, n, n);
  return Matrix(n, n, (x + x.transpose()).as<float>().data());
}

template <class V>
std::vector<V> pack_one(const Matrix& x) {
  return pack<V>(std::vector<Matrix>(kLanes<V>, x));
}

// One matrix for each lane.
template <class V, class Make>
std::vector<V> pack_each(const Make& make) {
  std::vector<Matrix> matrices;
  for (int lane = 0; lane < kLanes<V>; ++lane) matrices.push_back(make());
  return pack<V>(matrices);
}

template <class V>
struct FoundPattern {
  std::vector<V> memory;
  Pattern pattern;

  FoundPattern(int m, int n, const std::vector<V>& a) : memory(pattern_size<V>(m, n)) {
    V* const end = place(pattern, memory.data(), m, n);
    CHECK_EQUAL(end - memory.data(), static_cast<int64_t>(memory.size()));
    find_pattern(n, m, n, rows<V>(a.data(), n), pattern);
  }
  FoundPattern(const FoundPattern&) = delete;
  FoundPattern& operator=(const FoundPattern&) = delete;
};

template <class V>
void check_same_bits(const std::vector<V>& actual, const std::vector<V>& expected) {
  CHECK_EQUAL(actual.size(), expected.size());
  for (size_t i = 0; i < actual.size(); ++i) {
    for (int lane = 0; lane < kLanes<V>; ++lane) {
      CHECK(same_bits(get_lane(actual[i], lane), get_lane(expected[i], lane)));
    }
  }
}

template <class V>
Matrix lane_of(const std::vector<V>& x, int lane, int m, int n) {
  return Matrix(m, n, unpack(x, lane).data());
}

// The pattern lists the columns of what is not zero in some lane, in order.
template <class V>
void check_pattern(const Pattern& pattern, int m, int n, const std::vector<V>& a) {
  int count = 0;
  for (int i = 0; i < m; ++i) {
    CHECK_EQUAL(pattern.begin[i], count);
    for (int j = 0; j < n; ++j) {
      bool zero = true;
      for (int lane = 0; lane < kLanes<V>; ++lane) zero &= get_lane(a[i * n + j], lane) == 0;
      if (!zero) CHECK_EQUAL(pattern.columns[count++], j);
    }
  }
  CHECK_EQUAL(pattern.begin[m], count);
  CHECK_EQUAL(pattern.is_sparse, count <= most_entries(m, n));
}

template <class V>
void check_multiply(Random& random, int m, int n, const std::vector<V>& a) {
  const FoundPattern<V> found(m, n, a);
  check_pattern(found.pattern, m, n, a);
  const std::vector<V> b = pack_each<V>([&] { return random_matrix(random, n, n); });
  std::vector<V> c(m * n), expected(m * n);
  multiply(found.pattern, m, n, rows<V>(a.data(), n), b.data(), c.data());
  multiply(m, n, n, rows<V>(a.data(), n), rows<V>(b.data(), n), expected.data());
  check_same_bits(c, expected);
  for (int lane = 0; lane < kLanes<V>; ++lane) {
    const Matrix exact = lane_of(a, lane, m, n) * lane_of(b, lane, n, n);
    CHECK_MATRIX(unpack(c, lane).data(), exact, kTolerance<ScalarOf<V>>);
  }
}

// B A' and A B A' + C, or without C. Above its diagonal C holds NaN, for nobody to read.
template <class V, class N>
void check_congruence(Random& random, N n, const std::vector<V>& a, const Pattern& pattern,
                      bool with_c) {
  const V nan = splat<V>(std::numeric_limits<ScalarOf<V>>::quiet_NaN());
  std::vector<V> a_transpose(n * n);
  for (int i = 0; i < n; ++i) {
    for (int j = 0; j < n; ++j) a_transpose[j * n + i] = a[i * n + j];
  }
  const std::vector<V> b = pack_each<V>([&] { return symmetric_matrix(random, n); });
  const std::vector<V> symmetric_c = pack_each<V>([&] { return symmetric_matrix(random, n); });
  std::vector<V> c = symmetric_c;
  for (int i = 0; i < n; ++i) std::fill(c.begin() + i * n + i + 1, c.begin() + (i + 1) * n, nan);
  const auto run = [&](const Pattern& by, std::vector<V>& product, std::vector<V>& out) {
    product.assign(n * n, nan), out.assign(n * n, nan);
    congruence(by, n, a.data(), a_transpose.data(), b.data(), with_c ? c.data() : nullptr,
               product.data(), out.data());
  };
  std::vector<V> product, out, dense_product, dense_out;
  run(pattern, product, out);
  run(Pattern(), dense_product, dense_out);
  check_same_bits(product, dense_product);
  check_same_bits(out, dense_out);
  for (int lane = 0; lane < kLanes<V>; ++lane) {
    const Matrix x = lane_of(a, lane, n, n), y = lane_of(b, lane, n, n) * x.transpose();
    const Matrix sum = x * y + static_cast<long double>(with_c) * lane_of(symmetric_c, lane, n, n);
    CHECK_MATRIX(unpack(product, lane).data(), y, kTolerance<ScalarOf<V>>);
    CHECK_MATRIX(unpack(out, lane).data(), sum, 10 * kTolerance<ScalarOf<V>>);
  }
}

// The same places for all lanes, or places of each lane's own.
template <class V>
void check_sizes(Random& random, int m, int n, int count, bool same_places) {
  say_case("lanes", kLanes<V>, "bytes", sizeof(ScalarOf<V>), "m", m, "n", n, "count", count,
           same_places ? "same places" : "own places");
  const auto make = [&] { return sparse_matrix(random, m, n, count); };
  const std::vector<V> a = same_places ? pack_one<V>(make()) : pack_each<V>(make);
  check_multiply(random, m, n, a);
  if (m != n) return;
  const FoundPattern<V> found(n, n, a);
  for (const bool with_c : {false, true}) check_congruence(random, n, a, found.pattern, with_c);
}

template <class V>
void check_threshold(Random& random, int n) {
  const int most = most_entries(n, n);
  for (int count = std::max(0, most - 1); count <= std::min(n * n, most + 1); ++count) {
    check_sizes<V>(random, n, n, count, true);
    const FoundPattern<V> found(n, n, pack_one<V>(sparse_matrix(random, n, n, count)));
    CHECK_EQUAL(found.pattern.is_sparse, count <= most);
  }
}

// NaN is not zero: it reaches what it would reach in the whole product, and of A B A' the diagonal,
// where a filter looks for it.
template <class V>
void check_nan(Random& random, int n) {
  say_case("NaN in A", n);
  Matrix x = sparse_matrix(random, n, n, 1);
  const int row = n / 2;
  x(row, n - 1) = std::numeric_limits<float>::quiet_NaN();
  const std::vector<V> a = pack_one<V>(x), a_transpose = pack_one<V>(x.transpose());
  const FoundPattern<V> found(n, n, a);
  CHECK(found.pattern.is_sparse);
  check_pattern(found.pattern, n, n, a);
  const std::vector<V> b = pack_each<V>([&] { return symmetric_matrix(random, n); });
  std::vector<V> c(n * n), expected(n * n), product(n * n);
  multiply(found.pattern, n, n, rows<V>(a.data(), n), b.data(), c.data());
  multiply(n, n, n, rows<V>(a.data(), n), rows<V>(b.data(), n), expected.data());
  check_same_bits(c, expected);
  const V* const zero = nullptr;
  congruence(found.pattern, n, a.data(), a_transpose.data(), b.data(), zero, product.data(),
             c.data());
  const V corner = c[row * n + row];
  for (int lane = 0; lane < kLanes<V>; ++lane) CHECK(std::isnan(get_lane(corner, lane)));
}

// One entry in one lane is one in all of them.
template <class V>
void check_one_lane(Random& random, int n) {
  say_case("one lane", n);
  std::vector<V> a = pack_one<V>(Matrix(n, n));
  for (int lane = 0; lane < kLanes<V>; ++lane) {
    set_lane(a[lane % (n * n)], lane, ScalarOf<V>(2 + lane));
  }
  check_multiply(random, n, n, a);
  check_congruence(random, n, a, FoundPattern<V>(n, n, a).pattern, false);
}

// Sizes that are constants are not looked at: the pattern stays as it was.
template <class V>
void check_constant_size(Random& random) {
  say_case("constant size");
  constexpr Fixed<3> n;
  const std::vector<V> a = pack_one<V>(Matrix(n, n));
  Pattern pattern;
  find_pattern(n, n, n, rows<V>(a.data(), n), pattern);
  CHECK(!pattern.is_sparse && pattern.begin == nullptr);
  check_congruence(random, n, a, pattern, true);
}

template <class V>
void check_all() {
  Random random(1);
  for (int n = 1; n <= 20; ++n) {
    for (const int m : {1, n, n + 3}) {
      for (const double share : {0.0, 0.1, 0.3, 1.0}) {
        const int count = static_cast<int>(share * m * n);
        for (const bool same_places : {true, false}) {
          check_sizes<V>(random, m, n, count, same_places);
        }
      }
    }
    check_threshold<V>(random, n);
  }
  for (const int n : {33, 70}) check_sizes<V>(random, n, n, 3 * n, true);  // wide tiles, packing
  for (const int n : {3, 7, 20}) check_nan<V>(random, n), check_one_lane<V>(random, n);
  check_constant_size<V>(random);
}

}  // namespace

int main() {
  if (processor_lacks_instructions()) return kSkipped;
  check_all<float>();
  check_all<double>();
  check_all<Vector<float>>();
  check_all<Vector<double>>();
}
