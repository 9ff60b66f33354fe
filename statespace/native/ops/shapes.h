// Shapes of ops from their declarations: inference, validation, and where each batch item lies.
#ifndef STATESPACE_NATIVE_OPS_SHAPES_H_
#define STATESPACE_NATIVE_OPS_SHAPES_H_

#include <string>
#include <vector>

#include "ops/api.h"
#include "ops/call.h"
#include "ops/declarations.h"

namespace statespace {

struct Axis {
  char letter;
  bool optional;
  int offset;  // 0 or -1
};

struct OperandSpec {
  std::string name;
  std::vector<Axis> core;
  int dtype = 0;  // 0: T
  int like = -1;  // outputs: index of the input whose shape it takes
  int num_core() const { return static_cast<int>(core.size()); }
};

// A parsed declaration.
struct OpSpec {
  std::string name;
  std::vector<OperandSpec> inputs;
  std::vector<OperandSpec> outputs;
  std::vector<std::string> attrs;
  char least = 0, of[2] = {0, 0};  // constraint least = min(of[0], of[1]), if any
};

OpSpec parse(const OpDeclaration& declaration);

// Fills dtype, rank and dims of the outputs; sizes and ranks may be unknown (-1). Returns an empty
// string, or what is wrong, naming the op, the argument and the shapes.
std::string infer_shapes(const OpSpec& spec, const StatespaceTensor* inputs,
                         StatespaceTensor* outputs);

// Checks that outputs, which the caller has allocated and kernels rely on, are as inferred. Returns
// as infer_shapes does.
std::string check_outputs(const OpSpec& spec, const StatespaceTensor* inputs,
                          const StatespaceTensor* outputs);
bool all_empty(const OpSpec& spec, const StatespaceTensor* outputs);

// Checks fully known inputs and outputs and describes them to a kernel, all but the offset tables
// of those inputs that `strides` describes. Returns as infer_shapes does.
std::string prepare_call(const OpSpec& spec, const StatespaceTensor* inputs,
                         const StatespaceTensor* outputs, const uint8_t* attrs, Call* call,
                         std::vector<BatchStrides>* strides);

// Gives an input, and the outputs of its shape, the table of offsets that its strides fill.
void set_offsets(const OpSpec& spec, int input, const int64_t* offsets, Call* call);

}  // namespace statespace

#endif  // STATESPACE_NATIVE_OPS_SHAPES_H_
