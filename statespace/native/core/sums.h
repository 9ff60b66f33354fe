// Long sums and products that neither lose digits nor leave the range of the number type.
#ifndef STATESPACE_NATIVE_CORE_SUMS_H_
#define STATESPACE_NATIVE_CORE_SUMS_H_

#include <algorithm>
#include <limits>

#include "core/simd.h"

namespace statespace {
namespace STATESPACE_ISA {

// Kahan's compensated sum.
template <class V>
class CompensatedSum {
 public:
  STATESPACE_INLINE void add(const V& x) {
    const V y = x - lost_;
    const V sum = sum_ + y;
    lost_ = (sum - sum_) - y;
    sum_ = sum;
  }
  STATESPACE_INLINE const V& value() const { return sum_; }

 private:
  V sum_ = V();
  V lost_ = V();
};

// A power of two beyond the range of the number type, as factors within it.
template <class V>
struct Powers {
  V factors[3];

  STATESPACE_INLINE V apply(const V& x) const { return x * factors[0] * factors[1] * factors[2]; }
};

// A product of positive numbers, and its logarithm, taken once at the end: a logarithm a step would
// cost more than the rest of a small filter.
template <class V>
class LogProduct {
 public:
  // x is positive and at most half of the largest number, as every square root is; in other lanes
  // the value is meaningless but nothing traps.
  STATESPACE_INLINE void multiply(const V& x) {
    using F = Float<ScalarOf<V>>;
    // A subnormal has no leading bit to shift out; scaling makes it normal.
    const Mask<V> subnormal = x < splat<V>(F::kSmallestNormal);
    constexpr int kShift = F::kMantissaBits + 1;
    const V scaled = select<V>(subnormal, x * splat<V>(ScalarOf<V>(int64_t{1} << kShift)), x);
    BitsOf<V> bits = to_bits(V(mantissa_ * scaled));
    exponent_ += ((bits >> F::kMantissaBits) & F::kExponentMask) - F::kBias;
    if constexpr (kLanes<V> == 1) {
      exponent_ -= subnormal ? kShift : 0;
    } else {
      exponent_ += subnormal & -kShift;
    }
    bits = (bits & ~(F::kExponentMask << F::kMantissaBits)) | (F::kBias << F::kMantissaBits);
    mantissa_ = from_bits<V>(bits);
  }

  STATESPACE_BUILDING_BLOCK V log() const {
    V result = V();
    for (int lane = 0; lane < kLanes<V>; ++lane) {
      constexpr double kLog2 = 0.693147180559945309417232121458;
      double exponent;
      if constexpr (kLanes<V> == 1) {
        exponent = static_cast<double>(exponent_);
      } else {
        exponent = static_cast<double>(exponent_[lane]);
      }
      const double value = std::log(static_cast<double>(get_lane(mantissa_, lane)));
      set_lane(result, lane, static_cast<ScalarOf<V>>(value + exponent * kLog2));
    }
    return result;
  }

  // The product is mantissa() times powers(); it may itself be out of range.
  STATESPACE_INLINE const V& mantissa() const { return mantissa_; }
  STATESPACE_BUILDING_BLOCK Powers<V> powers() const {
    using T = ScalarOf<V>;
    using F = Float<T>;
    Powers<V> powers;
    for (int lane = 0; lane < kLanes<V>; ++lane) {
      int64_t exponent;
      if constexpr (kLanes<V> == 1) {
        exponent = exponent_;
      } else {
        exponent = exponent_[lane];
      }
      for (int i = 0; i < 3; ++i) {
        // What the factors cannot reach together is zero or infinite anyway.
        const int64_t share =
            std::clamp<int64_t>(exponent / (3 - i), 1 - F::kBias, int64_t{F::kBias});
        exponent -= share;
        const auto bits = static_cast<BitsOf<T>>((share + F::kBias) << F::kMantissaBits);
        set_lane(powers.factors[i], lane, from_bits<T>(bits));
      }
    }
    return powers;
  }
  // The product times x.
  STATESPACE_INLINE V scaled(const V& x) const { return powers().apply(mantissa_ * x); }

 private:
  V mantissa_ = splat<V>(ScalarOf<V>(1));  // in [1, 2)
  BitsOf<V> exponent_{};
};

// The sum of the logarithms of x[n], NaN in the lanes where they are not positive and finite
// throughout.
template <class V>
STATESPACE_INLINE V sum_log(int n, const V* x) {
  using T = ScalarOf<V>;
  const V largest = splat<V>(std::numeric_limits<T>::max());
  const V half = splat<V>(T(0.5)), one = splat<V>(T(1)), two = splat<V>(T(2));
  LogProduct<V> product;
  V failed = V();
  for (int i = 0; i < n; ++i) {
    const Mask<V> ok = mask_and(x[i] > V(), x[i] <= largest), large = x[i] > largest * half;
    failed = select<V>(ok, failed, one);
    product.multiply(select<V>(large, x[i] * half, x[i]));
    product.multiply(select<V>(large, two, one));
  }
  return select<V>(failed == V(), product.log(), splat<V>(std::numeric_limits<T>::quiet_NaN()));
}

// x_bar = total_bar / x, the cotangent of x from that of the sum. A failed lane gets NaN; one with
// total_bar = 0 zero, whatever x.
template <class V>
STATESPACE_INLINE void sum_log_adjoint(int n, const V* x, const V& total_bar, V* x_bar) {
  using T = ScalarOf<V>;
  const V largest = splat<V>(std::numeric_limits<T>::max());
  const V one = splat<V>(T(1));
  V failed = V();  // not NaN itself, which g++ 12 loses from such a loop at -O3
  for (int i = 0; i < n; ++i) {
    const Mask<V> ok = mask_and(x[i] > V(), x[i] <= largest);
    failed = select<V>(ok, failed, one);
  }
  const V nan = splat<V>(std::numeric_limits<T>::quiet_NaN());
  const V spoil = select<V>(failed == V(), V(), nan);
  for (int i = 0; i < n; ++i) {
    x_bar[i] = select<V>(total_bar == V(), V(), total_bar / x[i] + spoil);
  }
}

}  // namespace STATESPACE_ISA
}  // namespace statespace

#endif  // STATESPACE_NATIVE_CORE_SUMS_H_
