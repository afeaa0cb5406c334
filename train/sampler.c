/* sampler.c - the batches of an epoch. */
#include "train/sampler.h"

#include <stdlib.h>
#include <string.h>

#include "tandem/memory.h"
#include "tandem/random.h"

void tandem_epoch_free(tandem_epoch *epoch)
{
    free(epoch->order);
    free(epoch->starts);
    *epoch = (tandem_epoch){0};
}

/* ---- without duplicates ------------------------------------------------------------------- */
typedef struct {
    const tandem_examples *examples;
    uint32_t *after;    /* [texts]: one past the last batch that has the text */
    uint32_t *open;     /* [count + 1]: the first batch from this one that may have room, by union-find */
    uint32_t *filled;   /* [count]: examples in a batch */
    uint32_t *batch_of; /* [count]: of the example at a place of the shuffle */
    size_t batches;
} placing;

/* The number of an example's text: documents have their rows, queries those of the document with
 * the same text, or one of their own. Text 0 is the query, 1 the positive, then negatives and others. */
static uint32_t text_of(const tandem_examples *examples, const tandem_example *example, size_t text)
{
    if (text == 0) {
        uint32_t same = examples->query_documents[example->query];

        return same != TANDEM_NO_ROW ? same : (uint32_t)examples->document_count + example->query;
    }
    if (text == 1) {
        return example->positive;
    }
    text -= 2;
    return text < example->negative_count ? example->negatives[text] : example->others[text - example->negative_count];
}

static uint32_t first_open(uint32_t *open, uint32_t batch)
{
    while (open[batch] != batch) {
        open[batch] = open[open[batch]];
        batch = open[batch];
    }
    return batch;
}

static void place(placing *p, size_t at, uint32_t item, size_t batch_size)
{
    const tandem_example *example = &p->examples->items[item];
    size_t texts = 2 + example->negative_count + example->other_count;
    uint32_t earliest = 0;

    for (size_t i = 0; i < texts; i++) {
        uint32_t after = p->after[text_of(p->examples, example, i)];

        earliest = after > earliest ? after : earliest;
    }
    uint32_t batch = first_open(p->open, earliest);

    for (size_t i = 0; i < texts; i++) {
        p->after[text_of(p->examples, example, i)] = batch + 1;
    }
    p->batch_of[at] = batch;
    if (++p->filled[batch] == batch_size) {
        p->open[batch] = batch + 1;
    }
    p->batches = batch + 1 > p->batches ? batch + 1 : p->batches;
}

/* Sorts the examples by batch, of one batch in the order of the shuffle (a counting sort), with the
 * batches in an order of their own: small ones, which come last, shall not end every epoch. */
static int gather(tandem_epoch *out, const placing *p, tandem_random *random)
{
    uint32_t *sequence = tandem_alloc(p->batches, sizeof *sequence), *sorted = NULL;
    size_t *next = tandem_alloc(p->batches, sizeof *next);

    sorted = tandem_alloc(out->count, sizeof *sorted);
    if (sequence == NULL || next == NULL || sorted == NULL) {
        free(sequence);
        free(next);
        free(sorted);
        return TANDEM_ERROR;
    }
    for (size_t b = 0; b < p->batches; b++) {
        sequence[b] = (uint32_t)b;
    }
    tandem_random_shuffle(random, sequence, p->batches);
    for (size_t b = 0; b < p->batches; b++) {
        next[sequence[b]] = out->starts[b];
        out->starts[b + 1] = out->starts[b] + p->filled[sequence[b]];
    }
    for (size_t i = 0; i < out->count; i++) {
        sorted[next[p->batch_of[i]]++] = out->order[i];
    }
    free(out->order);
    out->order = sorted;
    out->batches = p->batches;
    free(sequence);
    free(next);
    return TANDEM_OK;
}

static int cut_without_duplicates(tandem_epoch *out, const tandem_examples *examples, size_t batch_size,
                                  tandem_random *random)
{
    placing p = {.examples = examples};
    int rc = TANDEM_ERROR;

    p.after = tandem_alloc(examples->document_count + examples->query_count, sizeof *p.after);
    p.open = tandem_alloc(out->count + 1, sizeof *p.open);
    p.filled = tandem_alloc(out->count, sizeof *p.filled);
    p.batch_of = tandem_alloc(out->count, sizeof *p.batch_of);
    if (p.after != NULL && p.open != NULL && p.filled != NULL && p.batch_of != NULL) {
        for (size_t b = 0; b <= out->count; b++) {
            p.open[b] = (uint32_t)b;
        }
        for (size_t i = 0; i < out->count; i++) {
            place(&p, i, out->order[i], batch_size);
        }
        rc = gather(out, &p, random);
    }
    free(p.after);
    free(p.open);
    free(p.filled);
    free(p.batch_of);
    return rc;
}

/* A text that an example itself has twice counts once. */
int tandem_epoch_most_frequent(size_t *example, size_t *count, const tandem_examples *examples)
{
    size_t texts = examples->document_count + examples->query_count;
    uint32_t *in = tandem_alloc(texts, sizeof *in), *last = tandem_alloc(texts, sizeof *last);

    *example = *count = 0;
    if (in == NULL || last == NULL) {
        free(in);
        free(last);
        return TANDEM_ERROR;
    }
    for (size_t i = 0; i < examples->count; i++) {
        const tandem_example *item = &examples->items[i];

        for (size_t k = 0; k < 2 + item->negative_count + item->other_count; k++) {
            uint32_t text = text_of(examples, item, k);

            if (last[text] != i + 1) {
                last[text] = (uint32_t)i + 1;
                in[text]++;
            }
            if (in[text] > *count) {
                *count = in[text];
                *example = i;
            }
        }
    }
    free(in);
    free(last);
    return TANDEM_OK;
}

/* ---- any ---------------------------------------------------------------------------------- */
static void cut_evenly(tandem_epoch *out, size_t batch_size)
{
    for (size_t first = 0; first < out->count; first = out->starts[out->batches]) {
        size_t left = out->count - first;

        out->starts[++out->batches] = first + (left < batch_size ? left : batch_size);
    }
}

int tandem_epoch_plan(tandem_epoch *out, const tandem_examples *examples, tandem_sampler sampler, size_t batch_size,
                      uint64_t seed, uint64_t epoch)
{
    tandem_random random = tandem_random_stream(seed, "batches", epoch);
    int rc = TANDEM_OK;

    *out = (tandem_epoch){.count = examples->count};
    out->order = tandem_alloc(out->count, sizeof *out->order);
    out->starts = tandem_alloc(out->count + 1, sizeof *out->starts);
    if (out->order == NULL || out->starts == NULL) {
        tandem_epoch_free(out);
        return TANDEM_ERROR;
    }
    for (size_t i = 0; i < out->count; i++) {
        out->order[i] = (uint32_t)i;
    }
    tandem_random_shuffle(&random, out->order, out->count);
    if (sampler == TANDEM_SAMPLER_NO_DUPLICATES) {
        rc = cut_without_duplicates(out, examples, batch_size, &random);
    } else {
        cut_evenly(out, batch_size);
    }
    if (rc < 0) {
        tandem_epoch_free(out);
    }
    return rc;
}
