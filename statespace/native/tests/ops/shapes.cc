// Declarations parsed, shapes inferred from all that may be unknown, and every complaint in full.
#include "ops/shapes.h"

#include "tests/check.h"

namespace {

using namespace statespace;
using namespace statespace::test;

const OpDeclaration kTestOp = {"Op", "a[n,n] b[T?,n,k] c[T]", "x[n,k] y[T-1,n] z[]:int32 w=b",
                               "lower adjoint", ""};
const OpDeclaration kLeastOp = {"Op", "a[m,n]", "l[m,k] q[k,n]", "", "k=min(m,n)"};
const OpDeclaration kOuterOp = {"Outer", "a[m,n]", "x[m,m]", "", ""};
const OpDeclaration kLeastGradOp = {"Op", "a[m,n] l[m,k]", "x[k]", "", "k=min(m,n)"};

constexpr int64_t kAny = -1;  // unknown size
const std::vector<int64_t> kAnyRank = {-2};

StatespaceTensor tensor(const std::vector<int64_t>& dims, int32_t dtype = STATESPACE_FLOAT64) {
  StatespaceTensor out = {};
  out.dtype = dtype;
  out.rank = dims == kAnyRank ? -1 : static_cast<int32_t>(dims.size());
  if (dims != kAnyRank) std::copy(dims.begin(), dims.end(), out.dims);
  return out;
}

std::string text(const StatespaceTensor& x) {
  if (x.rank < 0) return "?";
  std::string out;
  for (int i = 0; i < x.rank; ++i) out += (i ? " " : "") + std::to_string(x.dims[i]);
  return "[" + out + "]";
}

using Shapes = std::vector<std::vector<int64_t>>;

// The inferred shapes of all outputs, or the complaint.
std::string infer(const OpDeclaration& declaration, const Shapes& shapes) {
  const OpSpec spec = parse(declaration);
  std::vector<StatespaceTensor> inputs, outputs(spec.outputs.size());
  for (const auto& dims : shapes) inputs.push_back(tensor(dims));
  CHECK_EQUAL(inputs.size(), spec.inputs.size());
  const std::string error = infer_shapes(spec, inputs.data(), outputs.data());
  if (!error.empty()) return error;
  std::string out;
  for (const StatespaceTensor& x : outputs) out += (out.empty() ? "" : " ") + text(x);
  return out;
}

#define CHECK_INFER(declaration, shapes, expected) CHECK_EQUAL(infer(declaration, shapes), expected)

void check_parsing() {
  const OpSpec spec = parse(kTestOp);
  CHECK_EQUAL(spec.name, "Op");
  CHECK_EQUAL(spec.inputs.size(), 3u);
  CHECK_EQUAL(spec.inputs[1].name, "b");
  CHECK_EQUAL(spec.inputs[1].num_core(), 3);
  CHECK_EQUAL(spec.inputs[1].core[0].letter, 'T');
  CHECK(spec.inputs[1].core[0].optional && !spec.inputs[1].core[1].optional);
  CHECK(!spec.inputs[2].core[0].optional);
  CHECK_EQUAL(spec.outputs.size(), 4u);
  CHECK_EQUAL(spec.outputs[1].core[0].offset, -1);
  CHECK_EQUAL(spec.outputs[1].core[1].offset, 0);
  CHECK_EQUAL(spec.outputs[1].core[1].letter, 'n');
  CHECK_EQUAL(spec.outputs[2].num_core(), 0);
  CHECK_EQUAL(spec.outputs[2].dtype, STATESPACE_INT32);
  CHECK_EQUAL(spec.outputs[0].dtype, 0);
  CHECK_EQUAL(spec.outputs[3].name, "w");
  CHECK_EQUAL(spec.outputs[3].like, 1);
  CHECK_EQUAL(spec.outputs[0].like, -1);
  CHECK(spec.attrs == std::vector<std::string>({"lower", "adjoint"}));
  CHECK_EQUAL(spec.least, 0);
  const OpSpec least = parse(kLeastOp);
  CHECK(least.least == 'k' && least.of[0] == 'm' && least.of[1] == 'n');
  for (int i = 0; i < kNumDeclarations; ++i) {  // outputs use no letter that no input has
    say_case(kDeclarations[i].name);
    const OpSpec op = parse(kDeclarations[i]);
    CHECK(op.inputs.size() <= STATESPACE_MAX_OPERANDS);
    CHECK(op.outputs.size() <= STATESPACE_MAX_OPERANDS);
    for (const OperandSpec& output : op.outputs) {
      for (const Axis& axis : output.core) {
        bool found = axis.letter == op.least;
        for (const OperandSpec& input : op.inputs) {
          for (const Axis& own : input.core) found |= own.letter == axis.letter;
        }
        CHECK(found);
      }
    }
  }
  say_case();
}

void check_inference() {
  CHECK_INFER(kTestOp, Shapes({{3, 3}, {5, 3, 2}, {5}}), "[3 2] [4 3] [] [5 3 2]");
  // The optional axis: absent, or of length 1.
  CHECK_INFER(kTestOp, Shapes({{3, 3}, {3, 2}, {5}}), "[3 2] [4 3] [] [3 2]");
  CHECK_INFER(kTestOp, Shapes({{3, 3}, {1, 3, 2}, {5}}), "[3 2] [4 3] [] [1 3 2]");
  // T - 1 with one step and none.
  CHECK_INFER(kTestOp, Shapes({{3, 3}, {3, 2}, {1}}), "[3 2] [0 3] [] [3 2]");
  CHECK_INFER(kTestOp, Shapes({{3, 3}, {3, 2}, {0}}), "[3 2] [0 3] [] [3 2]");
  CHECK_INFER(kTestOp, Shapes({{0, 0}, {4, 0, 0}, {4}}), "[0 0] [3 0] [] [4 0 0]");
  // Batch axes broadcast, aligned from the right.
  CHECK_INFER(kTestOp, Shapes({{7, 1, 3, 3}, {4, 5, 3, 2}, {5}}),
              "[7 4 3 2] [7 4 4 3] [7 4] [4 5 3 2]");
  CHECK_INFER(kTestOp, Shapes({{3, 3}, {1, 1, 3, 2}, {6, 0, 5}}),
              "[6 0 3 2] [6 0 4 3] [6 0] [1 1 3 2]");
  // Unknown sizes: another argument, or another axis of the same, may know.
  CHECK_INFER(kTestOp, Shapes({{kAny, kAny}, {kAny, kAny, 2}, {kAny}}),
              "[-1 2] [-1 -1] [] [-1 -1 2]");
  CHECK_INFER(kTestOp, Shapes({{kAny, 3}, {5, kAny, kAny}, {kAny}}), "[3 -1] [4 3] [] [5 -1 -1]");
  CHECK_INFER(kTestOp, Shapes({{kAny, 3, 3}, {4, 1, 3, 2}, {5}}), "[4 3 2] [4 4 3] [4] [4 1 3 2]");
  CHECK_INFER(kTestOp, Shapes({{kAny, 3, 3}, {1, 1, 3, 2}, {5}}),
              "[-1 3 2] [-1 4 3] [-1] [1 1 3 2]");
  CHECK_INFER(kTestOp, Shapes({{1, 3, 3}, {kAny, 1, 3, 2}, {5}}),
              "[-1 3 2] [-1 4 3] [-1] [-1 1 3 2]");
  CHECK_INFER(kTestOp, Shapes({{4, 3, 3}, {kAny, 1, 3, 2}, {kAny, 5}}),
              "[4 3 2] [4 4 3] [4] [-1 1 3 2]");
  // A size that is the least of two others.
  CHECK_INFER(kLeastOp, Shapes({{7, 3, 5}}), "[7 3 3] [7 3 5]");
  CHECK_INFER(kLeastOp, Shapes({{5, 0}}), "[5 0] [0 0]");
  CHECK_INFER(kLeastOp, Shapes({{kAny, 5}}), "[-1 -1] [-1 5]");
  CHECK_INFER(kLeastGradOp, Shapes({{kAny, 5}, {9, kAny}}), "[5]");
  CHECK_INFER(kLeastGradOp, Shapes({{kAny, 5}, {kAny, 4}}), "[4]");
  // Unknown ranks leave outputs unknown, but for those that take the shape of an input.
  CHECK_INFER(kTestOp, Shapes({kAnyRank, {5, 3, 2}, {5}}), "? ? ? [5 3 2]");
  CHECK_INFER(kTestOp, Shapes({{3, 3}, kAnyRank, {5}}), "? ? ? ?");
  CHECK_INFER(kTestOp, Shapes({kAnyRank, kAnyRank, kAnyRank}), "? ? ? ?");
}

void check_complaints() {
  // Too few axes, for operands with and without an optional one.
  CHECK_INFER(kTestOp, Shapes({{3}, {3, 2}, {5}}), "Op: a has shape [3]; it must be [...,n,n].");
  CHECK_INFER(kTestOp, Shapes({{3, 3}, {3}, {5}}), "Op: b has shape [3]; it must be [...,T,n,k].");
  CHECK_INFER(kTestOp, Shapes({{3, 3}, {3, 2}, {}}), "Op: c has shape []; it must be [...,T].");
  // Sizes that differ: within one argument, from another, in an optional axis.
  CHECK_INFER(kTestOp, Shapes({{9, 3, 4}, {3, 2}, {5}}),
              "Op: a has shape [9,3,4]; it must be [...,n,n] with n = 3.");
  CHECK_INFER(kTestOp, Shapes({{3, 3}, {kAny, 4, 2}, {5}}),
              "Op: b has shape [?,4,2]; it must be [...,T,n,k] with n = 3, as a [3,3] says.");
  CHECK_INFER(kTestOp, Shapes({{3, 3}, {4, 3, 2}, {5}}),
              "Op: b has shape [4,3,2]; it must be [...,T,n,k] with T = 5 or 1, as c [5] says.");
  CHECK_INFER(kTestOp, Shapes({{3, 3}, {5, 3, 2}, {1}}),
              "Op: b has shape [5,3,2]; it must be [...,T,n,k] with T = 1 or 1, as c [1] says.");
  CHECK_INFER(kTestOp, Shapes({kAnyRank, {0, 3, 2}, {5}}),
              "Op: b has shape [0,3,2]; it must be [...,T,n,k] with T = 5 or 1, as c [5] says.");
  // Batch axes.
  CHECK_INFER(kTestOp, Shapes({{4, 3, 3}, {6, 5, 3, 2}, {5}}),
              "Op: the batch axes of b, whose shape is [6,5,3,2], do not broadcast against those "
              "of the arguments before it.");
  CHECK_INFER(kTestOp, Shapes({{0, 3, 3}, {3, 2}, {2, 5}}),
              "Op: the batch axes of c, whose shape is [2,5], do not broadcast against those of "
              "the arguments before it.");
  // A size that is the least of two others.
  const std::string least = "; it must be [...,m,k] with k = min(m, n).";
  CHECK_INFER(kLeastGradOp, Shapes({{3, 5}, {3, 5}}), "Op: l has shape [3,5]" + least);
  CHECK_INFER(kLeastGradOp, Shapes({{3, 5}, {3, 2}}), "Op: l has shape [3,2]" + least);
  CHECK_INFER(kLeastGradOp, Shapes({{kAny, 5}, {kAny, 6}}), "Op: l has shape [?,6]" + least);
  // More axes than a tensor can have: broadcasting makes none, but an output may have longer cores.
  const OpDeclaration longer = {"Op", "a[n]", "x[n,n]", "", ""};
  CHECK_INFER(longer, Shapes({std::vector<int64_t>(STATESPACE_MAX_RANK - 1, 1)}),
              "[1 1 1 1 1 1 1 1 1 1 1 1]");
  CHECK_INFER(longer, Shapes({std::vector<int64_t>(STATESPACE_MAX_RANK, 1)}),
              "Op: tensors of more than 12 axes are not supported.");
  // More elements than TensorFlow counts, made of none.
  const int64_t kHuge = int64_t{1} << 31;
  CHECK_INFER(kOuterOp, Shapes({{17, kHuge, 0}}),
              "Outer: the output x, of shape [17,2147483648,2147483648], does not fit the address "
              "space; a has shape [17,2147483648,0].");
  CHECK_INFER(kOuterOp, Shapes({{0, kHuge, 0}}), "[0 2147483648 2147483648]");
  CHECK_INFER(kOuterOp, Shapes({{kAny, kHuge, 0}}), "[-1 2147483648 2147483648]");
}

void check_dtypes() {
  const OpSpec spec = parse(kTestOp);
  StatespaceTensor outputs[4];
  const auto error = [&](int32_t a, int32_t b, int32_t c) {
    const StatespaceTensor inputs[] = {tensor({3, 3}, a), tensor({3, 2}, b), tensor({5}, c)};
    return infer_shapes(spec, inputs, outputs);
  };
  const std::string mixed = "Op: all arguments must be float32, or all float64; see ";
  CHECK_EQUAL(error(STATESPACE_FLOAT32, STATESPACE_FLOAT32, STATESPACE_FLOAT32), "");
  CHECK_EQUAL(outputs[0].dtype, STATESPACE_FLOAT32);
  CHECK_EQUAL(outputs[2].dtype, STATESPACE_INT32);
  CHECK_EQUAL(outputs[3].dtype, STATESPACE_FLOAT32);
  CHECK_EQUAL(error(STATESPACE_FLOAT64, STATESPACE_FLOAT64, STATESPACE_FLOAT64), "");
  CHECK_EQUAL(outputs[0].dtype, STATESPACE_FLOAT64);
  CHECK_EQUAL(error(STATESPACE_FLOAT64, STATESPACE_FLOAT32, STATESPACE_FLOAT64), mixed + "b.");
  CHECK_EQUAL(error(STATESPACE_FLOAT64, STATESPACE_FLOAT64, STATESPACE_INT32), mixed + "c.");
  CHECK_EQUAL(error(STATESPACE_INT32, STATESPACE_INT32, STATESPACE_INT32), mixed + "a.");
}

// Where a kernel finds its numbers.
void check_calls() {
  const OpSpec spec = parse(kTestOp);
  double a[7 * 9], b[4 * 5 * 6], c[5], x[28 * 6], y[28 * 12], w[4 * 5 * 6];
  int32_t z[28];
  StatespaceTensor inputs[] = {tensor({7, 1, 3, 3}), tensor({4, 5, 3, 2}), tensor({5})};
  StatespaceTensor outputs[4];
  CHECK_EQUAL(infer_shapes(spec, inputs, outputs), "");
  inputs[0].data = a, inputs[1].data = b, inputs[2].data = c;
  outputs[0].data = x, outputs[1].data = y, outputs[2].data = z, outputs[3].data = w;
  const uint8_t attrs[] = {1, 0};
  Call call = {};
  std::vector<BatchStrides> strides;
  CHECK_EQUAL(prepare_call(spec, inputs, outputs, attrs, &call, &strides), "");
  CHECK_EQUAL(call.batch, 28);
  CHECK(call.size('T') == 5 && call.size('n') == 3 && call.size('k') == 2);
  CHECK(call.num_inputs == 3 && call.num_outputs == 4 && call.attrs[0] == 1);
  CHECK(strides[0].rank == 2 && strides[1].rank == 2 && strides[2].rank == 0);
  std::vector<int64_t> offsets[2];
  for (int i = 0; i < 2; ++i) {
    offsets[i].resize(28);
    // In parts, of which the second begins in the middle of a row.
    fill_offsets(strides[i], 0, 10, offsets[i].data());
    fill_offsets(strides[i], 10, 28, offsets[i].data());
    set_offsets(spec, i, offsets[i].data(), &call);
  }
  for (int64_t item = 0; item < 28; ++item) {
    say_case("item", item);
    CHECK(call.inputs[0].item<double>(item) == a + item / 4 * 9);
    CHECK(call.inputs[1].item<double>(item) == b + item % 4 * 30);
    CHECK(call.inputs[2].item<double>(item) == c);
    CHECK(call.outputs[0].item<double>(item) == x + item * 6);
    CHECK(call.outputs[1].item<double>(item) == y + item * 12);
    CHECK(call.outputs[2].item<int32_t>(item) == z + item);
    CHECK(call.outputs[3].item<double>(item) == w + item % 4 * 30);
  }
  say_case();
  CHECK(call.inputs[0].shared && call.inputs[2].shared && call.outputs[3].shared);
  CHECK(!call.outputs[0].shared && call.outputs[0].offsets == nullptr);
  CHECK(call.inputs[1].core_size == 6 && call.inputs[1].step_stride == 6);
  CHECK(call.inputs[1].item_size == 30 && call.inputs[1].num_elements == 120);
  CHECK(call.inputs[0].core_size == 9 && call.inputs[0].step_stride == 0);
  CHECK(call.inputs[2].core_size == 1 && call.inputs[2].step_stride == 1);
  CHECK(call.outputs[1].core_size == 3 && call.outputs[1].item_size == 12);
  // One matrix must be indexable by int, in a model also those that products make.
  inputs[0] = tensor({1 << 16, 1 << 16}), inputs[1] = tensor({1, 1 << 16, 0});
  CHECK_EQUAL(prepare_call(spec, inputs, outputs, attrs, &call, &strides),
              "Op: n = 65536 is too large.");
  const OpSpec plain = parse({"Op", "a[j,k]", "x[j]", "", ""});
  outputs[0] = tensor({1 << 16});
  CHECK_EQUAL(prepare_call(plain, inputs, outputs, attrs, &call, &strides),
              "Op: a has shape [65536,65536]; one matrix may have at most 2^31 - 1 entries.");
}

}  // namespace

int main() {
  check_parsing();
  check_inference();
  check_complaints();
  check_dtypes();
  check_calls();
}
