// One step of the Kalman filter in square-root form, the array algorithm of Kailath, Sayed &
// Hassibi, Linear Estimation, section 12.3: factors of covariances go through orthogonal
// transformations, so that no covariance is ever a difference.
//
// Coordinates. The predicted state is a + S xi and the observation's noise C rho, with xi [n] and
// rho [r] standard normal. What is linear in them is a row of coefficients over (epsilon, rho, xi).
// epsilon has room for one new coordinate, which nothing depends on yet. The reflector of row i of
// the observation, (0, C_i, H_i S), turns that room into the component's own coordinate epsilon_i,
// the scaled innovation: of row i nothing is left but the pivot, and of the state's rows (0, 0, S)
// the gain comes out in front, and behind it a factor X of the filtered covariance, [n, r + n]. A
// missing component's row is zero, its reflector the identity.
//
// The prediction goes on with (F X, G), the coordinates (eta, q), of which reflectors leave the
// first n: the next predicted scale.
//
// New coordinates keep errors apart: where the prior is vague (S = 1e6, C = 1e-3), what rounding
// leaves of S in X is a column of its own, orthogonal to the true one, and enters the covariance
// squared.
#ifndef STATESPACE_NATIVE_CORE_KALMAN_SQUARE_ROOT_H_
#define STATESPACE_NATIVE_CORE_KALMAN_SQUARE_ROOT_H_

#include <limits>

#include "core/kalman_filter.h"
#include "core/lq.h"

namespace statespace {
namespace STATESPACE_ISA {

// What an update leaves for the prediction and for the way back. Rows of missing components are
// zero in v, z and w, and those of the identity in l.
template <class V>
struct SquareRootUpdate {
  V* observed;    // [m] 1 or 0
  V* v;           // innovation [m]
  V* l;           // lower triangular, L L' = S over the observed components [m, m]
  V* inverse;     // 1 / diag(L) [m]
  V* z;           // L^-1 v [m]
  V* w;           // L^-1 H P [m, n], P = S S' the predicted covariance
  V* a;           // filtered mean [n]
  V* reflectors;  // over (epsilon, rho, xi) [m, 1 + r + n]
  V* x;        // over the same, epsilon's column zero: X X' the filtered covariance [n, 1 + r + n]
  Mask<V> ok;  // false in the lanes where S is singular or a number is not finite
};

// Sizes of a model, and of what its coordinates need.
struct SquareRootSizes {
  int observation_noise, noise;  // r, k

