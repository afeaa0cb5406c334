/* snippet.c - the part of a text that shows why it was found. */
#include <stdlib.h>
#include <string.h>

#include "mining/analyzer.h"
#include "tandem/bm25.h"
#include "tandem/memory.h"

/* A word of the text that is a term of the query. */
typedef struct {
    size_t start, end, term;
} hit;

typedef struct {
    tandem_arena *arena;
    tandem_strmap *terms; /* of the query */
    hit *hits;
    size_t hit_count, hit_room;
    size_t *seen; /* [terms] 1 + the last window that was counted for it */
} finder;

static int read_terms(finder *f, const tandem_text *query, tandem_analyzer analyzer)
{
    tandem_words words = tandem_words_of(query->text, query->length);
    int rc;
    while ((rc = tandem_words_next(&words)) > 0) {
        size_t length = tandem_word_to_term(words.word.data, words.word.length, analyzer);
        char *key = tandem_arena_strndup(f->arena, words.word.data, length);
        rc = key ? TANDEM_OK : TANDEM_ERROR;
        if (key && length > 0) {
            rc = tandem_strmap_add(f->terms, key, length, tandem_strmap_count(f->terms), NULL);
        }
        if (rc < 0) {
            break;
        }
    }
    tandem_buffer_free(&words.word);
    return rc < 0 ? rc : TANDEM_OK;
}

static int find_hits(finder *f, const tandem_text *text, tandem_analyzer analyzer)
{
    tandem_words words = tandem_words_of(text->text, text->length);
    int rc;
    while ((rc = tandem_words_next(&words)) > 0) {
        size_t length = tandem_word_to_term(words.word.data, words.word.length, analyzer), term;
        if (length > 0 && tandem_strmap_find(f->terms, words.word.data, length, &term)) {
            void *hits = f->hits;
            rc = tandem_grow(&hits, &f->hit_room, f->hit_count + 1, sizeof *f->hits);
            f->hits = hits;
            if (rc < 0) {
                break;
            }
            f->hits[f->hit_count++] = (hit){words.start, words.at, term};
        }
    }
    tandem_buffer_free(&words.word);
    return rc;
}

/* The window that begins with a hit and has most different terms: its first and last hit. */
static void find_window(const finder *f, size_t width, size_t *from, size_t *to)
{
    size_t best = 0;
    for (size_t i = 0; i < f->hit_count; i++) {
        size_t different = 0, last = i;
        for (size_t j = i; j < f->hit_count && (j == i || f->hits[j].end - f->hits[i].start <= width); j++) {
            different += f->seen[f->hits[j].term] != i + 1;
            f->seen[f->hits[j].term] = i + 1;
            last = j;
        }
        if (different > best) {
            best = different;
            *from = f->hits[i].start;
            *to = f->hits[last].end;
        }
    }
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* Widens [from, to) evenly to both sides, to blanks. */
static void widen(const tandem_text *text, size_t width, size_t *from, size_t *to)
{
    size_t spare = width > *to - *from ? width - (*to - *from) : 0;
    size_t after = text->length - *to, before = *from;
    size_t left = spare / 2 < before ? spare / 2 : before;
    size_t right = spare - left < after ? spare - left : after;
    left = spare - right < before ? spare - right : before;
    size_t low = *from - left, high = *to + right;
    while (low > 0 && low < *from && !is_blank(text->text[low - 1])) {
        low++;
    }
    while (high < text->length && high > *to && !is_blank(text->text[high])) {
        high--;
    }
    while (low < high && is_blank(text->text[low])) {
        low++;
    }
    while (high > low && is_blank(text->text[high - 1])) {
        high--;
    }
    *from = low;
    *to = high;
}

int tandem_snippet(size_t *start, size_t *length, const tandem_text *text, const tandem_text *query, size_t width,
                   tandem_analyzer analyzer)
{
    finder f = {.arena = tandem_arena_new(), .terms = tandem_strmap_new(0)};
    size_t from = 0, to = 0;
    int rc = f.arena && f.terms ? TANDEM_OK : TANDEM_ERROR;
    TANDEM_TRY_GOTO(rc, done, rc);
    TANDEM_TRY_GOTO(rc, done, read_terms(&f, query, analyzer));
    f.seen = tandem_alloc(tandem_strmap_count(f.terms), sizeof *f.seen);
    rc = f.seen ? find_hits(&f, text, analyzer) : TANDEM_ERROR;
    if (rc == TANDEM_OK) {
        find_window(&f, width, &from, &to);
        widen(text, width, &from, &to);
        *start = from;
        *length = to - from;
    }
done:
    tandem_arena_free(f.arena);
    tandem_strmap_free(f.terms);
    free(f.hits);
    free(f.seen);
    return rc;
}
