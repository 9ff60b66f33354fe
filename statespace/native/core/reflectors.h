// Householder reflectors that act on rows, singly and in panels.
//
// H = I - v v' with v'v = 2, or v = 0. Rows of V[b, count], v_i zero before place i, stand for the
// product H_0 H_1 ... H_{b-1} = I - V' T V with a unit upper triangular T (Schreiber & Van Loan, A
// Storage-Efficient WY Representation for Products of Householder Transformations, SIAM J. Sci.
// Stat. Comput. 10, 1989).
#ifndef STATESPACE_NATIVE_CORE_REFLECTORS_H_
#define STATESPACE_NATIVE_CORE_REFLECTORS_H_

#include <algorithm>

#include "core/multiply.h"

namespace statespace {
namespace STATESPACE_ISA {

// Reflectors that are gathered in a panel: whole tiles of `multiply` for either number type.
template <class V>
constexpr int kPanel = kAlone<V> ? 24 : 16;

// Several panels of a matrix that no cache holds make a block: what lies below is read and written
// once for all of them.
constexpr int kLargestBlockOfPanels = 72;
template <class V>
STATESPACE_INLINE int block_size(int k) {
  return kAlone<V> && k > 384 ? kLargestBlockOfPanels : kPanel<V>;
}

// What is read from a row at once: neighbouring numbers, or, in lanes, one of each matrix.
template <class V>
using Register = std::conditional_t<kAlone<V>, Vector<ScalarOf<V>>, V>;

template <class V>
STATESPACE_INLINE V add_up(const Register<V>& u) {
  if constexpr (sizeof(Register<V>) == sizeof(V)) {
    return u;
  } else {
    V sum = u[0];
    for (int i = 1; i < kLanes<Register<V>>; ++i) sum += u[i];
    return sum;
  }
}

template <class V>
STATESPACE_INLINE V sum_of_squares(int count, const V* x) {
  using U = Register<V>;
  constexpr int kStep = sizeof(U) / sizeof(V);
  U sums[4] = {};
  int j = 0;
  for (; j + 4 * kStep <= count; j += 4 * kStep) {
#pragma GCC unroll 4
    for (int c = 0; c < 4; ++c) {
      const U y = load_register<U>(x + j + c * kStep);
      sums[c] = mul_add(y, y, sums[c]);
    }
  }
  V total = add_up<V>((sums[0] + sums[1]) + (sums[2] + sums[3]));
  for (; j < count; ++j) total = mul_add(x[j], x[j], total);
  return total;
}

// The power of two below x, kept where both it and its inverse are normal numbers.
template <class V>
STATESPACE_INLINE V power_of_two_scale(const V& x) {
  using T = ScalarOf<V>;
  using F = Float<T>;
  const BitsOf<V> exponent = to_bits(x) & (BitsOf<V>{} + (F::kExponentMask << F::kMantissaBits));
  const V scale = from_bits<V>(exponent);
  const V least = splat<V>(F::kSmallestNormal * 2), most = splat<V>(T(1) / F::kSmallestNormal);
  return select<V>(scale < least, least, select<V>(scale > most, most, scale));
}

// Sums of squares between these need no scaling; a tail that is smaller than its row by the square
// root of `negligible` counts as zero, so that nothing below underflows.
template <class T>
struct SquareRange;
template <>
struct SquareRange<float> {
  static constexpr float kLeast = 0x1p-40f, kMost = 0x1p100f, kNegligible = 0x1p-70f;
};
template <>
struct SquareRange<double> {
  static constexpr double kLeast = 0x1p-500, kMost = 0x1p900, kNegligible = 0x1p-480;
};

// Overwrites the row x[count] with v of the reflector that maps it to (beta, 0, ..., 0), and
// returns beta >= 0. For x[0] > 0, v[0] = x[0] - beta is computed without cancellation (Golub & Van
// Loan, Matrix Computations, 4th ed., algorithm 5.1.1). Rows whose squares leave the range of the
// number type are scaled by a power of two first.
template <class V>
STATESPACE_BUILDING_BLOCK V make_reflector(int count, V* x) {
  using Range = SquareRange<ScalarOf<V>>;
  const V one = splat<V>(ScalarOf<V>(1));
  V scale = one;
  V tail = sum_of_squares(count - 1, x + 1);
  V squares = mul_add(x[0], x[0], tail);
  const Mask<V> in_range =
      mask_and(squares >= splat<V>(Range::kLeast), squares <= splat<V>(Range::kMost));
  if (!all_lanes(in_range)) {
    V largest = V();
    for (int j = 0; j < count; ++j) largest = maximum(largest, absolute(x[j]));
    scale = select<V>(in_range, one, power_of_two_scale(largest));
    const V inverse = one / scale;
    for (int j = 0; j < count; ++j) x[j] = x[j] * inverse;
    tail = sum_of_squares(count - 1, x + 1);
    squares = mul_add(x[0], x[0], tail);
  }
  const V norm = square_root(squares);
  const V shift = select<V>(x[0] > V(), -tail / (x[0] + norm), x[0] - norm);
  const Mask<V> trivial = mask_and(x[0] >= V(), tail <= squares * splat<V>(Range::kNegligible));
  const V factor = select<V>(trivial, V(), one / square_root(norm * -shift));
  x[0] = shift * factor;
  for (int j = 1; j < count; ++j) x[j] = x[j] * factor;
  return norm * scale;
}

// R rows, `stride` apart, times H.
template <int R, class V>
STATESPACE_INLINE void apply_reflector_to(int count, const V* v, V* x, int64_t stride) {
  using U = Register<V>;
  constexpr int kStep = sizeof(U) / sizeof(V);
  U sums[R] = {};
  int j = 0;
  for (; j + kStep <= count; j += kStep) {
    const U y = load_register<U>(v + j);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      sums[r] = mul_add(load_register<U>(x + r * stride + j), y, sums[r]);
    }
  }
  V totals[R];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
    totals[r] = add_up<V>(sums[r]);
    for (int rest = j; rest < count; ++rest) {
      totals[r] = mul_add(x[r * stride + rest], v[rest], totals[r]);
    }
    sums[r] = spread<U>(-totals[r]);
  }
  j = 0;
  for (; j + kStep <= count; j += kStep) {
    const U y = load_register<U>(v + j);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      V* const place = x + r * stride + j;
      store_register(mul_add(sums[r], y, load_register<U>(place)), place);
    }
  }
  for (; j < count; ++j) {
    for (int r = 0; r < R; ++r) {
      x[r * stride + j] = neg_mul_add(totals[r], v[j], x[r * stride + j]);
    }
  }
}

