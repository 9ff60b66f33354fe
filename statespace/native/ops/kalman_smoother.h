// The smoother in covariance form.
#ifndef STATESPACE_NATIVE_OPS_KALMAN_SMOOTHER_H_
#define STATESPACE_NATIVE_OPS_KALMAN_SMOOTHER_H_

#include <algorithm>

#include "core/kalman_smoother.h"
#include "core/room.h"
#include "ops/kalman_square_root.h"

namespace statespace {
namespace STATESPACE_ISA {

// Smooths the series of a group again, in square-root form, whose moments rounding has spoilt.
// memory: smooth_again_size numbers.
template <bool lag_one, class V>
STATESPACE_INLINE void smooth_again(const Call& call, const Group<V>& group, const V& cancellation,
                                    const V& info, V* memory) {
  using T = ScalarOf<V>;
  for (int lane = 0; lane < group.count; ++lane) {
    const bool exact = !(get_lane(cancellation, lane) > kLargestCancellation<T>);
    if (exact || get_lane(info, lane) != 0) continue;
    const int64_t item = group.first + lane;
    for_each_series<double, SquareRootForm>(call, item, item + 1, [&](auto single) {
      using Single = typename decltype(single)::Value;
      KalmanSquareRootSmootherOp<lag_one>::compute(call, single, first_object<Single>(memory));
    });
  }
}
template <bool lag_one, class V>
int64_t smooth_again_size(const Call& call) {
  using Op = KalmanSquareRootSmootherOp<lag_one>;
  using Wide = Vector<double>;
  return std::max(room_for<Wide, V>(Op::template work_size<Wide>(call)),
                  room_for<double, V>(Op::template work_size<double>(call)));
}

// It settles where ops/kalman_shared_moments.h does, lane by lane, so that no series depends on
// what it shares.
template <bool lag_one>
struct KalmanSmootherOp {
  using Form = SettlingForm;
  using Output = SmootherOutput<lag_one>;

  template <class V>
  static int64_t work_size(const Call& call) {
    const int64_t n = call.size('n'), num_steps = call.size('T');
    using Run = KalmanRun<V, int, int, SettlingStep>;
    return std::max(Run::work_size(call) + Tape<V>::size(num_steps, n) + num_steps +
                        kalman_smoother_work_size(n, call.size('m')) + 2 * n + 5 * n * n,
                    smooth_again_size<lag_one, V>(call));
  }
  template <class V>
  STATESPACE_INLINE static void compute(const Call& call, const Group<V>& group, V* memory) {
    with_model_sizes<V>(call, [&](auto n, auto m) { compute(call, group, n, m, memory); });
  }

  template <class V, class N, class M>
  STATESPACE_INLINE static void compute(const Call& call, const Group<V>& group, N n, M m,
                                        V* const all_memory) {
    const int64_t num_steps = call.size('T'), square = int64_t{n} * n;
    using Run = KalmanRun<V, N, M, SettlingStep>;
    const bool settles = !covariances_vary(call.inputs);
    V* memory = all_memory;
    const auto take = [&memory](int64_t count) { return (memory += count) - count; };
    Run run(call, call.inputs, group, n, m, take(Run::work_size(call)));
    const Tape<V> tape = {take(Tape<V>::size(num_steps, n)), n};
    V* const repeated = take(num_steps);  // 1 where a step's covariances are those before, else 0
    V *const r = take(n), *const cov = take(square), *const before = take(square);
    Settling<V> settling(take(square));
    const SmoothedMoments<V> moments = {take(n), take(square), lag_one ? take(square) : nullptr};
    V* const work = memory;

    LogDensity<V> total;
    const V info = run.forward([&](int64_t step) {
      total.add(m, run.update());
      tape.record(step, run);
      repeated[step] = select<V>(run.step().repeated_lanes(), splat<V>(1), V());
    });
    run.compute_every_step();
    set_zero(n, r);
    set_zero(square, cov);
    V cancellation = V();
    for (int64_t step = num_steps - 1; step >= 0; --step) {
      const bool last = step == num_steps - 1;
      run.repeat_update(step, tape.mean(step), tape.spread(step), TransitionNoise::kNone);
      const V* const next = tape.spread(last ? step : step + 1);
      for (int64_t i = 0; settles && i < square; ++i) before[i] = cov[i];
      cancellation = maximum(cancellation, kalman_smooth(n, m, run.model(), run.update(), next, r,
                                                         cov, moments, work));
      if (settles) settling.advance(n, last ? V() != V() : repeated[step + 1] != V(), before, cov);
      store(call.outputs[Output::kMean], group, step, moments.mean);
      store(call.outputs[Output::kCovariance], group, step, moments.covariance);
      if (lag_one && !last) store(call.outputs[Output::kLagOne], group, step, moments.lag_one);
    }
    finish_moments(call, group, total.value(), info, Output::kInfo);
    smooth_again<lag_one>(call, group, cancellation, info, all_memory);
  }
};

}  // namespace STATESPACE_ISA
}  // namespace statespace

#endif  // STATESPACE_NATIVE_OPS_KALMAN_SMOOTHER_H_
