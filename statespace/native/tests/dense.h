// Textbook matrix algebra in long double: slow, plain, and the judge of the kernels.
#ifndef STATESPACE_NATIVE_TESTS_DENSE_H_
#define STATESPACE_NATIVE_TESTS_DENSE_H_

#include <utility>
#include <vector>

#include "tests/check.h"

namespace statespace {
namespace test {

struct Matrix {
  int rows = 0, columns = 0;
  std::vector<long double> data;

  Matrix() = default;
  Matrix(int m, int n) : rows(m), columns(n), data(static_cast<size_t>(m) * n) {}
  // From row-major numbers.
  template <class T>
  Matrix(int m, int n, const T* x) : rows(m), columns(n), data(x, x + static_cast<size_t>(m) * n) {}

  long double& operator()(int i, int j) { return data[static_cast<size_t>(i) * columns + j]; }
  long double operator()(int i, int j) const { return data[static_cast<size_t>(i) * columns + j]; }

  template <class T>
  std::vector<T> as() const {
    return std::vector<T>(data.begin(), data.end());
  }
  Matrix transpose() const {
    Matrix t(columns, rows);
    for (int i = 0; i < rows; ++i) {
      for (int j = 0; j < columns; ++j) t(j, i) = (*this)(i, j);
    }
    return t;
  }
  void set_block(int row, int column, const Matrix& x) {
    for (int i = 0; i < x.rows; ++i) {
      for (int j = 0; j < x.columns; ++j) (*this)(row + i, column + j) = x(i, j);
    }
  }
  Matrix block(int row, int column, int m, int n) const {
    Matrix x(m, n);
    for (int i = 0; i < m; ++i) {
      for (int j = 0; j < n; ++j) x(i, j) = (*this)(row + i, column + j);
    }
    return x;
  }
};

inline Matrix operator*(const Matrix& a, const Matrix& b) {
  CHECK_EQUAL(a.columns, b.rows);
  Matrix c(a.rows, b.columns);
  for (int i = 0; i < a.rows; ++i) {
    for (int j = 0; j < b.columns; ++j) {
      for (int k = 0; k < a.columns; ++k) c(i, j) += a(i, k) * b(k, j);
    }
  }
  return c;
}

inline Matrix operator*(long double x, Matrix a) {
  for (long double& entry : a.data) entry *= x;
  return a;
}

inline Matrix operator+(Matrix a, const Matrix& b) {
  CHECK(a.rows == b.rows && a.columns == b.columns);
  for (size_t i = 0; i < a.data.size(); ++i) a.data[i] += b.data[i];
  return a;
}

inline Matrix operator-(const Matrix& a, const Matrix& b) { return a + (-1.0L) * b; }

inline Matrix identity(int n) {
  Matrix x(n, n);
  for (int i = 0; i < n; ++i) x(i, i) = 1;
  return x;
}

// Entries from a standard normal, rounded to float so that every number type holds them exactly.
inline Matrix random_matrix(Random& random, int m, int n) {
  Matrix x(m, n);
  for (long double& entry : x.data) entry = static_cast<float>(normal(random));
  return x;
}

// Inverse and log |det| by Gauss-Jordan elimination with row exchanges.
inline Matrix inverse(Matrix a, long double* log_determinant = nullptr) {
  const int n = a.rows;
  Matrix x = identity(n);
  if (log_determinant != nullptr) *log_determinant = 0;
  for (int column = 0; column < n; ++column) {
    int pivot = column;
    for (int i = column; i < n; ++i) {
      if (std::abs(a(i, column)) > std::abs(a(pivot, column))) pivot = i;
    }
    const long double factor = a(pivot, column);
    if (log_determinant != nullptr) *log_determinant += std::log(std::abs(factor));
    for (int j = 0; j < n; ++j) {
      std::swap(a(column, j), a(pivot, j));
      std::swap(x(column, j), x(pivot, j));
      a(column, j) /= factor;
      x(column, j) /= factor;
    }
    for (int i = 0; i < n; ++i) {
      const long double multiple = a(i, column);
      if (i == column) continue;
      for (int j = 0; j < n; ++j) {
        a(i, j) -= multiple * a(column, j);
        x(i, j) -= multiple * x(column, j);
      }
    }
  }
  return x;
}

// <A, B>, the sum of the products of entries.
inline long double inner(const Matrix& a, const Matrix& b) {
  long double sum = 0;
  for (size_t i = 0; i < a.data.size(); ++i) sum += a.data[i] * b.data[i];
  return sum;
}

template <class T>
inline void check_matrix(const T* actual, const Matrix& expected, long double tolerance,
                         const char* text, const char* file, int line) {
  long double largest = 1;
  for (long double x : expected.data) largest = std::max(largest, std::abs(x));
  for (size_t i = 0; i < expected.data.size(); ++i) {
    check_near(actual[i] / largest, expected.data[i] / largest, tolerance, text, file, line);
  }
}

// Compares numbers at a pointer with a matrix, errors relative to its largest entry (or one).
#define CHECK_MATRIX(actual, expected, tolerance) \
  statespace::test::check_matrix(actual, expected, tolerance, #actual, __FILE__, __LINE__)

// Tolerance for well-conditioned problems in the number type T.
template <class T>
constexpr long double kTolerance = 400.0L * std::numeric_limits<T>::epsilon();

}  // namespace test
}  // namespace statespace

#endif  // STATESPACE_NATIVE_TESTS_DENSE_H_
