// Functions of symmetric matrices, f(A) = V diag(f(lambda)) V', and their adjoint by divided
// differences, which repeated eigenvalues do not disturb.
#ifndef STATESPACE_NATIVE_CORE_MATRIX_FUNCTION_H_
#define STATESPACE_NATIVE_CORE_MATRIX_FUNCTION_H_

#include <cmath>
#include <limits>
#include <utility>

#include "core/eigh.h"

namespace statespace {
namespace STATESPACE_ISA {

enum class Function { kPower, kLogarithm, kExponential };

// f of one number, and its divided difference (f(x) - f(y)) / (x - y), f'(x) for x = y, without
// cancellation (formulas beside `_FUNCTIONS` in linalg_ops/matrix_function.py).
template <class T>
struct ScalarFunction {
  Function kind;
  T exponent;  // of a power

  // Whether f lives on x >= 0, zero included: a negative number that may be rounding error is zero.
  STATESPACE_INLINE bool from_zero() const {
    return kind == Function::kPower && exponent > 0 && exponent != std::floor(exponent);
  }

  STATESPACE_INLINE T value(T x) const {
    if (kind == Function::kLogarithm) return std::log(x);
    if (kind == Function::kExponential) return std::exp(x);
    if (exponent == 0) return x - x + 1;  // one, but NaN for NaN
    if (exponent == T(0.5)) return std::sqrt(x);
    if (exponent == T(-0.5)) return 1 / std::sqrt(x);
    return std::pow(x, exponent);
  }

  STATESPACE_INLINE T difference(T x, T y) const {
    const T low = x < y ? x : y, high = x < y ? y : x;
    if (kind == Function::kLogarithm) return logarithm_difference(low, high);
    if (kind == Function::kExponential) {
      const T gap = low - high;
      return std::exp(high) * (gap == 0 ? T(1) : std::expm1(gap) / gap);
    }
    if (exponent == 0) return 0 * (low + high);
    if (exponent == T(0.5)) return 1 / (std::sqrt(low) + std::sqrt(high));
    if (exponent == T(-0.5)) {
      const T a = std::sqrt(low), b = std::sqrt(high);
      return -1 / (a * b * (a + b));
    }
    return power_difference(low, high);
  }

 private:
  STATESPACE_INLINE static T logarithm_difference(T low, T high) {
    const T ratio = (high - low) / low;
    if (ratio == 0) return 1 / low;
    if (ratio < 1) return std::log1p(ratio) / ratio / low;
    return (std::log(high) - std::log(low)) / (high - low);
  }

