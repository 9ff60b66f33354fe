#include "ops/kalman_kernels.h"

#include "ops/kernels.h"

namespace statespace {
namespace STATESPACE_ISA {

template <class Op>
constexpr KernelEntry entry(const char* name) {
  return {name, run_series<float, Op>, run_series<double, Op>};
}

const KernelEntry kKalmanKernels[] = {
    entry<KalmanLogLikelihoodOp<false>>("StatespaceKalmanLogLikelihood"),
    entry<KalmanLogLikelihoodOp<true>>("StatespaceKalmanLogLikelihoodPerStep"),
    entry<KalmanFilterOp>("StatespaceKalmanFilter"),
    entry<KalmanSmootherOp>("StatespaceKalmanSmoother"),
    {nullptr, nullptr, nullptr},
};

}  // namespace STATESPACE_ISA
}  // namespace statespace
