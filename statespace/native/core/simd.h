// Arithmetic on one number or on several side by side: the type V of every core function.
//
// V is a floating-point number, or a GCC vector of W of them whose lanes are W different matrices
// or series. Both round alike, lane by lane: products and sums are fused through `mul_add` alone
// and never by the compiler's choice (-ffp-contract=off), so a batch equals its members one by one
// to the last bit.
//
// The kernels are compiled once per instruction set. Each copy lives in a namespace of its own, or
// the linker would merge them and old processors meet new instructions.
//
// One of these sets, with STATESPACE_DEVICE, is for GPUs. There every thread is a lane: V is a
// number, and nothing goes several numbers at a time.
#ifndef STATESPACE_NATIVE_CORE_SIMD_H_
#define STATESPACE_NATIVE_CORE_SIMD_H_

#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>
#if defined(__SSE2__) && !defined(STATESPACE_DEVICE)
#include <immintrin.h>
#endif

#include "core/host_device.h"

#ifndef STATESPACE_ISA
#define STATESPACE_ISA baseline
#endif

namespace statespace {
namespace STATESPACE_ISA {

#if defined(STATESPACE_DEVICE)
constexpr bool kIsDevice = true;
constexpr int kVectorBytes = 0;  // no such registers
#else
constexpr bool kIsDevice = false;
#if defined(__AVX512F__)
constexpr int kVectorBytes = 64;
#elif defined(__AVX2__)
constexpr int kVectorBytes = 32;
#else
constexpr int kVectorBytes = 16;
#endif
#endif

template <class T>
struct VectorOf;
#if defined(STATESPACE_DEVICE)
template <>
struct VectorOf<float> {
  using type = float;
};
template <>
struct VectorOf<double> {
  using type = double;
};
#else
template <>
struct VectorOf<float> {
  typedef float type __attribute__((vector_size(kVectorBytes)));
};
template <>
struct VectorOf<double> {
  typedef double type __attribute__((vector_size(kVectorBytes)));
};
#endif
// As many numbers of type T as fit a register.
template <class T>
using Vector = typename VectorOf<T>::type;

// What V is made of: the number type, the integer type of the same width, the number of lanes.
template <class V>
struct Traits;
template <>
struct Traits<float> {
  using Scalar = float;
  using Bits = int32_t;
  static constexpr int kLanes = 1;
};
template <>
struct Traits<double> {
  using Scalar = double;
  using Bits = int64_t;
  static constexpr int kLanes = 1;
};
#if !defined(STATESPACE_DEVICE)
template <>
struct Traits<Vector<float>> {
  using Scalar = float;
  typedef int32_t Bits __attribute__((vector_size(kVectorBytes)));
  static constexpr int kLanes = kVectorBytes / sizeof(float);
};
template <>
struct Traits<Vector<double>> {
  using Scalar = double;
  typedef int64_t Bits __attribute__((vector_size(kVectorBytes)));
  static constexpr int kLanes = kVectorBytes / sizeof(double);
};
#endif
template <class V>
using ScalarOf = typename Traits<V>::Scalar;
template <class V>
using BitsOf = typename Traits<V>::Bits;
template <class V>
constexpr int kLanes = Traits<V>::kLanes;
// Whether V is a number of a matrix that comes alone, so that neighbours within it may go side by
// side. If not, V is in lanes: one of a register's, or a thread of a GPU.
template <class V>
constexpr bool kAlone = kLanes<V> == 1 && !kIsDevice;

// The result of comparing two V: bool, or a vector of all-ones and all-zeros.
template <class V>
using Mask = decltype(V() < V());

// V may also be a class made of several of these, as core/double_double.h has one; it then brings
// functions of its own.
template <class V>
STATESPACE_INLINE V splat(ScalarOf<V> x) {
  if constexpr (std::is_class_v<V>) {
    return V::splat(x);
  } else {
    return x - V();  // x - 0 is x, also for x = -0
  }
}

template <class V>
STATESPACE_INLINE ScalarOf<V> get_lane(const V& v, int lane) {
  if constexpr (kLanes<V> == 1) {
    return v;
  } else if constexpr (std::is_class_v<V>) {
    return v.lane(lane);
  } else {
    return v[lane];
  }
}

template <class V>
STATESPACE_INLINE void set_lane(V& v, int lane, ScalarOf<V> x) {
  if constexpr (kLanes<V> == 1) {
    v = x;
  } else if constexpr (std::is_class_v<V>) {
    v.set_lane(lane, x);
  } else {
    v[lane] = x;
  }
}

template <class V>
STATESPACE_INLINE BitsOf<V> to_bits(const V& x) {
  BitsOf<V> bits;
  std::memcpy(&bits, &x, sizeof x);
  return bits;
}
template <class V>
STATESPACE_INLINE V from_bits(const BitsOf<V>& bits) {
  V x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

template <class V>
STATESPACE_INLINE V select(const Mask<V>& mask, const V& yes, const V& no) {
  if constexpr (std::is_class_v<V>) return V::select(mask, yes, no);
#if defined(__SSE2__) && !defined(__AVX2__) && !defined(STATESPACE_DEVICE)
  // g++ 12 fails on a 64-bit vector condition here.
  if constexpr (kLanes<V> > 1 && !std::is_class_v<V>) {
    const BitsOf<V> bits = mask;
    return from_bits<V>((to_bits(yes) & bits) | (to_bits(no) & ~bits));
  }
#endif
  if constexpr (!std::is_class_v<V>) return mask ? yes : no;
}

STATESPACE_INLINE bool mask_and(bool a, bool b) { return a && b; }
template <class M>
STATESPACE_INLINE M mask_and(const M& a, const M& b) {
  return a & b;
}

STATESPACE_INLINE bool mask_or(bool a, bool b) { return a || b; }
template <class M>
STATESPACE_INLINE M mask_or(const M& a, const M& b) {
  return a | b;
}

STATESPACE_INLINE bool mask_not(bool a) { return !a; }
template <class M>
STATESPACE_INLINE M mask_not(const M& a) {
  return ~a;
}

// Whether a comparison holds in some lane, or in all of them.
STATESPACE_INLINE bool any_lane(bool a) { return a; }
template <class M>
STATESPACE_INLINE bool any_lane(const M& a) {
#if defined(__AVX512F__)
  return _mm512_test_epi32_mask((__m512i)a, (__m512i)a) != 0;
#elif defined(__AVX2__)
  return _mm256_movemask_epi8((__m256i)a) != 0;
#endif
  uint64_t words[sizeof(M) / sizeof(uint64_t)], any = 0;
  std::memcpy(words, &a, sizeof a);
  for (const uint64_t word : words) any |= word;
  return any != 0;
}
template <class M>
STATESPACE_INLINE bool all_lanes(const M& a) {
  return !any_lane(mask_not(a));
}

// a * b + c, rounded once where the instruction set fuses, in every V alike.
STATESPACE_INLINE float mul_add(float a, float b, float c) {
#if defined(__FMA__) || defined(__CUDA_ARCH__)
  return __builtin_fmaf(a, b, c);
#else
  return a * b + c;
#endif
}
STATESPACE_INLINE double mul_add(double a, double b, double c) {
#if defined(__FMA__) || defined(__CUDA_ARCH__)
  return __builtin_fma(a, b, c);
#else
  return a * b + c;
#endif
}
#if !defined(STATESPACE_DEVICE)
STATESPACE_INLINE Vector<float> mul_add(Vector<float> a, Vector<float> b, Vector<float> c) {
#if defined(__AVX512F__)
  return (Vector<float>)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__FMA__)
  return (Vector<float>)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#else
  return a * b + c;
#endif
}
STATESPACE_INLINE Vector<double> mul_add(Vector<double> a, Vector<double> b, Vector<double> c) {
#if defined(__AVX512F__)
  return (Vector<double>)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
#elif defined(__FMA__)
  return (Vector<double>)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
#else
  return a * b + c;
#endif
}
#endif

// c - a * b, likewise.
template <class V>
STATESPACE_INLINE V neg_mul_add(const V& a, const V& b, const V& c) {
#if defined(__AVX512F__)
  // Not from `mul_add`: there, g++ computes -a first.
  if constexpr (kLanes<V> > 1 && sizeof(ScalarOf<V>) == 4) {
    return (V)_mm512_fnmadd_ps((__m512)a, (__m512)b, (__m512)c);
  } else if constexpr (kLanes<V> > 1) {
    return (V)_mm512_fnmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
  }
#endif
  return mul_add(-a, b, c);
}

STATESPACE_INLINE float square_root(float x) { return __builtin_sqrtf(x); }
STATESPACE_INLINE double square_root(double x) { return __builtin_sqrt(x); }
template <class V>
STATESPACE_INLINE V square_root(const V& x) {
#if defined(__AVX512F__)
  if constexpr (sizeof(ScalarOf<V>) == 4) {
    return (V)_mm512_maskz_sqrt_ps(-1, (__m512)x);
  } else {
    return (V)_mm512_maskz_sqrt_pd(-1, (__m512d)x);
  }
#elif defined(__AVX2__)
  if constexpr (sizeof(ScalarOf<V>) == 4) {
    return (V)_mm256_sqrt_ps((__m256)x);
  } else {
    return (V)_mm256_sqrt_pd((__m256d)x);
  }
#else
  V root;
  for (int lane = 0; lane < kLanes<V>; ++lane) root[lane] = square_root(x[lane]);
  return root;
#endif
}

template <class V>
STATESPACE_INLINE V absolute(const V& x) {
  return select<V>(x < V(), -x, x);
}

template <class V>
STATESPACE_INLINE V maximum(const V& a, const V& b) {
  return select<V>(a < b, b, a);
}

// IEEE layout of the number type.
template <class T>
struct Float;
template <>
struct Float<float> {
  static constexpr int kMantissaBits = 23;
  static constexpr int32_t kExponentMask = 0xff;
  static constexpr int32_t kBias = 127;
  static constexpr float kSmallestNormal = 0x1p-126f;
};
template <>
struct Float<double> {
  static constexpr int kMantissaBits = 52;
  static constexpr int64_t kExponentMask = 0x7ff;
  static constexpr int64_t kBias = 1023;
  static constexpr double kSmallestNormal = 0x1p-1022;
};

// True in the lanes where x is neither infinite nor NaN.
template <class V>
STATESPACE_INLINE Mask<V> is_finite(const V& x) {
  return x - x == V();
}

}  // namespace STATESPACE_ISA
}  // namespace statespace

#endif  // STATESPACE_NATIVE_CORE_SIMD_H_
