#include "ops/kalman_shared.h"
#include "ops/kalman_smoother.h"
#include "ops/kernels.h"

namespace statespace {
namespace STATESPACE_ISA {

const KernelEntry kKalmanKernels[] = {
    {"StatespaceKalmanLogLikelihood", run_log_likelihood<float>, run_log_likelihood<double>},
    series_entry<KalmanLogLikelihoodOp<true, SettlingForm>>("StatespaceKalmanLogLikelihoodPerStep"),
    series_entry<KalmanFilterOp>("StatespaceKalmanFilter"),
    series_entry<KalmanSmootherOp>("StatespaceKalmanSmoother"),
    {nullptr, nullptr, nullptr},
};

}  // namespace STATESPACE_ISA
}  // namespace statespace
