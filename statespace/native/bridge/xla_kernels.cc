// Makes XLA accept every op of the table under `tf.function(jit_compile=True)` on the CPU.
//
// One kernel class serves all ops: it takes output shapes from the table and leaves one custom call
// in the XLA program. Kernels are registered as REGISTER_KERNEL_BUILDER does, but in a loop and
// when asked. REGISTER_XLA_OP would not do: it takes effect only before TensorFlow's context
// exists, and ends the process if the op is not defined yet.
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "bridge.h"
#include "tensorflow/compiler/tf2xla/xla_op_kernel.h"
#include "tensorflow/core/framework/kernel_def_builder.h"
#include "tensorflow/core/framework/op.h"
#include "xla/shape_util.h"

namespace statespace {
namespace {

namespace tf = tensorflow;

const StatespaceApi* registered_api = nullptr;

// The table numbers element types as TensorFlow does; XLA has its own order.
xla::PrimitiveType XlaType(int32_t dtype) {
  switch (dtype) {
    case STATESPACE_FLOAT32:
      return xla::F32;
    case STATESPACE_FLOAT64:
      return xla::F64;
    case STATESPACE_INT32:
      return xla::S32;
    default:
      return xla::PRIMITIVE_TYPE_INVALID;
  }
}

// Row-major, which is how the kernels read and write; XLA inserts a transpose where it chose
// otherwise.
xla::Shape RowMajorShape(const StatespaceTensor& tensor) {
  const absl::Span<const int64_t> dims(tensor.dims, tensor.rank);
  return xla::ShapeUtil::MakeShapeWithDescendingLayout(XlaType(tensor.dtype), dims);
}

// Describes an operand to the table. Fails where the table cannot express it.
absl::Status DescribeInput(const StatespaceOp& op, int i, tf::DataType dtype,
                           const xla::Shape& shape, StatespaceTensor* tensor) {
  const auto refuse = [&](const std::string& what) {
    return absl::InvalidArgumentError(std::string(op.name) + ": input " + op.input_names[i] +
                                      " has " + what);
  };
  if (!shape.is_static()) {
    return refuse(
        "a shape that is only known when the program runs (it comes from an operation such as "
        "tf.boolean_mask or tf.unique): compute that outside the function with jit_compile=True");
  }
  if (shape.dimensions().size() > STATESPACE_MAX_RANK) {
    return refuse(std::to_string(shape.dimensions().size()) + " axes; at most " +
                  std::to_string(STATESPACE_MAX_RANK) + " are supported");
  }
  *tensor = {
      nullptr, static_cast<int32_t>(dtype), static_cast<int32_t>(shape.dimensions().size()), {}};
  for (int axis = 0; axis < tensor->rank; ++axis) tensor->dims[axis] = shape.dimensions(axis);
  return absl::OkStatus();
}

class CustomCallKernel : public tf::XlaOpKernel {
 public:
  explicit CustomCallKernel(tf::OpKernelConstruction* context)
      : XlaOpKernel(context), index_(FindOp(context->def().op())) {
    OP_REQUIRES(context, index_ >= 0,
                absl::NotFoundError(context->def().op() + " is not in the table of ops"));
    const StatespaceOp& op = Api()->ops[index_];
    std::string flags;
    for (int i = 0; i < op.num_attrs; ++i) {
      bool value = false;
      OP_REQUIRES_OK(context, context->GetAttr(op.attr_names[i], &value));
      flags += value ? '1' : '0';
    }
    // XLA on the CPU keeps an instruction's configuration as JSON, and the attributes of a custom
    // call in it as an MLIR dictionary. The dictionary alone would do, but for a neighbour: a
    // matrix product whose result goes into the call reads the call's configuration and, in
    // TensorFlow 2.20, ends the process if it is not JSON. The call holds the name of the op rather
    // than its index: a stored program must not run another op after an upgrade.
    config_ = std::string(R"({"custom_call_config": {"attributes": "{op = \")") + op.name +
              R"(\", flags = \")" + flags + R"(\"}"}})";
  }

