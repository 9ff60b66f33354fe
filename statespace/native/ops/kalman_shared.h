// Series that share the model's covariances: which they are, and their way through the filter.
#ifndef STATESPACE_NATIVE_OPS_KALMAN_SHARED_H_
#define STATESPACE_NATIVE_OPS_KALMAN_SHARED_H_

#include <cstdlib>
#include <cstring>
#include <vector>

#include "ops/kalman_kernels.h"
#include "ops/kalman_plan.h"

namespace statespace {
namespace STATESPACE_ISA {

// False if the environment says STATESPACE_SHARE=0: every series then computes its own covariances.
inline bool sharing_enabled() {
  static const bool enabled = [] {
    const char* const value = std::getenv("STATESPACE_SHARE");
    return value == nullptr || std::strcmp(value, "0") != 0;
  }();
  return enabled;
}

// Whether all batch items of an operand lie at the same place.
inline bool same_for_all(const Operand& operand, int64_t batch) {
  if (operand.offsets == nullptr) return operand.item_stride == 0 || batch <= 1;
  return std::all_of(operand.offsets, operand.offsets + batch,
                     [&](int64_t offset) { return offset == operand.offsets[0]; });
}

// Whether no series has covariances of its own but for what is missing.
inline bool shares_covariances(const Call& call, const Operand* operands) {
  for (ModelOperand i : {kF, kG, kH, kC, kInitialScale}) {
    if (!same_for_all(operands[i], call.batch)) return false;
  }
  return true;
}

// Some items of a call, in an order of their own, as a call.
class PartialCall {
 public:
  PartialCall(const Call& call, const int64_t* items, int64_t count) : call_(call) {
    call_.batch = count;
    offsets_.reserve(static_cast<size_t>(call.num_inputs + call.num_outputs) * count);
    for (int i = 0; i < call.num_inputs; ++i) pick(items, call_.inputs[i]);
    for (int i = 0; i < call.num_outputs; ++i) pick(items, call_.outputs[i]);
  }
  PartialCall(const PartialCall&) = delete;
  PartialCall& operator=(const PartialCall&) = delete;
  const Call& call() const { return call_; }

 private:
  void pick(const int64_t* items, Operand& operand) {
    const size_t first = offsets_.size();
    for (int64_t i = 0; i < call_.batch; ++i) offsets_.push_back(operand.offset(items[i]));
    operand.offsets = offsets_.data() + first;
  }
  Call call_;
  std::vector<int64_t> offsets_;
};

// What is missing in one series.
struct MissingPattern {
  int64_t item;
  uint64_t hash;    // 0 if nothing is
  int64_t changes;  // steps whose pattern is not that of the step before

