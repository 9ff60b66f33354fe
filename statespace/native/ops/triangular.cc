// The ops with triangular matrices: what one item costs, and the call of the core.
#include "core/triangular.h"

#include "ops/batched.h"
#include "ops/kernels.h"

namespace statespace {
namespace STATESPACE_ISA {
namespace {

template <bool right>
struct TriangularSolveOp {
  // Rows of the right side are registers as they are, and beyond this need not be turned.
  static constexpr int64_t kLargestInLanes = 31 * 31;
  static int64_t work_size(const Call&) { return 0; }
  STATESPACE_INLINE static int in_place(int) { return 1; }  // of B
  static double flops(const Call& call) {
    const double n = static_cast<double>(call.size('n'));
    return n * n * static_cast<double>(call.size('k')) + 1;
  }
  template <class V>
  STATESPACE_INLINE static void compute(const Call& call, const V* const* in, V* const* out, V*) {
    const TriangularSides sides = {call.attrs[0] != 0, call.attrs[1] != 0, right};
    const int k = static_cast<int>(call.size('k'));
    with_matrix_size<V>(call.size('n'),
                        [&](auto n) { triangular_solve(n, k, sides, in[0], in[1], out[0]); });
  }
};

template <bool right>
struct TriangularSolveGradOp {
  static int64_t work_size(const Call&) { return 0; }
  // Of L, which the cotangent of B needs and that of L does not, and of the cotangent of X.
  STATESPACE_INLINE static int in_place(int output) { return output == 0 ? 0 : 2; }
  static double flops(const Call& call) { return 2 * TriangularSolveOp<right>::flops(call); }
  template <class V>
  STATESPACE_INLINE static void compute(const Call& call, const V* const* in, V* const* out, V*) {
    const TriangularSides sides = {call.attrs[0] != 0, call.attrs[1] != 0, right};
    const int k = static_cast<int>(call.size('k'));
    with_matrix_size<V>(call.size('n'), [&](auto n) {
      triangular_solve_adjoint(n, k, sides, in[0], in[1], in[2], out[0], out[1]);
    });
  }
};

template <bool right>
struct TriangularMultiplyOp : TriangularSolveOp<right> {
  static constexpr int64_t kLargestInLanes = kUsuallyInLanes;
  STATESPACE_INLINE static int in_place(int) { return -1; }
  template <class V>
  STATESPACE_INLINE static void compute(const Call& call, const V* const* in, V* const* out, V*) {
    const TriangularSides sides = {call.attrs[0] != 0, call.attrs[1] != 0, right};
    const int k = static_cast<int>(call.size('k'));
    with_matrix_size<V>(call.size('n'),
                        [&](auto n) { triangular_multiply(n, k, sides, in[0], in[1], out[0]); });
  }
};

template <bool right>
struct TriangularMultiplyGradOp : TriangularSolveGradOp<right> {
  STATESPACE_INLINE static int in_place(int) { return -1; }
  template <class V>
  STATESPACE_INLINE static void compute(const Call& call, const V* const* in, V* const* out, V*) {
    const TriangularSides sides = {call.attrs[0] != 0, call.attrs[1] != 0, right};
    const int k = static_cast<int>(call.size('k'));
    with_matrix_size<V>(call.size('n'), [&](auto n) {
      triangular_multiply_adjoint(n, k, sides, in[0], in[1], in[2], out[0], out[1]);
    });
  }
};

}  // namespace

const KernelEntry kTriangularKernels[] = {
    batched_entry<TriangularSolveOp<false>>("StatespaceTriangularSolve"),
    batched_entry<TriangularSolveGradOp<false>>("StatespaceTriangularSolveGrad"),
    batched_entry<TriangularSolveOp<true>>("StatespaceTriangularSolveRight"),
    batched_entry<TriangularSolveGradOp<true>>("StatespaceTriangularSolveRightGrad"),
    batched_entry<TriangularMultiplyOp<false>>("StatespaceTriangularMultiply"),
    batched_entry<TriangularMultiplyGradOp<false>>("StatespaceTriangularMultiplyGrad"),
    batched_entry<TriangularMultiplyOp<true>>("StatespaceTriangularMultiplyRight"),
    batched_entry<TriangularMultiplyGradOp<true>>("StatespaceTriangularMultiplyRightGrad"),
    {nullptr, nullptr, nullptr},
};

}  // namespace STATESPACE_ISA
}  // namespace statespace
