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
  static int64_t work_size(const Operand* operands) {
    int64_t size = 0;
    for (int i = 0; i < kNumModelOperands; ++i) size += operands[i].core_size;
    return size;
  }

  // memory: work_size() numbers. failed: lanes whose gradient is what `fill` says instead.
  // constant_matrices: those of F and H are zero, and not computed.
  ModelCotangents(const Operand* operands, const GradientTarget* targets, const Group<V>& group,
                  V* memory, const Mask<V>& failed, const V& fill, bool constant_matrices = false)
      : operands_(operands),
        targets_(targets),
        group_(group),
        failed_(failed),
        fill_(fill),
        constant_matrices_(constant_matrices) {
    for (int i = 0; i < kNumModelOperands; ++i) {
      bars_[i] = memory;
      memory += operands[i].core_size;
      set_zero(operands[i].core_size, bars_[i]);
    }
  }

  // Where a step adds its own.
  KalmanCotangents<V> step() const {
    return {bars_[kY], unless_constant(kF), bars_[kG], unless_constant(kH),
            bars_[kC], bars_[kB],           bars_[kD]};
  }

  // Writes the cotangents of what varies by step.
  void flush_step(int64_t step) {
    for (int i = kY; i <= kD; ++i) {
      if (operands_[i].step_stride != 0) flush(static_cast<ModelOperand>(i), step);
    }
  }

  // Where the first state's go.
  V* mean() const { return bars_[kInitialMean]; }
  V* scale() const { return bars_[kInitialScale]; }

  // Writes all others.
  void flush_rest() {
    for (int i = kY; i < kNumModelOperands; ++i) {
      if (operands_[i].step_stride == 0) flush(static_cast<ModelOperand>(i), 0);
    }
  }

 private:
  V* unless_constant(ModelOperand which) const {
    return constant_matrices_ ? nullptr : bars_[which];
  }

  // Writes an accumulated cotangent and clears it.
  void flush(ModelOperand which, int64_t step) {
    const GradientTarget& target = targets_[which];
    V* const cotangent = bars_[which];
    const int64_t count = target.output.core_size;
    if (any_lane(failed_)) {
      for (int64_t i = 0; i < count; ++i) cotangent[i] = select<V>(failed_, fill_, cotangent[i]);
    }
    if (!target.add) {
      store(target.output, group_, step, cotangent);
    } else {
      for (int lane = 0; lane < group_.count; ++lane) {
        with_numbers<V>(target.output, group_.first + lane, [&](auto* dst) {
          using T = std::remove_pointer_t<decltype(dst)>;
          dst += step * target.output.step_stride;
          for (int64_t i = 0; i < count; ++i) {
            dst[i] += static_cast<T>(get_lane(cotangent[i], lane));
          }
        });
      }
    }
    set_zero(count, cotangent);
  }

  const Operand* operands_;
  const GradientTarget* targets_;
  Group<V> group_;
  Mask<V> failed_;
  V fill_;
  bool constant_matrices_;
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

// Cotangents of the first state's scale from those of its covariance: d <N, S S'> = <2 N S, dS>.
template <class V, class N>
inline void start_adjoint(N n, int columns, const V* cov, const V* initial_scale, V* scale_bar) {
  multiply(n, columns, n, rows(cov, n), rows(initial_scale, columns), scale_bar);
  for (int i = 0; i < n * columns; ++i) scale_bar[i] = scale_bar[i] + scale_bar[i];
}

// The way back in covariance form; every form has a class like this one. It carries the cotangents
// of the next predicted mean and covariance.
template <class V, class N, class M>
class CovarianceBackward {
 public:
  using Run = KalmanRun<V, N, M, CovarianceStep>;

  CovarianceBackward(Run& run, N n, M m, V* memory) : run_(run), n_(n), m_(m) {
    const auto take = [&memory](int64_t count) { return (memory += count) - count; };
    r_ = take(n), cov_ = take(n * n), work_ = memory;
    set_zero(n, r_);
    set_zero(n * n, cov_);
  }
  static int64_t work_size(const Call& call) {
    const int64_t n = call.size('n');
    return kalman_adjoint_work_size(n, call.size('m')) + n + n * n;
  }

  // Undoes a step that started from the predicted mean and spread. `last`: no prediction followed.
  void undo(bool /*last*/, const V* a, const V* spread, const V& weight,
            const KalmanCotangents<V>& bar) {
    undo(a, spread, weight, nullptr, bar);
  }
  // moments: cotangents of the step's other outputs, or null.
  void undo(const V* a, const V* spread, const V& weight, const KalmanMomentCotangents<V>* moments,
            const KalmanCotangents<V>& bar) {
    kalman_adjoint(n_, m_, run_.noise(), run_.observation_noise(), run_.model(), run_.update(), a,
                   spread, weight, moments, r_, cov_, bar, work_);
  }
  V* covariance_bar() const { return cov_; }  // of the next predicted one

  // Writes the cotangents of the first state's mean and scale.
  void finish(V* mean_bar, V* scale_bar) {
    start_adjoint(n_, run_.initial_noise(), cov_, run_.initial_scale(), scale_bar);
    for (int i = 0; i < n_; ++i) mean_bar[i] = r_[i];
  }

