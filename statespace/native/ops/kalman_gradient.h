// The gradient of the log-likelihood with respect to the data and every parameter.
#ifndef STATESPACE_NATIVE_OPS_KALMAN_GRADIENT_H_
#define STATESPACE_NATIVE_OPS_KALMAN_GRADIENT_H_

#include "core/kalman_adjoint.h"
#include "ops/kalman_kernels.h"

namespace statespace {
namespace STATESPACE_ISA {

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
  STATESPACE_INLINE static int64_t work_size(const Operand* operands) {
    int64_t size = 0;
    for (int i = 0; i < kNumModelOperands; ++i) size += operands[i].core_size;
    return size;
  }

  // memory: work_size() numbers. failed: lanes whose gradient is what `fill` says instead.
  // constant_matrices: those of F and H are zero, and not computed.
  STATESPACE_INLINE ModelCotangents(const Operand* operands, const GradientTarget* targets,
                                    const Group<V>& group, V* memory, const Mask<V>& failed,
                                    const V& fill, bool constant_matrices = false)
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
  STATESPACE_INLINE KalmanCotangents<V> step() const {
    return {bars_[kY], unless_constant(kF), bars_[kG], unless_constant(kH),
            bars_[kC], bars_[kB],           bars_[kD]};
  }

  // Writes the cotangents of what varies by step.
  STATESPACE_INLINE void flush_step(int64_t step) {
    for (int i = kY; i <= kD; ++i) {
      if (operands_[i].step_stride != 0) flush(static_cast<ModelOperand>(i), step);
    }
  }

  // Where the first state's go.
  STATESPACE_INLINE V* mean() const { return bars_[kInitialMean]; }
  STATESPACE_INLINE V* scale() const { return bars_[kInitialScale]; }

  // Writes all others.
  STATESPACE_INLINE void flush_rest() {
    for (int i = kY; i < kNumModelOperands; ++i) {
      if (operands_[i].step_stride == 0) flush(static_cast<ModelOperand>(i), 0);
    }
  }

 private:
  STATESPACE_INLINE V* unless_constant(ModelOperand which) const {
    return constant_matrices_ ? nullptr : bars_[which];
  }