template <class V>
STATESPACE_BUILDING_BLOCK void apply_reflector(int num_rows, int count, const V* v, V* x,
                                               int64_t stride) {
  int r = 0;
  for (; r + 4 <= num_rows; r += 4) apply_reflector_to<4>(count, v, x + r * stride, stride);
  if (r + 2 <= num_rows) {
    apply_reflector_to<2>(count, v, x + r * stride, stride);
    r += 2;
  }
  if (r < num_rows) apply_reflector_to<1>(count, v, x + r * stride, stride);
}

// Reduces the panel x[b, count], b <= count, rows `stride` apart, to lower triangular form: the
// triangle goes to the columns `column` ... of the rows of l (`l_stride` apart), with a
// non-negative diagonal, and what was before them in x's rows, `column` numbers, likewise. x keeps
// V.
template <class B, class V>
STATESPACE_INLINE void factor_panel(B b, int count, int column, V* x, int64_t stride, V* l,
                                    int64_t l_stride) {
  for (int i = 0; i < b; ++i) {
    V* const row = x + i * stride;
    l[i * l_stride + column + i] = make_reflector(count - i, row + i);
    for (int j = -column; j < i; ++j) {
      l[i * l_stride + column + j] = row[j];
      row[j] = V();
    }
    apply_reflector(b - 1 - i, count - i, row + i, row + stride + i, stride);
  }
}

// Overwrites V[b, count] with the first b rows of H_{b-1} ... H_0.
template <class B, class V>
STATESPACE_INLINE void expand_panel(B b, int count, V* v, int64_t stride) {
  for (int i = b - 1; i >= 0; --i) {
    V* const row = v + i * stride + i;
    apply_reflector(b - 1 - i, count - i, row, row + stride, stride);
    const V head = -row[0];
    for (int j = 0; j < count - i; ++j) row[j] = head * row[j];
    row[0] = row[0] + splat<V>(ScalarOf<V>(1));
  }
}

