// Products of small matrices, the work of every recursion.
#ifndef STATESPACE_NATIVE_CORE_MATRIX_H_
#define STATESPACE_NATIVE_CORE_MATRIX_H_

#include <limits>

#include "core/dims.h"

namespace statespace {
namespace STATESPACE_ISA {

// What a product does to its destination.
enum class Into { kSet, kAdd, kSubtract };
// Which part of the destination it computes.
enum class Part { kAll, kLower };

// A read-only view: element (i, j) is data[i * row + j * column].
template <class V>
struct View {
  const V* data;
  int64_t row;
  int64_t column;
  const V& operator()(int64_t i, int64_t j) const { return data[i * row + j * column]; }
};

// Row-major x[rows, columns], and its transpose.
template <class V>
inline View<V> rows(const V* x, int64_t columns) {
  return {x, columns, 1};
}
template <class V>
inline View<V> transposed(const V* x, int64_t columns) {
  return {x, 1, columns};
}

// A register of type U: one V, or, where V is a single number, several neighbouring ones.
template <class U, class V>
inline U load_register(const V* x) {
  if constexpr (sizeof(U) == sizeof(V)) {
    return *x;
  } else {
    U u;
    std::memcpy(&u, x, sizeof u);
    return u;
  }
}
template <class U, class V>
inline void store_register(const U& u, V* x) {
  std::memcpy(x, &u, sizeof u);
}
template <class U, class V>
inline U spread(const V& x) {
  if constexpr (sizeof(U) == sizeof(V)) {
    return x;
  } else {
    return splat<U>(x);
  }
}

// One row of C, from column j on: `count` registers.
template <Into into, int count, class U, class V, class K>
inline void multiply_columns(K k, const View<V>& a, int i, const View<V>& b, int j, V* row) {
  constexpr int kStep = sizeof(U) / sizeof(V);
  U sums[count];
#pragma GCC unroll 4
  for (int c = 0; c < count; ++c) {
    sums[c] = into == Into::kSet ? U() : load_register<U>(row + j + c * kStep);
  }
  for (int l = 0; l < k; ++l) {
    const U x = spread<U>(into == Into::kSubtract ? -a(i, l) : a(i, l));
#pragma GCC unroll 4
    for (int c = 0; c < count; ++c) {
      sums[c] = mul_add(x, load_register<U>(&b(l, j + c * kStep)), sums[c]);
    }
  }
#pragma GCC unroll 4
  for (int c = 0; c < count; ++c) store_register(sums[c], row + j + c * kStep);
}

// C = A B, C += A B or C -= A B, for C[m, n] row-major, A[m, k], B[k, n]. With Part::kLower only
// entries on and below the diagonal are computed (C is square) and the others left alone.
//
// Four registers of columns at a time: each entry of A is read once for all of them, and they stay
// in place until they are done. Every entry is summed in the same order, whatever it shares a
// register with.
template <Into into = Into::kSet, Part part = Part::kAll, class V, class M, class N, class K>
inline void multiply(M m, N n, K k, const View<V>& a, const View<V>& b, V* c) {
  for (int i = 0; i < m; ++i) {
    V* const row = c + static_cast<int64_t>(i) * n;
    const int columns = part == Part::kLower ? i + 1 : static_cast<int>(n);
    int j = 0;
    if constexpr (kLanes<V> == 1) {
      using U = Vector<V>;
      constexpr int kWidth = kLanes<U>;
      if (b.column == 1) {
        for (; j + 4 * kWidth <= columns; j += 4 * kWidth) {
          multiply_columns<into, 4, U>(k, a, i, b, j, row);
        }
        for (; j + kWidth <= columns; j += kWidth) {
          multiply_columns<into, 1, U>(k, a, i, b, j, row);
        }
      }
    }
    for (; j + 4 <= columns; j += 4) multiply_columns<into, 4, V>(k, a, i, b, j, row);
    for (; j < columns; ++j) multiply_columns<into, 1, V>(k, a, i, b, j, row);
  }
}

// Copies the lower triangle of x[n, n] to the upper.
template <class V, class N>
inline void mirror(N n, V* x) {
  for (int i = 1; i < n; ++i) {
    for (int j = 0; j < i; ++j) x[j * n + i] = x[i * n + j];
  }
}

template <class V, class N>
inline void set_zero(N count, V* x) {
  for (int i = 0; i < count; ++i) x[i] = V();
}

// The lanes in which all of x[count] is zero, and writing to given lanes of x.
template <class V>
inline Mask<V> all_zero(int64_t count, const V* x) {
  Mask<V> zero = V() == V();
  for (int64_t i = 0; i < count; ++i) zero = mask_and(zero, x[i] == V());
  return zero;
}
template <class V>
inline void fill_lanes(int64_t count, const Mask<V>& lanes, ScalarOf<V> value, V* x) {
  if (!any_lane(lanes)) return;
  for (int64_t i = 0; i < count; ++i) x[i] = select<V>(lanes, splat<V>(value), x[i]);
}
template <class V>
inline void zero_lanes(int64_t count, const Mask<V>& lanes, V* x) {
  fill_lanes(count, lanes, ScalarOf<V>(0), x);
}

// Writes NaN to given lanes of x: what a failed item shows.
template <class V>
inline void spoil_lanes(int64_t count, const Mask<V>& lanes, V* x) {
  fill_lanes(count, lanes, std::numeric_limits<ScalarOf<V>>::quiet_NaN(), x);
}

}  // namespace STATESPACE_ISA
}  // namespace statespace

#endif  // STATESPACE_NATIVE_CORE_MATRIX_H_
