// Gradients of the filter's and the smoother's moments with respect to the data and every
// parameter.
#ifndef STATESPACE_NATIVE_OPS_KALMAN_MOMENT_GRADIENT_H_
#define STATESPACE_NATIVE_OPS_KALMAN_MOMENT_GRADIENT_H_

#include "core/kalman_smoother_adjoint.h"
#include "ops/kalman_gradient.h"

namespace statespace {
namespace STATESPACE_ISA {

// Cotangents by step, from operands that follow each other.
template <class V>
class CotangentReader {
 public:
  CotangentReader(const Operand* operands, const Group<V>& group)
      : operands_(operands), group_(group) {}

  const V* read(int operand, int64_t step, V* buffer) const {
    load(operands_[operand], group_, step, buffer);
    return buffer;
  }

 private:
  const Operand* operands_;
  Group<V> group_;
};

struct KalmanFilterGradientOp {
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
  static void compute(const Call& call, const GradientTarget* targets, const Group<V>& group, int n,
                      int m) {
    using Run = KalmanRun<V, int, int>;
    const Operand* const operands = call.inputs + kNumCotangents;
    const int64_t num_steps = call.size('T'), square = int64_t{n} * n;
    const int64_t moments_size = 2 * n + 2 * square + m + int64_t{m} * m;
    const int64_t size = Run::work_size(call) + Tape<V>::size(num_steps, n) +
                         kalman_adjoint_work_size(n, m) + n + square + moments_size +
                         ModelCotangents<V>::work_size(operands);
    V* memory = static_cast<V*>(scratch(size * sizeof(V)));
    const auto take = [&memory](int64_t count) { return (memory += count) - count; };
    Run run(call, operands, group, n, m, take(Run::work_size(call)));
    const Tape<V> tape = {take(Tape<V>::size(num_steps, n)), n};
    V* const r = take(n);
    V* const cov = take(square);
    V *const filtered_mean = take(n), *const filtered_covariance = take(square),
             *const mean = take(n), *const covariance = take(square), *const innovation = take(m),
             *const innovation_covariance = take(int64_t{m} * m);
    V* const work = take(kalman_adjoint_work_size(n, m));

    const V info = run.forward([&](int64_t step) { tape.record(step, run); });
    if (num_steps == 0) return;
    ModelCotangents<V> bars(operands, targets, group, memory, info != V(),
                            fill_of_failed(call.inputs, kNumCotangents, group, num_steps, work));
    const CotangentReader<V> reader(call.inputs, group);
    V weight = V();
    reader.read(kTotal, 0, &weight);
    set_zero(n, r);
    set_zero(square, cov);
    for (int64_t step = num_steps - 1; step >= 0; --step) {
      run.repeat_update(step, tape.mean(step), tape.covariance(step));
      const KalmanMomentCotangents<V> moments = {
          reader.read(kFilteredMean, step, filtered_mean),
          reader.read(kFilteredCovariance, step, filtered_covariance),
          reader.read(kMean, step, mean),
          reader.read(kCovariance, step, covariance),
          reader.read(kInnovation, step, innovation),
          reader.read(kInnovationCovariance, step, innovation_covariance)};
      kalman_adjoint(n, m, run.noise(), run.observation_noise(), run.model(), run.update(),
                     tape.mean(step), tape.covariance(step), weight, &moments, r, cov, bars.step(),
                     work);
      bars.flush_step(step);
    }
    bars.flush_rest(n, r, cov, run.initial_scale(), run.initial_noise());
  }
};

// Forward through the filter, back through the smoother, and both ways again with cotangents.
struct KalmanSmootherGradientOp {
  static constexpr bool kUnrolled = false;  // like the ops themselves

  // Cotangents of the smoother's outputs, before y and the model. That of the last lag-one
  // covariance belongs to nothing.
  enum Input { kTotal, kMean, kCovariance, kLagOne, kNumCotangents };

