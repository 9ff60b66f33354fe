// The Kalman ops in univariate form, with an exact diffuse start.
#ifndef STATESPACE_NATIVE_OPS_KALMAN_UNIVARIATE_H_
#define STATESPACE_NATIVE_OPS_KALMAN_UNIVARIATE_H_

#include "core/kalman_univariate_smoother.h"
#include "core/room.h"
#include "ops/kalman_gradient.h"
#include "ops/kalman_smoother.h"

namespace statespace {
namespace STATESPACE_ISA {

// The recursion of one group of series. The step's parameters are loaded by the covariance form's
// run; operands: y, the model's parameters, and the diffuse states.
template <class V, class N, class M>
class UnivariateRun {
 public:
  STATESPACE_INLINE UnivariateRun(const Call& call, const Operand* operands, const Group<V>& group,
                                  N n, M m, V* memory)
      : loader_(call, operands, group, n, m, memory),
        n_(n),
        m_(m),
        num_steps_(call.size('T')),
        operands_(operands),
        group_(group) {
    memory += KalmanRun<V, N, M>::work_size(call);
    memory = place(state_, memory, n);
    memory = place(observation_, memory, n, m);
    memory = place(component_, memory, n);
    flags_ = memory;
    work_ = flags_ + n;
  }

  STATESPACE_INLINE static int64_t work_size(const Call& call) {
    const int64_t n = call.size('n'), m = call.size('m');
    return KalmanRun<V, N, M>::work_size(call) + univariate_state_size(n) +
           decorrelated_size(n, m) + univariate_component_size(n) + n + n * n + 2 * n;
  }

  // Runs the filter. Before each update calls on_predicted(step), after each component's
  // on_component(i), after it on_filtered(step). Returns the status per lane as a number: 0, or 1 +
  // the step that failed.
  template <class OnPredicted, class OnComponent, class OnFiltered>
  STATESPACE_INLINE V forward(OnPredicted&& on_predicted, OnComponent&& on_component,
                              OnFiltered&& on_filtered) {
    V info = V();
    start();
    for (int64_t step = 0; step < num_steps_; ++step) {
      loader_.load_step(step, step == 0);
      on_predicted(step);
      Mask<V> ok = is_finite_state();
      decorrelate(n_, m_, model(), data(), observation_);
      for (int i = 0; i < m_; ++i) {
        condition(n_, observation_, i, state_, component_, work_);
        ok = mask_and(ok, is_sound(component_));
        on_component(i);
      }
      const Mask<V> first_failure = mask_and(mask_not(ok), info == V());
      info = select<V>(first_failure, splat<V>(static_cast<ScalarOf<V>>(step + 1)), info);
      on_filtered(step);
      if (step + 1 < num_steps_) univariate_predict(n_, model(), state_, work_);
    }
    return info;
  }

  // Runs steps first ... end - 1 again on the way back, from the predicted state of the first;
  // calls on_predicted(step) before each.
  template <class OnPredicted>
  STATESPACE_INLINE void again(int64_t first, int64_t end, const UnivariateState<V>& start,
                               OnPredicted&& on_predicted) {
    copy_state(n_, start, state_);
    for (int64_t step = first; step < end; ++step) {
      loader_.load_step(step, false);
      on_predicted(step);
      if (step + 1 == end) break;
      decorrelate(n_, m_, model(), data(), observation_);
      for (int i = 0; i < m_; ++i) condition(n_, observation_, i, state_, component_, work_);
      univariate_predict(n_, model(), state_, work_);
    }
  }

  // The step again on the way back; `state` is its predicted one and becomes its filtered one.
  STATESPACE_INLINE void repeat(int64_t step, UnivariateState<V>& state, UnivariateStep<V>& out) {
    loader_.reload_step(step);
    univariate_update(n_, m_, model(), data(), state, out, work_);
  }

  STATESPACE_INLINE const KalmanParameters<V>& model() const { return loader_.model(); }
  STATESPACE_INLINE const V* data() const { return loader_.data(); }
  STATESPACE_INLINE const UnivariateState<V>& state() const { return state_; }
  STATESPACE_INLINE const Decorrelated<V>& observation() const { return observation_; }
  STATESPACE_INLINE const UnivariateComponent<V>& component() const { return component_; }
  // Whether no state starts diffuse.
  STATESPACE_INLINE Mask<V> is_proper() const {
    Mask<V> proper = V() == V();
    for (int i = 0; i < n_; ++i) proper = mask_and(proper, flags_[i] == V());
    return proper;
  }
  STATESPACE_INLINE const V* initial_scale() const { return loader_.initial_scale(); }
  STATESPACE_INLINE int noise() const { return loader_.noise(); }
  STATESPACE_INLINE int observation_noise() const { return loader_.observation_noise(); }
  STATESPACE_INLINE int initial_noise() const { return loader_.initial_noise(); }

