// The Kalman ops in square-root form.
//
// They compute in float64 whatever the operands hold. In float32 no filter that keeps a mean could
// be right on the models that this form is for: where a state of size 1 is observed to 1e-6, the
// rounding of its mean is 6 % of the innovation's standard deviation. Of 13 such models in
// tests/kalman/test_square_root.py, this recursion in float32 missed four log-likelihoods by 2e-4
// to 41 %; in float64 it misses none by more than 2e-10.
#ifndef STATESPACE_NATIVE_OPS_KALMAN_SQUARE_ROOT_H_
#define STATESPACE_NATIVE_OPS_KALMAN_SQUARE_ROOT_H_

#include "core/kalman_square_root_smoother.h"
#include "ops/kalman_gradient.h"

namespace statespace {
namespace STATESPACE_ISA {

// Noise of nothing has no columns, however many its scale has.
STATESPACE_INLINE SquareRootSizes square_root_sizes(const Call& call) {
  return {static_cast<int>(call.size('m') > 0 ? call.size('r') : 0),
          static_cast<int>(call.size('n') > 0 ? call.size('k') : 0)};
}

// The arithmetic of a step, as CovarianceStep; the spread is the predicted scale [n, n].
template <class V, class N, class M>
class SquareRootStep {
 public:
  STATESPACE_INLINE SquareRootStep(const Call& call, const Operand* /*operands*/,
                                   const Group<V>& /*group*/, N n, M m, V* memory)
      : n_(n),
        m_(m),
        sizes_(square_root_sizes(call)),
        initial_noise_(static_cast<int>(call.size('p'))) {
    const bool narrow = call.inputs[0].dtype == STATESPACE_FLOAT32;
    largest_ = splat<V>(narrow ? std::numeric_limits<float>::max()
                               : std::numeric_limits<ScalarOf<V>>::max());
    memory = place(update_, memory, n, m, sizes_.observation_noise);
    const auto take = [&memory](int64_t count) { return (memory += count) - count; };
    reflectors_ = take(reflectors_size(n, sizes_.predicted(n)));
    initial_ = memory;
  }

  STATESPACE_INLINE static int64_t work_size(const Call& call) {
    const int64_t n = call.size('n'), m = call.size('m');
    const SquareRootSizes sizes = square_root_sizes(call);
    return square_root_update_size(n, m, sizes.observation_noise) +
           reflectors_size(n, sizes.predicted(n)) +
           reflectors_size(n, triangular_scale_width(n, call.size('p')));
  }

  STATESPACE_INLINE void start(const V* initial_scale, V* spread) {
    triangular_scale(n_, initial_noise_, rows(initial_scale, initial_noise_), spread, initial_);
  }
  STATESPACE_INLINE void prepare_transition_noise(const KalmanParameters<V>&) {}
  STATESPACE_INLINE void prepare_observation_noise(const KalmanParameters<V>&) {}
  STATESPACE_INLINE void update(const KalmanParameters<V>& model, const V* y, const V* a,
                                const V* spread) {
    square_root_update(n_, m_, sizes_, model, largest_, y, a, spread, update_);
  }
  STATESPACE_INLINE void predict(const KalmanParameters<V>& model, V* a, V* spread) {
    square_root_predict(n_, sizes_, model, update_, a, spread, reflectors_);
  }
  STATESPACE_INLINE const SquareRootUpdate<V>& result() const { return update_; }
  STATESPACE_INLINE bool begins_again() const { return false; }
  STATESPACE_INLINE const SquareRootSizes& sizes() const { return sizes_; }
  // Of the latest prediction, and of the initial scale.
  STATESPACE_INLINE V* reflectors() const { return reflectors_; }
  STATESPACE_INLINE V* initial_reflectors() const { return initial_; }
  STATESPACE_INLINE int initial_width() const { return triangular_scale_width(n_, initial_noise_); }

