// The loop behind the gradients of the Kalman ops on a CPU.
#ifndef STATESPACE_NATIVE_OPS_GRADIENT_LOOP_H_
#define STATESPACE_NATIVE_OPS_GRADIENT_LOOP_H_

#include <algorithm>

#include "ops/kalman_gradient.h"
#include "ops/thread_pool.h"

namespace statespace {
namespace STATESPACE_ISA {

// Gradients of operands that several series share are summed by a fixed partition of the batch into
// chunks, each with a copy of its own: the result does not depend on the number of threads. There
// are at most so many chunks, which also bounds the threads at work, and bytes of copies.
constexpr int64_t kMostChunks = 16;
constexpr int64_t kMostCopyBytes = int64_t{64} << 20;

// Zeros in the gradients of the model's operands, the first outputs, that are summed; the others
// are written once, if there is any step of any series.
template <class T>
void clear_gradients(const Call& call) {
  const bool any_step = call.size('T') > 0 && call.batch > 0;
  for (int i = 0; i < kNumModelOperands; ++i) {
    if (!is_summed(call, call.outputs[i]) && any_step) continue;
    std::fill_n(static_cast<T*>(call.outputs[i].data), call.outputs[i].num_elements, T(0));
  }
}

// Calls body(targets, group) over all groups of series, for gradients of the model's operands that
// start from what the outputs hold.
// T: what the operands hold; Compute: what the recursion computes with; series_cost: about the
// nanoseconds of one series.
template <class T, class Compute, class Form, class Body>
void add_gradients(const Call& call, double series_cost, const Body& body) {
  const int64_t width = kalman_in_lanes(call) ? kLanes<Vector<Compute>> : 1;
  const int64_t groups = (call.batch + width - 1) / width;
  // The first chunk adds into the outputs themselves, each other one into a copy.
  const int64_t copy_size = summed_size(call);
  int64_t chunks = groups < kMostChunks ? groups : kMostChunks;
  const int64_t affordable = copy_size > 0 ? kMostCopyBytes / (copy_size * sizeof(T)) : chunks;
  if (chunks > affordable + 1) chunks = affordable + 1;
  struct Copies {
    T* data;
    explicit Copies(int64_t size) : data(new T[size]()) {}
    ~Copies() { delete[] data; }
  } copies(chunks > 1 ? (chunks - 1) * copy_size : 0);

  struct Context {
    const Call& call;
    const Body& body;
    T* copies;
    int64_t chunks, groups, width, copy_size;
  } context = {call, body, copies.data, chunks, groups, width, copy_size};
  const auto range = [](const void* opaque, int64_t first_chunk, int64_t last_chunk) {
    const Context& c = *static_cast<const Context*>(opaque);
    for (int64_t chunk = first_chunk; chunk < last_chunk; ++chunk) {
      GradientTarget targets[kNumModelOperands];
      place_targets(c.call, chunk > 0 ? c.copies + (chunk - 1) * c.copy_size : nullptr, targets);
      const int64_t begin = c.groups * chunk / c.chunks * c.width;
      const int64_t end = c.groups * (chunk + 1) / c.chunks * c.width;
      const int64_t last = end < c.call.batch ? end : c.call.batch;
      for_each_series<Compute, Form>(c.call, begin, last,
                                     [&](auto group) { c.body(targets, group); });
    }
  };
  const double cost =
      series_cost * static_cast<double>(groups) / static_cast<double>(chunks > 0 ? chunks : 1);
  parallel_for(chunks, cost, range, &context);

  const T* copy = copies.data;
  for (int64_t chunk = 1; chunk < chunks; ++chunk) {
    for (int i = 0; i < kNumModelOperands; ++i) {
      const Operand& output = call.outputs[i];
      if (!is_summed(call, output)) continue;
      T* const data = static_cast<T*>(output.data);
      for (int64_t j = 0; j < output.num_elements; ++j) data[j] += copy[j];
      copy += output.num_elements;
    }
  }
}

// Runs Op::compute over all groups of series, adding to the outputs.
template <class T, class Compute, class Op>
void add_gradients_of(const Call& call) {
  add_gradients<T, Compute, typename Op::Form>(
      call, 4 * kalman_cost(call), [&call](const GradientTarget* targets, auto group) {
        using V = typename decltype(group)::Value;
        V* const memory = scratch_for<V>(Op::template work_size<V>(call));
        if constexpr (Op::kUnrolled) {
          with_model_sizes<V>(
              call, [&](auto n, auto m) { Op::compute(call, targets, group, n, m, memory); });
        } else {
          Op::compute(call, targets, group, static_cast<int>(call.size('n')),
                      static_cast<int>(call.size('m')), memory);
        }
      });
}

template <class T, class Compute, class Op>
void run_gradient(const Call& call) {
  clear_gradients<T>(call);
  add_gradients_of<T, Compute, Op>(call);
}

}  // namespace STATESPACE_ISA
}  // namespace statespace

#endif  // STATESPACE_NATIVE_OPS_GRADIENT_LOOP_H_
