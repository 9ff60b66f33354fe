// Marks of the functions that a GPU runs as well, which nvcc wants to be told.
#ifndef STATESPACE_NATIVE_CORE_HOST_DEVICE_H_
#define STATESPACE_NATIVE_CORE_HOST_DEVICE_H_

#if defined(__CUDACC__)
#define STATESPACE_HOST_DEVICE __host__ __device__
#else
#define STATESPACE_HOST_DEVICE
#endif
#define STATESPACE_INLINE inline STATESPACE_HOST_DEVICE

// Before functions that many others call. nvcc would copy them to wherever they are called, and
// take an hour for it.
#if defined(STATESPACE_DEVICE)
#define STATESPACE_BUILDING_BLOCK STATESPACE_INLINE __attribute__((noinline))
#else
#define STATESPACE_BUILDING_BLOCK STATESPACE_INLINE
#endif

// Before functions whose arguments are to stay in registers on a CPU, however much the compiler has
// inlined.
#if defined(STATESPACE_DEVICE)
#define STATESPACE_ALWAYS_INLINE STATESPACE_BUILDING_BLOCK
#else
#define STATESPACE_ALWAYS_INLINE STATESPACE_INLINE __attribute__((always_inline))
#endif

#endif  // STATESPACE_NATIVE_CORE_HOST_DEVICE_H_
