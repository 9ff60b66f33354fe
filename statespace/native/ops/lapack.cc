#include "ops/lapack.h"

#include <atomic>
#include <cstring>
#include <initializer_list>

namespace statespace {
namespace {

struct Routine {
  const char* name;
  std::atomic<void*> function;
};

Routine ssyevd = {"ssyevd", {nullptr}};
Routine dsyevd = {"dsyevd", {nullptr}};

template <class Function>
Function pointer(const Routine& routine) {
  return reinterpret_cast<Function>(routine.function.load());
}

}  // namespace

bool set_lapack(const char* routine, void* function) {
  for (Routine* const known : {&ssyevd, &dsyevd}) {
    if (std::strcmp(known->name, routine) != 0) continue;
    known->function = function;
    return true;
  }
  return false;
}

template <>
Syevd<float> syevd() {
  return pointer<Syevd<float>>(ssyevd);
}
template <>
Syevd<double> syevd() {
  return pointer<Syevd<double>>(dsyevd);
}

}  // namespace statespace