  // For numbers of one sign, with e^t = small / big: big^(p-1) (e^(pt) - 1) / (e^t - 1).
  STATESPACE_INLINE T power_difference(T low, T high) const {
    const bool one_sign = (high > 0 && low >= 0) || (high < 0 && low <= 0);
    if (!one_sign) {
      if (high != low) return (value(high) - value(low)) / (high - low);
      if (low != 0) return low;  // NaN
      if (exponent == 1) return 1;
      return exponent > 1 ? T(0) : std::numeric_limits<T>::infinity();
    }
    const bool high_is_big = std::abs(high) >= std::abs(low);
    const T big = high_is_big ? high : low, small = high_is_big ? low : high;
    const T shortfall = (small - big) / big;
    const T factor =
        shortfall == 0 ? exponent : std::expm1(exponent * std::log1p(shortfall)) / shortfall;
    return factor * value(big) / big;
  }
};

// The function of each lane's exponent.
template <class V>
STATESPACE_INLINE ScalarFunction<ScalarOf<V>> function_of(Function kind, const V& exponent,
                                                          int lane) {
  return {kind, get_lane(exponent, lane)};
}

// X = f(A) from the eigenvalues lambda[n] and eigenvectors v[n, n] of A. Returns per lane at how
// many eigenvalues f has no finite value; unless that is zero, x, lambda and v become NaN. `work`
// holds n * n numbers.
template <class V, class N>
STATESPACE_INLINE V matrix_function(N n, Function kind, const V& exponent, V* lambda, V* v, V* x,
                                    V* work) {
  using T = ScalarOf<V>;
  const int64_t size = static_cast<int64_t>(n) * n;
  V largest = V(), info = V();
  for (int i = 0; i < n; ++i) largest = maximum(largest, absolute(lambda[i]));
  const V cluster = largest * splat<V>(cluster_width<T>(n));
  for (int j = 0; j < n; ++j) {
    V value = V();
    for (int lane = 0; lane < kLanes<V>; ++lane) {
      const auto f = function_of(kind, exponent, lane);
      T eigenvalue = get_lane(lambda[j], lane);
      if (f.from_zero() && eigenvalue < 0 && eigenvalue >= -get_lane(cluster, lane)) eigenvalue = 0;
      set_lane(lambda[j], lane, eigenvalue);
      set_lane(value, lane, f.value(eigenvalue));
    }
    info = info + select<V>(is_finite(value), V(), splat<V>(T(1)));
    for (int i = 0; i < n; ++i) {
      work[static_cast<int64_t>(i) * n + j] = v[static_cast<int64_t>(i) * n + j] * value;
    }
  }
  multiply<Into::kSet, Part::kLower>(n, n, n, rows<V>(work, n), transposed(v, n), x);
  mirror(n, x);
  const Mask<V> failed = info != V();
  spoil_lanes(size, failed, x);
  spoil_lanes(size, failed, v);
  spoil_lanes(n, failed, lambda);
  return info;
}

// Cotangent a_bar[n, n] of A, symmetric, from that of X = f(A), and just as well the derivative of
// f(A) along x_bar: V (D o (V' (x_bar + x_bar') V / 2)) V' with the divided differences D
// (derivation beside `_derivative` in linalg_ops/matrix_function.py). NaN where D is infinite; a
// lane whose x_bar has no symmetric part gets zero. `work` holds 2 n * n numbers.
template <class V, class N>
STATESPACE_INLINE void matrix_function_adjoint(N n, Function kind, const V& exponent,
                                               const V* lambda, const V* v, const V* x_bar,
                                               V* a_bar, V* work) {
  const int64_t size = static_cast<int64_t>(n) * n;
  const V half = splat<V>(ScalarOf<V>(0.5));
  V *const inner = work, *const product = work + size;
  for (int i = 0; i < n; ++i) {
    for (int j = 0; j <= i; ++j) {
      const int64_t at = static_cast<int64_t>(i) * n + j, other = static_cast<int64_t>(j) * n + i;
      inner[at] = inner[other] = half * x_bar[at] + half * x_bar[other];
    }
  }
  const Mask<V> unused = all_zero(size, inner);
  multiply(n, n, n, rows<V>(inner, n), rows(v, n), product);
  multiply(n, n, n, transposed(v, n), rows<V>(product, n), inner);
  Mask<V> failed = V() != V();
  for (int i = 0; i < n; ++i) {
    for (int j = 0; j <= i; ++j) {
      V difference = V();
      for (int lane = 0; lane < kLanes<V>; ++lane) {
        const auto f = function_of(kind, exponent, lane);
        set_lane(difference, lane,
                 f.difference(get_lane(lambda[i], lane), get_lane(lambda[j], lane)));
      }
      failed = mask_or(failed, mask_not(is_finite(difference)));
      V& lower = inner[static_cast<int64_t>(i) * n + j];
      V& upper = inner[static_cast<int64_t>(j) * n + i];
      lower = upper = difference * (half * lower + half * upper);
    }
  }
  multiply(n, n, n, rows(v, n), rows<V>(inner, n), product);
  multiply<Into::kSet, Part::kLower>(n, n, n, rows<V>(product, n), transposed(v, n), a_bar);
  mirror(n, a_bar);
  spoil_lanes(size, failed, a_bar);
  zero_lanes(size, unused, a_bar);
}

}  // namespace STATESPACE_ISA
}  // namespace statespace

#endif  // STATESPACE_NATIVE_CORE_MATRIX_FUNCTION_H_
