// A small pool of threads for the kernels: TensorFlow's C API gives no access to its own.
#ifndef STATESPACE_NATIVE_OPS_THREAD_POOL_H_
#define STATESPACE_NATIVE_OPS_THREAD_POOL_H_

#include <cstddef>
#include <cstdint>

namespace statespace {

int num_threads();
void set_num_threads(int count);

using RangeFunction = void (*)(const void* context, int64_t begin, int64_t end);

// Calls function(context, begin, end) over disjoint ranges that cover 0 ... count, on several
// threads if the work is worth it: cost is that of one item, in nanoseconds. Runs on the calling
// thread alone while another call uses the pool, and inside a pool thread. Workers take over the
// caller's floating-point mode, so that the same numbers come out of every thread. An exception in
// any range is thrown again here, when all have ended.
void parallel_for(int64_t count, double cost, RangeFunction function, const void* context);

// The calling thread's scratch memory, at least `bytes` long and aligned to 64. It lasts until the
// next call on the same thread. Throws std::bad_alloc.
void* scratch(size_t bytes);
// The same for `count` numbers of type V.
template <class V>
inline V* scratch_for(int64_t count) {
  return static_cast<V*>(scratch(count * sizeof(V)));
}

}  // namespace statespace

#endif  // STATESPACE_NATIVE_OPS_THREAD_POOL_H_