  bool operator<(const MissingPattern& other) const {
    return hash != other.hash ? hash < other.hash : item < other.item;
  }
};

template <class T>
MissingPattern missing_pattern(const Operand& y, int64_t item, int64_t num_steps) {
  const T* const data = y.item<T>(item);
  const int64_t size = num_steps * y.core_size;
  int missing = 0;
  for (int64_t i = 0; i < size; ++i) missing |= data[i] != data[i];
  MissingPattern pattern = {item, 0, 0};
  if (!missing) return pattern;
  for (int64_t step = 0; step < num_steps; ++step) {
    bool changed = false;
    for (int64_t i = step * y.core_size; i < (step + 1) * y.core_size; ++i) {
      const bool gone = data[i] != data[i];
      const bool before = step > 0 && data[i - y.core_size] != data[i - y.core_size];
      changed |= gone != before;
      pattern.hash = (pattern.hash ^ (gone ? 2 : 1)) * uint64_t{0x100000001b3};  // FNV-1a
    }
    pattern.changes += changed;
  }
  pattern.hash |= 1;
  return pattern;
}

template <class T>
bool same_pattern(const Operand& y, int64_t item, int64_t other, int64_t num_steps) {
  const T *const a = y.item<T>(item), *const b = y.item<T>(other);
  for (int64_t i = 0; i < num_steps * y.core_size; ++i) {
    if ((a[i] != a[i]) != (b[i] != b[i])) return false;
  }
  return true;
}

// Series that go side by side.
template <class T>
int64_t series_at_once(const Call& call) {
  return kalman_in_lanes(call) ? kLanes<Vector<T>> : 1;
}

// For for_each_pattern: whether a plan is expected to save time where covariances are much of it.
// An entry of the plan costs about as much as a step of a group of series without it, and with it a
// step of the means costs a quarter of that. y: its position among the inputs.
template <class T>
auto plan_pays(const Call& call, int y) {
  constexpr int64_t kStepsToSettle = 64;
  const int64_t lanes = std::min(series_at_once<T>(call), call.batch), num_steps = call.size('T');
  const bool settles = !covariances_vary(call.inputs + y);
  return [=](const MissingPattern& pattern, int64_t count) {
    int64_t entries = num_steps;
    if (settles) entries = std::min(entries, kStepsToSettle * (1 + pattern.changes));
    return 4 * entries * lanes <= 3 * num_steps * count;
  };
}

// Parts a batch by what is missing. Calls shared(call, plan) for series that go together if
// pays(pattern, their number), and rest(call) for all others, if there are any. y: its position
// among the inputs; sharp: as in SettlingStepOf.
template <class T, bool sharp, class Pays, class Shared, class Rest>
void for_each_pattern(const Call& call, int y, Pays&& pays, Shared&& shared, Rest&& rest) {
  const Operand* const operands = call.inputs + y;
  const int64_t num_steps = call.size('T');
  if (num_steps == 0 || !sharing_enabled() || !shares_covariances(call, operands)) {
    return rest(call);
  }
  std::vector<MissingPattern> patterns(call.batch);
  for (int64_t i = 0; i < call.batch; ++i) {
    patterns[i] = missing_pattern<T>(operands[kY], i, num_steps);
  }
  std::sort(patterns.begin(), patterns.end());
  std::vector<int64_t> others, bucket;
  for (size_t begin = 0, end; begin < patterns.size(); begin = end) {
    bucket.clear();
    for (end = begin; end < patterns.size() && patterns[end].hash == patterns[begin].hash; ++end) {
      const int64_t item = patterns[end].item;
      const bool same = patterns[end].hash == 0 ||
                        same_pattern<T>(operands[kY], patterns[begin].item, item, num_steps);
      (same ? bucket : others).push_back(item);
    }
    const int64_t count = static_cast<int64_t>(bucket.size());
    KalmanPlan<T> plan(static_cast<int>(call.size('n')), static_cast<int>(call.size('m')));
    if (pays(patterns[begin], count) && plan.make(call, operands, bucket[0], sharp)) {
      if (count == call.batch) return shared(call, plan);
      const PartialCall part(call, bucket.data(), count);
      shared(part.call(), plan);
    } else {
      others.insert(others.end(), bucket.begin(), bucket.end());
    }
  }
  if (static_cast<int64_t>(others.size()) == call.batch) return rest(call);
  if (others.empty()) return;
  const PartialCall part(call, others.data(), static_cast<int64_t>(others.size()));
  rest(part.call());
}

// An array that stays in registers where its length is a constant, else lies in given memory.
template <class V, class N>
struct LocalArray {
  V* numbers;
  LocalArray(N, V* memory) : numbers(memory) {}
  V* get() { return numbers; }
};
template <class V, int N>
struct LocalArray<V, Fixed<N>> {
  V numbers[N];
  LocalArray(Fixed<N>, V*) {}
  V* get() { return numbers; }
};

// What a step of the means gives.
template <class V>
struct StepMeans {
  const V* predicted;   // [n]
  const V* innovation;  // [m], zero where missing
  const V* whitened;    // L^-1 v [m]
  const V* filtered;    // [n]
};

// The means of one group of series that follow a plan.
template <class V, class N, class M>
class KalmanMeans {
 public:
  using T = ScalarOf<V>;

  // operands: y and the model's parameters. memory: work_size() numbers.
  KalmanMeans(const Call& call, const Operand* operands, const Group<V>& group,
              const KalmanPlan<T>& plan, N n, M m, V* memory)
      : n_(n), m_(m), num_steps_(call.size('T')), operands_(operands), group_(group), plan_(plan) {
    const auto take = [&memory](int64_t count) { return (memory += count) - count; };
    y_ = take(kBlock * m), b_ = take(n), d_ = take(m);
    start_ = take(n), a_ = take(n), filtered_ = take(n), v_ = take(m), z_ = take(m);
  }
  static int64_t work_size(const Call& call) {
    return 4 * call.size('n') + (kBlock + 3) * call.size('m');
  }

  // Runs the filter; after each update calls on_update(step, StepMeans). Returns the status per
  // lane, as KalmanRun::forward.
  template <class OnUpdate>
  V forward(OnUpdate&& on_update) {
    load(operands_[kInitialMean], group_, 0, start_);
    return run(0, num_steps_, start_, on_update);
  }

