// LU factorisation with pivoting, and what is read off it: inverses and determinants of general
// square matrices, and their adjoints.
#ifndef STATESPACE_NATIVE_CORE_LU_H_
#define STATESPACE_NATIVE_CORE_LU_H_

#include <algorithm>
#include <limits>
#include <type_traits>
#include <utility>

#include "core/sums.h"
#include "core/triangular.h"

namespace statespace {
namespace STATESPACE_ISA {

// What factorising a matrix beside others asks of it: entries far enough from overflow that sums of
// two are finite, and no NaN.
template <class V>
struct Prepared {
  Mask<V> finite;  // lanes without NaN and infinity; in others the identity is factorised
  V scale;         // what the entries were multiplied with: one, or a small power of two
};

template <class V, class N>
STATESPACE_INLINE Prepared<V> prepare(N n, const V* a, V* lu) {
  using T = ScalarOf<V>;
  const int64_t count = static_cast<int64_t>(n) * n;
  V largest = V(), check = V();
  for (int64_t i = 0; i < count; ++i) {
    largest = maximum(largest, absolute(a[i]));
    check += a[i] - a[i];
  }
  const V shrink = splat<V>(T(1) / (1 << 20)), one = splat<V>(T(1));
  const Mask<V> finite = check == V();
  const V scale = select<V>(largest > splat<V>(std::numeric_limits<T>::max() * get_lane(shrink, 0)),
                            shrink, one);
  for (int64_t i = 0; i < count; ++i) lu[i] = select<V>(finite, a[i] * scale, V());
  for (int i = 0; i < n; ++i) lu[i * n + i] = select<V>(finite, lu[i * n + i], one);
  return {finite, scale};
}

// Swaps entry i of x with entry p, another one in each lane; entry c lies at x[c * step].
template <class V>
STATESPACE_BUILDING_BLOCK void exchange(int i, const V& p, int64_t count, V* x, int64_t step,
                                        int64_t next) {
  for (int lane = 0; lane < kLanes<V>; ++lane) {
    const int other = static_cast<int>(get_lane(p, lane));
    if (other == i) continue;
    V *a = x + i * step, *b = x + other * step;
    for (int64_t c = 0; c < count; ++c, a += next, b += next) {
      const ScalarOf<V> kept = get_lane(*a, lane);
      set_lane(*a, lane, get_lane(*b, lane));
      set_lane(*b, lane, kept);
    }
  }
}

// Swaps row i of x[n, n] with row p > i. A few rows are blended in registers, more are swapped
// number by number.
template <class V, class N>
STATESPACE_INLINE void exchange_rows(N n, int i, const V& p, V* x) {
  if constexpr (!kAlone<V> && !std::is_same_v<N, int>) {
    for (int row = i + 1; row < n; ++row) {
      const Mask<V> chosen = p == splat<V>(ScalarOf<V>(row));
      for (int c = 0; c < n; ++c) {
        const V upper = x[i * n + c], lower = x[row * n + c];
        x[i * n + c] = select<V>(chosen, lower, upper);
        x[row * n + c] = select<V>(chosen, upper, lower);
      }
    }
  } else {
    exchange(i, p, n, x, n, 1);
  }
}

// 1 / d for dividing numbers no larger than d by it. A zero, which then only divides zeros, counts
// as one.
template <class V>
class Divisor {
 public:
  STATESPACE_INLINE explicit Divisor(const V& d) {
    using T = ScalarOf<V>;
    const V one = splat<V>(T(1)), least = splat<V>(Float<T>::kSmallestNormal);
    divisor_ = select<V>(d == V(), one, d);
    const V size = absolute(divisor_);
    exact_ = mask_and(size >= least, size <= one / least);
    inverse_ = one / divisor_;
  }
  // The reciprocal of a number near the ends of the range is not one to multiply with.
  STATESPACE_INLINE V divide(const V& x) const {
    return select<V>(exact_, x * inverse_, x / divisor_);
  }

