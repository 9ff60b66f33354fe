// Runs any op of the table inside an XLA program on the CPU.
//
// Needs only XLA's foreign function headers, which come without the rest of TensorFlow.
#include <array>
#include <string>
#include <string_view>

#include "bridge.h"
#include "xla/ffi/api/ffi.h"

// TensorFlow exports this in every version we support, XLA_FFI_GetApi only from 2.21 on. The header
// that declares it brings in all of XLA's program representation.
namespace xla::ffi {
const XLA_FFI_Api* GetXlaFfiApi();
}

namespace statespace {
namespace {

namespace ffi = xla::ffi;

// XLA's element types in the table's numbering; 0 for those no op takes.
int32_t DtypeFrom(ffi::DataType type) {
  switch (type) {
    case ffi::DataType::F32:
      return STATESPACE_FLOAT32;
    case ffi::DataType::F64:
      return STATESPACE_FLOAT64;
    case ffi::DataType::S32:
      return STATESPACE_INT32;
    default:
      return 0;
  }
}

// XLA gives an empty buffer no address. Kernels form pointers into their operands before they know
// that there is nothing to do, so they are given a place that is never read or written.
alignas(64) char empty_buffer[64];

// Fills `tensor` from `buffer`, or returns false where its dtype or rank cannot be right. The
// program was made by xla_kernels.cc, but may have been stored and read back by another version of
// the library.
bool FillTensor(const ffi::AnyBuffer& buffer, int32_t dtype, StatespaceTensor* tensor) {
  const auto dims = buffer.dimensions();
  if (DtypeFrom(buffer.element_type()) != dtype || dims.size() > STATESPACE_MAX_RANK) return false;
  tensor->data = buffer.untyped_data() != nullptr ? buffer.untyped_data() : empty_buffer;
  tensor->dtype = dtype;
  tensor->rank = static_cast<int32_t>(dims.size());
  for (size_t axis = 0; axis < dims.size(); ++axis) tensor->dims[axis] = dims[axis];
  return true;
}

ffi::Error Invalid(std::string_view op, const std::string& what) {
  return ffi::Error::InvalidArgument(std::string(op) + ": " + what);
}

ffi::Error Call(ffi::RemainingArgs args, ffi::RemainingRets rets, std::string_view name,
                std::string_view flags) {
  const int index = FindOp(name);
  if (index < 0) return Invalid(name, "the loaded statespace library has no such op");
  const StatespaceOp& op = Api()->ops[index];
  if (args.size() != static_cast<size_t>(op.num_inputs) ||
      rets.size() != static_cast<size_t>(op.num_outputs) ||
      flags.size() != static_cast<size_t>(op.num_attrs)) {
    return Invalid(name, "compiled for another version of the statespace library");
  }

  std::array<StatespaceTensor, STATESPACE_MAX_OPERANDS> inputs;
  std::array<StatespaceTensor, STATESPACE_MAX_OPERANDS> outputs;
  std::array<uint8_t, STATESPACE_MAX_OPERANDS> attrs;

  int32_t common_dtype = 0;
  for (int i = 0; i < op.num_inputs; ++i) {
    const auto buffer = args.get<ffi::AnyBuffer>(i);
    if (!buffer.has_value()) return buffer.error();
    if (i == 0) common_dtype = DtypeFrom(buffer->element_type());
    if (common_dtype == STATESPACE_INT32 || common_dtype == 0 ||
        !FillTensor(*buffer, common_dtype, &inputs[i])) {
      return Invalid(name, std::string("unexpected dtype or rank of input ") + op.input_names[i]);
    }
  }
  for (int i = 0; i < op.num_outputs; ++i) {
    auto buffer = rets.get<ffi::AnyBuffer>(i);
    if (!buffer.has_value()) return buffer.error();
    const int32_t dtype = op.output_dtypes[i] != 0 ? op.output_dtypes[i] : common_dtype;
    if (!FillTensor(**buffer, dtype, &outputs[i])) {
      return Invalid(name, std::string("unexpected dtype or rank of output ") + op.output_names[i]);
    }
  }
  for (int i = 0; i < op.num_attrs; ++i) attrs[i] = flags[i] == '1';

  char message[kMessageSize] = "";
  if (Api()->run(index, inputs.data(), outputs.data(), attrs.data(), message, sizeof(message)) !=
      0) {
    return ffi::Error::InvalidArgument(message);
  }
  return ffi::Error::Success();
}

XLA_FFI_DEFINE_HANDLER(CallHandler, Call,
                       ffi::Ffi::Bind()
                           .RemainingArgs()
                           .RemainingRets()
                           .Attr<std::string_view>("op")
                           .Attr<std::string_view>("flags"));

}  // namespace

std::string RegisterFfiHandler() {
  const XLA_FFI_Api* xla = ffi::GetXlaFfiApi();
  XLA_FFI_Error* error = ffi::Ffi::RegisterStaticHandler(xla, kCallTarget, "Host", CallHandler);
  if (error == nullptr) return "";
  const std::string message = ffi::internal::GetErrorMessage(xla, error);
  ffi::internal::DestroyError(xla, error);
  return "XLA refused the custom call handler: " + message;
}

}  // namespace statespace
