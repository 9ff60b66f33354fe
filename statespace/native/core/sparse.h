// Products with matrices that are mostly zeros, as the transitions of structural models are.
#ifndef STATESPACE_NATIVE_CORE_SPARSE_H_
#define STATESPACE_NATIVE_CORE_SPARSE_H_

#include "core/multiply.h"

namespace statespace {
namespace STATESPACE_ISA {

// Where a matrix is not zero, row by row: in columns[begin[i]] ... columns[begin[i + 1] - 1].
struct Pattern {
  int32_t* begin = nullptr;
  int32_t* columns = nullptr;
  bool is_sparse = false;  // enough zeros for products to gain by it; else `begin` says nothing
};

// Numbers of type V that the arrays of a pattern take.
template <class V>
STATESPACE_INLINE int64_t pattern_size(int64_t num_rows, int64_t num_columns) {
  const int64_t bytes = (num_rows + 1 + num_rows * num_columns) * sizeof(int32_t);
  return (bytes + sizeof(V) - 1) / sizeof(V);
}
template <class V>
STATESPACE_INLINE V* place(Pattern& x, V* memory, int64_t num_rows, int64_t num_columns) {
  x.begin = reinterpret_cast<int32_t*>(memory);
  x.columns = x.begin + num_rows + 1;
  return memory + pattern_size<V>(num_rows, num_columns);
}

// The pattern of a[num_rows, num_columns]: what is zero in all lanes. Sizes that are constants are
// so small that the zeros cost nothing.
template <class V, class N>
STATESPACE_BUILDING_BLOCK void find_pattern(N, int num_rows, int num_columns, const View<V>& a,
                                            Pattern& x) {
  if constexpr (std::is_same_v<N, int>) {
    const int most = num_rows * num_columns * 2 / 5;
    int count = 0;
    for (int i = 0; i < num_rows; ++i) {
      x.begin[i] = count;
      for (int j = 0; j < num_columns; ++j) {
        if (any_lane(a(i, j) != V())) x.columns[count++] = j;
      }
    }
    x.begin[num_rows] = count;
    x.is_sparse = count <= most;
  }
}

// Row i of C = base + A B from column j on, `C` registers of it, of which the last begins at column
// j + last and may take some numbers once more.
template <int C, class U, class V>
STATESPACE_INLINE void multiply_sparse_tile(const Pattern& pattern, const View<V>& a, int i,
                                            const V* b, int64_t stride, int j, int last,
                                            const V* base, V* c) {
  constexpr int kWidth = sizeof(U) / sizeof(V);
  const auto place = [last](int s) { return s == C - 1 ? last : s * kWidth; };
  U sums[C];
#pragma GCC unroll 4
  for (int s = 0; s < C; ++s) {
    sums[s] = base == nullptr ? U() : load_register<U>(base + j + place(s));
  }
  for (int32_t p = pattern.begin[i]; p < pattern.begin[i + 1]; ++p) {
    const int l = pattern.columns[p];
    const U x = spread<U>(a(i, l));
#pragma GCC unroll 4
    for (int s = 0; s < C; ++s) {
      sums[s] = mul_add(x, load_register<U>(b + l * stride + j + place(s)), sums[s]);
    }
  }
#pragma GCC unroll 4
  for (int s = 0; s < C; ++s) store_register(sums[s], c + j + place(s));
}

// C = A B + base for C[num_rows, n], of row i up to column end(i) or somewhat farther; a null base
// is zero. The terms that are not zero are summed in the order of multiply(): for finite B the
// result is the same to the last bit.
template <class V, class End>
STATESPACE_BUILDING_BLOCK void multiply_sparse(const Pattern& pattern, int num_rows, int n,
                                               const View<V>& a, const V* b, const V* base, V* c,
                                               End&& end) {
  using U = std::conditional_t<kAlone<V>, Vector<ScalarOf<V>>, V>;
  constexpr int kWidth = sizeof(U) / sizeof(V);
  for (int i = 0; i < num_rows; ++i) {
    const V* const base_row = base == nullptr ? nullptr : base + int64_t{i} * n;
    V* const row = c + int64_t{i} * n;
    int columns = end(i), j = 0;
    if (n >= kWidth) {
      columns = std::max(columns, kWidth);
      for (; j < columns; j += 4 * kWidth) {
        const int wanted = std::min((columns - j + kWidth - 1) / kWidth, 4);
        const int last = std::min((wanted - 1) * kWidth, columns - j - kWidth);
        with_fixed_size<4>(wanted, [&](auto registers) {
          multiply_sparse_tile<registers, U>(pattern, a, i, b, n, j, last, base_row, row);
        });
      }
    } else {
      for (; j < columns; ++j) multiply_sparse_tile<1, V>(pattern, a, i, b, n, j, 0, base_row, row);
    }
  }
}

// C = A B for A[m, n], of which `pattern` is known, and B[n, n].
template <class V, class M, class N>
STATESPACE_ALWAYS_INLINE void multiply(const Pattern& pattern, M m, N n, const View<V>& a,
                                       const V* b, V* c) {
  if (pattern.is_sparse) {
    const V* const zero = nullptr;
    multiply_sparse(pattern, m, n, a, b, zero, c, [n](int) { return static_cast<int>(n); });
  } else {
    multiply(m, n, n, a, rows<V>(b, n), c);
  }
}

// product = B A' and out = A B A' + C for A[n, n], of which `pattern` is known, symmetric B[n, n]
// and the lower triangle of a symmetric C[n, n], or null for zero. `out` may be B's place.
template <class V, class N>
STATESPACE_ALWAYS_INLINE void congruence(const Pattern& pattern, N n, const V* a,
                                         const V* a_transpose, const V* b, const V* c, V* product,
                                         V* out) {
  if (pattern.is_sparse) {
    multiply(pattern, n, n, rows<V>(a, n), b, product);
    for (int i = 1; i < n; ++i) {
      for (int j = 0; j < i; ++j) std::swap(product[i * n + j], product[j * n + i]);
    }
    multiply_sparse(pattern, n, n, rows<V>(a, n), product, c, out, [](int i) { return i + 1; });
  } else {
    multiply(n, n, n, rows<V>(b, n), rows<V>(a_transpose, n), product);
    for (int i = 0; i < n; ++i) {
      for (int j = 0; j <= i; ++j) out[i * n + j] = c == nullptr ? V() : c[i * n + j];
    }
    if (whole_is_faster<V>(n)) mirror(n, out);
    multiply<Into::kAdd, Part::kLowerOrAll>(n, n, n, rows<V>(a, n), rows<V>(product, n), out);
  }
  mirror(n, out);
}

}  // namespace STATESPACE_ISA
}  // namespace statespace

#endif  // STATESPACE_NATIVE_CORE_SPARSE_H_
