// Numbers of twice the precision, as unevaluated sums of two: for what rounding would spoil. About
// twenty times as slow.
//
// Sums and products after T. J. Dekker, A floating-point technique for extending the available
// precision, Numer. Math. 18 (1971), with D. E. Knuth's branch-free exact sum; with doubles they
// round to about 2^-104 of the result.
#ifndef STATESPACE_NATIVE_CORE_DOUBLE_DOUBLE_H_
#define STATESPACE_NATIVE_CORE_DOUBLE_DOUBLE_H_

#include <limits>

#include "core/simd.h"

namespace statespace {
namespace STATESPACE_ISA {

// V: a number, or a vector of them, as everywhere.
template <class V>
struct Doubled {
  V high = V(), low = V();

  constexpr Doubled() = default;
  STATESPACE_INLINE constexpr Doubled(const V& x)
      : high(x) {}  // NOLINT: converts as the built-in numbers do
  STATESPACE_INLINE constexpr Doubled(const V& h, const V& l) : high(h), low(l) {}
  STATESPACE_INLINE explicit operator double() const { return static_cast<double>(high); }
  STATESPACE_INLINE explicit operator float() const { return static_cast<float>(high); }
  STATESPACE_INLINE explicit operator int32_t() const { return static_cast<int32_t>(high); }

