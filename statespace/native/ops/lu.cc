// The ops on general square matrices, and sums of logarithms: what one item costs, and the call of
// the core.
#include "core/lu.h"

#include "ops/batched.h"
#include "ops/kernels.h"

namespace statespace {
namespace STATESPACE_ISA {
namespace {

// Numbers of scratch: so many matrices and so many vectors.
int64_t work(const Call& call, int matrices, int vectors) {
  const int64_t n = call.size('n');
  return (matrices * n + vectors) * n;
}

template <class Body>
STATESPACE_HOST_DEVICE void with_n(const Call& call, Body&& body) {
  with_size<kLargestUnrolled>(static_cast<int>(call.size('n')), body);
}

struct InverseOp {
  static int64_t work_size(const Call& call) { return work(call, 1, 3); }
  static double flops(const Call& call) { return 3 * cube(call.size('n')); }
  template <class V>
  STATESPACE_INLINE static void compute(const Call& call, const V* const* in, V* const* out,
                                        V* work) {
    with_n(call, [&](auto n) { *out[1] = inverse(n, in[0], out[0], work); });
  }
};

struct InverseGradOp {
  static int64_t work_size(const Call& call) { return work(call, 1, 0); }
  static double flops(const Call& call) { return 4 * cube(call.size('n')); }
  template <class V>
  STATESPACE_INLINE static void compute(const Call& call, const V* const* in, V* const* out,
                                        V* work) {
    with_n(call, [&](auto n) { inverse_adjoint(n, in[0], in[1], out[0], work); });
  }
};

struct DeterminantOp {
  static int64_t work_size(const Call& call) { return work(call, 1, 1); }
  static double flops(const Call& call) { return cube(call.size('n')) + 1; }
  template <class V>
  STATESPACE_INLINE static void compute(const Call& call, const V* const* in, V* const* out,
                                        V* work) {
    with_n(call, [&](auto n) { *out[0] = determinant(n, in[0], work); });
  }
};

struct DeterminantGradOp {
  static int64_t work_size(const Call& call) { return work(call, 2, 5); }
  static double flops(const Call& call) { return 6 * cube(call.size('n')); }
  template <class V>
  STATESPACE_INLINE static void compute(const Call& call, const V* const* in, V* const* out,
                                        V* work) {
    with_n(call, [&](auto n) { determinant_adjoint(n, in[0], *in[1], out[0], work); });
  }
};

struct LogDeterminantOp {
  static int64_t work_size(const Call& call) { return work(call, 1, 1); }
  static double flops(const Call& call) { return cube(call.size('n')) + 100; }
  template <class V>
  STATESPACE_INLINE static void compute(const Call& call, const V* const* in, V* const* out,
                                        V* work) {
    with_n(call, [&](auto n) {
      const LogDeterminant<V> determinant = log_determinant(n, in[0], work);
      *out[0] = determinant.sign;
      *out[1] = determinant.log_size;
    });
  }
};

struct LogDeterminantGradOp {
  static int64_t work_size(const Call& call) { return work(call, 2, 3); }
  static double flops(const Call& call) { return 3 * cube(call.size('n')); }
  template <class V>
  STATESPACE_INLINE static void compute(const Call& call, const V* const* in, V* const* out,
                                        V* work) {
    with_n(call, [&](auto n) { log_determinant_adjoint(n, in[0], *in[1], out[0], work); });
  }
};

struct SumLogOp {
  static int64_t work_size(const Call&) { return 0; }
  static double flops(const Call& call) { return 10 * static_cast<double>(call.size('n')) + 100; }
  template <class V>
  STATESPACE_INLINE static void compute(const Call& call, const V* const* in, V* const* out, V*) {
    *out[0] = sum_log(static_cast<int>(call.size('n')), in[0]);
  }
};

struct SumLogGradOp {
  static int64_t work_size(const Call&) { return 0; }
  static double flops(const Call& call) { return 10 * static_cast<double>(call.size('n')); }
  template <class V>
  STATESPACE_INLINE static void compute(const Call& call, const V* const* in, V* const* out, V*) {
    sum_log_adjoint(static_cast<int>(call.size('n')), in[0], *in[1], out[0]);
  }
};

}  // namespace

const KernelEntry kLuKernels[] = {
    batched_entry<InverseOp>("StatespaceInverse"),
    batched_entry<InverseGradOp>("StatespaceInverseGrad"),
    batched_entry<DeterminantOp>("StatespaceDeterminant"),
    batched_entry<DeterminantGradOp>("StatespaceDeterminantGrad"),
    batched_entry<LogDeterminantOp>("StatespaceLogDeterminant"),
    batched_entry<LogDeterminantGradOp>("StatespaceLogDeterminantGrad"),
    batched_entry<SumLogOp>("StatespaceSumLog"),
    batched_entry<SumLogGradOp>("StatespaceSumLogGrad"),
    {nullptr, nullptr, nullptr},
};

}  // namespace STATESPACE_ISA
}  // namespace statespace
