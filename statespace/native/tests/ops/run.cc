// Random calls of every op: each number written, none beyond, and a batch equal to its items, on
// however many threads.
#include "tests/random_call.h"

namespace {

using namespace statespace;
using namespace statespace::test;

void check_status(const OpCall& call) {
  for (const Buffer& x : call.outputs) {
    if (x.tensor.dtype != STATESPACE_INT32) continue;
    // At most n + 1, for a matrix with a NaN.
    for (int64_t i = 0; i < x.size(); ++i)
      CHECK(x.get(i) >= 0 && x.get(i) <= kTooLargeForLanes + 1);
  }
}

void check_same_outputs(const OpCall& a, const OpCall& b) {
  for (size_t i = 0; i < a.outputs.size(); ++i) {
    CHECK_EQUAL(a.outputs[i].size(), b.outputs[i].size());
    for (int64_t j = 0; j < a.outputs[i].size(); ++j) {
      CHECK(same_bits(a.outputs[i].get(j), b.outputs[i].get(j)));
    }
  }
}

// Each item alone gives the same bits; the gradient of what several items share is the sum of
// theirs.
void check_items(const OpCall& call) {
  int64_t count = 1;
  for (const int64_t size : call.batch()) count *= size;
  std::vector<std::vector<long double>> sums, sizes;
  for (const Buffer& x : call.outputs) sums.emplace_back(x.size()), sizes.emplace_back(x.size());
  for (int64_t item = 0; item < count; ++item) {
    OpCall alone = call.alone(item);
    alone.run();
    for (size_t i = 0; i < call.outputs.size(); ++i) {
      const int like = call.spec.outputs[i].like;
      const int64_t size = alone.outputs[i].size();
      const int64_t first = (like < 0 ? item : call.own_item(like, item)) * size;
      const bool shared = call.outputs[i].size() != count * size;
      for (int64_t j = 0; j < size; ++j) {
        const double value = alone.outputs[i].get(j);
        // Of a series that failed the number of diffuse observations says nothing.
        const bool says_nothing =
            call.spec.outputs[i].name == "diffuse_observations" && call.has_failed(item);
        if (!shared && !says_nothing) CHECK(same_bits(value, call.outputs[i].get(first + j)));
        sums[i][first + j] += value;
        sizes[i][first + j] += std::abs(value);
      }
    }
  }
  for (size_t i = 0; i < sums.size(); ++i) {
    const bool coarse = call.outputs[i].tensor.dtype == STATESPACE_FLOAT32;
    for (size_t j = 0; j < sums[i].size(); ++j) {
      const long double size = sizes[i][j], actual = call.outputs[i].get(j);
      // Sums that overflow may end as infinity or NaN, depending on their order.
      if (!(size < (coarse ? std::numeric_limits<float>::max() : 1e300L))) continue;
      CHECK(std::abs(actual - sums[i][j]) <= (coarse ? 1e-5L : 1e-13L) * size);
    }
  }
}

void check_random_calls(int repeats) {
  for (int32_t op = 0; op < api().num_ops; ++op) {
    for (int repeat = 0; repeat < repeats; ++repeat) {
      say_case(api().ops[op].name, "seed", repeat);
      Random random(1000 * op + repeat);
      OpCall call = random_call(random, op);
      api().set_num_threads(1);
      call.run();
      check_status(call);
      OpCall shared = call.copy();
      api().set_num_threads(4);
      shared.run();
      check_same_outputs(call, shared);
      check_items(call);
    }
  }
}

void check_table() {
  CHECK_EQUAL(api().version, STATESPACE_API_VERSION);
  CHECK_EQUAL(api().num_ops, kNumDeclarations);
  for (int32_t op = 0; op < api().num_ops; ++op) {
    const StatespaceOp& entry = api().ops[op];
    const OpSpec spec = parse(kDeclarations[op]);
    say_case(entry.name);
    CHECK_EQUAL(entry.name, spec.name);
    CHECK_EQUAL(static_cast<size_t>(entry.num_inputs), spec.inputs.size());
    CHECK_EQUAL(static_cast<size_t>(entry.num_outputs), spec.outputs.size());
    CHECK_EQUAL(static_cast<size_t>(entry.num_attrs), spec.attrs.size());
    CHECK(entry.num_attrs <= kMostAttributes);
    for (int i = 0; i < entry.num_inputs; ++i)
      CHECK_EQUAL(entry.input_names[i], spec.inputs[i].name);
    for (int i = 0; i < entry.num_attrs; ++i) CHECK_EQUAL(entry.attr_names[i], spec.attrs[i]);
    for (int i = 0; i < entry.num_outputs; ++i) {
      CHECK_EQUAL(entry.output_names[i], spec.outputs[i].name);
      CHECK_EQUAL(entry.output_dtypes[i], spec.outputs[i].dtype);
    }
  }
  say_case();
  const char* const wanted = std::getenv("STATESPACE_SIMD");
  if (wanted != nullptr && std::string(wanted) == "baseline") {
    CHECK_EQUAL(std::string(api().simd_level()), "baseline");
  }
}

// What `run` says of a triangular system with these shapes.
std::string complaint(const std::vector<int64_t>& l, const std::vector<int64_t>& b,
                      const std::vector<int64_t>& x, size_t message_size = 500) {
  OpCall call("StatespaceTriangularSolve");
  call.inputs.emplace_back(STATESPACE_FLOAT64, l);
  call.inputs.emplace_back(STATESPACE_FLOAT64, b);
  call.outputs.emplace_back(STATESPACE_FLOAT64, x);
  const uint8_t attrs[] = {1, 0};
  std::string message(message_size, 0);
  CHECK_EQUAL(api().run(call.op, OpCall::tensors(call.inputs).data(),
                        OpCall::tensors(call.outputs).data(), attrs, &message[0], message_size),
              1);
  return message.c_str();
}

void check_complaints() {
  say_case("complaints");
  const std::string op = "StatespaceTriangularSolve: ";
  const std::string whole =
      op + "b has shape [4,2]; it must be [...,n,k] with n = 3, as l [3,3] says.";
  CHECK_EQUAL(complaint({3, 3}, {4, 2}, {4, 2}), whole);
  CHECK_EQUAL(complaint({3, 3}, {4, 2}, {4, 2}, 10), whole.substr(0, 9));  // cut to size
  CHECK_EQUAL(complaint({3, 3}, {4, 2}, {4, 2}, 0), "");
  CHECK_EQUAL(complaint({3, 3}, {3, 2}, {3, 1}), op + "output x has the wrong shape.");
  CHECK_EQUAL(complaint({3, 3}, {3, 2}, {1, 3, 2}), op + "output x has the wrong shape.");
  // Of empty matrices there may be any number: nothing is to be computed, or to be remembered of
  // them.
  const int64_t huge = int64_t{1} << 50;
  OpCall empty("StatespaceTriangularSolve");
  empty.inputs.emplace_back(STATESPACE_FLOAT64, std::vector<int64_t>{2, huge, 0, 0});
  empty.inputs.emplace_back(STATESPACE_FLOAT64, std::vector<int64_t>{2, 1, 0, 2});
  empty.outputs.emplace_back(STATESPACE_FLOAT64, std::vector<int64_t>{2, huge, 0, 2});
  char nothing[100] = "";
  const uint8_t lower[] = {1, 0};
  CHECK_EQUAL(api().run(empty.op, OpCall::tensors(empty.inputs).data(),
                        OpCall::tensors(empty.outputs).data(), lower, nothing, sizeof nothing),
              0);
  for (const int32_t unknown : {-1, api().num_ops}) {
    char message[100] = "";
    CHECK_EQUAL(api().infer(unknown, nullptr, nullptr, message, sizeof message), 1);
    CHECK_EQUAL(std::string(message), "statespace: no such op.");
    CHECK_EQUAL(api().run(unknown, nullptr, nullptr, nullptr, message, sizeof message), 1);
  }
}

}  // namespace

int main() {
  check_table();
  check_complaints();
  // One thread after the other takes long.
  check_random_calls(std::string(api().simd_level()) == "cuda-emulated" ? 25 : 150);
}
