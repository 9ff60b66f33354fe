// Matrix products, the work of every factorisation and recursion.
#ifndef STATESPACE_NATIVE_CORE_MULTIPLY_H_
#define STATESPACE_NATIVE_CORE_MULTIPLY_H_

#include <algorithm>
#include <type_traits>

#include "core/matrix.h"
#include "core/transpose.h"

namespace statespace {
namespace STATESPACE_ISA {

// What a product does to its destination.
enum class Into { kSet, kAdd, kSubtract };
// Which part of the destination it computes. kLowerOrAll: the lower triangle, and the upper one
// where that takes less time than to leave it out.
enum class Part { kAll, kLower, kLowerOrAll };

// A register of type U: one V, or, where V is a single number, several neighbouring ones.
template <class U, class V>
STATESPACE_INLINE U load_register(const V* x) {
  if constexpr (sizeof(U) == sizeof(V)) {
    return *x;
  } else {
    U u;
    std::memcpy(&u, x, sizeof u);
    return u;
  }
}
template <class U, class V>
STATESPACE_INLINE void store_register(const U& u, V* x) {
  std::memcpy(x, &u, sizeof u);
}
template <class U, class V>
STATESPACE_INLINE U spread(const V& x) {
  if constexpr (sizeof(U) == sizeof(V)) {
    return x;
  } else {
    return splat<U>(x);
  }
}

// Rows i ... i + R - 1 of C, whose rows lie `stride` apart, from column j on: C registers of each
// row. With Part::kLower what lies above the diagonal is not stored. The last register begins at
// column j + last, and may take some numbers once more.
template <Into into, Part part, int R, int C, class U, class V, class K>
STATESPACE_ALWAYS_INLINE void multiply_tile(K k, const View<V>& a, int i, const View<V>& b, int j,
                                            V* c, int64_t stride,
                                            int64_t last = (C - 1) * (sizeof(U) / sizeof(V))) {
  constexpr int kWidth = sizeof(U) / sizeof(V);
  const auto place = [last](int s) { return s == C - 1 ? last : int64_t{s} * kWidth; };
  static_assert(part == Part::kAll || kWidth == 1, "a register may not cross the diagonal");
  V* const corner = c + i * stride + j;
  U sums[R][C];
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int s = 0; s < C; ++s) {
      sums[r][s] = into == Into::kSet ? U() : load_register<U>(corner + r * stride + place(s));
    }
  }
  for (int l = 0; l < k; ++l) {
    U y[C];
#pragma GCC unroll 4
    for (int s = 0; s < C; ++s) y[s] = load_register<U>(&b(l, j + place(s)));
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
      const U x = spread<U>(a(i + r, l));
#pragma GCC unroll 4
      for (int s = 0; s < C; ++s) {
        sums[r][s] = into == Into::kSubtract ? neg_mul_add(x, y[s], sums[r][s])
                                             : mul_add(x, y[s], sums[r][s]);
      }
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int s = 0; s < C; ++s) {
      if (part == Part::kAll || j + s <= i + r) {
        store_register(sums[r][s], corner + r * stride + place(s));
      }
    }
  }
}

// Registers of a row that one tile of four rows takes: what the processor has registers for.
constexpr int kTileColumns = kVectorBytes == 64 ? 4 : 3;

// R rows of C in the columns j ... columns - 1: a few registers at a time, or, where they do not
// fill one, single numbers.
template <Into into, Part part, int R, class V, class K>
STATESPACE_INLINE void multiply_rows(int j, int columns, K k, const View<V>& a, int i,
                                     const View<V>& b, V* c, int64_t stride) {
  if constexpr (kAlone<V> && part == Part::kAll) {
    using U = Vector<V>;
    constexpr int kWidth = kLanes<U>;
    if (b.column == 1) {
      for (; j + kTileColumns * kWidth <= columns; j += kTileColumns * kWidth) {
        multiply_tile<into, part, R, kTileColumns, U>(k, a, i, b, j, c, stride);
      }
      if (j + kWidth <= columns) {
        with_fixed_size<kTileColumns>((columns - j + kWidth - 1) / kWidth, [&](auto registers) {
          multiply_tile<into, part, R, registers, U>(k, a, i, b, j, c, stride,
                                                     columns - j - kWidth);
        });
        return;
      }
    }
  }
  constexpr int kColumns = R == 1 ? 4 : kTileColumns;
  for (; j + kColumns <= columns; j += kColumns) {
    multiply_tile<into, part, R, kColumns, V>(k, a, i, b, j, c, stride);
  }
  for (; j < columns; ++j) multiply_tile<into, part, R, 1, V>(k, a, i, b, j, c, stride);
}

