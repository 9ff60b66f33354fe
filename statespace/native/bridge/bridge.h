// What the two halves of the XLA bridge share: the table of ops, and the name of the custom call.
//
// When XLA compiles a graph it asks xla_kernels.cc for each of our ops, which leaves a custom call
// in the program. When the program runs it calls ffi_handler.cc, which hands the buffers to the
// compiled library. Both know the ops only through the table of ops/api.h: a new op changes nothing
// here.
#ifndef STATESPACE_NATIVE_BRIDGE_BRIDGE_H_
#define STATESPACE_NATIVE_BRIDGE_BRIDGE_H_

#include <string>
#include <string_view>

#include "../ops/api.h"

namespace statespace {

// The one custom call target. Its attributes are `op`, the name of the op, and `flags`, one
// character '0' or '1' for each bool attribute in the table's order.
inline constexpr char kCallTarget[] = "statespace_call";

// Room for a message from `infer` or `run`.
inline constexpr size_t kMessageSize = 1024;

// The table, or null before `statespace_bridge_register` has accepted one.
const StatespaceApi* Api();

// The position of an op in the table, -1 where it has none of that name.
int FindOp(std::string_view name);

// Tells XLA of the handler of `kCallTarget`. Returns the reason if XLA refuses, else an empty
// string.
std::string RegisterFfiHandler();

}  // namespace statespace

#endif  // STATESPACE_NATIVE_BRIDGE_BRIDGE_H_
