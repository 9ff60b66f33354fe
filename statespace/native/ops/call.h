// One call of an op, its shapes checked, as a kernel sees it.
#ifndef STATESPACE_NATIVE_OPS_CALL_H_
#define STATESPACE_NATIVE_OPS_CALL_H_

#include <cstdint>

#include "ops/api.h"

namespace statespace {

struct Operand {
  void* data;
  int32_t dtype;
  int64_t core_size;    // numbers per item and step
  int64_t step_stride;  // numbers between steps; 0 if there is no time axis, or one of length 1
  int64_t item_size;  // numbers per batch item: core_size, times the steps if there is a time axis
  int64_t num_elements;  // of the whole tensor
  int64_t item_stride;   // numbers between batch items: item_size, or 0 where there is only one
  const int64_t*
      offsets;  // of each batch item in numbers; null where item i lies at i * item_stride
  bool shared;  // several batch items may lie at the same place

  int64_t offset(int64_t item) const {
    return offsets != nullptr ? offsets[item] : item * item_stride;
  }
  template <class T>
  T* item(int64_t index) const {
    return static_cast<T*>(data) + offset(index);
  }
};

struct Call {
  int64_t batch;      // number of items
  int64_t sizes[26];  // by axis letter, see size()
  int num_inputs, num_outputs;
  Operand inputs[STATESPACE_MAX_OPERANDS];
  Operand outputs[STATESPACE_MAX_OPERANDS];
  const uint8_t* attrs;

  // 'T' is the number of steps; core axes have small letters.
  int64_t size(char letter) const { return letter == 'T' ? sizes[25] : sizes[letter - 'a']; }
};

// A kernel for one op and one dtype.
using Kernel = void (*)(const Call& call);

struct KernelEntry {
  const char* op;
  Kernel float32;
  Kernel float64;
};

}  // namespace statespace

#endif  // STATESPACE_NATIVE_OPS_CALL_H_
