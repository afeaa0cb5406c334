/* porter.h - private to mining/: the stemmer of M. F. Porter, "An algorithm for suffix
 * stripping", Program 14(3), 1980. */
#ifndef TANDEM_MINING_PORTER_H
#define TANDEM_MINING_PORTER_H

#include <stddef.h>

/* Stems a lower-case word in place and returns its new length, which is at most the
 * old one. Not NUL-terminated. As in Porter's own program and in Lucene, the rules
 * -bli -> -ble and -logi -> -log stand beside those of the paper, and words of one or two
 * letters stay as they are. Bytes that are not ASCII vowels count as consonants. */
size_t tandem_porter_stem(char *word, size_t length);

#endif