 private:
  STATESPACE_INLINE void start() {
    loader_.load_start(state_.a, state_.p);
    load(operands_[kNumModelOperands], group_, 0, flags_);
    *state_.left = V();
    for (int i = 0; i < n_ * n_; ++i) state_.b[i] = V();
    for (int i = 0; i < n_; ++i) {
      const V one = splat<V>(ScalarOf<V>(1)), flag = select<V>(flags_[i] == V(), V(), one);
      state_.b[i * n_ + i] = flag;
      *state_.left = *state_.left + flag;
    }
    state_.diffuse = any_lane(*state_.left > V());
  }

  STATESPACE_INLINE Mask<V> is_finite_state() const {
    FiniteCheck<V> finite;
    finite.add(n_, state_.a);
    finite.add(n_ * n_, state_.p);
    if (state_.diffuse) finite.add(n_ * n_, state_.b);
    return finite.passed();
  }

  KalmanRun<V, N, M> loader_;
  N n_;
  M m_;
  int64_t num_steps_;
  const Operand* operands_;
  Group<V> group_;
  UnivariateState<V> state_;
  Decorrelated<V> observation_;
  UnivariateComponent<V> component_;
  V *flags_, *work_;
};

// The predicted states of every step, for the way back. Memory for the diffuse parts is set aside
// for all steps and touched only while there are any.
template <class V>
class UnivariateTape {
 public:
  STATESPACE_INLINE UnivariateTape(V* data, int64_t n) : data_(data), n_(n) {}
  STATESPACE_INLINE static int64_t size(int64_t num_steps, int64_t n) {
    return num_steps * univariate_state_size(n);
  }

  STATESPACE_INLINE void record(int64_t step, const UnivariateState<V>& state) {
    UnivariateState<V> copy = at(step);
    copy_state(static_cast<int>(n_), state, copy);
    if (state.diffuse) diffuse_steps_ = step + 1;
  }
  STATESPACE_INLINE void clear() { diffuse_steps_ = 0; }
  STATESPACE_INLINE UnivariateState<V> at(int64_t step) const {
    UnivariateState<V> state;
    place(state, data_ + step * univariate_state_size(n_), n_);
    state.diffuse = step < diffuse_steps_;
    return state;
  }

 private:
  V* data_;
  int64_t n_;
  int64_t diffuse_steps_ = 0;
};

// Adds the components of a step's log-density; returns the number that were diffuse.
template <class V>
STATESPACE_INLINE V add_component(const Decorrelated<V>& step, int i,
                                  const UnivariateComponent<V>& x, LogDensity<V>& density) {
  const V variance = select<V>(x.is_diffuse(), x.diffuse, x.variance);
  const V square = x.innovation * x.innovation / x.variance;
  density.add(step.observed[i], square_root(variance), select<V>(x.is_diffuse(), V(), square));
  return x.met;
}

STATESPACE_INLINE void ignore_step(int64_t) {}

template <bool per_step>
struct UnivariateLogLikelihoodOp {
  using Form = CovarianceForm;
  enum Output { kValue, kInfo, kDiffuse };

  template <class V>
  static int64_t work_size(const Call& call) {
    return UnivariateRun<V, int, int>::work_size(call);
  }
  template <class V>
  STATESPACE_INLINE static void compute(const Call& call, const Group<V>& group, V* memory) {
    with_model_sizes<V>(call, [&](auto n, auto m) {
      using Run = UnivariateRun<V, decltype(n), decltype(m)>;
      Run run(call, call.inputs, group, n, m, memory);
      LogDensity<V> density;
      V count = V();
      const auto write = [&](int64_t step) {
        const V value = density.value();
        store(call.outputs[kValue], group, step, &value);
        store(call.outputs[kDiffuse], group, step, &count);
      };
      const V info = run.forward(
          ignore_step,
          [&](int i) {
            count = count + add_component(run.observation(), i, run.component(), density);
          },
          [&](int64_t step) {
            if constexpr (per_step) {
              write(step);
              density = LogDensity<V>();
              count = V();
            }
          });
      if constexpr (!per_step) write(0);
      spoil(call.outputs[kValue], group, info);
      store(call.outputs[kInfo], group, 0, &info);
    });
  }
};

struct UnivariateFilterOp {
  using Form = CovarianceForm;
  enum Output {
    kTotal,
    kFilteredMean,
    kFilteredCovariance,
    kMean,
    kCovariance,
    kInnovation,
    kInnovationCovariance,
    kInfo,
    kDiffuse
  };