template <Into into, Part part, int R, class V, class N, class K>
STATESPACE_BUILDING_BLOCK void multiply_row_block(N n, K k, const View<V>& a, int i,
                                                  const View<V>& b, V* c, int64_t stride) {
  if constexpr (part == Part::kAll) {
    multiply_rows<into, part, R>(0, n, k, a, i, b, c, stride);
  } else {
    // All rows reach column i; then follows the corner on the diagonal.
    multiply_rows<into, Part::kAll, R>(0, i, k, a, i, b, c, stride);
    multiply_rows<into, part, R>(i, i + R, k, a, i, b, c, stride);
  }
}

// Copies x[rows, columns] to packed[rows, width]; columns that are missing there become zero.
template <int width, class V>
STATESPACE_INLINE void pack(int rows, int columns, const View<V>& x, V* packed) {
  if (columns < width) {
    for (int i = 0; i < rows; ++i) {
      for (int j = 0; j < width; ++j) packed[i * width + j] = j < columns ? x(i, j) : V();
    }
  } else if (x.column == 1) {
    for (int i = 0; i < rows; ++i) {
      const V* const from = &x(i, 0);
#pragma GCC unroll 24
      for (int j = 0; j < width; ++j) packed[i * width + j] = from[j];
    }
  } else if constexpr (kAlone<V>) {
    // Squares of K columns, transposed in registers.
    using U = Vector<V>;
    constexpr int kNumbers = kLanes<U>, K = width < kNumbers ? width : kNumbers;
    int i = 0;
    for (; x.row == 1 && i + kNumbers <= rows; i += kNumbers) {
      for (int j = 0; j < width; j += K) {
        U block[K];
#pragma GCC unroll 16
        for (int c = 0; c < K; ++c) block[c] = load_register<U>(&x(i, j + c));
        transpose_segments<K>(block);
#pragma GCC unroll 16
        for (int r = 0; r < K; ++r) {
          V* places[kNumbers];
          for (int s = 0; s < kNumbers / K; ++s) {
            places[s] = packed + static_cast<int64_t>(i + s * K + r) * width + j;
          }
          store_segments<K>(block[r], 0, 1, 0, kNumbers / K, places);
        }
      }
    }
    for (; i < rows; ++i) {
      for (int j = 0; j < width; ++j) packed[i * width + j] = x(i, j);
    }
  } else {
    for (int j = 0; j < width; ++j) {  // reads run along what is contiguous in x
      const V* const from = &x(0, j);
      for (int i = 0; i < rows; ++i) packed[i * width + j] = from[i * x.row];
    }
  }
}

