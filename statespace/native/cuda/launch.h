// How work comes to a GPU: one kernel, whose threads each take items of a batch in turn.
//
// Nothing here waits for the GPU, allocates memory or leaves the stream that TensorFlow gave.
#ifndef STATESPACE_NATIVE_CUDA_LAUNCH_H_
#define STATESPACE_NATIVE_CUDA_LAUNCH_H_

#include <algorithm>
#include <cstdint>
#include <cstring>

#if defined(__CUDACC__)
#include <cuda_runtime.h>
#else
#include "cuda/emulation.h"
#endif

namespace statespace {
namespace cuda {

// Threads of a block that works in global memory; and the shared memory that every GPU gives a
// block without being asked, of which each thread takes its scratch where at least a warp of them
// finds room.
constexpr int64_t kThreads = 128, kWarp = 32;
constexpr int64_t kSharedBytes = 48 << 10;
// All the global memory that the threads of one launch work in, and their number where they need
// none. Where that does not do for a thread an item, fewer threads take several items each; on the
// emulated GPU soon, so that tests come there.
#if defined(__CUDACC__)
constexpr int64_t kMostWorkBytes = int64_t{256} << 20, kMostThreads = 1 << 24;
#else
constexpr int64_t kMostWorkBytes = 64 << 10, kMostThreads = 200;
#endif
// Kernel parameters had no more room before CUDA 12.1.
constexpr size_t kMostParameterBytes = 4096;

// Where the threads of a launch have their scratch memory, `bytes` each: in `global` or, where that
// is null, in shared memory.
struct Scratch {
  char* global;
  int64_t bytes;
};

// Calls body(item, scratch) for items 0 ... count - 1. The same item goes to the same thread every
// time, and no two threads write to the same place.
template <class Body>
__global__ void for_each_item(const __grid_constant__ Body body, int64_t count, int64_t threads,
                              Scratch scratch) {
#if defined(__CUDACC__)
  extern __shared__ __align__(16) char shared_memory[];
#else
  char* const shared_memory = emulation::shared_memory;
#endif
  const int64_t thread = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (thread >= threads) return;
  char* const memory = scratch.global != nullptr ? scratch.global + thread * scratch.bytes
                                                 : shared_memory + threadIdx.x * scratch.bytes;
  for (int64_t item = thread; item < count; item += threads) body(item, memory);
}

// What a kernel of an op asks of the GPU during one call. It is called twice: first to count the
// bytes of memory that it wants, then to have them and to launch its work.
class Device {
 public:
  // Only counts.
  Device() = default;
  // memory: as many bytes as a call that only counted has asked for, aligned to 16.
  Device(char* memory, void* stream) : memory_(memory), stream_(stream), launches_(true) {}

  int64_t bytes() const { return bytes_; }
  // Why a launch failed; null if none has.
  const char* error() const { return error_; }

  // Room for `count` numbers until the work that has been launched is done; null while counting.
  template <class T>
  T* take(int64_t count) {
    constexpr int64_t kAlignment = 16;
    T* const place = launches_ ? reinterpret_cast<T*>(memory_ + bytes_) : nullptr;
    const int64_t bytes = count * static_cast<int64_t>(sizeof(T));
    bytes_ += (bytes + kAlignment - 1) / kAlignment * kAlignment;
    return place;
  }

  // body(item, memory), a function of host and device, for all items, with `scratch_bytes` of
  // memory for each, in which nothing is defined.
  template <class Body>
  void for_each(int64_t count, int64_t scratch_bytes, const Body& body) {
    static_assert(sizeof(Body) + 2 * sizeof(int64_t) + sizeof(Scratch) <= kMostParameterBytes);
    if (count == 0) return;
    // An odd number of doubles: neighbouring threads then meet different banks of shared memory.
    const int64_t odd = (scratch_bytes + 7) / 8 * 8 | 8;
    const bool shared = odd * kWarp <= kSharedBytes;
    const int64_t even = (scratch_bytes + 15) / 16 * 16;
    const int64_t block =
        shared ? std::min(kThreads, kSharedBytes / odd / kWarp * kWarp) : kThreads;
    const int64_t most = shared ? kMostThreads : std::max<int64_t>(kMostWorkBytes / even, 1);
    const int64_t threads = std::min(count, most);
    const Scratch scratch = {shared ? nullptr : take<char>(threads * even), shared ? odd : even};
    if (!launches_) return;
    const auto blocks = static_cast<unsigned>((threads + block - 1) / block);
    const int64_t shared_bytes = shared ? block * odd : 0;
#if defined(__CUDACC__)
    for_each_item<Body><<<blocks, static_cast<unsigned>(block), shared_bytes,
                          static_cast<cudaStream_t>(stream_)>>>(body, count, threads, scratch);
    const cudaError_t status = cudaGetLastError();
    if (status != cudaSuccess && error_ == nullptr) error_ = cudaGetErrorString(status);
#else
    emulation::launch(for_each_item<Body>, blocks, static_cast<unsigned>(block), shared_bytes, body,
                      count, threads, scratch);
#endif
  }

 private:
  char* memory_ = nullptr;
  void* stream_ = nullptr;
  bool launches_ = false;
  int64_t bytes_ = 0;
  const char* error_ = nullptr;
};

}  // namespace cuda
}  // namespace statespace

#endif  // STATESPACE_NATIVE_CUDA_LAUNCH_H_
