// Sizes known when compiling, for loops the compiler unrolls, or only at run time: the same source
// serves both, since a `Fixed<N>` converts to int as a constant.
#ifndef STATESPACE_NATIVE_CORE_DIMS_H_
#define STATESPACE_NATIVE_CORE_DIMS_H_

#include "core/simd.h"

namespace statespace {
namespace STATESPACE_ISA {

template <int N>
struct Fixed {
  constexpr operator int() const { return N; }
};

// Calls f with a Fixed for n = 1 ... Largest, and not at all beyond.
template <int Largest, class F>
STATESPACE_INLINE void with_fixed_size(int n, F&& f) {
  if constexpr (Largest > 0) {
    if (n == Largest) {
      f(Fixed<Largest>());
    } else {
      with_fixed_size<Largest - 1>(n, f);
    }
  }
}

// Calls f with a Fixed for n = 1 ... Largest, and with the int itself beyond.
template <int Largest, class F>
STATESPACE_INLINE void with_size(int n, F&& f) {
  if (n >= 1 && n <= Largest) {
    with_fixed_size<Largest>(n, f);
  } else {
    f(n);
  }
}

}  // namespace STATESPACE_ISA
}  // namespace statespace

#endif  // STATESPACE_NATIVE_CORE_DIMS_H_
