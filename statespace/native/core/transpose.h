// Transposing numbers in registers: how the numbers of W matrices, each contiguous in memory, come
// to lie side by side in lanes, and back.
#ifndef STATESPACE_NATIVE_CORE_TRANSPOSE_H_
#define STATESPACE_NATIVE_CORE_TRANSPOSE_H_

#include <utility>

#include "core/simd.h"

namespace statespace {
namespace STATESPACE_ISA {

// Which of the 2 W numbers of two registers lane p takes when blocks of h lanes change places:
// those at odd places of the first with those at even places of the second.
template <class V>
constexpr int lower_exchange(int p, int h) {
  return p & h ? kLanes<V> + p - h : p;
}
template <class V>
constexpr int upper_exchange(int p, int h) {
  return p & h ? kLanes<V> + p : p + h;
}
template <int h, class V, size_t... p>
STATESPACE_ALWAYS_INLINE void exchange_blocks(V* a, V* b, std::index_sequence<p...>) {
  using Places = BitsOf<V>;
  const V lower = __builtin_shuffle(*a, *b, Places{lower_exchange<V>(p, h)...});
  *b = __builtin_shuffle(*a, *b, Places{upper_exchange<V>(p, h)...});
  *a = lower;
}

// Of K registers that hold W / K segments of K numbers, transposes each of the K x K squares that
// corresponding segments make up.
template <int K, int h = K / 2, class V>
STATESPACE_ALWAYS_INLINE void transpose_segments(V* x) {
  if constexpr (h > 0) {
#pragma GCC unroll 16
    for (int i = 0; i < K; ++i) {
      if (i & h) continue;
      exchange_blocks<h>(x + i, x + i + h, std::make_index_sequence<kLanes<V>>());
    }
    transpose_segments<K, h / 2>(x);
  }
}

// The first h lanes of a and of b side by side.
template <int h, class V, size_t... p>
STATESPACE_ALWAYS_INLINE V join(const V& a, const V& b, std::index_sequence<p...>) {
  return __builtin_shuffle(a, b, BitsOf<V>{(p & h ? kLanes<V> + static_cast<int>(p) - h : p)...});
}
// Lanes `first` and after, from lane 0 on.
template <int first, class V, size_t... p>
STATESPACE_ALWAYS_INLINE V move_down(const V& x, std::index_sequence<p...>) {
  return __builtin_shuffle(x, BitsOf<V>{((p + first) % kLanes<V>)...});
}

// The first lanes of a register from `bytes` of memory; what the others hold does not matter. Said
// in intrinsics, because g++ would take a copy of part of a register through the stack.
template <int bytes, class V>
STATESPACE_ALWAYS_INLINE V load_part(const ScalarOf<V>* x) {
#if defined(__AVX2__)
  __m256d half = _mm256_undefined_pd();
  if constexpr (bytes == 32) {
    half = _mm256_loadu_pd(reinterpret_cast<const double*>(x));
  } else if constexpr (bytes == 16) {
    half = _mm256_castpd128_pd256(_mm_loadu_pd(reinterpret_cast<const double*>(x)));
  } else {
    static_assert(bytes == 8, "a power of two, but no single float");
    const __m128i part = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(x));  // however aligned
    half = _mm256_castpd128_pd256(_mm_castsi128_pd(part));
  }
#if defined(__AVX512F__)
  return (V)_mm512_castpd256_pd512(half);
#else
  return (V)half;
#endif
#else
  V part = V();
  std::memcpy(&part, x, bytes);
  return part;
#endif
}

// A register of W / K segments, the K numbers at each of src[first], src[first + step], ...
template <int K, class V>
STATESPACE_ALWAYS_INLINE V load_segments(const ScalarOf<V>* const* src, int first, int step,
                                         int64_t place) {
  if constexpr (K == 1) {
    V x = V();
    for (int lane = 0; lane < kLanes<V>; ++lane) x[lane] = src[first + lane * step][place];
    return x;
  } else if constexpr (K == kLanes<V>) {
    V x;
    std::memcpy(&x, src[first] + place, sizeof x);
    return x;
  } else {
    constexpr int kSegments = kLanes<V> / K;
    V parts[kSegments];
#pragma GCC unroll 16
    for (int s = 0; s < kSegments; ++s) {
      parts[s] = load_part<K * sizeof(ScalarOf<V>), V>(src[first + s * step] + place);
    }
    const auto lanes = std::make_index_sequence<kLanes<V>>();
    if constexpr (kSegments == 8) {
#pragma GCC unroll 16
      for (int s = 0; s < 4; ++s) parts[s] = join<K>(parts[2 * s], parts[2 * s + 1], lanes);
    }
    if constexpr (kSegments >= 4) {
      constexpr int kHalf = kLanes<V> / 4;
      parts[0] = join<kHalf>(parts[0], parts[1], lanes);
      parts[1] = join<kHalf>(parts[2], parts[3], lanes);
    }
    return join<kLanes<V> / 2>(parts[0], parts[1], lanes);
  }
}

// The reverse, for those of the first `count` places.
template <int K, int s = 0, class V>
STATESPACE_ALWAYS_INLINE void store_segments(const V& x, int first, int step, int64_t place,
                                             int count, ScalarOf<V>* const* dst) {
  if constexpr (s * K < kLanes<V>) {
    const int item = first + s * step;
    if (item < count) {
      const V segment = move_down<s * K>(x, std::make_index_sequence<kLanes<V>>());
      std::memcpy(dst[item] + place, &segment, K * sizeof(ScalarOf<V>));
    }
    store_segments<K, s + 1>(x, first, step, place, count, dst);
  }
}

// dst[i] lane j = src[j][i] for i < count: blocks of W numbers, of half as many for what is left,
// and so on.
template <int K, class V>
STATESPACE_INLINE void gather_blocks(const ScalarOf<V>* const* src, int64_t i, int64_t count,
                                     V* dst) {
  for (; i + K <= count; i += K) {
    V block[K];
#pragma GCC unroll 16
    for (int r = 0; r < K; ++r) block[r] = load_segments<K, V>(src, r, K, i);
    transpose_segments<K>(block);
#pragma GCC unroll 16
    for (int r = 0; r < K; ++r) dst[i + r] = block[r];
  }
  if constexpr (K > 1) gather_blocks<K / 2>(src, i, count, dst);
}
template <class V>
STATESPACE_INLINE void gather(const ScalarOf<V>* const* src, int64_t count, V* dst) {
  if constexpr (kLanes<V> == 1) {
    std::memcpy(dst, src[0], static_cast<size_t>(count) * sizeof(V));
  } else {
    gather_blocks<kLanes<V>>(src, 0, count, dst);
  }
}

// dst[j][i] = src[i] lane j for i < count and the first `num_items` lanes.
template <int K, class V>
STATESPACE_INLINE void scatter_blocks(const V* src, int64_t i, int64_t count, int num_items,
                                      ScalarOf<V>* const* dst) {
  for (; i + K <= count; i += K) {
    V block[K];
#pragma GCC unroll 16
    for (int r = 0; r < K; ++r) block[r] = src[i + r];
    transpose_segments<K>(block);
#pragma GCC unroll 16
    for (int r = 0; r < K; ++r) store_segments<K>(block[r], r, K, i, num_items, dst);
  }
  if constexpr (K > 1) scatter_blocks<K / 2>(src, i, count, num_items, dst);
}
template <class V>
STATESPACE_INLINE void scatter(const V* src, int64_t count, int num_items,
                               ScalarOf<V>* const* dst) {
  if constexpr (kLanes<V> == 1) {
    std::memcpy(dst[0], src, static_cast<size_t>(count) * sizeof(V));
  } else {
    scatter_blocks<kLanes<V>>(src, 0, count, num_items, dst);
  }
}

}  // namespace STATESPACE_ISA
}  // namespace statespace

#endif  // STATESPACE_NATIVE_CORE_TRANSPOSE_H_
