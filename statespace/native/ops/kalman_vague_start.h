// The covariances of a filter's first steps in twice the precision, where its start is vague.
//
// The first updates then take almost all of P away, and what rounding left in it stays: relative to
// P before, not after. With a start of deviation kappa the log-likelihood loses kappa^2 units in
// the last place (tests/kalman/test_accuracy.py). Numbers twice as long have these to lose.
//
// A start is known to be vague by what comes of it: a component whose innovation has had a variance
// from the state many times what is left of it later. A filter that meets one begins again, and
// computes the covariances of all steps up to there, and some more, twice as long. Each lane goes
// by its own numbers alone.
#ifndef STATESPACE_NATIVE_OPS_KALMAN_VAGUE_START_H_
#define STATESPACE_NATIVE_OPS_KALMAN_VAGUE_START_H_

#include <limits>
#include <new>
#include <type_traits>
#include <vector>

#include "core/double_double.h"
#include "core/room.h"
#include "ops/kalman_model.h"

namespace statespace {
namespace STATESPACE_ISA {

// Memory that few series come to need: had when they do, or, since nothing can be had on a GPU, set
// aside for all.
template <class V>
class SpareMemory {
 public:
#if defined(STATESPACE_DEVICE)
  STATESPACE_INLINE explicit SpareMemory(V* memory) : data_(memory) {}
  STATESPACE_INLINE static int64_t size(int64_t count) { return count; }
  STATESPACE_INLINE V* take(int64_t /*count*/) { return data_; }

 private:
  V* data_;
#else
  explicit SpareMemory(V*) {}
  static int64_t size(int64_t) { return 0; }
  V* take(int64_t count) {
    data_.resize(count);
    return data_.data();
  }

 private:
  std::vector<V> data_;
#endif
};

template <class V>
class VagueStart {
 public:
  // operands: y and the model's parameters. memory: work_size() numbers.
  STATESPACE_INLINE VagueStart(const Call& call, const Operand* operands, const Group<V>& group,
                               V* memory)
      : call_(call),
        operands_(operands),
        group_(group),
        n_(static_cast<int>(call.size('n'))),
        m_(static_cast<int>(call.size('m'))),
        largest_(memory),
        smallest_(memory + m_),
        spare_(memory + 2 * m_) {}
  STATESPACE_INLINE static int64_t work_size(const Call& call) {
    const int64_t spare = call.size('n') <= kLargestState ? spare_size(call) : 0;
    return 2 * call.size('m') + SpareMemory<V>::size(spare);
  }

  // Before the first step, and before it comes again.
  STATESPACE_INLINE void begin() {
    step_ = 0;
    begins_again_ = false;
    watches_ = n_ <= kLargestState;
    count_ = V();
    set_zero(m_, largest_);
    for (int i = 0; i < m_; ++i) {
      smallest_[i] = splat<V>(std::numeric_limits<ScalarOf<V>>::infinity());
    }
    if (run_) run_->load_start(mean_, p_);
  }

  // A step's update has been computed: replaces it where it is to be more precise. r[m, m]: the
  // observation noise's covariance.
  STATESPACE_INLINE void revise(const V* r, KalmanUpdate<V>& update) {
    if (run_) {
      wide_ = until_ > splat<V>(static_cast<T>(step_));
      if (any_lane(wide_)) widen(update);
    }
    watch(r, update);
  }
  // The same where a step repeats the one before.
  STATESPACE_INLINE void watch(const V* r, const KalmanUpdate<V>& update) {
    if (watches_) look(r, update);
    ++step_;
  }
  // The prediction that followed gave `covariance`[n, n].
  STATESPACE_INLINE void revise_prediction(V* covariance) {
    if (run_ && any_lane(wide_)) widen_prediction(covariance);
  }

  // Whether the latest update has shown that the start was vague.
  STATESPACE_INLINE bool begins_again() const { return begins_again_; }
  // The lanes whose latest update has been replaced.
  STATESPACE_INLINE const Mask<V>& wide() const { return wide_; }

 private:
  using T = ScalarOf<V>;
  using Wide = Doubled<V>;
  using Run = KalmanRun<Wide, int, int>;
  static_assert(std::is_trivially_destructible_v<Run>);

  // Beyond this a start lasts too many of the wide steps, twenty times as slow.
  static constexpr int kLargestState = 32;
  // The variance that has gone in units of what is left.
  static constexpr T kVague = sizeof(T) == sizeof(double) ? T(1 << 18) : T(1 << 8);
  // A start shows itself within so many observed steps.
  STATESPACE_INLINE int longest_start() const { return 4 * n_ + 32; }

