// LQ factorisation A = L Q of wide and square matrices, and its adjoint.
#ifndef STATESPACE_NATIVE_CORE_LQ_H_
#define STATESPACE_NATIVE_CORE_LQ_H_

#include <limits>

#include "core/triangular.h"

namespace statespace {
namespace STATESPACE_ISA {

// The power of two below x, kept where both it and its inverse are normal numbers.
template <class V>
inline V power_of_two_scale(const V& x) {
  using T = ScalarOf<V>;
  using F = Float<T>;
  const BitsOf<V> exponent = to_bits(x) & (BitsOf<V>{} + (F::kExponentMask << F::kMantissaBits));
  const V scale = from_bits<V>(exponent);
  const V least = splat<V>(F::kSmallestNormal * 2), most = splat<V>(T(1) / F::kSmallestNormal);
  return select<V>(scale < least, least, select<V>(scale > most, most, scale));
}

// The reflector H = I - tau v v', v[0] = 1, that maps the row x[count] to (beta, 0, ..., 0). x
// becomes v with beta in place of v[0]. Entries are scaled before they are squared, so that norms
// neither under- nor overflow.
template <class V>
inline V make_reflector(int count, V* x) {
  const V one = splat<V>(ScalarOf<V>(1));
  V largest = V();
  for (int j = 0; j < count; ++j) largest = maximum(largest, absolute(x[j]));
  const V scale = power_of_two_scale(largest), inverse = one / scale;
  const V head = x[0] * inverse;
  V tail = V();
  for (int j = 1; j < count; ++j) {
    x[j] = x[j] * inverse;
    tail = mul_add(x[j], x[j], tail);
  }
  const V norm = square_root(mul_add(head, head, tail));
  const Mask<V> trivial = tail == V();
  const V beta = select<V>(trivial, head, select<V>(head < V(), norm, -norm));
  const V tau = select<V>(trivial, V(), (beta - head) / select<V>(trivial, one, beta));
  const V divisor = select<V>(trivial, one, head - beta);
  for (int j = 1; j < count; ++j) x[j] = x[j] / divisor;
  x[0] = beta * scale;
  return tau;
}

// row = row H for the reflector (v[0] is taken as 1).
template <class V>
inline void apply_reflector(int count, const V& tau, const V* v, V* row) {
  V sum = row[0];
  for (int j = 1; j < count; ++j) sum = mul_add(row[j], v[j], sum);
  sum = sum * tau;
  row[0] = row[0] - sum;
  for (int j = 1; j < count; ++j) row[j] = neg_mul_add(sum, v[j], row[j]);
}

// Factorises a[m, n], m <= n, into l[m, m], lower triangular with non-negative diagonal, and, if
// kWithQ, q[m, n] with orthonormal rows. `work` holds m * n + m numbers. A lane of a with an
// infinity or a NaN becomes NaN in l and q.
//
// Householder reflectors from the right, Golub & Van Loan, Matrix Computations, 4th ed., 5.2.2.
template <bool kWithQ, class V, class M, class N>
inline void lq(M m, N n, const V* a, V* l, V* q, V* work) {
  using T = ScalarOf<V>;
  V* const v = work;            // reflectors, row by row
  V* const tau = work + m * n;  // [m]
  V probe = V();
  for (int i = 0; i < m * n; ++i) {
    v[i] = a[i];
    probe = probe + (a[i] - a[i]);
  }
  const V spoil = select<V>(probe == V(), V(), splat<V>(std::numeric_limits<T>::quiet_NaN()));
  for (int i = 0; i < m; ++i) {
    tau[i] = make_reflector(n - i, v + i * n + i);
    for (int k = i + 1; k < m; ++k) {
      apply_reflector(n - i, tau[i], v + i * n + i, v + k * n + i);
    }
  }
  for (int j = 0; j < m; ++j) {
    const V sign = select<V>(v[j * n + j] < V(), splat<V>(T(-1)), splat<V>(T(1)));
    for (int i = 0; i < j; ++i) l[i * m + j] = spoil;
    for (int i = j; i < m; ++i) l[i * m + j] = mul_add(sign, v[i * n + j], spoil);
  }
  if constexpr (kWithQ) {
    // Q is the first m rows of H_{m-1} ... H_0: from the last reflector on, row i is e_i H_i and
    // the rows below it are carried along. Then row i takes the sign of column i of L.
    for (int i = m - 1; i >= 0; --i) {
      V* const row = q + i * n;
      for (int j = 0; j < n; ++j) row[j] = V();
      row[i] = splat<V>(T(1));
      for (int k = i; k < m; ++k) apply_reflector(n - i, tau[i], v + i * n + i, q + k * n + i);
    }
    for (int i = 0; i < m; ++i) {
      const V sign = select<V>(v[i * n + i] < V(), splat<V>(T(-1)), splat<V>(T(1)));
      for (int j = 0; j < n; ++j) q[i * n + j] = mul_add(sign, q[i * n + j], spoil);
    }
  }
}

// Cotangent a_bar[m, n] of A from those of L and Q: L^-T [q_bar + copyltu(L' l_bar - q_bar Q') Q]
// (Seeger et al., arXiv:1710.08717, section 3.3; derivation beside `adjoint_reference` in
// linalg_ops/lq.py). q_bar may be null for zero. `work` holds m * m numbers. A lane whose
// cotangents are all zero gets zero; any other lane with a zero on the diagonal of L, where the
// factors are not differentiable, NaN throughout.
template <class V, class M, class N>
inline void lq_adjoint(M m, N n, const V* l, const V* q, const V* l_bar, const V* q_bar, V* a_bar,
                       V* work) {
  Mask<V> unused = all_zero(m * m, l_bar);
  if (q_bar != nullptr) unused = mask_and(unused, all_zero(m * n, q_bar));
  for (int i = 0; i < m; ++i) {
    for (int j = 0; j <= i; ++j) {
      V sum = V();  // L' is upper triangular
      for (int k = i; k < m; ++k) sum = mul_add(l[k * m + i], l_bar[k * m + j], sum);
      if (q_bar != nullptr) {
        for (int k = 0; k < n; ++k) sum = neg_mul_add(q_bar[i * n + k], q[j * n + k], sum);
      }
      work[i * m + j] = sum;
    }
  }
  mirror(m, work);
  for (int i = 0; i < m * n; ++i) a_bar[i] = q_bar != nullptr ? q_bar[i] : V();
  multiply<Into::kAdd>(m, n, m, rows<V>(work, m), rows(q, n), a_bar);
  substitute(m, n, transposed(l, m), Order::kBackward, a_bar, n, 1);
  V spoil = V();
  for (int i = 0; i < m; ++i) {
    const V nan = splat<V>(std::numeric_limits<ScalarOf<V>>::quiet_NaN());
    spoil = select<V>(l[i * m + i] == V(), nan, spoil);
  }
  for (int i = 0; i < m * n; ++i) a_bar[i] = select<V>(spoil == V(), a_bar[i], spoil);
  zero_lanes(m * n, unused, a_bar);
}

}  // namespace STATESPACE_ISA
}  // namespace statespace

#endif  // STATESPACE_NATIVE_CORE_LQ_H_
