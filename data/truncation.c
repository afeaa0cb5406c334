/* truncation.c - what of a text or pair a model reads: truncation, the special tokens around
 * what remains, and the overflowing windows of what does not. */
#include <stdlib.h>
#include <string.h>

#include "data/tokenizer_scratch.h"
#include "tandem/memory.h"

size_t tandem_tokenizer_special_count(const tandem_tokenizer *tokenizer, bool pair)
{
    return pair ? tokenizer->processor.pair.specials : tokenizer->processor.single.specials;
}

/* ---- how much remains ------------------------------------------------------------------- */
/* longest_first as the library has it (utils/truncation.rs): not one token at a time,
 * but the shorter side kept whole where it leaves the other at least as much, and half
 * and half otherwise. */
static void truncate_pair(size_t *first, size_t *second, size_t budget)
{
    size_t *shorter = *first > *second ? second : first;
    size_t *longer = shorter == first ? second : first;
    if (*shorter <= budget / 2) {
        *longer = budget - *shorter;
    } else {
        *shorter = budget / 2;
        *longer = budget / 2 + budget % 2;
    }
}

/* only_first and only_second: the other side is kept whole. */
static int truncate_one(tandem_assembly *sides, bool pair, bool cut_second, size_t budget)
{
    const char *name = cut_second ? "second" : "first";
    if (cut_second && !pair) {
        return tandem_error("truncation only_second: a text of %zu tokens is too long, and there is no second one",
                            sides->first);
    }
    size_t *cut = cut_second ? &sides->second : &sides->first, other = sides->first + sides->second - *cut;
    if (other >= budget) {
        return tandem_error("truncation only_%s: the other text's %zu tokens leave the %s none of %zu", name, other,
                            name, budget);
    }
    *cut = budget - other;
    return TANDEM_OK;
}

static int plan(const tandem_tokenizer *tokenizer, size_t first, const size_t *second,
                const tandem_truncation *truncation, tandem_assembly *out)
{
    size_t specials = tandem_tokenizer_special_count(tokenizer, second != NULL), max_length = truncation->max_length;
    *out = (tandem_assembly){.first = first, .second = second ? *second : 0};
    if (max_length > 0 && max_length < specials) {
        return tandem_error("a maximum length of %zu leaves no room for the %zu special tokens", max_length, specials);
    }
    size_t budget = max_length > 0 ? max_length - specials : SIZE_MAX;
    if (out->first > budget || out->second > budget - out->first) {
        if (budget == 0) {
            out->first = out->second = 0;
        } else if (truncation->strategy != TANDEM_LONGEST_FIRST) {
            bool cut_second = truncation->strategy == TANDEM_ONLY_SECOND;
            TANDEM_TRY(truncate_one(out, second != NULL, cut_second, budget));
        } else if (second) {
            truncate_pair(&out->first, &out->second, budget);
        } else {
            out->first = budget;
        }
    }
    out->total = out->first + out->second + specials;
    return TANDEM_OK;
}

int tandem_tokenizer_plan(const tandem_tokenizer *tokenizer, size_t first, const size_t *second, size_t max_length,
                          tandem_assembly *out)
{
    const tandem_truncation truncation = {.max_length = max_length, .strategy = TANDEM_LONGEST_FIRST};
    return plan(tokenizer, first, second, &truncation, out);
}

/* ---- bare ids to what the model reads ------------------------------------------------------ */
int tandem_tokenizer_assemble(const tandem_tokenizer *tokenizer, tandem_bare first, const tandem_bare *second,
                              size_t max_length, uint32_t *ids, uint8_t *type_ids, int64_t *origin)
{
    tandem_assembly kept;
    TANDEM_TRY(tandem_tokenizer_plan(tokenizer, first.count, second ? &second->count : NULL, max_length, &kept));
    const tandem_template *template = second ? &tokenizer->processor.pair : &tokenizer->processor.single;
    bool backwards = tokenizer->truncation.left; /* the last token of a side is its first id */
    size_t at = 0;
    for (size_t p = 0; p < template->count; p++) {
        const tandem_template_piece *piece = &template->pieces[p];
        bool special = piece->kind == TANDEM_PIECE_SPECIAL, of_first = piece->kind == TANDEM_PIECE_FIRST;
        const uint32_t *source = special ? &piece->id : of_first ? first.ids : second->ids;
        size_t count = special ? 1 : of_first ? kept.first : kept.second;
        for (size_t i = 0; i < count; i++) {
            size_t from = backwards ? count - 1 - i : i;
            ids[at + i] = source[from];
            if (origin) {
                origin[at + i] = special ? -1 : (int64_t)from * 2 + (of_first ? 0 : 1);
            }
        }
        if (type_ids && count > 0) {
            memset(type_ids + at, piece->type_id, count);
        }
        at += count;
    }
    return TANDEM_OK;
}

