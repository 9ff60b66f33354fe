// Calls of ops through the C interface. Output buffers are exactly as large as inferred, so that
// the sanitizer sees every overrun, and full of a pattern that shows every number left unwritten.
#ifndef STATESPACE_NATIVE_TESTS_OP_CALL_H_
#define STATESPACE_NATIVE_TESTS_OP_CALL_H_

#include <memory>
#include <utility>
#include <vector>

#include "ops/api.h"
#include "ops/shapes.h"
#include "tests/check.h"

namespace statespace {
namespace test {

inline const StatespaceApi& api() { return *statespace_api(); }

// A tensor with memory of its own.
struct Buffer {
  StatespaceTensor tensor = {};
  std::unique_ptr<char[]> bytes;

  Buffer(int32_t dtype, const std::vector<int64_t>& dims) {
    tensor.dtype = dtype;
    tensor.rank = static_cast<int32_t>(dims.size());
    std::copy(dims.begin(), dims.end(), tensor.dims);
    bytes.reset(new char[size() * width()]);
    std::memset(bytes.get(), 0xa5, size() * width());
    tensor.data = bytes.get();
  }
  std::vector<int64_t> dims() const { return {tensor.dims, tensor.dims + tensor.rank}; }
  int64_t size() const {
    int64_t size = 1;
    for (const int64_t axis : dims()) size *= axis;
    return size;
  }
  size_t width() const { return tensor.dtype == STATESPACE_FLOAT64 ? 8 : 4; }
  double get(int64_t i) const {
    const void* const at = bytes.get() + i * width();
    if (tensor.dtype == STATESPACE_INT32) return *static_cast<const int32_t*>(at);
    return width() == 8 ? *static_cast<const double*>(at) : *static_cast<const float*>(at);
  }
  void set(int64_t i, double value) {
    void* const at = bytes.get() + i * width();
    if (width() == 8) {
      *static_cast<double*>(at) = value;
    } else {
      *static_cast<float*>(at) = static_cast<float>(value);
    }
  }
  bool written(int64_t i) const {
    const uint64_t pattern = 0xa5a5a5a5a5a5a5a5;
    return std::memcmp(bytes.get() + i * width(), &pattern, width()) != 0;
  }
};

// Number of batch axes of an argument.
inline int batch_rank(const OperandSpec& spec, const Buffer& x) {
  const bool absent = x.tensor.rank < spec.num_core();
  return x.tensor.rank - spec.num_core() + (absent ? 1 : 0);
}

struct OpCall {
  int32_t op;
  OpSpec spec;
  std::vector<Buffer> inputs, outputs;
  std::vector<uint8_t> attrs;

  explicit OpCall(int32_t number) : op(number), spec(parse(kDeclarations[number])) {}
  explicit OpCall(const std::string& name) : OpCall(number_of(name)) {}

  static int32_t number_of(const std::string& name) {
    int32_t op = 0;
    while (kDeclarations[op].name != name) ++op;
    return op;
  }
  static std::vector<StatespaceTensor> tensors(const std::vector<Buffer>& buffers) {
    std::vector<StatespaceTensor> out;
    for (const Buffer& x : buffers) out.push_back(x.tensor);
    return out;
  }

  // Infers, allocates, runs, and checks that every output was written.
  void run() {
    char message[500] = "";
    const std::vector<StatespaceTensor> arguments = tensors(inputs);
    std::vector<StatespaceTensor> shapes(spec.outputs.size());
    int32_t status = api().infer(op, arguments.data(), shapes.data(), message, sizeof message);
    CHECK_EQUAL(std::string(message), "");
    CHECK_EQUAL(status, 0);
    outputs.clear();
    for (const StatespaceTensor& x : shapes) {
      outputs.emplace_back(x.dtype, std::vector<int64_t>(x.dims, x.dims + x.rank));
    }
    status = api().run(op, arguments.data(), tensors(outputs).data(), attrs.data(), message,
                       sizeof message);
    CHECK_EQUAL(std::string(message), "");
    CHECK_EQUAL(status, 0);
    for (const Buffer& x : outputs) {
      for (int64_t i = 0; i < x.size(); ++i) CHECK(x.written(i));
    }
  }

  // Whether item i has failed, by the status that the op gives, if it gives one.
  bool has_failed(int64_t item) const {
    for (size_t i = 0; i < outputs.size(); ++i) {
      if (spec.outputs[i].name == "info" && outputs[i].get(item) != 0) return true;
    }
    return false;
  }

  // All batch axes, broadcast.
  std::vector<int64_t> batch() const {
    std::vector<int64_t> out;
    for (size_t i = 0; i < inputs.size(); ++i) {
      const int rank = batch_rank(spec.inputs[i], inputs[i]);
      while (static_cast<int>(out.size()) < rank) out.insert(out.begin(), 1);
      for (int axis = 0; axis < rank; ++axis) {
        int64_t& size = out[out.size() - rank + axis];
        if (inputs[i].tensor.dims[axis] != 1) size = inputs[i].tensor.dims[axis];
      }
    }
    return out;
  }

  // Position of a batch item among those of input i.
  int64_t own_item(size_t i, int64_t item) const {
    const std::vector<int64_t> all = batch();
    const int rank = batch_rank(spec.inputs[i], inputs[i]);
    int64_t own = 0, stride = 1;
    for (int axis = rank - 1; axis >= 0; --axis) {
      const int64_t size = all[all.size() - rank + axis], own_size = inputs[i].tensor.dims[axis];
      own += own_size == 1 ? 0 : item % size * stride;
      item /= size;
      stride *= own_size;
    }
    return own;
  }

  // The same inputs, no outputs.
  OpCall copy() const {
    OpCall out(op);
    out.attrs = attrs;
    for (const Buffer& x : inputs) {
      out.inputs.emplace_back(x.tensor.dtype, x.dims());
      std::memcpy(out.inputs.back().bytes.get(), x.bytes.get(), x.size() * x.width());
    }
    return out;
  }

  // The same call for one batch item alone.
  OpCall alone(int64_t item) const {
    OpCall out(op);
    out.attrs = attrs;
    for (size_t i = 0; i < inputs.size(); ++i) {
      const std::vector<int64_t> dims = inputs[i].dims();
      const int rank = batch_rank(spec.inputs[i], inputs[i]);
      out.inputs.emplace_back(inputs[i].tensor.dtype,
                              std::vector<int64_t>(dims.begin() + rank, dims.end()));
      const int64_t size = out.inputs[i].size(), first = own_item(i, item) * size;
      for (int64_t j = 0; j < size; ++j) out.inputs[i].set(j, inputs[i].get(first + j));
    }
    return out;
  }
};

}  // namespace test
}  // namespace statespace

#endif  // STATESPACE_NATIVE_TESTS_OP_CALL_H_
