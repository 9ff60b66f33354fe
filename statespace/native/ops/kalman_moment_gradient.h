// Gradients of the filter's and the smoother's moments with respect to the data and every
// parameter.
#ifndef STATESPACE_NATIVE_OPS_KALMAN_MOMENT_GRADIENT_H_
#define STATESPACE_NATIVE_OPS_KALMAN_MOMENT_GRADIENT_H_

#include <algorithm>

#include "core/double_double.h"
#include "core/kalman_smoother_adjoint.h"
#include "core/room.h"
#include "ops/kalman_gradient.h"

namespace statespace {
namespace STATESPACE_ISA {

struct KalmanFilterGradientOp {
  using Form = CovarianceForm;
  static constexpr bool kUnrolled = false;  // like the ops themselves

  // Cotangents of the filter's outputs, before y and the model.
  enum Input {
    kTotal,
    kFilteredMean,
    kFilteredCovariance,
    kMean,
    kCovariance,
    kInnovation,
    kInnovationCovariance,
    kNumCotangents
  };

  template <class V>
  static int64_t work_size(const Call& call) {
    const int64_t n = call.size('n'), m = call.size('m');
    const int64_t moments_size = 2 * n + 2 * n * n + m + m * m;
    return KalmanRun<V, int, int>::work_size(call) + Tape<V>::size(call.size('T'), n) +
           moments_size + ModelCotangents<V>::work_size(call.inputs + kNumCotangents) +
           CovarianceBackward<V, int, int>::work_size(call);
  }
  template <class V>
  STATESPACE_INLINE static void compute(const Call& call, const GradientTarget* targets,
                                        const Group<V>& group, int n, int m, V* memory) {
    using Run = KalmanRun<V, int, int>;
    const Operand* const operands = call.inputs + kNumCotangents;
    const int64_t num_steps = call.size('T'), square = int64_t{n} * n;
    using Backward = CovarianceBackward<V, int, int>;
    const auto take = [&memory](int64_t count) { return (memory += count) - count; };
    Run run(call, operands, group, n, m, take(Run::work_size(call)));
    const Tape<V> tape = {take(Tape<V>::size(num_steps, n)), n};
    V *const filtered_mean = take(n), *const filtered_covariance = take(square),
             *const mean = take(n), *const covariance = take(square), *const innovation = take(m),
             *const innovation_covariance = take(int64_t{m} * m);
    V* const cotangents = take(ModelCotangents<V>::work_size(operands));

    const V info = run.forward([&](int64_t step) { tape.record(step, run); });
    if (num_steps == 0) return;
    const V fill = fill_of_failed(call.inputs, kNumCotangents, group, num_steps, memory);
    ModelCotangents<V> bars(operands, targets, group, cotangents, info != V(), fill);
    Backward backward(run, n, m, memory);
    const auto read = [&](Input which, int64_t step, V* buffer) {
      load(call.inputs[which], group, step, buffer);
      return buffer;
    };
    V weight = V();
    read(kTotal, 0, &weight);
    for (int64_t step = num_steps - 1; step >= 0; --step) {
      run.repeat_update(step, tape.mean(step), tape.spread(step));
      const KalmanMomentCotangents<V> moments = {
          read(kFilteredMean, step, filtered_mean),
          read(kFilteredCovariance, step, filtered_covariance),
          read(kMean, step, mean),
          read(kCovariance, step, covariance),
          read(kInnovation, step, innovation),
          read(kInnovationCovariance, step, innovation_covariance)};
      backward.undo(tape.mean(step), tape.spread(step), weight, &moments, bars.step());
      bars.flush_step(step);
    }
    backward.finish(bars.mean(), bars.scale());
    bars.flush_rest();
  }
};

// Forward through the filter, back through the smoother, and both ways again with cotangents.
// Series with a cancellation that spoils their smoothed variances (ops/kalman_smoother.h), and
// their gradients all the more, go the whole way again in twice the precision.
struct KalmanSmootherGradientOp {
  using Form = CovarianceForm;
  static constexpr bool kUnrolled = false;  // like the ops themselves

  // Cotangents of the smoother's outputs, before y and the model. That of the last lag-one
  // covariance belongs to nothing.
  enum Input { kTotal, kMean, kCovariance, kLagOne, kNumCotangents };

