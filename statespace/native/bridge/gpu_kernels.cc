// Makes TensorFlow run every op of the table on NVIDIA GPUs.
//
// One kernel class serves all ops, as in xla_kernels.cc: it takes output shapes from the table and
// hands device buffers to the library for GPUs, on TensorFlow's own stream. Nothing waits for the
// GPU: work memory goes back to TensorFlow's allocator at once, which gives it to nothing that
// would run on the stream before the work is done.
#include <string>
#include <vector>

#include "../cuda/api.h"
#include "bridge.h"
#include "tensorflow/core/framework/kernel_def_builder.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "xla/stream_executor/stream.h"

namespace statespace {
namespace {

namespace tf = tensorflow;

const StatespaceCudaApi* registered_cuda_api = nullptr;

// Describes a tensor to the table. Fails where the table cannot express it.
absl::Status Describe(const StatespaceOp& op, const char* name, const tf::Tensor& x,
                      StatespaceTensor* tensor) {
  if (x.dims() > STATESPACE_MAX_RANK) {
    return absl::InvalidArgumentError(std::string(op.name) + ": " + name + " has " +
                                      std::to_string(x.dims()) + " axes; at most " +
                                      std::to_string(STATESPACE_MAX_RANK) + " are supported");
  }
  *tensor = {x.data(), static_cast<int32_t>(x.dtype()), x.dims(), {}};
  for (int axis = 0; axis < tensor->rank; ++axis) tensor->dims[axis] = x.dim_size(axis);
  return absl::OkStatus();
}

class GpuKernel : public tf::OpKernel {
 public:
  explicit GpuKernel(tf::OpKernelConstruction* context)
      : OpKernel(context), index_(FindOp(context->def().op())) {
    OP_REQUIRES(context, index_ >= 0,
                absl::NotFoundError(context->def().op() + " is not in the table of ops"));
    const StatespaceOp& op = Api()->ops[index_];
    for (int i = 0; i < op.num_attrs; ++i) {
      bool value = false;
      OP_REQUIRES_OK(context, context->GetAttr(op.attr_names[i], &value));
      attrs_.push_back(value);
    }
  }

  void Compute(tf::OpKernelContext* context) override {
    const StatespaceOp& op = Api()->ops[index_];
    StatespaceTensor inputs[STATESPACE_MAX_OPERANDS], outputs[STATESPACE_MAX_OPERANDS];
    for (int i = 0; i < op.num_inputs; ++i) {
      OP_REQUIRES_OK(context, Describe(op, op.input_names[i], context->input(i), &inputs[i]));
    }
    char message[kMessageSize] = "";
    bool done = Api()->infer(index_, inputs, outputs, message, sizeof(message)) == 0;
    OP_REQUIRES(context, done, absl::InvalidArgumentError(message));
    for (int i = 0; i < op.num_outputs; ++i) {
      tf::Tensor* output = nullptr;
      const tf::TensorShape shape(absl::Span<const int64_t>(outputs[i].dims, outputs[i].rank));
      OP_REQUIRES_OK(context, context->allocate_output(i, shape, &output));
      outputs[i].data = output->data();
    }
    int64_t bytes = 0;
    done = registered_cuda_api->work_bytes(index_, inputs, outputs, attrs_.data(), &bytes, message,
                                           sizeof(message)) == 0;
    OP_REQUIRES(context, done, absl::InvalidArgumentError(message));
    tf::Tensor work;
    OP_REQUIRES_OK(context, context->allocate_temp(tf::DT_UINT8, tf::TensorShape({bytes}), &work));
    void* const stream = context->op_device_context()->stream()->platform_specific_handle().stream;
    done = registered_cuda_api->run(index_, inputs, outputs, attrs_.data(), work.data(), stream,
                                    message, sizeof(message)) == 0;
    OP_REQUIRES(context, done, absl::InternalError(message));
  }

 private:
  const int index_;
  std::vector<uint8_t> attrs_;
};

void RegisterGpuKernel(const char* op_name) {
  tf::KernelDefBuilder builder(op_name);
  builder.Device(tf::DEVICE_GPU).TypeConstraint("T", {tf::DT_FLOAT, tf::DT_DOUBLE});
  // The registrar copies what it is given into TensorFlow's registry and owns the definition.
  tf::kernel_factory::OpKernelRegistrar(
      builder.Build(), "statespace::GpuKernel",
      [](tf::OpKernelConstruction* context) -> tf::OpKernel* { return new GpuKernel(context); });
}

}  // namespace
}  // namespace statespace

// Serves the ops of the table, which `statespace_bridge_register` has been given before, on GPUs.
// Returns null, or the reason why not. A second call does nothing.
extern "C" __attribute__((visibility("default"))) const char* statespace_bridge_register_cuda(
    const StatespaceCudaApi* cuda) {
  using statespace::Api;
  if (statespace::registered_cuda_api != nullptr) return nullptr;
  if (Api() == nullptr) return "the bridge has no table of ops yet";
  if (cuda == nullptr || cuda->version != STATESPACE_API_VERSION ||
      cuda->num_ops != Api()->num_ops) {
    return "the library for GPUs was built from other sources than the compiled library";
  }
  for (int i = 0; i < cuda->num_ops; ++i) {
    if (statespace::FindOp(cuda->ops[i]) != i) {
      return "the library for GPUs was built from other sources than the compiled library";
    }
  }
  statespace::registered_cuda_api = cuda;
  for (int i = 0; i < cuda->num_ops; ++i) statespace::RegisterGpuKernel(cuda->ops[i]);
  return nullptr;
}
