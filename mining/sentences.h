/* sentences.h - a text cut into sentences. */
#ifndef MINING_SENTENCES_H
#define MINING_SENTENCES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes [start, start + length) of a text, without white space around. */
typedef struct {
    uint32_t start, length, words;
} tandem_sentence;

/* The sentence that begins at or after byte *at of a text of `length` bytes; *at moves behind it. False where
 * there is none. A sentence ends with the text, or with . ! ? (any number), what closes quotes and brackets,
 * and white space. Words are what stands between white space (ASCII). */
bool tandem_sentence_next(tandem_sentence *out, const char *text, size_t length, size_t *at);

#endif
