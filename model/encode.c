/* encode.c - embeddings and scores of many texts: batches by token budget, longest first. */
#include <stdlib.h>
#include <string.h>

#include "model/model_private.h"
#include "tandem/cache.h"
#include "tandem/file.h"
#include "tandem/log.h"
#include "tandem/machine.h"

/* Tokens a batch: enough that all threads have blocks of rows, few enough that what attention reads (three times
 * tokens * hidden floats) is still in a cache; a GPU wants more at a time. */
enum { TOKEN_BUDGET = 4096, GPU_TOKEN_BUDGET = 32768 };

int tandem_model_tokenize(tandem_token_store **out, const tandem_model *model, const tandem_text *texts, size_t count,
                          tandem_side side)
{
    const char *prompt = side == TANDEM_QUERY ? model->info.query_prompt : model->info.document_prompt;
    return tandem_token_store_make(out, model->tokenizer, texts, count, prompt, model->info.max_length);
}

/* ---- the loop that embeddings and scores share -------------------------------------------- */

/* Sequences to run: item i is a text of `first`, or with `pairs` a pair of both stores. */
typedef struct {
    tandem_model *model;
    const tandem_token_store *first, *second;
    const tandem_pair *pairs; /* NULL: single texts */
    const tandem_side *sides; /* [count] where texts are of one side, else NULL */
    size_t count;
    size_t width; /* floats a sequence gives */
} work;

static void item_of(const work *job, size_t index, tandem_bare *first, tandem_bare *second)
{
    if (job->pairs == NULL) {
        *first = tandem_token_store_get(job->first, index);
    } else {
        *first = tandem_token_store_get(job->first, job->pairs[index].query);
        *second = tandem_token_store_get(job->second, job->pairs[index].document);
    }
}

static int measure(const work *job, uint32_t *lengths)
{
    const tandem_model *model = job->model;
    for (size_t i = 0; i < job->count; i++) {
        tandem_bare first, second = {NULL, 0};
        item_of(job, i, &first, &second);
        tandem_assembly plan;
        TANDEM_TRY(tandem_tokenizer_plan(model->tokenizer, first.count, job->pairs != NULL ? &second.count : NULL,
                                         model->info.max_length, &plan));
        lengths[i] = (uint32_t)plan.total;
    }
    return 0;
}

/* Runs the model over one batch, [batch->count, job->width] into `rows`. */
static int forward(const work *job, const tandem_batch *batch, float *rows)
{
    const tandem_dropout none = {.train = false};
    TANDEM_TRY(tandem_scope_begin());
    int previous = tandem_grad_enable(0);
    tandem_tensor *result = NULL;
    int rc = job->pairs != NULL ? tandem_model_logits(&result, job->model, batch, none)
                                : tandem_model_embed_sides(&result, job->model, batch, job->sides, none);
    if (rc == 0 && (size_t)tandem_tensor_size(result, 1) > job->width) { /* truncate_dim */
        rc = tandem_op_narrow(&result, result, 1, 0, (int64_t)job->width);
    }
    if (rc == 0) {
        rc = tandem_tensor_read(result, rows);
    }
    tandem_grad_enable(previous);
    tandem_scope_end();
    return rc;
}

static int run_batch(const work *job, tandem_batch_builder *builder, const uint32_t *items, size_t count, float *rows,
                     float *out)
{
    tandem_batch_builder_clear(builder);
    for (size_t i = 0; i < count; i++) {
        tandem_bare first, second = {NULL, 0};
        item_of(job, items[i], &first, &second);
        TANDEM_TRY(tandem_model_append(job->model, builder, first, job->pairs != NULL ? &second : NULL));
    }
    tandem_batch batch = tandem_batch_builder_view(builder);
    TANDEM_TRY(forward(job, &batch, rows));
    for (size_t i = 0; i < count; i++) {
        memcpy(out + (size_t)items[i] * job->width, rows + i * job->width, job->width * sizeof *rows);
    }
    return 0;
}

static int run_batches(const work *job, const tandem_batch_plan *plan, const char *title, float *out)
{
    size_t most = 0;
    for (size_t b = 0; b < plan->batches; b++) {
        size_t count = plan->starts[b + 1] - plan->starts[b];
        most = count > most ? count : most;
    }
    int rc = 0;
    size_t floats;
    float *rows = tandem_size_mul(&floats, most, job->width) ? tandem_alloc(floats, sizeof *rows) : NULL;
    tandem_batch_builder *builder = tandem_batch_builder_new();
    tandem_progress *progress =
        title != NULL ? tandem_progress_new(title, job->pairs != NULL ? "pairs" : "texts", job->count) : NULL;
    if (rows == NULL || builder == NULL) {
        rc = TANDEM_ERROR;
    }
    for (size_t b = 0; b < plan->batches && rc == 0; b++) {
        if (tandem_interrupted()) {
            rc = tandem_error_code(TANDEM_INTERRUPTED, "interrupted");
            break;
        }
        size_t start = plan->starts[b], end = plan->starts[b + 1];
        rc = run_batch(job, builder, plan->order + start, end - start, rows, out);
        tandem_progress_update(progress, end, NULL);
    }
    tandem_progress_free(progress);
    tandem_batch_builder_free(builder);
    free(rows);
    return rc;
}

