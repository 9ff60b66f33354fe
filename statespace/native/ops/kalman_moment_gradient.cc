#include "ops/kalman_moment_gradient.h"

#include "ops/kernels.h"

namespace statespace {
namespace STATESPACE_ISA {

const KernelEntry kKalmanMomentGradientKernels[] = {
    {"StatespaceKalmanFilterGrad", run_gradient<float, float, KalmanFilterGradientOp>,
     run_gradient<double, double, KalmanFilterGradientOp>},
    {"StatespaceKalmanSmootherGrad", run_gradient<float, float, KalmanSmootherGradientOp>,
     run_gradient<double, double, KalmanSmootherGradientOp>},
    {nullptr, nullptr, nullptr},
};

}  // namespace STATESPACE_ISA
}  // namespace statespace
