// When the covariances of a time-invariant filter have settled, and need not be computed again.
//
// Rounding keeps a recursion that has converged wandering among neighbours; it rarely repeats to
// the last bit. So it is stopped, by a rule that looks at a lane's own numbers alone: where a
// predicted covariance P equals both the one before and one of long before, to within the rounding
// errors of a step, it stays until the pattern of missing data changes. The distance to the limit
// that may then remain is no larger than what the same rounding errors would leave. That long
// before is a fifth of all steps lets no slow drift pass for the limit: even one like 1 / t would
// have moved by a quarter of what then remains.
#ifndef STATESPACE_NATIVE_CORE_KALMAN_SETTLING_H_
#define STATESPACE_NATIVE_CORE_KALMAN_SETTLING_H_

#include <limits>

#include "core/matrix.h"

namespace statespace {
namespace STATESPACE_ISA {

// The lanes in which x[n, n] and y[n, n], covariances or minus such, are equal to within rounding.
template <class V, class N>
STATESPACE_BUILDING_BLOCK Mask<V> nearly_equal(N n, const V* x, const V* y) {
  using T = ScalarOf<V>;
  const V tolerance =
      splat<V>(2 * static_cast<T>(static_cast<int>(n)) * std::numeric_limits<T>::epsilon());
  Mask<V> near = V() == V();
  for (int i = 0; i < n; ++i) {
    const V variance = absolute(x[i * n + i]);
    near = mask_and(near, absolute(V(x[i * n + i] - y[i * n + i])) <= tolerance * variance);
    if (!any_lane(near)) return near;
  }
  for (int i = 1; i < n; ++i) {
    const V scale = tolerance * square_root(absolute(x[i * n + i]));
    for (int j = 0; j < i; ++j) {
      const V difference = absolute(V(x[i * n + j] - y[i * n + j]));
      near = mask_and(near, difference <= scale * square_root(absolute(x[j * n + j])));
    }
  }
  return near;
}

// The lanes in which just the same components of y[m] and of an earlier step are missing.
template <class V, class M>
STATESPACE_INLINE Mask<V> same_pattern(M m, const V* y, const V* observed) {
  Mask<V> same = V() == V();
  for (int i = 0; i < m; ++i) {
    same = mask_and(same, (y[i] == y[i]) == (observed[i] != V()));
  }
  return same;
}

// Follows a recursion whose step leads from one covariance [n, n] to the next.
template <class V>
class Settling {
 public:
  STATESPACE_INLINE explicit Settling(V* memory) : checkpoint_(memory) {}  // n * n numbers

  // Whether the next step repeats the last one in all lanes. same: where nothing else than the
  // covariance makes a difference between the two.
  STATESPACE_INLINE bool repeats(const Mask<V>& same) const {
    return all_lanes(repeated_lanes(same));
  }
  STATESPACE_INLINE Mask<V> repeated_lanes(const Mask<V>& same) const {
    return mask_and(settled_, same);
  }

  // A step has led from p[n, n] to next[n, n], which becomes p where it stays. same: as above, of
  // this step and the one before.
  template <class N>
  STATESPACE_INLINE void advance(N n, const Mask<V>& same, const V* p, V* next) {
    advance(n, same, V() == V(), p, next);
  }
  // may_settle: lanes that do not go on whatever they are.
  template <class N>
  STATESPACE_INLINE void advance(N n, const Mask<V>& same, const Mask<V>& may_settle, const V* p,
                                 V* next) {
    settled_ = mask_and(settled_, same);
    if (checkpoint_count_ > 0 && 4 * age() >= checkpoint_count_ && !all_lanes(settled_)) {
      const Mask<V> near = mask_and(may_settle, nearly_equal(n, next, p));
      if (any_lane(near)) {
        settled_ = mask_or(settled_, mask_and(near, nearly_equal(n, next, checkpoint_)));
      }
    }
    if (any_lane(settled_)) {
      for (int i = 0; i < n * n; ++i) next[i] = select<V>(settled_, p[i], next[i]);
    }
    count(n, next);
  }

  // The same where the last step has been repeated, not computed: p[n, n] has stayed.
  template <class N>
  STATESPACE_INLINE void count(N n, const V* p) {
    // As soon as the checkpoint has come of age: what settles is seen the sooner.
    if (++count_ >= kFirstCheckpoint && 4 * count_ >= 5 * checkpoint_count_) {
      for (int i = 0; i < n * n; ++i) checkpoint_[i] = p[i];
      checkpoint_count_ = count_;
    }
  }

 private:
  STATESPACE_INLINE int64_t age() const {  // of the checkpoint
    return count_ + 1 - checkpoint_count_;
  }

  static constexpr int64_t kFirstCheckpoint = 32;

  V* checkpoint_;  // the covariance of long before
  int64_t count_ = 0, checkpoint_count_ = 0;
  Mask<V> settled_ = V() != V();
};

}  // namespace STATESPACE_ISA
}  // namespace statespace

#endif  // STATESPACE_NATIVE_CORE_KALMAN_SETTLING_H_
