/* tokenizer_text.c - text to token ids: the added tokens, and the parts between them. */
#include <stdlib.h>
#include <string.h>

#include "data/tokenizer_scratch.h"
#include "data/unicode.h"
#include "tandem/memory.h"

/* ---- scratch ----------------------------------------------------------------------------- */
tandem_token_scratch *tandem_token_scratch_new(void)
{
    return tandem_alloc(1, sizeof(tandem_token_scratch));
}

/* Frees what is made for one tokenizer. */
static void forget(tandem_token_scratch *scratch)
{
    tandem_word_cache_clear(&scratch->wordpiece);
    tandem_bpe_scratch_free(scratch->bpe);
    tandem_unigram_scratch_free(scratch->unigram);
    for (size_t i = 0; i < scratch->cut_count; i++) {
        tandem_aligned_free(&scratch->cuts[i]);
    }
    free(scratch->cuts);
    scratch->wordpiece = (tandem_word_cache){0};
    scratch->bpe = NULL;
    scratch->unigram = NULL;
    scratch->cuts = NULL;
    scratch->cut_count = 0;
    scratch->serial = 0;
}

void tandem_token_scratch_free(tandem_token_scratch *scratch)
{
    if (!scratch) {
        return;
    }
    forget(scratch);
    tandem_aligned_free(&scratch->word);
    free(scratch->model_tokens.items);
    tandem_normalizer_scratch_clear(&scratch->normalizer);
    tandem_aligned_free(&scratch->repaired);
    tandem_aligned_free(&scratch->segment);
    free(scratch->ids);
    free(scratch->starts);
    free(scratch->ends);
    free(scratch->token_spaces);
    free(scratch);
}

static int grow(uint32_t **array, size_t *capacity, size_t needed)
{
    void *items = *array;
    int rc = tandem_grow(&items, capacity, needed, sizeof **array);
    *array = items;
    return rc;
}

int tandem_token_scratch_reserve(tandem_token_scratch *scratch, size_t more)
{
    size_t needed = scratch->count + more;
    TANDEM_TRY(grow(&scratch->ids, &scratch->capacity, needed));
    if (scratch->offsets) {
        TANDEM_TRY(grow(&scratch->starts, &scratch->start_capacity, needed));
        TANDEM_TRY(grow(&scratch->ends, &scratch->end_capacity, needed));
    }
    if (!scratch->spaces) {
        return TANDEM_OK;
    }
    void *spaces = scratch->token_spaces;
    int rc = tandem_grow(&spaces, &scratch->space_capacity, needed, sizeof *scratch->token_spaces);
    scratch->token_spaces = spaces;
    return rc;
}

/* Forgets another tokenizer, and makes all that is needed for this one. */
static int adopt(tandem_token_scratch *scratch, const tandem_tokenizer *tokenizer)
{
    if (scratch->serial == tokenizer->serial) {
        return TANDEM_OK;
    }
    forget(scratch);
    size_t cuts = tokenizer->pre_tokenizers.count;
    bool made = (scratch->cuts = tandem_alloc(cuts, sizeof *scratch->cuts)) != NULL;
    scratch->cut_count = made ? cuts : 0;
    switch (tokenizer->model.kind) {
    case TANDEM_WORDPIECE: made = made && tandem_word_cache_init(&scratch->wordpiece) == TANDEM_OK; break;
    case TANDEM_BPE: made = made && (scratch->bpe = tandem_bpe_scratch_new()); break;
    case TANDEM_UNIGRAM: made = made && (scratch->unigram = tandem_unigram_scratch_new()); break;
    case TANDEM_WORDLEVEL: break;
    }
    scratch->serial = made ? tokenizer->serial : 0;
    return made ? TANDEM_OK : TANDEM_ERROR;
}

/* ---- tokens --------------------------------------------------------------------------------- */
/* An added token, found as `length` bytes of text. */
static int add_token(tandem_token_scratch *scratch, uint32_t id, const char *text, size_t length, uint32_t start,
                     uint32_t end)
{
    TANDEM_TRY(tandem_token_scratch_reserve(scratch, 1));
    scratch->ids[scratch->count] = id;
    if (scratch->offsets) {
        scratch->starts[scratch->count] = start;
        scratch->ends[scratch->count] = end;
    }
    if (scratch->spaces) {
        scratch->token_spaces[scratch->count] = tandem_count_spaces(text, length);
    }
    tandem_token_scratch_count(scratch, 1);
    return TANDEM_OK;
}

