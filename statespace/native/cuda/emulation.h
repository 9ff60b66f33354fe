// A GPU on the host, for tests: what of CUDA's language the kernel of launch.h is written in, and
// threads that run one after the other.
//
// Kernels here neither talk to other threads nor wait for them, so that any order will do.
#ifndef STATESPACE_NATIVE_CUDA_EMULATION_H_
#define STATESPACE_NATIVE_CUDA_EMULATION_H_

#include <cstdint>
#include <cstring>
#include <memory>

#define __global__
#define __grid_constant__

namespace statespace {
namespace emulation {

struct Index {
  unsigned x;
};
inline thread_local Index block_index, block_size, grid_size, thread_index;
inline thread_local char* shared_memory;

// kernel<<<blocks, threads, shared_bytes>>>(arguments...)
template <class Kernel, class... Arguments>
void launch(Kernel* kernel, unsigned blocks, unsigned threads, int64_t shared_bytes,
            const Arguments&... arguments) {
  grid_size.x = blocks;
  block_size.x = threads;
  for (unsigned block = 0; block < blocks; ++block) {
    block_index.x = block;
    // As it comes on a GPU: full of what others have left, and gone with the block.
    const std::unique_ptr<double[]> shared(new double[(shared_bytes + 7) / 8]);
    shared_memory = reinterpret_cast<char*>(shared.get());
    std::memset(shared_memory, 0xff, shared_bytes);
    for (unsigned thread = 0; thread < threads; ++thread) {
      thread_index.x = thread;
      kernel(arguments...);
    }
  }
}

}  // namespace emulation
}  // namespace statespace

#define blockIdx statespace::emulation::block_index
#define blockDim statespace::emulation::block_size
#define gridDim statespace::emulation::grid_size
#define threadIdx statespace::emulation::thread_index

#endif  // STATESPACE_NATIVE_CUDA_EMULATION_H_
