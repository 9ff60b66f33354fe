// Moving batch items in and out of vector lanes.
#ifndef STATESPACE_NATIVE_OPS_LANES_H_
#define STATESPACE_NATIVE_OPS_LANES_H_

#include "core/transpose.h"
#include "ops/call.h"

namespace statespace {
namespace STATESPACE_ISA {

// The batch items that fill the lanes of V. A group at the end of the batch may have fewer items
// than lanes; the lanes left over repeat the last item and are never stored.
template <class V>
struct Group {
  using Value = V;
  int64_t first;
  int count;

  STATESPACE_INLINE int64_t item(int lane) const {
    return first + (lane < count ? lane : count - 1);
  }
};

// Calls body(group) for items begin ... end - 1, in groups of Vector<T> if `in_lanes`, else of T. A
// single item left over takes a vector only if `even_single`.
template <class T, class Body>
STATESPACE_INLINE void for_each_group(int64_t begin, int64_t end, bool in_lanes, bool even_single,
                                      Body&& body) {
  using V = Vector<T>;
  while (begin < end) {
    const int64_t left = end - begin;
    if (in_lanes && (left > 1 || even_single)) {
      const int count = left < kLanes<V> ? static_cast<int>(left) : kLanes<V>;
      body(Group<V>{begin, count});
      begin += count;
    } else {
      body(Group<T>{begin, 1});
      ++begin;
    }
  }
}

// Where the items in the lanes of a group begin, `shift` numbers on.
template <class T, class V>
STATESPACE_INLINE void locate(const Operand& operand, const Group<V>& group, int64_t shift,
                              T** places) {
  T* const data = static_cast<T*>(operand.data) + shift;
  if (operand.offsets != nullptr) {
    for (int lane = 0; lane < kLanes<V>; ++lane) {
      places[lane] = data + operand.offsets[group.item(lane)];
    }
  } else {
    T* const first = data + group.first * operand.item_stride;
    for (int lane = 0; lane < kLanes<V>; ++lane) {
      places[lane] = first + (group.item(lane) - group.first) * operand.item_stride;
    }
  }
}

// Whether an operand holds other numbers than lanes compute with: float32 where they are wider, or
// float64 where they are twice that.
template <class V>
STATESPACE_INLINE bool is_narrower(const Operand& operand) {
  return sizeof(ScalarOf<V>) >
         (operand.dtype == STATESPACE_FLOAT32 ? sizeof(float) : sizeof(double));
}

// Calls f with a batch item's numbers, as what they are.
template <class V, class F>
STATESPACE_INLINE void with_numbers(const Operand& operand, int64_t item, F&& f) {
  if constexpr (sizeof(ScalarOf<V>) > sizeof(float)) {
    if (operand.dtype == STATESPACE_FLOAT32) return f(operand.item<float>(item));
    f(operand.item<double>(item));
  } else {
    f(operand.item<float>(item));
  }
}

// Loads one step of an operand that holds numbers of another type.
template <class From, class V>
STATESPACE_INLINE void load_as(const Operand& operand, const Group<V>& group, int64_t step,
                               V* dst) {
  From* src[kLanes<V>];
  locate(operand, group, step * operand.step_stride, src);
  for (int64_t i = 0; i < operand.core_size; ++i) {
    for (int lane = 0; lane < kLanes<V>; ++lane) set_lane(dst[i], lane, ScalarOf<V>(src[lane][i]));
  }
}

// Loads one step of an operand into lanes.
template <class V>
STATESPACE_BUILDING_BLOCK void load(const Operand& operand, const Group<V>& group, int64_t step,
                                    V* dst) {
  using T = ScalarOf<V>;
  if (is_narrower<V>(operand)) {
    if (operand.dtype == STATESPACE_FLOAT32) return load_as<float>(operand, group, step, dst);
    return load_as<double>(operand, group, step, dst);
  }
  if constexpr (!std::is_class_v<V>) {
    const T* src[kLanes<V>];
    locate(operand, group, step * operand.step_stride, src);
    bool same = operand.offsets != nullptr || operand.item_stride == 0;
    for (int lane = 1; same && lane < kLanes<V>; ++lane) same = src[lane] == src[0];
    if (same) {
      for (int64_t i = 0; i < operand.core_size; ++i) dst[i] = splat<V>(src[0][i]);
    } else {
      gather(src, operand.core_size, dst);
    }
  }
}

// Stores lanes into one step of an operand of another number type.
template <class To, class V>
STATESPACE_INLINE void store_as(const Operand& operand, const Group<V>& group, int64_t shift,
                                const V* src) {
  To* dst[kLanes<V>];
  locate(operand, group, shift, dst);
  for (int64_t i = 0; i < operand.core_size; ++i) {
    for (int lane = 0; lane < group.count; ++lane) {
      dst[lane][i] = static_cast<To>(get_lane(src[i], lane));
    }
  }
}

// Stores lanes into one step of an operand; an int32 operand takes the whole numbers.
template <class V>
STATESPACE_BUILDING_BLOCK void store(const Operand& operand, const Group<V>& group, int64_t step,
                                     const V* src) {
  using T = ScalarOf<V>;
  const int64_t shift = step * operand.step_stride;
  if (operand.dtype == STATESPACE_INT32) return store_as<int32_t>(operand, group, shift, src);
  if (is_narrower<V>(operand)) {
    if (operand.dtype == STATESPACE_FLOAT32) return store_as<float>(operand, group, shift, src);
    return store_as<double>(operand, group, shift, src);
  }
  T* dst[kLanes<V>];
  locate(operand, group, shift, dst);
  scatter(src, operand.core_size, group.count, dst);
}

}  // namespace STATESPACE_ISA
}  // namespace statespace

#endif  // STATESPACE_NATIVE_OPS_LANES_H_