  template <class V>
  static void compute(const Call& call, const GradientTarget* targets, const Group<V>& group, int n,
                      int m) {
    using Run = KalmanRun<V, int, int>;
    const Operand* const operands = call.inputs + kNumCotangents;
    const int64_t num_steps = call.size('T'), square = int64_t{n} * n;
    const int64_t work_size =
        std::max({kalman_adjoint_work_size(n, m), kalman_smoother_work_size(n, m),
                  smoother_adjoint_work_size(n, m)});
    const int64_t adjoint_size = smoother_adjoint_size(n, m);
    const int64_t size = Run::work_size(call) + 2 * Tape<V>::size(num_steps, n) +
                         num_steps * adjoint_size + 3 * n + 4 * square + work_size +
                         ModelCotangents<V>::work_size(operands);
    V* memory = static_cast<V*>(scratch(size * sizeof(V)));
    const auto take = [&memory](int64_t count) { return (memory += count) - count; };
    Run run(call, operands, group, n, m, take(Run::work_size(call)));
    const Tape<V> tape = {take(Tape<V>::size(num_steps, n)), n};
    const Tape<V> back = {take(Tape<V>::size(num_steps, n)), n};  // r and N that came to each step
    V* const adjoints = take(num_steps * adjoint_size);
    const SmoothedMoments<V> moments = {take(n), take(square), take(square)};
    V *const r = take(n), *const cov = take(square);
    V *const zero = take(n), *const lag_one = take(square);
    V* const work = take(work_size);

    const V info = run.forward([&](int64_t step) { tape.record(step, run); });
    if (num_steps == 0) return;
    ModelCotangents<V> bars(operands, targets, group, memory, info != V(),
                            fill_of_failed(call.inputs, kNumCotangents, group, num_steps, work));
    set_zero(n, r);
    set_zero(square, cov);
    for (int64_t step = num_steps - 1; step >= 0; --step) {
      run.repeat_update(step, tape.mean(step), tape.covariance(step));
      for (int i = 0; i < n; ++i) back.mean(step)[i] = r[i];
      for (int i = 0; i < square; ++i) back.covariance(step)[i] = cov[i];
      const int64_t next = step + 1 < num_steps ? step + 1 : step;
      kalman_smooth(n, m, run.model(), run.update(), tape.covariance(next), r, cov, moments, work);
    }

    const CotangentReader<V> reader(call.inputs, group);
    const auto adjoint = [&](int64_t step) {
      SmootherAdjoint<V> x;
      place(x, adjoints + step * adjoint_size, n, m);
      return x;
    };
    set_zero(n, r);
    set_zero(square, cov);
    for (int64_t step = 0; step < num_steps; ++step) {
      const bool last = step + 1 == num_steps;
      run.repeat_update(step, tape.mean(step), tape.covariance(step));
      const SmoothedCotangents<V> bar = {reader.read(kMean, step, moments.mean),
                                         reader.read(kCovariance, step, moments.covariance),
                                         last ? nullptr : reader.read(kLagOne, step, lag_one)};
      kalman_smooth_adjoint(n, m, run.model(), run.update(), tape.covariance(step),
                            tape.covariance(last ? step : step + 1), back.mean(step),
                            back.covariance(step), bar, r, cov, adjoint(step), work);
    }

    V weight = V();
    reader.read(kTotal, 0, &weight);
    set_zero(n, r);
    set_zero(square, cov);
    set_zero(n, zero);
    for (int64_t step = num_steps - 1; step >= 0; --step) {
      run.repeat_update(step, tape.mean(step), tape.covariance(step));
      const SmootherAdjoint<V> own = adjoint(step);
      const KalmanCotangents<V> bar = bars.step();
      for (int i = 0; i < square; ++i) bar.f[i] = bar.f[i] + own.f[i];
      for (int i = 0; i < int64_t{m} * n; ++i) bar.h[i] = bar.h[i] + own.h[i];
      add_symmetric(n, own.next_covariance, cov);
      const KalmanMomentCotangents<V> outputs = {
          own.filtered_mean, own.filtered_covariance, zero,
          own.covariance,    own.innovation,          own.innovation_covariance};
      kalman_adjoint(n, m, run.noise(), run.observation_noise(), run.model(), run.update(),
                     tape.mean(step), tape.covariance(step), weight, &outputs, r, cov, bar, work);
      bars.flush_step(step);
    }
    bars.flush_rest(n, r, cov, run.initial_scale(), run.initial_noise());
  }
};

}  // namespace STATESPACE_ISA
}  // namespace statespace

#endif  // STATESPACE_NATIVE_OPS_KALMAN_MOMENT_GRADIENT_H_
