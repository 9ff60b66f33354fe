// Substitution with a triangular matrix, and its adjoint.
#ifndef STATESPACE_NATIVE_CORE_TRIANGULAR_H_
#define STATESPACE_NATIVE_CORE_TRIANGULAR_H_

#include <algorithm>
#include <type_traits>
#include <utility>

#include "core/multiply.h"

namespace statespace {
namespace STATESPACE_ISA {

enum class Order { kForward, kBackward };

// What a zero on the diagonal does: divide, or make its row of X zero (a generalised inverse).
enum class ZeroPivot { kDivide, kSkip };

// Reciprocals of the diagonal, to multiply with instead of dividing. `exact` is where 1 / d neither
// over- nor underflows; elsewhere x / d must be computed as such.
template <class V>
struct Reciprocal {
  V diagonal, inverse;
  Mask<V> exact;

  STATESPACE_INLINE V divide(const V& x) const {
    return select<V>(exact, x * inverse, x / diagonal);
  }
};

template <ZeroPivot pivots, class V>
STATESPACE_INLINE Reciprocal<V> reciprocal(const V& d) {
  const V least = splat<V>(Float<ScalarOf<V>>::kSmallestNormal), one = splat<V>(ScalarOf<V>(1));
  const V size = absolute(d);
  const Mask<V> exact = mask_and(size >= least, size <= one / least);
  if (pivots == ZeroPivot::kDivide) return {d, one / d, exact};
  const Mask<V> zero = d == V();
  return {select<V>(zero, one, d), select<V>(zero, V(), one / d), mask_or(exact, zero)};
}

// Rows i ... i + R - 1 of T X = B, T lower triangular, in C registers of each row of X, which lie
// `column` numbers apart: less what the rows before them contribute, then the triangle on the
// diagonal. `diagonal` holds the reciprocals of these rows.
template <int R, int C, class U, class V>
STATESPACE_INLINE void substitute_tile(int i, const View<V>& t, const Reciprocal<V>* diagonal,
                                       bool all_exact, V* x, int64_t row, int64_t column) {
  V* const corner = x + i * row;
  U sums[R][C];
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) sums[r][c] = load_register<U>(corner + r * row + c * column);
  }
  for (int p = 0; p < i; ++p) {
    U y[C];
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) y[c] = load_register<U>(x + p * row + c * column);
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
      const U factor = spread<U>(t(i + r, p));
#pragma GCC unroll 4
      for (int c = 0; c < C; ++c) sums[r][c] = neg_mul_add(factor, y[c], sums[r][c]);
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int p = 0; p < r; ++p) {
      const U factor = spread<U>(t(i + r, i + p));
#pragma GCC unroll 4
      for (int c = 0; c < C; ++c) sums[r][c] = neg_mul_add(factor, sums[p][c], sums[r][c]);
    }
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) {
      if (all_exact) {
        sums[r][c] = sums[r][c] * spread<U>(diagonal[r].inverse);
      } else if constexpr (sizeof(U) == sizeof(V)) {
        sums[r][c] = diagonal[r].divide(sums[r][c]);
      } else {
        sums[r][c] = diagonal[r].exact ? sums[r][c] * spread<U>(diagonal[r].inverse)
                                       : sums[r][c] / spread<U>(diagonal[r].diagonal);
      }
      store_register(sums[r][c], corner + r * row + c * column);
    }
  }
}

// All rows of a column of registers, four at a time.
template <int C, class U, class V, class N>
STATESPACE_BUILDING_BLOCK void substitute_columns(N n, const View<V>& t,
                                                  const Reciprocal<V>* diagonal, bool all_exact,
                                                  V* x, int64_t row, int64_t column) {
  int i = 0;
  for (; i + 4 <= n; i += 4) {
    substitute_tile<4, C, U>(i, t, diagonal + i, all_exact, x, row, column);
  }
  switch (n - i) {
    case 3:
      return substitute_tile<3, C, U>(i, t, diagonal + i, all_exact, x, row, column);
    case 2:
      return substitute_tile<2, C, U>(i, t, diagonal + i, all_exact, x, row, column);
    case 1:
      return substitute_tile<1, C, U>(i, t, diagonal + i, all_exact, x, row, column);
  }
}

