// Products of general matrices: what one item costs, and the call of the core.
#include "core/multiply.h"

#include "ops/batched.h"
#include "ops/kernels.h"

namespace statespace {
namespace STATESPACE_ISA {
namespace {

template <class V>
STATESPACE_HOST_DEVICE View<V> view(const V* x, int columns, bool is_transposed) {
  return is_transposed ? transposed(x, columns) : rows(x, columns);
}

// x[m, n] = op(A) op(B), where the inner size is k. A factor that is a cotangent (attributes) and
// zero throughout gives zero, also where the other factor is NaN.
template <bool transpose_a, bool transpose_b>
struct GemmOp {
  static int64_t work_size(const Call&) { return 0; }
  static double flops(const Call& call) {
    return 2.0 * static_cast<double>(call.size('m')) * static_cast<double>(call.size('n')) *
           static_cast<double>(call.size('k'));
  }
  template <class V>
  STATESPACE_INLINE static void compute(const Call& call, const V* const* in, V* const* out, V*) {
    const int m = static_cast<int>(call.size('m')), n = static_cast<int>(call.size('n')),
              k = static_cast<int>(call.size('k'));
    multiply(m, n, k, view(in[0], transpose_a ? m : k, transpose_a),
             view(in[1], transpose_b ? k : n, transpose_b), out[0]);
    for (int factor = 0; factor < 2; ++factor) {
      if (call.attrs[factor] == 0) continue;
      const Mask<V> unused = all_zero(call.inputs[factor].core_size, in[factor]);
      zero_lanes(call.outputs[0].core_size, unused, out[0]);
    }
  }
};

// x[m, m] = A A', or A' A: its lower triangle, mirrored.
template <bool transpose>
struct SyrkOp {
  static int64_t work_size(const Call&) { return 0; }
  static double flops(const Call& call) {
    const double m = static_cast<double>(call.size('m'));
    return m * m * static_cast<double>(call.size('k'));
  }
  template <class V>
  STATESPACE_INLINE static void compute(const Call& call, const V* const* in, V* const* out, V*) {
    const int m = static_cast<int>(call.size('m')), k = static_cast<int>(call.size('k'));
    const int columns = transpose ? m : k;
    multiply<Into::kSet, Part::kLower>(m, m, k, view(in[0], columns, transpose),
                                       view(in[0], columns, !transpose), out[0]);
    mirror(m, out[0]);
  }
};

// a_bar = (X_bar + X_bar') A, or A (X_bar + X_bar').
template <bool transpose>
struct SyrkGradOp {
  static int64_t work_size(const Call& call) { return call.size('m') * call.size('m'); }
  static double flops(const Call& call) { return 2 * SyrkOp<transpose>::flops(call); }
  template <class V>
  STATESPACE_INLINE static void compute(const Call& call, const V* const* in, V* const* out,
                                        V* sum) {
    const int m = static_cast<int>(call.size('m')), k = static_cast<int>(call.size('k'));
    const V *const a = in[0], *const x_bar = in[1];
    for (int i = 0; i < m; ++i) {
      for (int j = 0; j <= i; ++j) sum[i * m + j] = x_bar[i * m + j] + x_bar[j * m + i];
    }
    mirror(m, sum);
    if (transpose) {
      multiply(k, m, m, rows(a, m), rows(sum, m), out[0]);
    } else {
      multiply(m, k, m, rows(sum, m), rows(a, k), out[0]);
    }
    zero_lanes(call.outputs[0].core_size, all_zero(call.inputs[1].core_size, x_bar), out[0]);
  }
};

}  // namespace

const KernelEntry kProductsKernels[] = {
    batched_entry<GemmOp<false, false>>("StatespaceGemm"),
    batched_entry<GemmOp<false, true>>("StatespaceGemmNt"),
    batched_entry<GemmOp<true, false>>("StatespaceGemmTn"),
    batched_entry<GemmOp<true, true>>("StatespaceGemmTt"),
    batched_entry<SyrkOp<false>>("StatespaceSyrk"),
    batched_entry<SyrkGradOp<false>>("StatespaceSyrkGrad"),
    batched_entry<SyrkOp<true>>("StatespaceSyrkTn"),
    batched_entry<SyrkGradOp<true>>("StatespaceSyrkTnGrad"),
    {nullptr, nullptr, nullptr},
};

}  // namespace STATESPACE_ISA
}  // namespace statespace
