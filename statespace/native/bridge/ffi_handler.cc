// Runs any op of the table inside an XLA program on the CPU.
//
// Written against the C form of XLA's foreign function interface: the C++ form, xla/ffi/api/ffi.h,
// is missing from the wheel of TensorFlow 2.19.
#include <cstdint>
#include <string>
#include <string_view>

#include "bridge.h"
#include "xla/ffi/api/c_api.h"

// TensorFlow exports this in every version we support, XLA_FFI_GetApi only from 2.21 on. The header
// that declares it brings in all of XLA's program representation.
namespace xla::ffi {
const XLA_FFI_Api* GetXlaFfiApi();
}

namespace statespace {
namespace {

// What the program says of one call, as xla_kernels.cc wrote it.
struct Attributes {
  std::string_view op;
  std::string_view flags;
};

XLA_FFI_Error* InvalidArgument(const XLA_FFI_CallFrame* frame, const std::string& message) {
  XLA_FFI_Error_Create_Args args = {};
  args.struct_size = XLA_FFI_Error_Create_Args_STRUCT_SIZE;
  args.message = message.c_str();
  args.errc = XLA_FFI_Error_Code_INVALID_ARGUMENT;
  return frame->api->XLA_FFI_Error_Create(&args);
}

Attributes ReadAttributes(const XLA_FFI_Attrs& attrs) {
  Attributes result;
  for (int64_t i = 0; i < attrs.size; ++i) {
    if (attrs.types[i] != XLA_FFI_AttrType_STRING) continue;
    const auto* text = static_cast<const XLA_FFI_ByteSpan*>(attrs.attrs[i]);
    const std::string_view name(attrs.names[i]->ptr, attrs.names[i]->len);
    if (name == "op") result.op = std::string_view(text->ptr, text->len);
    if (name == "flags") result.flags = std::string_view(text->ptr, text->len);
  }
  return result;
}

// XLA's element types in the table's numbering; 0 for those no op takes.
int32_t DtypeFrom(XLA_FFI_DataType type) {
  switch (type) {
    case XLA_FFI_DataType_F32:
      return STATESPACE_FLOAT32;
    case XLA_FFI_DataType_F64:
      return STATESPACE_FLOAT64;
    case XLA_FFI_DataType_S32:
      return STATESPACE_INT32;
    default:
      return 0;
  }
}

// XLA gives an empty buffer no address. Kernels form pointers into their operands before they know
// that there is nothing to do, so they are given a place that is never read or written.
alignas(64) char empty_buffer[64];

// Fills `tensor` from a buffer, or returns false where its dtype or rank cannot be right.
bool FillTensor(const void* operand, int32_t dtype, StatespaceTensor* tensor) {
  const auto* buffer = static_cast<const XLA_FFI_Buffer*>(operand);
  if (DtypeFrom(buffer->dtype) != dtype || buffer->rank > STATESPACE_MAX_RANK) return false;
  tensor->data = buffer->data != nullptr ? buffer->data : empty_buffer;
  tensor->dtype = dtype;
  tensor->rank = static_cast<int32_t>(buffer->rank);
  for (int64_t axis = 0; axis < buffer->rank; ++axis) tensor->dims[axis] = buffer->dims[axis];
  return true;
}

// Checks the operands of the call in full: the program was made by xla_kernels.cc, but it may have
// been stored and read back by another version of the library.
XLA_FFI_Error* Execute(const XLA_FFI_CallFrame* frame) {
  const Attributes attributes = ReadAttributes(frame->attrs);
  const std::string name(attributes.op);
  const int index = FindOp(name);
  if (index < 0) {
    return InvalidArgument(frame, name + ": the loaded statespace library has no such op");
  }
  const StatespaceOp& op = Api()->ops[index];
  if (frame->args.size != op.num_inputs || frame->rets.size != op.num_outputs ||
      attributes.flags.size() != static_cast<size_t>(op.num_attrs)) {
    return InvalidArgument(frame, name + ": compiled for another version of statespace");
  }

  StatespaceTensor inputs[STATESPACE_MAX_OPERANDS];
  StatespaceTensor outputs[STATESPACE_MAX_OPERANDS];
  uint8_t attrs[STATESPACE_MAX_OPERANDS];
  int32_t common_dtype = 0;
  for (int i = 0; i < op.num_inputs; ++i) {
    const void* operand = frame->args.args[i];
    if (i == 0) common_dtype = DtypeFrom(static_cast<const XLA_FFI_Buffer*>(operand)->dtype);
    const bool real = common_dtype == STATESPACE_FLOAT32 || common_dtype == STATESPACE_FLOAT64;
    if (!real || !FillTensor(operand, common_dtype, &inputs[i])) {
      return InvalidArgument(frame, name + ": wrong dtype or rank of input " + op.input_names[i]);
    }
  }
  for (int i = 0; i < op.num_outputs; ++i) {
    const int32_t dtype = op.output_dtypes[i] != 0 ? op.output_dtypes[i] : common_dtype;
    if (!FillTensor(frame->rets.rets[i], dtype, &outputs[i])) {
      return InvalidArgument(frame, name + ": wrong dtype or rank of output " + op.output_names[i]);
    }
  }
  for (int i = 0; i < op.num_attrs; ++i) attrs[i] = attributes.flags[i] == '1';

  char message[kMessageSize] = "";
  const int32_t failed = Api()->run(index, inputs, outputs, attrs, message, sizeof(message));
  return failed ? InvalidArgument(frame, message) : nullptr;
}

// Before the first call XLA asks, through an extension of the call frame, which version of the
// interface the handler was built for.
void DescribeHandler(XLA_FFI_Metadata* metadata) {
  metadata->api_version.struct_size = XLA_FFI_Api_Version_STRUCT_SIZE;
  metadata->api_version.extension_start = nullptr;
  metadata->api_version.major_version = XLA_FFI_API_MAJOR;
  metadata->api_version.minor_version = XLA_FFI_API_MINOR;
  metadata->traits = 0;
#if XLA_FFI_API_MAJOR > 0 || XLA_FFI_API_MINOR >= 2
  metadata->state_type_id = XLA_FFI_UNKNOWN_TYPE_ID;  // the handler keeps no state
#endif
}

XLA_FFI_Error* HandleCall(XLA_FFI_CallFrame* frame) {
  XLA_FFI_Extension_Base* extension = frame->extension_start;
  if (extension != nullptr && extension->type == XLA_FFI_Extension_Metadata) {
    DescribeHandler(reinterpret_cast<XLA_FFI_Metadata_Extension*>(extension)->metadata);
    return nullptr;
  }
  return Execute(frame);
}

XLA_FFI_ByteSpan Span(std::string_view text) { return {text.data(), text.size()}; }

}  // namespace

std::string RegisterFfiHandler() {
  const XLA_FFI_Api* api = xla::ffi::GetXlaFfiApi();
  XLA_FFI_Handler_Register_Args args = {};
  args.struct_size = XLA_FFI_Handler_Register_Args_STRUCT_SIZE;
  args.name = Span(kCallTarget);
  args.platform = Span("Host");
  args.bundle.execute = HandleCall;
  XLA_FFI_Error* error = api->XLA_FFI_Handler_Register(&args);
  if (error == nullptr) return "";

  XLA_FFI_Error_GetMessage_Args text = {};
  text.struct_size = XLA_FFI_Error_GetMessage_Args_STRUCT_SIZE;
  text.error = error;
  api->XLA_FFI_Error_GetMessage(&text);
  const std::string reason = std::string("XLA refused the custom call handler: ") + text.message;
  XLA_FFI_Error_Destroy_Args destroy = {};
  destroy.struct_size = XLA_FFI_Error_Destroy_Args_STRUCT_SIZE;
  destroy.error = error;
  api->XLA_FFI_Error_Destroy(&destroy);
  return reason;
}

}  // namespace statespace
