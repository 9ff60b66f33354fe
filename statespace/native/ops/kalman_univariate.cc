#include "ops/kalman_univariate.h"

#include "ops/kernels.h"

namespace statespace {
namespace STATESPACE_ISA {

const KernelEntry kKalmanUnivariateKernels[] = {
    series_entry<UnivariateLogLikelihoodOp<false>>("StatespaceKalmanUnivariateLogLikelihood"),
    series_entry<UnivariateLogLikelihoodOp<true>>("StatespaceKalmanUnivariateLogLikelihoodPerStep"),
    {"StatespaceKalmanUnivariateLogLikelihoodGrad",
     run_gradient<float, float, UnivariateGradientOp>,
     run_gradient<double, double, UnivariateGradientOp>},
    series_entry<UnivariateFilterOp>("StatespaceKalmanUnivariateFilter"),
    series_entry<UnivariateSmootherOp>("StatespaceKalmanUnivariateSmoother"),
    {nullptr, nullptr, nullptr},
};

}  // namespace STATESPACE_ISA
}  // namespace statespace
