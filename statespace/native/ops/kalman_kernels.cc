#include "ops/kalman_kernels.h"

#include "ops/kernels.h"

namespace statespace {
namespace STATESPACE_ISA {

const KernelEntry kKalmanKernels[] = {
    series_entry<KalmanLogLikelihoodOp<false, CovarianceForm>>("StatespaceKalmanLogLikelihood"),
    series_entry<KalmanLogLikelihoodOp<true, CovarianceForm>>(
        "StatespaceKalmanLogLikelihoodPerStep"),
    series_entry<KalmanFilterOp>("StatespaceKalmanFilter"),
    series_entry<KalmanSmootherOp>("StatespaceKalmanSmoother"),
    {nullptr, nullptr, nullptr},
};

}  // namespace STATESPACE_ISA
}  // namespace statespace
