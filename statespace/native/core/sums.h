// Long sums and products that neither lose digits nor leave the range of the number type.
#ifndef STATESPACE_NATIVE_CORE_SUMS_H_
#define STATESPACE_NATIVE_CORE_SUMS_H_

#include "core/simd.h"

namespace statespace {
namespace STATESPACE_ISA {

// Kahan's compensated sum.
template <class V>
class CompensatedSum {
 public:
  void add(const V& x) {
    const V y = x - lost_;
    const V sum = sum_ + y;
    lost_ = (sum - sum_) - y;
    sum_ = sum;
  }
  const V& value() const { return sum_; }

 private:
  V sum_ = V();
  V lost_ = V();
};

// The logarithm of a product of positive numbers, taken once at the end: a logarithm a step would
// cost more than the rest of a small filter.
template <class V>
class LogProduct {
 public:
  // x is positive and at most half of the largest number, as every square root is; in other lanes
  // the value is meaningless but nothing traps.
  void multiply(const V& x) {
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

  V log() const {
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

 private:
  V mantissa_ = splat<V>(ScalarOf<V>(1));  // in [1, 2)
  BitsOf<V> exponent_{};
};

}  // namespace STATESPACE_ISA
}  // namespace statespace

#endif  // STATESPACE_NATIVE_CORE_SUMS_H_