// C += A B or C -= A B for C[m, k], which lies in memory as B[n, k] does: by rows, or by columns.
template <Into into, class V>
STATESPACE_INLINE void add_product(int m, int k, int n, const View<V>& a, const View<V>& b, V* c) {
  if (b.column == 1) {
    multiply<into>(m, k, n, a, b, c, b.row);
  } else {
    const View<V> a_t = {a.data, a.column, a.row}, b_t = {b.data, b.column, b.row};
    multiply<into>(k, m, n, b_t, a_t, c, b.column);
  }
}

template <ZeroPivot pivots, class V>
STATESPACE_HOST_DEVICE __attribute__((noinline)) void substitute_parts(int n, int k, View<V> t,
                                                                       Order order, V* x,
                                                                       int64_t row, int64_t column);

// The rows of one diagonal block: at most kLargestBlock.
template <class V>
constexpr int kLargestBlock = kAlone<V> ? 32 : 16;

template <ZeroPivot pivots, class V, class N, class K>
STATESPACE_BUILDING_BLOCK void substitute_block(N n, K k, View<V> t, Order order, V* x, int64_t row,
                                                int64_t column) {
  if (n == 0) return;
  if (order == Order::kBackward) {  // the same from the other end
    t = {&t(n - 1, n - 1), -t.row, -t.column};
    x += (n - 1) * row;
    row = -row;
  }
  Reciprocal<V> diagonal[kLargestBlock<V>];
  bool all_exact = true;
  for (int i = 0; i < n; ++i) {
    diagonal[i] = reciprocal<pivots>(t(i, i));
    all_exact = all_exact && all_lanes(diagonal[i].exact);
  }
  int j = 0;
  if constexpr (kAlone<V>) {
    using U = Vector<V>;
    constexpr int kWidth = kLanes<U>;
    V block[kLargestBlock<V> * kTileColumns * kWidth];
    for (int width; j + kWidth <= k; j += width) {
      V* corner = x + j * column;
      int64_t stride = row;
      width = j + kTileColumns * kWidth <= k ? kTileColumns * kWidth
              : j + 2 * kWidth <= k          ? 2 * kWidth
                                             : kWidth;
      if (column != 1) {  // transposed, so that neighbours in a row are neighbours
        for (int c = 0; c < width; ++c) {
          for (int i = 0; i < n; ++i) block[i * width + c] = corner[i * row + c * column];
        }
        corner = block;
        stride = width;
      }
      if (width == kTileColumns * kWidth) {
        substitute_columns<kTileColumns, U>(n, t, diagonal, all_exact, corner, stride, kWidth);
      } else if (width == 2 * kWidth) {
        substitute_columns<2, U>(n, t, diagonal, all_exact, corner, stride, kWidth);
      } else {
        substitute_columns<1, U>(n, t, diagonal, all_exact, corner, stride, kWidth);
      }
      if (column != 1) {
        corner = x + j * column;
        for (int c = 0; c < width; ++c) {
          for (int i = 0; i < n; ++i) corner[i * row + c * column] = block[i * width + c];
        }
      }
    }
  }
  constexpr int kColumns = kTileColumns;
  for (; j + kColumns <= k; j += kColumns) {
    substitute_columns<kColumns, V>(n, t, diagonal, all_exact, x + j * column, row, column);
  }
  for (; j < k; ++j) {
    substitute_columns<1, V>(n, t, diagonal, all_exact, x + j * column, row, column);
  }
}

// X = T^-1 X for triangular T[n, n], lower with Order::kForward, upper with kBackward. Entry (i, j)
// of X[n, k] is x[i * row + j * column]; one of the two strides is 1.
//
// One half of T after the other; what couples them is a product.
template <ZeroPivot pivots = ZeroPivot::kDivide, class V, class N, class K>
STATESPACE_INLINE void substitute(N n, K k, const View<V>& t, Order order, V* x, int64_t row,
                                  int64_t column) {
  if constexpr (std::is_same_v<N, int>) {
    if (n > kLargestBlock<V>) {
      return substitute_parts<pivots>(n, static_cast<int>(k), t, order, x, row, column);
    }
  }
  substitute_block<pivots>(n, k, t, order, x, row, column);
}

// Rows of a triangle that are solved before the others: whole blocks. A GPU's threads have no stack
// to call themselves on: there it is a single one.
template <class V>
STATESPACE_INLINE int rows_solved_first(int n) {
  constexpr int kBlock = kLargestBlock<V>;
  return kIsDevice ? kBlock : (n / 2 + kBlock - 1) / kBlock * kBlock;
}

