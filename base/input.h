/* input.h - private to base/: a stream of bytes, decompressed when it is zstd or gzip. */
#ifndef TANDEM_BASE_INPUT_H
#define TANDEM_BASE_INPUT_H

#include <stddef.h>

#include "tandem/error.h"

typedef struct tandem_input tandem_input;

/* "-" is stdin. TANDEM_NOT_FOUND when there is no such file. */
int tandem_input_open(tandem_input **out, const char *path);
/* At least one byte and at most `size` into `data`; *got is 0 only at the end. */
int tandem_input_read(tandem_input *input, void *data, size_t size, size_t *got);
/* A guess at the size of the whole, for the first allocation; 0 when unknown. */
size_t tandem_input_size_hint(const tandem_input *input);
const char *tandem_input_path(const tandem_input *input);
void tandem_input_close(tandem_input *input); /* NULL is fine */

/* Opens a file for reading, as it is. TANDEM_NOT_FOUND when there is none. */
int tandem_descriptor_open(int *out, const char *path);
/* read(2) until `size` bytes or the end: *got < size only at the end. */
int tandem_descriptor_read(int descriptor, const char *path, void *data, size_t size, size_t *got);

#endif
