// The schemas of all ops, on one page (declarations.cc).
#ifndef STATESPACE_NATIVE_OPS_DECLARATIONS_H_
#define STATESPACE_NATIVE_OPS_DECLARATIONS_H_

namespace statespace {

// Operands are written as names with their core axes, e.g. "l[n,n] b[n,k]". Batch axes come before
// the core axes and broadcast over all inputs.
//   letter      sizes with the same letter agree
//   letter?     this axis may also have length 1, or, if it is the first, be absent
//   letter-1    (outputs) one less
//   name=input  (outputs) the shape of that input, batch axes included
//   :int32      (outputs) its dtype; all others have the dtype T the inputs share
struct OpDeclaration {
  const char* name;
  const char* inputs;
  const char* outputs;
  const char* attrs;       // names of bool attributes, separated by spaces
  const char* constraint;  // "k=min(m,n)" between axis letters, or empty
};

extern const OpDeclaration kDeclarations[];
extern const int kNumDeclarations;

}  // namespace statespace

#endif  // STATESPACE_NATIVE_OPS_DECLARATIONS_H_
