/* paged_array.h - memory that is an unlinked file of some folder (private to data/): the kernel
 * writes its pages back where memory is short, so that what is kept of millions of lines needs
 * no memory of its own. */
#ifndef TANDEM_DATA_PAGED_ARRAY_H
#define TANDEM_DATA_PAGED_ARRAY_H

#include <stddef.h>

#include "tandem/error.h"

/* Starts as {.folder = ...}, which is borrowed. */
typedef struct {
    const char *folder;
    void *data;
    size_t bytes;
    int file; /* open while `bytes` is not 0 */
} tandem_paged_array;

/* Makes it at least so large; what is new is zero, and what there was may move. Fails, with what
 * there was intact, where the folder's file system is full. */
int tandem_paged_array_reserve(tandem_paged_array *array, size_t bytes);
void tandem_paged_array_free(tandem_paged_array *array);

#endif
