/* tensorboard.c - the records of TensorBoard's event files. */
#include "train/tensorboard.h"

#include <string.h>

#include "tandem/error.h"

/* Keys of protobuf fields: number << 3 | wire type (0: varint, 1: 64 bits, 2: bytes, 5: 32 bits). */
enum {
    EVENT_WALL_TIME = 1 << 3 | 1, EVENT_STEP = 2 << 3 | 0, EVENT_FILE_VERSION = 3 << 3 | 2, EVENT_SUMMARY = 5 << 3 | 2,
    SUMMARY_VALUE = 1 << 3 | 2,
    VALUE_TAG = 1 << 3 | 2, VALUE_SIMPLE = 2 << 3 | 5,
};

/* ---- checksums ------------------------------------------------------------------------------ */
uint32_t tandem_crc32c(const void *data, size_t length)
{
    const unsigned char *bytes = data;
    uint32_t crc = UINT32_MAX;

    for (size_t i = 0; i < length; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++) { /* records are short: no table */
            crc = crc >> 1 ^ (0x82f63b78U & (0U - (crc & 1U)));
        }
    }
    return ~crc;
}

/* As TFRecord stores it, so that a checksum of data that holds checksums stays a good one. */
static uint32_t masked(const void *data, size_t length)
{
    uint32_t crc = tandem_crc32c(data, length);

    return (crc >> 15 | crc << 17) + 0xa282ead8U;
}

/* ---- numbers ---------------------------------------------------------------------------------- */
/* The lowest `size` bytes, least first. */
static int put_fixed(tandem_buffer *out, uint64_t value, size_t size)
{
    unsigned char bytes[8];

    for (size_t i = 0; i < size; i++) {
        bytes[i] = (unsigned char)(value >> (8 * i));
    }
    return tandem_buffer_append(out, (const char *)bytes, size);
}

static int put_varint(tandem_buffer *out, uint64_t value)
{
    unsigned char bytes[10];
    size_t size = 0;

    do {
        bytes[size++] = (unsigned char)((value & 0x7f) | (value > 0x7f ? 0x80 : 0));
        value >>= 7;
    } while (value > 0);
    return tandem_buffer_append(out, (const char *)bytes, size);
}

static int put_bytes(tandem_buffer *out, uint64_t key, const char *data, size_t length)
{
    TANDEM_TRY(put_varint(out, key));
    TANDEM_TRY(put_varint(out, length));
    return tandem_buffer_append(out, data, length);
}

static int put_double(tandem_buffer *out, uint64_t key, double value)
{
    uint64_t bits;

    memcpy(&bits, &value, sizeof bits);
    TANDEM_TRY(put_varint(out, key));
    return put_fixed(out, bits, 8);
}

static int put_float(tandem_buffer *out, uint64_t key, float value)
{
    uint32_t bits;

    memcpy(&bits, &value, sizeof bits);
    TANDEM_TRY(put_varint(out, key));
    return put_fixed(out, bits, 4);
}

/* ---- records ------------------------------------------------------------------------------------ */
static int put_record(tandem_buffer *out, const tandem_buffer *event)
{
    size_t start = out->length;

    TANDEM_TRY(put_fixed(out, event->length, 8));
    TANDEM_TRY(put_fixed(out, masked(out->data + start, 8), 4));
    TANDEM_TRY(tandem_buffer_append(out, event->data, event->length));
    return put_fixed(out, masked(event->data, event->length), 4);
}

int tandem_event_version(tandem_buffer *out, double seconds)
{
    static const char version[] = "brain.Event:2";
    tandem_buffer event = TANDEM_BUFFER_INIT;
    int rc = put_double(&event, EVENT_WALL_TIME, seconds);

    rc = rc < 0 ? rc : put_bytes(&event, EVENT_FILE_VERSION, version, sizeof version - 1);
    rc = rc < 0 ? rc : put_record(out, &event);
    tandem_buffer_free(&event);
    return rc;
}

static int put_summary(tandem_buffer *summary, tandem_buffer *value, const tandem_scalar *scalars, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        tandem_buffer_clear(value);
        TANDEM_TRY(put_bytes(value, VALUE_TAG, scalars[i].tag, strlen(scalars[i].tag)));
        TANDEM_TRY(put_float(value, VALUE_SIMPLE, (float)scalars[i].value));
        TANDEM_TRY(put_bytes(summary, SUMMARY_VALUE, value->data, value->length));
    }
    return TANDEM_OK;
}

int tandem_event_scalars(tandem_buffer *out, double seconds, uint64_t step, const tandem_scalar *scalars, size_t count)
{
    tandem_buffer event = TANDEM_BUFFER_INIT, summary = TANDEM_BUFFER_INIT, value = TANDEM_BUFFER_INIT;
    int rc = put_summary(&summary, &value, scalars, count);

    rc = rc < 0 ? rc : put_double(&event, EVENT_WALL_TIME, seconds);
    rc = rc < 0 ? rc : put_varint(&event, EVENT_STEP);
    rc = rc < 0 ? rc : put_varint(&event, step);
    rc = rc < 0 ? rc : put_bytes(&event, EVENT_SUMMARY, summary.data, summary.length);
    rc = rc < 0 ? rc : put_record(out, &event);
    tandem_buffer_free(&event);
    tandem_buffer_free(&summary);
    tandem_buffer_free(&value);
    return rc;
}
