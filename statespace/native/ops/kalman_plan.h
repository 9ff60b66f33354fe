// The covariances of a filter, computed once for all series that share them.
//
// They depend on the parameters and on which data are missing, not on the data. A plan holds them
// for one pattern of missing data; what is left for each series are the means, O(n^2 + m n) a step.
// Steps whose covariances have settled share their numbers.
//
// The means then go through the same operations in the same order as without a plan, and every bit
// of the results is the same: whether to make one is a question of time alone.
#ifndef STATESPACE_NATIVE_OPS_KALMAN_PLAN_H_
#define STATESPACE_NATIVE_OPS_KALMAN_PLAN_H_

#include <algorithm>
#include <memory>
#include <vector>

#include "ops/kalman_settling.h"
#include "ops/thread_pool.h"

namespace statespace {
namespace STATESPACE_ISA {

// A plan that would need more memory is not made.
constexpr size_t kMostPlanBytes = size_t{64} << 20;

template <class T>
class KalmanPlan {
 public:
  KalmanPlan(int n, int m) : n_(n), m_(m) {}

  // Runs the covariances of series `item`; operands: y and the model's parameters; sharp: as in
  // SettlingStepOf. Returns false where a step fails or memory would not suffice; the plan is then
  // unusable. Uses scratch().
  bool make(const Call& call, const Operand* operands, int64_t item, bool sharp) {
    using Run = KalmanRun<T, int, int>;
    const Group<T> series = {item, 1};
    const int64_t num_steps = call.size('T'), square = int64_t{n_} * n_;
    const int64_t size = Run::work_size(call) + VagueStart<T>::work_size(call) + n_ + 4 * square;
    T* memory = static_cast<T*>(scratch(size * sizeof(T)));
    const auto take = [&memory](int64_t count) { return (memory += count) - count; };
    Run run(call, operands, series, n_, m_, take(Run::work_size(call)));
    VagueStart<T> start(call, operands, series, take(VagueStart<T>::work_size(call)));
    T *const mean = take(n_), *const p = take(square), *const work = take(square);
    T *const next = take(square), *const checkpoint = take(square);
    Settling<T> settling(checkpoint);
    varies_ = covariances_vary(operands);
    entry_of_step_.resize(num_steps);
    const auto begin = [&] {
      matrices_.clear();
      num_entries_ = 0;
      normaliser_ = LogNormaliser<T>();
      settling = Settling<T>(checkpoint);
      run.load_start(mean, p);
      if (sharp) start.begin();
    };
    begin();
    for (int64_t step = 0; step < num_steps; ++step) {
      run.load_data(step);
      const bool same = step > 0 && same_pattern(m_, run.data(), last_update().observed);
      const bool repeats = !varies_ && settling.repeats(same);
      KalmanUpdate<T> own;
      if (repeats) {
        own = last_update();
        if (sharp) start.watch(run.model().r, own);
      } else {
        if (step == 0 || varies_) {
          run.load_parameters(step, step == 0);
          add_matrices(run.model());
        }
        if (!has_room()) return false;
        own = add_entry(run.model(), run.data(), p);
        if (sharp) start.revise(run.model().r, own);
      }
      if (start.begins_again()) {
        begin();
        step = -1;
        continue;
      }
      if (repeats) {
        settling.count(n_, p);
      } else {
        if (!own.ok) return false;
        kalman_predict_covariance(n_, run.model(), own.p, next, work);
        if (sharp) start.revise_prediction(next);
        if (!varies_) settling.advance(n_, same, !start.wide(), p, next);
        std::copy_n(next, square, p);
      }
      entry_of_step_[step] = num_entries_ - 1;
      normaliser_.add(m_, own);
    }
    log_root_ = normaliser_.log_root();
    return true;
  }

  // The numbers of a step: its predicted covariance, its update without the means, and the matrices
  // these need. Steps with the same `entry` differ in no number.
  int entry(int64_t step) const { return entry_of_step_[step]; }
  T* covariance(int64_t step) const { return predicted(entry(step)); }
  KalmanUpdate<T> step_update(int64_t step) const { return update(entry(step)); }
  bool varies() const { return varies_; }
  const T* observation_matrix(int64_t step) const {
    return matrices_.data() + (varies_ ? step : 0) * matrices_size();
  }
  const T* transition_matrix(int64_t step) const { return observation_matrix(step) + m_ * n_; }
  const T* transition_transpose(int64_t step) const { return transition_matrix(step) + n_ * n_; }

  // The sum over steps of log N(v; 0, S), from that of v' S^-1 v.
  template <class V>
  V log_density(const V& squares) const {
    return statespace::STATESPACE_ISA::log_density(splat<V>(log_root_),
                                                   splat<V>(normaliser_.constant()), squares);
  }

 private:
  // Each entry is a predicted covariance and the update from it.
  int64_t entry_size() const { return int64_t{n_} * n_ + kalman_update_size(n_, m_); }
  int64_t matrices_size() const { return int64_t{m_} * n_ + 2 * int64_t{n_} * n_; }
  T* predicted(int entry) const {
    return blocks_[entry / kBlock].get() + entry % kBlock * entry_size();
  }
  KalmanUpdate<T> update(int entry) const {
    KalmanUpdate<T> x;
    place(x, predicted(entry) + n_ * n_, n_, m_);
    return x;
  }

  KalmanUpdate<T> last_update() const { return update(num_entries_ - 1); }

  bool has_room() const {
    const size_t entries = static_cast<size_t>(num_entries_ + 1) * entry_size();
    return (entries + matrices_.size()) * sizeof(T) <= kMostPlanBytes;
  }
  KalmanUpdate<T> add_entry(const KalmanParameters<T>& model, const T* y, const T* p) {
    if (num_entries_ == static_cast<int>(blocks_.size()) * kBlock) {
      blocks_.emplace_back(new T[kBlock * entry_size()]());  // innovations and means stay zero
    }
    std::copy_n(p, n_ * n_, predicted(num_entries_));
    KalmanUpdate<T> x = update(num_entries_++);
    kalman_update_covariance(n_, m_, model, y, p, x);
    return x;
  }

  // H's rows of components that are never observed may hold anything, and so may the transition
  // beyond the data.
  void add_matrices(const KalmanParameters<T>& model) {
    matrices_.insert(matrices_.end(), model.h, model.h + m_ * n_);
    matrices_.insert(matrices_.end(), model.f, model.f + n_ * n_);
    matrices_.insert(matrices_.end(), model.f_transpose, model.f_transpose + n_ * n_);
    clear_not_finite(matrices_size(), matrices_.data() + matrices_.size() - matrices_size());
  }

  static constexpr int kBlock = 16;

  int n_, m_;
  bool varies_ = false;
  std::vector<std::unique_ptr<T[]>> blocks_;  // of entries, which stay where they are
  int num_entries_ = 0;
  std::vector<T> matrices_;
  std::vector<int> entry_of_step_;
  LogNormaliser<T> normaliser_;
  T log_root_ = T();
};

}  // namespace STATESPACE_ISA
}  // namespace statespace

#endif  // STATESPACE_NATIVE_OPS_KALMAN_PLAN_H_
