// Transposing W x W numbers in registers: how W matrices that follow each other in memory come to
// lie side by side in lanes, and back.
#ifndef STATESPACE_NATIVE_CORE_TRANSPOSE_H_
#define STATESPACE_NATIVE_CORE_TRANSPOSE_H_

#include "core/simd.h"

namespace statespace {
namespace STATESPACE_ISA {

// x[i] lane j becomes x[j] lane i, for x[kLanes<V>].
template <class V>
inline void transpose_lanes(V* x) {
  for (int i = 0; i < kLanes<V>; ++i) {
    for (int j = 0; j < i; ++j) {
      const ScalarOf<V> below = get_lane(x[i], j);
      set_lane(x[i], j, get_lane(x[j], i));
      set_lane(x[j], i, below);
    }
  }
}

#if defined(__AVX2__)
// Swaps the off-diagonal 128-bit halves of each pair of registers a distance of `kHalf` apart; then
// what is left are transpositions within the halves.
template <int kHalf>
inline void exchange_halves(__m256d* x) {
  for (int i = 0; i < kHalf; ++i) {
    const __m256d low = _mm256_permute2f128_pd(x[i], x[i + kHalf], 0x20);
    x[i + kHalf] = _mm256_permute2f128_pd(x[i], x[i + kHalf], 0x31);
    x[i] = low;
  }
}

template <>
inline void transpose_lanes(Vector<double>* x) {
  __m256d r[4];
  std::memcpy(r, x, sizeof r);
  exchange_halves<2>(r);
  for (int i = 0; i < 4; i += 2) {
    x[i] = (Vector<double>)_mm256_unpacklo_pd(r[i], r[i + 1]);
    x[i + 1] = (Vector<double>)_mm256_unpackhi_pd(r[i], r[i + 1]);
  }
}

template <>
inline void transpose_lanes(Vector<float>* x) {
  __m256d r[8];
  std::memcpy(r, x, sizeof r);
  exchange_halves<4>(r);
  for (int i = 0; i < 8; i += 4) {
    const __m256 a = (__m256)r[i], b = (__m256)r[i + 1], c = (__m256)r[i + 2], d = (__m256)r[i + 3];
    const __m256d ab = (__m256d)_mm256_unpacklo_ps(a, b), cd = (__m256d)_mm256_unpacklo_ps(c, d);
    const __m256d ab2 = (__m256d)_mm256_unpackhi_ps(a, b), cd2 = (__m256d)_mm256_unpackhi_ps(c, d);
    x[i] = (Vector<float>)_mm256_unpacklo_pd(ab, cd);
    x[i + 1] = (Vector<float>)_mm256_unpackhi_pd(ab, cd);
    x[i + 2] = (Vector<float>)_mm256_unpacklo_pd(ab2, cd2);
    x[i + 3] = (Vector<float>)_mm256_unpackhi_pd(ab2, cd2);
  }
}
#elif defined(__SSE2__)
template <>
inline void transpose_lanes(Vector<double>* x) {
  const __m128d a = (__m128d)x[0], b = (__m128d)x[1];
  x[0] = (Vector<double>)_mm_unpacklo_pd(a, b);
  x[1] = (Vector<double>)_mm_unpackhi_pd(a, b);
}

template <>
inline void transpose_lanes(Vector<float>* x) {
  __m128 a = (__m128)x[0], b = (__m128)x[1], c = (__m128)x[2], d = (__m128)x[3];
  _MM_TRANSPOSE4_PS(a, b, c, d);
  x[0] = (Vector<float>)a, x[1] = (Vector<float>)b;
  x[2] = (Vector<float>)c, x[3] = (Vector<float>)d;
}
#endif

}  // namespace STATESPACE_ISA
}  // namespace statespace

#endif  // STATESPACE_NATIVE_CORE_TRANSPOSE_H_