/* ---- windows ---------------------------------------------------------------------------------- */
/* A side of an encoding: all its tokens, and how they fall into windows. */
typedef struct {
    uint32_t *ids, *starts, *ends; /* [count] in one allocation that begins at ids */
    tandem_token_spaces *spaces;   /* [count] where offsets are trimmed */
    size_t count, kept, stride, windows;
    bool left;
} side;

typedef struct {
    const tandem_tokenizer *tokenizer;
    const tandem_template *template;
    side first, second;
    uint32_t *ids, *starts, *ends; /* [capacity] of one window, in one allocation that begins at ids */
    uint8_t *type_ids;             /* [capacity] */
    size_t made;                   /* windows given so far */
    tandem_encoding_fn give;
    void *context;
} encoder;

static int read_side(const tandem_tokenizer *tokenizer, tandem_token_scratch *scratch, const char *text, size_t length,
                     side *out)
{
    TANDEM_TRY(tandem_tokenizer_run(tokenizer, scratch, text, length, SIZE_MAX, true));
    size_t count = scratch->count;
    out->count = count;
    out->ids = tandem_alloc(count, 3 * sizeof *out->ids);
    out->spaces = out->ids ? tandem_alloc(scratch->spaces ? count : 0, sizeof *out->spaces) : NULL;
    if (!out->spaces) {
        return TANDEM_ERROR;
    }
    out->starts = out->ids + count;
    out->ends = out->starts + count;
    memcpy(out->ids, scratch->ids, count * sizeof *out->ids);
    memcpy(out->starts, scratch->starts, count * sizeof *out->ids);
    memcpy(out->ends, scratch->ends, count * sizeof *out->ids);
    if (scratch->spaces) {
        memcpy(out->spaces, scratch->token_spaces, count * sizeof *out->spaces);
    }
    return TANDEM_OK;
}

/* The first window is what truncation keeps; each other overlaps the one before it by the
 * stride. Where nothing is kept, what overflows is everything (tokenizer/encoding.rs). */
static int set_windows(side *s, size_t kept, const tandem_truncation *truncation)
{
    s->kept = kept;
    s->stride = truncation->stride;
    s->left = truncation->left;
    s->windows = 1;
    if (kept >= s->count) {
        return TANDEM_OK;
    }
    if (kept > 0 && s->stride >= kept) {
        return tandem_error("a stride of %zu tokens must be less than the %zu that truncation keeps", s->stride, kept);
    }
    if (kept == 0) {
        s->windows = 2;
        return TANDEM_OK;
    }
    size_t step = kept - s->stride;
    s->windows += (s->count - kept + step - 1) / step;
    return TANDEM_OK;
}

static void window_range(const side *s, size_t window, size_t *begin, size_t *end)
{
    *begin = 0;
    *end = s->count;
    if (s->kept == 0 && s->count > 0) {
        *end = window == 0 ? 0 : s->count;
    } else if (s->kept < s->count && s->left) {
        *end = s->count - window * (s->kept - s->stride);
        *begin = *end > s->kept ? *end - s->kept : 0;
    } else if (s->kept < s->count) {
        *begin = window * (s->kept - s->stride);
        *end = *begin + s->kept < s->count ? *begin + s->kept : s->count;
    }
}

/* Adds a window of a side to the encoding, which has `at` tokens; returns how many it has then. */
static size_t add_window(const encoder *e, const side *s, size_t window, const tandem_template_piece *piece, size_t at)
{
    size_t begin, end;
    window_range(s, window, &begin, &end);
    for (size_t i = begin; i < end; i++, at++) {
        e->ids[at] = s->ids[i];
        e->type_ids[at] = window == 0 ? piece->type_id : piece->overflow_type_id;
        e->starts[at] = s->starts[i];
        e->ends[at] = s->ends[i];
        if (e->tokenizer->processor.trims > 0) {
            tandem_trim_offsets(&e->tokenizer->processor, s->spaces[i], i == begin, &e->starts[at], &e->ends[at]);
        }
    }
    return at;
}

