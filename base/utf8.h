/* utf8.h - private to base/: one UTF-8 sequence at a time. */
#ifndef TANDEM_BASE_UTF8_H
#define TANDEM_BASE_UTF8_H

#include <stddef.h>

/* Bytes of the valid sequence at the start of `text`, 1 to 4; 0 when the first byte
 * begins none (RFC 3629). `length` is at least 1. */
size_t tandem_utf8_sequence(const char *text, size_t length);

#endif
