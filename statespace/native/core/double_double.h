// Numbers of twice the precision of double, as unevaluated sums of two of them: for the rare series
// whose gradient double cannot give. About twenty times as slow.
//
// Sums and products after T. J. Dekker, A floating-point technique for extending the available
// precision, Numer. Math. 18 (1971), with D. E. Knuth's branch-free exact sum; they round to about
// 2^-104 of the result.
#ifndef STATESPACE_NATIVE_CORE_DOUBLE_DOUBLE_H_
#define STATESPACE_NATIVE_CORE_DOUBLE_DOUBLE_H_

#include <limits>

#include "core/simd.h"

namespace statespace {
namespace STATESPACE_ISA {

struct DoubleDouble {
  double high = 0, low = 0;

  constexpr DoubleDouble() = default;
  constexpr DoubleDouble(double x) : high(x) {}  // NOLINT: converts as the built-in numbers do
  constexpr DoubleDouble(double h, double l) : high(h), low(l) {}
  explicit operator double() const { return high; }
  explicit operator float() const { return static_cast<float>(high); }
  explicit operator int32_t() const { return static_cast<int32_t>(high); }
};

// x + y = sum + error, exactly.
inline DoubleDouble exact_sum(double x, double y) {
  const double sum = x + y, y_rounded = sum - x;
  return {sum, (x - (sum - y_rounded)) + (y - y_rounded)};
}
// The same where |x| >= |y|.
inline DoubleDouble exact_ordered_sum(double x, double y) {
  const double sum = x + y;
  return {sum, y - (sum - x)};
}
inline DoubleDouble exact_product(double x, double y) {
  const double product = x * y;
#if defined(__FMA__)
  return {product, __builtin_fma(x, y, -product)};
#else
  constexpr double kSplit = 134217729.0;  // 2^27 + 1
  const double x_up = kSplit * x, y_up = kSplit * y;
  const double x_high = x_up - (x_up - x), y_high = y_up - (y_up - y);
  const double x_low = x - x_high, y_low = y - y_high;
  return {product, ((x_high * y_high - product) + x_high * y_low + x_low * y_high) + x_low * y_low};
#endif
}

inline DoubleDouble operator-(const DoubleDouble& x) { return {-x.high, -x.low}; }
inline DoubleDouble operator+(const DoubleDouble& x, const DoubleDouble& y) {
  const DoubleDouble high = exact_sum(x.high, y.high), low = exact_sum(x.low, y.low);
  const DoubleDouble sum = exact_ordered_sum(high.high, high.low + low.high);
  return exact_ordered_sum(sum.high, sum.low + low.low);
}
inline DoubleDouble operator-(const DoubleDouble& x, const DoubleDouble& y) { return x + -y; }
inline DoubleDouble operator*(const DoubleDouble& x, const DoubleDouble& y) {
  const DoubleDouble product = exact_product(x.high, y.high);
  return exact_ordered_sum(product.high, product.low + (x.high * y.low + x.low * y.high));
}
inline DoubleDouble operator/(const DoubleDouble& x, const DoubleDouble& y) {
  const double first = x.high / y.high;
  const DoubleDouble rest = x - y * DoubleDouble(first);
  const double second = rest.high / y.high;
  const double third = (rest - y * DoubleDouble(second)).high / y.high;
  return exact_ordered_sum(first, second) + DoubleDouble(third);
}

inline bool operator==(const DoubleDouble& x, const DoubleDouble& y) {
  return x.high == y.high && x.low == y.low;
}
inline bool operator!=(const DoubleDouble& x, const DoubleDouble& y) { return !(x == y); }
inline bool operator<(const DoubleDouble& x, const DoubleDouble& y) {
  return x.high < y.high || (x.high == y.high && x.low < y.low);
}
inline bool operator>(const DoubleDouble& x, const DoubleDouble& y) { return y < x; }
inline bool operator<=(const DoubleDouble& x, const DoubleDouble& y) {
  return x < y || (x.high == y.high && x.low == y.low);
}
inline bool operator>=(const DoubleDouble& x, const DoubleDouble& y) { return y <= x; }

template <>
struct VectorOf<DoubleDouble> {
  using type = DoubleDouble;
};
template <>
struct Traits<DoubleDouble> {
  using Scalar = DoubleDouble;
  static constexpr int kLanes = 1;
};

inline DoubleDouble mul_add(const DoubleDouble& a, const DoubleDouble& b, const DoubleDouble& c) {
  return a * b + c;
}
template <>
inline DoubleDouble neg_mul_add(const DoubleDouble& a, const DoubleDouble& b,
                                const DoubleDouble& c) {
  return c - a * b;
}
inline DoubleDouble square_root(const DoubleDouble& x) {
  const double root = __builtin_sqrt(x.high);
  if (!(root > 0) || root > std::numeric_limits<double>::max()) return root;
  const DoubleDouble rest = x - exact_product(root, root);  // one step of Newton's iteration
  return exact_ordered_sum(root, rest.high / (2 * root));
}

}  // namespace STATESPACE_ISA
}  // namespace statespace

template <>
struct std::numeric_limits<statespace::STATESPACE_ISA::DoubleDouble> {
  using T = statespace::STATESPACE_ISA::DoubleDouble;
  static T max() { return std::numeric_limits<double>::max(); }
  static T epsilon() { return 0x1p-104; }
  static T infinity() { return std::numeric_limits<double>::infinity(); }
  static T quiet_NaN() { return std::numeric_limits<double>::quiet_NaN(); }
};

#endif  // STATESPACE_NATIVE_CORE_DOUBLE_DOUBLE_H_
