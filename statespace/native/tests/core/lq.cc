// LQ factors, extreme scales, bad numbers, and the adjoint against central differences.
#include "core/lq.h"

#include "tests/dense.h"

namespace {

using namespace statespace;
using namespace statespace::STATESPACE_ISA;
using namespace statespace::test;

// L and Q by modified Gram-Schmidt on the rows.
void naive_lq(const Matrix& a, Matrix* l, Matrix* q) {
  *l = Matrix(a.rows, a.rows);
  *q = a;
  for (int i = 0; i < a.rows; ++i) {
    for (int j = 0; j < i; ++j) {
      for (int k = 0; k < a.columns; ++k) (*l)(i, j) += (*q)(i, k) * (*q)(j, k);
      for (int k = 0; k < a.columns; ++k) (*q)(i, k) -= (*l)(i, j) * (*q)(j, k);
    }
    long double squares = 0;
    for (int k = 0; k < a.columns; ++k) squares += (*q)(i, k) * (*q)(i, k);
    (*l)(i, i) = std::sqrt(squares);
    for (int k = 0; k < a.columns; ++k) (*q)(i, k) /= (*l)(i, i);
  }
}

template <class T>
struct Factors {
  std::vector<T> l, q;
};

template <class T, class M, class N>
Factors<T> factorise(M m, N n, const std::vector<T>& a) {
  Factors<T> out = {std::vector<T>(m * m, T(7)), std::vector<T>(m * n, T(7))};
  std::vector<T> work(m * n + m);
  lq<true>(m, n, a.data(), out.l.data(), out.q.data(), work.data());
  std::vector<T> l(m * m, T(7));
  lq<false>(m, n, a.data(), l.data(), static_cast<T*>(nullptr), work.data());
  for (int i = 0; i < m * m; ++i) CHECK(same_bits(l[i], out.l[i]));
  return out;
}

template <class T>
void check_properties(int m, int n, const Factors<T>& x, const Matrix& a, long double scale) {
  const Matrix l(m, m, x.l.data()), q(m, n, x.q.data());
  CHECK_MATRIX((q * q.transpose()).data.data(), identity(m), kTolerance<T>);
  CHECK_MATRIX(((1 / scale) * (l * q)).data.data(), (1 / scale) * a, kTolerance<T>);
  for (int i = 0; i < m; ++i) {
    CHECK(l(i, i) >= 0);
    for (int j = i + 1; j < m; ++j) CHECK_EQUAL(l(i, j), 0);
  }
}

template <class T>
void check_factors() {
  Random random(1);
  for (int m = 0; m <= 6; ++m) {
    for (int n = m; n <= m + 7; n += n == m ? 1 : 3) {
      say_case("factors", m, n);
      const Matrix a = random_matrix(random, m, n);
      const std::vector<T> numbers = a.as<T>();
      const Factors<T> x = factorise(m, n, numbers);
      check_properties(m, n, x, a, 1);
      with_size<4>(m, [&](auto size) {
        const Factors<T> y = factorise(size, n, numbers);
        CHECK(x.l == y.l && x.q == y.q);
      });
    }
  }
}

// Squares of these numbers leave the range of T, but the factors do not.
template <class T>
void check_scales() {
  Random random(2);
  const T smallest = std::numeric_limits<T>::min(), largest = std::numeric_limits<T>::max();
  for (const T scale : {smallest * 1024, smallest, T(1) / largest * 4096, largest / 4096}) {
    say_case("scale", scale);
    Matrix a = random_matrix(random, 3, 5);
    for (long double& entry : a.data) entry = static_cast<T>(entry * scale);
    const Factors<T> x = factorise(3, 5, a.as<T>());
    // Near the subnormals L itself is coarse: an ulp there is worth this much.
    const Matrix l(3, 3, x.l.data()), q(3, 5, x.q.data());
    const long double ulp = std::numeric_limits<T>::denorm_min() / scale;
    CHECK_MATRIX((q * q.transpose()).data.data(), identity(3), kTolerance<T> + 8 * ulp);
    CHECK_MATRIX(((1.0L / scale) * (l * q)).data.data(), (1.0L / scale) * a,
                 kTolerance<T> + 8 * ulp);
  }
}

void check_rank_deficient() {
  for (int m = 1; m <= 4; ++m) {
    say_case("zero matrix", m);
    const Matrix zero(m, m + 1);
    check_properties(m, m + 1, factorise(m, m + 1, zero.as<double>()), zero, 1);
    say_case("rank one", m);
    Matrix ones(m, m + 1);
    for (long double& entry : ones.data) entry = 1;
    check_properties(m, m + 1, factorise(m, m + 1, ones.as<double>()), ones, 1);
  }
}

void check_bad_numbers() {
  const double infinity = std::numeric_limits<double>::infinity();
  for (const double bad : {infinity, -infinity, infinity - infinity}) {
    for (int place = 0; place < 6; ++place) {
      say_case("bad number", bad, place);
      std::vector<double> a = {1, 2, 3, 4, 5, 6};
      a[place] = bad;
      const Factors<double> x = factorise(2, 3, a);
      for (const double entry : x.l) CHECK(entry != entry);
      for (const double entry : x.q) CHECK(entry != entry);
    }
  }
}

void check_adjoint(int m, int n, bool with_q) {
  Random random(3);
  Matrix a = random_matrix(random, m, n), l, q;
  const Matrix l_bar = random_matrix(random, m, m), q_bar = random_matrix(random, m, n);
  naive_lq(a, &l, &q);
  std::vector<double> a_bar(m * n, 7.0), work(m * m);
  lq_adjoint(m, n, l.as<double>().data(), q.as<double>().data(), l_bar.as<double>().data(),
             with_q ? q_bar.as<double>().data() : nullptr, a_bar.data(), work.data());
  const auto objective = [&]() {
    naive_lq(a, &l, &q);
    return inner(l_bar, l) + (with_q ? inner(q_bar, q) : 0);
  };
  const long double step = 1e-7L;
  for (int i = 0; i < m * n; ++i) {
    say_case("adjoint", m, n, with_q, i);
    const long double value = a.data[i];
    a.data[i] = value + step;
    const long double up = objective();
    a.data[i] = value - step;
    const long double down = objective();
    a.data[i] = value;
    CHECK_NEAR(a_bar[i], (up - down) / (2 * step), 1e-8L);
  }
}

void check_unused_gradient() {
  say_case("zero cotangent of factors that are NaN");
  const std::vector<double> nan(6, std::numeric_limits<double>::quiet_NaN()), zero(6);
  std::vector<double> a_bar(6, 7.0), work(4);
  lq_adjoint(2, 3, nan.data(), nan.data(), zero.data(), zero.data(), a_bar.data(), work.data());
  CHECK(a_bar == zero);
}

}  // namespace

int main() {
  if (processor_lacks_instructions()) return kSkipped;
  check_factors<float>();
  check_factors<double>();
  check_scales<float>();
  check_scales<double>();
  check_rank_deficient();
  check_bad_numbers();
  for (int m = 1; m <= 4; ++m) {
    for (int n = m; n <= 5; ++n) {
      check_adjoint(m, n, true);
      check_adjoint(m, n, false);
    }
  }
  check_unused_gradient();
}
