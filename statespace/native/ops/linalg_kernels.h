// The factorisation ops: each says how much scratch and arithmetic one item takes, and calls the
// core.
#ifndef STATESPACE_NATIVE_OPS_LINALG_KERNELS_H_
#define STATESPACE_NATIVE_OPS_LINALG_KERNELS_H_

#include "core/cholesky.h"
#include "core/lq.h"
#include "ops/batched.h"

namespace statespace {
namespace STATESPACE_ISA {

// Sizes up to this one are unrolled.
constexpr int kLargestUnrolled = 4;

inline double cube(const Call& call, char letter) {
  const double n = static_cast<double>(call.size(letter));
  return n * n * n + 1;
}

struct CholeskyOp {
  static int64_t work_size(const Call&) { return 0; }
  static double flops(const Call& call) { return cube(call, 'n') / 3; }
  template <class V>
  static void compute(const Call& call, const V* const* in, V* const* out, V*) {
    with_size<kLargestUnrolled>(static_cast<int>(call.size('n')),
                                [&](auto n) { *out[1] = cholesky(n, in[0], out[0]); });
  }
};

struct CholeskyGradOp {
  static int64_t work_size(const Call&) { return 0; }
  static double flops(const Call& call) { return 3 * cube(call, 'n'); }
  template <class V>
  static void compute(const Call& call, const V* const* in, V* const* out, V*) {
    with_size<kLargestUnrolled>(static_cast<int>(call.size('n')),
                                [&](auto n) { cholesky_adjoint(n, in[0], in[1], out[0]); });
  }
};

template <bool right>
struct TriangularSolveOp {
  static int64_t work_size(const Call&) { return 0; }
  static double flops(const Call& call) {
    const double n = static_cast<double>(call.size('n'));
    return n * n * static_cast<double>(call.size('k')) + 1;
  }
  template <class V>
  static void compute(const Call& call, const V* const* in, V* const* out, V*) {
    const TriangularSides sides = {call.attrs[0] != 0, call.attrs[1] != 0, right};
    const int k = static_cast<int>(call.size('k'));
    with_size<kLargestUnrolled>(static_cast<int>(call.size('n')), [&](auto n) {
      triangular_solve(n, k, sides, in[0], in[1], out[0]);
    });
  }
};

template <bool right>
struct TriangularSolveGradOp {
  static int64_t work_size(const Call&) { return 0; }
  static double flops(const Call& call) { return 2 * TriangularSolveOp<right>::flops(call); }
  template <class V>
  static void compute(const Call& call, const V* const* in, V* const* out, V*) {
    const TriangularSides sides = {call.attrs[0] != 0, call.attrs[1] != 0, right};
    const int k = static_cast<int>(call.size('k'));
    with_size<kLargestUnrolled>(static_cast<int>(call.size('n')), [&](auto n) {
      triangular_solve_adjoint(n, k, sides, in[0], in[1], in[2], out[0], out[1]);
    });
  }
};

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

}  // namespace STATESPACE_ISA
}  // namespace statespace

#endif  // STATESPACE_NATIVE_OPS_LINALG_KERNELS_H_
