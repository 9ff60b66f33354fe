// The ops of this library as its two front ends, TensorFlow and the C interface, use them.
#ifndef STATESPACE_NATIVE_OPS_LIBRARY_H_
#define STATESPACE_NATIVE_OPS_LIBRARY_H_

#include <string>
#include <vector>

#include "ops/api.h"
#include "ops/op_table.h"

namespace statespace {

using Op = OpOf<KernelEntry>;

// All ops, with the kernels of the best instruction set this processor has, or the one that the
// environment variable STATESPACE_SIMD names.
const std::vector<Op>& all_ops();

const char* simd_level();

// Checks all shapes and runs the kernel. Returns an empty string, or what is wrong.
std::string run_op(const Op& op, const StatespaceTensor* inputs, const StatespaceTensor* outputs,
                   const uint8_t* attrs);

}  // namespace statespace

#endif  // STATESPACE_NATIVE_OPS_LIBRARY_H_
