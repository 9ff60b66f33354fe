// The symmetric eigenvalue ops, and functions of symmetric matrices: what one item costs, and the
// call of the core.
#include "core/eigh.h"
#include "core/matrix_function.h"

#include "ops/batched.h"
#include "ops/kernels.h"
#include "ops/lapack.h"

namespace statespace {
namespace STATESPACE_ISA {
namespace {

// Numbers of scratch that syevd wants, and how many of them are taken for integers.
int64_t syevd_integers(int64_t n) { return 5 * n + 3; }
int64_t syevd_work_size(int64_t n) { return 2 * n * n + 6 * n + 1 + syevd_integers(n); }

// x[n, n] becomes its transpose, a block at a time: within the cache's reach both ways.
template <class T>
void transpose_in_place(int64_t n, T* x) {
  constexpr int64_t kBlock = 16;
  for (int64_t top = 0; top < n; top += kBlock) {
    for (int64_t left = 0; left <= top; left += kBlock) {
      for (int64_t i = top; i < std::min(top + kBlock, n); ++i) {
        for (int64_t j = left; j < std::min(left + kBlock, i); ++j) {
          std::swap(x[i * n + j], x[j * n + i]);
        }
      }
    }
  }
}

// As `eigh`, by LAPACK. False if there is none, or n is beyond its integers.
template <class T>
bool eigh_by_lapack(int n, const T* a, T* lambda, T* v, T* work, T* info) {
  const Syevd<T> routine = syevd<T>();
  int lwork, liwork, status = n;
  if (routine == nullptr || !fits_lapack(syevd_work_size(n) - syevd_integers(n), &lwork) ||
      !fits_lapack(syevd_integers(n), &liwork)) {
    return false;
  }
  // LAPACK stores columns: what is our lower triangle is its upper one.
  FiniteCheck<T> finite;
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < n; ++j) v[i * n + j] = j <= i ? a[i * n + j] : T(0);
    finite.add(i + 1, a + i * n);
  }
  if (finite.passed()) {
    char jobz = 'V', uplo = 'U';
    // The integers last; T is no smaller than they are.
    routine(&jobz, &uplo, &n, v, &n, lambda, work, &lwork, reinterpret_cast<int*>(work + lwork),
            &liwork, &status);
  }
  *info = T(status == 0 ? 0 : n);
  if (status != 0) {
    std::fill(lambda, lambda + n, std::numeric_limits<T>::quiet_NaN());
    std::fill(v, v + static_cast<int64_t>(n) * n, std::numeric_limits<T>::quiet_NaN());
    return true;
  }
  for (int64_t i = 0; i < n; ++i) {
    const T sign = eigenvector_sign(n, v + i * n);
    for (int64_t j = 0; j < n; ++j) v[i * n + j] = sign * v[i * n + j] + T(0);  // never -0
    lambda[i] += T(0);
  }
  transpose_in_place(n, v);
  return true;
}

// Numbers of scratch of `eigenvalues`.
int64_t eigenvalues_work_size(const Call& call) {
  const int64_t n = call.size('n');
  return kIsDevice || n * n <= kUsuallyInLanes ? eigh_work_size(n) : syevd_work_size(n);
}

// Eigenvalues and eigenvectors by the core in lanes, by LAPACK beyond; returns the status.
template <class V>
STATESPACE_HOST_DEVICE V eigenvalues(const Call& call, const V* a, V* lambda, V* v, V* work) {
  const int size = static_cast<int>(call.size('n'));
  V info = V();
  if constexpr (kAlone<V>) {
    if (!eigh_by_lapack(size, a, lambda, v, work, &info)) info = eigh(size, a, lambda, v, work);
  } else {
    with_size<kLargestUnrolled>(size, [&](auto n) { info = eigh(n, a, lambda, v, work); });
  }
  return info;
}

struct EighOp {
  static constexpr bool kOwnThreads = true;
  static int64_t work_size(const Call& call) { return eigenvalues_work_size(call); }
  STATESPACE_INLINE static int in_place(int output) {
    return output == 1 ? 0 : -1;
  }  // eigenvectors of A
  static double flops(const Call& call) { return 10 * cube(call.size('n')) + 100; }
  template <class V>
  STATESPACE_INLINE static void compute(const Call& call, const V* const* in, V* const* out,
                                        V* work) {
    *out[2] = eigenvalues(call, in[0], out[0], out[1], work);
  }
};

struct EighGradOp {
  static int64_t work_size(const Call& call) { return call.size('n') * call.size('n'); }
  static double flops(const Call& call) { return 5 * cube(call.size('n')); }
  template <class V>
  STATESPACE_INLINE static void compute(const Call& call, const V* const* in, V* const* out,
                                        V* work) {
    with_size<kLargestUnrolled>(static_cast<int>(call.size('n')), [&](auto n) {
      eigh_adjoint(n, in[0], in[1], in[2], in[3], out[0], work);
    });
  }
};

STATESPACE_INLINE Function function_kind(const Call& call) {
  return call.attrs[0]   ? Function::kLogarithm
         : call.attrs[1] ? Function::kExponential
                         : Function::kPower;
}

struct MatrixFunctionOp {
  static constexpr bool kOwnThreads = true;
  static int64_t work_size(const Call& call) { return eigenvalues_work_size(call); }
  static double flops(const Call& call) { return 13 * cube(call.size('n')) + 200; }
  template <class V>
  STATESPACE_INLINE static void compute(const Call& call, const V* const* in, V* const* out,
                                        V* work) {
    eigenvalues(call, in[0], out[2], out[3], work);  // its failures are NaN
    *out[1] = matrix_function(static_cast<int>(call.size('n')), function_kind(call), *in[1], out[2],
                              out[3], out[0], work);
  }
};

struct MatrixFunctionGradOp {
  static int64_t work_size(const Call& call) { return 2 * call.size('n') * call.size('n'); }
  static double flops(const Call& call) { return 7 * cube(call.size('n')) + 200; }
  template <class V>
  STATESPACE_INLINE static void compute(const Call& call, const V* const* in, V* const* out,
                                        V* work) {
    matrix_function_adjoint(static_cast<int>(call.size('n')), function_kind(call), *in[1], in[2],
                            in[3], in[4], out[0], work);
  }
};

}  // namespace

const KernelEntry kEighKernels[] = {
    batched_entry<EighOp>("StatespaceEigh"),
    batched_entry<EighGradOp>("StatespaceEighGrad"),
    batched_entry<MatrixFunctionOp>("StatespaceMatrixFunction"),
    batched_entry<MatrixFunctionGradOp>("StatespaceMatrixFunctionGrad"),
    {nullptr, nullptr, nullptr},
};

}  // namespace STATESPACE_ISA
}  // namespace statespace
