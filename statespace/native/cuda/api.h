/* The C interface of the library for GPUs, as ops/api.h is that of the one for CPUs.
 *
 * `_statespace_cuda.so` exports one function, `statespace_cuda_api`. It loads where there is
 * neither a GPU nor a driver; a call of `run` then fails. */
#ifndef STATESPACE_NATIVE_CUDA_API_H_
#define STATESPACE_NATIVE_CUDA_API_H_

#include "../ops/api.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
  int32_t version; /* STATESPACE_API_VERSION */
  int32_t num_ops;
  const char* const* ops; /* names, in the order of ops/api.h */

  /* How many bytes of device memory `run` wants for itself with tensors of these shapes. Returns 0,
   * or 1 with a zero-terminated text in `message`. */
  int32_t (*work_bytes)(int32_t op, const StatespaceTensor* inputs, const StatespaceTensor* outputs,
                        const uint8_t* attrs, int64_t* bytes, char* message, size_t message_size);

  /* Checks every shape again and launches what computes `outputs`, on a CUDA stream of the current
   * device, where all buffers are. `work`: that much memory, aligned to 16 bytes, which must stay
   * until the stream is done; so must the buffers, but nothing else. Returns as `work_bytes`. */
  int32_t (*run)(int32_t op, const StatespaceTensor* inputs, const StatespaceTensor* outputs,
                 const uint8_t* attrs, void* work, void* stream, char* message,
                 size_t message_size);
} StatespaceCudaApi;

#if defined(__GNUC__)
__attribute__((visibility("default")))
#endif
const StatespaceCudaApi* statespace_cuda_api(void);

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif /* STATESPACE_NATIVE_CUDA_API_H_ */
