// Filter and smoother of series that share the model's covariances: those are computed once, and
// only copied to each series.
#ifndef STATESPACE_NATIVE_OPS_KALMAN_SHARED_MOMENTS_H_
#define STATESPACE_NATIVE_OPS_KALMAN_SHARED_MOMENTS_H_

#include <cstring>

#include "ops/kalman_shared.h"
#include "ops/kalman_smoother.h"

namespace statespace {
namespace STATESPACE_ISA {

// Copies what is the same for all series from the first to the others.
template <class T>
void copy_to_others(const Call& call, std::initializer_list<int> outputs) {
  const double bytes = [&] {
    double sum = 0;
    for (int i : outputs) sum += static_cast<double>(call.outputs[i].item_size) * sizeof(T);
    return sum;
  }();
  struct Context {
    const Call& call;
    std::initializer_list<int> outputs;
  } context = {call, outputs};
  const auto range = [](const void* opaque, int64_t begin, int64_t end) {
    const Context& c = *static_cast<const Context*>(opaque);
    for (int64_t item = begin + 1; item <= end; ++item) {
      for (int i : c.outputs) {
        const Operand& output = c.call.outputs[i];
        std::memcpy(output.item<T>(item), output.item<T>(0), output.item_size * sizeof(T));
      }
    }
  };
  parallel_for(call.batch - 1, bytes / 8, range, &context);
}

// Gathers what the steps of a group give, to store many at once.
template <class V>
class StepBuffer {
 public:
  StepBuffer(const Operand& output, const Group<V>& group, int64_t num_steps, V* memory)
      : output_(output), group_(group), num_steps_(num_steps), memory_(memory) {}
  static int64_t size(int64_t core_size) { return kSteps * core_size; }

  // Where a step's numbers go.
  V* at(int64_t step) const { return memory_ + step % kSteps * output_.core_size; }
  bool is_first(int64_t step) const { return step % kSteps == 0; }
  bool is_last(int64_t step) const { return (step + 1) % kSteps == 0 || step + 1 == num_steps_; }

  // Stores the block of steps that `step` belongs to.
  void flush(int64_t step) const {
    const int64_t first = step - step % kSteps;
    Operand block = output_;
    block.core_size *= std::min(kSteps, num_steps_ - first);
    store(block, group_, first, memory_);
  }

 private:
  static constexpr int64_t kSteps = 16;

