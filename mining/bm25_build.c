/* bm25_build.c - inverting documents into an index.
 *
 * Documents are counted one after the other into occurrences; when enough have come together they are sorted
 * by term into a run, and runs are merged in the end. Terms are numbered as they first occur, so that each run
 * is read from its start to its end. Runs of an index that goes to a file wait in a temporary file.
 */
#include <stdlib.h>
#include <string.h>

#include "mining/analyzer.h"
#include "mining/bm25_index.h"
#include "tandem/log.h"
#include "tandem/machine.h"
#include "tandem/memory.h"

#define STOPPED SIZE_MAX

/* A term in a document. */
typedef struct {
    uint32_t term, document, frequency;
} occurrence;

/* Where an index goes to: the file, or the buffer. */
typedef struct {
    tandem_writer *writer;
    tandem_buffer *memory;
    tandem_hasher *hasher; /* of all that is put; NULL: of nothing any more */
    uint64_t written;
} sink;

/* A run is a list of groups: a term, the number of its documents, and for each its index and frequency. */
typedef struct {
    const uint32_t *at, *end;
} run_reader;

typedef struct {
    tandem_analyzer analyzer;
    tandem_arena *arena;  /* keys of the maps */
    tandem_strmap *terms; /* term -> number */
    tandem_strmap *words; /* word as it stands -> number of its term, or STOPPED: stems each word once */
    const char **spelling; /* [term_count] */
    size_t term_count, spelling_room;
    uint32_t *numbers; /* of the present document's terms */
    size_t number_count, number_room;
    occurrence *all;
    size_t count, room;
    uint8_t *norms;
    tandem_bm25_footer footer;
    const char *path;   /* NULL: everything stays in memory */
    size_t run_limit;   /* occurrences that are put aside together */
    tandem_writer *spill; /* of the runs that were put aside */
    char *spill_path;
    size_t *run_ends; /* [run_count] in words of 4 bytes */
    size_t run_count, run_room;
    uint32_t *last_run; /* the one that was not put aside */
    size_t last_run_words;
} builder;

/* ---- counting ---------------------------------------------------------------------------- */
static int number_term(builder *b, const char *term, size_t length, size_t *number)
{
    if (tandem_strmap_find(b->terms, term, length, number)) {
        return TANDEM_OK;
    }
    if (b->term_count == UINT32_MAX - 1) {
        return tandem_error("more than %u different terms", UINT32_MAX - 1);
    }
    void *spelling = b->spelling;
    TANDEM_TRY(tandem_grow(&spelling, &b->spelling_room, b->term_count + 1, sizeof *b->spelling));
    b->spelling = spelling;
    char *key = tandem_arena_strndup(b->arena, term, length);
    if (!key) {
        return TANDEM_ERROR;
    }
    *number = b->term_count++;
    b->spelling[*number] = key;
    int rc = tandem_strmap_add(b->terms, key, length, *number, NULL);
    return rc < 0 ? rc : TANDEM_OK;
}

static int number_word(builder *b, char *word, size_t length, size_t *number)
{
    if (tandem_strmap_find(b->words, word, length, number)) {
        return TANDEM_OK;
    }
    char *key = tandem_arena_strndup(b->arena, word, length);
    if (!key) {
        return TANDEM_ERROR;
    }
    size_t term = tandem_word_to_term(word, length, b->analyzer);
    *number = STOPPED;
    if (term > 0) {
        TANDEM_TRY(number_term(b, word, term, number));
    }
    int rc = tandem_strmap_add(b->words, key, length, *number, NULL);
    return rc < 0 ? rc : TANDEM_OK;
}

static int compare_numbers(const void *left, const void *right)
{
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    return (a > b) - (a < b);
}

static int add_occurrences(builder *b, uint32_t document)
{
    qsort(b->numbers, b->number_count, sizeof *b->numbers, compare_numbers);
    for (size_t i = 0, end; i < b->number_count; i = end) {
        for (end = i + 1; end < b->number_count && b->numbers[end] == b->numbers[i];) {
            end++;
        }
        void *all = b->all;
        int rc = tandem_grow(&all, &b->room, b->count + 1, sizeof *b->all);
        b->all = all;
        TANDEM_TRY(rc);
        b->all[b->count++] = (occurrence){b->numbers[i], document, (uint32_t)(end - i)};
    }
    return TANDEM_OK;
}

static int add_number(builder *b, size_t number)
{
    void *numbers = b->numbers;
    int rc = tandem_grow(&numbers, &b->number_room, b->number_count + 1, sizeof *b->numbers);
    b->numbers = numbers;
    TANDEM_TRY(rc);
    b->numbers[b->number_count++] = (uint32_t)number;
    return TANDEM_OK;
}

