/* onnx_wire.h - fields of a protobuf message, appended to a buffer, and float16 (private to model/). */
#ifndef TANDEM_MODEL_ONNX_WIRE_H
#define TANDEM_MODEL_ONNX_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tandem/error.h"
#include "tandem/memory.h"

/* protobuf wire types */
enum { ONNX_WIRE_VARINT = 0, ONNX_WIRE_BYTES = 2, ONNX_WIRE_FIXED32 = 5 };

size_t onnx_varint_size(uint64_t value);
int onnx_put_varint(tandem_buffer *out, uint64_t value);
int onnx_put_tag(tandem_buffer *out, unsigned field, unsigned wire);
int onnx_put_int(tandem_buffer *out, unsigned field, int64_t value);
int onnx_put_float(tandem_buffer *out, unsigned field, float value);
int onnx_put_bytes(tandem_buffer *out, unsigned field, const void *data, size_t length);
int onnx_put_string(tandem_buffer *out, unsigned field, const char *text);

/* IEEE 754 binary16, to nearest, ties to even; false where `value` lies beyond its numbers. */
bool onnx_half(uint16_t *out, float value);

#endif
