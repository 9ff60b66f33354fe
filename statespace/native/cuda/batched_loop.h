// The loop behind all factorisation ops on a GPU: a thread for each matrix.
#ifndef STATESPACE_NATIVE_CUDA_BATCHED_LOOP_H_
#define STATESPACE_NATIVE_CUDA_BATCHED_LOOP_H_

#include "cuda/kernel_entry.h"
#include "ops/batched.h"

namespace statespace {
namespace cuda {

template <class T, class Op>
struct BatchedItem {
  Call call;
  STATESPACE_HOST_DEVICE void operator()(int64_t item, char* memory) const {
    run_range<T, Op>(call, item, item + 1, reinterpret_cast<T*>(memory));
  }
};

template <class T, class Op>
void run_batched(const Call& call, Device& device) {
  const int64_t bytes = range_work_size<T, Op>(call) * static_cast<int64_t>(sizeof(T));
  device.for_each(call.batch, bytes, BatchedItem<T, Op>{call});
}

// The row of a kernel table that runs Op.
template <class Op>
constexpr KernelEntry batched_entry(const char* name) {
  return {name, run_batched<float, Op>, run_batched<double, Op>};
}

}  // namespace cuda
}  // namespace statespace

#endif  // STATESPACE_NATIVE_CUDA_BATCHED_LOOP_H_
