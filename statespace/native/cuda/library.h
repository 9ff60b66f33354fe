// The ops for GPUs as the C interface and the emulation use them.
#ifndef STATESPACE_NATIVE_CUDA_LIBRARY_H_
#define STATESPACE_NATIVE_CUDA_LIBRARY_H_

#include <string>

#include "ops/api.h"

namespace statespace {
namespace cuda {

class Device;

// Checks and runs the op of that number; `device` counts or launches. Returns an empty string, or
// what is wrong.
std::string run_op(int32_t op, const StatespaceTensor* inputs, const StatespaceTensor* outputs,
                   const uint8_t* attrs, Device& device);

// The same on the host, on an emulated GPU.
std::string run_op_emulated(int32_t op, const StatespaceTensor* inputs,
                            const StatespaceTensor* outputs, const uint8_t* attrs);

}  // namespace cuda
}  // namespace statespace

#endif  // STATESPACE_NATIVE_CUDA_LIBRARY_H_
