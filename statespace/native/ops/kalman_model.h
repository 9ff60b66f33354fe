// A series' way through the filter: loads the parameters of each step, runs the recursion forward,
// and keeps what the way back needs.
#ifndef STATESPACE_NATIVE_OPS_KALMAN_MODEL_H_
#define STATESPACE_NATIVE_OPS_KALMAN_MODEL_H_

#include "core/kalman_filter.h"
#include "core/sums.h"
#include "ops/lanes.h"

namespace statespace {
namespace STATESPACE_ISA {

// Positions of the operands after y, as declarations.cc lists them.
enum ModelOperand { kY, kF, kG, kH, kC, kB, kD, kInitialMean, kInitialScale, kNumModelOperands };

// log N(v; 0, S) summed over steps: -(p log 2 pi + log |S| + v' S^-1 v) / 2.
template <class V>
class LogDensity {
 public:
  template <class M>
  void add(M m, const KalmanUpdate<V>& update) {
    for (int i = 0; i < m; ++i) {
      add(update.observed[i], update.l[i * m + i], update.z[i] * update.z[i]);
    }
  }
  // One component: observed, 1 or 0; the root of its variance; its squared standardised innovation.
  void add(const V& observed, const V& root, const V& square) {
    observed_ = observed_ + observed;
    root_.multiply(root);
    squares_.add(square);
  }
  V value() const {
    constexpr double kLogTwoPi = 1.837877066409345483560659472811;
    const V half = splat<V>(ScalarOf<V>(0.5));
    const V constant = observed_ * splat<V>(ScalarOf<V>(kLogTwoPi));
    return -(root_.log() + half * (constant + squares_.value()));
  }

 private:
  V observed_ = V();
  LogProduct<V> root_;  // of |S|^(1/2)
  CompensatedSum<V> squares_;
};

// The recursion of one group of series.
template <class V, class N, class M>
class KalmanRun {
 public:
  // operands: y and the model's parameters. memory: work_size() numbers.
  KalmanRun(const Call& call, const Operand* operands, const Group<V>& group, N n, M m, V* memory)
      : n_(n),
        m_(m),
        noise_(static_cast<int>(call.size('k'))),
        observation_noise_(static_cast<int>(call.size('r'))),
        initial_noise_(static_cast<int>(call.size('p'))),
        num_steps_(call.size('T')),
        operands_(operands),
        group_(group) {
    memory = place(model_, memory, n, m, noise_, observation_noise_);
    memory = place(update_, memory, n, m);
    const auto take = [&memory](int64_t count) { return (memory += count) - count; };
    y_ = take(m), a_ = take(n), p_ = take(n * n), work_ = take(n * n);
    initial_scale_ = take(n * initial_noise_);
  }

  static int64_t work_size(const Call& call) {
    const int64_t n = call.size('n'), m = call.size('m');
    return kalman_parameters_size(n, m, call.size('k'), call.size('r')) + kalman_update_size(n, m) +
           m + n + 2 * n * n + n * call.size('p');
  }

  // Runs the filter; after each update calls on_update(step). Returns the status per lane as a
  // number: 0, or 1 + the step that failed.
  template <class OnUpdate>
  V forward(OnUpdate&& on_update) {
    V info = V();
    load_start(a_, p_);
    for (int64_t step = 0; step < num_steps_; ++step) {
      load_step(step, step == 0);
      kalman_update(n_, m_, model_, y_, a_, p_, update_);
      const Mask<V> first_failure = mask_and(mask_not(update_.ok), info == V());
      info = select<V>(first_failure, splat<V>(static_cast<ScalarOf<V>>(step + 1)), info);
      on_update(step);
      if (step + 1 < num_steps_) {
        kalman_predict(n_, model_, update_.a, update_.p, a_, p_, work_);
      }
    }
    return info;
  }

  // Moments of the first state.
  void load_start(V* mean, V* covariance) {
    load(operands_[kInitialMean], group_, 0, mean);
    load(operands_[kInitialScale], group_, 0, initial_scale_);
    noise_covariance<Part::kAll>(n_, initial_noise_, initial_scale_, covariance);
  }

