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

  int64_t item(int lane) const { return first + (lane < count ? lane : count - 1); }
};

// Calls body(group) for items begin ... end - 1, in groups of Vector<T> if `in_lanes`, else of T. A
// single item left over takes a vector only if `even_single`.
template <class T, class Body>
inline void for_each_group(int64_t begin, int64_t end, bool in_lanes, bool even_single,
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

// dst[count] = the numbers at src, of each lane's item.
template <class V>
inline void gather(const ScalarOf<V>* const* src, int64_t count, V* dst) {
  constexpr int kWidth = kLanes<V>;
  int64_t i = 0;
  if constexpr (kWidth > 1) {
    for (; i + kWidth <= count; i += kWidth) {
      V block[kWidth];
      for (int lane = 0; lane < kWidth; ++lane) std::memcpy(&block[lane], src[lane] + i, sizeof(V));
      transpose_lanes(block);
      for (int lane = 0; lane < kWidth; ++lane) dst[i + lane] = block[lane];
    }
  }
  for (; i < count; ++i) {
    V v = V();
    for (int lane = 0; lane < kWidth; ++lane) set_lane(v, lane, src[lane][i]);
    dst[i] = v;
  }
}

// The reverse, for the first `num_items` lanes.
template <class V>
inline void scatter(const V* src, int64_t count, int num_items, ScalarOf<V>* const* dst) {
  constexpr int kWidth = kLanes<V>;
  int64_t i = 0;
  if constexpr (kWidth > 1) {
    for (; i + kWidth <= count; i += kWidth) {
      V block[kWidth];
      for (int lane = 0; lane < kWidth; ++lane) block[lane] = src[i + lane];
      transpose_lanes(block);
      for (int lane = 0; lane < num_items; ++lane) {
        std::memcpy(dst[lane] + i, &block[lane], sizeof(V));
      }
    }
  }
  for (; i < count; ++i) {
    for (int lane = 0; lane < num_items; ++lane) dst[lane][i] = get_lane(src[i], lane);
  }
}

// Loads one step of an operand into lanes.
template <class V>
inline void load(const Operand& operand, const Group<V>& group, int64_t step, V* dst) {
  using T = ScalarOf<V>;
  const int64_t shift = step * operand.step_stride;
  const T* src[kLanes<V>];
  bool same = true;
  for (int lane = 0; lane < kLanes<V>; ++lane) {
    src[lane] = operand.item<const T>(group.item(lane)) + shift;
    same = same && src[lane] == src[0];
  }
  if (same) {
    for (int64_t i = 0; i < operand.core_size; ++i) dst[i] = splat<V>(src[0][i]);
  } else {
    gather(src, operand.core_size, dst);
  }
}

// Stores lanes into one step of an operand; an int32 operand takes the whole numbers.
template <class V>
inline void store(const Operand& operand, const Group<V>& group, int64_t step, const V* src) {
  using T = ScalarOf<V>;
  const int64_t shift = step * operand.step_stride;
  if (operand.dtype == STATESPACE_INT32) {
    for (int lane = 0; lane < group.count; ++lane) {
      int32_t* const dst = operand.item<int32_t>(group.first + lane) + shift;
      for (int64_t i = 0; i < operand.core_size; ++i) {
        dst[i] = static_cast<int32_t>(get_lane(src[i], lane));
      }
    }
    return;
  }
  T* dst[kLanes<V>];
  for (int lane = 0; lane < group.count; ++lane) {
    dst[lane] = operand.item<T>(group.first + lane) + shift;
  }
  scatter(src, operand.core_size, group.count, dst);
}

}  // namespace STATESPACE_ISA
}  // namespace statespace

#endif  // STATESPACE_NATIVE_OPS_LANES_H_
