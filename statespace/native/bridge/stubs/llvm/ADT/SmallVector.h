// TensorFlow 2.19 ships a header on tensor memory of GPUs, xla/stream_executor/gpu/tma_metadata.h,
// but not the two LLVM headers that it includes. XLA's client headers lead to it, and the bridge
// never touches what it declares: names are enough. Searched last, so that real headers come first.
#ifndef STATESPACE_NATIVE_BRIDGE_STUBS_LLVM_ADT_SMALLVECTOR_H_
#define STATESPACE_NATIVE_BRIDGE_STUBS_LLVM_ADT_SMALLVECTOR_H_

namespace llvm {
template <typename T>
class SmallVector {};
}  // namespace llvm

#endif  // STATESPACE_NATIVE_BRIDGE_STUBS_LLVM_ADT_SMALLVECTOR_H_
