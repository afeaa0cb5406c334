/* analyzer.h - private to mining/: text to the terms that BM25 counts, close to what
 * Lucene's EnglishAnalyzer makes of it:
 *  - Words are runs of letters and digits. An apostrophe or full stop between two letters
 *    joins ("o'neil", "u.s"), so does an apostrophe, full stop or comma between two digits
 *    ("3.14"), and "_" between either (the common cases of Unicode Standard Annex 29). Each
 *    ideograph and each hiragana letter is a word of its own.
 *  - Letters are lower-cased: ASCII, Latin-1, Latin Extended-A, Greek and Cyrillic.
 *    Beyond ASCII every character counts as a letter but for the blocks of
 *    punctuation and symbols.
 *  - A final 's goes, then the 33 stop words, and what is left is stemmed (porter.h);
 *    words of more than 255 bytes are no natural ones and are not stemmed.
 */
#ifndef TANDEM_MINING_ANALYZER_H
#define TANDEM_MINING_ANALYZER_H

#include <stdbool.h>
#include <stddef.h>

#include "tandem/bm25.h"
#include "tandem/error.h"
#include "tandem/memory.h"

typedef struct {
    const char *text;
    size_t length;
    size_t at;          /* where the next word is looked for: the end of the last one */
    size_t start;       /* where the last one begins */
    tandem_buffer word; /* the last one, lower-cased; free it after the last call */
} tandem_words;

tandem_words tandem_words_of(const char *text, size_t length);
/* 1 with the next lower-cased word in words->word, 0 at the end, negative on failure.
 * Bytes that are no UTF-8 separate words. */
int tandem_words_next(tandem_words *words);

/* Makes a lower-cased word a term, in place; its length, 0 for a stop word. The standard analyzer leaves
 * every word as it is. */
size_t tandem_word_to_term(char *word, size_t length, tandem_analyzer analyzer);

#endif