  STATESPACE_INLINE __attribute__((noinline)) void look(const V* r, const KalmanUpdate<V>& update) {
    const V one = splat<V>(T(1));
    Mask<V> seen = V() != V(), vague = seen;
    for (int i = 0; i < m_; ++i) {
      const Mask<V> observed = update.observed[i] != V();
      const V root = update.l[i * m_ + i], left = root * root;
      const V own = maximum(largest_[i], V(update.s[i * m_ + i] - r[i * m_ + i]));
      largest_[i] = select<V>(observed, own, largest_[i]);
      // Not a number where the factorisation failed: nothing was left.
      const Mask<V> enough =
          mask_or(left * splat<V>(kVague) >= largest_[i], left + left >= smallest_[i]);
      const Mask<V> little = mask_and(observed, mask_not(enough));
      smallest_[i] = select<V>(little, left, smallest_[i]);
      vague = mask_or(vague, little);
      seen = mask_or(seen, observed);
    }
    count_ = count_ + select<V>(seen, one, V());
    const Mask<V> early = count_ <= splat<V>(static_cast<T>(longest_start()));
    watches_ = any_lane(early);
    vague = mask_and(mask_and(vague, early), mask_not(given_up_));
    if (!any_lane(vague)) return;
    begins_again_ = any_lane(mask_and(vague, mask_not(wide_)));
    const V until = splat<V>(static_cast<T>(step_ + 1 + n_));
    until_ = select<V>(vague, maximum(until_, until), until_);
    if (begins_again_ && !run_) make_run();
  }

  // Of the run itself, and of the numbers that are twice as long.
  STATESPACE_INLINE static int64_t spare_size(const Call& call) {
    const int64_t n = call.size('n');
    const int64_t count =
        Run::work_size(call) + kalman_update_size(n, call.size('m')) + n + 2 * n * n;
    return room_for<Run, V>(1) + room_for<Wide, V>(count);
  }
  STATESPACE_INLINE void make_run() {
    V* const spare = spare_.take(spare_size(call_));
    Wide* memory = first_object<Wide>(spare + room_for<Run, V>(1));
    run_ = new (first_object<Run>(spare))
        Run(call_, operands_, Group<Wide>{group_.first, group_.count}, n_, m_, memory);
    memory = place(update_, memory + Run::work_size(call_), n_, m_);
    mean_ = memory, p_ = mean_ + n_, work_ = p_ + n_ * n_;
  }

  STATESPACE_INLINE __attribute__((noinline)) void widen(KalmanUpdate<V>& update) {
    run_->load_data(step_);
    run_->load_parameters(step_, step_ == 0);
    kalman_update_covariance(n_, m_, run_->model(), run_->data(), p_, update_);
    const Mask<V> failed = mask_and(wide_, mask_not(update_.ok));
    wide_ = mask_and(wide_, update_.ok);
    given_up_ = mask_or(given_up_, failed);
    until_ = select<V>(failed, splat<V>(static_cast<T>(step_)), until_);
    replace(int64_t{m_} * m_, update_.s, update.s);
    replace(int64_t{m_} * m_, update_.l, update.l);
    replace(m_, update_.inverse, update.inverse);
    replace(int64_t{m_} * n_, update_.w, update.w);
    replace(int64_t{n_} * n_, update_.p, update.p);
    update.ok = mask_or(update.ok, wide_);
  }
  STATESPACE_INLINE __attribute__((noinline)) void widen_prediction(V* covariance) {
    kalman_predict_covariance(n_, run_->model(), update_.p, p_, work_);
    replace(int64_t{n_} * n_, p_, covariance);
  }
  STATESPACE_INLINE void replace(int64_t count, const Wide* from, V* to) const {
    for (int64_t i = 0; i < count; ++i) to[i] = select<V>(wide_, from[i].high, to[i]);
  }

  const Call& call_;
  const Operand* operands_;
  Group<V> group_;
  int n_, m_;
  // Of each component: the largest variance the state has given it, and the least that was left.
  V *largest_, *smallest_;
  V count_ = V();  // of steps with any component observed
  V until_ = V();  // the step from which on single precision will do
  Mask<V> wide_ = V() != V();
  Mask<V> given_up_ = V() != V();  // where twice the precision fails as well
  int64_t step_ = 0;
  bool watches_ = false, begins_again_ = false;

  SpareMemory<V> spare_;
  Run* run_ = nullptr;
  KalmanUpdate<Wide> update_;
  Wide *mean_ = nullptr, *p_ = nullptr, *work_ = nullptr;
};

}  // namespace STATESPACE_ISA
}  // namespace statespace

#endif  // STATESPACE_NATIVE_OPS_KALMAN_VAGUE_START_H_