static int add_document(builder *b, const tandem_text *text, uint32_t document)
{
    tandem_words words = tandem_words_of(text->text, text->length);
    int rc;
    b->number_count = 0;
    while ((rc = tandem_words_next(&words)) > 0) {
        size_t number;
        TANDEM_TRY_GOTO(rc, done, number_word(b, words.word.data, words.word.length, &number));
        if (number != STOPPED) {
            TANDEM_TRY_GOTO(rc, done, add_number(b, number));
        }
    }
    if (rc == 0 && b->number_count > INT32_MAX) {
        rc = tandem_error("document '%s' has more than %d words", text->id, INT32_MAX);
    }
    if (rc == 0 && b->number_count > 0) {
        b->norms[document] = tandem_bm25_norm((uint32_t)b->number_count);
        b->footer.filled++;
        b->footer.length += b->number_count;
        rc = add_occurrences(b, document);
    }
done:
    tandem_buffer_free(&words.word);
    return rc;
}

/* ---- runs -------------------------------------------------------------------------------- */
/* Where the postings of each term go, as starts[term] of `words` words in all; by counting. */
static size_t *place_terms(const builder *b, size_t *words)
{
    size_t *starts = tandem_alloc(b->term_count + 1, sizeof *starts);
    if (!starts) {
        return NULL;
    }
    for (size_t i = 0; i < b->count; i++) {
        starts[b->all[i].term] += 2;
    }
    *words = 0;
    for (size_t t = 0; t < b->term_count; t++) {
        size_t size = starts[t];
        starts[t] = *words;
        *words += size > 0 ? size + 2 : 0;
    }
    return starts;
}

/* The occurrences as a run, in *out [*words]; none are left. Documents stay in order within a term. */
static int sort_run(builder *b, uint32_t **out, size_t *words)
{
    size_t *starts = place_terms(b, words);
    *out = starts ? tandem_alloc(*words, sizeof **out) : NULL;
    if (!*out) {
        free(starts);
        return TANDEM_ERROR;
    }
    uint32_t *run = *out;
    for (size_t i = 0; i < b->count; i++) { /* the head of a group counts as it fills */
        const occurrence *o = &b->all[i];
        uint32_t *group = run + starts[o->term];
        uint32_t *posting = group + 2 + 2 * (size_t)group[1]++;
        group[0] = o->term;
        posting[0] = o->document;
        posting[1] = o->frequency;
    }
    free(starts);
    b->count = 0;
    return TANDEM_OK;
}

static int open_spill(builder *b)
{
    TANDEM_TRY(tandem_stage_file(&b->spill_path, b->path));
    return tandem_writer_open(&b->spill, b->spill_path);
}

static int put_run_aside(builder *b)
{
    uint32_t *run;
    size_t words;
    if (!b->spill) {
        TANDEM_TRY(open_spill(b));
    }
    void *ends = b->run_ends;
    TANDEM_TRY(tandem_grow(&ends, &b->run_room, b->run_count + 1, sizeof *b->run_ends));
    b->run_ends = ends;
    TANDEM_TRY(sort_run(b, &run, &words));
    int rc = tandem_writer_write(b->spill, run, words * sizeof *run);
    free(run);
    b->run_ends[b->run_count] = (b->run_count > 0 ? b->run_ends[b->run_count - 1] : 0) + words;
    b->run_count++;
    return rc;
}

static int add_documents(builder *b, const tandem_text *documents, size_t count)
{
    tandem_progress *progress = tandem_progress_new("indexing", "documents", count);
    int rc = TANDEM_OK;
    for (size_t d = 0; d < count && rc >= 0; d++) {
        rc = add_document(b, &documents[d], (uint32_t)d);
        if (rc >= 0 && b->path && b->count >= b->run_limit) {
            rc = put_run_aside(b);
        }
        if (rc >= 0 && d % 1024 == 0) {
            tandem_progress_update(progress, d, NULL);
            rc = tandem_interrupted() ? tandem_error_code(TANDEM_INTERRUPTED, "interrupted while indexing") : rc;
        }
    }
    tandem_progress_free(progress);
    return rc < 0 ? rc : TANDEM_OK;
}

/* ---- writing ----------------------------------------------------------------------------- */
static int put(sink *s, const void *data, size_t size)
{
    if (size == 0) {
        return TANDEM_OK;
    }
    if (s->hasher) {
        tandem_hasher_bytes(s->hasher, data, size);
    }
    s->written += size;
    return s->writer ? tandem_writer_write(s->writer, data, size) : tandem_buffer_append(s->memory, data, size);
}

