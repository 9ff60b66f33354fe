#include "ops/kalman_gradient.h"

#if defined(STATESPACE_DEVICE)
#include "cuda/unshared.h"
#else
#include "ops/kalman_shared_gradient.h"
#endif
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
