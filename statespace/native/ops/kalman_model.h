// A series' way through the filter: loads the parameters of each step, runs the recursion forward,
// and keeps what the way back needs.
#ifndef STATESPACE_NATIVE_OPS_KALMAN_MODEL_H_
#define STATESPACE_NATIVE_OPS_KALMAN_MODEL_H_

#include <algorithm>
#include <cmath>

#include "core/kalman_filter.h"
#include "core/sums.h"
#include "ops/lanes.h"

namespace statespace {
namespace STATESPACE_ISA {

// Positions of the operands after y, as declarations.cc lists them.
enum ModelOperand { kY, kF, kG, kH, kC, kB, kD, kInitialMean, kInitialScale, kNumModelOperands };

// What log N(v; 0, S), summed over steps, is without the innovations: p log 2 pi and log |S| / 2.
template <class V>
class LogNormaliser {
 public:
  // One component: observed, 1 or 0; the root of its variance.
  STATESPACE_INLINE void add(const V& observed, const V& root) {
    observed_ = observed_ + observed;
    root_.multiply(root);
  }
  template <class M, class Update>
  STATESPACE_INLINE void add(M m, const Update& update) {
    for (int i = 0; i < m; ++i) add(update.observed[i], update.l[i * m + i]);
  }
  STATESPACE_INLINE V log_root() const { return root_.log(); }
  STATESPACE_INLINE V constant() const {
    constexpr double kLogTwoPi = 1.837877066409345483560659472811;
    return observed_ * splat<V>(ScalarOf<V>(kLogTwoPi));
  }

 private:
  V observed_ = V();
  LogProduct<V> root_;  // of |S|^(1/2)
};

// -(p log 2 pi + log |S| + v' S^-1 v) / 2 from its parts.
template <class V>
STATESPACE_INLINE V log_density(const V& log_root, const V& constant, const V& squares) {
  return -(log_root + splat<V>(ScalarOf<V>(0.5)) * (constant + squares));
}

// log N(v; 0, S) summed over steps.
template <class V>
class LogDensity {
 public:
  template <class M, class Update>
  STATESPACE_INLINE void add(M m, const Update& update) {
    for (int i = 0; i < m; ++i) {
      add(update.observed[i], update.l[i * m + i], update.z[i] * update.z[i]);
    }
  }
  // One component: observed, 1 or 0; the root of its variance; its squared standardised innovation.
  STATESPACE_INLINE void add(const V& observed, const V& root, const V& square) {
    normaliser_.add(observed, root);
    squares_.add(square);
  }
  STATESPACE_INLINE V value() const {
    return log_density(normaliser_.log_root(), normaliser_.constant(), squares_.value());
  }

 private:
  LogNormaliser<V> normaliser_;
  CompensatedSum<V> squares_;
};

// The arithmetic of the covariance form: what it carries beside the predicted mean, its "spread",
// is the predicted covariance [n, n]. Every form has a class like this one.
template <class V, class N, class M>
class CovarianceStep {
 public:
  STATESPACE_INLINE CovarianceStep(const Call& call, const Operand* /*operands*/,
                                   const Group<V>& /*group*/, N n, M m, V* memory)
      : n_(n),
        m_(m),
        noise_(static_cast<int>(call.size('k'))),
        observation_noise_(static_cast<int>(call.size('r'))),
        initial_noise_(static_cast<int>(call.size('p'))),
        work_(place(update_, memory, n, m)) {}

  STATESPACE_INLINE static int64_t work_size(const Call& call) {
    const int64_t n = call.size('n');
    return kalman_update_size(n, call.size('m')) + n * n;
  }

