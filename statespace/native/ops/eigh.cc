// The symmetric eigenvalue ops: what one item costs, and the call of the core.
#include "ops/batched.h"
#include "ops/kernels.h"

namespace statespace {
namespace STATESPACE_ISA {

const KernelEntry kEighKernels[] = {
    {nullptr, nullptr, nullptr},
};

}  // namespace STATESPACE_ISA
}  // namespace statespace
