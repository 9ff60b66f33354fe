#include "cuda/api.h"

#include <vector>

#include "cuda/launch.h"
#include "cuda/library.h"
#include "ops/op_table.h"

namespace {

using statespace::kDeclarations;
using statespace::kNumDeclarations;
using statespace::report;
using statespace::cuda::Device;

int32_t work_bytes(int32_t op, const StatespaceTensor* inputs, const StatespaceTensor* outputs,
                   const uint8_t* attrs, int64_t* bytes, char* message, size_t message_size) {
  Device counting;
  const std::string error = statespace::cuda::run_op(op, inputs, outputs, attrs, counting);
  *bytes = counting.bytes();
  return report(error, message, message_size);
}

int32_t run(int32_t op, const StatespaceTensor* inputs, const StatespaceTensor* outputs,
            const uint8_t* attrs, void* work, void* stream, char* message, size_t message_size) {
  Device device(static_cast<char*>(work), stream);
  return report(statespace::cuda::run_op(op, inputs, outputs, attrs, device), message,
                message_size);
}

}  // namespace

extern "C" const StatespaceCudaApi* statespace_cuda_api(void) {
  static const std::vector<const char*>* const names = [] {
    auto* const list = new std::vector<const char*>;
    for (int i = 0; i < kNumDeclarations; ++i) list->push_back(kDeclarations[i].name);
    return list;
  }();
  static const StatespaceCudaApi api = {STATESPACE_API_VERSION, kNumDeclarations, names->data(),
                                        work_bytes, run};
  return &api;
}