  // The same for steps first ... end - 1, from the predicted mean of the first.
  template <class OnUpdate>
  V run(int64_t first, int64_t end, const V* mean, OnUpdate&& on_update) {
    LocalArray<V, N> a_array(n_, a_), filtered_array(n_, filtered_);
    LocalArray<V, M> v_array(m_, v_), z_array(m_, z_);
    V *const a = a_array.get(), *const filtered = filtered_array.get(), *const v = v_array.get(),
             *const z = z_array.get();
    for (int i = 0; i < n_; ++i) a[i] = mean[i];
    V info = V();
    for (int64_t step = first; step < end; ++step) {
      const int64_t place = step % kBlock;
      if (step == first || place == 0) load_block(step - place);
      if (step == first || operands_[kB].step_stride != 0) load(operands_[kB], group_, step, b_);
      if (step == first || operands_[kD].step_stride != 0) load(operands_[kD], group_, step, d_);
      const Mask<V> ok = kalman_update_mean<V>(n_, m_, weights(plan_.step_update(step)), Pattern(),
                                               plan_.observation_matrix(step), d_, y_ + place * m_,
                                               a, v, z, filtered);
      const Mask<V> first_failure = mask_and(mask_not(ok), info == V());
      info = select<V>(first_failure, splat<V>(static_cast<T>(step + 1)), info);
      on_update(step, StepMeans<V>{a, v, z, filtered});
      if (step + 1 < num_steps_) {
        kalman_predict_mean<V>(n_, plan_.transition_transpose(step), b_, filtered, a);
      }
    }
    return info;
  }

 private:
  static constexpr int64_t kBlock = 16;  // steps of data that go into lanes at once

  void load_block(int64_t step) {
    Operand block = operands_[kY];
    block.core_size *= std::min(kBlock, num_steps_ - step);
    load(block, group_, step, y_);
  }

  N n_;
  M m_;
  int64_t num_steps_;
  const Operand* operands_;
  Group<V> group_;
  const KalmanPlan<T>& plan_;
  V *y_, *b_, *d_, *start_, *a_, *filtered_, *v_, *z_;
};

// About the nanoseconds the means of one series take.
inline double means_cost(const Call& call) {
  const double n = static_cast<double>(call.size('n')), m = static_cast<double>(call.size('m'));
  return static_cast<double>(call.size('T')) * (8 + 0.3 * (n * n + 2 * m * n + m * m));
}

// Calls body(group) for the groups of a call whose series take `cost` nanoseconds each.
template <class T, class Body>
void for_each_shared_group(const Call& call, double cost, const Body& body) {
  struct Context {
    const Call& call;
    const Body& body;
  } context = {call, body};
  const auto range = [](const void* opaque, int64_t begin, int64_t end) {
    const Context& c = *static_cast<const Context*>(opaque);
    const int64_t width = series_at_once<T>(c.call);
    const int64_t last = std::min(end * width, c.call.batch);
    for_each_series<T, CovarianceForm>(c.call, begin * width, last, c.body);
  };
  const int64_t width = series_at_once<T>(call);
  parallel_for((call.batch + width - 1) / width, cost * static_cast<double>(width), range,
               &context);
}

template <class V>
void shared_log_likelihood(const Call& call, const Group<V>& group,
                           const KalmanPlan<ScalarOf<V>>& plan) {
  with_model_sizes<V>(call, [&](auto n, auto m) {
    using Means = KalmanMeans<V, decltype(n), decltype(m)>;
    V* const memory = static_cast<V*>(scratch(Means::work_size(call) * sizeof(V)));
    Means means(call, call.inputs, group, plan, n, m, memory);
    CompensatedSum<V> squares;
    const V info = means.forward([&](int64_t, const StepMeans<V>& x) {
      for (int i = 0; i < m; ++i) squares.add(x.whitened[i] * x.whitened[i]);
    });
    const V value = plan.log_density(squares.value());
    store(call.outputs[0], group, 0, &value);
    spoil(call.outputs[0], group, info);
    store(call.outputs[1], group, 0, &info);
  });
}

// The log-likelihood in covariance form, with shared work where series share it. Where covariances
// settle they cost little without a plan too, so that it takes several groups of series to pay.
template <class T>
void run_log_likelihood(const Call& call) {
  const int64_t width = series_at_once<T>(call);
  const auto pays = [width](const MissingPattern&, int64_t count) { return count >= 2 * width; };
  const auto shared = [](const Call& part, const KalmanPlan<T>& plan) {
    for_each_shared_group<T>(part, means_cost(part),
                             [&](auto group) { shared_log_likelihood(part, group, plan); });
  };
  if (!pays({}, call.batch)) return run_series<T, KalmanLogLikelihoodOp<false, SharpForm>>(call);
  for_each_pattern<T, true>(call, 0, pays, shared,
                            run_series<T, KalmanLogLikelihoodOp<false, SharpForm>>);
}

}  // namespace STATESPACE_ISA
}  // namespace statespace

#endif  // STATESPACE_NATIVE_OPS_KALMAN_SHARED_H_