  STATESPACE_INLINE void start(const V* initial_scale, V* spread) {
    noise_covariance(n_, initial_noise_, initial_scale, spread);
    mirror(n_, spread);
  }
  // The transition's, or the observation's, scale has been loaded.
  STATESPACE_INLINE void prepare_transition_noise(const KalmanParameters<V>& model) {
    noise_covariance(n_, noise_, model.g, model.q);
  }
  STATESPACE_INLINE void prepare_observation_noise(const KalmanParameters<V>& model) {
    noise_covariance(m_, observation_noise_, model.c, model.r);
  }
  STATESPACE_INLINE void update(const KalmanParameters<V>& model, const V* y, const V* a,
                                const V* spread) {
    kalman_update(n_, m_, model, y, a, spread, update_);
  }
  STATESPACE_INLINE void predict(const KalmanParameters<V>& model, V* a, V* spread) {
    kalman_predict(n_, model, update_.a, update_.p, a, spread, work_);
  }
  // The two halves of each. revise(update) may change the covariances.
  template <class Revise>
  STATESPACE_INLINE void update_covariance(const KalmanParameters<V>& model, const V* y,
                                           const V* spread, Revise&& revise) {
    kalman_update_covariance(n_, m_, model, y, spread, update_);
    revise(update_);
    covariance_ok_ = update_.ok;
  }
  STATESPACE_INLINE void update_mean(const KalmanParameters<V>& model, const V* y, const V* a) {
    const Mask<V> ok = kalman_update_mean<V>(n_, m_, weights(update_), model.h_pattern, model.h,
                                             model.d, y, a, update_.v, update_.z, update_.a);
    update_.ok = mask_and(covariance_ok_, ok);
  }
  STATESPACE_INLINE void predict_mean(const KalmanParameters<V>& model, V* a) {
    kalman_predict_mean<V>(n_, model.f_transpose, model.b, update_.a, a);
  }
  STATESPACE_INLINE void predict_covariance(const KalmanParameters<V>& model, V* spread) {
    kalman_predict_covariance(n_, model, update_.p, spread, work_);
  }
  STATESPACE_INLINE const KalmanUpdate<V>& result() const { return update_; }
  // Whether, with what the latest update has shown, the filter is to begin again.
  STATESPACE_INLINE bool begins_again() const { return false; }

 private:
  N n_;
  M m_;
  Mask<V> covariance_ok_ = V() != V();
  int noise_, observation_noise_, initial_noise_;
  KalmanUpdate<V> update_;
  V* work_;
};

// What is wanted of a step's transition noise: on the way back never its covariance.
enum class TransitionNoise { kNone, kScale, kScaleAndCovariance };

// The recursion of one group of series, in the form whose arithmetic is Step.
template <class V, class N, class M, template <class, class, class> class Step = CovarianceStep>
class KalmanRun {
 public:
  // operands: y and the model's parameters. memory: work_size() numbers.
  STATESPACE_INLINE KalmanRun(const Call& call, const Operand* operands, const Group<V>& group, N n,
                              M m, V* memory)
      : n_(n),
        m_(m),
        noise_(static_cast<int>(call.size('k'))),
        observation_noise_(static_cast<int>(call.size('r'))),
        initial_noise_(static_cast<int>(call.size('p'))),
        num_steps_(call.size('T')),
        operands_(operands),
        group_(group),
        step_(call, operands, group, n, m, memory) {
    memory = place(model_, memory + step_.work_size(call), n, m, noise_, observation_noise_);
    memory = place(model_.f_pattern, memory, n, n);
    memory = place(model_.f_transpose_pattern, memory, n, n);
    memory = place(model_.h_pattern, memory, m, n);
    const auto take = [&memory](int64_t count) { return (memory += count) - count; };
    y_ = take(m), a_ = take(n), spread_ = take(n * n);
    initial_scale_ = take(n * initial_noise_);
  }

  STATESPACE_INLINE static int64_t work_size(const Call& call) {
    const int64_t n = call.size('n'), m = call.size('m');
    return kalman_parameters_size(n, m, call.size('k'), call.size('r')) +
           2 * pattern_size<V>(n, n) + pattern_size<V>(m, n) + Step<V, N, M>::work_size(call) + m +
           n + n * n + n * call.size('p');
  }

  // Runs the filter; after each update calls on_update(step). Returns the status per lane as a
  // number: 0, or 1 + the step that failed.
  template <class OnUpdate>
  STATESPACE_INLINE V forward(OnUpdate&& on_update) {
    return forward([] {}, on_update);
  }
  // The same in a form that may begin again: calls on_start() before the first step.
  template <class OnStart, class OnUpdate>
  STATESPACE_INLINE V forward(OnStart&& on_start, OnUpdate&& on_update) {
    V info = V();
    const auto begin = [&] {
      info = V();
      load_start(a_, spread_);
      on_start();
    };
    begin();
    for (int64_t step = 0; step < num_steps_; ++step) {
      load_step(step, step == 0);
      step_.update(model_, y_, a_, spread_);
      if (step_.begins_again()) {
        begin();
        step = -1;
        continue;
      }
      const Mask<V> first_failure = mask_and(mask_not(update().ok), info == V());
      info = select<V>(first_failure, splat<V>(static_cast<ScalarOf<V>>(step + 1)), info);
      on_update(step);
      if (step + 1 < num_steps_) step_.predict(model_, a_, spread_);
    }
    return info;
  }

