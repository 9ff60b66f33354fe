// The covariance form where covariances that settle are not computed again.
#ifndef STATESPACE_NATIVE_OPS_KALMAN_SETTLING_H_
#define STATESPACE_NATIVE_OPS_KALMAN_SETTLING_H_

#include <utility>

#include "core/kalman_settling.h"
#include "ops/kalman_vague_start.h"

namespace statespace {
namespace STATESPACE_ISA {

// Whether what the covariances depend on varies by step, but for what is missing. operands: y and
// the model's parameters.
STATESPACE_INLINE bool covariances_vary(const Operand* operands) {
  for (ModelOperand i : {kF, kG, kH, kC}) {
    if (operands[i].step_stride != 0) return true;
  }
  return false;
}

// CovarianceStep that settles, and, if `sharp`, is exact after a vague start.
template <class V, class N, class M, bool sharp>
class SettlingStepOf {
 public:
  STATESPACE_INLINE SettlingStepOf(const Call& call, const Operand* operands, const Group<V>& group,
                                   N n, M m, V* memory)
      : n_(n),
        m_(m),
        varies_(covariances_vary(operands)),
        step_(call, operands, group, n, m, memory),
        next_(memory + step_.work_size(call)),
        checkpoint_(next_ + n * n),
        settling_(checkpoint_),
        vague_start_(call, operands, group, checkpoint_ + n * n) {}
  STATESPACE_INLINE static int64_t work_size(const Call& call) {
    const int64_t n = call.size('n');
    return CovarianceStep<V, N, M>::work_size(call) + 2 * n * n +
           (sharp ? VagueStart<V>::work_size(call) : 0);
  }

  STATESPACE_INLINE void start(const V* initial_scale, V* spread) {
    step_.start(initial_scale, spread);
    settling_ = Settling<V>(checkpoint_);
    first_ = true;
    repeated_ = false;
    if constexpr (sharp) vague_start_.begin();
  }
  STATESPACE_INLINE void prepare_transition_noise(const KalmanParameters<V>& model) {
    step_.prepare_transition_noise(model);
  }
  STATESPACE_INLINE void prepare_observation_noise(const KalmanParameters<V>& model) {
    step_.prepare_observation_noise(model);
  }
  STATESPACE_ALWAYS_INLINE void update(const KalmanParameters<V>& model, const V* y, const V* a,
                                       const V* spread) {
    if (!first_ && !varies_) {
      same_ = same_pattern(m_, y, result().observed);
      repeated_ = settling_.repeats(same_);
    }
    first_ = false;
    if (!repeated_) {
      step_.update_covariance(model, y, spread, [&](KalmanUpdate<V>& own) {
        if constexpr (sharp) vague_start_.revise(model.r, own);
      });
    } else if constexpr (sharp) {
      vague_start_.watch(model.r, result());
    }
    step_.update_mean(model, y, a);
  }
  // `spread` comes to point at the new one.
  STATESPACE_ALWAYS_INLINE void predict(const KalmanParameters<V>& model, V* a, V*& spread) {
    step_.predict_mean(model, a);
    if (repeated_) return settling_.count(n_, spread);
    V* const next = varies_ ? spread : next_;
    step_.predict_covariance(model, next);
    Mask<V> may_settle = V() == V();
    if constexpr (sharp) {
      vague_start_.revise_prediction(next);
      may_settle = mask_not(vague_start_.wide());
    }
    if (varies_) return;
    settling_.advance(n_, same_, may_settle, spread, next_);
    std::swap(spread, next_);
  }
  STATESPACE_INLINE const KalmanUpdate<V>& result() const { return step_.result(); }
  STATESPACE_INLINE bool begins_again() const { return sharp && vague_start_.begins_again(); }

  // The lanes in which the covariances of the latest update are those of the one before.
  STATESPACE_INLINE Mask<V> repeated_lanes() const { return settling_.repeated_lanes(same_); }
  // From now on, on the way back, every update is computed.
  STATESPACE_INLINE void compute_every_step() {
    varies_ = true;
    repeated_ = false;
  }

 private:
  N n_;
  M m_;
  bool varies_, first_ = true, repeated_ = false;
  Mask<V> same_ = V() != V();  // where just the same is missing as in the step before
  CovarianceStep<V, N, M> step_;
  V *next_, *checkpoint_;
  Settling<V> settling_;
  VagueStart<V> vague_start_;
};

template <class V, class N, class M>
using SettlingStep = SettlingStepOf<V, N, M, false>;
template <class V, class N, class M>
using SharpStep = SettlingStepOf<V, N, M, true>;

}  // namespace STATESPACE_ISA
}  // namespace statespace

#endif  // STATESPACE_NATIVE_OPS_KALMAN_SETTLING_H_