  const Operand& output_;
  Group<V> group_;
  int64_t num_steps_;
  V* memory_;
};

// Filter.

template <class T>
void write_filtered_covariances(const Call& call, const KalmanPlan<T>& plan) {
  using Op = KalmanFilterOp;
  const int m = static_cast<int>(call.size('m'));
  const auto put = [&](Op::Output which, int64_t step, const T* x) {
    const Operand& output = call.outputs[which];
    std::copy_n(x, output.core_size, output.item<T>(0) + step * output.core_size);
  };
  for (int64_t step = 0; step < call.size('T'); ++step) {
    const KalmanUpdate<T> update = plan.step_update(step);
    put(Op::kFilteredCovariance, step, update.p);
    put(Op::kCovariance, step, plan.covariance(step));
    put(Op::kInnovationCovariance, step, update.s);
    mirror(m, call.outputs[Op::kInnovationCovariance].item<T>(0) + step * m * m);
  }
}

template <class V>
void filter_shared_means(const Call& call, const Group<V>& group,
                         const KalmanPlan<ScalarOf<V>>& plan) {
  using Op = KalmanFilterOp;
  with_model_sizes<V>(call, [&](auto n, auto m) {
    using Means = KalmanMeans<V, decltype(n), decltype(m)>;
    const int64_t num_steps = call.size('T');
    const int64_t size =
        Means::work_size(call) + 2 * StepBuffer<V>::size(n) + StepBuffer<V>::size(m);
    V* memory = static_cast<V*>(scratch(size * sizeof(V)));
    const auto take = [&memory](int64_t count) { return (memory += count) - count; };
    Means means(call, call.inputs, group, plan, n, m, take(Means::work_size(call)));
    const auto buffer = [&](Op::Output which, int64_t core_size) {
      V* const place = take(StepBuffer<V>::size(core_size));
      return StepBuffer<V>(call.outputs[which], group, num_steps, place);
    };
    const StepBuffer<V> filtered = buffer(Op::kFilteredMean, n);
    const StepBuffer<V> predicted = buffer(Op::kMean, n);
    const StepBuffer<V> innovation = buffer(Op::kInnovation, m);
    CompensatedSum<V> squares;
    const V info = means.forward([&](int64_t step, const StepMeans<V>& x) {
      for (int i = 0; i < n; ++i) {
        filtered.at(step)[i] = x.filtered[i];
        predicted.at(step)[i] = x.predicted[i];
      }
      for (int i = 0; i < m; ++i) {
        innovation.at(step)[i] = x.innovation[i];
        squares.add(x.whitened[i] * x.whitened[i]);
      }
      if (!filtered.is_last(step)) return;
      for (const StepBuffer<V>* full : {&filtered, &predicted, &innovation}) full->flush(step);
    });
    finish_moments(call, group, plan.log_density(squares.value()), info, Op::kInfo);
  });
}

template <class T>
void run_filter(const Call& call) {
  const auto shared = [](const Call& part, const KalmanPlan<T>& plan) {
    using Op = KalmanFilterOp;
    write_filtered_covariances(part, plan);
    copy_to_others<T>(part, {Op::kFilteredCovariance, Op::kCovariance, Op::kInnovationCovariance});
    for_each_shared_group<T>(part, means_cost(part),
                             [&](auto group) { filter_shared_means(part, group, plan); });
  };
  for_each_pattern<T, true>(call, 0, plan_pays<T>(call, 0), shared, run_series<T, KalmanFilterOp>);
}

// Smoother.

// Writes the smoothed covariances of the first series; returns smoother_cancellation.
template <class T, bool lag_one>
T write_smoothed_covariances(const Call& call, const KalmanPlan<T>& plan) {
  using Run = KalmanRun<T, int, int>;
  using Output = SmootherOutput<lag_one>;
  const int n = static_cast<int>(call.size('n')), m = static_cast<int>(call.size('m'));
  const int64_t num_steps = call.size('T'), square = int64_t{n} * n;
  const int64_t size = Run::work_size(call) + 3 * square + kalman_smoother_work_size(n, m);
  T* memory = static_cast<T*>(scratch(size * sizeof(T)));
  const auto take = [&memory](int64_t count) { return (memory += count) - count; };
  Run run(call, call.inputs, Group<T>{0, 1}, n, m, take(Run::work_size(call)));
  T *const cov = take(square), *const before = take(square);
  Settling<T> settling(take(square));
  T* const work = memory;
  const auto entry = [&](int64_t step) { return step < num_steps ? plan.entry(step) : -1; };
  T* const covariances = call.outputs[Output::kCovariance].template item<T>(0);
  T* const lag_ones = lag_one ? call.outputs[Output::kLagOne].template item<T>(0) : nullptr;
  set_zero(square, cov);
  T cancellation = T();
  for (int64_t step = num_steps - 1; step >= 0; --step) {
    const bool last = step + 1 == num_steps, same = entry(step) == entry(step + 1);
    const SmoothedMoments<T> moments = {nullptr, covariances + step * square,
                                        lag_one && !last ? lag_ones + step * square : nullptr};
    if (settling.repeats(same) && entry(step + 1) == entry(step + 2)) {
      std::copy_n(moments.covariance + square, square, moments.covariance);
      if (lag_one) std::copy_n(moments.lag_one + square, square, moments.lag_one);
      settling.count(n, cov);
      continue;
    }
    if (last || plan.varies()) run.reload_step(step, TransitionNoise::kNone);
    std::copy_n(cov, square, before);
    const T own = smooth_covariance(n, m, run.model(), plan.step_update(step),
                                    plan.covariance(last ? step : step + 1), cov, moments, work);
    cancellation = maximum(cancellation, own);
    if (!plan.varies()) settling.advance(n, same, before, cov);
  }
  return cancellation;
}

template <bool lag_one, class V>
void smooth_shared_means(const Call& call, const Group<V>& group,
                         const KalmanPlan<ScalarOf<V>>& plan) {
  using Output = SmootherOutput<lag_one>;
  with_model_sizes<V>(call, [&](auto n, auto m) {
    using Means = KalmanMeans<V, decltype(n), decltype(m)>;
    const int64_t num_steps = call.size('T'), entry = n + m;
    // Of a single long series in a vector the other lanes, which idle, are not kept.
    const bool single = group.count == 1 && kLanes<V> > 1 &&
                        num_steps * entry * int64_t{sizeof(V)} > kLargestTapeBytes;
    const int64_t tape_size = (num_steps * entry - 1) / (single ? kLanes<V> : 1) + 1;
    const int64_t size = Means::work_size(call) + tape_size + entry + n + StepBuffer<V>::size(n) +
                         smooth_mean_work_size(n, m);
    V* memory = static_cast<V*>(scratch(size * sizeof(V)));
    const auto take = [&memory](int64_t count) { return (memory += count) - count; };
    Means means(call, call.inputs, group, plan, n, m, take(Means::work_size(call)));
    V* const tape = take(tape_size);  // filtered means and L^-1 v
    auto* const single_tape = reinterpret_cast<ScalarOf<V>*>(tape);
    V *const spread_out = take(entry), *const r = take(n);
    const auto keep = [=](int64_t place, const V& x) {
      if (single) {
        single_tape[place] = get_lane(x, 0);
      } else {
        tape[place] = x;
      }
    };
    const StepBuffer<V> smoothed(call.outputs[Output::kMean], group, num_steps,
                                 take(StepBuffer<V>::size(n)));
    V* const work = memory;
    CompensatedSum<V> squares;
    const V info = means.forward([&](int64_t step, const StepMeans<V>& x) {
      for (int i = 0; i < n; ++i) keep(step * entry + i, x.filtered[i]);
      for (int i = 0; i < m; ++i) {
        keep(step * entry + n + i, x.whitened[i]);
        squares.add(x.whitened[i] * x.whitened[i]);
      }
    });
    set_zero(n, r);
    for (int64_t step = num_steps - 1; step >= 0; --step) {
      const KalmanUpdate<ScalarOf<V>> update = plan.step_update(step);
      const V* from = spread_out;
      if (single) {
        for (int i = 0; i < entry; ++i) spread_out[i] = splat<V>(single_tape[step * entry + i]);
      } else {
        from = tape + step * entry;
      }
      smooth_mean<V>(n, m, weights(update), plan.transition_matrix(step),
                     plan.observation_matrix(step), update.p, from, from + n, r, smoothed.at(step),
                     work);
      if (smoothed.is_first(step)) smoothed.flush(step);
    }
    finish_moments(call, group, plan.log_density(squares.value()), info, Output::kInfo);
  });
}

template <class T, bool lag_one>
void run_smoother(const Call& call) {
  const auto shared = [](const Call& part, const KalmanPlan<T>& plan) {
    using Output = SmootherOutput<lag_one>;
    const T cancellation = write_smoothed_covariances<T, lag_one>(part, plan);
    if (cancellation > kLargestCancellation<T>) {
      return run_series<double, KalmanSquareRootSmootherOp<lag_one>>(part);
    }
    copy_to_others<T>(part, {Output::kCovariance});
    if (lag_one) copy_to_others<T>(part, {Output::kLagOne});
    for_each_shared_group<T>(part, means_cost(part),
                             [&](auto group) { smooth_shared_means<lag_one>(part, group, plan); });
  };
  for_each_pattern<T, false>(call, 0, plan_pays<T>(call, 0), shared,
                             run_series<T, KalmanSmootherOp<lag_one>>);
}

}  // namespace STATESPACE_ISA
}  // namespace statespace

#endif  // STATESPACE_NATIVE_OPS_KALMAN_SHARED_MOMENTS_H_
