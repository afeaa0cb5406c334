/* safetensors.h - reading and writing weights.
 *
 * The bytes: u64 little-endian header length N (at most 100,000,000), N bytes of JSON
 * {"name": {"dtype", "shape", "data_offsets": [begin, end]}, "__metadata__": {...}},
 * padded with spaces to a multiple of 8, then the tensors without gap or overlap. */
#ifndef TANDEM_SAFETENSORS_H
#define TANDEM_SAFETENSORS_H

#include <stddef.h>
#include <stdint.h>

#include "tandem/error.h"
#include "tandem/hash.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
    TANDEM_DTYPE_F64, TANDEM_DTYPE_F32, TANDEM_DTYPE_F16, TANDEM_DTYPE_BF16,
    TANDEM_DTYPE_I64, TANDEM_DTYPE_I32, TANDEM_DTYPE_I16, TANDEM_DTYPE_I8,
    TANDEM_DTYPE_U64, TANDEM_DTYPE_U32, TANDEM_DTYPE_U16, TANDEM_DTYPE_U8, TANDEM_DTYPE_BOOL
} tandem_dtype;

#define TANDEM_MAX_DIMS 8

typedef struct {
    const char *name;
    tandem_dtype dtype;
    int dims;
    int64_t shape[TANDEM_MAX_DIMS];
    const unsigned char *data; /* into the map; may be unaligned */
    size_t bytes;
    size_t elements;
} tandem_safetensor;

typedef struct tandem_safetensors tandem_safetensors;

/* Maps and checks a file in full: header length, JSON without duplicate keys, checked
 * products of shapes, ranges that start at 0, touch, and end at the end of the file. A
 * pickle (.bin, .pt) is refused with the command that converts it. */
int tandem_safetensors_open(tandem_safetensors **out, const char *path);
void tandem_safetensors_close(tandem_safetensors *file); /* NULL is fine */
size_t tandem_safetensors_count(const tandem_safetensors *file);
const tandem_safetensor *tandem_safetensors_at(const tandem_safetensors *file, size_t index); /* in offset order */
const tandem_safetensor *tandem_safetensors_find(const tandem_safetensors *file, const char *name); /* or NULL */
/* All elements as float32 into out[elements]; F32, F16, BF16 and F64 only. */
int tandem_safetensor_read_f32(const tandem_safetensor *tensor, float *out);

/* One float32 tensor to write. */
typedef struct {
    const char *name;
    int dims;
    int64_t shape[TANDEM_MAX_DIMS];
    const float *data;
} tandem_safetensor_out;

/* Writes float32 tensors in the given order, by rename; metadata {"format": "pt"}, as
 * transformers expects. */
int tandem_safetensors_write(const char *path, const tandem_safetensor_out *tensors, size_t count);

#ifdef __cplusplus
}
#endif
#endif
