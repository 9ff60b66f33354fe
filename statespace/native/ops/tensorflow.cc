// Registers every op with TensorFlow when the library is loaded, through the C API: op definition,
// shape function and CPU kernels all follow from the declaration.
#include <array>
#include <cstdio>
#include <memory>
#include <utility>

#include "ops/library.h"
#include "ops/tensorflow_c_api.h"

namespace statespace {
namespace {

// TensorFlow's callbacks carry no user data, so each op has its own instance of them.
constexpr int kMostOps = 64;

template <class T, void (*destroy)(T*)>
struct Deleter {
  void operator()(T* x) const { destroy(x); }
};
using Status = std::unique_ptr<TF_Status, Deleter<TF_Status, TF_DeleteStatus>>;
using Shape = std::unique_ptr<TF_ShapeHandle, Deleter<TF_ShapeHandle, TF_DeleteShapeHandle>>;
using Dimension =
    std::unique_ptr<TF_DimensionHandle, Deleter<TF_DimensionHandle, TF_DeleteDimensionHandle>>;
using TensorHandle = std::unique_ptr<TF_Tensor, Deleter<TF_Tensor, TF_DeleteTensor>>;

bool ok(const TF_Status* status) { return TF_GetCode(status) == 0; }

void fail(TF_Status* status, const std::string& message) {
  TF_SetStatus(status, TF_INVALID_ARGUMENT, message.c_str());
}

std::string rank_error(const OpSpec& spec, const std::string& name, int rank) {
  return spec.name + ": " + name + " has " + std::to_string(rank) + " axes; at most " +
         std::to_string(STATESPACE_MAX_RANK) + " are supported.";
}

void infer(const OpSpec& spec, TF_ShapeInferenceContext* context, TF_Status* status) {
  StatespaceTensor inputs[STATESPACE_MAX_OPERANDS] = {}, outputs[STATESPACE_MAX_OPERANDS] = {};
  const Shape shape(TF_NewShapeHandle());
  const Dimension dimension(TF_NewDimensionHandle());
  for (size_t i = 0; i < spec.inputs.size(); ++i) {
    TF_ShapeInferenceContextGetInput(context, static_cast<int>(i), shape.get(), status);
    if (!ok(status)) return;
    inputs[i].dtype = STATESPACE_FLOAT64;  // dtypes are TensorFlow's to check
    inputs[i].rank = -1;
    if (!TF_ShapeInferenceContextRankKnown(context, shape.get())) continue;
    const int64_t rank = TF_ShapeInferenceContextRank(context, shape.get());
    if (rank > STATESPACE_MAX_RANK) {
      return fail(status, rank_error(spec, spec.inputs[i].name, static_cast<int>(rank)));
    }
    inputs[i].rank = static_cast<int32_t>(rank);
    for (int axis = 0; axis < rank; ++axis) {
      TF_ShapeInferenceContextDim(context, shape.get(), axis, dimension.get());
      inputs[i].dims[axis] = TF_DimensionHandleValue(dimension.get());
    }
  }
  const std::string error = infer_shapes(spec, inputs, outputs);
  if (!error.empty()) return fail(status, error);
  TF_ShapeInferenceContextSetUnknownShape(context, status);  // of all outputs, to start with
  for (size_t i = 0; i < spec.outputs.size(); ++i) {
    if (outputs[i].rank < 0) continue;
    Shape result(TF_ShapeInferenceContextScalar(context));
    for (int axis = 0; axis < outputs[i].rank; ++axis) {
      // -1, cast there and back, is TensorFlow's unknown dimension.
      const Shape one(TF_ShapeInferenceContextVectorFromSize(
          context, static_cast<size_t>(outputs[i].dims[axis])));
      Shape longer(TF_NewShapeHandle());
      TF_ShapeInferenceContextConcatenateShapes(context, result.get(), one.get(), longer.get(),
                                                status);
      if (!ok(status)) return;
      result = std::move(longer);
    }
    TF_ShapeInferenceContextSetOutput(context, static_cast<int>(i), result.get(), status);
    if (!ok(status)) return;
  }
}

struct KernelState {
  uint8_t attrs[STATESPACE_MAX_OPERANDS];
};

void* create(const OpSpec& spec, TF_OpKernelConstruction* context) {
  auto state = std::make_unique<KernelState>();
  const Status status(TF_NewStatus());
  for (size_t i = 0; i < spec.attrs.size(); ++i) {
    TF_OpKernelConstruction_GetAttrBool(context, spec.attrs[i].c_str(), &state->attrs[i],
                                        status.get());
    if (!ok(status.get())) TF_OpKernelConstruction_Failure(context, status.get());
  }
  return state.release();
}

void destroy(void* kernel) { delete static_cast<KernelState*>(kernel); }

void describe(TF_Tensor* tensor, StatespaceTensor* out) {
  out->dtype = TF_TensorType(tensor);
  out->rank = TF_NumDims(tensor);
  for (int axis = 0; axis < out->rank; ++axis) out->dims[axis] = TF_Dim(tensor, axis);
  out->data = TF_TensorData(tensor);
}

// Returns what is wrong, or an empty string; TensorFlow's own complaints are in `status`.
std::string compute(const Op& op, const uint8_t* attrs, TF_OpKernelContext* context,
                    TF_Status* status) {
  StatespaceTensor inputs[STATESPACE_MAX_OPERANDS] = {}, outputs[STATESPACE_MAX_OPERANDS] = {};
  TensorHandle handles[2 * STATESPACE_MAX_OPERANDS];
  const size_t num_inputs = op.spec.inputs.size();
  for (size_t i = 0; i < num_inputs; ++i) {
    TF_Tensor* tensor = nullptr;
    TF_GetInput(context, static_cast<int>(i), &tensor, status);
    if (!ok(status)) return "";
    handles[i].reset(tensor);
    if (TF_NumDims(tensor) > STATESPACE_MAX_RANK) {
      return rank_error(op.spec, op.spec.inputs[i].name, TF_NumDims(tensor));
    }
    describe(tensor, &inputs[i]);
  }
  const std::string error = infer_shapes(op.spec, inputs, outputs);
  if (!error.empty()) return error;
  for (size_t i = 0; i < op.spec.outputs.size(); ++i) {
    size_t bytes = outputs[i].dtype == STATESPACE_FLOAT64 ? 8 : 4;
    for (int axis = 0; axis < outputs[i].rank; ++axis) bytes *= outputs[i].dims[axis];
    TF_Tensor* const tensor = TF_AllocateOutput(context, static_cast<int>(i), outputs[i].dtype,
                                                outputs[i].dims, outputs[i].rank, bytes, status);
    if (!ok(status)) return "";
    handles[num_inputs + i].reset(tensor);
    outputs[i].data = TF_TensorData(tensor);
  }
  return run_op(op, inputs, outputs, attrs);
}

template <int index>
struct Callbacks {
  static void infer_shape(TF_ShapeInferenceContext* context, TF_Status* status) {
    infer(all_ops()[index].spec, context, status);
  }
  static void* create_kernel(TF_OpKernelConstruction* context) {
    return create(all_ops()[index].spec, context);
  }
  static void compute_kernel(void* kernel, TF_OpKernelContext* context) {
    const Status status(TF_NewStatus());
    const std::string error =
        compute(all_ops()[index], static_cast<KernelState*>(kernel)->attrs, context, status.get());
    if (!error.empty()) fail(status.get(), error);
    if (!ok(status.get())) TF_OpKernelContext_Failure(context, status.get());
  }
};

struct CallbackTable {
  void (*infer_shape)(TF_ShapeInferenceContext*, TF_Status*);
  void* (*create_kernel)(TF_OpKernelConstruction*);
  void (*compute_kernel)(void*, TF_OpKernelContext*);
};

template <size_t... index>
std::array<CallbackTable, kMostOps> make_callbacks(std::index_sequence<index...>) {
  return {{{Callbacks<index>::infer_shape, Callbacks<index>::create_kernel,
            Callbacks<index>::compute_kernel}...}};
}

void register_op(const Op& op, const CallbackTable& callbacks, TF_Status* status) {
  const OpSpec& spec = op.spec;
  TF_OpDefinitionBuilder* const builder = TF_NewOpDefinitionBuilder(spec.name.c_str());
  TF_OpDefinitionBuilderAddAttr(builder, "T: {float, double}");
  for (const std::string& attr : spec.attrs) {
    TF_OpDefinitionBuilderAddAttr(builder, (attr + ": bool").c_str());
  }
  for (const OperandSpec& input : spec.inputs) {
    TF_OpDefinitionBuilderAddInput(builder, (input.name + ": T").c_str());
  }
  for (const OperandSpec& output : spec.outputs) {
    const char* const dtype = output.dtype == STATESPACE_INT32 ? ": int32" : ": T";
    TF_OpDefinitionBuilderAddOutput(builder, (output.name + dtype).c_str());
  }
  TF_OpDefinitionBuilderSetShapeInferenceFunction(builder, callbacks.infer_shape);
  TF_RegisterOpDefinition(builder, status);
  for (const TF_DataType dtype : {STATESPACE_FLOAT32, STATESPACE_FLOAT64}) {
    if (!ok(status)) return;
    TF_KernelBuilder* const kernel = TF_NewKernelBuilder(
        spec.name.c_str(), "CPU", callbacks.create_kernel, callbacks.compute_kernel, destroy);
    TF_KernelBuilder_TypeConstraint(kernel, "T", dtype, status);
    if (ok(status)) TF_RegisterKernelBuilder(spec.name.c_str(), kernel, status);
  }
}

// Runs when the library is loaded.
const bool registered = [] {
  static const auto callbacks = make_callbacks(std::make_index_sequence<kMostOps>());
  const Status status(TF_NewStatus());
  const std::vector<Op>& ops = all_ops();
  for (size_t i = 0; i < ops.size(); ++i) {
    if (i < kMostOps) {
      register_op(ops[i], callbacks[i], status.get());
    } else {
      fail(status.get(), "kMostOps is too small");
    }
    if (!ok(status.get())) {
      std::fprintf(stderr, "statespace: %s could not be registered.\n", ops[i].spec.name.c_str());
      return false;
    }
  }
  return true;
}();

}  // namespace
}  // namespace statespace