 private:
  N n_;
  M m_;
  SquareRootSizes sizes_;
  int initial_noise_;
  V largest_;
  SquareRootUpdate<V> update_;
  V *reflectors_, *initial_;
};

// The way back, as CovarianceBackward.
template <class V, class N, class M>
class SquareRootBackward {
 public:
  using Run = KalmanRun<V, N, M, SquareRootStep>;

  STATESPACE_INLINE SquareRootBackward(Run& run, N n, M m, V* memory) : run_(run), n_(n), m_(m) {
    const auto take = [&memory](int64_t count) { return (memory += count) - count; };
    cotangent_ = {take(n), take(n * n)};
    first_ = take(int64_t{n} * run.step().initial_width());
    work_ = memory;
    set_zero(n, cotangent_.r);
    set_zero(n * n, cotangent_.w);
  }
  STATESPACE_INLINE static int64_t work_size(const Call& call) {
    const int64_t n = call.size('n'), m = call.size('m');
    const SquareRootSizes sizes = square_root_sizes(call);
    return square_root_adjoint_work_size(n, m, sizes.observation_noise, sizes.noise) + n + n * n +
           n * std::max(n, call.size('p'));
  }

  STATESPACE_INLINE void undo(bool last, const V*, const V*, const V& weight,
                              const KalmanCotangents<V>& bar) {
    if (!last) run_.repeat_prediction();
    square_root_adjoint(n_, m_, run_.step().sizes(), run_.model(), run_.update(),
                        last ? nullptr : run_.step().reflectors(), weight, cotangent_, bar, work_);
  }
  // The initial scale is (S, 0) Q, so its cotangent is (W, 0) Q.
  STATESPACE_INLINE void finish(V* mean_bar, V* scale_bar) {
    const int width = run_.step().initial_width(), columns = run_.initial_noise();
    reflect_back(n_, width, cotangent_.w, run_.step().initial_reflectors(), first_);
    for (int i = 0; i < n_; ++i) {
      mean_bar[i] = cotangent_.r[i];
      for (int j = 0; j < columns; ++j) scale_bar[i * columns + j] = first_[i * width + j];
    }
  }

 private:
  Run& run_;
  N n_;
  M m_;
  SquareRootCotangent<V> cotangent_;
  V *first_, *work_;
};

struct SquareRootForm {
  static constexpr bool kSumsByLanes = true;
  template <class V, class N, class M>
  using Step = SquareRootStep<V, N, M>;
  template <class V, class N, class M>
  using Backward = SquareRootBackward<V, N, M>;
};

struct KalmanSquareRootFilterOp {
  using Form = SquareRootForm;
  enum Output {
    kTotal,
    kFilteredMean,
    kFilteredCovariance,
    kMean,
    kCovariance,
    kInnovation,
    kInnovationCovariance,
    kInfo,
    kFilteredScale,
    kScale,
    kInnovationScale
  };

