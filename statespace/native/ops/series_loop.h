// The loop behind the Kalman ops on a CPU: a batch of series, several side by side in lanes.
#ifndef STATESPACE_NATIVE_OPS_SERIES_LOOP_H_
#define STATESPACE_NATIVE_OPS_SERIES_LOOP_H_

#include "ops/kalman_kernels.h"
#include "ops/thread_pool.h"

namespace statespace {
namespace STATESPACE_ISA {

// Runs Op::compute on a group, with scratch memory.
template <class Op, class V>
void compute_group(const Call& call, const Group<V>& group) {
  Op::compute(call, group, scratch_for<V>(Op::template work_size<V>(call)));
}

// The same for all groups of series.
template <class T, class Op>
void run_series(const Call& call) {
  const int64_t width = kalman_in_lanes(call) ? kLanes<Vector<T>> : 1;
  const auto range = [](const void* opaque, int64_t begin, int64_t end) {
    const Call& c = *static_cast<const Call*>(opaque);
    const int64_t step = kalman_in_lanes(c) ? kLanes<Vector<T>> : 1;
    const int64_t last = end * step < c.batch ? end * step : c.batch;
    for_each_series<T, typename Op::Form>(c, begin * step, last,
                                          [&c](auto group) { compute_group<Op>(c, group); });
  };
  parallel_for((call.batch + width - 1) / width, kalman_cost(call), range, &call);
}

// The row of a kernel table that runs Op.
template <class Op>
constexpr KernelEntry series_entry(const char* name) {
  return {name, run_series<float, Op>, run_series<double, Op>};
}

}  // namespace STATESPACE_ISA
}  // namespace statespace

#endif  // STATESPACE_NATIVE_OPS_SERIES_LOOP_H_
