// See SmallVector.h.
#ifndef STATESPACE_NATIVE_BRIDGE_STUBS_LLVM_ADT_ARRAYREF_H_
#define STATESPACE_NATIVE_BRIDGE_STUBS_LLVM_ADT_ARRAYREF_H_

#include "llvm/ADT/SmallVector.h"

namespace llvm {
template <typename T>
class ArrayRef {
 public:
  ArrayRef(const SmallVector<T>&) {}
};
}  // namespace llvm

#endif  // STATESPACE_NATIVE_BRIDGE_STUBS_LLVM_ADT_ARRAYREF_H_
