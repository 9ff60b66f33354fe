// The C interface of the compiled library: everything the XLA bridge needs to know about the ops.
//
// `_statespace.so` exports one function, `statespace_api`. The table it returns describes every op
// and runs it on host buffers. Only C types cross this boundary, so the bridge may be built by
// another compiler, at another time, against any TensorFlow.
#ifndef STATESPACE_NATIVE_OPS_API_H_
#define STATESPACE_NATIVE_OPS_API_H_

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define STATESPACE_API_VERSION 3
#define STATESPACE_MAX_RANK 12
#define STATESPACE_MAX_OPERANDS 24

// Element types, numbered as TensorFlow numbers them.
enum { STATESPACE_FLOAT32 = 1, STATESPACE_FLOAT64 = 2, STATESPACE_INT32 = 3 };

// A dense row-major tensor. `dims` holds -1 for an unknown dimension and `rank` is -1 for an
// unknown rank; both occur only in shape inference, where `data` is null.
typedef struct {
  void* data;
  int32_t dtype;
  int32_t rank;
  int64_t dims[STATESPACE_MAX_RANK];
} StatespaceTensor;

typedef struct {
  const char* name;  // e.g. "StatespaceCholesky"
  int32_t num_inputs;
  int32_t num_outputs;
  int32_t num_attrs;               // every attribute is a bool
  const char* const* input_names;  // for messages and registration
  const char* const* output_names;
  const char* const* attr_names;
  const int32_t* output_dtypes;  // 0: the dtype T that all inputs share; otherwise that very dtype
  const int32_t* input_ranks;    // number of core axes, which come after the batch axes
  const int32_t*
      output_likes;  // index of the input whose shape this is, batch axes included; or -1
} StatespaceOp;

typedef struct {
  int32_t version;  // STATESPACE_API_VERSION
  int32_t num_ops;
  const StatespaceOp* ops;

  // Fills dtype, rank and dims of `outputs` from those of `inputs`. Returns 0, or 1 with a
  // zero-terminated text in `message` that names the op and the offending argument.
  int32_t (*infer)(int32_t op, const StatespaceTensor* inputs, StatespaceTensor* outputs,
                   char* message, size_t message_size);

  // Checks every shape again and computes `outputs`, whose buffers the caller has allocated with
  // the inferred shapes. `attrs` holds one byte (0 or 1) per attribute. Returns as `infer` does.
  int32_t (*run)(int32_t op, const StatespaceTensor* inputs, const StatespaceTensor* outputs,
                 const uint8_t* attrs, char* message, size_t message_size);

  // Name of the instruction set the kernels run on ("avx512", "avx2", "baseline") and size of the
  // thread pool.
  const char* (*simd_level)(void);
  int32_t (*num_threads)(void);
  void (*set_num_threads)(int32_t num_threads);

  // Hands over a LAPACK routine, e.g. "dsyevd", with 32-bit integers. Returns 0, or 1 if no op
  // calls it.
  int32_t (*set_lapack)(const char* routine, void* function);
} StatespaceApi;

#if defined(__GNUC__)
__attribute__((visibility("default")))
#endif
const StatespaceApi* statespace_api(void);

#ifdef __cplusplus
}  // extern "C"
#endif

#endif  // STATESPACE_NATIVE_OPS_API_H_
