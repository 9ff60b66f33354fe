// The Kalman ops whose series share work on a CPU. On a GPU, where series are done at the same
// time, each computes its own: the same numbers, since sharing changes none.
#ifndef STATESPACE_NATIVE_CUDA_UNSHARED_H_
#define STATESPACE_NATIVE_CUDA_UNSHARED_H_

#include "ops/kalman_gradient.h"
#include "ops/kalman_smoother.h"

namespace statespace {
namespace cuda {

template <class T>
void run_log_likelihood(const Call& call, Device& device) {
  run_series<T, KalmanLogLikelihoodOp<false, SharpForm>>(call, device);
}

template <class T>
void run_filter(const Call& call, Device& device) {
  run_series<T, KalmanFilterOp>(call, device);
}

template <class T, bool lag_one>
void run_smoother(const Call& call, Device& device) {
  run_series<T, KalmanSmootherOp<lag_one>>(call, device);
}

template <class T>
void run_log_likelihood_gradient(const Call& call, Device& device) {
  run_gradient<T, T, KalmanGradientOp<CovarianceGradient>>(call, device);
}

}  // namespace cuda
}  // namespace statespace

#endif  // STATESPACE_NATIVE_CUDA_UNSHARED_H_
