// What the factorisation ops have in common: how items of a batch of matrices come to the core, in
// lanes or by themselves, and what it gives back to the batch.
#ifndef STATESPACE_NATIVE_OPS_BATCHED_H_
#define STATESPACE_NATIVE_OPS_BATCHED_H_

#include <algorithm>
#include <type_traits>

#include "core/dims.h"
#include "ops/lanes.h"

namespace statespace {
namespace STATESPACE_ISA {

// Sizes up to this one are unrolled; not for GPUs, whose threads have no registers for a matrix.
constexpr int kLargestUnrolled = kIsDevice ? 0 : 4;

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
  STATESPACE_INLINE static int of(int) { return -1; }
};
template <class Op>
struct Places<Op, std::void_t<decltype(Op::in_place(0))>> {
  STATESPACE_INLINE static int of(int output) { return Op::in_place(output); }
};

// Whether an operand goes through scratch memory: in lanes each, the same for all groups; else what
// the kernel has as numbers and TensorFlow as int32.
template <class V>
STATESPACE_INLINE bool is_copied(const Operand& operand) {
  return !kAlone<V> || operand.dtype == STATESPACE_INT32;
}

// Numbers of scratch of run_range.
template <class V, class Op>
int64_t range_work_size(const Call& call) {
  int64_t total = Op::work_size(call) + 1;
  for (int i = 0; i < call.num_inputs; ++i) total += kAlone<V> ? 0 : call.inputs[i].core_size;
  for (int i = 0; i < call.num_outputs; ++i) {
    total += is_copied<V>(call.outputs[i]) ? call.outputs[i].core_size : 0;
  }
  return total;
}

// Runs Op on items begin ... end - 1.
template <class V, class Op>
STATESPACE_INLINE void run_range(const Call& call, int64_t begin, int64_t end, V* memory) {
  using T = ScalarOf<V>;
  V* in[STATESPACE_MAX_OPERANDS] = {};
  V* out[STATESPACE_MAX_OPERANDS] = {};
  const auto take = [&memory](const Operand& operand) {
    V* const place = memory;
    memory += operand.core_size;
    return place;
  };
  for (int i = 0; i < call.num_inputs; ++i) {
    if (!kAlone<V>) in[i] = take(call.inputs[i]);
  }
  for (int i = 0; i < call.num_outputs; ++i) {
    if (!is_copied<V>(call.outputs[i])) continue;
    const int place = kAlone<V> ? -1 : Places<Op>::of(i);
    const bool fits = place >= 0 && call.inputs[place].core_size == call.outputs[i].core_size;
    out[i] = fits ? in[place] : take(call.outputs[i]);
  }
  for (int64_t first = begin; first < end; first += kLanes<V>) {
    const Group<V> group = {first, static_cast<int>(std::min<int64_t>(kLanes<V>, end - first))};
    for (int i = 0; i < call.num_inputs; ++i) {
      if constexpr (!kAlone<V>) {
        load(call.inputs[i], group, 0, in[i]);
      } else {
        in[i] = call.inputs[i].item<T>(first);
      }
    }
    if constexpr (kAlone<V>) {
      for (int i = 0; i < call.num_outputs; ++i) {
        if (!is_copied<V>(call.outputs[i])) out[i] = call.outputs[i].item<T>(first);
      }
    }
    Op::compute(call, in, out, memory);
    for (int i = 0; i < call.num_outputs; ++i) {
      if (is_copied<V>(call.outputs[i])) store(call.outputs[i], group, 0, out[i]);
    }
  }
}

// Calls f with n: in lanes, where matrices are small, with small sizes as constants.
template <class V, class F>
STATESPACE_INLINE void with_matrix_size(int64_t n, F&& f) {
  if constexpr (!kAlone<V>) {
    with_size<kLargestUnrolled>(static_cast<int>(n), f);
  } else {
    f(static_cast<int>(n));
  }
}

// n^3 as a number of operations.
inline double cube(int64_t n) { return static_cast<double>(n) * n * n; }

}  // namespace STATESPACE_ISA
}  // namespace statespace

#if defined(STATESPACE_DEVICE)
#include "cuda/batched_loop.h"
#else
#include "ops/batched_loop.h"
#endif

#endif  // STATESPACE_NATIVE_OPS_BATCHED_H_