  template <class V>
  static int64_t work_size(const Call& call) {
    const int64_t n = call.size('n'), m = call.size('m');
    return UnivariateRun<V, int, int>::work_size(call) + m + m * n + m * m;
  }
  template <class V>
  STATESPACE_INLINE static void compute(const Call& call, const Group<V>& group, V* memory) {
    const int n = static_cast<int>(call.size('n')), m = static_cast<int>(call.size('m'));
    using Run = UnivariateRun<V, int, int>;
    Run run(call, call.inputs, group, n, m, memory);
    V* const v = memory + Run::work_size(call);
    V* const w = v + m;
    V* const s = w + m * n;
    LogDensity<V> total;
    V count = V();
    const V info = run.forward(
        [&](int64_t step) {
          const UnivariateState<V>& state = run.state();
          store(call.outputs[kMean], group, step, state.a);
          store(call.outputs[kCovariance], group, step, state.p);
          kalman_innovation(n, m, run.model(), run.data(), state.a, state.p, v, w, s);
          for (int i = 0; i < m; ++i) v[i] = select<V>(run.data()[i] == run.data()[i], v[i], V());
          mirror(m, s);
          store(call.outputs[kInnovation], group, step, v);
          store(call.outputs[kInnovationCovariance], group, step, s);
        },
        [&](int i) { count = count + add_component(run.observation(), i, run.component(), total); },
        [&](int64_t step) {
          store(call.outputs[kFilteredMean], group, step, run.state().a);
          store(call.outputs[kFilteredCovariance], group, step, run.state().p);
        });
    finish_moments(call, group, total.value(), info, kInfo);
    store(call.outputs[kDiffuse], group, 0, &count);
  }
};

// The arrays of the way back.
template <class V>
struct UnivariatePass {
  UnivariateStep<V> step;
  UnivariateState<V> filtered;

  // `handles` holds what the pointers of `step` lead to.
  STATESPACE_INLINE static int64_t handles_size(int64_t m) {
    return room_for<UnivariateState<V>, V>(m) + room_for<UnivariateComponent<V>, V>(m);
  }
  STATESPACE_INLINE static int64_t size(int64_t n, int64_t m) {
    return handles_size(m) + univariate_step_size(n, m) + univariate_state_size(n);
  }
  STATESPACE_INLINE UnivariatePass(V* memory, int64_t n, int64_t m) {
    step.before = first_object<UnivariateState<V>>(memory);
    step.component =
        first_object<UnivariateComponent<V>>(memory + room_for<UnivariateState<V>, V>(m));
    memory = place(step, memory + handles_size(m), n, m);
    place(filtered, memory, n);
  }
};

struct UnivariateSmootherOp {
  using Form = CovarianceForm;
  enum Output { kTotal, kMean, kCovariance, kLagOne, kInfo, kDiffuse };

  template <class V>
  static int64_t work_size(const Call& call) {
    const int64_t n = call.size('n');
    return std::max(UnivariateRun<V, int, int>::work_size(call) +
                        UnivariateTape<V>::size(call.size('T'), n) +
                        UnivariatePass<V>::size(n, call.size('m')) + univariate_backward_size(n) +
                        n + 2 * n * n + univariate_smoother_work_size(n),
                    smooth_again_size<true, V>(call));
  }
  template <class V>
  STATESPACE_INLINE static void compute(const Call& call, const Group<V>& group,
                                        V* const all_memory) {
    const int n = static_cast<int>(call.size('n')), m = static_cast<int>(call.size('m'));
    const int64_t num_steps = call.size('T'), square = int64_t{n} * n;
    using Run = UnivariateRun<V, int, int>;
    using Tape = UnivariateTape<V>;
    V* memory = all_memory;
    const auto take = [&memory](int64_t count) { return (memory += count) - count; };
    Run run(call, call.inputs, group, n, m, take(Run::work_size(call)));
    Tape tape(take(Tape::size(num_steps, n)), n);
    UnivariatePass<V> pass(take(UnivariatePass<V>::size(n, m)), n, m);
    UnivariateBackward<V> back;
    V* const start = take(univariate_backward_size(n));
    place(back, start, n);
    const SmoothedMoments<V> moments = {take(n), take(square), take(square)};
    V* const work = memory;

    LogDensity<V> total;
    V count = V(), cancellation = V();
    const V info = run.forward(
        [&](int64_t step) { tape.record(step, run.state()); },
        [&](int i) { count = count + add_component(run.observation(), i, run.component(), total); },
        ignore_step);
    set_zero(univariate_backward_size(n), start);
    for (int64_t step = num_steps - 1; step >= 0; --step) {
      const bool last = step == num_steps - 1;
      copy_state(n, tape.at(step), pass.filtered);
      run.repeat(step, pass.filtered, pass.step);
      const V cancelled = univariate_smooth(n, m, run.model(), pass.step, pass.filtered,
                                            tape.at(last ? step : step + 1), back, moments, work);
      cancellation = maximum(cancellation, cancelled);
      store(call.outputs[kMean], group, step, moments.mean);
      store(call.outputs[kCovariance], group, step, moments.covariance);
      if (!last) store(call.outputs[kLagOne], group, step, moments.lag_one);
    }
    finish_moments(call, group, total.value(), info, kInfo);
    store(call.outputs[kDiffuse], group, 0, &count);
    smooth_again<true>(call, group, select<V>(run.is_proper(), cancellation, V()), info,
                       all_memory);
  }
};

struct UnivariateGradientOp {
  using Form = CovarianceForm;
  static constexpr bool kUnrolled = true;

