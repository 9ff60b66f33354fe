#include "ops/kalman_square_root.h"

#include "ops/kernels.h"

namespace statespace {
namespace STATESPACE_ISA {

// Both number types run the same kernel, in float64.
template <class Op>
constexpr KernelEntry float64_entry(const char* name) {
  return {name, run_series<double, Op>, run_series<double, Op>};
}

const KernelEntry kKalmanSquareRootKernels[] = {
    float64_entry<KalmanLogLikelihoodOp<false, SquareRootForm>>(
        "StatespaceKalmanSquareRootLogLikelihood"),
    float64_entry<KalmanLogLikelihoodOp<true, SquareRootForm>>(
        "StatespaceKalmanSquareRootLogLikelihoodPerStep"),
    {"StatespaceKalmanSquareRootLogLikelihoodGrad",
     run_gradient<float, double, KalmanGradientOp<SquareRootForm>>,
     run_gradient<double, double, KalmanGradientOp<SquareRootForm>>},
    float64_entry<KalmanSquareRootFilterOp>("StatespaceKalmanSquareRootFilter"),
    float64_entry<KalmanSquareRootSmootherOp<true>>("StatespaceKalmanSquareRootSmoother"),
    {nullptr, nullptr, nullptr},
};

}  // namespace STATESPACE_ISA
}  // namespace statespace