typedef struct {
    const tandem_tokenizer *tokenizer;
    tandem_token_scratch *scratch;
} work;

static int add_word(void *context, tandem_view word)
{
    const work *w = context;
    const tandem_tokenizer *tokenizer = w->tokenizer;
    return tandem_token_model_word(&tokenizer->model, w->scratch, tokenizer->processor.spaces, word);
}

/* ---- normalized text -------------------------------------------------------------------------- */
/* Added tokens of the normalized text, and the words between them. */
static int tokenize_normal(const tandem_tokenizer *tokenizer, tandem_token_scratch *scratch, tandem_view view,
                           uint32_t position)
{
    work w = {tokenizer, scratch};
    size_t cursor = 0, covered = 0;
    tandem_added_match match;
    while (tandem_added_next(&tokenizer->normalized, view.text, view.length, &cursor, covered, &match)) {
        size_t before = match.start > covered ? match.start : covered;
        TANDEM_TRY(tandem_pre_tokenize(&tokenizer->pre_tokenizers, scratch->cuts, position,
                                       tandem_view_part(view, covered, before), add_word, &w));
        bool offsets = scratch->offsets;
        TANDEM_TRY(add_token(scratch, match.token->id, view.text + match.start, match.end - match.start,
                             offsets ? view.origins[match.start] : 0, offsets ? view.origins[match.end - 1] + 1 : 0));
        covered = match.end;
    }
    return tandem_pre_tokenize(&tokenizer->pre_tokenizers, scratch->cuts, position,
                               tandem_view_part(view, covered, view.length), add_word, &w);
}

static int track_segment(tandem_aligned *segment, const char *text, size_t length, uint32_t position)
{
    tandem_aligned_clear(segment, true);
    TANDEM_TRY(tandem_aligned_reserve(segment, length));
    for (size_t i = 0; i < length; i++) {
        position += i > 0 && (text[i] & 0xC0) != 0x80 ? 1 : 0;
        segment->origins[i] = position;
    }
    return TANDEM_OK;
}

/* Text between two added tokens. `position` is that of its first character; where no offsets
 * are wanted it need only tell whether that is 0. */
static int tokenize_segment(const tandem_tokenizer *tokenizer, tandem_token_scratch *scratch, const char *text,
                            size_t length, uint32_t position)
{
    if (length == 0) {
        return TANDEM_OK;
    }
    if (tokenizer->fused) {
        return tandem_bert_tokenize(tokenizer, scratch, text, length, position);
    }
    tandem_view view = {text, NULL, length};
    if (scratch->offsets || (tokenizer->ask_origin && position == 0)) {
        TANDEM_TRY(track_segment(&scratch->segment, text, length, position));
        view.origins = scratch->segment.origins;
    }
    TANDEM_TRY(tandem_normalizers_apply(&tokenizer->normalizers, &scratch->normalizer, &view));
    return tokenize_normal(tokenizer, scratch, view, position);
}

/* What was inserted before a segment's first character begins and ends where that begins. */
static void place_inserted(tandem_token_scratch *scratch, size_t first, uint32_t position)
{
    for (size_t i = first; i < scratch->count; i++) {
        scratch->starts[i] = scratch->starts[i] == TANDEM_ORIGIN_NONE ? position : scratch->starts[i];
        scratch->ends[i] = scratch->ends[i] == 0 ? position : scratch->ends[i]; /* TANDEM_ORIGIN_NONE + 1 */
    }
}

/* ---- raw text -------------------------------------------------------------------------------------- */
/* The position of text[to], where that of text[from] is `position`. */
static uint32_t position_of(const char *text, size_t from, uint32_t position, size_t to)
{
    size_t begin = from < to ? from : to, end = from < to ? to : from;
    uint32_t count = 0, c;
    for (size_t at = begin; at < end; count++) {
        at += tandem_unicode_decode(text + at, end - at, &c);
    }
    return from < to ? position + count : position - count;
}

static int tokenize_between(const tandem_tokenizer *tokenizer, tandem_token_scratch *scratch, const char *text,
                            size_t length, uint32_t position)
{
    size_t first = scratch->count;
    TANDEM_TRY(tokenize_segment(tokenizer, scratch, text, length, position));
    if (scratch->offsets) {
        place_inserted(scratch, first, position);
    }
    return TANDEM_OK;
}