  template <class V>
  static int64_t work_size(const Call& call) {
    using Tape = UnivariateTape<V>;
    const int64_t n = call.size('n'), m = call.size('m');
    const Stretches stretches = stretches_of<Tape, V>(call);
    return UnivariateRun<V, int, int>::work_size(call) + Tape::size(stretches.length, n) +
           Tape::size(stretches.count(), n) + UnivariatePass<V>::size(n, m) + n + 2 * n * n +
           univariate_adjoint_work_size(n, m) + ModelCotangents<V>::work_size(call.inputs + 1);
  }
  template <class V, class N, class M>
  STATESPACE_INLINE static void compute(const Call& call, const GradientTarget* targets,
                                        const Group<V>& group, N n, M m, V* memory) {
    using Run = UnivariateRun<V, N, M>;
    using Tape = UnivariateTape<V>;
    const Operand& weights = call.inputs[0];
    const Operand* const operands = call.inputs + 1;
    const int64_t num_steps = call.size('T'), square = int64_t{n} * n;
    const Stretches stretches = stretches_of<Tape, V>(call);
    const auto take = [&memory](int64_t count) { return (memory += count) - count; };
    Run run(call, operands, group, n, m, take(Run::work_size(call)));
    Tape tape(take(Tape::size(stretches.length, n)), n);
    Tape starts(take(Tape::size(stretches.count(), n)), n);
    UnivariatePass<V> pass(take(UnivariatePass<V>::size(n, m)), n, m);
    V* const start = take(n + 2 * square);
    const UnivariateCotangents<V> bar = {start, start + n, start + n + square};
    V* const work = take(univariate_adjoint_work_size(n, m));

    const V info = run.forward(
        [&](int64_t step) {
          if (step % stretches.length == 0) starts.record(step / stretches.length, run.state());
          if (step >= stretches.last) tape.record(step - stretches.last, run.state());
        },
        [](int) {}, ignore_step);
    if (num_steps == 0) return;
    ModelCotangents<V> bars(operands, targets, group, memory, info != V(),
                            fill_of_failed(&weights, 1, group, num_steps, work),
                            call.attrs[1] != 0);
    set_zero(n + 2 * square, start);
    for (int64_t first = stretches.last; first >= 0; first -= stretches.length) {
      const int64_t end = stretches.end(first);
      if (first != stretches.last) {
        tape.clear();
        run.again(first, end, starts.at(first / stretches.length),
                  [&](int64_t step) { tape.record(step - first, run.state()); });
      }
      for (int64_t step = end - 1; step >= first; --step) {
        copy_state(n, tape.at(step - first), pass.filtered);
        run.repeat(step, pass.filtered, pass.step);
        V weight = V();
        load(weights, group, step, &weight);
        univariate_adjoint(n, m, run.noise(), run.observation_noise(), run.model(), pass.step,
                           pass.filtered, weight, bar, bars.step(), work);
        bars.flush_step(step);
      }
    }
    start_adjoint(n, run.initial_noise(), bar.cov, run.initial_scale(), bars.scale());
    for (int i = 0; i < n; ++i) bars.mean()[i] = bar.r[i];
    bars.flush_rest();
  }
};

}  // namespace STATESPACE_ISA
}  // namespace statespace

#endif  // STATESPACE_NATIVE_OPS_KALMAN_UNIVARIATE_H_
