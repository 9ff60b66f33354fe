// The one loop behind all factorisation ops: a batch of matrices, several side by side in lanes.
#ifndef STATESPACE_NATIVE_OPS_BATCHED_H_
#define STATESPACE_NATIVE_OPS_BATCHED_H_

#include <algorithm>
#include <type_traits>

#include "core/dims.h"
#include "ops/lanes.h"
#include "ops/thread_pool.h"

namespace statespace {
namespace STATESPACE_ISA {

// Sizes up to this one are unrolled.
constexpr int kLargestUnrolled = 4;

// Items whose largest operand has at most this many numbers go side by side, a lone item too: which
// of the two ways an item goes, and so every bit of its results, depends on its own size alone.
// Larger items go one by one, and the core vectorises within each.
constexpr int64_t kLargestInLanes = 64 * 64;

// Runs Op on one group. Op provides
//   static int64_t work_size(const Call&): numbers of scratch per item
//   static double flops(const Call&): per item, about
//   template <class V> static void compute(const Call&, const V* const* in, V* const* out, V* work)
template <class V, class Op>
void run_group(const Call& call, const Group<V>& group) {
  int64_t total = Op::work_size(call);
  for (int i = 0; i < call.num_inputs; ++i) total += call.inputs[i].core_size;
  for (int i = 0; i < call.num_outputs; ++i) total += call.outputs[i].core_size;
  V* memory = static_cast<V*>(scratch((total + 1) * sizeof(V)));
  const V* in[STATESPACE_MAX_OPERANDS] = {};
  V* out[STATESPACE_MAX_OPERANDS] = {};
  for (int i = 0; i < call.num_inputs; ++i) {
    load(call.inputs[i], group, 0, memory);
    in[i] = memory;
    memory += call.inputs[i].core_size;
  }
  for (int i = 0; i < call.num_outputs; ++i) {
    out[i] = memory;
    memory += call.outputs[i].core_size;
  }
  Op::compute(call, in, out, memory);
  for (int i = 0; i < call.num_outputs; ++i) store(call.outputs[i], group, 0, out[i]);
}

// True of an Op that says `static constexpr bool kOwnThreads = true`: its large items use threads
// of their own, such as LAPACK's, and run one after another on the calling thread.
template <class Op, class = void>
constexpr bool kOwnThreads = false;
template <class Op>
constexpr bool kOwnThreads<Op, std::void_t<decltype(Op::kOwnThreads)>> = Op::kOwnThreads;

template <class T, class Op, class V>
void run_groups(const Call& call, double bytes) {
  // Threads get whole groups, so that each but the last is full.
  const auto range = [](const void* opaque, int64_t begin, int64_t end) {
    const Call& call = *static_cast<const Call*>(opaque);
    const int64_t last = std::min(end * kLanes<V>, call.batch);
    for (int64_t first = begin * kLanes<V>; first < last; first += kLanes<V>) {
      const int count = static_cast<int>(std::min<int64_t>(kLanes<V>, last - first));
      run_group<V, Op>(call, Group<V>{first, count});
    }
  };
  if (kLanes<V> == 1 && kOwnThreads<Op>) return range(&call, 0, call.batch);
  // At about 5 GFLOP/s and 10 GB/s.
  const double nanoseconds = kLanes<V> * (Op::flops(call) / 5 + bytes / 10);
  parallel_for((call.batch + kLanes<V> - 1) / kLanes<V>, nanoseconds, range, &call);
}

template <class T, class Op>
void run_batched(const Call& call) {
  int64_t largest = 0, total = 0;
  const auto count = [&](const Operand* operands, int number) {
    for (int i = 0; i < number; ++i) {
      largest = std::max(largest, operands[i].core_size);
      total += operands[i].core_size;
    }
  };
  count(call.inputs, call.num_inputs);
  count(call.outputs, call.num_outputs);
  const double bytes = static_cast<double>(total) * sizeof(T);
  if (largest <= kLargestInLanes) {
    run_groups<T, Op, Vector<T>>(call, bytes);
  } else {
    run_groups<T, Op, T>(call, bytes);
  }
}

// The row of a kernel table that runs Op.
template <class Op>
constexpr KernelEntry batched_entry(const char* name) {
  return {name, run_batched<float, Op>, run_batched<double, Op>};
}

// Calls f with n: in lanes, where matrices are small, with small sizes as constants.
template <class V, class F>
inline void with_matrix_size(int64_t n, F&& f) {
  if constexpr (kLanes<V> > 1) {
    with_size<kLargestUnrolled>(static_cast<int>(n), f);
  } else {
    f(static_cast<int>(n));
  }
}

// n^3 as a number of operations.
inline double cube(int64_t n) { return static_cast<double>(n) * n * n; }

}  // namespace STATESPACE_ISA
}  // namespace statespace

#endif  // STATESPACE_NATIVE_OPS_BATCHED_H_
