// Products of small matrices, the work of every recursion.
#ifndef STATESPACE_NATIVE_CORE_MATRIX_H_
#define STATESPACE_NATIVE_CORE_MATRIX_H_

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

// C = A B, C += A B or C -= A B, for C[m, n] row-major, A[m, k], B[k, n]. With Part::kLower only
// entries on and below the diagonal are computed (C is square) and the others left alone.
//
// Four columns at a time: each entry of A is read once for four results that stay in registers.
template <Into into = Into::kSet, Part part = Part::kAll, class V, class M, class N, class K>
inline void multiply(M m, N n, K k, const View<V>& a, const View<V>& b, V* c) {
  constexpr bool kSubtract = into == Into::kSubtract;
  for (int i = 0; i < m; ++i) {
    V* const row = c + static_cast<int64_t>(i) * n;
    const int columns = part == Part::kLower ? i + 1 : static_cast<int>(n);
    int j = 0;
    for (; j + 4 <= columns; j += 4) {
      V s0 = into == Into::kSet ? V() : row[j], s1 = into == Into::kSet ? V() : row[j + 1];
      V s2 = into == Into::kSet ? V() : row[j + 2], s3 = into == Into::kSet ? V() : row[j + 3];
      for (int l = 0; l < k; ++l) {
        const V x = kSubtract ? -a(i, l) : a(i, l);
        s0 = mul_add(x, b(l, j), s0);
        s1 = mul_add(x, b(l, j + 1), s1);
        s2 = mul_add(x, b(l, j + 2), s2);
        s3 = mul_add(x, b(l, j + 3), s3);
      }
      row[j] = s0;
      row[j + 1] = s1;
      row[j + 2] = s2;
      row[j + 3] = s3;
    }
    for (; j < columns; ++j) {
      V sum = into == Into::kSet ? V() : row[j];
      for (int l = 0; l < k; ++l) sum = mul_add(kSubtract ? -a(i, l) : a(i, l), b(l, j), sum);
      row[j] = sum;
    }
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

// The lanes in which all of x[count] is zero, and writing zeros to given lanes of x.
template <class V>
inline Mask<V> all_zero(int64_t count, const V* x) {
  Mask<V> zero = V() == V();
  for (int64_t i = 0; i < count; ++i) zero = mask_and(zero, x[i] == V());
  return zero;
}
template <class V>
inline void zero_lanes(int64_t count, const Mask<V>& lanes, V* x) {
  for (int64_t i = 0; i < count; ++i) x[i] = select<V>(lanes, V(), x[i]);
}

}  // namespace STATESPACE_ISA
}  // namespace statespace

#endif  // STATESPACE_NATIVE_CORE_MATRIX_H_
