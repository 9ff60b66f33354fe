#include "ops/kalman_gradient.h"

#include "ops/kernels.h"

namespace statespace {
namespace STATESPACE_ISA {

const KernelEntry kKalmanGradientKernels[] = {
    {"StatespaceKalmanLogLikelihoodGrad", run_gradient<float, KalmanGradientOp>,
     run_gradient<double, KalmanGradientOp>},
    {nullptr, nullptr, nullptr},
};

}  // namespace STATESPACE_ISA
}  // namespace statespace