// T[b, b] of the panel.
template <class V>
STATESPACE_BUILDING_BLOCK void panel_triangle(int b, int count, const V* v, int64_t stride, V* t) {
  // Below the diagonal first the products of the v: column j of T is -T (v_i' v_j)_{i < j}.
  multiply<Into::kSet, Part::kLower>(b, b, count, View<V>{v, stride, 1}, View<V>{v, 1, stride}, t);
  for (int j = 0; j < b; ++j) {
    for (int i = 0; i < j; ++i) {
      V sum = V();
      for (int p = i; p < j; ++p) sum = neg_mul_add(t[i * b + p], t[j * b + p], sum);
      t[i * b + j] = sum;
    }
    t[j * b + j] = splat<V>(ScalarOf<V>(1));
  }
  for (int j = 0; j < b; ++j) {
    for (int i = 0; i < j; ++i) t[j * b + i] = V();
  }
}

enum class Sequence { kFirstToLast, kLastToFirst };

// product[num_rows, b] = X V'. For one matrix, V is turned a few columns at a time, so that both X
// and what it meets are read along their rows, and X, which may be large, need not be copied.
template <class V>
STATESPACE_INLINE void multiply_by_rows(int num_rows, int b, int count, const V* x, int64_t stride,
                                        const V* v, int64_t v_stride, V* product) {
  if constexpr (!kAlone<V>) {
    multiply(num_rows, b, count, View<V>{x, stride, 1}, View<V>{v, 1, v_stride}, product);
  } else {
    constexpr int kDepth = 96;
    alignas(64) V turned[kDepth * kLargestBlockOfPanels];
    set_zero(static_cast<int64_t>(num_rows) * b, product);
    for (int first = 0; first < count; first += kDepth) {
      const int depth = std::min(kDepth, count - first);
      for (int i = 0; i < b; ++i) {
        for (int j = 0; j < depth; ++j) turned[j * b + i] = v[i * v_stride + first + j];
      }
      multiply_direct<Into::kAdd, Part::kAll>(num_rows, b, depth, View<V>{x + first, stride, 1},
                                              rows<V>(turned, b), product, b);
    }
  }
}

// x[num_rows, count] = X H_0 ... H_{b-1} = X - (X V') T V, or, from the last to the first, with T'.
// Rows of T lie `t_stride` apart. `work` holds 2 * num_rows * b numbers.
template <class V>
STATESPACE_INLINE void apply_panel(int num_rows, int b, int count, const V* v, int64_t v_stride,
                                   const V* t, int64_t t_stride, Sequence sequence, V* x,
                                   int64_t stride, V* work) {
  V* const product = work;
  V* const coefficients = work + static_cast<int64_t>(num_rows) * b;
  multiply_by_rows(num_rows, b, count, x, stride, v, v_stride, product);
  multiply(num_rows, b, b, rows<V>(product, b),
           sequence == Sequence::kFirstToLast ? rows<V>(t, t_stride) : transposed<V>(t, t_stride),
           coefficients);
  multiply<Into::kSubtract>(num_rows, count, b, rows<V>(coefficients, b), View<V>{v, v_stride, 1},
                            x, stride);
}

// factor_panel for a block of panels; t[b, b] is its T. `work` holds 2 * b * kPanel numbers.
template <class V>
STATESPACE_INLINE void factor_block(int b, int count, int column, V* x, int64_t stride, V* l,
                                    int64_t l_stride, V* t, V* work) {
  for (int i = 0; i < b; i += kPanel<V>) {
    const int width = std::min(int{kPanel<V>}, b - i), below = b - i - width;
    V* const panel = x + i * stride + i;
    factor_panel(width, count - i, column + i, panel, stride, l + i * l_stride, l_stride);
    if (below == 0) break;
    panel_triangle(width, count - i, panel, stride, t);
    apply_panel(below, width, count - i, panel, stride, t, width, Sequence::kFirstToLast,
                panel + width * stride, stride, work);
  }
  panel_triangle(b, count, x, stride, t);
}

// expand_panel for a block, with its T.
template <class V>
STATESPACE_INLINE void expand_block(int b, int count, V* v, int64_t stride, const V* t, V* work) {
  for (int i = (b - 1) / kPanel<V> * kPanel<V>; i >= 0; i -= kPanel<V>) {
    const int width = std::min(int{kPanel<V>}, b - i), below = b - i - width;
    V* const panel = v + i * stride + i;
    // A panel's own T is a block on the diagonal.
    apply_panel(below, width, count - i, panel, stride, t + i * b + i, b, Sequence::kLastToFirst,
                panel + width * stride, stride, work);
    expand_panel(width, count - i, panel, stride);
  }
}

}  // namespace STATESPACE_ISA
}  // namespace statespace

#endif  // STATESPACE_NATIVE_CORE_REFLECTORS_H_
