/* normal_forms.h - private to data/: Unicode normal forms, and what they make of offsets.
 *
 * As the crate unicode-normalization-alignments 0.1.12 of Hugging Face tokenizers does it, with
 * its tables of Unicode 9: code points that are newer neither decompose nor compose nor move.
 */
#ifndef TANDEM_DATA_NORMAL_FORMS_H
#define TANDEM_DATA_NORMAL_FORMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/unicode.h"
#include "tandem/error.h"

/* A code point that a normalizing pass gives, and how many of those that came in it uses up, as
 * the library's NormalizedString::transform counts:
 *    0  it replaces the next one;
 *   -n  it replaces the next one, and the n after that are gone;
 *    1  it is inserted, and has the origin of the code point used up last. */
typedef struct {
    uint32_t c;
    int32_t change;
} tandem_changed_char;

/* Zeroed at first, then reused: a pass clears it, and keeps the memory. */
typedef struct {
    tandem_changed_char *items;
    size_t count, capacity;
} tandem_changes;

void tandem_changes_free(tandem_changes *changes); /* leaves it empty and usable */

typedef enum { TANDEM_NFC, TANDEM_NFD, TANDEM_NFKC, TANDEM_NFKD } tandem_normal_form;

/* `chars` in the form, into *out; fails only where memory ends. `change` is 0, 1, or below 0 (a
 * composed code point). */
int tandem_normal_form_apply(tandem_normal_form form, const uint32_t *chars, size_t count, tandem_changes *out);

/* True for a code point that stays as it is beside others of which this is true: text of such
 * code points alone is in the form, and tandem_normal_form_apply would give each with change 0.
 * ASCII is inert in every form. */
static inline bool tandem_normal_form_is_inert(tandem_normal_form form, uint32_t c)
{
    if (c < 0x80) {
        return true;
    }
    const tandem_unicode_record *record = tandem_unicode_find(c);
    if (form == TANDEM_NFC || form == TANDEM_NFKC) {
        return (record->flags & (form == TANDEM_NFC ? TANDEM_UNICODE_INERT_NFC : TANDEM_UNICODE_INERT_NFKC)) != 0;
    }
    size_t count;
    uint32_t jamo[3];
    return record->combining == 0 && !tandem_unicode_decomposition(c, form == TANDEM_NFKD, &count, jamo);
}

#endif
