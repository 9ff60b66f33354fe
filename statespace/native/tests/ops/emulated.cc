// The kernels for GPUs, on the host: for every op, each batch item gives what the CPU's kernels
// give. That a batch is made of its items, and that no number is missing or out of place,
// tests/ops/run.cc finds out, which runs on these kernels as on all others.
#include "cuda/library.h"
#include "tests/random_call.h"

namespace {

using namespace statespace;
using namespace statespace::test;

void run_emulated(OpCall& call) {
  CHECK_EQUAL(cuda::run_op_emulated(call.op, OpCall::tensors(call.inputs).data(),
                                    OpCall::tensors(call.outputs).data(), call.attrs.data()),
              "");
}

// Whether the CPU has the items of this call in lanes, as a GPU has all. If not, sums are in
// another order.
bool in_lanes(const OpCall& call) {
  for (const Buffer& x : call.inputs) {
    for (const int64_t size : x.dims()) {
      if (size == kTooLargeForLanes) return false;
    }
  }
  return true;
}

// Whether rounding errors stay small: no numbers of extraordinary size.
bool is_tame(const OpCall& call) {
  for (const Buffer& x : call.inputs) {
    for (int64_t i = 0; i < x.size(); ++i) {
      if (std::abs(x.get(i)) > 1e6) return false;
    }
  }
  return true;
}

// Random models may be nearly singular; what is out of place is wrong altogether.
constexpr double kRough = 1e-3;

void check_near_outputs(const OpCall& cpu, const OpCall& gpu) {
  for (size_t i = 0; i < cpu.outputs.size(); ++i) {
    const Buffer &x = cpu.outputs[i], &y = gpu.outputs[i];
    double size = 1;
    for (int64_t j = 0; j < x.size(); ++j) {
      if (std::isfinite(x.get(j))) size = std::max(size, std::abs(x.get(j)));
    }
    for (int64_t j = 0; j < x.size(); ++j) {
      if (same_bits(x.get(j), y.get(j))) continue;  // infinity, for one
      CHECK_NEAR(y.get(j) / size, x.get(j) / size, kRough);
    }
  }
}

void check_item(OpCall cpu) {
  cpu.run();
  OpCall gpu = cpu.copy();
  for (const Buffer& x : cpu.outputs) gpu.outputs.emplace_back(x.tensor.dtype, x.dims());
  run_emulated(gpu);
  if (!in_lanes(cpu)) {
    if (is_tame(cpu) && !cpu.has_failed(0)) check_near_outputs(cpu, gpu);
    return;
  }
  for (size_t i = 0; i < cpu.outputs.size(); ++i) {
    // Of a series that failed the number of diffuse observations says nothing.
    if (cpu.spec.outputs[i].name == "diffuse_observations" && cpu.has_failed(0)) continue;
    for (int64_t j = 0; j < cpu.outputs[i].size(); ++j) {
      CHECK(same_bits(cpu.outputs[i].get(j), gpu.outputs[i].get(j)));
    }
  }
}

void check_random_calls(int repeats) {
  for (int32_t op = 0; op < api().num_ops; ++op) {
    for (int repeat = 0; repeat < repeats; ++repeat) {
      Random random(1000 * op + repeat);
      const OpCall call = random_call(random, op);
      int64_t count = 1;
      for (const int64_t size : call.batch()) count *= size;
      for (int64_t item = 0; item < count; ++item) {
        say_case(api().ops[op].name, "seed", repeat, "item", item);
        check_item(call.alone(item));
      }
    }
  }
}

}  // namespace

int main() { check_random_calls(60); }