 private:
  const Run& run_;
  N n_;
  M m_;
  V *r_, *cov_, *work_;
};

// The covariance form, with its way back.
struct CovarianceGradient : CovarianceForm {
  template <class V, class N, class M>
  using Backward = CovarianceBackward<V, N, M>;
};

// One group of series: forward with a tape, then backward.
template <class F>
struct KalmanGradientOp {
  using Form = F;
  static constexpr bool kUnrolled = true;

  template <class V, class N, class M>
  static void compute(const Call& call, const GradientTarget* targets, const Group<V>& group, N n,
                      M m) {
    using Run = KalmanRun<V, N, M, Form::template Step>;
    using Backward = typename Form::template Backward<V, N, M>;
    const Operand& weights = call.inputs[0];
    const Operand* const operands = call.inputs + 1;
    const int64_t num_steps = call.size('T');
    const Stretches stretches(num_steps, Tape<V>::size(1, n) * sizeof(V), call.attrs[0] != 0);
    const int64_t size = Run::work_size(call) + Tape<V>::size(stretches.length, n) +
                         Tape<V>::size(stretches.count(), n) +
                         ModelCotangents<V>::work_size(operands) + Backward::work_size(call);
    V* memory = static_cast<V*>(scratch(size * sizeof(V)));
    const auto take = [&memory](int64_t count) { return (memory += count) - count; };
    Run run(call, operands, group, n, m, take(Run::work_size(call)));
    const Tape<V> tape = {take(Tape<V>::size(stretches.length, n)), n};
    const Tape<V> starts = {take(Tape<V>::size(stretches.count(), n)), n};
    V* const cotangents = take(ModelCotangents<V>::work_size(operands));

    const V info = run.forward([&](int64_t step) {
      if (step % stretches.length == 0) starts.record(step / stretches.length, run);
      if (step >= stretches.last) tape.record(step - stretches.last, run);
    });
    if (num_steps == 0) return;
    V weight = V();
    const V fill = fill_of_failed(&weights, 1, group, num_steps, &weight);
    ModelCotangents<V> bars(operands, targets, group, cotangents, info != V(), fill,
                            call.attrs[1] != 0);
    Backward backward(run, n, m, memory);
    for (int64_t first = stretches.last; first >= 0; first -= stretches.length) {
      const int64_t end = stretches.end(first);
      if (first != stretches.last) {
        const int64_t start = first / stretches.length;
        run.again(first, end, starts.mean(start), starts.spread(start),
                  [&](int64_t step) { tape.record(step - first, run); });
      }
      for (int64_t step = end - 1; step >= first; --step) {
        const V *const mean = tape.mean(step - first), *const spread = tape.spread(step - first);
        run.repeat_update(step, mean, spread);
        load(weights, group, step, &weight);
        backward.undo(step == num_steps - 1, mean, spread, weight, bars.step());
        bars.flush_step(step);
      }
    }
    backward.finish(bars.mean(), bars.scale());
    bars.flush_rest();
  }
};

// Whether an output's numbers may belong to several series. Part of a batch has offsets.
inline bool is_summed(const Call& call, const Operand& output) {
  return output.shared && (call.batch > 1 || output.offsets != nullptr);
}

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
  int64_t copy_size = 0;
  for (int i = 0; i < kNumModelOperands; ++i) {
    if (is_summed(call, call.outputs[i])) copy_size += call.outputs[i].num_elements;
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
    const Body& body;
    T* copies;
    int64_t chunks, groups, width, copy_size;
  } context = {call, body, copies.data, chunks, groups, width, copy_size};
  const auto range = [](const void* opaque, int64_t first_chunk, int64_t last_chunk) {
    const Context& c = *static_cast<const Context*>(opaque);
    for (int64_t chunk = first_chunk; chunk < last_chunk; ++chunk) {
      GradientTarget targets[kNumModelOperands];
      T* copy = c.copies + (chunk - 1) * c.copy_size;
      for (int i = 0; i < kNumModelOperands; ++i) {
        const Operand& output = c.call.outputs[i];
        targets[i] = {output, is_summed(c.call, output)};
        if (!targets[i].add) continue;
        if (chunk > 0) targets[i].output.data = copy;
        copy += output.num_elements;
      }
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

// Runs Op::compute(call, targets, group, n, m) over all groups of series, adding to the outputs.
template <class T, class Compute, class Op>
void add_gradients_of(const Call& call) {
  add_gradients<T, Compute, typename Op::Form>(
      call, 4 * kalman_cost(call), [&call](const GradientTarget* targets, auto group) {
        if constexpr (Op::kUnrolled) {
          with_model_sizes<typename decltype(group)::Value>(
              call, [&](auto n, auto m) { Op::compute(call, targets, group, n, m); });
        } else {
          Op::compute(call, targets, group, static_cast<int>(call.size('n')),
                      static_cast<int>(call.size('m')));
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

#endif  // STATESPACE_NATIVE_OPS_KALMAN_GRADIENT_H_