  // Runs steps first ... end - 1 again on the way back, from the predicted moments of the first.
  template <class OnUpdate>
  STATESPACE_INLINE void again(int64_t first, int64_t end, const V* mean, const V* spread,
                               OnUpdate&& on_update) {
    for (int i = 0; i < n_; ++i) a_[i] = mean[i];
    for (int i = 0; i < n_ * n_; ++i) spread_[i] = spread[i];
    for (int64_t step = first; step < end; ++step) {
      load_step(step, false);
      step_.update(model_, y_, a_, spread_);
      on_update(step);
      if (step + 1 < end) step_.predict(model_, a_, spread_);
    }
  }

  // The first state's mean and spread.
  STATESPACE_BUILDING_BLOCK void load_start(V* mean, V* spread) {
    load(operands_[kInitialMean], group_, 0, mean);
    load(operands_[kInitialScale], group_, 0, initial_scale_);
    step_.start(initial_scale_, spread);
  }

  // Loads the parameters and data of a step; those that do not vary only the first time.
  STATESPACE_INLINE void load_step(int64_t step, bool first,
                                   TransitionNoise noise = TransitionNoise::kScaleAndCovariance) {
    load_data(step);
    load_parameters(step, first, noise);
  }
  STATESPACE_INLINE void load_data(int64_t step) { load(operands_[kY], group_, step, y_); }
  STATESPACE_BUILDING_BLOCK void load_parameters(
      int64_t step, bool first, TransitionNoise noise = TransitionNoise::kScaleAndCovariance) {
    const auto fresh = [&](ModelOperand i, V* dst) {
      const bool wanted = first || operands_[i].step_stride != 0;
      if (wanted) load(operands_[i], group_, step, dst);
      return wanted;
    };
    if (fresh(kF, model_.f)) prepare_transition();
    if (noise != TransitionNoise::kNone && fresh(kG, model_.g) &&
        noise == TransitionNoise::kScaleAndCovariance) {
      step_.prepare_transition_noise(model_);
    }
    if (fresh(kH, model_.h)) find_observation_pattern();
    if (fresh(kC, model_.c)) step_.prepare_observation_noise(model_);
    fresh(kB, model_.b);
    fresh(kD, model_.d);
  }

  // The update of a step again on the way back, from its predicted moments.
  //
  // Numbers that are not finite are cleared first: where the series did not fail they belong to
  // missing components (an unknown regressor, say) or to the transition beyond the data, and the
  // products of the way back would carry them on, since zero times NaN is NaN.
  STATESPACE_INLINE void repeat_update(int64_t step, const V* a, const V* spread,
                                       TransitionNoise noise = TransitionNoise::kScale) {
    reload_step(step, noise);
    step_.update(model_, y_, a, spread);
  }
  STATESPACE_BUILDING_BLOCK void reload_step(int64_t step,
                                             TransitionNoise noise = TransitionNoise::kScale) {
    const bool last = step == num_steps_ - 1;
    load_step(step, last, noise);
    if (last || operands_[kH].step_stride != 0) {
      clear_not_finite(m_ * n_, model_.h);
      find_observation_pattern();
    }
    if (last || operands_[kC].step_stride != 0) {
      clear_not_finite(m_ * observation_noise_, model_.c);
      step_.prepare_observation_noise(model_);
    }
    if (last) {
      clear_not_finite(n_ * n_, model_.f);
      prepare_transition();
      clear_not_finite(n_ * noise_, model_.g);
    }
  }
  // Before the way back, in a form that repeats covariances on the way there.
  STATESPACE_INLINE void compute_every_step() { step_.compute_every_step(); }
  // The prediction that followed, likewise; the moments it gives are those of the step after.
  STATESPACE_INLINE void repeat_prediction() { step_.predict(model_, a_, spread_); }

