// The one loop behind all factorisation ops: a batch of matrices, several side by side in lanes.
#ifndef STATESPACE_NATIVE_OPS_BATCHED_H_
#define STATESPACE_NATIVE_OPS_BATCHED_H_

#include "core/dims.h"
#include "ops/lanes.h"
#include "ops/thread_pool.h"

namespace statespace {
namespace STATESPACE_ISA {

// Matrices up to this size go side by side: beyond it a group no longer fits the first-level cache,
// and the loops over one matrix are long enough to vectorise by themselves.
constexpr int64_t kLargestInLanes = 32 * 32;

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
  const V* in[STATESPACE_MAX_OPERANDS];
  V* out[STATESPACE_MAX_OPERANDS];
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

template <class T, class Op>
void run_batched(const Call& call) {
  int64_t largest = 0;
  for (int i = 0; i < call.num_inputs; ++i) {
    if (call.inputs[i].core_size > largest) largest = call.inputs[i].core_size;
  }
  struct Context {
    const Call& call;
    bool in_lanes;
    int64_t width;
  } context = {call, largest <= kLargestInLanes, 1};
  if (context.in_lanes) context.width = kLanes<Vector<T>>;
  // Threads get whole groups, so that each but the last is full.
  const auto range = [](const void* opaque, int64_t begin, int64_t end) {
    const Context& c = *static_cast<const Context*>(opaque);
    const int64_t last = end * c.width < c.call.batch ? end * c.width : c.call.batch;
    for_each_group<T>(begin * c.width, last, c.in_lanes, false, [&c](auto group) {
      run_group<typename decltype(group)::Value, Op>(c.call, group);
    });
  };
  const double nanoseconds =
      static_cast<double>(context.width) * (10 + Op::flops(call));  // 1 GFLOP/s
  parallel_for((call.batch + context.width - 1) / context.width, nanoseconds, range, &context);
}

}  // namespace STATESPACE_ISA
}  // namespace statespace

#endif  // STATESPACE_NATIVE_OPS_BATCHED_H_
