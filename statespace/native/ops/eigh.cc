// The symmetric eigenvalue ops: what one item costs, and the call of the core.
#include "core/eigh.h"

#include "ops/batched.h"
#include "ops/kernels.h"

namespace statespace {
namespace STATESPACE_ISA {
namespace {

struct EighOp {
  static int64_t work_size(const Call& call) { return eigh_work_size(call.size('n')); }
  static double flops(const Call& call) { return 10 * cube(call.size('n')) + 100; }
  template <class V>
  static void compute(const Call& call, const V* const* in, V* const* out, V* work) {
    with_size<kLargestUnrolled>(static_cast<int>(call.size('n')),
                                [&](auto n) { *out[2] = eigh(n, in[0], out[0], out[1], work); });
  }
};

struct EighGradOp {
  static int64_t work_size(const Call& call) { return call.size('n') * call.size('n'); }
  static double flops(const Call& call) { return 5 * cube(call.size('n')); }
  template <class V>
  static void compute(const Call& call, const V* const* in, V* const* out, V* work) {
    with_size<kLargestUnrolled>(static_cast<int>(call.size('n')), [&](auto n) {
      eigh_adjoint(n, in[0], in[1], in[2], in[3], out[0], work);
    });
  }
};

}  // namespace

const KernelEntry kEighKernels[] = {
    batched_entry<EighOp>("StatespaceEigh"),
    batched_entry<EighGradOp>("StatespaceEighGrad"),
    {nullptr, nullptr, nullptr},
};

}  // namespace STATESPACE_ISA
}  // namespace statespace
