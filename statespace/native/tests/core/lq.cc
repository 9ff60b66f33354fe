// LQ factors, extreme scales, bad numbers, and the adjoints against central differences.
#include "core/lq.h"

#include "tests/dense.h"

namespace {

using namespace statespace;
using namespace statespace::STATESPACE_ISA;
using namespace statespace::test;

// L and Q by modified Gram-Schmidt on the rows; those below the n-th are coordinates.
void naive_lq(const Matrix& a, Matrix* l, Matrix* q) {
  const int k = std::min(a.rows, a.columns);
  *l = Matrix(a.rows, k);
  *q = a.block(0, 0, k, a.columns);
  for (int i = 0; i < a.rows; ++i) {
    Matrix row = a.block(i, 0, 1, a.columns);
    for (int j = 0; j < std::min(i, k); ++j) {
      for (int c = 0; c < a.columns; ++c) (*l)(i, j) += row(0, c) * (*q)(j, c);
      for (int c = 0; c < a.columns; ++c) row(0, c) -= (*l)(i, j) * (*q)(j, c);
    }
    if (i >= k) continue;
    (*l)(i, i) = std::sqrt(inner(row, row));
    for (int c = 0; c < a.columns; ++c) (*q)(i, c) = row(0, c) / (*l)(i, i);
  }
}

template <class T>
struct Factors {
  std::vector<T> l, q;
};

// The core on copies of one matrix in all lanes of V.
template <class V, class K, class M, class N, class T>
Factors<T> factorise(K k, M m, N n, const std::vector<T>& numbers) {
  std::vector<V> a, l(m * k, splat<V>(7)), q(k * n, splat<V>(7)), only(m * k, splat<V>(7));
  for (const T x : numbers) a.push_back(splat<V>(x));
  std::vector<V> work(lq_work_size(false, m, n));
  lq<true>(k, m, n, a.data(), l.data(), q.data(), work.data());
  lq<false>(k, m, n, a.data(), only.data(), static_cast<V*>(nullptr), work.data());
  Factors<T> out;
  for (int i = 0; i < m * k; ++i) {
    out.l.push_back(get_lane(l[i], 0));
    CHECK(same_bits(get_lane(only[i], kLanes<V> - 1), out.l[i]));
  }
  for (const V& x : q) out.q.push_back(get_lane(x, 0));
  return out;
}
template <class V, class T>
Factors<T> factorise(int m, int n, const std::vector<T>& numbers) {
  return factorise<V>(std::min(m, n), m, n, numbers);
}

template <class T>
void check_properties(int m, int n, const Factors<T>& x, const Matrix& a, long double scale,
                      long double tolerance = kTolerance<T>) {
  const int k = std::min(m, n);
  const Matrix l(m, k, x.l.data()), q(k, n, x.q.data());
  CHECK_MATRIX((q * q.transpose()).data.data(), identity(k), tolerance);
  CHECK_MATRIX(((1 / scale) * (l * q)).data.data(), (1 / scale) * a, tolerance);
  for (int i = 0; i < k; ++i) {
    CHECK(l(i, i) >= 0);
    for (int j = i + 1; j < k; ++j) CHECK_EQUAL(l(i, j), 0);
  }
}

template <class V>
void check_factors() {
  using T = ScalarOf<V>;
  Random random(1);
  for (int m : {0, 1, 2, 3, 5, 16, 17, 40, 100}) {
    for (int n : {0, 1, 2, 3, 5, 16, 17, 40, 100}) {
      say_case("factors", m, n);
      const Matrix a = random_matrix(random, m, n);
      const std::vector<T> numbers = a.as<T>();
      const Factors<T> x = factorise<V>(m, n, numbers);
      check_properties(m, n, x, a, 1);
      with_fixed_size<5>(m == n ? m : 0, [&](auto size) {
        const Factors<T> y = factorise<V>(size, size, size, numbers);
        CHECK(x.l == y.l && x.q == y.q);
      });
      with_fixed_size<5>(std::min(m, n), [&](auto size) {
        const Factors<T> y = factorise<V>(size, m, n, numbers);
        CHECK(x.l == y.l && x.q == y.q);
      });
    }
  }
}

template <class V>
std::vector<V> spread_over_lanes(const Matrix& x) {
  std::vector<V> out;
  for (const long double entry : x.data) out.push_back(splat<V>(static_cast<ScalarOf<V>>(entry)));
  return out;
}

// For f = <F, L L'>, whose L_bar is 2 F L, the cotangent of A is 2 F A, at any rank.
template <class V>
void check_gramian_adjoint(int m, int n, const Matrix& a) {
  using T = ScalarOf<V>;
  Random random(5);
  const int k = std::min(m, n);
  Matrix f = random_matrix(random, m, m);
  f = f + f.transpose();
  const Factors<T> x = factorise<V>(m, n, a.as<T>());
  const Matrix l(m, k, x.l.data());
  std::vector<V> a_bar(m * n), work(lq_l_adjoint_work_size(m, n));
  lq_l_adjoint(k, m, n, spread_over_lanes<V>(a).data(), spread_over_lanes<V>(2.0L * (f * l)).data(),
               a_bar.data(), work.data());
  std::vector<T> first;
  for (const V& entry : a_bar) first.push_back(get_lane(entry, 0));
  CHECK_MATRIX(first.data(), 2.0L * (f * a), 10 * kTolerance<T>);
}

// Beyond what a cache holds, panels are gathered in blocks.
template <class V>
void check_large_factors() {
  using T = ScalarOf<V>;
  Random random(7);
  for (const auto& [m, n] : {std::pair(390, 390), {390, 401}, {401, 390}}) {
    say_case("large factors", m, n);
    const Matrix a = random_matrix(random, m, n);
    check_properties(m, n, factorise<V>(m, n, a.as<T>()), a, 1);
  }
  say_case("adjoint of large factors");
  check_gramian_adjoint<V>(401, 390, random_matrix(random, 401, 390));
}

// Squares of these numbers leave the range of T, but the factors do not; nor where large and small
// rows, or columns, meet in one matrix.
template <class V>
void check_scales() {
  using T = ScalarOf<V>;
  Random random(2);
  const T smallest = std::numeric_limits<T>::min(), largest = std::numeric_limits<T>::max();
  for (const T scale : {smallest * 1024, smallest, T(1) / largest * 4096, largest / 4096}) {
    for (int n : {3, 5, 40}) {
      say_case("scale", scale, n);
      Matrix a = random_matrix(random, n - 2, n);
      for (long double& entry : a.data) entry = static_cast<T>(entry * scale);
      // Near the subnormals L itself is coarse: an ulp there is worth this much.
      const long double ulp = std::numeric_limits<T>::denorm_min() / scale;
      check_properties(n - 2, n, factorise<V>(n - 2, n, a.as<T>()), a, scale,
                       kTolerance<T> + 8 * n * ulp);
    }
  }
  const T low = smallest * 4096, high = largest / 4096;
  for (int bits = 0; bits < 16; ++bits) {
    say_case("mixed scales", bits);
    Matrix a = random_matrix(random, 4, 5);
    for (int i = 0; i < 4; ++i) {
      for (int j = 0; j < 5; ++j) {
        // By rows, then by columns.
        a(i, j) = static_cast<T>(a(i, j) * ((bits >> (bits < 8 ? i : j)) & 1 ? low : high));
      }
    }
    const Factors<T> x = factorise<V>(4, 5, a.as<T>());
    const Matrix l(4, 4, x.l.data()), q(4, 5, x.q.data()), product = l * q;
    CHECK_MATRIX((q * q.transpose()).data.data(), identity(4), kTolerance<T>);
    for (int i = 0; i < 4; ++i) {  // each row by its own scale
      long double largest_entry = 0;
      for (int j = 0; j < 5; ++j) largest_entry = std::max(largest_entry, std::abs(a(i, j)));
      for (int j = 0; j < 5; ++j) {
        CHECK_NEAR(product(i, j) / largest_entry, a(i, j) / largest_entry, kTolerance<T>);
      }
    }
  }
}

template <class V>
void check_rank_deficient() {
  using T = ScalarOf<V>;
  Random random(3);
  for (int m : {1, 2, 3, 4, 20, 40}) {
    for (int n : {1, 2, 3, 5, 20, 40}) {
      say_case("zero matrix", m, n);
      const Matrix zero(m, n);
      check_properties(m, n, factorise<V>(m, n, zero.as<T>()), zero, 1);
      say_case("rank one", m, n);
      Matrix ones(m, n);
      for (long double& entry : ones.data) entry = 1;
      check_properties(m, n, factorise<V>(m, n, ones.as<T>()), ones, 1);
      say_case("repeated and zero rows", m, n);
      Matrix a = random_matrix(random, m, n);
      for (int j = 0; j < n; ++j) {
        a(m / 2, j) = a(0, j);
        a(m - 1, j) = 0;
      }
      check_properties(m, n, factorise<V>(m, n, a.as<T>()), a, 1);
    }
  }
}

void check_bad_numbers() {
  const double infinity = std::numeric_limits<double>::infinity();
  for (const double bad : {infinity, -infinity, infinity - infinity}) {
    for (int place = 0; place < 6; ++place) {
      for (int m : {2, 3}) {
        say_case("bad number", bad, place, m);
        std::vector<double> a = {1, 2, 3, 4, 5, 6};
        a[place] = bad;
        const Factors<double> x = factorise<double>(m, 6 / m, a);
        for (const double entry : x.l) CHECK(entry != entry);
        for (const double entry : x.q) CHECK(entry != entry);
      }
    }
  }
}

enum class Cotangents { kBoth, kOfL, kOfQ };

template <class V>
void check_adjoint(int m, int n, Cotangents cotangents) {
  Random random(4);
  const int k = std::min(m, n);
  Matrix a = random_matrix(random, m, n), l, q;
  Matrix l_bar = random_matrix(random, m, k), q_bar = random_matrix(random, k, n);
  if (cotangents == Cotangents::kOfL) q_bar = Matrix(k, n);
  if (cotangents == Cotangents::kOfQ) l_bar = Matrix(m, k);
  naive_lq(a, &l, &q);
  std::vector<V> a_bar(m * n, splat<V>(7)), work(lq_adjoint_work_size(m, n));
  lq_adjoint(k, m, n, spread_over_lanes<V>(l).data(), spread_over_lanes<V>(q).data(),
             spread_over_lanes<V>(l_bar).data(), spread_over_lanes<V>(q_bar).data(), a_bar.data(),
             work.data());
  std::vector<V> a_bar_l(m * n, splat<V>(7)), work_l(lq_l_adjoint_work_size(m, n));
  lq_l_adjoint(k, m, n, spread_over_lanes<V>(a).data(), spread_over_lanes<V>(l_bar).data(),
               a_bar_l.data(), work_l.data());
  const auto objective = [&]() {
    naive_lq(a, &l, &q);
    return inner(l_bar, l) + inner(q_bar, q);
  };
  const long double step = 1e-6L;
  for (int i = 0; i < m * n; i += m * n > 100 ? 37 : 1) {
    say_case("adjoint", m, n, static_cast<int>(cotangents), i);
    const long double value = a.data[i];
    a.data[i] = value + step;
    const long double up = objective();
    a.data[i] = value - step;
    const long double down = objective();
    a.data[i] = value;
    const long double slope = (up - down) / (2 * step);
    CHECK_NEAR(get_lane(a_bar[i], 0), slope, 1e-8L);
    if (cotangents == Cotangents::kOfL) CHECK_NEAR(get_lane(a_bar_l[i], 0), slope, 1e-8L);
  }
}

template <class V>
void check_gramian_adjoints() {
  Random random(6);
  for (int m : {1, 2, 3, 5, 18, 80}) {
    for (int n : {1, 2, 4, 5, 18, 80}) {
      Matrix a = random_matrix(random, m, n);
      say_case("function of L L'", m, n);
      check_gramian_adjoint<V>(m, n, a);
      for (int j = 0; j < n; ++j) a(m / 2, j) = a(0, j);
      say_case("function of L L', repeated row", m, n);
      check_gramian_adjoint<V>(m, n, a);
      for (int j = 0; j < n; ++j) a(m / 3, j) = 0;
      say_case("function of L L', repeated row and a row of zeros", m, n);
      check_gramian_adjoint<V>(m, n, a);
      for (int i = 0; i < m; ++i) {
        for (int j = 0; j < n; ++j) a(i, j) = std::ldexp(a(0, j), -i);
      }
      say_case("function of L L', rank one", m, n);
      check_gramian_adjoint<V>(m, n, a);
      say_case("function of L L', zero matrix", m, n);
      check_gramian_adjoint<V>(m, n, Matrix(m, n));
    }
  }
}

void check_unused_gradient() {
  say_case("zero cotangent of factors that are NaN");
  const std::vector<double> nan(6, std::numeric_limits<double>::quiet_NaN()), zero(6);
  std::vector<double> a_bar(6, 7.0), work(lq_adjoint_work_size(2, 3));
  lq_adjoint(2, 2, 3, nan.data(), nan.data(), zero.data(), zero.data(), a_bar.data(), work.data());
  CHECK(a_bar == zero);
  std::fill(a_bar.begin(), a_bar.end(), 7.0);
  work.resize(lq_l_adjoint_work_size(2, 3));
  lq_l_adjoint(2, 2, 3, nan.data(), zero.data(), a_bar.data(), work.data());
  CHECK(a_bar == zero);
}

}  // namespace

int main() {
  if (processor_lacks_instructions()) return kSkipped;
  check_factors<float>();
  check_factors<double>();
  check_factors<Vector<float>>();
  check_factors<Vector<double>>();
  check_large_factors<float>();
  check_large_factors<double>();
  check_scales<float>();
  check_scales<double>();
  check_scales<Vector<float>>();
  check_scales<Vector<double>>();
  check_rank_deficient<float>();
  check_rank_deficient<double>();
  check_rank_deficient<Vector<float>>();
  check_rank_deficient<Vector<double>>();
  check_bad_numbers();
  for (int m : {1, 2, 3, 4, 20, 40}) {
    for (int n : {1, 2, 3, 5, 20, 41}) {
      for (const auto which : {Cotangents::kBoth, Cotangents::kOfL, Cotangents::kOfQ}) {
        check_adjoint<double>(m, n, which);
        if (m < 40) check_adjoint<Vector<double>>(m, n, which);
      }
    }
  }
  check_gramian_adjoints<float>();
  check_gramian_adjoints<double>();
  check_gramian_adjoints<Vector<float>>();
  check_gramian_adjoints<Vector<double>>();
  check_unused_gradient();
}
