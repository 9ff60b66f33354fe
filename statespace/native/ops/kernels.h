// The kernels: one table a family of ops, each compiled once per instruction set.
#ifndef STATESPACE_NATIVE_OPS_KERNELS_H_
#define STATESPACE_NATIVE_OPS_KERNELS_H_

#include "ops/call.h"
#if defined(STATESPACE_DEVICE)
#include "cuda/kernel_entry.h"
#endif

#ifndef STATESPACE_ISA
#define STATESPACE_ISA baseline
#endif

namespace statespace {

// The families: F(Name) declares kNameKernels, which ends with a null name. A new family adds its
// name here and its file to CMakeLists.txt.
// clang-format off: it would never come to rest here
#define STATESPACE_FAMILIES(F) \
  F(Cholesky) F(Eigh) F(Lq) F(Lu) F(Products) F(Triangular) F(Kalman) F(KalmanGradient) \
  F(KalmanMomentGradient) F(KalmanSquareRoot) F(KalmanUnivariate)
// clang-format on

#define STATESPACE_DECLARE_TABLE(family) extern const KernelEntry k##family##Kernels[];
namespace baseline {
STATESPACE_FAMILIES(STATESPACE_DECLARE_TABLE)
}
namespace avx2 {
STATESPACE_FAMILIES(STATESPACE_DECLARE_TABLE)
}
namespace avx512 {
STATESPACE_FAMILIES(STATESPACE_DECLARE_TABLE)
}
#if defined(STATESPACE_DEVICE)
namespace cuda {  // which has its own KernelEntry
STATESPACE_FAMILIES(STATESPACE_DECLARE_TABLE)
}
#endif
#undef STATESPACE_DECLARE_TABLE

}  // namespace statespace

#endif  // STATESPACE_NATIVE_OPS_KERNELS_H_