  // Writes an accumulated cotangent and clears it.
  STATESPACE_INLINE void flush(ModelOperand which, int64_t step) {
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
STATESPACE_INLINE V fill_of_failed(const Operand* cotangents, int count, const Group<V>& group,
                                   int64_t num_steps, V* buffer) {
  V used = V();  // not NaN itself, as in sum_log_adjoint
  for (int i = 0; i < count; ++i) {
    const Operand& cotangent = cotangents[i];
    const int64_t steps = cotangent.step_stride == 0 ? 1 : num_steps;
    for (int64_t step = 0; step < steps; ++step) {
      load(cotangent, group, step, buffer);
      for (int64_t j = 0; j < cotangent.core_size; ++j) {
        used = select<V>(buffer[j] == V(), used, splat<V>(ScalarOf<V>(1)));
      }
    }
  }
  const V nan = splat<V>(std::numeric_limits<ScalarOf<V>>::quiet_NaN());
  return select<V>(used == V(), V(), nan);
}

// Cotangents of the first state's scale from those of its covariance: d <N, S S'> = <2 N S, dS>.
template <class V, class N>
STATESPACE_INLINE void start_adjoint(N n, int columns, const V* cov, const V* initial_scale,
                                     V* scale_bar) {
  multiply(n, columns, n, rows(cov, n), rows(initial_scale, columns), scale_bar);
  for (int i = 0; i < n * columns; ++i) scale_bar[i] = scale_bar[i] + scale_bar[i];
}

// The way back in covariance form; every form has a class like this one. It carries the cotangents
// of the next predicted mean and covariance.
template <class V, class N, class M>
class CovarianceBackward {
 public:
  using Run = KalmanRun<V, N, M, CovarianceStep>;

  STATESPACE_INLINE CovarianceBackward(Run& run, N n, M m, V* memory) : run_(run), n_(n), m_(m) {
    const auto take = [&memory](int64_t count) { return (memory += count) - count; };
    r_ = take(n), cov_ = take(n * n), work_ = memory;
    set_zero(n, r_);
    set_zero(n * n, cov_);
  }
  STATESPACE_INLINE static int64_t work_size(const Call& call) {
    const int64_t n = call.size('n');
    return kalman_adjoint_work_size(n, call.size('m')) + n + n * n;
  }

  // Undoes a step that started from the predicted mean and spread. `last`: no prediction followed.
  STATESPACE_INLINE void undo(bool /*last*/, const V* a, const V* spread, const V& weight,
                              const KalmanCotangents<V>& bar) {
    undo(a, spread, weight, nullptr, bar);
  }
  // moments: cotangents of the step's other outputs, or null.
  STATESPACE_INLINE void undo(const V* a, const V* spread, const V& weight,
                              const KalmanMomentCotangents<V>* moments,
                              const KalmanCotangents<V>& bar) {
    kalman_adjoint(n_, m_, run_.noise(), run_.observation_noise(), run_.model(), run_.update(), a,
                   spread, weight, moments, r_, cov_, bar, work_);
  }
  STATESPACE_INLINE V* covariance_bar() const { return cov_; }  // of the next predicted one

  // Writes the cotangents of the first state's mean and scale.
  STATESPACE_INLINE void finish(V* mean_bar, V* scale_bar) {
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

// A gradient's Op provides
//   using Form = ...: one like those above
//   static constexpr bool kUnrolled: whether it gets small sizes as constants
//   template <class V> static int64_t work_size(const Call&): numbers of scratch of one group
//   template <class V, class N, class M>
//   static void compute(const Call&, const GradientTarget*, const Group<V>&, N, M, V* memory)

// What the way back of such an Op remembers on its tape.
template <class Tape, class V>
STATESPACE_INLINE Stretches stretches_of(const Call& call) {
  const int64_t bytes = Tape::size(1, call.size('n')) * sizeof(V);
  return {call.size('T'), bytes, call.attrs[0] != 0};
}

// One group of series: forward with a tape, then backward.
template <class F>
struct KalmanGradientOp {
  using Form = F;
  static constexpr bool kUnrolled = true;

  template <class V>
  static int64_t work_size(const Call& call) {
    const int64_t n = call.size('n');
    const Stretches stretches = stretches_of<Tape<V>, V>(call);
    return KalmanRun<V, int, int, Form::template Step>::work_size(call) +
           Tape<V>::size(stretches.length, n) + Tape<V>::size(stretches.count(), n) +
           ModelCotangents<V>::work_size(call.inputs + 1) +
           Form::template Backward<V, int, int>::work_size(call);
  }
  template <class V, class N, class M>
  STATESPACE_INLINE static void compute(const Call& call, const GradientTarget* targets,
                                        const Group<V>& group, N n, M m, V* memory) {
    using Run = KalmanRun<V, N, M, Form::template Step>;
    using Backward = typename Form::template Backward<V, N, M>;
    const Operand& weights = call.inputs[0];
    const Operand* const operands = call.inputs + 1;
    const int64_t num_steps = call.size('T');
    const Stretches stretches = stretches_of<Tape<V>, V>(call);
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
STATESPACE_INLINE bool is_summed(const Call& call, const Operand& output) {
  return output.shared && (call.batch > 1 || output.offsets != nullptr);
}

// Numbers of a copy of all the gradients that are summed.
inline int64_t summed_size(const Call& call) {
  int64_t size = 0;
  for (int i = 0; i < kNumModelOperands; ++i) {
    if (is_summed(call, call.outputs[i])) size += call.outputs[i].num_elements;
  }
  return size;
}

// Where a chunk's gradients go: those that are summed into a copy of its own, or, for a null copy,
// into the outputs like all others.
template <class T>
STATESPACE_INLINE void place_targets(const Call& call, T* copy, GradientTarget* targets) {
  for (int i = 0; i < kNumModelOperands; ++i) {
    const Operand& output = call.outputs[i];
    targets[i] = {output, is_summed(call, output)};
    if (!targets[i].add || copy == nullptr) continue;
    targets[i].output.data = copy;
    copy += output.num_elements;
  }
}

}  // namespace STATESPACE_ISA
}  // namespace statespace

#if defined(STATESPACE_DEVICE)
#include "cuda/gradient_loop.h"
#else
#include "ops/gradient_loop.h"
#endif

#endif  // STATESPACE_NATIVE_OPS_KALMAN_GRADIENT_H_
