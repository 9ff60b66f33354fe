// Random calls of every op: sizes small and large, some of them zero, batches that broadcast,
// numbers of all kinds.
#ifndef STATESPACE_NATIVE_TESTS_RANDOM_CALL_H_
#define STATESPACE_NATIVE_TESTS_RANDOM_CALL_H_

#include "tests/op_call.h"

namespace statespace {
namespace test {

constexpr int kTooLargeForLanes = 70;

inline int any_of(Random& random, const std::vector<int>& choices) {
  return choices[integer(random, 0, static_cast<int>(choices.size()) - 1)];
}

// The batch axes of one argument: some of length 1, leading ones perhaps absent.
inline std::vector<int64_t> random_part(Random& random, const std::vector<int64_t>& batch) {
  const int first =
      any_of(random, {0, 0, static_cast<int>(batch.size()) / 2, static_cast<int>(batch.size())});
  std::vector<int64_t> part(batch.begin() + first, batch.end());
  for (int64_t& size : part) size = any_of(random, {0, 0, 1}) ? 1 : size;
  return part;
}

// Mostly normal numbers; `wild` ones are of all kinds.
inline double random_number(Random& random, bool missing, bool wild) {
  double value = normal(random);
  if (missing && integer(random, 0, 9) == 0) return NAN;
  switch (wild ? integer(random, 0, 200) : 9) {
    case 0:
      return NAN;
    case 1:
      return HUGE_VAL;
    case 2:
      return -HUGE_VAL;
    case 3:
      return value * 1e37;
    case 4:
      return value * 1e-40;
    case 5:
      return -0.0;
    default:
      return value;
  }
}

inline OpCall random_call(Random& random, int32_t op) {
  OpCall call(op);
  int64_t sizes[128];
  for (int64_t& size : sizes) size = any_of(random, {0, 1, 1, 2, 2, 3, 3, 4, 5, 6});
  if (integer(random, 0, 20) == 0) sizes[int{'n'}] = kTooLargeForLanes;
  sizes[int{'T'}] = any_of(random, {0, 1, 2, 3, 30});
  if (call.spec.least != 0) {
    sizes[int{call.spec.least}] =
        std::min(sizes[int{call.spec.of[0]}], sizes[int{call.spec.of[1]}]);
  }
  std::vector<int64_t> batch(any_of(random, {0, 1, 1, 2}));
  for (int64_t& size : batch) size = any_of(random, {0, 1, 2, 3, 5, 9, 17});
  const bool wild = integer(random, 0, 2) == 0;
  const int32_t dtype = any_of(random, {STATESPACE_FLOAT32, STATESPACE_FLOAT64});
  for (const OperandSpec& spec : call.spec.inputs) {
    std::vector<int64_t> dims = random_part(random, batch);
    for (const Axis& axis : spec.core) {
      if (axis.optional && dims.empty() && integer(random, 0, 2) == 0) continue;
      const bool one = axis.optional && integer(random, 0, 1) == 0;
      dims.push_back(one ? 1 : sizes[int{axis.letter}]);
    }
    call.inputs.emplace_back(dtype, dims);
    Buffer& x = call.inputs.back();
    for (int64_t i = 0; i < x.size(); ++i) x.set(i, random_number(random, spec.name == "y", wild));
    // Square matrices of the factorisations get a strong diagonal, mostly.
    if (spec.num_core() != 2 || spec.core[0].letter != spec.core[1].letter) continue;
    const int64_t n = dims.back();
    for (int64_t i = 0; i < x.size(); ++i) {
      if (i % n == i / n % n && integer(random, 0, 20) > 0) x.set(i, 3.0 * n);
    }
  }
  for (size_t i = 0; i < call.spec.attrs.size(); ++i) call.attrs.push_back(integer(random, 0, 1));
  return call;
}

}  // namespace test
}  // namespace statespace

#endif  // STATESPACE_NATIVE_TESTS_RANDOM_CALL_H_
