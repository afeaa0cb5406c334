/* token_store.c - token ids of many texts: tokenized on all threads, or from the cache. */
#include "tandem/token_store.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "data/token_store_private.h"
#include "tandem/cache.h"
#include "tandem/log.h"
#include "tandem/machine.h"
#include "tandem/memory.h"

/* ---- tokenizing --------------------------------------------------------------------- */
enum { BLOCK = 64 /* texts that a thread takes at a time */, CACHE_FROM = 64 };

/* What the threads share. Block b's ids lie in blocks[b]; which thread made them leaves no
 * trace in the result. */
typedef struct {
    const tandem_tokenizer *tokenizer;
    const tandem_text *texts;
    size_t count, limit;
    const char *prompt;
    size_t prompt_length;
    uint32_t **blocks;
    size_t *kept;     /* [count] ids of each text */
    uint32_t *totals; /* [count] the store's */
    tandem_progress *progress;
    size_t done; /* texts */
    size_t failed_block; /* the first that failed, or SIZE_MAX; its code and message: */
    atomic_int rc;
    char *message;
} token_job;

/* What a thread owns. */
typedef struct {
    tandem_token_scratch *scratch;
    tandem_buffer prompted; /* prompt + text */
    uint32_t *ids;
    size_t capacity;
} token_worker;

static int tokenize_text(const token_job *job, token_worker *worker, size_t index, size_t *used)
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
    TANDEM_TRY(tandem_tokenizer_bare(job->tokenizer, worker->scratch, text, length, job->limit, false, &tokens));
    if (tokens.total > UINT32_MAX) {
        return tandem_error("text %zu has %zu tokens: at most %u can be counted", index, tokens.total, UINT32_MAX);
    }
    void *ids = worker->ids;
    TANDEM_TRY(tandem_grow(&ids, &worker->capacity, *used + tokens.count, sizeof *worker->ids));
    worker->ids = ids;
    if (tokens.count > 0) {
        memcpy(worker->ids + *used, tokens.ids, tokens.count * sizeof *tokens.ids);
    }
    *used += tokens.count;
    job->kept[index] = tokens.count;
    job->totals[index] = (uint32_t)tokens.total;
    return TANDEM_OK;
}

static int tokenize_block(const token_job *job, token_worker *worker, size_t block)
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
    size_t used = 0;
    size_t end = (block + 1) * BLOCK < job->count ? (block + 1) * BLOCK : job->count;
    for (size_t i = block * BLOCK; i < end; i++) {
        TANDEM_TRY(tokenize_text(job, worker, i, &used));
    }
    job->blocks[block] = tandem_alloc(used, sizeof *worker->ids);
    if (!job->blocks[block]) {
        return TANDEM_ERROR;
    }
    if (used > 0) {
        memcpy(job->blocks[block], worker->ids, used * sizeof *worker->ids);
    }
    return TANDEM_OK;
}

/* Messages are a thread's own: the first failing block's is carried to the caller's. */
static void note_failure(token_job *job, size_t block, int rc)
{
    if (block < job->failed_block) {
        job->failed_block = block;
        job->rc = rc;
        free(job->message);
        job->message = strdup(tandem_error_message());
    }
}

static void tokenize_blocks(token_job *job, size_t blocks)
{
#pragma omp parallel num_threads((int)tandem_machine_threads())
    {
        token_worker worker = {.prompted = TANDEM_BUFFER_INIT};
#pragma omp for schedule(dynamic)
        for (size_t block = 0; block < blocks; block++) {
            if (job->rc < 0) {
                continue;
            }
            int rc = tokenize_block(job, &worker, block);
#pragma omp critical(tandem_token_store)
            {
                if (rc < 0) {
                    note_failure(job, block, rc);
                }
                job->done = job->done + BLOCK < job->count ? job->done + BLOCK : job->count;
                tandem_progress_update(job->progress, job->done, NULL);
            }
        }
        tandem_token_scratch_free(worker.scratch);
        tandem_buffer_free(&worker.prompted);
        free(worker.ids);
    }
}

/* Joins the blocks, freeing each. */
static int join_blocks(tandem_token_store *store, const token_job *job, size_t blocks)
{
    for (size_t i = 0; i < job->count; i++) {
        store->offsets[i + 1] = store->offsets[i] + job->kept[i];
    }
    store->ids = tandem_alloc(store->offsets[job->count], sizeof *store->ids);
    if (!store->ids) {
        return TANDEM_ERROR;
    }
    for (size_t block = 0; block < blocks; block++) {
        size_t end = (block + 1) * BLOCK < job->count ? (block + 1) * BLOCK : job->count;
        uint64_t first = store->offsets[block * BLOCK];
        memcpy(store->ids + first, job->blocks[block], (store->offsets[end] - first) * sizeof *store->ids);
        free(job->blocks[block]);
        job->blocks[block] = NULL;
    }
    return TANDEM_OK;
}

