// Room for objects of another type in memory for numbers.
#ifndef STATESPACE_NATIVE_CORE_ROOM_H_
#define STATESPACE_NATIVE_CORE_ROOM_H_

#include "core/simd.h"

namespace statespace {
namespace STATESPACE_ISA {

// Numbers of type V that hold `count` objects, wherever the first number lies.
template <class Object, class V>
STATESPACE_INLINE int64_t room_for(int64_t count) {
  constexpr int64_t kSize = sizeof(Object), kAlignment = alignof(Object), kNumber = sizeof(V);
  return (count * kSize + (kAlignment > kNumber ? kAlignment : 0) + kNumber - 1) / kNumber;
}

// Where the first of them lies.
template <class Object, class V>
STATESPACE_INLINE Object* first_object(V* memory) {
  constexpr uintptr_t kAlignment = alignof(Object);
  const uintptr_t address = reinterpret_cast<uintptr_t>(memory);
  return reinterpret_cast<Object*>((address + kAlignment - 1) / kAlignment * kAlignment);
}

}  // namespace STATESPACE_ISA
}  // namespace statespace

#endif  // STATESPACE_NATIVE_CORE_ROOM_H_
