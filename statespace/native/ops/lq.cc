// The LQ ops: what one item costs, and the call of the core.
#include "core/lq.h"

#include "ops/batched.h"
#include "ops/kernels.h"

namespace statespace {
namespace STATESPACE_ISA {
namespace {

// Calls f(k, m, n), k = min(m, n): in lanes small k, and with it a square matrix, known when
// compiling.
template <class V, class F>
STATESPACE_HOST_DEVICE void with_lq_sizes(const Call& call, F&& f) {
  const int m = static_cast<int>(call.size('m')), n = static_cast<int>(call.size('n'));
  with_size<kAlone<V> ? 0 : kLargestUnrolled>(std::min(m, n), [&](auto k) {
    if (m == n) {
      f(k, k, k);
    } else {
      f(k, m, n);
    }
  });
}

template <bool with_q>
struct LqOp {
  static int64_t work_size(const Call& call) {
    return lq_work_size(with_q, call.size('m'), call.size('n'));
  }
  STATESPACE_INLINE static int in_place(int output) { return output == 1 ? 0 : -1; }  // Q of A
  static double flops(const Call& call) {
    const double m = static_cast<double>(call.size('m')), n = static_cast<double>(call.size('n'));
    const double k = std::min(m, n);
    return 2 * k * (m * n + (with_q ? k * n : 0)) + 1;
  }
  template <class V>
  STATESPACE_INLINE static void compute(const Call& call, const V* const* in, V* const* out,
                                        V* work) {
    with_lq_sizes<V>(call, [&](auto k, auto m, auto n) {
      lq<with_q>(k, m, n, in[0], out[0], with_q ? out[1] : nullptr, work);
    });
  }
};

struct LqGradOp {
  // Products with Q make the most of it, whose rows are registers as they are.
  static constexpr int64_t kLargestInLanes = 40 * 40;
  static int64_t work_size(const Call& call) {
    return lq_adjoint_work_size(call.size('m'), call.size('n'));
  }
  STATESPACE_INLINE static int in_place(int) { return 3; }  // of the cotangent of Q
  static double flops(const Call& call) { return LqOp<true>::flops(call); }
  template <class V>
  STATESPACE_INLINE static void compute(const Call& call, const V* const* in, V* const* out,
                                        V* work) {
    with_lq_sizes<V>(call, [&](auto k, auto m, auto n) {
      lq_adjoint(k, m, n, in[0], in[1], in[2], in[3], out[0], work);
    });
  }
};

// L alone leaves no Q behind, so its gradient factorises again.
struct LqLGradOp {
  static int64_t work_size(const Call& call) {
    return lq_l_adjoint_work_size(call.size('m'), call.size('n'));
  }
  static double flops(const Call& call) { return 1.5 * LqOp<true>::flops(call); }
  template <class V>
  STATESPACE_INLINE static void compute(const Call& call, const V* const* in, V* const* out,
                                        V* work) {
    with_lq_sizes<V>(
        call, [&](auto k, auto m, auto n) { lq_l_adjoint(k, m, n, in[0], in[1], out[0], work); });
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
