#include "ops/library.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <new>

#include "ops/kernels.h"
#include "ops/lapack.h"
#include "ops/thread_pool.h"
#if defined(STATESPACE_EMULATE_CUDA)
#include "cuda/library.h"
#endif

namespace statespace {
namespace {

struct KernelSet {
  const char* isa;
  std::vector<const KernelEntry*> tables;
};

#define STATESPACE_BASELINE_TABLE(family) baseline::k##family##Kernels,
#define STATESPACE_AVX2_TABLE(family) avx2::k##family##Kernels,
#define STATESPACE_AVX512_TABLE(family) avx512::k##family##Kernels,

// The best set that this processor has, and no better one than the environment asks for.
KernelSet choose_kernel_set() {
#if defined(__x86_64__)
  const char* const wanted = std::getenv("STATESPACE_SIMD");
  const auto allowed = [wanted](std::initializer_list<const char*> names) {
    if (wanted == nullptr) return true;
    const auto same = [wanted](const char* name) { return std::strcmp(wanted, name) == 0; };
    return std::none_of(names.begin(), names.end(), same);
  };
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512vl");
  if (avx512 && allowed({"baseline", "avx2"})) {
    return {"avx512", {STATESPACE_FAMILIES(STATESPACE_AVX512_TABLE)}};
  }
  if (avx2 && allowed({"baseline"})) {
    return {"avx2", {STATESPACE_FAMILIES(STATESPACE_AVX2_TABLE)}};
  }
#endif
  return {"baseline", {STATESPACE_FAMILIES(STATESPACE_BASELINE_TABLE)}};
}

const KernelSet& kernel_set() {
  static const KernelSet* const set = new KernelSet(choose_kernel_set());
  return *set;
}

// The C interface: the same ops as arrays of C strings.
struct ApiStorage {
  std::vector<StatespaceOp> ops;
  std::vector<std::vector<const char*>> names;
  std::vector<std::vector<int32_t>> numbers;
  StatespaceApi api;
};

bool known(int32_t op) { return op >= 0 && op < static_cast<int32_t>(all_ops().size()); }

int32_t api_infer(int32_t op, const StatespaceTensor* inputs, StatespaceTensor* outputs,
                  char* message, size_t message_size) {
  if (!known(op)) return report("statespace: no such op.", message, message_size);
  return report(infer_shapes(all_ops()[op].spec, inputs, outputs), message, message_size);
}

int32_t api_run(int32_t op, const StatespaceTensor* inputs, const StatespaceTensor* outputs,
                const uint8_t* attrs, char* message, size_t message_size) {
  if (!known(op)) return report("statespace: no such op.", message, message_size);
  return report(run_op(all_ops()[op], inputs, outputs, attrs), message, message_size);
}

int32_t api_set_lapack(const char* routine, void* function) {
  return set_lapack(routine, function) ? 0 : 1;
}

ApiStorage build_api() {
  ApiStorage storage;
  const auto add_names = [&storage](const std::vector<const char*>& names) {
    storage.names.push_back(names);
    return storage.names.back().data();
  };
  const auto add_numbers = [&storage](const std::vector<int32_t>& numbers) {
    storage.numbers.push_back(numbers);
    return storage.numbers.back().data();
  };
  for (const Op& op : all_ops()) {
    std::vector<const char*> inputs, outputs, attrs;
    std::vector<int32_t> dtypes, ranks, likes;
    for (const OperandSpec& input : op.spec.inputs) {
      inputs.push_back(input.name.c_str());
      ranks.push_back(input.num_core());
    }
    for (const OperandSpec& output : op.spec.outputs) {
      outputs.push_back(output.name.c_str());
      dtypes.push_back(output.dtype);
      likes.push_back(output.like);
    }
    for (const std::string& attr : op.spec.attrs) attrs.push_back(attr.c_str());
    StatespaceOp entry = {};
    entry.name = op.spec.name.c_str();
    entry.num_inputs = static_cast<int32_t>(inputs.size());
    entry.num_outputs = static_cast<int32_t>(outputs.size());
    entry.num_attrs = static_cast<int32_t>(attrs.size());
    entry.input_names = add_names(inputs);
    entry.output_names = add_names(outputs);
    entry.attr_names = add_names(attrs);
    entry.output_dtypes = add_numbers(dtypes);
    entry.input_ranks = add_numbers(ranks);
    entry.output_likes = add_numbers(likes);
    storage.ops.push_back(entry);
  }
  storage.api = {STATESPACE_API_VERSION,
                 static_cast<int32_t>(storage.ops.size()),
                 storage.ops.data(),
                 api_infer,
                 api_run,
                 simd_level,
                 num_threads,
                 set_num_threads,
                 api_set_lapack};
  return storage;
}

}  // namespace

const std::vector<Op>& all_ops() {
  static const std::vector<Op>* const ops = new std::vector<Op>(build_ops(kernel_set().tables));
  return *ops;
}

#if defined(STATESPACE_EMULATE_CUDA)
// A test build: whether to run the kernels for GPUs, on the host.
bool emulates_cuda() {
  const char* const wanted = std::getenv("STATESPACE_SIMD");
  return wanted != nullptr && std::strcmp(wanted, "cuda-emulated") == 0;
}

const char* simd_level() { return emulates_cuda() ? "cuda-emulated" : kernel_set().isa; }
#else
const char* simd_level() { return kernel_set().isa; }
#endif

std::string run_op(const Op& op, const StatespaceTensor* inputs, const StatespaceTensor* outputs,
                   const uint8_t* attrs) {
  Call call = {};
  std::vector<BatchStrides> strides;
  std::vector<std::vector<int64_t>> offsets;
  try {
#if defined(STATESPACE_EMULATE_CUDA)
    if (emulates_cuda()) {
      const auto number = static_cast<int32_t>(&op - all_ops().data());
      return cuda::run_op_emulated(number, inputs, outputs, attrs);
    }
#endif
    std::string error = check_outputs(op.spec, inputs, outputs);
    if (error.empty() && all_empty(op.spec, outputs)) return "";  // however large the batch
    if (error.empty()) error = prepare_call(op.spec, inputs, outputs, attrs, &call, &strides);
    if (!error.empty()) return error;
    for (int i = 0; i < call.num_inputs; ++i) {
      if (strides[i].rank == 0) continue;
      offsets.emplace_back(call.batch);
      fill_offsets(strides[i], 0, call.batch, offsets.back().data());
      set_offsets(op.spec, i, offsets.back().data(), &call);
    }
    (inputs[0].dtype == STATESPACE_FLOAT32 ? op.float32 : op.float64)(call);
  } catch (const std::bad_alloc&) {
    return op.spec.name + ": out of memory for the scratch space of shapes this large.";
  }
  return "";
}

}  // namespace statespace

extern "C" const StatespaceApi* statespace_api(void) {
  static const statespace::ApiStorage* const storage =
      new statespace::ApiStorage(statespace::build_api());
  return &storage->api;
}
