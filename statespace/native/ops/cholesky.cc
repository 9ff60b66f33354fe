// The Cholesky ops: what one item costs, and the call of the core.
#include "core/cholesky_solve.h"
#include "core/psd_cholesky.h"

#include "ops/batched.h"
#include "ops/kernels.h"

namespace statespace {
namespace STATESPACE_ISA {
namespace {

struct CholeskyOp {
  static int64_t work_size(const Call&) { return 0; }
  STATESPACE_INLINE static int in_place(int output) { return output == 0 ? 0 : -1; }  // of A
  static double flops(const Call& call) { return cube(call.size('n')) / 3; }
  template <class V>
  STATESPACE_INLINE static void compute(const Call& call, const V* const* in, V* const* out, V*) {
    with_matrix_size<V>(call.size('n'), [&](auto n) { *out[1] = cholesky(n, in[0], out[0]); });
  }
};

struct CholeskyGradOp {
  static int64_t work_size(const Call&) { return 0; }
  STATESPACE_INLINE static int in_place(int) { return 1; }  // of the cotangent of L
  static double flops(const Call& call) { return 4 * cube(call.size('n')) / 3; }
  template <class V>
  STATESPACE_INLINE static void compute(const Call& call, const V* const* in, V* const* out, V*) {
    with_matrix_size<V>(call.size('n'), [&](auto n) { cholesky_adjoint(n, in[0], in[1], out[0]); });
  }
};

struct CholeskyInverseOp {
  static int64_t work_size(const Call&) { return 0; }
  static double flops(const Call& call) { return cube(call.size('n')); }
  template <class V>
  STATESPACE_INLINE static void compute(const Call& call, const V* const* in, V* const* out, V*) {
    with_matrix_size<V>(call.size('n'), [&](auto n) { cholesky_inverse(n, in[0], out[0]); });
  }
};

struct CholeskyInverseGradOp {
  static int64_t work_size(const Call& call) { return call.size('n') * call.size('n'); }
  static double flops(const Call& call) { return 3 * cube(call.size('n')); }
  template <class V>
  STATESPACE_INLINE static void compute(const Call& call, const V* const* in, V* const* out,
                                        V* work) {
    cholesky_inverse_adjoint(static_cast<int>(call.size('n')), in[0], in[1], in[2], out[0], work);
  }
};

struct CholeskySolveOp {
  static int64_t work_size(const Call&) { return 0; }
  STATESPACE_INLINE static int in_place(int) { return 1; }  // of B
  static double flops(const Call& call) {
    const double n = static_cast<double>(call.size('n'));
    return 2 * n * n * static_cast<double>(call.size('k'));
  }
  template <class V>
  STATESPACE_INLINE static void compute(const Call& call, const V* const* in, V* const* out, V*) {
    const int k = static_cast<int>(call.size('k'));
    with_matrix_size<V>(call.size('n'),
                        [&](auto n) { cholesky_solve(n, k, in[0], in[1], out[0]); });
  }
};

struct CholeskySolveGradOp {
  static int64_t work_size(const Call& call) { return call.size('n') * call.size('n'); }
  static double flops(const Call& call) {
    return 2 * CholeskySolveOp::flops(call) + cube(call.size('n'));
  }
  template <class V>
  STATESPACE_INLINE static void compute(const Call& call, const V* const* in, V* const* out,
                                        V* work) {
    cholesky_solve_adjoint(static_cast<int>(call.size('n')), static_cast<int>(call.size('k')),
                           in[0], in[1], in[2], out[0], out[1], work);
  }
};

struct PsdCholeskyOp : CholeskyOp {
  STATESPACE_INLINE static int in_place(int) { return -1; }  // the diagonal of A serves to the end
  static int64_t work_size(const Call& call) { return 2 * call.size('n'); }
  template <class V>
  STATESPACE_INLINE static void compute(const Call& call, const V* const* in, V* const* out,
                                        V* work) {
    *out[1] = psd_cholesky(static_cast<int>(call.size('n')), in[0], out[0], work);
  }
};

struct PsdCholeskyGradOp : CholeskyGradOp {
  static int64_t work_size(const Call& call) { return 3 * call.size('n') * call.size('n'); }
  template <class V>
  STATESPACE_INLINE static void compute(const Call& call, const V* const* in, V* const* out,
                                        V* work) {
    psd_cholesky_adjoint(static_cast<int>(call.size('n')), in[0], in[1], out[0], work);
  }
};

}  // namespace

const KernelEntry kCholeskyKernels[] = {
    batched_entry<CholeskyOp>("StatespaceCholesky"),
    batched_entry<CholeskyGradOp>("StatespaceCholeskyGrad"),
    batched_entry<CholeskyInverseOp>("StatespaceCholeskyInverse"),
    batched_entry<CholeskyInverseGradOp>("StatespaceCholeskyInverseGrad"),
    batched_entry<CholeskySolveOp>("StatespaceCholeskySolve"),
    batched_entry<CholeskySolveGradOp>("StatespaceCholeskySolveGrad"),
    batched_entry<PsdCholeskyOp>("StatespacePsdCholesky"),
    batched_entry<PsdCholeskyGradOp>("StatespacePsdCholeskyGrad"),
    {nullptr, nullptr, nullptr},
};

}  // namespace STATESPACE_ISA
}  // namespace statespace