static int give_window(encoder *e, size_t first, size_t second)
{
    size_t at = 0;
    for (size_t p = 0; p < e->template->count; p++) {
        const tandem_template_piece *piece = &e->template->pieces[p];
        switch (piece->kind) {
        case TANDEM_PIECE_FIRST: at = add_window(e, &e->first, first, piece, at); break;
        case TANDEM_PIECE_SECOND: at = add_window(e, &e->second, second, piece, at); break;
        case TANDEM_PIECE_SPECIAL:
            e->ids[at] = piece->id;
            e->type_ids[at] = piece->type_id;
            e->starts[at] = e->ends[at] = 0;
            at++;
            break;
        }
    }
    const tandem_encoding encoding = {e->ids, e->type_ids, e->starts, e->ends, at};
    return e->give(e->context, e->made++, &encoding);
}

/* All pairs of windows in the order in which Encoding::merge_with makes them: what remains of
 * both; each other window of the side that comes first in the template with all of the other
 * side's; what remains of it with the other side's others. */
static int give_windows(encoder *e, bool overflowing)
{
    bool second_leads = false;
    for (size_t p = e->template->count; p-- > 0;) {
        if (e->template->pieces[p].kind != TANDEM_PIECE_SPECIAL) {
            second_leads = e->template->pieces[p].kind == TANDEM_PIECE_SECOND;
        }
    }
    size_t leading = second_leads ? e->second.windows : e->first.windows;
    size_t following = second_leads ? e->first.windows : e->second.windows;
    TANDEM_TRY(give_window(e, 0, 0));
    for (size_t turn = 1; overflowing && turn <= leading; turn++) {
        size_t lead = turn % leading;
        for (size_t follow = lead == 0 ? 1 : 0; follow < following; follow++) {
            TANDEM_TRY(second_leads ? give_window(e, follow, lead) : give_window(e, lead, follow));
        }
    }
    return TANDEM_OK;
}

static size_t longest_window(const side *s)
{
    return s->kept == 0 ? s->count : s->kept;
}

static int encode(encoder *e, const tandem_truncation *truncation, bool pair, bool overflowing)
{
    tandem_assembly kept;
    TANDEM_TRY(plan(e->tokenizer, e->first.count, pair ? &e->second.count : NULL, truncation, &kept));
    TANDEM_TRY(set_windows(&e->first, kept.first, truncation));
    TANDEM_TRY(set_windows(&e->second, kept.second, truncation));
    size_t capacity = longest_window(&e->first) + longest_window(&e->second) + e->template->specials;
    e->ids = tandem_alloc(capacity, 3 * sizeof *e->ids);
    e->type_ids = e->ids ? tandem_alloc(capacity, 1) : NULL;
    if (!e->type_ids) {
        return TANDEM_ERROR;
    }
    e->starts = e->ids + capacity;
    e->ends = e->starts + capacity;
    return give_windows(e, overflowing);
}

int tandem_tokenizer_encode(const tandem_tokenizer *tokenizer, tandem_token_scratch *scratch, const tandem_input *input,
                            const tandem_truncation *truncation, bool overflowing, tandem_encoding_fn give,
                            void *context)
{
    bool pair = input->pair != NULL;
    encoder e = {.tokenizer = tokenizer,
                 .template = pair ? &tokenizer->processor.pair : &tokenizer->processor.single,
                 .give = give,
                 .context = context};
    int rc;
    TANDEM_TRY_GOTO(rc, done, read_side(tokenizer, scratch, input->text, input->length, &e.first));
    if (pair) {
        TANDEM_TRY_GOTO(rc, done, read_side(tokenizer, scratch, input->pair, input->pair_length, &e.second));
    }
    rc = encode(&e, truncation, pair, overflowing);
done:
    free(e.first.ids);
    free(e.first.spaces);
    free(e.second.ids);
    free(e.second.spaces);
    free(e.ids);
    free(e.type_ids);
    return rc;
}
