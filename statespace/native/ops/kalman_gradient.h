// The gradient of the log-likelihood with respect to the data and every parameter.
#ifndef STATESPACE_NATIVE_OPS_KALMAN_GRADIENT_H_
#define STATESPACE_NATIVE_OPS_KALMAN_GRADIENT_H_

#include <new>

#include "core/kalman_adjoint.h"
#include "ops/kalman_kernels.h"

namespace statespace {
namespace STATESPACE_ISA {

// Gradients of operands that several series share are summed by a fixed partition of the batch into
// chunks, each with a copy of its own: the result does not depend on the number of threads. There
// are at most so many chunks, which also bounds the threads at work, and bytes of copies.
constexpr int64_t kMostChunks = 16;
constexpr int64_t kMostCopyBytes = int64_t{64} << 20;

// Where the gradient of one operand goes.
struct GradientTarget {
  Operand output;
  bool add;  // shared by several series: add, else store
};

// The cotangents of one group's operands: gathered step by step, then taken to the targets of its
// chunk.
template <class V>
class ModelCotangents {
 public:
  using T = ScalarOf<V>;

  static int64_t work_size(const Operand* operands) {
    int64_t size = 0;
    for (int i = 0; i < kNumModelOperands; ++i) size += operands[i].core_size;
    return size;
  }

  // memory: work_size() numbers. failed: lanes whose gradient is what `fill` says instead.
  ModelCotangents(const Operand* operands, const GradientTarget* targets, const Group<V>& group,
                  V* memory, const Mask<V>& failed, const V& fill)
      : operands_(operands), targets_(targets), group_(group), failed_(failed), fill_(fill) {
    for (int i = 0; i < kNumModelOperands; ++i) {
      bars_[i] = memory;
      memory += operands[i].core_size;
      set_zero(operands[i].core_size, bars_[i]);
    }
  }

  // Where a step adds its own.
  KalmanCotangents<V> step() const {
    return {bars_[kY], bars_[kF], bars_[kG], bars_[kH], bars_[kC], bars_[kB], bars_[kD]};
  }

  // Writes the cotangents of what varies by step.
  void flush_step(int64_t step) {
    for (int i = kY; i <= kD; ++i) {
      if (operands_[i].step_stride != 0) flush(static_cast<ModelOperand>(i), step);
    }
  }

  // Writes all others, given those of the first predicted moments, r[n] and cov[n, n].
  template <class N>
  void flush_rest(N n, const V* r, const V* cov, const V* initial_scale, int columns) {
    // d <N, S S'> = <2 N S, dS>.
    V* const scale_bar = bars_[kInitialScale];
    multiply(n, columns, n, rows(cov, n), rows(initial_scale, columns), scale_bar);
    for (int64_t i = 0; i < int64_t{n} * columns; ++i) scale_bar[i] = scale_bar[i] + scale_bar[i];
    for (int i = 0; i < n; ++i) bars_[kInitialMean][i] = r[i];
    for (int i = kY; i < kNumModelOperands; ++i) {
      if (operands_[i].step_stride == 0) flush(static_cast<ModelOperand>(i), 0);
    }
  }

 private:
  // Writes an accumulated cotangent and clears it.
  void flush(ModelOperand which, int64_t step) {
    const GradientTarget& target = targets_[which];
    V* const cotangent = bars_[which];
    const int64_t count = target.output.core_size;
    for (int64_t i = 0; i < count; ++i) cotangent[i] = select<V>(failed_, fill_, cotangent[i]);
    if (!target.add) {
      store(target.output, group_, step, cotangent);
    } else {
      for (int lane = 0; lane < group_.count; ++lane) {
        T* const dst =
            target.output.item<T>(group_.first + lane) + step * target.output.step_stride;
        for (int64_t i = 0; i < count; ++i) dst[i] += get_lane(cotangent[i], lane);
      }
    }
    set_zero(count, cotangent);
  }

  const Operand* operands_;
  const GradientTarget* targets_;
  Group<V> group_;
  Mask<V> failed_;
  V fill_;
  V* bars_[kNumModelOperands];
};

// What a failed series' gradient is: zero where nobody asked for it, all cotangents of its outputs
// being zero, else NaN. `buffer` holds as many numbers as a step of any of them.
template <class V>
inline V fill_of_failed(const Operand* cotangents, int count, const Group<V>& group,
                        int64_t num_steps, V* buffer) {
  const V nan = splat<V>(std::numeric_limits<ScalarOf<V>>::quiet_NaN());
  V fill = V();
  for (int i = 0; i < count; ++i) {
    const Operand& cotangent = cotangents[i];
    const int64_t steps = cotangent.step_stride == 0 ? 1 : num_steps;
    for (int64_t step = 0; step < steps; ++step) {
      load(cotangent, group, step, buffer);
      for (int64_t j = 0; j < cotangent.core_size; ++j) {
        fill = select<V>(buffer[j] == V(), fill, nan);
      }
    }
  }
  return fill;
}

// One group of series: forward with a tape, then backward.
struct KalmanGradientOp {
  static constexpr bool kUnrolled = true;

