#if defined(STATESPACE_DEVICE)
#include "cuda/unshared.h"
#else
#include "ops/kalman_shared_moments.h"
#endif
#include "ops/kernels.h"

namespace statespace {
namespace STATESPACE_ISA {

const KernelEntry kKalmanKernels[] = {
    {"StatespaceKalmanLogLikelihood", run_log_likelihood<float>, run_log_likelihood<double>},
    series_entry<KalmanLogLikelihoodOp<true, SharpForm>>("StatespaceKalmanLogLikelihoodPerStep"),
    {"StatespaceKalmanFilter", run_filter<float>, run_filter<double>},
    {"StatespaceKalmanSmoother", run_smoother<float, true>, run_smoother<double, true>},
    {"StatespaceKalmanSmootherMarginals", run_smoother<float, false>, run_smoother<double, false>},
    {nullptr, nullptr, nullptr},
};

}  // namespace STATESPACE_ISA
}  // namespace statespace
