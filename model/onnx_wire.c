/* onnx_wire.c - protobuf's varints and fields, and float16. */
#include "model/onnx_wire.h"

#include <math.h>
#include <string.h>

static size_t varint_encode(unsigned char out[10], uint64_t value)
{
    size_t length = 0;
    while (value >= 0x80) {
        out[length++] = (unsigned char)(value | 0x80);
        value >>= 7;
    }
    out[length++] = (unsigned char)value;
    return length;
}

size_t onnx_varint_size(uint64_t value)
{
    unsigned char bytes[10];
    return varint_encode(bytes, value);
}

int onnx_put_varint(tandem_buffer *out, uint64_t value)
{
    unsigned char bytes[10];
    return tandem_buffer_append(out, bytes, varint_encode(bytes, value));
}

int onnx_put_tag(tandem_buffer *out, unsigned field, unsigned wire)
{
    return onnx_put_varint(out, (uint64_t)field << 3 | wire);
}

int onnx_put_int(tandem_buffer *out, unsigned field, int64_t value)
{
    TANDEM_TRY(onnx_put_tag(out, field, ONNX_WIRE_VARINT));
    return onnx_put_varint(out, (uint64_t)value);
}

int onnx_put_float(tandem_buffer *out, unsigned field, float value)
{
    TANDEM_TRY(onnx_put_tag(out, field, ONNX_WIRE_FIXED32));
    return tandem_buffer_append(out, &value, sizeof value); /* x86-64 and AArch64: little-endian */
}

int onnx_put_bytes(tandem_buffer *out, unsigned field, const void *data, size_t length)
{
    TANDEM_TRY(onnx_put_tag(out, field, ONNX_WIRE_BYTES));
    TANDEM_TRY(onnx_put_varint(out, length));
    return tandem_buffer_append(out, data, length);
}

int onnx_put_string(tandem_buffer *out, unsigned field, const char *text)
{
    return onnx_put_bytes(out, field, text, strlen(text));
}

bool onnx_half(uint16_t *out, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    uint16_t sign = (uint16_t)(bits >> 16 & 0x8000U);
    float size = fabsf(value);
    if (!(size < 65520.0F)) { /* rounds to 65536, or is no number */
        return false;
    }
    if (size < 6.103515625e-05F) { /* 2^-14: below it, steps of 2^-24; the product is exact */
        *out = (uint16_t)(sign | (uint16_t)lrintf(size * 16777216.0F));
        return true;
    }
    bits &= 0x7fffffffU;
    bits += 0xfffU + (bits >> 13 & 1U); /* 13 bits fewer; a carry goes into the exponent, as it should */
    *out = (uint16_t)(sign | (uint16_t)((bits >> 13) - (112U << 10)));
    return true;
}
