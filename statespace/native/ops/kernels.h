// The kernels: one table a family of ops, each compiled once per instruction set.
#ifndef STATESPACE_NATIVE_OPS_KERNELS_H_
#define STATESPACE_NATIVE_OPS_KERNELS_H_

#include "ops/call.h"

#ifndef STATESPACE_ISA
#define STATESPACE_ISA baseline
#endif

namespace statespace {

// Tables end with a null name.
#define STATESPACE_KERNEL_TABLES             \
  extern const KernelEntry kLinalgKernels[]; \
  extern const KernelEntry kKalmanKernels[]; \
  extern const KernelEntry kKalmanGradientKernels[];

namespace baseline {
STATESPACE_KERNEL_TABLES
}
namespace avx2 {
STATESPACE_KERNEL_TABLES
}
#undef STATESPACE_KERNEL_TABLES

}  // namespace statespace

#endif  // STATESPACE_NATIVE_OPS_KERNELS_H_
