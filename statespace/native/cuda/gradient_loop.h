// The loop behind the gradients of the Kalman ops on a GPU: a thread for each series, or, where the
// gradients of parameters that several series share are summed, for each of the chunks that the
// batch is parted into. A chunk has a copy of those gradients, and the copies are added by halves:
// the result depends on the sizes alone.
#ifndef STATESPACE_NATIVE_CUDA_GRADIENT_LOOP_H_
#define STATESPACE_NATIVE_CUDA_GRADIENT_LOOP_H_

#include <algorithm>

#include "cuda/kernel_entry.h"
#include "ops/kalman_gradient.h"

namespace statespace {
namespace cuda {

// At most so many chunks, and bytes of their copies; on the emulated GPU few, so that tests meet
// chunks of several series.
#if defined(__CUDACC__)
constexpr int64_t kMostChunks = 1 << 14;
#else
constexpr int64_t kMostChunks = 7;
#endif
constexpr int64_t kMostCopyBytes = int64_t{64} << 20;

template <class T>
struct Zero {
  T* data;
  STATESPACE_HOST_DEVICE void operator()(int64_t i, char*) const { data[i] = T(0); }
};

template <class T>
struct Add {
  T* data;
  const T* more;
  STATESPACE_HOST_DEVICE void operator()(int64_t i, char*) const { data[i] += more[i]; }
};

template <class T>
struct Copy {
  T* data;
  const T* from;
  STATESPACE_HOST_DEVICE void operator()(int64_t i, char*) const { data[i] = from[i]; }
};

// T: what the operands hold; Compute: what the recursion computes with.
template <class T, class Compute, class Op>
struct GradientChunk {
  Call call;
  T* copies;  // one a chunk
  int64_t copy_size, chunks;
  STATESPACE_HOST_DEVICE void operator()(int64_t chunk, char* memory) const {
    GradientTarget targets[kNumModelOperands];
    place_targets(call, copies + chunk * copy_size, targets);
    const int n = static_cast<int>(call.size('n')), m = static_cast<int>(call.size('m'));
    const int64_t end = call.batch * (chunk + 1) / chunks;
    for (int64_t item = call.batch * chunk / chunks; item < end; ++item) {
      Op::compute(call, targets, Group<Compute>{item, 1}, n, m, reinterpret_cast<Compute*>(memory));
    }
  }
};

template <class T, class Compute, class Op>
void run_gradient(const Call& call, Device& device) {
  const Operand* const outputs = call.outputs;
  if (call.size('T') == 0 || call.batch == 0) {
    for (int i = 0; i < kNumModelOperands; ++i) {
      device.for_each(outputs[i].num_elements, 0, Zero<T>{static_cast<T*>(outputs[i].data)});
    }
    return;
  }
  const int64_t copy_size = summed_size(call);
  int64_t chunks = call.batch;
  if (copy_size > 0) {
    const int64_t affordable = kMostCopyBytes / (copy_size * static_cast<int64_t>(sizeof(T)));
    chunks = std::clamp<int64_t>(affordable, 1, std::min(chunks, kMostChunks));
  }
  T* const copies = device.take<T>(chunks * copy_size);
  device.for_each(chunks * copy_size, 0, Zero<T>{copies});
  const int64_t bytes =
      Op::template work_size<Compute>(call) * static_cast<int64_t>(sizeof(Compute));
  device.for_each(chunks, bytes, GradientChunk<T, Compute, Op>{call, copies, copy_size, chunks});

  if (copy_size == 0) return;
  for (int64_t rows = chunks; rows > 1;) {
    const int64_t half = (rows + 1) / 2;
    device.for_each((rows - half) * copy_size, 0, Add<T>{copies, copies + half * copy_size});
    rows = half;
  }
  const T* copy = copies;
  for (int i = 0; i < kNumModelOperands; ++i) {
    if (!is_summed(call, outputs[i])) continue;
    device.for_each(outputs[i].num_elements, 0, Copy<T>{static_cast<T*>(outputs[i].data), copy});
    copy += outputs[i].num_elements;
  }
}

}  // namespace cuda
}  // namespace statespace

#endif  // STATESPACE_NATIVE_CUDA_GRADIENT_LOOP_H_