// The product of sizes beyond a few registers: blocks of A and panels of B are copied to where they
// follow each other in memory, as in Goto & van de Geijn, Anatomy of High-Performance Matrix
// Multiplication, ACM TOMS 34(3), 2008. With Part::kLower tiles above the diagonal are left out.
template <Into into, Part part, class V>
__attribute__((noinline)) void multiply_packed(int m, int n, int k, const View<V>& a,
                                               const View<V>& b, V* c, int64_t stride) {
  using U = std::conditional_t<kAlone<V>, Vector<ScalarOf<V>>, V>;
  constexpr int kWidth = kTileColumns * sizeof(U) / sizeof(V);
  constexpr int kDepth = kAlone<V> ? 128 : 64, kRows = kAlone<V> ? 192 : 32;
  alignas(64) V packed_a[kDepth * kRows];
  alignas(64) V packed_b[kDepth * kWidth];
  for (int l = 0; l < k; l += kDepth) {
    const int depth = std::min(kDepth, k - l);
    for (int i = 0; i < m; i += kRows) {
      const int block = std::min(kRows, m - i);
      for (int group = 0; group < block; group += 4) {
        const View<V> group_transposed = {&a(i + group, l), a.column, a.row};
        pack<4>(depth, std::min(4, block - group), group_transposed,
                packed_a + group * static_cast<int64_t>(depth));
      }
      for (int j = 0; j < n; j += kWidth) {
        if (part == Part::kLower && j >= i + block) break;
        const int columns = std::min(kWidth, n - j);
        pack<kWidth>(depth, columns, View<V>{&b(l, j), b.row, b.column}, packed_b);
        const View<V> y = rows<V>(packed_b, kWidth);
        for (int group = 0; group < block; group += 4) {
          const View<V> x = {packed_a + group * static_cast<int64_t>(depth), 1, 4};
          V* const corner = c + (i + group) * stride + j;
          const int last = i + group + 3 - j;  // column of the last row's diagonal, from j on
          if (part == Part::kLower && last < 0) continue;
          const bool crossed = part == Part::kLower && last - 3 < kWidth - 1;
          if (columns == kWidth && group + 4 <= block && !crossed) {
            if (into == Into::kSet && l == 0) {
              multiply_tile<Into::kSet, Part::kAll, 4, kTileColumns, U>(depth, x, 0, y, 0, corner,
                                                                        stride);
            } else {
              constexpr Into more = into == Into::kSubtract ? into : Into::kAdd;
              multiply_tile<more, Part::kAll, 4, kTileColumns, U>(depth, x, 0, y, 0, corner,
                                                                  stride);
            }
            continue;
          }
          // At the rim and on the diagonal, through a tile beside it, without the registers beyond
          // the last row's diagonal.
          constexpr int kNumbers = sizeof(U) / sizeof(V);
          const int used = crossed ? std::min(last / kNumbers + 1, kTileColumns) : kTileColumns;
          const int height = std::min(4, block - group), width = std::min(columns, used * kNumbers);
          V tile[4 * kWidth];
          if (width < used * kNumbers || height < 4) std::fill_n(tile, 4 * kWidth, V());
          for (int r = 0; r < height; ++r) {
            std::copy_n(corner + r * stride, width, tile + r * kWidth);
          }
          with_fixed_size<kTileColumns>(used, [&](auto registers) {
            constexpr int C = registers;
            if (into == Into::kSet && l == 0) {
              multiply_tile<Into::kSet, Part::kAll, 4, C, U>(depth, x, 0, y, 0, tile, kWidth);
            } else {
              constexpr Into more = into == Into::kSubtract ? into : Into::kAdd;
              multiply_tile<more, Part::kAll, 4, C, U>(depth, x, 0, y, 0, tile, kWidth);
            }
          });
          for (int r = 0; r < height; ++r) {
            const int end = crossed ? std::min(width, last - 3 + r + 1) : width;
            std::copy_n(tile + r * kWidth, end > 0 ? end : 0, corner + r * stride);
          }
        }
      }
    }
  }
}

// Where the copies pay: beyond the first-level cache, and, since only registers of neighbouring
// numbers are fast, for the transpose of a matrix that is not in lanes.
template <class V>
STATESPACE_INLINE bool worth_packing(int m, int n, int k, const View<V>& b) {
  const double work = static_cast<double>(m) * n * k;
  if (m < 4 || n < 4 || k < 4) return false;
  if (!kAlone<V>) return work > 24 * 24 * 24;
  return work > (b.column == 1 ? 48 * 48 * 48 : 8 * 8 * 8);
}

// Whether N is a constant of at most four.
template <class N>
constexpr bool is_small = false;
template <int N>
constexpr bool is_small<Fixed<N>> = N >= 1 && N <= 4;