static int run(const work *job, const char *title, float *out)
{
    if (job->count == 0) {
        return 0;
    }
    tandem_batch_plan plan = {0};
    uint32_t *lengths = tandem_alloc(job->count, sizeof *lengths);
    int rc = lengths == NULL ? TANDEM_ERROR : measure(job, lengths);
    if (rc == 0) {
        bool gpu = tandem_encoder_device(job->model->encoder) == TANDEM_DEVICE_CUDA;

        rc = tandem_batch_plan_make(&plan, lengths, job->count, gpu ? GPU_TOKEN_BUDGET : TOKEN_BUDGET, 0);
    }
    if (rc == 0) {
        rc = run_batches(job, &plan, title, out);
    }
    tandem_batch_plan_free(&plan);
    free(lengths);
    return rc;
}

/* A store with a lower limit lacks tokens that the model would read. */
static int check_store(const tandem_model *model, const tandem_token_store *store)
{
    size_t limit = tandem_token_store_limit(store);
    if (limit != 0 && limit < model->info.max_length) {
        return tandem_error("the token store was made for %zu tokens, the model reads %zu", limit,
                            model->info.max_length);
    }
    return 0;
}

int tandem_model_encode(float *out, tandem_model *model, const tandem_token_store *store, tandem_side side,
                        const char *title)
{
    TANDEM_TRY(check_store(model, store));
    size_t count = tandem_token_store_count(store);
    tandem_side *sides = tandem_alloc(count, sizeof *sides);
    if (sides == NULL) {
        return TANDEM_ERROR;
    }
    for (size_t i = 0; i < count; i++) {
        sides[i] = side;
    }
    work job = {.model = model, .first = store, .sides = sides, .count = count, .width = model->info.dim};
    int rc = run(&job, title, out);
    free(sides);
    return rc;
}

int tandem_model_score(float *out, tandem_model *model, const tandem_token_store *queries,
                       const tandem_token_store *documents, const tandem_pair *pairs, size_t count, const char *title)
{
    if (model->info.kind != TANDEM_CROSS_ENCODER) {
        return tandem_error("%s: a bi-encoder does not score pairs", model->info.directory);
    }
    TANDEM_TRY(check_store(model, queries));
    TANDEM_TRY(check_store(model, documents));
    for (size_t i = 0; i < count; i++) {
        if (pairs[i].query >= tandem_token_store_count(queries) ||
            pairs[i].document >= tandem_token_store_count(documents)) {
            return tandem_error("pair %zu: query %u or document %u is not in its store", i, pairs[i].query,
                                pairs[i].document);
        }
    }
    work job = {.model = model,
                .first = queries,
                .second = documents,
                .pairs = pairs,
                .count = count,
                .width = (size_t)model->info.labels};
    return run(&job, title, out);
}

/* ---- with the cache ----------------------------------------------------------------------------- */

static tandem_hash vectors_key(const tandem_model *model, const tandem_text *texts, size_t count, tandem_side side)
{
    tandem_hasher *hasher = tandem_hasher_new();
    if (hasher == NULL) {
        return (tandem_hash){0, 0};
    }
    tandem_hasher_hash(hasher, tandem_model_key(model, side));
    for (size_t i = 0; i < count; i++) {
        tandem_hasher_field(hasher, texts[i].text, texts[i].length);
    }
    return tandem_hasher_done(hasher);
}

/* True when the cache had the vectors. A damaged file is as good as none. */
static bool read_cached(tandem_vectors *out, const char *path, tandem_hash key, size_t count, size_t dim)
{
    if (path == NULL || !tandem_file_exists(path)) {
        return false;
    }
    if (tandem_vectors_read(out, path, &key) < 0) {
        tandem_log_warn("cached embeddings are made again: %s", tandem_error_message());
        return false;
    }
    if (out->count != count || out->dim != dim) {
        tandem_vectors_free(out);
        return false;
    }
    return true;
}

