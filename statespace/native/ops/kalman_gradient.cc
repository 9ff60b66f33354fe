#include "ops/kalman_gradient.h"

#include "ops/kernels.h"

namespace statespace {
namespace STATESPACE_ISA {

const KernelEntry kKalmanGradientKernels[] = {
    {"StatespaceKalmanLogLikelihoodGrad",
     run_gradient<float, float, KalmanGradientOp<CovarianceGradient>>,
     run_gradient<double, double, KalmanGradientOp<CovarianceGradient>>},
    {nullptr, nullptr, nullptr},
};

}  // namespace STATESPACE_ISA
}  // namespace statespace
