// The LQ ops: what one item costs, and the call of the core.
#include "core/lq.h"

#include "ops/batched.h"
#include "ops/kernels.h"

namespace statespace {
namespace STATESPACE_ISA {
namespace {

template <bool with_q>
struct LqOp {
  static int64_t work_size(const Call& call) {
    return call.size('m') * call.size('n') + call.size('m');
  }
  static double flops(const Call& call) {
    const double m = static_cast<double>(call.size('m'));
    return 4 * m * m * static_cast<double>(call.size('n')) + 1;
  }
  template <class V>
  static void compute(const Call& call, const V* const* in, V* const* out, V* work) {
    with_size<kLargestUnrolled>(static_cast<int>(call.size('m')), [&](auto m) {
      lq<with_q>(m, static_cast<int>(call.size('n')), in[0], out[0], with_q ? out[1] : nullptr,
                 work);
    });
  }
};

struct LqGradOp {
  static int64_t work_size(const Call& call) { return call.size('m') * call.size('m'); }
  static double flops(const Call& call) { return LqOp<true>::flops(call); }
  template <class V>
  static void compute(const Call& call, const V* const* in, V* const* out, V* work) {
    with_size<kLargestUnrolled>(static_cast<int>(call.size('m')), [&](auto m) {
      lq_adjoint(m, static_cast<int>(call.size('n')), in[0], in[1], in[2], in[3], out[0], work);
    });
  }
};

// L alone leaves no Q behind, so its gradient factorises again.
struct LqLGradOp {
  static int64_t work_size(const Call& call) {
    const int64_t m = call.size('m'), n = call.size('n');
    return m * m + m * n + LqOp<true>::work_size(call) + LqGradOp::work_size(call);
  }
  static double flops(const Call& call) { return 2 * LqOp<true>::flops(call); }
  template <class V>
  static void compute(const Call& call, const V* const* in, V* const* out, V* work) {
    const int n = static_cast<int>(call.size('n'));
    with_size<kLargestUnrolled>(static_cast<int>(call.size('m')), [&](auto m) {
      V* const l = work;
      V* const q = l + m * m;
      V* const rest = q + m * n;
      lq<true>(m, n, in[0], l, q, rest);
      lq_adjoint(m, n, l, q, in[1], static_cast<const V*>(nullptr), out[0], rest);
    });
  }
};

}  // namespace

const KernelEntry kLqKernels[] = {
    batched_entry<LqOp<true>>("StatespaceLq"),
    batched_entry<LqGradOp>("StatespaceLqGrad"),
    batched_entry<LqOp<false>>("StatespaceLqL"),
    batched_entry<LqLGradOp>("StatespaceLqLGrad"),
    {nullptr, nullptr, nullptr},
};

}  // namespace STATESPACE_ISA
}  // namespace statespace
