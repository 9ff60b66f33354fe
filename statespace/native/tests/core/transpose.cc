// Numbers of several matrices into lanes and back, for every count and however few the matrices.
#include "core/transpose.h"

#include "tests/dense.h"

namespace {

using namespace statespace;
using namespace statespace::STATESPACE_ISA;
using namespace statespace::test;

template <class V>
void check() {
  using T = ScalarOf<V>;
  constexpr int kWidth = kLanes<V>, kMost = 2 * kWidth + 3;
  for (int count = 0; count <= kMost; ++count) {
    for (int items = 1; items <= kWidth; ++items) {
      say_case("lanes", kWidth, "count", count, "items", items);
      std::vector<std::vector<T>> from(kWidth), to(kWidth, std::vector<T>(count + 1, T(-1)));
      const T* src[kWidth];
      T* dst[kWidth];
      for (int lane = 0; lane < kWidth; ++lane) {
        for (int i = 0; i < count; ++i) from[lane].push_back(static_cast<T>(100 * lane + i));
        src[lane] = from[lane].data();
        dst[lane] = lane < items ? to[lane].data() : nullptr;  // nobody's
      }
      std::vector<V> lanes(count + 1);
      gather(src, count, lanes.data());
      for (int i = 0; i < count; ++i) {
        for (int lane = 0; lane < kWidth; ++lane) {
          CHECK_EQUAL(get_lane(lanes[i], lane), from[lane][i]);
        }
      }
      scatter(lanes.data(), count, items, dst);
      for (int lane = 0; lane < items; ++lane) {
        for (int i = 0; i < count; ++i) CHECK_EQUAL(to[lane][i], from[lane][i]);
        CHECK_EQUAL(to[lane][count], T(-1));
      }
    }
  }
}

}  // namespace

int main() {
  if (processor_lacks_instructions()) return kSkipped;
  check<Vector<double>>();
  check<Vector<float>>();
  check<double>();
  check<float>();
}
