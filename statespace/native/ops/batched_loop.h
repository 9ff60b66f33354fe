// The one loop behind all factorisation ops on a CPU: a batch of matrices, several side by side in
// lanes.
#ifndef STATESPACE_NATIVE_OPS_BATCHED_LOOP_H_
#define STATESPACE_NATIVE_OPS_BATCHED_LOOP_H_

#include "ops/batched.h"
#include "ops/thread_pool.h"

namespace statespace {
namespace STATESPACE_ISA {

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
    run_range<V, Op>(call, begin * kLanes<V>, std::min(end * kLanes<V>, call.batch),
                     scratch_for<V>(range_work_size<V, Op>(call)));
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
  if (largest <= kLargestInLanes<Op>) {
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

}  // namespace STATESPACE_ISA
}  // namespace statespace

#endif  // STATESPACE_NATIVE_OPS_BATCHED_LOOP_H_
