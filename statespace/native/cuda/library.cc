#include "cuda/library.h"

#include <cstring>
#include <vector>

#include "ops/kernels.h"
#include "ops/op_table.h"

namespace statespace {
namespace cuda {
namespace {

using Op = OpOf<KernelEntry>;

#define STATESPACE_CUDA_TABLE(family) k##family##Kernels,

const std::vector<Op>& all_ops() {
  static const std::vector<Op>* const ops =
      new std::vector<Op>(build_ops<KernelEntry>({STATESPACE_FAMILIES(STATESPACE_CUDA_TABLE)}));
  return *ops;
}

// Fills the offset table of an operand.
struct OffsetsItem {
  BatchStrides strides;
  int64_t* offsets;
  STATESPACE_HOST_DEVICE void operator()(int64_t item, char*) const {
    fill_offsets(strides, item, item + 1, offsets);
  }
};

}  // namespace

std::string run_op(int32_t number, const StatespaceTensor* inputs, const StatespaceTensor* outputs,
                   const uint8_t* attrs, Device& device) {
  if (number < 0 || number >= kNumDeclarations) return "statespace: no such op.";
  const Op& op = all_ops()[number];
  Call call = {};
  std::vector<BatchStrides> strides;
  std::string error = check_outputs(op.spec, inputs, outputs);
  if (error.empty() && all_empty(op.spec, outputs)) return "";
  if (error.empty()) error = prepare_call(op.spec, inputs, outputs, attrs, &call, &strides);
  if (!error.empty()) return error;
  for (int i = 0; i < call.num_inputs; ++i) {
    if (strides[i].rank == 0) continue;
    int64_t* const offsets = device.take<int64_t>(call.batch);
    device.for_each(call.batch, 0, OffsetsItem{strides[i], offsets});
    set_offsets(op.spec, i, offsets, &call);
  }
  (inputs[0].dtype == STATESPACE_FLOAT32 ? op.float32 : op.float64)(call, device);
  if (device.error() != nullptr) return op.spec.name + ": CUDA: " + device.error() + ".";
  return "";
}

}  // namespace cuda
}  // namespace statespace
