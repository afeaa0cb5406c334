/* onnx_texts.c - a model's texts through an engine. */
#include "cli/onnx_texts.h"

#include <stdlib.h>
#include <string.h>

#include "tandem/batch.h"
#include "tandem/log.h"
#include "tandem/machine.h"
#include "tandem/memory.h"

/* Tokens a batch, as padded. */
enum { TOKEN_BUDGET = 4096 };

void onnx_runner_free(onnx_runner *runner)
{
    free(runner->ids);
    runner->ids = NULL;
    runner->capacity = 0;
}

/* ---- one batch -------------------------------------------------------------------------------- */

static size_t longest_of(const tandem_batch *batch)
{
    int32_t longest = 0;
    for (size_t i = 0; i < batch->count; i++) {
        int32_t length = batch->offsets[i + 1] - batch->offsets[i];
        longest = length > longest ? length : longest;
    }
    return (size_t)longest;
}

/* Padding has id 0, as no token of it is attended to; but RoBERTa's positions skip the padding token alone, which
 * changes no position before it. */
static void pad(int64_t *ids, int64_t *mask, int64_t *types, const tandem_batch *batch, size_t longest)
{
    memset(ids, 0, batch->count * longest * sizeof *ids);
    memset(mask, 0, batch->count * longest * sizeof *mask);
    memset(types, 0, batch->count * longest * sizeof *types);
    for (size_t i = 0; i < batch->count; i++) {
        for (int32_t t = batch->offsets[i]; t < batch->offsets[i + 1]; t++) {
            size_t place = i * longest + (size_t)(t - batch->offsets[i]);
            ids[place] = batch->ids[t];
            mask[place] = 1;
            types[place] = batch->type_ids != NULL ? batch->type_ids[t] : 0;
        }
    }
}

int onnx_runner_batch(onnx_runner *runner, const tandem_batch *batch, float *out, size_t floats)
{
    const tandem_model_info *info = tandem_model_describe(runner->model);
    size_t longest = longest_of(batch), cells = batch->count * longest, inputs = 0;
    TANDEM_TRY(tandem_grow((void **)&runner->ids, &runner->capacity, 3 * cells, sizeof *runner->ids));
    int64_t *ids = runner->ids, *mask = ids + cells, *types = mask + cells;
    int64_t prompt = (int64_t)tandem_model_prompt_length(runner->model, runner->side);
    const int64_t rows = (int64_t)batch->count, columns = (int64_t)longest;
    onnx_input input[ONNX_MAX_INPUTS];
    pad(ids, mask, types, batch, longest);
    input[inputs++] = (onnx_input){"input_ids", ids, {rows, columns}, 2};
    input[inputs++] = (onnx_input){"attention_mask", mask, {rows, columns}, 2};
    if (info->reads_types) {
        input[inputs++] = (onnx_input){"token_type_ids", types, {rows, columns}, 2};
    }
    if (prompt > 0 && strcmp(runner->output, "sentence_embedding") == 0) {
        input[inputs++] = (onnx_input){"prompt_length", &prompt, {1, 0}, 1};
    }
    return onnx_session_run(runner->session, input, inputs, runner->output, out, floats);
}

/* ---- many texts ----------------------------------------------------------------------------------- */

typedef struct {
    const tandem_token_store *first, *second;
    const tandem_pair *pairs; /* NULL: single texts of `first` */
    size_t count, width;
} work;

static void item_of(const work *job, size_t index, tandem_bare *first, tandem_bare *second)
{
    *first = tandem_token_store_get(job->first, job->pairs ? job->pairs[index].query : index);
    if (job->pairs) {
        *second = tandem_token_store_get(job->second, job->pairs[index].document);
    }
}

/* Batches of like lengths, as far as bare ids tell them. */
static int make_plan(tandem_batch_plan *plan, const work *job, size_t limit)
{
    uint32_t *lengths = tandem_alloc(job->count, sizeof *lengths);
    if (lengths == NULL) {
        return TANDEM_ERROR;
    }
    for (size_t i = 0; i < job->count; i++) {
        tandem_bare first, second = {0};
        item_of(job, i, &first, &second);
        size_t length = first.count + second.count;
        lengths[i] = (uint32_t)(length < limit ? length : limit);
    }
    int rc = tandem_batch_plan_make(plan, lengths, job->count, TOKEN_BUDGET, 0);
    free(lengths);
    return rc;
}

static int run_items(onnx_runner *runner, const work *job, tandem_batch_builder *builder, const uint32_t *items,
                     size_t count, float *rows, float *out)
{
    tandem_batch_builder_clear(builder);
    for (size_t i = 0; i < count; i++) {
        tandem_bare first, second = {0};
        item_of(job, items[i], &first, &second);
        TANDEM_TRY(tandem_model_append(runner->model, builder, first, job->pairs ? &second : NULL));
    }
    tandem_batch batch = tandem_batch_builder_view(builder);
    TANDEM_TRY(onnx_runner_batch(runner, &batch, rows, count * job->width));
    for (size_t i = 0; i < count; i++) {
        memcpy(out + items[i] * job->width, rows + i * job->width, job->width * sizeof *out);
    }
    return TANDEM_OK;
}

static int run_plan(onnx_runner *runner, const work *job, const tandem_batch_plan *plan, float *out, const char *title)
{
    float *rows = tandem_alloc(job->count, job->width * sizeof *rows);
    tandem_batch_builder *builder = tandem_batch_builder_new();
    tandem_progress *progress = tandem_progress_new(title, job->pairs ? "pairs" : "texts", job->count);
    int rc = rows && builder ? TANDEM_OK : TANDEM_ERROR;
    for (size_t b = 0; b < plan->batches && rc == TANDEM_OK; b++) {
        size_t start = plan->starts[b], end = plan->starts[b + 1];
        rc = tandem_interrupted() ? tandem_error_code(TANDEM_INTERRUPTED, "interrupted")
                                  : run_items(runner, job, builder, plan->order + start, end - start, rows, out);
        tandem_progress_update(progress, end, NULL);
    }
    tandem_progress_free(progress);
    tandem_batch_builder_free(builder);
    free(rows);
    return rc;
}

static int run_all(onnx_runner *runner, const work *job, float *out, const char *title)
{
    tandem_batch_plan plan;
    TANDEM_TRY(make_plan(&plan, job, tandem_model_describe(runner->model)->max_length));
    int rc = run_plan(runner, job, &plan, out, title);
    tandem_batch_plan_free(&plan);
    return rc;
}

int onnx_runner_embed(onnx_runner *runner, const tandem_token_store *store, float *out, const char *title)
{
    const work job = {store, NULL, NULL, tandem_token_store_count(store), tandem_model_describe(runner->model)->dim};
    return run_all(runner, &job, out, title);
}

int onnx_runner_score(onnx_runner *runner, const tandem_token_store *queries, const tandem_token_store *documents,
                      const tandem_pair *pairs, size_t count, float *out, const char *title)
{
    const work job = {queries, documents, pairs, count, (size_t)tandem_model_describe(runner->model)->labels};
    return run_all(runner, &job, out, title);
}
