// The gradient of the log-likelihood of series that share covariances and have one weight each.
//
// With r and N of Durbin & Koopman's disturbance smoother (section 4.4) a series' gradient is w
// times their score (section 7.3), of which N belongs to the covariances and r to the data:
//   G_bar = w (r r' - N) G, C_bar = w (u u' - D) C, b_bar = w r, d_bar = w u = -y_bar,
//   F_bar = w (r x' - N F P_f), H_bar = w (u x' - (D H - K' N_f) P), x the smoothed state, K = P H'
//   S^-1, N_f = F' N F, P_f the filtered covariance.
// What has N, of all series together, is kalman_adjoint for a series whose means and innovations
// are zero, times the sum of their weights.
#ifndef STATESPACE_NATIVE_OPS_KALMAN_SHARED_GRADIENT_H_
#define STATESPACE_NATIVE_OPS_KALMAN_SHARED_GRADIENT_H_

#include "core/kalman_smoother.h"
#include "ops/kalman_gradient.h"
#include "ops/kalman_shared.h"

namespace statespace {
namespace STATESPACE_ISA {

// The part of the means: one group of series, forward with a tape, then backward.
template <class V, class N, class M>
class MeansGradient {
 public:
  using T = ScalarOf<V>;
  using Means = KalmanMeans<V, N, M>;

  MeansGradient(const Call& call, const GradientTarget* targets, const Group<V>& group,
                const KalmanPlan<T>& plan, N n, M m)
      : call_(call),
        operands_(call.inputs + 1),
        targets_(targets),
        group_(group),
        plan_(plan),
        n_(n),
        m_(m),
        noise_(static_cast<int>(call.size('k'))),
        observation_noise_(static_cast<int>(call.size('r'))),
        initial_noise_(static_cast<int>(call.size('p'))) {}

  void run() {
    const int64_t num_steps = call_.size('T');
    const int64_t scales = std::max({n_ * noise_, m_ * observation_noise_, n_ * initial_noise_});
    const int64_t entry = n_ + m_;  // of the tape: a predicted mean and L^-1 v
    const Stretches stretches(num_steps, entry * sizeof(V), false);
    const int64_t size = Means::work_size(call_) + (stretches.length + stretches.count()) * entry +
                         ModelCotangents<V>::work_size(operands_) + 4 * n_ + m_ + n_ * n_ +
                         m_ * m_ + scales;
    V* memory = static_cast<V*>(scratch(size * sizeof(V)));
    const auto take = [&memory](int64_t count) { return (memory += count) - count; };
    Means means(call_, operands_, group_, plan_, n_, m_, take(Means::work_size(call_)));
    V* const tape = take(stretches.length * entry);
    V* const starts = take(stretches.count() * entry);
    V* const cotangents = take(ModelCotangents<V>::work_size(operands_));
    r_ = take(n_), r_filtered_ = take(n_), x_ = take(n_), weighted_ = take(n_), u_ = take(m_);
    rr_ = take(n_ * n_), uu_ = take(m_ * m_), scale_ = take(scales);

    const auto record = [this](const StepMeans<V>& x, V* to) {
      for (int i = 0; i < n_; ++i) to[i] = x.predicted[i];
      for (int i = 0; i < m_; ++i) to[n_ + i] = x.whitened[i];
    };
    const V info = means.forward([&](int64_t step, const StepMeans<V>& x) {
      if (step % stretches.length == 0) record(x, starts + step / stretches.length * entry);
      if (step >= stretches.last) record(x, tape + (step - stretches.last) * entry);
    });
    const V fill = fill_of_failed(call_.inputs, 1, group_, num_steps, &weight_);
    ModelCotangents<V> bars(operands_, targets_, group_, cotangents, info != V(), fill,
                            call_.attrs[1] != 0);
    load(call_.inputs[0], group_, 0, &weight_);
    set_zero(n_, r_);
    set_zero(n_ * n_, rr_);
    set_zero(m_ * m_, uu_);
    for (int64_t first = stretches.last; first >= 0; first -= stretches.length) {
      const int64_t end = stretches.end(first);
      if (first != stretches.last) {
        means.run(
            first, end, starts + first / stretches.length * entry,
            [&](int64_t step, const StepMeans<V>& x) { record(x, tape + (step - first) * entry); });
      }
      for (int64_t step = end - 1; step >= first; --step) {
        const V* const from = tape + (step - first) * entry;
        undo(step, from, from + n_, bars.step());
        if (operands_[kG].step_stride != 0) finish_transition_scale(step, bars.step().g);
        if (operands_[kC].step_stride != 0) finish_observation_scale(step, bars.step().c);
        bars.flush_step(step);
      }
    }
    if (operands_[kG].step_stride == 0) finish_transition_scale(0, bars.step().g);
    if (operands_[kC].step_stride == 0) finish_observation_scale(0, bars.step().c);
    for (int i = 0; i < n_; ++i) bars.mean()[i] = weight_ * r_[i];
    add_outer(n_, bars.mean(), r_, rr_);
    finish_scale(n_, initial_noise_, kInitialScale, 0, rr_, bars.scale());
    bars.flush_rest();
  }