 private:
  V divisor_, inverse_;
  Mask<V> exact_;
};

// Factorises columns first ... last - 1 of x[n, n] below row `first`, in place, exchanging whole
// rows: the entry of largest size is the pivot.
template <class V, class N, class B, class E>
STATESPACE_BUILDING_BLOCK void factorise_columns(N n, B first, E last, V* x, V* pivots) {
  for (int j = first; j < last; ++j) {
    V largest = absolute(x[j * n + j]), p = splat<V>(ScalarOf<V>(j));
    for (int i = j + 1; i < n; ++i) {
      const V size = absolute(x[i * n + j]);
      p = select<V>(size > largest, splat<V>(ScalarOf<V>(i)), p);
      largest = maximum(largest, size);
    }
    pivots[j] = p;
    exchange_rows(n, j, p, x);
    const Divisor<V> pivot(x[j * n + j]);
    const V* const row_j = x + j * n;
    for (int i = j + 1; i < n; ++i) {
      V* const row_i = x + i * n;
      const V factor = pivot.divide(row_i[j]);
      row_i[j] = factor;
      for (int c = j + 1; c < last; ++c) row_i[c] = neg_mul_add(factor, row_j[c], row_i[c]);
    }
  }
}

// Columns of LU factorised at a time, before the rest of the matrix hears of them.
template <class V>
constexpr int kLuColumns = kAlone<V> ? 32 : 8;

// PA = LU in place: U in the upper triangle of x[n, n], L, with ones on its diagonal, below. Step j
// exchanged rows j and pivots[j].
template <class V, class N>
STATESPACE_BUILDING_BLOCK void factorise(N n, V* x, V* pivots) {
  if constexpr (!std::is_same_v<N, int>) {
    factorise_columns(n, Fixed<0>(), n, x, pivots);
  } else {
    V corner[kLuColumns<V> * kLuColumns<V>];
    for (int first = 0; first < n; first += kLuColumns<V>) {
      const int last = std::min(n, first + kLuColumns<V>), width = last - first, left = n - last;
      factorise_columns(n, first, last, x, pivots);
      if (left == 0) break;
      for (int i = 0; i < width; ++i) {
        for (int j = 0; j < i; ++j) corner[i * width + j] = x[(first + i) * n + first + j];
        corner[i * width + i] = splat<V>(ScalarOf<V>(1));
      }
      V* const right = x + first * n + last;
      substitute(width, left, rows<V>(corner, width), Order::kForward, right, n, 1);
      const View<V> below = {x + last * n + first, n, 1};
      multiply<Into::kSubtract>(left, left, width, below, View<V>{right, n, 1}, x + last * n + last,
                                n);
    }
  }
}

// The same with the largest entry of all that is left as pivot: P A Q = L U. Step j exchanged rows
// j and row_pivots[j], then columns j and column_pivots[j]. From the first pivot that is zero on, U
// is zero.
template <class V, class N>
STATESPACE_BUILDING_BLOCK void factorise_completely(N n, V* x, V* row_pivots, V* column_pivots) {
  for (int j = 0; j < n; ++j) {
    V largest = V(), p = splat<V>(ScalarOf<V>(j)), q = p;
    for (int i = j; i < n; ++i) {
      V size = V(), column = V();
      for (int c = j; c < n; ++c) {
        const V entry = absolute(x[i * n + c]);
        column = select<V>(entry > size, splat<V>(ScalarOf<V>(c)), column);
        size = maximum(size, entry);
      }
      const Mask<V> larger = size > largest;
      p = select<V>(larger, splat<V>(ScalarOf<V>(i)), p);
      q = select<V>(larger, column, q);
      largest = maximum(largest, size);
    }
    row_pivots[j] = p;
    column_pivots[j] = q;
    exchange_rows(n, j, p, x);
    exchange(j, q, n, x, 1, n);
    const Divisor<V> pivot(x[j * n + j]);
    const V* const row_j = x + j * n;
    for (int i = j + 1; i < n; ++i) {
      V* const row_i = x + i * n;
      const V factor = pivot.divide(row_i[j]);
      row_i[j] = factor;
      for (int c = j + 1; c < n; ++c) row_i[c] = neg_mul_add(factor, row_j[c], row_i[c]);
    }
  }
}

// order[i] is where step after step of exchanges has taken row i from.
template <class V, class N>
STATESPACE_INLINE void follow_exchanges(N n, const V* pivots, V* order) {
  for (int i = 0; i < n; ++i) order[i] = splat<V>(ScalarOf<V>(i));
  for (int i = 0; i < n; ++i) exchange(i, pivots[i], 1, order, 1, 1);
}

// x = L^-1 P for the factors in lu. The diagonal of U is out of the way meanwhile. work[2n].
template <class V, class N>
STATESPACE_BUILDING_BLOCK void invert_lower(N n, const V* pivots, V* lu, V* x, V* work) {
  const V one = splat<V>(ScalarOf<V>(1));
  V *const order = work, *const diagonal = work + n;
  follow_exchanges(n, pivots, order);
  for (int i = 0; i < n; ++i) {
    for (int j = 0; j < n; ++j) {
      x[i * n + j] = select<V>(order[i] == splat<V>(ScalarOf<V>(j)), one, V());
    }
    diagonal[i] = lu[i * n + i];
    lu[i * n + i] = one;
  }
  substitute(n, n, rows(lu, n), Order::kForward, x, n, 1);
  for (int i = 0; i < n; ++i) lu[i * n + i] = diagonal[i];
}

// +1 or -1: the determinant of the exchanges.
template <class V, class N>
STATESPACE_INLINE V parity(N n, const V* pivots) {
  V sign = splat<V>(ScalarOf<V>(1));
  for (int i = 0; i < n; ++i) {
    sign = select<V>(pivots[i] == splat<V>(ScalarOf<V>(i)), sign, -sign);
  }
  return sign;
}

// The (1-based) index of the first pivot that is exactly zero, or zero if there is none.
template <class V, class N>
STATESPACE_INLINE V first_zero(N n, const V* lu) {
  V info = V();
  for (int i = n - 1; i >= 0; --i) {
    info = select<V>(lu[i * n + i] == V(), splat<V>(ScalarOf<V>(i + 1)), info);
  }
  return info;
}

// x = A^-1 for a[n, n]. Returns the status per lane as a number: 0, or the (1-based) pivot that
// vanished, n + 1 where A is not finite; there x is NaN throughout. x may not be a; work[n * n +
// 3n].
template <class V, class N>
STATESPACE_INLINE V inverse(N n, const V* a, V* x, V* work) {
  using T = ScalarOf<V>;
  V *const lu = work, *const pivots = work + n * n;
  const Prepared<V> prepared = prepare(n, a, lu);
  factorise(n, lu, pivots);
  V info = first_zero(n, lu);
  invert_lower(n, pivots, lu, x, pivots + n);
  substitute(n, n, rows(lu, n), Order::kBackward, x, n, 1);
  info = select<V>(prepared.finite, info, splat<V>(T(n + 1)));
  const V nan = splat<V>(std::numeric_limits<T>::quiet_NaN());
  for (int64_t i = 0; i < static_cast<int64_t>(n) * n; ++i) {
    x[i] = select<V>(info == V(), x[i] * prepared.scale, nan);
  }
  return info;
}

// a_bar = -X' x_bar X', with X = A^-1. A lane with x_bar = 0 gets zero, whatever X. work[n * n].
template <class V, class N>
STATESPACE_INLINE void inverse_adjoint(N n, const V* x, const V* x_bar, V* a_bar, V* work) {
  const int64_t count = static_cast<int64_t>(n) * n;
  multiply(n, n, n, transposed(x, n), rows(x_bar, n), work);
  set_zero(count, a_bar);
  multiply<Into::kSubtract>(n, n, n, rows<V>(work, n), transposed(x, n), a_bar);
  zero_lanes(count, all_zero(count, x_bar), a_bar);
}

// The determinant of PA = LU, whose entries `prepare` scaled: its sign (0 where a pivot is zero)
// and, elsewhere, its size.
template <class V>
struct Determinant {
  V sign;
  LogProduct<V> size;
};

// The first `count` pivots on the diagonal of lu[n, n]; `sign` is that of the exchanges.
template <class V, class N>
STATESPACE_INLINE Determinant<V> product_of_pivots(N n, int count, const V* lu, const V& scale,
                                                   V sign) {
  const V grow = splat<V>(ScalarOf<V>(1)) / scale;
  LogProduct<V> size;
  for (int i = 0; i < count; ++i) {
    const V u = lu[i * n + i];
    sign = select<V>(u > V(), sign, select<V>(u < V(), -sign, V()));
    size.multiply(absolute(u));
    size.multiply(grow);
  }
  return {sign, size};
}

// det A for a[n, n], NaN where A is not finite. work[n * n + n].
template <class V, class N>
STATESPACE_INLINE V determinant(N n, const V* a, V* work) {
  V *const lu = work, *const pivots = work + n * n;
  const Prepared<V> prepared = prepare(n, a, lu);
  factorise(n, lu, pivots);
  const Determinant<V> det = product_of_pivots(n, n, lu, prepared.scale, parity(n, pivots));
  const V nan = splat<V>(std::numeric_limits<ScalarOf<V>>::quiet_NaN());
  return select<V>(prepared.finite, select<V>(det.sign == V(), V(), det.size.scaled(det.sign)),
                   nan);
}

// The sign of det A (-1, 0 or 1), and log |det A|.
template <class V>
struct LogDeterminant {
  V sign, log_size;
};

template <class V, class N>
STATESPACE_INLINE LogDeterminant<V> log_determinant(N n, const V* a, V* work) {
  using Limits = std::numeric_limits<ScalarOf<V>>;
  V *const lu = work, *const pivots = work + n * n;
  const Prepared<V> prepared = prepare(n, a, lu);
  factorise(n, lu, pivots);
  const Determinant<V> det = product_of_pivots(n, n, lu, prepared.scale, parity(n, pivots));
  const V nan = splat<V>(Limits::quiet_NaN()), infinity = splat<V>(Limits::infinity());
  const V log_size = select<V>(det.sign == V(), -infinity, det.size.log());
  return {select<V>(prepared.finite, det.sign, nan), select<V>(prepared.finite, log_size, nan)};
}

// a_bar = A^-T log_bar, the cotangent of A from that of log |det A|. NaN where A has no inverse; a
// lane with log_bar = 0 gets zero, whatever A. work[2 n * n + 3n].
template <class V, class N>
STATESPACE_INLINE void log_determinant_adjoint(N n, const V* a, const V& log_bar, V* a_bar,
                                               V* work) {
  V* const x = work;
  inverse(n, a, x, work + n * n);
  const Mask<V> unused = log_bar == V();
  for (int i = 0; i < n; ++i) {
    for (int j = 0; j < n; ++j) {
      a_bar[j * n + i] = select<V>(unused, V(), x[i * n + j] * log_bar);
    }
  }
}

// a_bar[i, order[j]] = y[j, i] times a number, which comes as a mantissa and several powers of two.
template <class V, class N>
STATESPACE_BUILDING_BLOCK void scatter_cofactors(N n, const V* y, const V* order, const V& mantissa,
                                                 const Powers<V>& powers, V* a_bar) {
  for (int j = 0; j < n; ++j) {
    for (int i = 0; i < n; ++i) {
      const V cofactor = powers.apply(y[j * n + i] * mantissa);
      for (int lane = 0; lane < kLanes<V>; ++lane) {
        const int column = static_cast<int>(get_lane(order[j], lane));
        set_lane(a_bar[i * n + column], lane, get_lane(cofactor, lane));
      }
    }
  }
}

// Zero cofactors where their cotangent, or each of them, is zero; NaN where A is not finite. There
// the identity was factorised, whose sign is not zero.
template <class V, class N>
STATESPACE_INLINE void finish_cofactors(N n, const Mask<V>& finite, const V& det_bar, const V& sign,
                                        V* a_bar) {
  const V nan = splat<V>(std::numeric_limits<ScalarOf<V>>::quiet_NaN());
  const Mask<V> zero = mask_or(det_bar == V(), sign == V());
  for (int64_t i = 0; i < static_cast<int64_t>(n) * n; ++i) {
    a_bar[i] = select<V>(zero, V(), select<V>(finite, a_bar[i], nan));
  }
}

// The cofactors of a large matrix as det A times A^-T, if no pivot is so small that complete
// pivoting, which is slow there, were safer; returns whether that was done. work[2 n * n + 3n].
template <class T>
STATESPACE_INLINE bool cofactors_from_inverse(int n, const T* a, T det_bar, T* a_bar, T* work) {
  T *const lu = work, *const x = lu + static_cast<int64_t>(n) * n;
  T *const pivots = x + static_cast<int64_t>(n) * n, *const scratch = pivots + n;
  const Prepared<T> prepared = prepare(n, a, lu);
  factorise(n, lu, pivots);
  T smallest = std::numeric_limits<T>::max(), largest = 0;
  for (int i = 0; i < n; ++i) {
    smallest = std::min(smallest, absolute(lu[i * n + i]));
    largest = std::max(largest, absolute(lu[i * n + i]));
  }
  if (!(smallest > square_root(std::numeric_limits<T>::epsilon()) * largest)) return false;
  invert_lower(n, pivots, lu, x, scratch);
  substitute(n, n, rows(lu, n), Order::kBackward, x, n, 1);
  const Determinant<T> det = product_of_pivots(n, n, lu, prepared.scale, parity(n, pivots));
  for (int i = 0; i < n; ++i) scratch[i] = static_cast<T>(i);
  const T mantissa = det.size.mantissa() * det.sign * det_bar * prepared.scale;
  scatter_cofactors(n, x, scratch, mantissa, det.size.powers(), a_bar);
  finish_cofactors(n, prepared.finite, det_bar, det.sign, a_bar);
  return true;
}

// a_bar = det_bar times the cofactors of A, the cotangent of A from that of det A by Jacobi's
// formula, exact at a singular A too.
//
// With P A Q = L U and U = [U1 u; 0 d],
//   adj A = det P det Q det U1 Q [U1^-1 (d W1 - u w); w],
// where w is the last row of W = L^-1 P and W1 the others: nothing is divided by d. Complete
// pivoting makes d what a matrix of rank n - 1 lacks; where U1 is singular too, all cofactors are
// zero.
//
// A lane with det_bar = 0 gets zero; other lanes where A is not finite, NaN. work[2 n * n + 5n].
template <class V, class N>
STATESPACE_INLINE void determinant_adjoint(N n, const V* a, const V& det_bar, V* a_bar, V* work) {
  if (n == 0) return;
  if constexpr (kAlone<V>) {
    if (n > kLuColumns<V> && cofactors_from_inverse(n, a, det_bar, a_bar, work)) return;
  }
  const int last = n - 1;
  V *const lu = work, *const y = lu + n * n, *const p = y + n * n, *const q = p + n;
  V* const scratch = q + n;
  const Prepared<V> prepared = prepare(n, a, lu);
  factorise_completely(n, lu, p, q);
  invert_lower(n, p, lu, y, scratch);
  const V d = lu[last * n + last];
  for (int i = 0; i < last; ++i) {
    const V u = -lu[i * n + last];
    for (int j = 0; j < n; ++j) y[i * n + j] = mul_add(u, y[last * n + j], d * y[i * n + j]);
  }
  substitute(last, n, rows(lu, n), Order::kBackward, y, n, 1);
  const Determinant<V> det =
      product_of_pivots(n, last, lu, prepared.scale, parity(n, p) * parity(n, q));
  follow_exchanges(n, q, scratch);
  const V mantissa = det.size.mantissa() * det.sign * det_bar;
  scatter_cofactors(n, y, scratch, mantissa, det.size.powers(), a_bar);
  finish_cofactors(n, prepared.finite, det_bar, det.sign, a_bar);
}

}  // namespace STATESPACE_ISA
}  // namespace statespace

#endif  // STATESPACE_NATIVE_CORE_LU_H_
