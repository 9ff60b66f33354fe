// The ops on general square matrices: what one item costs, and the call of the core.
#include "ops/batched.h"
#include "ops/kernels.h"

namespace statespace {
namespace STATESPACE_ISA {

const KernelEntry kLuKernels[] = {
    {nullptr, nullptr, nullptr},
};

}  // namespace STATESPACE_ISA
}  // namespace statespace