 private:
  // Undoes a step that started from the predicted mean a; z = L^-1 v.
  void undo(int64_t step, const V* a, const V* z, const KalmanCotangents<V>& bar) {
    const KalmanUpdate<T> update = plan_.step_update(step);
    const T *const h = plan_.observation_matrix(step), *const p = plan_.covariance(step);
    const bool last = step + 1 == call_.size('T');  // the transition leads beyond the data
    undo_prediction(n_, plan_.transition_matrix(step), r_, r_filtered_);
    // What belongs to the prediction is r's still; r_f becomes r of the step before, r_f + H' u.
    for (int i = 0; i < n_; ++i) weighted_[i] = weight_ * r_[i];
    undo_update(n_, m_, weights(update), h, z, r_filtered_, u_);
    for (int i = 0; bar.f != nullptr && i < n_; ++i) {
      V sum = a[i];
      for (int j = 0; j < n_; ++j) sum = mul_add(splat<V>(p[i * n_ + j]), r_filtered_[j], sum);
      x_[i] = sum;
    }
    if (!last) {
      for (int i = 0; i < n_; ++i) {
        bar.b[i] = bar.b[i] + weighted_[i];
        for (int j = 0; bar.f != nullptr && j < n_; ++j) {
          bar.f[i * n_ + j] = mul_add(weighted_[i], x_[j], bar.f[i * n_ + j]);
        }
      }
      add_outer(n_, weighted_, r_, rr_);
    }
    for (int i = 0; i < m_; ++i) {
      const V weighted = weight_ * u_[i];
      bar.y[i] = bar.y[i] - weighted;
      bar.d[i] = bar.d[i] + weighted;
      for (int j = 0; bar.h != nullptr && j < n_; ++j) {
        bar.h[i * n_ + j] = mul_add(weighted, x_[j], bar.h[i * n_ + j]);
      }
      for (int j = 0; j <= i; ++j) uu_[i * m_ + j] = mul_add(weighted, u_[j], uu_[i * m_ + j]);
    }
    for (int i = 0; i < n_; ++i) r_[i] = r_filtered_[i];
  }

  // x += the lower triangle of weighted y', symmetric.
  template <class K>
  static void add_outer(K k, const V* weighted, const V* y, V* x) {
    for (int i = 0; i < k; ++i) {
      for (int j = 0; j <= i; ++j) x[i * k + j] = mul_add(weighted[i], y[j], x[i * k + j]);
    }
  }

  // bar += X S for the scale S of an operand, and clears X, of which the lower triangle is given.
  template <class K>
  void finish_scale(K k, int columns, ModelOperand which, int64_t step, V* x, V* bar) {
    load(operands_[which], group_, step, scale_);
    clear_not_finite(k * columns, scale_);
    mirror(k, x);
    multiply<Into::kAdd>(k, columns, k, rows<V>(x, k), rows<V>(scale_, columns), bar);
    set_zero(k * k, x);
  }
  void finish_transition_scale(int64_t step, V* bar) {
    finish_scale(n_, noise_, kG, step, rr_, bar);
  }
  void finish_observation_scale(int64_t step, V* bar) {
    finish_scale(m_, observation_noise_, kC, step, uu_, bar);
  }

  const Call& call_;
  const Operand* operands_;
  const GradientTarget* targets_;
  Group<V> group_;
  const KalmanPlan<T>& plan_;
  N n_;
  M m_;
  int noise_, observation_noise_, initial_noise_;
  V weight_ = V();
  V *r_, *r_filtered_, *x_, *weighted_, *u_, *rr_, *uu_, *scale_;
};

// The part of the covariances, of all series of a plan.
template <class T>
class CovariancesGradient {
 public:
  using Run = KalmanRun<T, int, int>;

  CovariancesGradient(const Call& call, const KalmanPlan<T>& plan)
      : call_(call), operands_(call.inputs + 1), plan_(plan) {
    for (int64_t i = 0; i < call.batch; ++i) weight_ += *call.inputs[0].item<T>(i);
  }