int tandem_model_write_vectors(const char *path, const tandem_model *model, const tandem_vectors *vectors,
                               const tandem_text *texts, tandem_side side)
{
    if (!tandem_vectors_keep_origin(path)) {
        return tandem_vectors_write(path, vectors, texts, NULL); /* the weights need not be hashed */
    }
    char weights[TANDEM_HASH_HEX], tokenizer[TANDEM_HASH_HEX];
    tandem_buffer pooling = TANDEM_BUFFER_INIT;
    for (size_t i = 0; i < model->info.poolings; i++) {
        int rc =
            tandem_buffer_printf(&pooling, "%s%s", i > 0 ? "+" : "", tandem_pooling_names[model->info.pooling[i]].name);
        if (rc < 0) {
            tandem_buffer_free(&pooling);
            return rc;
        }
    }
    tandem_hash_hex(tandem_model_weights_hash(model), weights);
    tandem_hash_hex(tandem_tokenizer_hash(model->tokenizer), tokenizer);
    tandem_vectors_origin origin = {
        .key = vectors_key(model, texts, vectors->count, side),
        .weights = weights,
        .tokenizer = tokenizer,
        .prompt = side == TANDEM_QUERY ? model->info.query_prompt : model->info.document_prompt,
        .pooling = pooling.data,
        .max_length = model->info.max_length,
        .normalized = model->info.normalize && model->info.dim == model->info.width,
    };
    int rc = tandem_vectors_write(path, vectors, texts, &origin);
    tandem_buffer_free(&pooling);
    return rc;
}

static int make_vectors(tandem_vectors *out, const tandem_model *model, size_t count)
{
    size_t floats;
    out->count = count;
    out->dim = model->info.dim;
    out->data = tandem_size_mul(&floats, count, out->dim) ? tandem_alloc(floats, sizeof *out->data) : NULL;
    return out->data != NULL ? 0 : tandem_error("%zu embeddings of %zu numbers do not fit memory", count, out->dim);
}

static int encode_texts(tandem_vectors *out, tandem_model *model, const tandem_text *texts, size_t count,
                        tandem_side side, const char *title)
{
    TANDEM_TRY(make_vectors(out, model, count));
    tandem_token_store *store = NULL;
    int rc = tandem_model_tokenize(&store, model, texts, count, side);
    if (rc == 0) {
        rc = tandem_model_encode(out->data, model, store, side, title);
    }
    tandem_token_store_free(store);
    return rc;
}

/* The vectors that were kept take the place of those in memory: they are mapped. */
static void keep(tandem_vectors *vectors, const char *path, tandem_hash key, const tandem_model *model,
                 const tandem_text *texts, tandem_side side)
{
    if (tandem_model_write_vectors(path, model, vectors, texts, side) < 0) {
        tandem_log_warn("embeddings are not cached: %s", tandem_error_message());
        return;
    }
    tandem_vectors kept;
    if (read_cached(&kept, path, key, vectors->count, vectors->dim)) {
        tandem_vectors_free(vectors);
        *vectors = kept;
    }
}

static int encode_shard(tandem_vectors *out, tandem_model *model, const tandem_text *texts, size_t count,
                        tandem_side side, const char *title)
{
    char *path = NULL;
    tandem_hash key = vectors_key(model, texts, count, side);
    if ((key.high | key.low) != 0) { /* 0: memory was out */
        TANDEM_TRY(tandem_cache_path(&path, "embeddings", key, ".h5"));
    }
    int rc = 0;
    if (!read_cached(out, path, key, count, model->info.dim)) {
        rc = encode_texts(out, model, texts, count, side, title);
        if (rc == 0 && path != NULL) {
            keep(out, path, key, model, texts, side);
        }
    }
    free(path);
    return rc;
}

/* The shards one after the other in one piece of memory. */
static int encode_shards(tandem_vectors *out, tandem_model *model, const tandem_text *texts, size_t count,
                         tandem_side side, const char *title)
{
    TANDEM_TRY(make_vectors(out, model, count));
    for (size_t start = 0; start < count; start += TANDEM_VECTOR_SHARD) {
        size_t rest = count - start, part = rest < TANDEM_VECTOR_SHARD ? rest : TANDEM_VECTOR_SHARD;
        tandem_vectors shard = {0};
        int rc = encode_shard(&shard, model, texts + start, part, side, title);
        if (rc == 0) {
            memcpy(out->data + start * out->dim, shard.data, part * out->dim * sizeof *out->data);
        }
        tandem_vectors_free(&shard);
        TANDEM_TRY(rc);
    }
    return 0;
}

int tandem_model_encode_texts(tandem_vectors *out, tandem_model *model, const tandem_text *texts, size_t count,
                              tandem_side side, bool cache, const char *title)
{
    *out = (tandem_vectors){0};
    if (model->info.kind != TANDEM_BI_ENCODER) {
        return tandem_error("%s: a cross-encoder gives no embeddings", model->info.directory);
    }
    int rc = !cache || !tandem_cache_is_on() ? encode_texts(out, model, texts, count, side, title)
             : count <= TANDEM_VECTOR_SHARD  ? encode_shard(out, model, texts, count, side, title)
                                             : encode_shards(out, model, texts, count, side, title);
    if (rc < 0) {
        tandem_vectors_free(out);
    }
    return rc;
}
