#include "ops/shapes.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <sstream>

namespace statespace {
namespace {

constexpr int64_t kUnknown = -1;

int letter_index(char letter) { return letter == 'T' ? 25 : letter - 'a'; }

std::vector<std::string> split(const std::string& text) {
  std::istringstream stream(text);
  std::vector<std::string> words;
  for (std::string word; stream >> word;) words.push_back(word);
  return words;
}

OperandSpec parse_operand(const std::string& text, const std::vector<OperandSpec>& inputs) {
  OperandSpec spec;
  const size_t equals = text.find('=');
  if (equals != std::string::npos) {
    spec.name = text.substr(0, equals);
    for (size_t i = 0; i < inputs.size(); ++i) {
      if (inputs[i].name == text.substr(equals + 1)) spec.like = static_cast<int>(i);
    }
    return spec;
  }
  const size_t open = text.find('['), close = text.find(']');
  spec.name = text.substr(0, open);
  for (size_t i = open + 1; i < close; ++i) {
    if (text[i] == ',') continue;
    if (text[i] == '?') {
      spec.core.back().optional = true;
    } else if (text[i] == '-') {
      spec.core.back().offset = -1;
      ++i;  // the 1
    } else {
      spec.core.push_back({text[i], false, 0});
    }
  }
  if (text.find(":int32") != std::string::npos) spec.dtype = STATESPACE_INT32;
  return spec;
}

std::string shape_text(const StatespaceTensor& tensor) {
  std::ostringstream out;
  out << '[';
  for (int i = 0; i < tensor.rank; ++i) {
    out << (i ? "," : "");
    tensor.dims[i] == kUnknown ? out << '?' : out << tensor.dims[i];
  }
  out << ']';
  return out.str();
}

std::string core_text(const OperandSpec& spec) {
  std::string text = "[...";
  for (const Axis& axis : spec.core) text += std::string(",") + axis.letter;
  return text + "]";
}

// What the letters stand for, and which input said so.
struct Sizes {
  int64_t value[26];
  int owner[26];
  Sizes() {
    std::fill(value, value + 26, kUnknown);
    std::fill(owner, owner + 26, -1);
  }
};

// How the axes of a tensor divide: batch axes, then core axes, the first of which may be absent.
struct Split {
  int num_batch;
  int first_core;  // index into OperandSpec::core of the first axis that is present
};

Split split_axes(const OperandSpec& spec, const StatespaceTensor& tensor) {
  const bool absent = !spec.core.empty() && spec.core[0].optional && tensor.rank < spec.num_core();
  const int present = spec.num_core() - (absent ? 1 : 0);
  return {tensor.rank - present, absent ? 1 : 0};
}

// Binds letters to sizes. Optional axes are checked in a second pass, when the letters are known.
std::string bind(const OpSpec& spec, const StatespaceTensor* inputs, bool optional, Sizes* sizes) {
  for (size_t i = 0; i < spec.inputs.size(); ++i) {
    const OperandSpec& operand = spec.inputs[i];
    if (inputs[i].rank == kUnknown) continue;
    const Split axes = split_axes(operand, inputs[i]);
    if (axes.num_batch < 0) {
      return spec.name + ": " + operand.name + " has shape " + shape_text(inputs[i]) +
             "; it must be " + core_text(operand) + ".";
    }
    for (int j = axes.first_core; j < operand.num_core(); ++j) {
      const Axis& axis = operand.core[j];
      if (axis.optional != optional) continue;
      const int64_t size = inputs[i].dims[axes.num_batch + j - axes.first_core];
      const int index = letter_index(axis.letter);
      if (size == kUnknown || (axis.optional && size == 1)) continue;
      if (sizes->value[index] == kUnknown) {
        sizes->value[index] = size;
        sizes->owner[index] = static_cast<int>(i);
      } else if (sizes->value[index] != size) {
        const int owner = sizes->owner[index];
        std::ostringstream out;
        out << spec.name << ": " << operand.name << " has shape " << shape_text(inputs[i])
            << "; it must be " << core_text(operand) << " with " << axis.letter << " = "
            << sizes->value[index] << (axis.optional ? " or 1" : "");
        if (owner != static_cast<int>(i)) {
          out << ", as " << spec.inputs[owner].name << ' ' << shape_text(inputs[owner]) << " says";
        }
        out << '.';
        return out.str();
      }
    }
  }
  return "";
}

// Broadcasts all batch axes; `batch` comes out right-aligned and complete.
std::string broadcast(const OpSpec& spec, const StatespaceTensor* inputs,
                      std::vector<int64_t>* batch) {
  for (size_t i = 0; i < spec.inputs.size(); ++i) {
    if (inputs[i].rank == kUnknown) continue;
    const int num_batch = split_axes(spec.inputs[i], inputs[i]).num_batch;
    if (static_cast<int>(batch->size()) < num_batch) {
      batch->insert(batch->begin(), num_batch - batch->size(), 1);
    }
    for (int axis = 0; axis < num_batch; ++axis) {
      int64_t& size = (*batch)[batch->size() - num_batch + axis];
      const int64_t own = inputs[i].dims[axis];
      if (own == 1 || own == size) continue;
      if (size == 1 || (size == kUnknown && own != kUnknown)) {
        size = own;
      } else if (own != kUnknown) {
        return spec.name + ": the batch axes of " + spec.inputs[i].name + ", whose shape is " +
               shape_text(inputs[i]) +
               ", do not broadcast against those of the arguments before it.";
      }
    }
  }
  return "";
}

// Binds the letter of a constraint k=min(m,n), or checks it where the inputs have bound it.
std::string bind_least(const OpSpec& spec, const StatespaceTensor* inputs, Sizes* sizes) {
  if (spec.least == 0) return "";
  const int64_t a = sizes->value[letter_index(spec.of[0])];
  const int64_t b = sizes->value[letter_index(spec.of[1])];
  int64_t& least = sizes->value[letter_index(spec.least)];
  if (least == kUnknown) {
    if (a != kUnknown && b != kUnknown) least = std::min(a, b);
  } else if ((a != kUnknown && a < least) || (b != kUnknown && b < least) ||
             (a != kUnknown && b != kUnknown && std::min(a, b) != least)) {
    const int owner = sizes->owner[letter_index(spec.least)];
    return spec.name + ": " + spec.inputs[owner].name + " has shape " + shape_text(inputs[owner]) +
           "; it must be " + core_text(spec.inputs[owner]) + " with " + spec.least + " = min(" +
           spec.of[0] + ", " + spec.of[1] + ").";
  }
  return "";
}

std::string check_inputs(const OpSpec& spec, const StatespaceTensor* inputs, Sizes* sizes,
                         std::vector<int64_t>* batch) {
  for (size_t i = 0; i < spec.inputs.size(); ++i) {
    const int32_t dtype = inputs[i].dtype;
    if (dtype != inputs[0].dtype || (dtype != STATESPACE_FLOAT32 && dtype != STATESPACE_FLOAT64)) {
      return spec.name + ": all arguments must be float32, or all float64; see " +
             spec.inputs[i].name + ".";
    }
  }
  std::string error = bind(spec, inputs, false, sizes);
  if (error.empty()) error = bind(spec, inputs, true, sizes);
  if (error.empty()) error = broadcast(spec, inputs, batch);
  return error.empty() ? bind_least(spec, inputs, sizes) : error;
}

// Where each batch item of an operand lies. Describes the strides, unless the items simply follow
// each other or there is only one.
void locate(const std::vector<int64_t>& batch, const StatespaceTensor& tensor, int num_batch,
            Operand* operand, BatchStrides* strides) {
  int64_t own = 1, all = 1;
  for (int axis = 0; axis < num_batch; ++axis) own *= tensor.dims[axis];
  for (int64_t size : batch) all *= size;
  operand->shared = own != all;
  operand->item_stride = own == 1 ? 0 : operand->item_size;
  if (!operand->shared || own == 1) return;
  strides->rank = static_cast<int>(batch.size());
  std::copy(batch.begin(), batch.end(), strides->sizes);
  int64_t stride = operand->item_size;
  for (int axis = num_batch - 1; axis >= 0; --axis) {
    if (tensor.dims[axis] != 1) strides->strides[batch.size() - num_batch + axis] = stride;
    stride *= tensor.dims[axis];
  }
}

// TensorFlow aborts where it meets a shape with more elements than it can count, and it would meet
// this one: in the pass that folds constants, for one.
bool fits_address_space(const StatespaceTensor& tensor) {
  size_t bytes = tensor.dtype == STATESPACE_FLOAT64 ? 8 : 4;
  for (int axis = 0; axis < tensor.rank; ++axis) {
    if (tensor.dims[axis] == kUnknown) return true;
    if (__builtin_mul_overflow(bytes, static_cast<size_t>(tensor.dims[axis]), &bytes)) return false;
  }
  return true;
}

Operand describe(const OperandSpec& spec, const StatespaceTensor& tensor, int num_batch,
                 int first_core) {
  Operand operand = {};
  operand.data = tensor.data;
  operand.dtype = tensor.dtype;
  operand.core_size = operand.item_size = operand.num_elements = 1;
  for (int axis = 0; axis < tensor.rank; ++axis) operand.num_elements *= tensor.dims[axis];
  for (int axis = num_batch; axis < tensor.rank; ++axis) {
    const bool time = spec.core[first_core + axis - num_batch].letter == 'T';
    operand.item_size *= tensor.dims[axis];
    if (!time) operand.core_size *= tensor.dims[axis];
  }
  operand.item_stride = operand.item_size;
  const bool has_time = first_core < spec.num_core() && spec.core[first_core].letter == 'T';
  if (has_time && tensor.dims[num_batch] != 1) operand.step_stride = operand.core_size;
  return operand;
}

}  // namespace

OpSpec parse(const OpDeclaration& declaration) {
  OpSpec spec;
  spec.name = declaration.name;
  for (const std::string& word : split(declaration.inputs)) {
    spec.inputs.push_back(parse_operand(word, {}));
  }
  for (const std::string& word : split(declaration.outputs)) {
    spec.outputs.push_back(parse_operand(word, spec.inputs));
  }
  spec.attrs = split(declaration.attrs);
  if (declaration.constraint[0] != 0) {
    spec.least = declaration.constraint[0];
    spec.of[0] = declaration.constraint[6];
    spec.of[1] = declaration.constraint[8];
  }
  return spec;
}

std::string infer_shapes(const OpSpec& spec, const StatespaceTensor* inputs,
                         StatespaceTensor* outputs) {
  Sizes sizes;
  std::vector<int64_t> batch;
  const std::string error = check_inputs(spec, inputs, &sizes, &batch);
  if (!error.empty()) return error;
  bool rank_known = true;
  for (size_t i = 0; i < spec.inputs.size(); ++i) rank_known &= inputs[i].rank != kUnknown;
  for (size_t i = 0; i < spec.outputs.size(); ++i) {
    const OperandSpec& operand = spec.outputs[i];
    StatespaceTensor& output = outputs[i];
    output.dtype = operand.dtype != 0 ? operand.dtype : inputs[0].dtype;
    if (operand.like >= 0) {
      output.rank = inputs[operand.like].rank;
      std::copy(inputs[operand.like].dims, inputs[operand.like].dims + STATESPACE_MAX_RANK,
                output.dims);
      continue;
    }
    if (!rank_known) {
      output.rank = kUnknown;
      continue;
    }
    output.rank = static_cast<int32_t>(batch.size()) + operand.num_core();
    if (output.rank > STATESPACE_MAX_RANK) {
      return spec.name + ": tensors of more than " + std::to_string(STATESPACE_MAX_RANK) +
             " axes are not supported.";
    }
    std::copy(batch.begin(), batch.end(), output.dims);
    for (int j = 0; j < operand.num_core(); ++j) {
      int64_t size = sizes.value[letter_index(operand.core[j].letter)];
      if (size != kUnknown) size = std::max<int64_t>(size + operand.core[j].offset, 0);
      output.dims[batch.size() + j] = size;
    }
    if (!fits_address_space(output)) {
      return spec.name + ": the output " + operand.name + ", of shape " + shape_text(output) +
             ", does not fit the address space; " + spec.inputs[0].name + " has shape " +
             shape_text(inputs[0]) + ".";
    }
  }
  return "";
}

std::string check_outputs(const OpSpec& spec, const StatespaceTensor* inputs,
                          const StatespaceTensor* outputs) {
  StatespaceTensor expected[STATESPACE_MAX_OPERANDS];
  const std::string error = infer_shapes(spec, inputs, expected);
  if (!error.empty()) return error;
  for (size_t i = 0; i < spec.outputs.size(); ++i) {
    bool same = outputs[i].rank == expected[i].rank && outputs[i].dtype == expected[i].dtype;
    for (int axis = 0; same && axis < expected[i].rank; ++axis) {
      same = outputs[i].dims[axis] == expected[i].dims[axis];
    }
    if (!same) return spec.name + ": output " + spec.outputs[i].name + " has the wrong shape.";
  }
  return "";
}

bool all_empty(const OpSpec& spec, const StatespaceTensor* outputs) {
  for (size_t i = 0; i < spec.outputs.size(); ++i) {
    const int64_t* const dims = outputs[i].dims;
    if (std::find(dims, dims + outputs[i].rank, 0) == dims + outputs[i].rank) return false;
  }
  return true;
}

std::string prepare_call(const OpSpec& spec, const StatespaceTensor* inputs,
                         const StatespaceTensor* outputs, const uint8_t* attrs, Call* call,
                         std::vector<BatchStrides>* strides) {
  Sizes sizes;
  std::vector<int64_t> batch;
  const std::string error = check_inputs(spec, inputs, &sizes, &batch);
  if (!error.empty()) return error;
  call->batch = 1;
  for (int64_t size : batch) call->batch *= size;
  std::copy(sizes.value, sizes.value + 26, call->sizes);
  if (call->size('T') == kUnknown) call->sizes[25] = 1;  // all time axes have length 1
  // Kernels index one matrix with int, products of two sizes of a model among them.
  constexpr int64_t kMostEntries = std::numeric_limits<int32_t>::max();
  for (const char letter : {'n', 'm'}) {
    const int64_t size = call->size(letter);
    if (sizes.value[25] != kUnknown && size > 0 && size > kMostEntries / size) {
      return spec.name + ": " + letter + " = " + std::to_string(size) + " is too large.";
    }
  }
  call->num_inputs = static_cast<int>(spec.inputs.size());
  call->num_outputs = static_cast<int>(spec.outputs.size());
  std::copy_n(attrs, spec.attrs.size(), call->attrs);
  strides->assign(spec.inputs.size(), {});
  const int num_batch = static_cast<int>(batch.size());
  for (int i = 0; i < call->num_inputs; ++i) {
    const Split axes = split_axes(spec.inputs[i], inputs[i]);
    Operand& operand = call->inputs[i];
    operand = describe(spec.inputs[i], inputs[i], axes.num_batch, axes.first_core);
    if (operand.core_size > kMostEntries) {
      return spec.name + ": " + spec.inputs[i].name + " has shape " + shape_text(inputs[i]) +
             "; one matrix may have at most 2^31 - 1 entries.";
    }
    locate(batch, inputs[i], axes.num_batch, &operand, &(*strides)[i]);
  }
  for (int i = 0; i < call->num_outputs; ++i) {
    Operand& operand = call->outputs[i];
    const int like = spec.outputs[i].like;
    if (like >= 0) {
      operand = call->inputs[like];
      operand.data = outputs[i].data;
    } else {
      operand = describe(spec.outputs[i], outputs[i], num_batch, 0);
    }
  }
  return "";
}

void set_offsets(const OpSpec& spec, int input, const int64_t* offsets, Call* call) {
  call->inputs[input].offsets = offsets;
  for (size_t i = 0; i < spec.outputs.size(); ++i) {
    if (spec.outputs[i].like == input) call->outputs[i].offsets = offsets;
  }
}

}  // namespace statespace
