// A row of a kernel table, in the set for GPUs.
#ifndef STATESPACE_NATIVE_CUDA_KERNEL_ENTRY_H_
#define STATESPACE_NATIVE_CUDA_KERNEL_ENTRY_H_

#include "cuda/launch.h"
#include "ops/call.h"

namespace statespace {
namespace cuda {

// A kernel for one op and one dtype.
using Kernel = void (*)(const Call& call, Device& device);

struct KernelEntry {
  const char* op;
  Kernel float32;
  Kernel float64;
};

}  // namespace cuda
}  // namespace statespace

#endif  // STATESPACE_NATIVE_CUDA_KERNEL_ENTRY_H_