  void run() {
    const int n = static_cast<int>(call_.size('n')), m = static_cast<int>(call_.size('m'));
    const int64_t num_steps = call_.size('T'), square = int64_t{n} * n;
    int64_t bars_size = 0;
    for (int i = 0; i < kNumModelOperands; ++i) bars_size += operands_[i].core_size;
    const int64_t size =
        Run::work_size(call_) + bars_size + 2 * n + 3 * square + kalman_adjoint_work_size(n, m);
    T* memory = static_cast<T*>(scratch(size * sizeof(T)));
    const auto take = [&memory](int64_t count) { return (memory += count) - count; };
    Run run(call_, operands_, Group<T>{0, 1}, n, m, take(Run::work_size(call_)));
    T* const bars = take(bars_size);
    T* bar[kNumModelOperands];
    for (int i = 0, first = 0; i < kNumModelOperands; ++i) {
      bar[i] = bars + first;
      first += static_cast<int>(operands_[i].core_size);
    }
    const bool constant = call_.attrs[1] != 0;
    T *const f_bar = constant ? nullptr : bar[kF], *const h_bar = constant ? nullptr : bar[kH];
    T *const mean = take(n), *const r = take(n), *const cov = take(square);
    T* const before = take(square);
    Settling<T> settling(take(square));
    T* const work = memory;
    run.load_start(mean, cov);
    set_zero(n, mean);
    set_zero(n, r);
    set_zero(square, cov);
    for (int64_t step = num_steps - 1, repeats; step >= 0; step -= repeats) {
      const bool same = step + 1 < num_steps && plan_.entry(step) == plan_.entry(step + 1);
      repeats = 1;
      if (settling.repeats(same)) {
        while (repeats <= step && plan_.entry(step - repeats) == plan_.entry(step)) ++repeats;
      }
      if (step + 1 == num_steps || plan_.varies()) run.reload_step(step);
      std::copy_n(cov, square, before);
      set_zero(bars_size, bars);
      kalman_adjoint(n, m, run.noise(), run.observation_noise(), run.model(),
                     plan_.step_update(step), mean, plan_.covariance(step), T(1),
                     static_cast<const KalmanMomentCotangents<T>*>(nullptr), r, cov,
                     {bar[kY], f_bar, bar[kG], h_bar, bar[kC], bar[kB], bar[kD]}, work);
      if (!plan_.varies()) settling.advance(n, same, before, cov);
      for (ModelOperand i : {kF, kG, kH, kC}) add(i, step, static_cast<T>(repeats), bar[i]);
    }
    start_adjoint(n, run.initial_noise(), cov, run.initial_scale(), bar[kInitialScale]);
    add(kInitialScale, 0, T(1), bar[kInitialScale]);
  }

 private:
  void add(ModelOperand which, int64_t step, T factor, const T* bar) const {
    const Operand& output = call_.outputs[which];
    T* const data = output.item<T>(0) + step * output.step_stride;
    for (int64_t i = 0; i < output.core_size; ++i) data[i] += factor * weight_ * bar[i];
  }

  const Call& call_;
  const Operand* operands_;
  const KalmanPlan<T>& plan_;
  T weight_ = T();  // the sum over all series
};

// The gradient in covariance form, with shared work where series share it.
template <class T>
void run_log_likelihood_gradient(const Call& call) {
  using Op = KalmanGradientOp<CovarianceGradient>;
  clear_gradients<T>(call);
  const bool low_memory = call.attrs[0] != 0, per_step = call.inputs[0].step_stride != 0;
  if (low_memory || per_step) return add_gradients_of<T, T, Op>(call);

  const auto shared = [](const Call& part, const KalmanPlan<T>& plan) {
    add_gradients<T, T, CovarianceForm>(
        part, 3 * means_cost(part), [&](const GradientTarget* targets, auto group) {
          using V = typename decltype(group)::Value;
          with_model_sizes<V>(part, [&](auto n, auto m) {
            MeansGradient<V, decltype(n), decltype(m)>(part, targets, group, plan, n, m).run();
          });
        });
    CovariancesGradient<T>(part, plan).run();
  };
  for_each_pattern<T, false>(call, 1, plan_pays<T>(call, 1), shared, add_gradients_of<T, T, Op>);
}

}  // namespace STATESPACE_ISA
}  // namespace statespace

#endif  // STATESPACE_NATIVE_OPS_KALMAN_SHARED_GRADIENT_H_
