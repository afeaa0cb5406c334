/* normal_forms.c - NFC, NFD, NFKC and NFKD with the changes that offsets are made from. */
#include "data/normal_forms.h"

#include <stdlib.h>
#include <string.h>

#include "tandem/memory.h"

enum { SHORT_RUN = 16 }; /* marks; longer runs are not sorted by insertion, which is quadratic */

void tandem_changes_free(tandem_changes *changes)
{
    free(changes->items);
    *changes = (tandem_changes){0};
}

static int reserve(tandem_changes *out, size_t needed)
{
    void *items = out->items;
    int rc = tandem_grow(&items, &out->capacity, needed, sizeof *out->items);
    out->items = items;
    return rc;
}

static uint8_t class_of(uint32_t c)
{
    return c < 0x80 ? 0 : tandem_unicode_find(c)->combining;
}

/* Moves the last item before those of its run that have a higher class. */
static void insert_last(tandem_changes *out, size_t run, uint8_t combining)
{
    tandem_changed_char last = out->items[out->count - 1];
    size_t at = out->count - 1;
    for (; at > run && class_of(out->items[at - 1].c) > combining; at--) {
        out->items[at] = out->items[at - 1];
    }
    out->items[at] = last;
}

/* Sorts a run by class, equals in their order, by counting; the space after the items is used. */
static int sort_run(tandem_changes *out, size_t run)
{
    size_t count = out->count - run, starts[257] = {0};
    TANDEM_TRY(reserve(out, out->count + count));
    tandem_changed_char *from = out->items + run, *sorted = out->items + out->count;
    for (size_t i = 0; i < count; i++) {
        starts[class_of(from[i].c) + 1]++;
    }
    for (size_t i = 1; i < 257; i++) {
        starts[i] += starts[i - 1];
    }
    for (size_t i = 0; i < count; i++) {
        sorted[starts[class_of(from[i].c)]++] = from[i];
    }
    memcpy(from, sorted, count * sizeof *from);
    return TANDEM_OK;
}

/* A code point of class 0 ends the run of marks before it, which begins at *run. */
static int add(tandem_changes *out, uint32_t c, int32_t change, size_t *run)
{
    uint8_t combining = class_of(c);
    if (combining == 0 && out->count - *run > SHORT_RUN) {
        TANDEM_TRY(sort_run(out, *run));
    }
    TANDEM_TRY(reserve(out, out->count + 1));
    out->items[out->count++] = (tandem_changed_char){c, change};
    if (combining == 0) {
        *run = out->count;
    } else if (out->count - *run <= SHORT_RUN) {
        insert_last(out, *run, combining);
    }
    return TANDEM_OK;
}

/* The library gives the first code point of a decomposition change 0 and the others 1, and
 * leaves them with these when marks trade places. */
static int decompose(bool compatible, const uint32_t *chars, size_t count, tandem_changes *out)
{
    size_t run = 0;
    TANDEM_TRY(reserve(out, count));
    for (size_t i = 0; i < count; i++) {
        uint32_t jamo[3];
        size_t parts = 1;
        const uint32_t *decomposed =
            chars[i] < 0x80 ? NULL : tandem_unicode_decomposition(chars[i], compatible, &parts, jamo);
        for (size_t k = 0; k < parts; k++) {
            TANDEM_TRY(add(out, decomposed ? decomposed[k] : chars[i], k > 0, &run));
        }
    }
    return out->count - run > SHORT_RUN ? sort_run(out, run) : TANDEM_OK;
}

/* Unicode standard, 3.11, D117, in place: a code point composes with the last starter where
 * nothing between them blocks it. */
static void compose(tandem_changes *out)
{
    tandem_changed_char *items = out->items, *starter = NULL;
    size_t kept = 0;
    uint8_t last_class = 0; /* of what was kept after the starter; 0: nothing was */
    for (size_t i = 0; i < out->count; i++) {
        tandem_changed_char item = items[i];
        const tandem_unicode_record *record = tandem_unicode_find(item.c);
        bool blocked = last_class > 0 && last_class >= record->combining;
        bool may = starter && !blocked && (record->flags & TANDEM_UNICODE_FOLLOWS);
        uint32_t composed = may ? tandem_unicode_compose(starter->c, item.c) : 0;
        if (composed) {
            starter->c = composed;
            starter->change += item.change - 1;
            continue;
        }
        items[kept++] = item;
        last_class = record->combining;
        if (record->combining == 0) {
            starter = &items[kept - 1];
        }
    }
    out->count = kept;
}

int tandem_normal_form_apply(tandem_normal_form form, const uint32_t *chars, size_t count, tandem_changes *out)
{
    out->count = 0;
    TANDEM_TRY(decompose(form == TANDEM_NFKC || form == TANDEM_NFKD, chars, count, out));
    if (form == TANDEM_NFC || form == TANDEM_NFKC) {
        compose(out);
    }
    return TANDEM_OK;
}
