/* token_store_build.c - the token ids of many texts, made on all threads.
 *
 * Texts are taken in blocks by the threads, and blocks in waves, after each of which the ids
 * are put together in the order of the texts. So which thread made them leaves no trace, and
 * beyond the ids themselves only those of a wave are in memory.
 */
#include <stdlib.h>
#include <string.h>

#include "data/token_store_private.h"
#include "tandem/log.h"
#include "tandem/machine.h"
#include "tandem/memory.h"
#include "tandem/openmp.h"

enum { BLOCK = 64 /* texts that a thread takes at a time */, WAVE = 32 /* blocks for each thread in a wave */ };

/* The ids of a block's texts, one after the other. */
typedef struct {
    uint32_t *ids;
    size_t count, capacity;
} token_block;

/* What a thread owns. */
typedef struct {
    tandem_token_scratch *scratch;
    tandem_buffer prompted; /* prompt + text */
} token_worker;

/* What the threads share. */
typedef struct {
    tandem_token_store *store;
    const tandem_tokenizer *tokenizer;
    const tandem_text *texts;
    const tandem_bare *known;
    const char *prompt;
    size_t prompt_length;
    token_worker *workers; /* [threads] */
    size_t threads;
    token_block *blocks; /* [wave] */
    size_t wave;         /* blocks in a wave */
    size_t capacity;     /* of store->ids */
    tandem_progress *progress;
    size_t done;         /* texts */
    size_t failed_block; /* the first that failed, or SIZE_MAX; its code and message: */
    int rc;
    char *message;
} token_job;

static size_t block_end(const token_job *job, size_t block)
{
    return (block + 1) * BLOCK < job->store->count ? (block + 1) * BLOCK : job->store->count;
}

/* ---- texts ------------------------------------------------------------------------------ */
static int add_ids(const token_job *job, token_block *block, size_t index, const uint32_t *ids, size_t total)
{
    if (total > UINT32_MAX) {
        return tandem_error("text %zu has %zu tokens: at most %u can be counted", index, total, UINT32_MAX);
    }
    size_t kept = tandem_token_store_kept(job->store, total);
    void *grown = block->ids;
    TANDEM_TRY(tandem_grow(&grown, &block->capacity, block->count + kept, sizeof *block->ids));
    block->ids = grown;
    if (kept > 0) {
        memcpy(block->ids + block->count, ids, kept * sizeof *ids);
    }
    block->count += kept;
    job->store->totals[index] = (uint32_t)total;
    return TANDEM_OK;
}

static int tokenize_text(const token_job *job, token_worker *worker, token_block *block, size_t index)
{
    const char *text = job->texts[index].text;
    size_t length = job->texts[index].length;
    if (job->prompt_length > 0) {
        tandem_buffer_clear(&worker->prompted);
        TANDEM_TRY(tandem_buffer_append(&worker->prompted, job->prompt, job->prompt_length));
        TANDEM_TRY(tandem_buffer_append(&worker->prompted, text, length));
        text = worker->prompted.data;
        length = worker->prompted.length;
    }
    tandem_tokens tokens;
    TANDEM_TRY(tandem_tokenizer_bare(job->tokenizer, worker->scratch, text, length, job->store->limit, false, &tokens));
    return add_ids(job, block, index, tokens.ids, tokens.total);
}

/* ---- blocks ----------------------------------------------------------------------------- */
static int make_block(const token_job *job, token_worker *worker, token_block *block, size_t number)
{
    if (!worker->scratch) {
        worker->scratch = tandem_token_scratch_new();
    }
    if (!worker->scratch) {
        return TANDEM_ERROR;
    }
    if (tandem_interrupted()) {
        return tandem_error_code(TANDEM_INTERRUPTED, "interrupted while tokenizing");
    }
    block->count = 0;
    for (size_t i = number * BLOCK; i < block_end(job, number); i++) {
        if (job->known && job->known[i].ids) {
            TANDEM_TRY(add_ids(job, block, i, job->known[i].ids, job->known[i].count));
        } else {
            TANDEM_TRY(tokenize_text(job, worker, block, i));
        }
    }
    return TANDEM_OK;
}

/* Messages are a thread's own: the first failing block's is carried to the caller's. */
static void note_failure(token_job *job, size_t number, int rc)
{
    if (number < job->failed_block) {
        job->failed_block = number;
        job->rc = rc;
        free(job->message);
        job->message = strdup(tandem_error_message());
    }
}

/* Makes blocks first .. end, which are no more than a wave. */
static void make_wave(token_job *job, size_t first, size_t end)
{
#pragma omp parallel for num_threads((int)job->threads) schedule(dynamic)
    for (size_t number = first; number < end; number++) {
        int rc = make_block(job, &job->workers[omp_get_thread_num()], &job->blocks[number - first], number);
#pragma omp critical(tandem_token_store)
        {
            if (rc < 0) {
                note_failure(job, number, rc);
            }
            job->done += block_end(job, number) - number * BLOCK;
            tandem_progress_update(job->progress, job->done, NULL);
        }
    }
}

