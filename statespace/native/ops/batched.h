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
constexpr int64_t kUsuallyInLanes = 64 * 64;

// An Op provides
//   static int64_t work_size(const Call&): numbers of scratch per item
//   static double flops(const Call&): per item, about
//   template <class V> static void compute(const Call&, const V* const* in, V* const* out, V* work)
// and may provide
//   static constexpr int64_t kLargestInLanes: another bound than kUsuallyInLanes
//   static int in_place(int output): the input in whose place the output is computed in lanes where
//     their sizes agree, or -1; the less there is, the more of it stays in the nearest cache.
template <class Op, class = void>
constexpr int64_t kLargestInLanes = kUsuallyInLanes;
template <class Op>
constexpr int64_t kLargestInLanes<Op, std::void_t<decltype(Op::kLargestInLanes)>> =
    Op::kLargestInLanes;

template <class Op, class = void>
struct Places {
  static int of(int) { return -1; }
};
template <class Op>
struct Places<Op, std::void_t<decltype(Op::in_place(0))>> {
  static int of(int output) { return Op::in_place(output); }
};

// Runs Op on items begin ... end - 1: groups in lanes through scratch memory, the same for all of
// them; single items where they are, but for what the kernel has as numbers and TensorFlow as
// int32.
template <class V, class Op>
void run_range(const Call& call, int64_t begin, int64_t end) {
  using T = ScalarOf<V>;
  constexpr bool kCopied = kLanes<V> > 1;
  const auto copied = [](const Operand& operand) {
    return kCopied || operand.dtype == STATESPACE_INT32;
  };
  int64_t total = Op::work_size(call) + 1;
  for (int i = 0; i < call.num_inputs; ++i) total += kCopied ? call.inputs[i].core_size : 0;
  for (int i = 0; i < call.num_outputs; ++i) {
    total += copied(call.outputs[i]) ? call.outputs[i].core_size : 0;
  }
  V* memory = static_cast<V*>(scratch(total * sizeof(V)));
  V* in[STATESPACE_MAX_OPERANDS] = {};
  V* out[STATESPACE_MAX_OPERANDS] = {};
  const auto take = [&memory](const Operand& operand) {
    V* const place = memory;
    memory += operand.core_size;
    return place;
  };
  for (int i = 0; i < call.num_inputs; ++i) {
    if (kCopied) in[i] = take(call.inputs[i]);
  }
  for (int i = 0; i < call.num_outputs; ++i) {
    if (!copied(call.outputs[i])) continue;
    const int place = kCopied ? Places<Op>::of(i) : -1;
    const bool fits = place >= 0 && call.inputs[place].core_size == call.outputs[i].core_size;
    out[i] = fits ? in[place] : take(call.outputs[i]);
  }
  for (int64_t first = begin; first < end; first += kLanes<V>) {
    const Group<V> group = {first, static_cast<int>(std::min<int64_t>(kLanes<V>, end - first))};
    for (int i = 0; i < call.num_inputs; ++i) {
      if constexpr (kCopied) {
        load(call.inputs[i], group, 0, in[i]);
      } else {
        in[i] = call.inputs[i].item<T>(first);
      }
    }
    if constexpr (!kCopied) {
      for (int i = 0; i < call.num_outputs; ++i) {
        if (!copied(call.outputs[i])) out[i] = call.outputs[i].item<T>(first);
      }
    }
    Op::compute(call, in, out, memory);
    for (int i = 0; i < call.num_outputs; ++i) {
      if (copied(call.outputs[i])) store(call.outputs[i], group, 0, out[i]);
    }
  }
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
    run_range<V, Op>(call, begin * kLanes<V>, std::min(end * kLanes<V>, call.batch));
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
