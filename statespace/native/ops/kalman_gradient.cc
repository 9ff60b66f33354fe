#include "ops/kalman_gradient.h"

#include "ops/kernels.h"

namespace statespace {
namespace STATESPACE_ISA {

const KernelEntry kKalmanGradientKernels[] = {
    {"StatespaceKalmanLogLikelihoodGrad", run_kalman_gradient<float>, run_kalman_gradient<double>},
    {nullptr, nullptr, nullptr},
};

}  // namespace STATESPACE_ISA
}  // namespace statespace
