// LAPACK for large matrices: routines that Python hands over once, from SciPy's published pointers
// (native/lapack.py). The library links to no LAPACK.
#ifndef STATESPACE_NATIVE_OPS_LAPACK_H_
#define STATESPACE_NATIVE_OPS_LAPACK_H_

#include <cstdint>
#include <limits>

namespace statespace {

// Keeps the pointer to a routine such as "dsyevd". False if nothing here calls a routine of that
// name.
bool set_lapack(const char* routine, void* function);

// Eigenvalues w and eigenvectors (into a) of a symmetric matrix; null where not handed over.
template <class T>
using Syevd = void (*)(char* jobz, char* uplo, int* n, T* a, int* lda, T* w, T* work, int* lwork,
                       int* iwork, int* liwork, int* info);
template <class T>
Syevd<T> syevd();

// Casts a size to LAPACK's integers; false if it does not fit.
inline bool fits_lapack(int64_t size, int* result) {
  if (size < 0 || size > std::numeric_limits<int>::max()) return false;
  *result = static_cast<int>(size);
  return true;
}

}  // namespace statespace

#endif  // STATESPACE_NATIVE_OPS_LAPACK_H_