template <ZeroPivot pivots, class V>
STATESPACE_HOST_DEVICE void substitute_parts(int n, int k, View<V> t, Order order, V* x,
                                             int64_t row, int64_t column) {
  const auto solve_first = [&](int size, const View<V>& part, V* at) {
    if constexpr (kIsDevice) {
      substitute_block<pivots>(size, k, part, order, at, row, column);
    } else {
      substitute<pivots>(size, k, part, order, at, row, column);
    }
  };
  while (n > kLargestBlock<V>) {
    const int first = rows_solved_first<V>(n), rest = n - first;
    if (order == Order::kForward) {  // what is solved first comes first in memory
      solve_first(first, t, x);
      const View<V> t21 = {&t(first, 0), t.row, t.column};
      add_product<Into::kSubtract>(rest, k, first, t21, View<V>{x, row, column}, x + first * row);
      t.data = &t(first, first);
      x += first * row;
    } else {
      V* const x2 = x + rest * row;
      solve_first(first, {&t(rest, rest), t.row, t.column}, x2);
      const View<V> t12 = {&t(0, rest), t.row, t.column};
      add_product<Into::kSubtract>(rest, k, first, t12, View<V>{x2, row, column}, x);
    }
    n = rest;
  }
  substitute_block<pivots>(n, k, t, order, x, row, column);
}

// X = T^-1 X for upper triangular T and X[n, n]: of each panel of columns, only the rows that are
// not below the diagonal take part.
template <class V, class N>
STATESPACE_INLINE void substitute_upper(N n, const View<V>& t, V* x) {
  const int panel = kAlone<V> ? std::max(32, n / 256 * 32) : 8;
  for (int j = 0; j < n; j += panel) {
    const int rows = std::min<int>(n, j + panel);
    substitute(rows, rows - j, t, Order::kBackward, x + j, n, 1);
  }
}

// How op(L) X = B, or X op(L) = B, is solved: as T X = B on X or on its transpose.
struct TriangularSides {
  bool lower;    // L is lower triangular
  bool adjoint;  // op(L) = L'
  bool right;    // L stands on the right; then the system is op(L)' X' = B'

  STATESPACE_INLINE bool transposed() const { return adjoint != right; }
  STATESPACE_INLINE Order order() const {
    return lower != transposed() ? Order::kForward : Order::kBackward;
  }
};

// The layout of the right sides as the columns of T X = B.
struct Strides {
  int64_t row, column;
};
template <class N>
STATESPACE_INLINE Strides strides(TriangularSides sides, N n, int k) {
  return sides.right ? Strides{1, static_cast<int>(n)} : Strides{k, 1};
}

// The lanes in which a triangular l[n, n] has a zero on its diagonal, or a number that is not
// finite.
template <class V, class N>
STATESPACE_INLINE Mask<V> singular(N n, const V* l, bool lower) {
  Mask<V> found = V() != V();
  for (int i = 0; i < n; ++i) {
    const V* const row = l + static_cast<int64_t>(i) * n;
    found = mask_or(found, mask_or(row[i] == V(),
                                   any_not_finite(lower ? i + 1 : n - i, lower ? row : row + i)));
  }
  return found;
}

// x = b solved, for l[n, n] and b, x[n, k], or [k, n] on the right side. NaN throughout in the
// lanes where l is singular. x may be b.
template <class V, class N>
STATESPACE_INLINE void triangular_solve(N n, int k, TriangularSides sides, const V* l, const V* b,
                                        V* x) {
  const int64_t count = static_cast<int64_t>(n) * k;
  if (x != b) std::copy(b, b + count, x);
  const View<V> t = sides.transposed() ? transposed(l, n) : rows(l, n);
  const Strides layout = strides(sides, n, k);
  substitute(n, k, t, sides.order(), x, layout.row, layout.column);
  spoil_lanes(count, singular(n, l, sides.lower), x);
}

// The triangle of A B' for A[n, k] and B[n, k] with common strides; what is outside becomes zero.
template <Into into, class V, class N>
STATESPACE_INLINE void triangle_of_product(N n, int k, bool lower, const V* a, const V* b,
                                           Strides layout, V* c) {
  if (!lower) std::swap(a, b);  // the lower triangle of the transpose
  set_zero(n * n, c);
  const View<V> x = {a, layout.row, layout.column}, y = {b, layout.column, layout.row};
  multiply<into, Part::kLower>(n, n, k, x, y, c);
  if (lower) return;
  for (int i = 0; i < n; ++i) {
    for (int j = 0; j < i; ++j) std::swap(c[i * n + j], c[j * n + i]);
  }
}