/* Puts the blocks' ids behind those of the store. */
static int join_wave(token_job *job, size_t first, size_t end)
{
    tandem_token_store *store = job->store;
    for (size_t number = first; number < end; number++) {
        const token_block *block = &job->blocks[number - first];
        uint64_t used = store->offsets[number * BLOCK];
        void *ids = store->ids;
        TANDEM_TRY(tandem_grow(&ids, &job->capacity, used + block->count, sizeof *store->ids));
        store->ids = ids;
        if (block->count > 0) {
            memcpy(store->ids + used, block->ids, block->count * sizeof *block->ids);
        }
        for (size_t i = number * BLOCK; i < block_end(job, number); i++) {
            store->offsets[i + 1] = store->offsets[i] + tandem_token_store_kept(store, store->totals[i]);
        }
    }
    return TANDEM_OK;
}

static size_t count_blocks(const tandem_token_store *store)
{
    return store->count / BLOCK + (store->count % BLOCK != 0);
}

static int make_all(token_job *job)
{
    size_t blocks = count_blocks(job->store);
    for (size_t first = 0; first < blocks; first += job->wave) {
        size_t end = blocks - first < job->wave ? blocks : first + job->wave;
        make_wave(job, first, end);
        if (job->rc < 0) {
            return tandem_error_code(job->rc, "%s", job->message ? job->message : "out of memory");
        }
        TANDEM_TRY(join_wave(job, first, end));
    }
    /* Gives back what growing took too much; one more, since ids that are NULL are not known. */
    void *ids = job->store->ids;
    TANDEM_TRY(tandem_realloc(&ids, (size_t)job->store->offsets[job->store->count] + 1, sizeof *job->store->ids));
    job->store->ids = ids;
    return TANDEM_OK;
}

/* ---- stores ------------------------------------------------------------------------------ */
int tandem_token_store_begin(tandem_token_store **out, const tandem_tokenizer *tokenizer, const tandem_text *texts,
                             size_t count, size_t limit)
{
    *out = NULL;
    tandem_token_store *store = tandem_alloc(1, sizeof *store);
    if (!store) {
        return TANDEM_ERROR;
    }
    store->hashes = tandem_alloc(count, sizeof *store->hashes);
    store->offsets = tandem_alloc(count + 1, sizeof *store->offsets);
    store->totals = tandem_alloc(count, sizeof *store->totals);
    if (!store->hashes || !store->offsets || !store->totals) {
        tandem_token_store_free(store);
        return TANDEM_ERROR;
    }
    store->count = count;
    store->limit = limit;
    store->vocab = tandem_tokenizer_vocab_size(tokenizer);
    tandem_hash_hex(tandem_tokenizer_hash(tokenizer), store->tokenizer);
    for (size_t i = 0; i < count; i++) {
        store->hashes[i] = tandem_hash_bytes(texts[i].text, texts[i].length);
    }
    *out = store;
    return TANDEM_OK;
}

static void free_job(token_job *job)
{
    for (size_t i = 0; job->workers && i < job->threads; i++) {
        tandem_token_scratch_free(job->workers[i].scratch);
        tandem_buffer_free(&job->workers[i].prompted);
    }
    for (size_t i = 0; job->blocks && i < job->wave; i++) {
        free(job->blocks[i].ids);
    }
    free(job->workers);
    free(job->blocks);
    free(job->message);
    tandem_progress_free(job->progress);
}

int tandem_token_store_fill(tandem_token_store *store, const tandem_tokenizer *tokenizer, const tandem_text *texts,
                            const char *prompt, const tandem_bare *known)
{
    size_t most = tandem_machine_threads(), blocks = count_blocks(store);
    token_job job = {.store = store, .tokenizer = tokenizer, .texts = texts, .known = known,
                     .prompt = prompt ? prompt : "", .threads = blocks == 0 ? 1 : blocks < most ? blocks : most,
                     .failed_block = SIZE_MAX};
    job.prompt_length = strlen(job.prompt);
    job.wave = WAVE * job.threads;
    job.workers = tandem_alloc(job.threads, sizeof *job.workers);
    job.blocks = tandem_alloc(job.wave, sizeof *job.blocks);
    job.progress = tandem_progress_new("tokenizing", "texts", store->count);
    for (size_t i = 0; i < store->count; i++) {
        store->tokenized += !known || !known[i].ids;
    }
    int rc = job.workers && job.blocks ? make_all(&job) : TANDEM_ERROR;
    free_job(&job);
    return rc;
}

int tandem_token_store_build(tandem_token_store **out, const tandem_tokenizer *tokenizer, const tandem_text *texts,
                             size_t count, const char *prompt, size_t limit)
{
    TANDEM_TRY(tandem_token_store_begin(out, tokenizer, texts, count, limit));
    int rc = tandem_token_store_fill(*out, tokenizer, texts, prompt, NULL);
    if (rc < 0) {
        tandem_token_store_free(*out);
        *out = NULL;
    }
    return rc;
}
