// Matrices to and from the lanes of a vector, one in each.
#ifndef STATESPACE_NATIVE_TESTS_PACK_H_
#define STATESPACE_NATIVE_TESTS_PACK_H_

#include "core/simd.h"
#include "tests/dense.h"

namespace statespace {
namespace STATESPACE_ISA {
namespace test {

template <class V>
std::vector<V> pack(const std::vector<std::vector<ScalarOf<V>>>& items) {
  std::vector<V> packed(items[0].size());
  for (size_t i = 0; i < packed.size(); ++i) {
    for (int lane = 0; lane < kLanes<V>; ++lane) set_lane(packed[i], lane, items[lane][i]);
  }
  return packed;
}

template <class V>
std::vector<V> pack(const std::vector<statespace::test::Matrix>& matrices) {
  std::vector<std::vector<ScalarOf<V>>> items;
  for (const auto& matrix : matrices) items.push_back(matrix.template as<ScalarOf<V>>());
  return pack<V>(items);
}

template <class V>
std::vector<ScalarOf<V>> unpack(const std::vector<V>& packed, int lane) {
  std::vector<ScalarOf<V>> item;
  for (const V& x : packed) item.push_back(get_lane(x, lane));
  return item;
}

}  // namespace test
}  // namespace STATESPACE_ISA
}  // namespace statespace

#endif  // STATESPACE_NATIVE_TESTS_PACK_H_