int tandem_token_store_build(tandem_token_store **out, const tandem_tokenizer *tokenizer,
                             const tandem_text *texts, size_t count, const char *prompt, size_t limit)
{
    *out = NULL;
    size_t blocks = count / BLOCK + (count % BLOCK != 0);
    tandem_token_store *store = tandem_alloc(1, sizeof *store);
    token_job job = {.tokenizer = tokenizer, .texts = texts, .count = count, .limit = limit, .prompt = prompt ? prompt : "",
               .failed_block = SIZE_MAX};
    job.prompt_length = strlen(job.prompt);
    job.blocks = tandem_alloc(blocks, sizeof *job.blocks);
    job.kept = tandem_alloc(count, sizeof *job.kept);
    int rc = store && job.blocks && job.kept ? TANDEM_OK : TANDEM_ERROR;
    TANDEM_TRY_GOTO(rc, done, rc);
    store->count = count;
    store->limit = limit;
    store->vocab = tandem_tokenizer_vocab_size(tokenizer);
    tandem_hash_hex(tandem_tokenizer_hash(tokenizer), store->tokenizer);
    store->offsets = tandem_alloc(count + 1, sizeof *store->offsets);
    store->totals = job.totals = tandem_alloc(count, sizeof *store->totals);
    TANDEM_TRY_GOTO(rc, done, store->offsets && store->totals ? TANDEM_OK : TANDEM_ERROR);
    job.progress = tandem_progress_new("tokenizing", "texts", count);
    tokenize_blocks(&job, blocks);
    tandem_progress_free(job.progress);
    if (job.rc < 0) {
        rc = tandem_error_code(job.rc, "%s", job.message ? job.message : "out of memory");
        goto done;
    }
    rc = join_blocks(store, &job, blocks);
done:
    for (size_t block = 0; job.blocks && block < blocks; block++) {
        free(job.blocks[block]);
    }
    free(job.blocks);
    free(job.kept);
    free(job.message);
    if (rc < 0) {
        tandem_token_store_free(store);
        return rc;
    }
    *out = store;
    return TANDEM_OK;
}

/* ---- the cache ------------------------------------------------------------------------ */
static int store_key(tandem_hash *out, const tandem_tokenizer *tokenizer, const tandem_text *texts, size_t count,
                     const char *prompt, size_t limit)
{
    tandem_hasher *hasher = tandem_hasher_new();
    if (!hasher) {
        return TANDEM_ERROR;
    }
    tandem_hasher_string(hasher, "tokens 1"); /* to be raised when the file form changes */
    tandem_hasher_hash(hasher, tandem_tokenizer_hash(tokenizer));
    tandem_hasher_string(hasher, prompt ? prompt : "");
    tandem_hasher_int(hasher, (int64_t)limit);
    tandem_hasher_int(hasher, (int64_t)count);
    for (size_t i = 0; i < count; i++) {
        tandem_hasher_field(hasher, texts[i].text, texts[i].length);
    }
    *out = tandem_hasher_done(hasher);
    return TANDEM_OK;
}

/* The cache's entry, when it is there and sound. */
static bool read_entry(tandem_token_store **out, const char *path, tandem_hash key,
                       const tandem_tokenizer *tokenizer, size_t count)
{
    int rc = tandem_token_store_read(out, path, key);
    if (rc == TANDEM_OK && ((*out)->count != count || (*out)->vocab > tandem_tokenizer_vocab_size(tokenizer))) {
        tandem_token_store_free(*out);
        *out = NULL;
        rc = tandem_error("%s: not of these texts and this tokenizer", path);
    }
    if (rc < 0 && rc != TANDEM_NOT_FOUND) {
        tandem_log_warn("the cache entry is damaged and made anew: %s", tandem_error_message());
    }
    return rc == TANDEM_OK;
}

int tandem_token_store_make(tandem_token_store **out, const tandem_tokenizer *tokenizer,
                            const tandem_text *texts, size_t count, const char *prompt, size_t limit)
{
    *out = NULL;
    if (count < CACHE_FROM) {
        return tandem_token_store_build(out, tokenizer, texts, count, prompt, limit);
    }
    tandem_hash key;
    char *path = NULL;
    TANDEM_TRY(store_key(&key, tokenizer, texts, count, prompt, limit));
    TANDEM_TRY(tandem_cache_path(&path, "tokens", key, ".h5"));
    int rc = TANDEM_OK;
    if (!path || !read_entry(out, path, key, tokenizer, count)) {
        rc = tandem_token_store_build(out, tokenizer, texts, count, prompt, limit);
        if (rc == TANDEM_OK && path && tandem_token_store_write(*out, path, key) < 0) {
            tandem_log_warn("token ids are not cached: %s", tandem_error_message());
        }
    }
    free(path);
    return rc;
}

/* ---- access --------------------------------------------------------------------------- */
void tandem_token_store_free(tandem_token_store *store)
{
    if (store) {
        free(store->offsets);
        free(store->totals);
        free(store->ids);
        free(store);
    }
}

size_t tandem_token_store_count(const tandem_token_store *store)
{
    return store->count;
}

uint64_t tandem_token_store_total(const tandem_token_store *store)
{
    return store->offsets[store->count];
}

size_t tandem_token_store_limit(const tandem_token_store *store)
{
    return store->limit;
}

tandem_bare tandem_token_store_get(const tandem_token_store *store, size_t index)
{
    return (tandem_bare){store->ids + store->offsets[index], store->totals[index]};
}
