// One call of an op, its shapes checked, as a kernel sees it.
#ifndef STATESPACE_NATIVE_OPS_CALL_H_
#define STATESPACE_NATIVE_OPS_CALL_H_

#include <cstdint>

#include "core/host_device.h"
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

  STATESPACE_INLINE int64_t offset(int64_t item) const {
    return offsets != nullptr ? offsets[item] : item * item_stride;
  }
  template <class T>
  STATESPACE_INLINE T* item(int64_t index) const {
    return static_cast<T*>(data) + offset(index);
  }
};

constexpr int kMostAttributes = 8;

struct Call {
  int64_t batch;      // number of items
  int64_t sizes[26];  // by axis letter, see size()
  int num_inputs, num_outputs;
  Operand inputs[STATESPACE_MAX_OPERANDS];
  Operand outputs[STATESPACE_MAX_OPERANDS];
  uint8_t attrs[kMostAttributes];

  // 'T' is the number of steps; core axes have small letters.
  STATESPACE_INLINE int64_t size(char letter) const {
    return letter == 'T' ? sizes[25] : sizes[letter - 'a'];
  }
};

// How the batch items of an operand lie that neither follow each other nor are one: numbers between
// neighbours along each batch axis, 0 where they share.
struct BatchStrides {
  int rank;  // 0: not such an operand
  int64_t sizes[STATESPACE_MAX_RANK];
  int64_t strides[STATESPACE_MAX_RANK];
};

// offsets[i] = the offset of item i for items begin ... end - 1.
STATESPACE_INLINE void fill_offsets(const BatchStrides& x, int64_t begin, int64_t end,
                                    int64_t* offsets) {
  int64_t index[STATESPACE_MAX_RANK], rest = begin;
  for (int axis = x.rank - 1; axis >= 0; --axis) {
    index[axis] = rest % x.sizes[axis];
    rest /= x.sizes[axis];
  }
  for (int64_t item = begin; item < end; ++item) {
    int64_t offset = 0;
    for (int axis = 0; axis < x.rank; ++axis) offset += index[axis] * x.strides[axis];
    offsets[item] = offset;
    for (int axis = x.rank; axis-- > 0 && ++index[axis] == x.sizes[axis];) index[axis] = 0;
  }
}

// A kernel for one op and one dtype.
using Kernel = void (*)(const Call& call);

struct KernelEntry {
  const char* op;
  Kernel float32;
  Kernel float64;
};

}  // namespace statespace

#endif  // STATESPACE_NATIVE_OPS_CALL_H_