  template <class V>
  static int64_t work_size(const Call& call) {
    const int64_t n = call.size('n'), m = call.size('m'), num_steps = call.size('T');
    const int64_t steps_work =
        std::max({CovarianceBackward<V, int, int>::work_size(call), kalman_smoother_work_size(n, m),
                  smoother_adjoint_work_size(n, m)});
    const int64_t own = KalmanRun<V, int, int>::work_size(call) + 2 * Tape<V>::size(num_steps, n) +
                        num_steps * smoother_adjoint_size(n, m) + 3 * n + 3 * n * n + steps_work +
                        ModelCotangents<V>::work_size(call.inputs + kNumCotangents);
    if constexpr (std::is_same_v<V, DoubleDouble>) {
      return own;
    } else {
      return std::max(own, room_for<DoubleDouble, V>(work_size<DoubleDouble>(call)));
    }
  }
  template <class V>
  STATESPACE_INLINE static void compute(const Call& call, const GradientTarget* targets,
                                        const Group<V>& group, int n, int m, V* const all_memory) {
    using T = ScalarOf<V>;
    using Run = KalmanRun<V, int, int>;
    constexpr bool is_widest = std::is_same_v<V, DoubleDouble>;
    const Operand* const operands = call.inputs + kNumCotangents;
    const int64_t num_steps = call.size('T'), square = int64_t{n} * n;
    using Backward = CovarianceBackward<V, int, int>;
    const int64_t adjoint_size = smoother_adjoint_size(n, m);
    V* memory = all_memory;
    const auto take = [&memory](int64_t count) { return (memory += count) - count; };
    Run run(call, operands, group, n, m, take(Run::work_size(call)));
    const Tape<V> tape = {take(Tape<V>::size(num_steps, n)), n};
    const Tape<V> back = {take(Tape<V>::size(num_steps, n)), n};  // r and N that came to each step
    V* const adjoints = take(num_steps * adjoint_size);
    const SmoothedMoments<V> moments = {take(n), take(square), nullptr};
    V *const r = take(n), *const cov = take(square);
    V *const zero = take(n), *const lag_one = take(square);
    V* const cotangents = take(ModelCotangents<V>::work_size(operands));
    V* const work = memory;

    const V info = run.forward([&](int64_t step) { tape.record(step, run); });
    if (num_steps == 0) return;
    V cancellation = V();
    set_zero(n, r);
    set_zero(square, cov);
    for (int64_t step = num_steps - 1; step >= 0; --step) {
      run.repeat_update(step, tape.mean(step), tape.spread(step), TransitionNoise::kNone);
      for (int i = 0; i < n; ++i) back.mean(step)[i] = r[i];
      for (int i = 0; i < square; ++i) back.spread(step)[i] = cov[i];
      const int64_t next = step + 1 < num_steps ? step + 1 : step;
      cancellation = maximum(cancellation, kalman_smooth(n, m, run.model(), run.update(),
                                                         tape.spread(next), r, cov, moments, work));
    }
    Mask<V> again = mask_and(info == V(), cancellation > splat<V>(kLargestCancellation<T>));
    if constexpr (is_widest) again = V() != V();
    const V fill = fill_of_failed(call.inputs, kNumCotangents, group, num_steps, work);
    ModelCotangents<V> bars(operands, targets, group, cotangents, mask_or(info != V(), again),
                            select<V>(again, V(), fill));

    const auto read = [&](Input which, int64_t step, V* buffer) {
      load(call.inputs[which], group, step, buffer);
      return buffer;
    };
    const auto adjoint = [&](int64_t step) {
      SmootherAdjoint<V> x;
      place(x, adjoints + step * adjoint_size, n, m);
      return x;
    };
    set_zero(n, r);
    set_zero(square, cov);
    for (int64_t step = 0; step < num_steps; ++step) {
      const bool last = step + 1 == num_steps;
      run.repeat_update(step, tape.mean(step), tape.spread(step), TransitionNoise::kNone);
      const SmoothedCotangents<V> bar = {read(kMean, step, moments.mean),
                                         read(kCovariance, step, moments.covariance),
                                         last ? nullptr : read(kLagOne, step, lag_one)};
      kalman_smooth_adjoint(n, m, run.model(), run.update(), tape.spread(step),
                            tape.spread(last ? step : step + 1), back.mean(step), back.spread(step),
                            bar, r, cov, adjoint(step), work);
    }

    V weight = V();
    read(kTotal, 0, &weight);
    set_zero(n, zero);
    Backward backward(run, n, m, work);
    for (int64_t step = num_steps - 1; step >= 0; --step) {
      run.repeat_update(step, tape.mean(step), tape.spread(step));
      const SmootherAdjoint<V> own = adjoint(step);
      const KalmanCotangents<V> bar = bars.step();
      for (int i = 0; i < square; ++i) bar.f[i] = bar.f[i] + own.f[i];
      for (int i = 0; i < int64_t{m} * n; ++i) bar.h[i] = bar.h[i] + own.h[i];
      add_symmetric(n, own.next_covariance, backward.covariance_bar());
      const KalmanMomentCotangents<V> outputs = {
          own.filtered_mean, own.filtered_covariance, zero,
          own.covariance,    own.innovation,          own.innovation_covariance};
      backward.undo(tape.mean(step), tape.spread(step), weight, &outputs, bar);
      bars.flush_step(step);
    }
    backward.finish(bars.mean(), bars.scale());
    bars.flush_rest();
    if constexpr (!is_widest) {
      const V lanes = select<V>(again, splat<V>(T(1)), V());
      for (int lane = 0; lane < group.count; ++lane) {
        if (get_lane(lanes, lane) == T(0)) continue;
        compute(call, targets, Group<DoubleDouble>{group.first + lane, 1}, n, m,
                first_object<DoubleDouble>(all_memory));
      }
    }
  }
};

}  // namespace STATESPACE_ISA
}  // namespace statespace

#endif  // STATESPACE_NATIVE_OPS_KALMAN_MOMENT_GRADIENT_H_