/* An array of the index: filled up to a multiple of 8 bytes. */
static int put_array(sink *s, const void *data, size_t size)
{
    static const char zeros[8] = {0};
    TANDEM_TRY(put(s, data, size));
    return put(s, zeros, (8 - s->written % 8) % 8);
}

/* Blocks in the making. */
typedef struct {
    sink *out;
    const uint8_t *norms;
    tandem_bm25_block *blocks;
    size_t count, room;
    uint64_t packed_bytes;
    uint32_t before; /* the index after the last document of the present term that is in a block */
    tandem_bm25_postings postings;
    size_t pending;
} block_writer;

static int end_block(block_writer *w)
{
    unsigned char packed[TANDEM_BM25_BLOCK_BYTES];
    void *blocks = w->blocks;
    TANDEM_TRY(tandem_grow(&blocks, &w->room, w->count + 1, sizeof *w->blocks));
    w->blocks = blocks;
    tandem_bm25_block *block = &w->blocks[w->count++];
    *block = (tandem_bm25_block){.start = w->packed_bytes, .min_norm = UINT8_MAX};
    for (size_t i = 0; i < w->pending; i++) {
        uint8_t norm = w->norms[w->postings.documents[i]];
        block->min_norm = norm < block->min_norm ? norm : block->min_norm;
    }
    size_t size = tandem_bm25_pack(packed, block, &w->postings, w->pending, w->before);
    w->packed_bytes += size;
    w->before = block->last + 1;
    w->pending = 0;
    return put(w->out, packed, size);
}

/* The postings of `term` from all runs. */
static int write_term(block_writer *w, run_reader *runs, size_t run_count, uint32_t term)
{
    w->before = 0;
    for (size_t r = 0; r < run_count; r++) {
        if (runs[r].at == runs[r].end || runs[r].at[0] != term) {
            continue;
        }
        uint32_t count = runs[r].at[1];
        const uint32_t *posting = runs[r].at + 2;
        for (uint32_t i = 0; i < count; i++, posting += 2) {
            w->postings.documents[w->pending] = posting[0];
            w->postings.frequencies[w->pending++] = posting[1];
            if (w->pending == TANDEM_BM25_BLOCK) {
                TANDEM_TRY(end_block(w));
            }
        }
        runs[r].at = posting;
    }
    return w->pending > 0 ? end_block(w) : TANDEM_OK;
}

static int write_postings(builder *b, block_writer *w, uint64_t *first, const tandem_map *spilled)
{
    static const char padding[TANDEM_BM25_PADDING] = {0};
    run_reader *runs = tandem_alloc(b->run_count + 1, sizeof *runs);
    if (!runs) {
        return TANDEM_ERROR;
    }
    const uint32_t *words = (const uint32_t *)(const void *)spilled->data;
    for (size_t r = 0; r < b->run_count; r++) {
        runs[r] = (run_reader){words + (r > 0 ? b->run_ends[r - 1] : 0), words + b->run_ends[r]};
    }
    runs[b->run_count] = (run_reader){b->last_run, b->last_run + b->last_run_words};
    int rc = TANDEM_OK;
    for (size_t t = 0; t < b->term_count && rc == TANDEM_OK; t++) {
        rc = write_term(w, runs, b->run_count + 1, (uint32_t)t);
        first[t + 1] = w->count;
    }
    free(runs);
    w->packed_bytes += sizeof padding;
    return rc < 0 ? rc : put_array(w->out, padding, sizeof padding);
}

static int compare_spellings(const void *left, const void *right, void *argument)
{
    const builder *b = argument;
    return strcmp(b->spelling[*(const uint32_t *)left], b->spelling[*(const uint32_t *)right]);
}

static int write_dictionary(builder *b, sink *s, const uint64_t *first)
{
    size_t terms = b->term_count;
    uint64_t *starts = tandem_alloc(terms + 1, sizeof *starts);
    uint32_t *sorted = tandem_alloc(terms, sizeof *sorted);
    int rc = starts && sorted ? TANDEM_OK : TANDEM_ERROR;
    TANDEM_TRY_GOTO(rc, done, rc);
    for (size_t t = 0; t < terms; t++) {
        starts[t + 1] = starts[t] + strlen(b->spelling[t]);
        sorted[t] = (uint32_t)t;
    }
    if (terms > 0) {
        qsort_r(sorted, terms, sizeof *sorted, compare_spellings, b);
    }
    b->footer.terms = terms;
    b->footer.text_bytes = starts[terms];
    TANDEM_TRY_GOTO(rc, done, put_array(s, first, (terms + 1) * sizeof *first));
    TANDEM_TRY_GOTO(rc, done, put_array(s, starts, (terms + 1) * sizeof *starts));
    TANDEM_TRY_GOTO(rc, done, put_array(s, sorted, terms * sizeof *sorted));
    for (size_t t = 0; t < terms && rc == TANDEM_OK; t++) {
        rc = put(s, b->spelling[t], strlen(b->spelling[t]));
    }
    if (rc == TANDEM_OK) {
        rc = put_array(s, NULL, 0);
    }
done:
    free(starts);
    free(sorted);
    return rc;
}