  // Loads the parameters and data of a step; those that do not vary only the first time.
  void load_step(int64_t step, bool first) {
    const auto fresh = [&](ModelOperand i, V* dst) {
      const bool wanted = first || operands_[i].step_stride != 0;
      if (wanted) load(operands_[i], group_, step, dst);
      return wanted;
    };
    load(operands_[kY], group_, step, y_);
    if (fresh(kF, model_.f)) {
      for (int i = 0; i < n_; ++i) {
        for (int j = 0; j < n_; ++j) model_.f_transpose[j * n_ + i] = model_.f[i * n_ + j];
      }
    }
    if (fresh(kG, model_.g)) noise_covariance<Part::kAll>(n_, noise_, model_.g, model_.q);
    fresh(kH, model_.h);
    if (fresh(kC, model_.c)) {
      noise_covariance<Part::kLower>(m_, observation_noise_, model_.c, model_.r);
    }
    fresh(kB, model_.b);
    fresh(kD, model_.d);
  }

  // The update of a step again on the way back, from its predicted moments.
  //
  // Numbers that are not finite are cleared first: where the series did not fail they belong to
  // missing components (an unknown regressor, say) or to the transition beyond the data, and the
  // products of the way back would carry them on, since zero times NaN is NaN.
  void repeat_update(int64_t step, const V* a, const V* p) {
    reload_step(step);
    kalman_update(n_, m_, model_, y_, a, p, update_);
  }
  void reload_step(int64_t step) {
    const bool last = step == num_steps_ - 1;
    load_step(step, last);
    if (last || operands_[kH].step_stride != 0) clear_not_finite(m_ * n_, model_.h);
    if (last || operands_[kC].step_stride != 0) {
      clear_not_finite(m_ * observation_noise_, model_.c);
      clear_not_finite(m_ * m_, model_.r);
    }
    if (last) {
      clear_not_finite(n_ * n_, model_.f);
      clear_not_finite(n_ * n_, model_.f_transpose);
      clear_not_finite(n_ * noise_, model_.g);
    }
  }

  const KalmanParameters<V>& model() const { return model_; }
  const V* data() const { return y_; }  // of the step
  const KalmanUpdate<V>& update() const { return update_; }
  const V* mean() const { return a_; }        // predicted
  const V* covariance() const { return p_; }  // predicted
  const V* initial_scale() const { return initial_scale_; }
  int noise() const { return noise_; }
  int observation_noise() const { return observation_noise_; }
  int initial_noise() const { return initial_noise_; }

 private:
  static void clear_not_finite(int count, V* x) {
    for (int i = 0; i < count; ++i) x[i] = select<V>(is_finite(x[i]), x[i], V());
  }

  N n_;
  M m_;
  int noise_, observation_noise_, initial_noise_;
  int64_t num_steps_;
  const Operand* operands_;
  Group<V> group_;
  KalmanParameters<V> model_;
  KalmanUpdate<V> update_;
  V *y_, *a_, *p_, *work_, *initial_scale_;
};

// The predicted moments of every step, for the way back.
template <class V>
struct Tape {
  V* data;
  int64_t n;

  static int64_t size(int64_t num_steps, int64_t n) { return num_steps * (n + n * n); }
  V* mean(int64_t step) const { return data + step * (n + n * n); }
  V* covariance(int64_t step) const { return mean(step) + n; }

  template <class Run>
  void record(int64_t step, const Run& run) const {
    for (int64_t i = 0; i < n; ++i) mean(step)[i] = run.mean()[i];
    for (int64_t i = 0; i < n * n; ++i) covariance(step)[i] = run.covariance()[i];
  }
};

// NaN in every number of the lanes' items that failed.
template <class V>
inline void spoil(const Operand& operand, const Group<V>& group, const V& info) {
  using T = ScalarOf<V>;
  for (int lane = 0; lane < group.count; ++lane) {
    if (get_lane(info, lane) == T(0)) continue;
    T* const data = operand.item<T>(group.first + lane);
    for (int64_t i = 0; i < operand.item_size; ++i) data[i] = std::numeric_limits<T>::quiet_NaN();
  }
}

}  // namespace STATESPACE_ISA
}  // namespace statespace

#endif  // STATESPACE_NATIVE_OPS_KALMAN_MODEL_H_
