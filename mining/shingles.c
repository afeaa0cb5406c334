/* shingles.c - sets of word shingles. */
#include "mining/shingles.h"

#include <stdlib.h>

#include "mining/analyzer.h"
#include "tandem/hash.h"
#include "tandem/memory.h"

enum { WORDS = 3 };

static int compare(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

static void sort_unique(tandem_shingles *s)
{
    if (s->count < 2) {
        return;
    }
    qsort(s->items, s->count, sizeof *s->items, compare);
    size_t kept = 1;
    for (size_t i = 1; i < s->count; i++) {
        if (s->items[i] != s->items[kept - 1]) {
            s->items[kept++] = s->items[i];
        }
    }
    s->count = kept;
}

static int add(tandem_shingles *s, const uint64_t words[WORDS])
{
    void *items = s->items;
    int rc = tandem_grow(&items, &s->room, s->count + 1, sizeof *s->items);
    s->items = items;
    if (rc == 0) {
        s->items[s->count++] = tandem_hash_bytes(words, WORDS * sizeof *words).low;
    }
    return rc;
}

int tandem_shingles_read(tandem_shingles *out, const char *text, size_t length)
{
    tandem_words words = tandem_words_of(text, length);
    uint64_t last[WORDS] = {0};
    size_t count = 0;
    int rc;
    out->count = 0;
    while ((rc = tandem_words_next(&words)) > 0) {
        for (size_t i = 1; i < WORDS; i++) {
            last[i - 1] = last[i];
        }
        last[WORDS - 1] = tandem_hash_bytes(words.word.data, words.word.length).low;
        if (++count >= WORDS) {
            TANDEM_TRY_GOTO(rc, done, add(out, last));
        }
    }
    if (rc == TANDEM_OK && count > 0 && count < WORDS) {
        rc = add(out, last);
    }
    sort_unique(out);
done:
    tandem_buffer_free(&words.word);
    return rc;
}

void tandem_shingles_free(tandem_shingles *shingles)
{
    free(shingles->items);
    *shingles = (tandem_shingles){0};
}

double tandem_shingles_overlap(const tandem_shingles *a, const tandem_shingles *b)
{
    size_t i = 0, j = 0, shared = 0;
    while (i < a->count && j < b->count) {
        if (a->items[i] == b->items[j]) {
            shared++;
            i++;
            j++;
        } else if (a->items[i] < b->items[j]) {
            i++;
        } else {
            j++;
        }
    }
    size_t all = a->count + b->count - shared;
    return all > 0 ? (double)shared / (double)all : 0;
}
