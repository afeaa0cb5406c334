/* precompiled.h - private to data/: the normalizer "Precompiled" of tokenizer.json, a table of
 * replacements that SentencePiece models carry (precompiled_charsmap).
 *
 * The bytes, once rid of their base64: u32 size of the trie in bytes, little-endian; the trie,
 * u32 units of a Darts double array; the replacements, UTF-8 texts each ended by a NUL, named by
 * their offset. A unit holds (Darts-clone, https://github.com/s-yata/darts-clone):
 *    bits 0-7 and 31  label: the byte that leads here; bit 31 marks a leaf, which has a value
 *    bit 8            a key ends here: the leaf lies at this unit's offset
 *    bits 10-30       offset to the children, times 256 where bit 9 is set
 *    a leaf: bits 0-30  value
 */
#ifndef TANDEM_DATA_PRECOMPILED_H
#define TANDEM_DATA_PRECOMPILED_H

#include "data/normal_forms.h"

typedef struct tandem_precompiled tandem_precompiled;

/* Decodes and checks `base64` (of `length` characters; standard alphabet, with padding). `source`
 * names the file in messages. */
int tandem_precompiled_new(tandem_precompiled **out, const char *base64, size_t length, const char *source);
void tandem_precompiled_free(tandem_precompiled *map); /* NULL is fine */

/* `chars` with their replacements, into *out. Grapheme clusters of fewer than 6 bytes are looked
 * up whole, others code point by code point; the *shortest* key that begins what is looked up
 * decides, and its replacement stands for all of it (spm_precompiled 0.1.4). The library counts
 * what a replacement of no characters removes to the character before, and so does `change`.
 * Fails where a value of the trie leads outside of it or of the replacements. */
int tandem_precompiled_apply(const tandem_precompiled *map, const uint32_t *chars, size_t count,
                             tandem_changes *out);

/* [128]: true for an ASCII character that is never changed when its neighbours are ASCII. A text
 * of such characters alone is left as it is. */
const bool *tandem_precompiled_inert(const tandem_precompiled *map);

#endif