  void Compile(tf::XlaOpKernelContext* context) override {
    const StatespaceOp& op = Api()->ops[index_];
    std::vector<StatespaceTensor> inputs(op.num_inputs), outputs(op.num_outputs);
    std::vector<xla::XlaOp> operands;
    std::vector<xla::Shape> operand_shapes, result_shapes;

    for (int i = 0; i < op.num_inputs; ++i) {
      const auto shape = context->InputXlaShape(i);
      OP_REQUIRES_OK(context, shape.status());
      OP_REQUIRES_OK(context, DescribeInput(op, i, context->input_type(i), *shape, &inputs[i]));
      operands.push_back(context->Input(i));
      operand_shapes.push_back(RowMajorShape(inputs[i]));
    }

    char message[kMessageSize] = "";
    const bool inferred =
        Api()->infer(index_, inputs.data(), outputs.data(), message, sizeof(message)) == 0;
    OP_REQUIRES(context, inferred, absl::InvalidArgumentError(message));
    for (const StatespaceTensor& output : outputs) result_shapes.push_back(RowMajorShape(output));

    const bool is_tuple = op.num_outputs != 1;
    const xla::XlaOp call = xla::CustomCallWithLayout(
        context->builder(), kCallTarget, operands,
        is_tuple ? xla::ShapeUtil::MakeTupleShape(result_shapes) : result_shapes[0], operand_shapes,
        config_, /*has_side_effect=*/false, /*output_operand_aliasing=*/{}, /*literal=*/nullptr,
        xla::CustomCallSchedule::SCHEDULE_NONE, xla::CustomCallApiVersion::API_VERSION_TYPED_FFI);
    for (int i = 0; i < op.num_outputs; ++i) {
      context->SetOutput(i, is_tuple ? xla::GetTupleElement(call, i) : call);
    }
  }

 private:
  const int index_;
  std::string config_;
};

// The reason why `api` cannot be served, or an empty string.
std::string Objection(const StatespaceApi* api) {
  if (api == nullptr) return "the compiled library gave no table of ops";
  if (api->version != STATESPACE_API_VERSION) {
    return "the bridge is built for version " + std::to_string(STATESPACE_API_VERSION) +
           " of the table of ops, the compiled library has version " + std::to_string(api->version);
  }
  for (int i = 0; i < api->num_ops; ++i) {
    const StatespaceOp& op = api->ops[i];
    if (op.num_inputs > STATESPACE_MAX_OPERANDS || op.num_outputs > STATESPACE_MAX_OPERANDS ||
        op.num_attrs > STATESPACE_MAX_OPERANDS) {
      return std::string(op.name) + " has more operands or attributes than api.h allows";
    }
    const tf::OpDef* definition = nullptr;
    if (!tf::OpRegistry::Global()->LookUpOpDef(op.name, &definition).ok()) {
      return std::string(op.name) +
             " is not registered with TensorFlow: load the compiled library first";
    }
  }
  return "";
}

void RegisterKernel(const char* op_name) {
  tf::KernelDefBuilder builder(op_name);
  builder.Device("XLA_CPU_JIT").TypeConstraint("T", {tf::DT_FLOAT, tf::DT_DOUBLE});
  // The registrar copies what it is given into TensorFlow's registry and owns the definition.
  tf::kernel_factory::OpKernelRegistrar(builder.Build(), "statespace::CustomCallKernel",
                                        [](tf::OpKernelConstruction* context) -> tf::OpKernel* {
                                          return new CustomCallKernel(context);
                                        });
}

}  // namespace

const StatespaceApi* Api() { return registered_api; }

int FindOp(std::string_view name) {
  for (int i = 0; i < registered_api->num_ops; ++i) {
    if (name == registered_api->ops[i].name) return i;
  }
  return -1;
}

}  // namespace statespace

// Serves the ops of `api` to XLA. Returns null, or the reason why not; the text lives as long as
// the library. A second call with the same table does nothing.
extern "C" __attribute__((visibility("default"))) const char* statespace_bridge_register(
    const StatespaceApi* api) {
  static std::mutex mutex;
  static std::string reason;
  const std::lock_guard<std::mutex> lock(mutex);
  if (api != nullptr && api == statespace::registered_api) return nullptr;
  if (statespace::registered_api != nullptr) {
    return "the bridge already serves another copy of the compiled library";
  }
  reason = statespace::Objection(api);
  if (reason.empty()) reason = statespace::RegisterFfiHandler();
  if (!reason.empty()) return reason.c_str();
  statespace::registered_api = api;
  for (int i = 0; i < api->num_ops; ++i) statespace::RegisterKernel(api->ops[i].name);
  return nullptr;
}
