/* graphemes.h - private to data/: extended grapheme clusters (Unicode Standard Annex #29) of
 * Unicode 17, as the crate unicode-segmentation finds them for the normalizer "Precompiled". */
#ifndef TANDEM_DATA_GRAPHEMES_H
#define TANDEM_DATA_GRAPHEMES_H

#include <stddef.h>
#include <stdint.h>

/* How many code points the cluster has that begins at chars[0]; `count` is at least 1. */
size_t tandem_grapheme_length(const uint32_t *chars, size_t count);

#endif
