#include "ops/linalg_kernels.h"

#include "ops/kernels.h"

namespace statespace {
namespace STATESPACE_ISA {

template <class Op>
constexpr KernelEntry entry(const char* name) {
  return {name, run_batched<float, Op>, run_batched<double, Op>};
}

const KernelEntry kLinalgKernels[] = {
    entry<CholeskyOp>("StatespaceCholesky"),
    entry<CholeskyGradOp>("StatespaceCholeskyGrad"),
    entry<TriangularSolveOp<false>>("StatespaceTriangularSolve"),
    entry<TriangularSolveGradOp<false>>("StatespaceTriangularSolveGrad"),
    entry<TriangularSolveOp<true>>("StatespaceTriangularSolveRight"),
    entry<TriangularSolveGradOp<true>>("StatespaceTriangularSolveRightGrad"),
    entry<LqOp<true>>("StatespaceLq"),
    entry<LqGradOp>("StatespaceLqGrad"),
    entry<LqOp<false>>("StatespaceLqL"),
    entry<LqLGradOp>("StatespaceLqLGrad"),
    {nullptr, nullptr, nullptr},
};

}  // namespace STATESPACE_ISA
}  // namespace statespace
