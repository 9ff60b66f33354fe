// The covariances of a filter, computed once for all series that share them.
//
// They depend on the parameters and on which data are missing, not on the data. A plan holds them
// for one pattern of missing data; what is left for each series are the means, O(n^2 + m n) a step.
// Where no parameter varies over time the covariances settle: once a predicted covariance equals an
// earlier one to the last bit, so does all that follows from it.
//
// The means then go through the same operations in the same order as without a plan, and every bit
// of the results is the same: whether to make one is a question of time alone.
#ifndef STATESPACE_NATIVE_OPS_KALMAN_PLAN_H_
#define STATESPACE_NATIVE_OPS_KALMAN_PLAN_H_

#include <algorithm>
#include <cstring>
#include <vector>

#include "ops/kalman_model.h"
#include "ops/thread_pool.h"

namespace statespace {
namespace STATESPACE_ISA {

// A plan that would need more memory is not made.
constexpr size_t kMostPlanBytes = size_t{64} << 20;

template <class T>
class KalmanPlan {
 public:
  KalmanPlan(int n, int m) : n_(n), m_(m) {}

  // Runs the covariances of series `item`; operands: y and the model's parameters. Returns false
  // where a step fails or memory would not suffice; the plan is then unusable. Uses scratch().
  bool make(const Call& call, const Operand* operands, int64_t item) {
    using Run = KalmanRun<T, int, int>;
    const int64_t num_steps = call.size('T'), square = int64_t{n_} * n_;
    T* memory = static_cast<T*>(scratch((Run::work_size(call) + n_ + 2 * square) * sizeof(T)));
    const auto take = [&memory](int64_t count) { return (memory += count) - count; };
    Run run(call, operands, Group<T>{item, 1}, n_, m_, take(Run::work_size(call)));
    T *const mean = take(n_), *const p = take(square), *const work = take(square);
    varies_ = false;
    for (ModelOperand i : {kF, kG, kH, kC}) varies_ |= operands[i].step_stride != 0;
    entry_of_step_.resize(num_steps);
    run.load_start(mean, p);
    int entry = -1;
    for (int64_t step = 0; step < num_steps; ++step) {
      run.load_data(step);
      const int next = entry >= 0 ? successor_[entry] : -1;
      if (next >= 0 && same_pattern(next, run.data())) {
        entry = next;
      } else {
        if (step > 0) kalman_predict_covariance(n_, run.model(), update(entry).p, p, work);
        if (step == 0 || varies_) {
          run.load_parameters(step, step == 0);
          add_matrices(run.model());
        }
        int found = varies_ ? -1 : find(run.data(), p);
        if (found < 0) found = add_entry(run.model(), run.data(), p);
        if (found < 0) return false;
        if (entry >= 0) successor_[entry] = found;
        entry = found;
      }
      entry_of_step_[step] = entry;
      normaliser_.add(m_, update(entry));
    }
    log_root_ = normaliser_.log_root();
    return true;
  }

  // The numbers of a step: its update, without the means, and the matrices these need.
  KalmanWeights<T> weights(int64_t step) const {
    const KalmanUpdate<T> x = update(entry_of_step_[step]);
    return {x.observed, x.l, x.inverse, x.w};
  }
  const T* observation_matrix(int64_t step) const {
    return matrices_.data() + (varies_ ? step : 0) * matrices_size();
  }
  const T* transition_transpose(int64_t step) const {
    return observation_matrix(step) + m_ * n_;
  }

  // The sum over steps of log N(v; 0, S), from that of v' S^-1 v.
  template <class V>
  V log_density(const V& squares) const {
    return statespace::STATESPACE_ISA::log_density(splat<V>(log_root_),
                                                   splat<V>(normaliser_.constant()), squares);
  }

 private:
  // Each entry is a predicted covariance and the update from it.
  int64_t entry_size() const { return int64_t{n_} * n_ + kalman_update_size(n_, m_); }
  int64_t matrices_size() const { return int64_t{m_} * n_ + int64_t{n_} * n_; }
  T* predicted(int entry) const { return const_cast<T*>(entries_.data()) + entry * entry_size(); }
  KalmanUpdate<T> update(int entry) const {
    KalmanUpdate<T> x;
    place(x, predicted(entry) + n_ * n_, n_, m_);
    return x;
  }

  bool same_pattern(int entry, const T* y) const {
    const T* const observed = update(entry).observed;
    for (int i = 0; i < m_; ++i) {
      if ((y[i] == y[i]) != (observed[i] != T(0))) return false;
    }
    return true;
  }

  // One of the latest entries that starts from p and the same pattern, or -1.
  int find(const T* y, const T* p) const {
    constexpr int kLongestCycle = 4;
    const int count = static_cast<int>(successor_.size());
    const size_t bytes = sizeof(T) * n_ * n_;
    for (int i = count - 1; i >= 0 && i >= count - kLongestCycle; --i) {
      if (std::memcmp(predicted(i), p, bytes) == 0 && same_pattern(i, y)) return i;
    }
    return -1;
  }

  int add_entry(const KalmanParameters<T>& model, const T* y, const T* p) {
    const size_t size = entries_.size() + entry_size();
    if ((size + matrices_.size()) * sizeof(T) > kMostPlanBytes) return -1;
    entries_.resize(size);
    successor_.push_back(-1);
    const int entry = static_cast<int>(successor_.size()) - 1;
    std::copy_n(p, n_ * n_, predicted(entry));
    KalmanUpdate<T> x = update(entry);
    kalman_update_covariance(n_, m_, model, y, p, x);
    return x.ok ? entry : -1;
  }

  // H's rows of components that are never observed may hold anything.
  void add_matrices(const KalmanParameters<T>& model) {
    matrices_.insert(matrices_.end(), model.h, model.h + m_ * n_);
    clear_not_finite(m_ * n_, matrices_.data() + matrices_.size() - m_ * n_);
    matrices_.insert(matrices_.end(), model.f_transpose, model.f_transpose + n_ * n_);
  }

  int n_, m_;
  bool varies_ = false;
  std::vector<T> entries_, matrices_;
  std::vector<int> successor_;  // by entry: the one that followed it last, or -1
  std::vector<int> entry_of_step_;
  LogNormaliser<T> normaliser_;
  T log_root_ = T();
};

}  // namespace STATESPACE_ISA
}  // namespace statespace

#endif  // STATESPACE_NATIVE_OPS_KALMAN_PLAN_H_