static int write_index(builder *b, sink *s, const tandem_map *spilled)
{
    const tandem_bm25_header header = {TANDEM_BM25_MAGIC, TANDEM_BM25_VERSION, (uint32_t)b->analyzer};
    block_writer w = {.out = s, .norms = b->norms};
    uint64_t *first = tandem_alloc(b->term_count + 1, sizeof *first);
    s->hasher = tandem_hasher_new();
    int rc = first && s->hasher ? TANDEM_OK : TANDEM_ERROR;
    TANDEM_TRY_GOTO(rc, done, rc);
    TANDEM_TRY_GOTO(rc, done, put(s, &header, sizeof header));
    TANDEM_TRY_GOTO(rc, done, write_postings(b, &w, first, spilled));
    TANDEM_TRY_GOTO(rc, done, put_array(s, w.blocks, w.count * sizeof *w.blocks));
    TANDEM_TRY_GOTO(rc, done, write_dictionary(b, s, first));
    TANDEM_TRY_GOTO(rc, done, put_array(s, b->norms, b->footer.documents));
    b->footer.blocks = w.count;
    b->footer.packed_bytes = w.packed_bytes;
    TANDEM_TRY_GOTO(rc, done, put(s, &b->footer, offsetof(tandem_bm25_footer, hash)));
    b->footer.hash = tandem_hasher_done(s->hasher);
    s->hasher = NULL;
    rc = put(s, &b->footer.hash, sizeof b->footer.hash);
done:
    if (s->hasher) {
        (void)tandem_hasher_done(s->hasher);
    }
    free(w.blocks);
    free(first);
    return rc;
}

/* ---- all of it --------------------------------------------------------------------------- */
static int invert(builder *b, const tandem_text *documents, size_t count)
{
    if (count > UINT32_MAX) {
        return tandem_error("%zu documents are more than 32-bit indices can name", count);
    }
    b->footer.documents = count;
    b->arena = tandem_arena_new();
    b->terms = tandem_strmap_new(0);
    b->words = tandem_strmap_new(0);
    b->norms = tandem_alloc(count, sizeof *b->norms);
    if (!b->arena || !b->terms || !b->words || !b->norms) {
        return TANDEM_ERROR;
    }
    TANDEM_TRY(add_documents(b, documents, count));
    TANDEM_TRY(sort_run(b, &b->last_run, &b->last_run_words));
    free(b->all);
    b->all = NULL;
    return b->spill ? tandem_writer_commit(&b->spill) : TANDEM_OK;
}

static int write_out(builder *b, tandem_buffer *memory)
{
    tandem_map spilled = {NULL, 0};
    sink s = {.memory = memory};
    int rc;
    if (b->run_count > 0) {
        TANDEM_TRY(tandem_map_open(&spilled, b->spill_path));
    }
    if (b->path) {
        TANDEM_TRY_GOTO(rc, done, tandem_writer_open(&s.writer, b->path));
    }
    TANDEM_TRY_GOTO(rc, done, write_index(b, &s, &spilled));
    rc = s.writer ? tandem_writer_commit(&s.writer) : TANDEM_OK;
done:
    tandem_writer_abort(s.writer);
    tandem_map_close(&spilled);
    return rc;
}

static void free_builder(builder *b)
{
    tandem_writer_abort(b->spill);
    if (b->spill_path) {
        tandem_stage_abort(b->spill_path);
    }
    free(b->spill_path);
    tandem_arena_free(b->arena);
    tandem_strmap_free(b->terms);
    tandem_strmap_free(b->words);
    free(b->spelling);
    free(b->numbers);
    free(b->all);
    free(b->norms);
    free(b->run_ends);
    free(b->last_run);
}

int tandem_bm25_build(const char *path, tandem_buffer *memory, const tandem_text *documents, size_t count,
                      tandem_analyzer analyzer, size_t run_limit)
{
    builder b = {.analyzer = analyzer, .path = path, .run_limit = run_limit};
    int rc = invert(&b, documents, count);
    if (rc == TANDEM_OK) {
        rc = write_out(&b, memory);
    }
    free_builder(&b);
    return rc;
}
