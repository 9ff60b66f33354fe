// The loop behind the Kalman ops on a GPU: a thread for each series.
#ifndef STATESPACE_NATIVE_CUDA_SERIES_LOOP_H_
#define STATESPACE_NATIVE_CUDA_SERIES_LOOP_H_

#include "cuda/kernel_entry.h"
#include "ops/kalman_kernels.h"

namespace statespace {
namespace cuda {

template <class T, class Op>
struct SeriesItem {
  Call call;
  STATESPACE_HOST_DEVICE void operator()(int64_t item, char* memory) const {
    Op::compute(call, Group<T>{item, 1}, reinterpret_cast<T*>(memory));
  }
};

template <class T, class Op>
void run_series(const Call& call, Device& device) {
  const int64_t bytes = Op::template work_size<T>(call) * static_cast<int64_t>(sizeof(T));
  device.for_each(call.batch, bytes, SeriesItem<T, Op>{call});
}

// The row of a kernel table that runs Op.
template <class Op>
constexpr KernelEntry series_entry(const char* name) {
  return {name, run_series<float, Op>, run_series<double, Op>};
}

}  // namespace cuda
}  // namespace statespace

#endif  // STATESPACE_NATIVE_CUDA_SERIES_LOOP_H_