static int tokenize_raw(const tandem_tokenizer *tokenizer, tandem_token_scratch *scratch, const char *text,
                        size_t length)
{
    bool offsets = scratch->offsets;
    size_t cursor = 0, covered = 0;
    uint32_t position = 0; /* of text[covered]; without offsets 1 for all but 0 */
    tandem_added_match match;
    while (tandem_added_next(&tokenizer->raw, text, length, &cursor, covered, &match)) {
        /* Less than `covered` after a token that took the white space another begins with. */
        size_t before = match.start > covered ? match.start - covered : 0;
        TANDEM_TRY(tokenize_between(tokenizer, scratch, text + covered, before, position));
        uint32_t start = offsets ? position_of(text, covered, position, match.start) : 0;
        position = offsets ? position_of(text, match.start, start, match.end) : 1;
        TANDEM_TRY(add_token(scratch, match.token->id, text + match.start, match.end - match.start, start, position));
        covered = match.end;
    }
    return tokenize_between(tokenizer, scratch, text + covered, length - covered, position);
}

/* Rewrites text that is not valid UTF-8 as Rust's lossy conversion does. */
static int repair(tandem_aligned *out, const char *text, size_t length)
{
    tandem_aligned_clear(out, false);
    for (size_t at = 0; at < length;) {
        uint32_t c;
        at += tandem_unicode_decode(text + at, length - at, &c);
        TANDEM_TRY(tandem_aligned_char(out, c, 0));
    }
    return TANDEM_OK;
}

int tandem_tokenizer_run(const tandem_tokenizer *tokenizer, tandem_token_scratch *scratch, const char *text,
                         size_t length, size_t limit, bool offsets)
{
    if (length >= UINT32_MAX) {
        return tandem_error("a text of %zu bytes is too long: at most 4294967294 can be tokenized", length);
    }
    TANDEM_TRY(adopt(scratch, tokenizer));
    scratch->limit = limit;
    scratch->offsets = offsets;
    scratch->spaces = offsets && tokenizer->processor.trims > 0;
    scratch->count = scratch->total = 0;
    TANDEM_TRY(tandem_token_scratch_reserve(scratch, 1)); /* so that no array is NULL */
    if (!tokenizer->fused && tandem_utf8_invalid(text, length) < length) {
        TANDEM_TRY(repair(&scratch->repaired, text, length));
        text = scratch->repaired.text;
        length = scratch->repaired.length;
    }
    return tokenize_raw(tokenizer, scratch, text, length);
}

/* ---- bare sequences ----------------------------------------------------------------------------------- */
static void trim(const tandem_tokenizer *tokenizer, tandem_token_scratch *scratch)
{
    for (size_t i = 0; i < scratch->count; i++) {
        tandem_trim_offsets(&tokenizer->processor, scratch->token_spaces[i], i == 0, &scratch->starts[i],
                            &scratch->ends[i]);
    }
}

static void reverse(uint32_t *items, size_t count)
{
    for (size_t i = 0; i < count / 2; i++) {
        uint32_t item = items[i];
        items[i] = items[count - 1 - i];
        items[count - 1 - i] = item;
    }
}

int tandem_tokenizer_bare(const tandem_tokenizer *tokenizer, tandem_token_scratch *scratch, const char *text,
                          size_t length, size_t limit, bool offsets, tandem_tokens *out)
{
    bool left = tokenizer->truncation.left;
    limit = limit > 0 ? limit : SIZE_MAX;
    TANDEM_TRY(tandem_tokenizer_run(tokenizer, scratch, text, length, left ? SIZE_MAX : limit, offsets));
    if (scratch->spaces) {
        trim(tokenizer, scratch);
    }
    if (left) {
        reverse(scratch->ids, scratch->count);
        reverse(scratch->starts, offsets ? scratch->count : 0);
        reverse(scratch->ends, offsets ? scratch->count : 0);
        scratch->count = scratch->count < limit ? scratch->count : limit;
    }
    *out = (tandem_tokens){.ids = scratch->ids,
                           .starts = offsets ? scratch->starts : NULL,
                           .ends = offsets ? scratch->ends : NULL,
                           .count = scratch->count,
                           .total = scratch->total};
    return TANDEM_OK;
}
