#include "ops/kalman_gradient.h"

#include "ops/kalman_shared_gradient.h"
#include "ops/kernels.h"

namespace statespace {
namespace STATESPACE_ISA {

const KernelEntry kKalmanGradientKernels[] = {
    {"StatespaceKalmanLogLikelihoodGrad", run_log_likelihood_gradient<float>,
     run_log_likelihood_gradient<double>},
    {nullptr, nullptr, nullptr},
};

}  // namespace STATESPACE_ISA
}  // namespace statespace