  template <class V, class N, class M>
  static void compute(const Call& call, const GradientTarget* targets, const Group<V>& group, N n,
                      M m) {
    using Run = KalmanRun<V, N, M>;
    const Operand& weights = call.inputs[0];
    const Operand* const operands = call.inputs + 1;
    const int64_t num_steps = call.size('T'), square = int64_t{n} * n;
    const int64_t size = Run::work_size(call) + Tape<V>::size(num_steps, n) +
                         kalman_adjoint_work_size(n, m) + n + square +
                         ModelCotangents<V>::work_size(operands);
    V* memory = static_cast<V*>(scratch(size * sizeof(V)));
    const auto take = [&memory](int64_t count) { return (memory += count) - count; };
    Run run(call, operands, group, n, m, take(Run::work_size(call)));
    const Tape<V> tape = {take(Tape<V>::size(num_steps, n)), n};
    V* const r = take(n);
    V* const cov = take(square);
    V* const work = take(kalman_adjoint_work_size(n, m));

    const V info = run.forward([&](int64_t step) { tape.record(step, run); });
    if (num_steps == 0) return;
    ModelCotangents<V> bars(operands, targets, group, memory, info != V(),
                            fill_of_failed(&weights, 1, group, num_steps, work));
    set_zero(n, r);
    set_zero(square, cov);
    for (int64_t step = num_steps - 1; step >= 0; --step) {
      run.repeat_update(step, tape.mean(step), tape.covariance(step));
      V weight = V();
      load(weights, group, step, &weight);
      kalman_adjoint(n, m, run.noise(), run.observation_noise(), run.model(), run.update(),
                     tape.mean(step), tape.covariance(step), weight,
                     static_cast<const KalmanMomentCotangents<V>*>(nullptr), r, cov, bars.step(),
                     work);
      bars.flush_step(step);
    }
    bars.flush_rest(n, r, cov, run.initial_scale(), run.initial_noise());
  }
};

// Runs Op::compute(call, targets, group, n, m) over all groups of series. The gradients of the
// model's operands are the first outputs.
template <class T, class Op>
void run_gradient(const Call& call) {
  const int64_t width = kalman_in_lanes(call) ? kLanes<Vector<T>> : 1;
  const int64_t groups = (call.batch + width - 1) / width;
  // The first chunk adds into the outputs themselves, each other one into a copy.
  int64_t copy_size = 0;
  for (int i = 0; i < kNumModelOperands; ++i) {
    const Operand& output = call.outputs[i];
    if (call.batch > 1 && output.shared) copy_size += output.num_elements;
    T* const data = static_cast<T*>(output.data);
    for (int64_t j = 0; j < output.num_elements; ++j) data[j] = T(0);
  }
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
    T* copies;
    int64_t chunks, groups, width, copy_size;
  } context = {call, copies.data, chunks, groups, width, copy_size};
  const auto range = [](const void* opaque, int64_t first_chunk, int64_t last_chunk) {
    const Context& c = *static_cast<const Context*>(opaque);
    for (int64_t chunk = first_chunk; chunk < last_chunk; ++chunk) {
      GradientTarget targets[kNumModelOperands];
      T* copy = c.copies + (chunk - 1) * c.copy_size;
      for (int i = 0; i < kNumModelOperands; ++i) {
        const Operand& output = c.call.outputs[i];
        targets[i] = {output, c.call.batch > 1 && output.shared};
        if (!targets[i].add) continue;
        if (chunk > 0) targets[i].output.data = copy;
        copy += output.num_elements;
      }
      const int64_t begin = c.groups * chunk / c.chunks * c.width;
      const int64_t end = c.groups * (chunk + 1) / c.chunks * c.width;
      for_each_series<T>(c.call, begin, end < c.call.batch ? end : c.call.batch, [&](auto group) {
        if constexpr (Op::kUnrolled) {
          with_model_sizes<typename decltype(group)::Value>(
              c.call, [&](auto n, auto m) { Op::compute(c.call, targets, group, n, m); });
        } else {
          Op::compute(c.call, targets, group, static_cast<int>(c.call.size('n')),
                      static_cast<int>(c.call.size('m')));
        }
      });
    }
  };
  const double cost = 4 * kalman_cost(call) * static_cast<double>(groups) /
                      static_cast<double>(chunks > 0 ? chunks : 1);
  parallel_for(chunks, cost, range, &context);

  const T* copy = copies.data;
  for (int64_t chunk = 1; chunk < chunks; ++chunk) {
    for (int i = 0; i < kNumModelOperands; ++i) {
      const Operand& output = call.outputs[i];
      if (!(call.batch > 1 && output.shared)) continue;
      T* const data = static_cast<T*>(output.data);
      for (int64_t j = 0; j < output.num_elements; ++j) data[j] += copy[j];
      copy += output.num_elements;
    }
  }
}

}  // namespace STATESPACE_ISA
}  // namespace statespace

#endif  // STATESPACE_NATIVE_OPS_KALMAN_GRADIENT_H_