  // As the functions of these names in core/simd.h.
  STATESPACE_INLINE static Doubled splat(const Doubled<ScalarOf<V>>& x) {
    namespace isa = statespace::STATESPACE_ISA;
    return {isa::splat<V>(x.high), isa::splat<V>(x.low)};
  }
  STATESPACE_INLINE static Doubled select(const Mask<V>& mask, const Doubled& yes,
                                          const Doubled& no) {
    namespace isa = statespace::STATESPACE_ISA;
    return {isa::select<V>(mask, yes.high, no.high), isa::select<V>(mask, yes.low, no.low)};
  }
  STATESPACE_INLINE Doubled<ScalarOf<V>> lane(int i) const {
    return {get_lane(high, i), get_lane(low, i)};
  }
  STATESPACE_INLINE void set_lane(int i, const Doubled<ScalarOf<V>>& x) {
    statespace::STATESPACE_ISA::set_lane(high, i, x.high);
    statespace::STATESPACE_ISA::set_lane(low, i, x.low);
  }
};
using DoubleDouble = Doubled<double>;

// x + y = sum + error, exactly.
template <class V>
STATESPACE_INLINE Doubled<V> exact_sum(const V& x, const V& y) {
  const V sum = x + y, y_rounded = sum - x;
  return {sum, (x - (sum - y_rounded)) + (y - y_rounded)};
}
// The same where |x| >= |y|.
template <class V>
STATESPACE_INLINE Doubled<V> exact_ordered_sum(const V& x, const V& y) {
  const V sum = x + y;
  return {sum, y - (sum - x)};
}
template <class V>
STATESPACE_INLINE Doubled<V> exact_product(const V& x, const V& y) {
  const V product = x * y;
#if defined(__FMA__) || defined(__CUDA_ARCH__)
  return {product, mul_add(x, y, V(-product))};
#else
  constexpr int kHalf = (Float<ScalarOf<V>>::kMantissaBits + 2) / 2;
  const V split = splat<V>(ScalarOf<V>((int64_t{1} << kHalf) + 1));
  const V x_up = split * x, y_up = split * y;
  const V x_high = x_up - (x_up - x), y_high = y_up - (y_up - y);
  const V x_low = x - x_high, y_low = y - y_high;
  return {product, ((x_high * y_high - product) + x_high * y_low + x_low * y_high) + x_low * y_low};
#endif
}

template <class V>
STATESPACE_INLINE Doubled<V> operator-(const Doubled<V>& x) {
  return {-x.high, -x.low};
}
template <class V>
STATESPACE_BUILDING_BLOCK Doubled<V> operator+(const Doubled<V>& x, const Doubled<V>& y) {
  const Doubled<V> high = exact_sum(x.high, y.high), low = exact_sum(x.low, y.low);
  const Doubled<V> sum = exact_ordered_sum(high.high, V(high.low + low.high));
  return exact_ordered_sum(sum.high, V(sum.low + low.low));
}
template <class V>
STATESPACE_INLINE Doubled<V> operator-(const Doubled<V>& x, const Doubled<V>& y) {
  return x + -y;
}
template <class V>
STATESPACE_BUILDING_BLOCK Doubled<V> operator*(const Doubled<V>& x, const Doubled<V>& y) {
  const Doubled<V> product = exact_product(x.high, y.high);
  return exact_ordered_sum(product.high, V(product.low + (x.high * y.low + x.low * y.high)));
}
template <class V>
STATESPACE_BUILDING_BLOCK Doubled<V> operator/(const Doubled<V>& x, const Doubled<V>& y) {
  const V first = x.high / y.high;
  const Doubled<V> rest = x - y * Doubled<V>(first);
  const V second = rest.high / y.high;
  const V third = (rest - y * Doubled<V>(second)).high / y.high;
  return exact_ordered_sum(first, second) + Doubled<V>(third);
}

template <class V>
STATESPACE_INLINE Mask<V> operator==(const Doubled<V>& x, const Doubled<V>& y) {
  return mask_and(x.high == y.high, x.low == y.low);
}
template <class V>
STATESPACE_INLINE Mask<V> operator!=(const Doubled<V>& x, const Doubled<V>& y) {
  return mask_not(x == y);
}
template <class V>
STATESPACE_INLINE Mask<V> operator<(const Doubled<V>& x, const Doubled<V>& y) {
  return mask_or(x.high < y.high, mask_and(x.high == y.high, x.low < y.low));
}
template <class V>
STATESPACE_INLINE Mask<V> operator>(const Doubled<V>& x, const Doubled<V>& y) {
  return y < x;
}
template <class V>
STATESPACE_INLINE Mask<V> operator<=(const Doubled<V>& x, const Doubled<V>& y) {
  return mask_or(x < y, x == y);
}
template <class V>
STATESPACE_INLINE Mask<V> operator>=(const Doubled<V>& x, const Doubled<V>& y) {
  return y <= x;
}

template <class T>
struct VectorOf<Doubled<T>> {
  using type = Doubled<T>;
};
template <class V>
struct Traits<Doubled<V>> {
  using Scalar = Doubled<ScalarOf<V>>;
  static constexpr int kLanes = Traits<V>::kLanes;
};

template <class V>
STATESPACE_INLINE Doubled<V> mul_add(const Doubled<V>& a, const Doubled<V>& b,
                                     const Doubled<V>& c) {
  return a * b + c;
}
template <class V>
STATESPACE_INLINE Doubled<V> neg_mul_add(const Doubled<V>& a, const Doubled<V>& b,
                                         const Doubled<V>& c) {
  return c - a * b;
}
template <class V>
STATESPACE_BUILDING_BLOCK Doubled<V> square_root(const Doubled<V>& x) {
  const V zero = V(), largest = splat<V>(std::numeric_limits<ScalarOf<V>>::max());
  const V root = square_root(x.high);
  const Doubled<V> rest = x - exact_product(root, root);  // one step of Newton's iteration
  const Mask<V> regular = mask_and(root > zero, root <= largest);
  const V divisor = select<V>(regular, V(root + root), splat<V>(ScalarOf<V>(1)));
  return exact_ordered_sum(root, select<V>(regular, V(rest.high / divisor), zero));
}

}  // namespace STATESPACE_ISA
}  // namespace statespace

template <class T>
struct std::numeric_limits<statespace::STATESPACE_ISA::Doubled<T>> {
  using Number = statespace::STATESPACE_ISA::Doubled<T>;
  using Limits = std::numeric_limits<T>;
  STATESPACE_INLINE static Number max() { return Limits::max(); }
  STATESPACE_INLINE static Number epsilon() { return Limits::epsilon() * Limits::epsilon(); }
  STATESPACE_INLINE static Number infinity() { return Limits::infinity(); }
  STATESPACE_INLINE static Number quiet_NaN() { return Limits::quiet_NaN(); }
};

#endif  // STATESPACE_NATIVE_CORE_DOUBLE_DOUBLE_H_