  template <class V>
  static int64_t work_size(const Call& call) {
    const int64_t n = call.size('n'), m = call.size('m'), larger = std::max(n, m);
    const int64_t filtered = square_root_sizes(call).observation_noise + n;
    return KalmanRun<V, int, int, SquareRootStep>::work_size(call) + m * filtered +
           2 * larger * larger + reflectors_size(larger, std::max(filtered, larger));
  }
  template <class V>
  STATESPACE_INLINE static void compute(const Call& call, const Group<V>& group, V* memory) {
    const int n = static_cast<int>(call.size('n')), m = static_cast<int>(call.size('m'));
    using Run = KalmanRun<V, int, int, SquareRootStep>;
    const int r = square_root_sizes(call).observation_noise;
    const int filtered = r + n, larger = std::max(n, m);
    const auto take = [&memory](int64_t count) { return (memory += count) - count; };
    Run run(call, call.inputs, group, n, m, take(Run::work_size(call)));
    V* const observation = take(int64_t{m} * filtered);
    V* const scale = take(int64_t{larger} * larger);
    V* const covariance = take(int64_t{larger} * larger);
    V* const work = memory;

    LogDensity<V> total;
    const V info = run.forward([&](int64_t step) {
      const SquareRootUpdate<V>& update = run.update();
      const auto put = [&](Output output, const V* x) {
        store(call.outputs[output], group, step, x);
      };
      const auto put_square = [&](Output output, int order, int columns, const View<V>& x) {
        const View<V> x_transposed = {x.data, x.column, x.row};
        multiply<Into::kSet, Part::kLower>(order, order, columns, x, x_transposed, covariance);
        mirror(order, covariance);
        put(output, covariance);
      };
      const auto put_scale = [&](Output output, int order, int columns, const View<V>& x) {
        triangular_scale(order, columns, x, scale, work);
        put(output, scale);
      };
      total.add(m, update);
      const View<V> x = filtered_rows(update, 1 + filtered);
      observation_rows(n, m, r, run.model(), run.spread(), observation, filtered);
      const View<V> innovation = rows<V>(observation, filtered);
      put(kFilteredMean, update.a);
      put_square(kFilteredCovariance, n, filtered, x);
      put_scale(kFilteredScale, n, filtered, x);
      put(kMean, run.mean());
      put_square(kCovariance, n, n, rows<V>(run.spread(), n));
      put(kScale, run.spread());
      put(kInnovation, update.v);
      put_square(kInnovationCovariance, m, filtered, innovation);
      put_scale(kInnovationScale, m, filtered, innovation);
    });
    finish_moments(call, group, total.value(), info, kInfo);
  }
};

template <bool lag_one>
struct KalmanSquareRootSmootherOp {
  using Form = SquareRootForm;
  using Output = SmootherOutput<lag_one>;

  template <class V>
  static int64_t work_size(const Call& call) {
    const int64_t n = call.size('n');
    const SquareRootSizes sizes = square_root_sizes(call);
    return KalmanRun<V, int, int, SquareRootStep>::work_size(call) +
           Tape<V>::size(call.size('T'), n) + 2 * n + 4 * n * n +
           square_root_smoother_work_size(n, call.size('m'), sizes.observation_noise, sizes.noise);
  }
  template <class V>
  STATESPACE_INLINE static void compute(const Call& call, const Group<V>& group, V* memory) {
    const int n = static_cast<int>(call.size('n')), m = static_cast<int>(call.size('m'));
    const int64_t num_steps = call.size('T'), square = int64_t{n} * n;
    using Run = KalmanRun<V, int, int, SquareRootStep>;
    const SquareRootSizes sizes = square_root_sizes(call);
    const auto take = [&memory](int64_t count) { return (memory += count) - count; };
    Run run(call, call.inputs, group, n, m, take(Run::work_size(call)));
    const Tape<V> tape = {take(Tape<V>::size(num_steps, n)), n};
    const SquareRootPosterior<V> posterior = {take(n), take(square), take(square)};
    const SmoothedMoments<V> moments = {take(n), take(square), take(square)};
    V* const work = memory;

    LogDensity<V> total;
    const V info = run.forward([&](int64_t step) {
      total.add(m, run.update());
      tape.record(step, run);
    });
    for (int64_t step = num_steps - 1; step >= 0; --step) {
      const bool last = step == num_steps - 1;
      run.repeat_update(step, tape.mean(step), tape.spread(step));
      if (!last) run.repeat_prediction();
      square_root_smooth(n, m, sizes, run.update(), tape.mean(step), tape.spread(step),
                         last ? nullptr : run.step().reflectors(), posterior, moments, work);
      store(call.outputs[Output::kMean], group, step, moments.mean);
      store(call.outputs[Output::kCovariance], group, step, moments.covariance);
      if (lag_one && !last) store(call.outputs[Output::kLagOne], group, step, moments.lag_one);
    }
    finish_moments(call, group, total.value(), info, Output::kInfo);
  }
};

}  // namespace STATESPACE_ISA
}  // namespace statespace

#endif  // STATESPACE_NATIVE_OPS_KALMAN_SQUARE_ROOT_H_