  STATESPACE_INLINE const KalmanParameters<V>& model() const { return model_; }
  STATESPACE_INLINE const V* data() const { return y_; }  // of the step
  STATESPACE_INLINE const Step<V, N, M>& step() const { return step_; }
  STATESPACE_INLINE const auto& update() const { return step_.result(); }
  STATESPACE_INLINE const V* mean() const { return a_; }         // predicted
  STATESPACE_INLINE const V* spread() const { return spread_; }  // predicted
  STATESPACE_INLINE const V* initial_scale() const { return initial_scale_; }
  STATESPACE_INLINE int noise() const { return noise_; }
  STATESPACE_INLINE int observation_noise() const { return observation_noise_; }
  STATESPACE_INLINE int initial_noise() const { return initial_noise_; }

 private:
  STATESPACE_BUILDING_BLOCK void prepare_transition() {
    for (int i = 0; i < n_; ++i) {
      for (int j = 0; j < n_; ++j) model_.f_transpose[j * n_ + i] = model_.f[i * n_ + j];
    }
    find_pattern(n_, n_, n_, rows<V>(model_.f, n_), model_.f_pattern);
    find_pattern(n_, n_, n_, rows<V>(model_.f_transpose, n_), model_.f_transpose_pattern);
  }
  STATESPACE_INLINE void find_observation_pattern() {
    find_pattern(n_, m_, n_, rows<V>(model_.h, n_), model_.h_pattern);
  }

  N n_;
  M m_;
  int noise_, observation_noise_, initial_noise_;
  int64_t num_steps_;
  const Operand* operands_;
  Group<V> group_;
  Step<V, N, M> step_;
  KalmanParameters<V> model_;
  V *y_, *a_, *spread_, *initial_scale_;
};

// The predicted moments of every step, for the way back.
template <class V>
struct Tape {
  V* data;
  int64_t n;

  STATESPACE_INLINE static int64_t size(int64_t num_steps, int64_t n) {
    return num_steps * (n + n * n);
  }
  STATESPACE_INLINE V* mean(int64_t step) const { return data + step * (n + n * n); }
  STATESPACE_INLINE V* spread(int64_t step) const { return mean(step) + n; }

  template <class Run>
  STATESPACE_INLINE void record(int64_t step, const Run& run) const {
    for (int64_t i = 0; i < n; ++i) mean(step)[i] = run.mean()[i];
    for (int64_t i = 0; i < n * n; ++i) spread(step)[i] = run.spread()[i];
  }
};

// A tape up to this size stays in the nearer caches; one beyond it costs more time, for its memory
// has to be had and written, than running the steps again.
// On a GPU the memory of all threads is one.
constexpr int64_t kLargestTapeBytes = kIsDevice ? 4 << 10 : int64_t{4} << 20;

// How the way back remembers: predicted moments of every step, or, to save memory, of every
// sqrt(T)-th step, from which the steps up to the next are run again when their turn comes.
struct Stretches {
  int64_t num_steps, length, last;  // last: where the last one begins

  STATESPACE_INLINE Stretches(int64_t steps, int64_t bytes_per_step, bool low_memory)
      : num_steps(steps), length(steps > 0 ? steps : 1) {
    if (low_memory || bytes_per_step * length > kLargestTapeBytes) {
      length = static_cast<int64_t>(std::ceil(std::sqrt(double(length))));
    }
    last = steps > 0 ? (steps - 1) / length * length : 0;
  }
  STATESPACE_INLINE int64_t count() const { return last / length + 1; }
  STATESPACE_INLINE int64_t end(int64_t first) const { return std::min(first + length, num_steps); }
};

// NaN in every number of the lanes' items that failed.
template <class V>
STATESPACE_BUILDING_BLOCK void spoil(const Operand& operand, const Group<V>& group, const V& info) {
  for (int lane = 0; lane < group.count; ++lane) {
    if (get_lane(info, lane) == 0) continue;
    with_numbers<V>(operand, group.first + lane, [&operand](auto* data) {
      using T = std::remove_pointer_t<decltype(data)>;
      for (int64_t i = 0; i < operand.item_size; ++i) data[i] = std::numeric_limits<T>::quiet_NaN();
    });
  }
}

}  // namespace STATESPACE_ISA
}  // namespace statespace

#endif  // STATESPACE_NATIVE_OPS_KALMAN_MODEL_H_
