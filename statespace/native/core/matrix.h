// Views of matrices, and what is done to all of their entries.
#ifndef STATESPACE_NATIVE_CORE_MATRIX_H_
#define STATESPACE_NATIVE_CORE_MATRIX_H_

#include <limits>

#include "core/dims.h"
#include "core/transpose.h"

namespace statespace {
namespace STATESPACE_ISA {

// A read-only view: element (i, j) is data[i * row + j * column].
template <class V>
struct View {
  const V* data;
  int64_t row;
  int64_t column;
  STATESPACE_INLINE const V& operator()(int64_t i, int64_t j) const {
    return data[i * row + j * column];
  }
};

// Row-major x[rows, columns], and its transpose.
template <class V>
STATESPACE_INLINE View<V> rows(const V* x, int64_t columns) {
  return {x, columns, 1};
}
template <class V>
STATESPACE_INLINE View<V> transposed(const V* x, int64_t columns) {
  return {x, 1, columns};
}

// Copies the lower triangle of x[n, n], rows `stride` apart, to the upper.
template <class V, class N>
STATESPACE_BUILDING_BLOCK void mirror(N n, V* x, int64_t stride) {
  int squares = 0, width = 1;  // rows of whole squares, and their size
  if constexpr (kAlone<V> && std::is_floating_point_v<V> && std::is_same_v<N, int>) {
    using U = Vector<V>;
    constexpr int W = kLanes<U>;
    width = W, squares = n / W * W;
    for (int i = W; i < squares; i += W) {
      for (int j = 0; j < i; j += W) {
        U square[W];
        for (int r = 0; r < W; ++r) std::memcpy(&square[r], x + (i + r) * stride + j, sizeof(U));
        transpose_segments<W>(square);
        for (int r = 0; r < W; ++r) std::memcpy(x + (j + r) * stride + i, &square[r], sizeof(U));
      }
    }
  }
  for (int i = 1; i < n; ++i) {
    for (int j = i < squares ? i - i % width : 0; j < i; ++j) {
      x[j * stride + i] = x[i * stride + j];
    }
  }
}
template <class V, class N>
STATESPACE_BUILDING_BLOCK void mirror(N n, V* x) {
  mirror(n, x, n);
}

// Zeros above the diagonal of x[n, n].
template <class V, class N>
STATESPACE_INLINE void zero_above(N n, V* x) {
  for (int i = 0; i < n; ++i) {
    for (int j = i + 1; j < n; ++j) x[i * n + j] = V();
  }
}

template <class V, class N>
STATESPACE_INLINE void set_zero(N count, V* x) {
  for (int i = 0; i < count; ++i) x[i] = V();
}

// Finds numbers that are infinite or NaN: x - x is 0 or NaN. In several sums, whose additions need
// not wait for each other.
template <class V>
class FiniteCheck {
 public:
  template <class N>
  STATESPACE_ALWAYS_INLINE void add(N count, const V* x) {
    int64_t i = 0;
    if constexpr (kNumbers) {
      for (; i + kLanes<Wide> <= count; i += kLanes<Wide>) {
        Wide numbers;
        std::memcpy(&numbers, x + i, sizeof numbers);
        wide_ = wide_ + (numbers - numbers);
      }
    }
    for (; i + 4 <= count; i += 4) {
      for (int k = 0; k < 4; ++k) sums_[k] = sums_[k] + (x[i + k] - x[i + k]);
    }
    for (; i < count; ++i) sums_[0] = sums_[0] + (x[i] - x[i]);
  }
  // The lanes in which all numbers were finite.
  STATESPACE_INLINE Mask<V> passed() const {
    V sum = (sums_[0] + sums_[1]) + (sums_[2] + sums_[3]);
    if constexpr (kNumbers) {
      for (int lane = 0; lane < kLanes<Wide>; ++lane) sum = sum + wide_[lane];
    }
    return sum == V();
  }

 private:
  static constexpr bool kNumbers = kAlone<V> && std::is_floating_point_v<V>;
  using Wide = std::conditional_t<kNumbers, Vector<ScalarOf<V>>, V>;

  V sums_[4] = {};
  Wide wide_ = Wide();  // of neighbouring numbers
};

// The lanes in which some of x[count] is infinite or NaN.
template <class V>
STATESPACE_BUILDING_BLOCK Mask<V> any_not_finite(int64_t count, const V* x) {
  FiniteCheck<V> finite;
  finite.add(count, x);
  return mask_not(finite.passed());
}

// Zeros in place of what is infinite or NaN.
template <class V, class N>
STATESPACE_BUILDING_BLOCK void clear_not_finite(N count, V* x) {
  for (int i = 0; i < count; ++i) x[i] = select<V>(is_finite(x[i]), x[i], V());
}

// The lanes in which all of x[count] is zero, and writing to given lanes of x.
template <class V>
STATESPACE_BUILDING_BLOCK Mask<V> all_zero(int64_t count, const V* x) {
  Mask<V> zero = V() == V();
  for (int64_t i = 0; i < count; ++i) zero = mask_and(zero, x[i] == V());
  return zero;
}
template <class V>
STATESPACE_BUILDING_BLOCK void fill_lanes(int64_t count, const Mask<V>& lanes, ScalarOf<V> value,
                                          V* x) {
  if (!any_lane(lanes)) return;
  for (int64_t i = 0; i < count; ++i) x[i] = select<V>(lanes, splat<V>(value), x[i]);
}
template <class V>
STATESPACE_INLINE void zero_lanes(int64_t count, const Mask<V>& lanes, V* x) {
  fill_lanes(count, lanes, ScalarOf<V>(0), x);
}

// Writes NaN to given lanes of x: what a failed item shows.
template <class V>
STATESPACE_INLINE void spoil_lanes(int64_t count, const Mask<V>& lanes, V* x) {
  fill_lanes(count, lanes, std::numeric_limits<ScalarOf<V>>::quiet_NaN(), x);
}

}  // namespace STATESPACE_ISA
}  // namespace statespace

#endif  // STATESPACE_NATIVE_CORE_MATRIX_H_