// Cotangents of L and B from that of X (derivation beside `adjoint_reference` in
// linalg_ops/triangular.py): b_bar = op(L)^-T x_bar, and l_bar = -b_bar x', or its transpose,
// within the triangle of L. b_bar may be x_bar, and l_bar may be l.
template <class V, class N>
STATESPACE_INLINE void triangular_solve_adjoint(N n, int k, TriangularSides sides, const V* l,
                                                const V* x, const V* x_bar, V* l_bar, V* b_bar) {
  const Mask<V> unused = all_zero(static_cast<int64_t>(n) * k, x_bar);
  triangular_solve(n, k, {sides.lower, !sides.adjoint, sides.right}, l, x_bar, b_bar);
  // Seen as T Y = C, with Y and C the possibly transposed X and B, T_bar = -C_bar Y'.
  const V* const left = sides.transposed() ? x : b_bar;
  const V* const right = sides.transposed() ? b_bar : x;
  triangle_of_product<Into::kSubtract>(n, k, sides.lower, left, right, strides(sides, n, k), l_bar);
  zero_lanes(static_cast<int64_t>(n) * n, unused, l_bar);
  zero_lanes(static_cast<int64_t>(n) * k, unused, b_bar);
}

// X = T X for triangular T[n, n], lower with Order::kForward, upper with kBackward; the layout of X
// is as for `substitute`, and b holds X before.
template <class V, class N>
STATESPACE_INLINE void multiply_triangle(N n, int k, const View<V>& t, Order order, const V* b,
                                         V* x, Strides layout) {
  const bool forward = order == Order::kForward;
  set_zero(static_cast<int64_t>(n) * k, x);
  constexpr int kStep = 8;
  for (int i = 0; i < n; i += kStep) {
    const int rows = std::min<int>(kStep, n - i);
    V* const x_i = x + i * layout.row;
    for (int r = i; r < i + rows; ++r) {
      for (int p = forward ? i : r; p <= (forward ? r : i + rows - 1); ++p) {
        for (int j = 0; j < k; ++j) {
          V& sum = x[r * layout.row + j * layout.column];
          sum = mul_add(t(r, p), b[p * layout.row + j * layout.column], sum);
        }
      }
    }
    // The whole blocks beside the diagonal one.
    const int first = forward ? 0 : i + rows, count = forward ? i : static_cast<int>(n) - i - rows;
    if (count == 0) continue;
    const View<V> t_i = {&t(i, first), t.row, t.column};
    add_product<Into::kAdd>(rows, k, count, t_i,
                            View<V>{b + first * layout.row, layout.row, layout.column}, x_i);
  }
}

// x = op(L) B, or B op(L) on the right side, for l[n, n] and b, x[n, k] ([k, n] on the right).
template <class V, class N>
STATESPACE_INLINE void triangular_multiply(N n, int k, TriangularSides sides, const V* l,
                                           const V* b, V* x) {
  const View<V> t = sides.transposed() ? transposed(l, n) : rows(l, n);
  multiply_triangle(n, k, t, sides.order(), b, x, strides(sides, n, k));
}

// Cotangents of L and B from that of X (derivation beside `multiply_adjoint_reference` in
// linalg_ops/triangular.py): b_bar = op(L)' x_bar, and l_bar = x_bar b', or its transpose, within
// the triangle of L.
template <class V, class N>
STATESPACE_INLINE void triangular_multiply_adjoint(N n, int k, TriangularSides sides, const V* l,
                                                   const V* b, const V* x_bar, V* l_bar, V* b_bar) {
  triangular_multiply(n, k, {sides.lower, !sides.adjoint, sides.right}, l, x_bar, b_bar);
  const Mask<V> unused = all_zero(static_cast<int64_t>(n) * k, x_bar);
  const V* const left = sides.transposed() ? b : x_bar;
  const V* const right = sides.transposed() ? x_bar : b;
  triangle_of_product<Into::kAdd>(n, k, sides.lower, left, right, strides(sides, n, k), l_bar);
  zero_lanes(static_cast<int64_t>(n) * n, unused, l_bar);
  zero_lanes(static_cast<int64_t>(n) * k, unused, b_bar);
}

}  // namespace STATESPACE_ISA
}  // namespace statespace

#endif  // STATESPACE_NATIVE_CORE_TRIANGULAR_H_