// The product without copies, four rows at a time; few rows whose number is a constant at once.
template <Into into, Part part, class V, class M, class N, class K>
STATESPACE_INLINE void multiply_direct(M m, N n, K k, const View<V>& a, const View<V>& b, V* c,
                                       int64_t stride) {
  if constexpr (is_small<M>) {
    multiply_row_block<into, part, static_cast<int>(M{})>(n, k, a, 0, b, c, stride);
  } else {
    int i = 0;
    for (; i + 4 <= m; i += 4) multiply_row_block<into, part, 4>(n, k, a, i, b, c, stride);
    for (; i < m; ++i) multiply_row_block<into, part, 1>(n, k, a, i, b, c, stride);
  }
}

// The product whose rows and columns are constants of at most four: a tile of them all, in place,
// as far as there are registers.
template <Into into, Part part, class V, class M, class N, class K>
STATESPACE_ALWAYS_INLINE void multiply_small(M, N, K k, const View<V>& a, const View<V>& b, V* c,
                                             int64_t stride) {
  constexpr int kRows = M{}, kColumns = N{}, kHeight = kVectorBytes == 64 ? 4 : 2;
#pragma GCC unroll 2
  for (int i = 0; i + kHeight <= kRows; i += kHeight) {
    multiply_tile<into, part, kHeight, kColumns, V>(k, a, i, b, 0, c, stride);
  }
  if constexpr (kRows % kHeight != 0) {
    constexpr int kDone = kRows - kRows % kHeight;
    multiply_tile<into, part, kRows - kDone, kColumns, V>(k, a, kDone, b, 0, c, stride);
  }
}

// Whether all of a square product takes less time than its lower triangle: what is not in lanes
// would go number by number along the diagonal.
template <class V>
constexpr bool whole_is_faster(int n) {
  return kAlone<V> && n <= 32;
}

// C = A B, C += A B or C -= A B, for C[m, n] with rows `stride` apart, A[m, k], B[k, n]. With
// Part::kLower only entries on and below the diagonal are computed (C is square) and the others
// left alone.
//
// In tiles of four by three registers, which stay in place until they are done: each number that is
// loaded serves three or four of them. Every entry is summed in the same order, whatever it shares
// a tile or a register with.
template <Into into = Into::kSet, Part part = Part::kAll, class V, class M, class N, class K>
STATESPACE_ALWAYS_INLINE void multiply(M m, N n, K k, const View<V>& a, const View<V>& b, V* c,
                                       int64_t stride) {
  if constexpr (part == Part::kLowerOrAll) {
    if (whole_is_faster<V>(n)) return multiply<into>(m, n, k, a, b, c, stride);
    return multiply<into, Part::kLower>(m, n, k, a, b, c, stride);
  } else if constexpr (!kAlone<V> && is_small<M> && is_small<N>) {
    return multiply_small<into, part>(m, n, k, a, b, c, stride);
  }
  constexpr bool any_size =
      std::is_same_v<M, int> && std::is_same_v<N, int> && std::is_same_v<K, int>;
  // A thread of a GPU has no room for the copies.
  if constexpr (any_size && std::is_floating_point_v<ScalarOf<V>> && !kIsDevice) {
    if (worth_packing(m, n, k, b)) {
      return multiply_packed<into, part>(m, n, k, a, b, c, stride);
    }
  }
  if constexpr (part != Part::kLowerOrAll) multiply_direct<into, part>(m, n, k, a, b, c, stride);
}

// The same for dense C.
template <Into into = Into::kSet, Part part = Part::kAll, class V, class M, class N, class K>
STATESPACE_ALWAYS_INLINE void multiply(M m, N n, K k, const View<V>& a, const View<V>& b, V* c) {
  multiply<into, part>(m, n, k, a, b, c, n);
}

}  // namespace STATESPACE_ISA
}  // namespace statespace

#endif  // STATESPACE_NATIVE_CORE_MULTIPLY_H_
