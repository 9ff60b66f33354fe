// The Cholesky ops: what one item costs, and the call of the core.
#include "core/cholesky.h"

#include "ops/batched.h"
#include "ops/kernels.h"

namespace statespace {
namespace STATESPACE_ISA {
namespace {

struct CholeskyOp {
  static int64_t work_size(const Call&) { return 0; }
  static double flops(const Call& call) { return cube(call.size('n')) / 3; }
  template <class V>
  static void compute(const Call& call, const V* const* in, V* const* out, V*) {
    with_size<kLargestUnrolled>(static_cast<int>(call.size('n')),
                                [&](auto n) { *out[1] = cholesky(n, in[0], out[0]); });
  }
};

struct CholeskyGradOp {
  static int64_t work_size(const Call&) { return 0; }
  static double flops(const Call& call) { return 3 * cube(call.size('n')); }
  template <class V>
  static void compute(const Call& call, const V* const* in, V* const* out, V*) {
    with_size<kLargestUnrolled>(static_cast<int>(call.size('n')),
                                [&](auto n) { cholesky_adjoint(n, in[0], in[1], out[0]); });
  }
};

}  // namespace

const KernelEntry kCholeskyKernels[] = {
    batched_entry<CholeskyOp>("StatespaceCholesky"),
    batched_entry<CholeskyGradOp>("StatespaceCholeskyGrad"),
    {nullptr, nullptr, nullptr},
};

}  // namespace STATESPACE_ISA
}  // namespace statespace