  STATESPACE_INLINE int filtered(int n) const { return observation_noise + n; }  // (rho, xi)
  STATESPACE_INLINE int updated(int n) const { return 1 + filtered(n); }  // (epsilon, rho, xi)
  STATESPACE_INLINE int predicted(int n) const { return filtered(n) + noise; }  // (eta, q)
};

STATESPACE_INLINE int64_t square_root_update_size(int64_t n, int64_t m, int64_t r) {
  return 4 * m + m * m + m * n + n + (m + n) * (1 + r + n);
}

template <class V>
STATESPACE_INLINE V* place(SquareRootUpdate<V>& x, V* memory, int64_t n, int64_t m, int64_t r) {
  const auto take = [&memory](int64_t count) { return (memory += count) - count; };
  x.observed = take(m), x.v = take(m), x.l = take(m * m), x.inverse = take(m), x.z = take(m);
  x.w = take(m * n), x.a = take(n);
  x.reflectors = take(m * (1 + r + n)), x.x = take(n * (1 + r + n));
  return memory;
}

// X, [n, r + n], in its place.
template <class V>
STATESPACE_INLINE View<V> filtered_rows(const SquareRootUpdate<V>& update, int width) {
  return {update.x + 1, width, 1};
}

// The rows of the observation over (rho, xi): C and H S, side by side, rows `stride` apart.
template <class V, class N, class M>
STATESPACE_INLINE void observation_rows(N n, M m, int r, const KalmanParameters<V>& model,
                                        const V* scale, V* out, int64_t stride) {
  for (int i = 0; i < m; ++i) {
    for (int j = 0; j < r; ++j) out[i * stride + j] = model.c[i * r + j];
  }
  multiply(m, n, n, rows<V>(model.h, n), rows(scale, n), out + r, stride);
}

// Applies the reflector of a component to rows with room for epsilon in front, takes what comes out
// there to `front`, `stride` apart, and clears it.
template <class V>
STATESPACE_INLINE void reflect_into_front(int num_rows, int width, const V* reflector, V* x,
                                          V* front, int64_t stride) {
  apply_reflector(num_rows, width, reflector, x, width);
  for (int i = 0; i < num_rows; ++i) {
    front[i * stride] = x[i * width];
    x[i * width] = V();
  }
}

// Rows over (epsilon, rho, xi) in the coordinates after an update: front[m, num_rows] are the
// coefficients of the components' epsilon, x[num_rows, width] keeps those of eta.
template <class V, class M, class R>
STATESPACE_INLINE void reflect_by_update(R num_rows, M m, int width, const V* reflectors, V* x,
                                         V* front) {
  for (int i = 0; i < m; ++i) {
    reflect_into_front<V>(num_rows, width, reflectors + i * width, x, front + i * num_rows, 1);
  }
}

// Conditions the state a + S xi, scale[n, n] = S lower triangular, on y[m], of which NaN entries
// are missing. `largest`: what the log-density may be.
template <class V, class N, class M>
STATESPACE_INLINE void square_root_update(N n, M m, const SquareRootSizes& sizes,
                                          const KalmanParameters<V>& model, const V& largest,
                                          const V* y, const V* a, const V* scale,
                                          SquareRootUpdate<V>& out) {
  using T = ScalarOf<V>;
  const V one = splat<V>(T(1)), zero = V();
  const V largest_pivot = splat<V>(std::numeric_limits<T>::max() / 2);  // for LogProduct
  const int r = sizes.observation_noise, width = sizes.updated(n);
  FiniteCheck<V> finite;
  finite.add(n, a);
  for (int i = 0; i < n; ++i) {
    V* const row = out.x + i * width;
    for (int j = 0; j <= r; ++j) row[j] = zero;
    for (int j = 0; j < n; ++j) row[1 + r + j] = scale[i * n + j];
    finite.add(n, scale + i * n);
  }
  observation_rows(n, m, r, model, scale, out.reflectors + 1, width);
  for (int i = 0; i < m; ++i) {
    V* const row = out.reflectors + i * width;
    const Mask<V> seen = y[i] == y[i];
    out.observed[i] = select<V>(seen, one, zero);
    V innovation = y[i] - model.d[i];
    for (int j = 0; j < n; ++j) innovation = neg_mul_add(model.h[i * n + j], a[j], innovation);
    out.v[i] = select<V>(seen, innovation, zero);
    row[0] = zero;
    for (int j = 1; j < width; ++j) row[j] = select<V>(seen, row[j], zero);
  }

  finite.add(m, out.v);
  Mask<V> ok = finite.passed();
  for (int i = 0; i < m; ++i) {
    V* const row = out.reflectors + i * width;
    const Mask<V> seen = out.observed[i] != zero;
    const V pivot = select<V>(seen, make_reflector(width, row), one);
    ok = mask_and(ok, mask_and(pivot > zero, pivot <= largest_pivot));
    out.l[i * m + i] = pivot;
    out.inverse[i] = one / pivot;
    reflect_into_front<V>(m - 1 - i, width, row, row + width, out.l + (i + 1) * m + i, m);
  }
  reflect_by_update<V>(n, m, width, out.reflectors, out.x, out.w);

  for (int i = 0; i < n; ++i) out.a[i] = a[i];
  for (int i = 0; i < m; ++i) {
    V sum = out.v[i];
    for (int j = 0; j < i; ++j) sum = neg_mul_add(out.l[i * m + j], out.z[j], sum);
    out.z[i] = sum * out.inverse[i];
    ok = mask_and(ok, out.z[i] * out.z[i] <= largest);
    for (int j = 0; j < n; ++j) out.a[j] = mul_add(out.w[i * n + j], out.z[i], out.a[j]);
  }
  out.ok = ok;
}

// Reflectors of a row each, and behind them what core/lq.h keeps of their blocks.
STATESPACE_INLINE int64_t reflectors_size(int64_t n, int64_t width) {
  return n * width + block_work_size(n, n);
}

// Moments of the next step, the scale lower triangular with a non-negative diagonal. `reflectors`
// become those that leave the next state's coordinates of (eta, q), reflectors_size(n, predicted).
template <class V, class N>
STATESPACE_INLINE void square_root_predict(N n, const SquareRootSizes& sizes,
                                           const KalmanParameters<V>& model,
                                           const SquareRootUpdate<V>& update, V* a, V* scale,
                                           V* reflectors) {
  const int filtered = sizes.filtered(n), width = sizes.predicted(n);
  multiply(n, filtered, n, rows<V>(model.f, n), filtered_rows(update, sizes.updated(n)), reflectors,
           width);
  for (int i = 0; i < n; ++i) {
    V sum = model.b[i];
    for (int j = 0; j < n; ++j) sum = mul_add(model.f[i * n + j], update.a[j], sum);
    a[i] = sum;
    for (int j = 0; j < sizes.noise; ++j) {
      reflectors[i * width + filtered + j] = model.g[i * sizes.noise + j];
    }
  }
  factor_rows(n, n, width, reflectors, scale, reflectors + static_cast<int64_t>(n) * width);
}

// A lower triangular scale[n, n] of the covariance A A', from a[n, columns]. `reflectors` become
// those that do it, reflectors_size(n, triangular_scale_width(n, columns)).
STATESPACE_INLINE int triangular_scale_width(int n, int columns) {
  return columns > n ? columns : n;
}
template <class V, class N>
STATESPACE_INLINE void triangular_scale(N n, int columns, const View<V>& a, V* scale,
                                        V* reflectors) {
  const int width = triangular_scale_width(n, columns);
  for (int i = 0; i < n; ++i) {
    for (int j = 0; j < width; ++j) reflectors[i * width + j] = j < columns ? a(i, j) : V();
  }
  factor_rows(n, n, width, reflectors, scale, reflectors + static_cast<int64_t>(n) * width);
}

// rows[n, width] = (w, 0) Q for w[n, n] and the reflectors of either.
template <class V, class N>
STATESPACE_INLINE void reflect_back(N n, int width, const V* w, V* reflectors, V* rows) {
  for (int i = 0; i < n; ++i) {
    for (int j = 0; j < width; ++j) rows[i * width + j] = j < n ? w[i * n + j] : V();
  }
  reflect_rows(n, n, width, reflectors, rows, reflectors + static_cast<int64_t>(n) * width);
}

}  // namespace STATESPACE_ISA
}  // namespace statespace

#endif  // STATESPACE_NATIVE_CORE_KALMAN_SQUARE_ROOT_H_
