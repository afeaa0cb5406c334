/* tensorboard.h - the records of TensorBoard's event files. */
#ifndef TANDEM_TRAIN_TENSORBOARD_H
#define TANDEM_TRAIN_TENSORBOARD_H

#include <stddef.h>
#include <stdint.h>

#include "tandem/memory.h"

typedef struct {
    const char *tag; /* e.g. "train/loss" */
    double value;    /* written as float32 */
} tandem_scalar;

/* Both append one TFRecord - length, its checksum, data, its checksum - that holds a protobuf Event
 * (tensorboard/compat/proto/event.proto). Seconds are those of the wall clock. */
/* What a file begins with. */
int tandem_event_version(tandem_buffer *out, double seconds);
int tandem_event_scalars(tandem_buffer *out, double seconds, uint64_t step, const tandem_scalar *scalars, size_t count);

/* CRC-32C (Castagnoli; RFC 3720, B.4). */
uint32_t tandem_crc32c(const void *data, size_t length);

#endif
