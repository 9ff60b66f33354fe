// What the libraries for CPUs and for GPUs make of their kernel tables: ops, and errors as the C
// interfaces report them.
#ifndef STATESPACE_NATIVE_OPS_OP_TABLE_H_
#define STATESPACE_NATIVE_OPS_OP_TABLE_H_

#include <cstdio>
#include <string>
#include <vector>

#include "ops/shapes.h"

namespace statespace {

// An op, with its kernels from tables of Entry.
template <class Entry>
struct OpOf {
  OpSpec spec;
  decltype(Entry::float32) float32;
  decltype(Entry::float64) float64;
};

// All declared ops, in their order.
template <class Entry>
std::vector<OpOf<Entry>> build_ops(const std::vector<const Entry*>& tables) {
  std::vector<OpOf<Entry>> ops;
  for (int i = 0; i < kNumDeclarations; ++i) {
    OpOf<Entry> op = {parse(kDeclarations[i]), nullptr, nullptr};
    for (const Entry* table : tables) {
      for (; table->op != nullptr; ++table) {
        if (op.spec.name != table->op) continue;
        op.float32 = table->float32;
        op.float64 = table->float64;
      }
    }
    ops.push_back(op);
  }
  return ops;
}

// 0, or 1 with the error in `message`.
inline int32_t report(const std::string& error, char* message, size_t message_size) {
  if (error.empty()) return 0;
  if (message_size > 0) std::snprintf(message, message_size, "%s", error.c_str());
  return 1;
}

}  // namespace statespace

#endif  // STATESPACE_NATIVE_OPS_OP_TABLE_H_
