// The Kalman ops: log-likelihood and filter over a batch of series.
#ifndef STATESPACE_NATIVE_OPS_KALMAN_KERNELS_H_
#define STATESPACE_NATIVE_OPS_KALMAN_KERNELS_H_

#include "ops/kalman_settling.h"

namespace statespace {
namespace STATESPACE_ISA {

// Models up to this size are unrolled, except where only old processors would gain; GPUs would not,
// whose threads have no registers for a whole model.
#if defined(STATESPACE_DEVICE) || (defined(__x86_64__) && !defined(__AVX2__))
constexpr int kLargestUnrolledState = 0, kLargestUnrolledObservation = 0;
#else
constexpr int kLargestUnrolledState = 4, kLargestUnrolledObservation = 2;
#endif
// Models up to this size go side by side in lanes.
constexpr int64_t kLargestStateInLanes = 32;

STATESPACE_INLINE bool kalman_unrolled(const Call& call) {
  return call.size('n') <= kLargestUnrolledState && call.size('m') <= kLargestUnrolledObservation &&
         call.size('n') > 0 && call.size('m') > 0;
}

STATESPACE_INLINE bool kalman_in_lanes(const Call& call) {
  return call.size('n') <= kLargestStateInLanes && call.size('m') <= kLargestStateInLanes;
}

// About the nanoseconds one series takes through the filter.
STATESPACE_INLINE double kalman_cost(const Call& call) {
  const double n = static_cast<double>(call.size('n')), m = static_cast<double>(call.size('m'));
  const double step = 20 + n * n * (1.5 * n + 2 * m) + m * m * (n + m);
  return static_cast<double>(call.size('T')) * step;
}

// Calls f(n, m) with the sizes as constants for the vectors of small models.
template <class V, class F>
STATESPACE_INLINE void with_model_sizes(const Call& call, F&& f) {
  const int n = static_cast<int>(call.size('n')), m = static_cast<int>(call.size('m'));
  if constexpr (!kAlone<V> && kLargestUnrolledState > 0) {
    if (kalman_unrolled(call)) {
      with_fixed_size<kLargestUnrolledState>(n, [&](auto fixed_n) {
        with_fixed_size<kLargestUnrolledObservation>(m, [&](auto fixed_m) { f(fixed_n, fixed_m); });
      });
      return;
    }
  }
  f(n, m);
}

// for_each_group over series begin ... end - 1. A single series of an unrolled model
// is still fastest in a vector, whose other lanes idle; so it must be, for a batch to equal its
// members to the last bit, in forms with `kSumsByLanes`, which sum in another order without lanes.
template <class T, class Form, class Body>
STATESPACE_INLINE void for_each_series(const Call& call, int64_t begin, int64_t end, Body&& body) {
  const bool even_single = Form::kSumsByLanes || kalman_unrolled(call);
  for_each_group<T>(begin, end, kalman_in_lanes(call), even_single, body);
}

// The covariance form, as the ops below take a form: the arithmetic of its steps.
struct CovarianceForm {
  static constexpr bool kSumsByLanes = false;
  template <class V, class N, class M>
  using Step = CovarianceStep<V, N, M>;
};

// The same, with covariances that settle.
struct SettlingForm : CovarianceForm {
  template <class V, class N, class M>
  using Step = SettlingStep<V, N, M>;
};

// And exact after a vague start.
struct SharpForm : CovarianceForm {
  template <class V, class N, class M>
  using Step = SharpStep<V, N, M>;
};

// An Op on series provides
//   using Form = ...: one like those above
//   template <class V> static int64_t work_size(const Call&): numbers of scratch of one group
//   template <class V> static void compute(const Call&, const Group<V>&, V* memory)

template <bool per_step, class F>
struct KalmanLogLikelihoodOp {
  using Form = F;
  template <class V>
  static int64_t work_size(const Call& call) {
    return KalmanRun<V, int, int, Form::template Step>::work_size(call);
  }
  template <class V>
  STATESPACE_INLINE static void compute(const Call& call, const Group<V>& group, V* memory) {
    with_model_sizes<V>(call, [&](auto n, auto m) {
      using Run = KalmanRun<V, decltype(n), decltype(m), Form::template Step>;
      Run run(call, call.inputs, group, n, m, memory);
      LogDensity<V> total;
      const auto reset = [&] { total = LogDensity<V>(); };
      const V info = run.forward(reset, [&](int64_t step) {
        if constexpr (per_step) {
          LogDensity<V> density;
          density.add(m, run.update());
          const V value = density.value();
          store(call.outputs[0], group, step, &value);
        } else {
          total.add(m, run.update());
        }
      });
      if constexpr (!per_step) {
        const V value = total.value();
        store(call.outputs[0], group, 0, &value);
      }
      spoil(call.outputs[0], group, info);
      store(call.outputs[1], group, 0, &info);
    });
  }
};

// The end of a filter or smoother: writes its log-likelihood, the first output, and its status, and
// spoils all moments of the series that failed.
template <class V>
STATESPACE_INLINE void finish_moments(const Call& call, const Group<V>& group, const V& value,
                                      const V& info, int info_output) {
  store(call.outputs[0], group, 0, &value);
  for (int i = 0; i < call.num_outputs; ++i) {
    if (call.outputs[i].dtype != STATESPACE_INT32) spoil(call.outputs[i], group, info);
  }
  store(call.outputs[info_output], group, 0, &info);
}

// Positions of a smoother's outputs.
template <bool lag_one>
struct SmootherOutput {
  enum { kTotal, kMean, kCovariance, kLagOne };
  static constexpr int kInfo = lag_one ? kLagOne + 1 : kLagOne;
};

// It writes O(n^2) numbers a step, which bounds its speed: it is not unrolled.
struct KalmanFilterOp {
  using Form = SharpForm;
  enum Output {
    kTotal,
    kFilteredMean,
    kFilteredCovariance,
    kMean,
    kCovariance,
    kInnovation,
    kInnovationCovariance,
    kInfo
  };

  template <class V>
  static int64_t work_size(const Call& call) {
    return KalmanRun<V, int, int, SharpStep>::work_size(call) + call.size('m') * call.size('m');
  }
  template <class V>
  STATESPACE_INLINE static void compute(const Call& call, const Group<V>& group, V* memory) {
    const int n = static_cast<int>(call.size('n')), m = static_cast<int>(call.size('m'));
    using Run = KalmanRun<V, int, int, SharpStep>;
    Run run(call, call.inputs, group, n, m, memory);
    V* const s = memory + Run::work_size(call);
    LogDensity<V> total;
    const auto reset = [&] { total = LogDensity<V>(); };
    const V info = run.forward(reset, [&](int64_t step) {
      const KalmanUpdate<V>& update = run.update();
      total.add(m, update);
      for (int i = 0; i < m * m; ++i) s[i] = update.s[i];
      mirror(m, s);
      store(call.outputs[kFilteredMean], group, step, update.a);
      store(call.outputs[kFilteredCovariance], group, step, update.p);
      store(call.outputs[kMean], group, step, run.mean());
      store(call.outputs[kCovariance], group, step, run.spread());
      store(call.outputs[kInnovation], group, step, update.v);
      store(call.outputs[kInnovationCovariance], group, step, s);
    });
    finish_moments(call, group, total.value(), info, kInfo);
  }
};

}  // namespace STATESPACE_ISA
}  // namespace statespace

#if defined(STATESPACE_DEVICE)
#include "cuda/series_loop.h"
#else
#include "ops/series_loop.h"
#endif

#endif  // STATESPACE_NATIVE_OPS_KALMAN_KERNELS_H_
