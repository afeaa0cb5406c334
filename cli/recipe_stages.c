/* recipe_stages.c - the stages of `tandem run`: zero-shot, mine, train both, rerank, export;
 * each skipped when it was done from the same inputs. */
#include "cli/model_card.h"
#include "cli/recipe.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tandem/cloze.h"
#include "tandem/file.h"
#include "tandem/log.h"
#include "tandem/machine.h"
#include "tandem/model.h"
#include "tandem/negatives.h"
#include "tandem/onnx.h"
#include "tandem/pipeline.h"

/* ---- keys: what a stage is made from ---------------------------------------------------- */

static tandem_hash key_of(const char *stage, tandem_hash a, tandem_hash b, const char *settings)
{
    tandem_hash parts[4] = {tandem_hash_bytes(stage, strlen(stage)), a, b, tandem_hash_bytes(settings, strlen(settings))};
    return tandem_hash_bytes(parts, sizeof parts);
}

static int train_settings_text(tandem_buffer *out, const tandem_train_config *config, bool cross)
{
    size_t count;
    const tandem_setting *table = tandem_train_settings(cross, &count);
    return tandem_settings_dump(out, config, table, count);
}

static int mining_text(tandem_buffer *out, const recipe_mining *mining, int64_t seed)
{
    return tandem_buffer_printf(out, "%lld:%lld %.17g %.17g %lld %lld %lld", (long long)mining->range[0],
                                (long long)mining->range[1], mining->absolute_margin, mining->relative_margin,
                                (long long)mining->negatives, (long long)mining->sampling, (long long)seed);
}

/* ---- records: what a stage was made from, kept as its key in a file of stages/ ------------------------ */

static bool record_holds(const char *record, tandem_hash key)
{
    char *text = NULL;
    size_t size = 0;
    char hex[TANDEM_HASH_HEX];
    tandem_hash_hex(key, hex);
    bool holds = tandem_file_exists(record) && tandem_file_read(&text, &size, record) == TANDEM_OK &&
                 size >= TANDEM_HASH_HEX - 1 && memcmp(text, hex, TANDEM_HASH_HEX - 1) == 0;
    free(text);
    return holds;
}

static int record_write(const char *record, tandem_hash key)
{
    char hex[TANDEM_HASH_HEX + 1];
    tandem_hash_hex(key, hex);
    hex[TANDEM_HASH_HEX - 1] = '\n';
    return tandem_file_write(record, hex, TANDEM_HASH_HEX);
}

/* ---- stages --------------------------------------------------------------------------------------- */

static int load_model(tandem_model **out, const recipe *r, const char *directory, tandem_model_kind kind)
{
    const tandem_model_options options = {.kind = kind,
                                          .max_length = (size_t)r->settings.max_length,
                                          .precision = (tandem_precision)r->settings.dtype};
    return tandem_model_load(out, directory, &options);
}

static int load_trained(tandem_model **out, const recipe *r, tandem_model_kind kind)
{
    char *path = recipe_path(r, kind == TANDEM_BI_ENCODER ? "models/bi-encoder" : "models/cross-encoder");
    int rc = path ? load_model(out, r, path, kind) : TANDEM_ERROR;
    free(path);
    return rc;
}

static int write_run(const recipe *r, const tandem_run *run, const char *name)
{
    char *path = recipe_path(r, name);
    int rc = path ? tandem_run_write(run, path) : TANDEM_ERROR;
    free(path);
    return rc;
}

static int read_run(tandem_run **out, const recipe *r, const char *name)
{
    char *path = recipe_path(r, name);
    int rc = path ? tandem_run_read(out, path) : TANDEM_ERROR;
    free(path);
    return rc;
}

static int stage_bm25(recipe *r)
{
    tandem_run *run = NULL;
    TANDEM_TRY(tandem_retrieve_bm25(&run, r->dataset, r->test, (size_t)r->settings.retrieve,
                                    (tandem_bm25_options)TANDEM_BM25_OPTIONS_INIT, true));
    int rc = write_run(r, run, "runs/bm25.test.run");
    tandem_run_free(run);
    return rc;
}

static int retrieve(recipe *r, tandem_model *model, const tandem_qrels *qrels, const char *name)
{
    tandem_run *run = NULL;
    TANDEM_TRY(tandem_retrieve_dense(&run, model, r->dataset, qrels, (size_t)r->settings.retrieve, true));
    int rc = write_run(r, run, name);
    tandem_run_free(run);
    return rc;
}

static int stage_zero_shot(recipe *r)
{
    tandem_model *model = NULL;
    TANDEM_TRY(load_model(&model, r, r->settings.model, TANDEM_BI_ENCODER));
    int rc = retrieve(r, model, r->test, "runs/zero-shot.test.run");
    tandem_model_free(model);
    return rc;
}

static int stage_fine_tuned(recipe *r)
{
    tandem_model *model = NULL;
    TANDEM_TRY(load_trained(&model, r, TANDEM_BI_ENCODER));
    int rc = retrieve(r, model, r->dev, "runs/fine-tuned.dev.run");
    if (rc == TANDEM_OK) {
        rc = retrieve(r, model, r->test, "runs/fine-tuned.test.run");
    }
    tandem_model_free(model);
    return rc;
}

static int mine(recipe *r, tandem_model *model, const recipe_mining *mining, const char *name)
{
    tandem_mining_options options = TANDEM_MINING_OPTIONS_INIT;
    options.range_low = (size_t)mining->range[0];
    options.range_high = (size_t)mining->range[1];
    options.absolute_margin = mining->absolute_margin < 0 ? (double)NAN : mining->absolute_margin;
    options.relative_margin = mining->relative_margin < 0 ? (double)NAN : mining->relative_margin;
    options.negatives = (size_t)mining->negatives;
    options.sampling = (tandem_sampling)mining->sampling;
    options.seed = (uint64_t)r->settings.seed;
    const tandem_mining_models models = {.retrievers = &model, .count = 1};
    tandem_mining_statistics statistics;
    tandem_split *split = NULL;
    tandem_buffer report = TANDEM_BUFFER_INIT;
    char *path = recipe_path(r, name);
    int rc = path ? tandem_split_load(&split, r->dataset, r->settings.splits.train) : TANDEM_ERROR;
    TANDEM_TRY_GOTO(rc, done, rc);
    TANDEM_TRY_GOTO(rc, done, tandem_mine_file(path, &statistics, &models, r->dataset, split, &options));
    TANDEM_TRY_GOTO(rc, done, tandem_mining_report(&report, &statistics));
    tandem_log_info("%s", report.data);
done:
    tandem_buffer_free(&report);
    tandem_split_free(split);
    free(path);
    return rc;
}

static int stage_mine_bi(recipe *r)
{
    tandem_model *model = NULL;
    TANDEM_TRY(load_model(&model, r, r->settings.model, TANDEM_BI_ENCODER));
    int rc = mine(r, model, &r->settings.mine_bi, "mined/bi-encoder.jsonl.zst");
    tandem_model_free(model);
    return rc;
}

static int stage_mine_cross(recipe *r)
{
    tandem_model *model = NULL;
    TANDEM_TRY(load_trained(&model, r, TANDEM_BI_ENCODER));
    int rc = mine(r, model, &r->settings.mine_cross, "mined/cross-encoder.jsonl.zst");
    tandem_model_free(model);
    return rc;
}

/* Passages of the corpus alone: no judgment is read. */
static int stage_mine_cloze(recipe *r)
{
    tandem_cloze_options options = TANDEM_CLOZE_OPTIONS_INIT;
    options.groups = (size_t)r->settings.mine_cloze.groups;
    options.negatives = (size_t)r->settings.mine_cloze.negatives;
    options.words = (size_t)r->settings.mine_cloze.words;
    options.seed = (uint64_t)r->settings.seed;
    tandem_groups *groups = NULL;
    char *path = recipe_path(r, "mined/cloze.jsonl.zst");
    int rc = path ? tandem_cloze_groups(&groups, r->dataset, &options) : TANDEM_ERROR;
    if (rc == TANDEM_OK) {
        rc = tandem_groups_write(groups, path);
    }
    tandem_groups_free(groups);
    free(path);
    return rc;
}

static char *train_path(const recipe *r, const char *folder, const char *name, const char *ending)
{
    char file[64];
    snprintf(file, sizeof file, "%s/%s%s", folder, name, ending);
    return recipe_path(r, file);
}

/* A training of the same inputs is continued, or taken as it is if it was killed after its last step; one of other
 * inputs is dropped. */
static int train(recipe *r, const tandem_train_config *config, bool cross, const char *name, tandem_hash key)
{
    tandem_train_result result;
    char *model = train_path(r, "models", name, "");
    char *checkpoint = train_path(r, "models", name, ".checkpoint");
    char *started = train_path(r, "stages", name, ".started");
    int rc = model && checkpoint && started ? TANDEM_OK : TANDEM_ERROR;
    if (rc == TANDEM_OK && !record_holds(started, key)) {
        rc = tandem_dir_remove(model);
        rc = rc < 0 ? rc : tandem_dir_remove(checkpoint);
        rc = rc < 0 ? rc : record_write(started, key);
    }
    if (rc == TANDEM_OK) {
        rc = tandem_train(&result, config, cross, model, tandem_dir_exists(checkpoint) || tandem_dir_exists(model));
    }
    free(model);
    free(checkpoint);
    free(started);
    return rc;
}

static int stage_train_bi(recipe *r)
{
    return train(r, &r->bi, false, "bi-encoder", r->bi_key);
}

static int stage_train_cloze(recipe *r)
{
    return train(r, &r->cloze, true, "cloze", r->cloze_key);
}

static int stage_train_cross(recipe *r)
{
    return train(r, &r->cross, true, "cross-encoder", r->cross_key);
}

/* Reranks dev, chooses the reranker's weight there, and applies it to test. */
static int stage_rerank(recipe *r)
{
    tandem_model *model = NULL;
    tandem_run *first[2] = {NULL, NULL}, *reranked[2] = {NULL, NULL}, *fused = NULL;
    tandem_fusion fusion;
    tandem_metric metric;
    int rc;
    TANDEM_TRY(tandem_metric_parse(&metric, r->cross.dev.metric));
    TANDEM_TRY_GOTO(rc, done, load_trained(&model, r, TANDEM_CROSS_ENCODER));
    TANDEM_TRY_GOTO(rc, done, read_run(&first[0], r, "runs/fine-tuned.dev.run"));
    TANDEM_TRY_GOTO(rc, done, read_run(&first[1], r, "runs/fine-tuned.test.run"));
    for (size_t i = 0; i < 2; i++) {
        TANDEM_TRY_GOTO(rc, done, tandem_rerank(&reranked[i], model, r->dataset, first[i], (size_t)r->settings.depth));
    }
    TANDEM_TRY_GOTO(rc, done, tandem_fusion_fit(&fusion, NULL, first[0], reranked[0], r->dev, &metric));
    tandem_log_info("weight of the reranker, chosen on %s by %s: %.2f", r->settings.splits.dev, metric.name, fusion.weight);
    TANDEM_TRY_GOTO(rc, done, tandem_fusion_apply(&fused, "reranked", &fusion, first[1], reranked[1]));
    TANDEM_TRY_GOTO(rc, done, write_run(r, fused, "runs/reranked.test.run"));
    tandem_run_free(fused);
    fused = NULL;
    fusion.weight = 1; /* the reranker alone, for the table */
    TANDEM_TRY_GOTO(rc, done, tandem_fusion_apply(&fused, "cross-encoder", &fusion, first[1], reranked[1]));
    rc = write_run(r, fused, "runs/cross-encoder.test.run");
done:
    tandem_run_free(fused);
    for (size_t i = 0; i < 2; i++) {
        tandem_run_free(first[i]);
        tandem_run_free(reranked[i]);
    }
    tandem_model_free(model);
    return rc;
}

static int export_with_card(const tandem_model *model, const char *path)
{
    const tandem_onnx_options graph = TANDEM_ONNX_OPTIONS_INIT;
    tandem_buffer card = TANDEM_BUFFER_INIT;
    bool own;
    int rc = model_card(&card, &own, model, tandem_path_base(path), &graph, 1);
    rc = rc < 0 ? rc : tandem_onnx_export(model, path, &graph, 1, card.data);
    tandem_buffer_free(&card);
    return rc;
}

static int export(recipe *r, tandem_model_kind kind, const char *name)
{
    tandem_model *model = NULL;
    char *path = recipe_path(r, name);
    int rc = path ? load_trained(&model, r, kind) : TANDEM_ERROR;
    if (rc == TANDEM_OK) {
        rc = export_with_card(model, path);
    }
    tandem_model_free(model);
    free(path);
    return rc;
}

static int stage_export(recipe *r)
{
    TANDEM_TRY(export(r, TANDEM_BI_ENCODER, "onnx/bi-encoder"));
    return export(r, TANDEM_CROSS_ENCODER, "onnx/cross-encoder");
}

/* ---- running, and skipping what is done ------------------------------------------------------------ */

typedef struct {
    const char *name, *title;
    int (*work)(recipe *r); /* NULL: the recipe does without it */
    const char *outputs[3]; /* what must be there for the stage to count as done */
    tandem_hash key;
} stage;

/* True when the stage was done with the same key and its outputs are still there. */
static bool stage_is_done(const recipe *r, const stage *s, const char *record)
{
    bool done = record_holds(record, s->key);
    for (size_t i = 0; done && i < 3 && s->outputs[i]; i++) {
        char *path = recipe_path(r, s->outputs[i]);
        done = path && (tandem_file_exists(path) || tandem_dir_exists(path));
        free(path);
    }
    return done;
}

static int stage_run(recipe *r, const stage *s)
{
    tandem_buffer name = TANDEM_BUFFER_INIT;
    char *record = NULL;
    int rc;
    TANDEM_TRY_GOTO(rc, done, tandem_buffer_printf(&name, "stages/%s", s->name));
    record = recipe_path(r, name.data);
    TANDEM_TRY_GOTO(rc, done, record ? TANDEM_OK : TANDEM_ERROR);
    if (stage_is_done(r, s, record)) {
        tandem_log_info("== %s: done before, nothing changed", s->title);
        goto done;
    }
    if (tandem_interrupted()) {
        rc = tandem_error_code(TANDEM_INTERRUPTED, "interrupted before: %s; the same command continues there", s->title);
        goto done;
    }
    tandem_log_info("== %s", s->title);
    double start = tandem_seconds();
    rc = s->work(r);
    if (rc < 0) {
        tandem_error_context(rc, "%s", s->title);
        goto done;
    }
    tandem_log_info("   %.1f s", tandem_seconds() - start);
    rc = record_write(record, s->key);
done:
    free(record);
    tandem_buffer_free(&name);
    return rc;
}

/* Keys that follow from settings alone: each stage's holds those of the stages it reads. */
static int derive_keys(recipe *r)
{
    tandem_buffer text = TANDEM_BUFFER_INIT;
    int rc;
    TANDEM_TRY_GOTO(rc, done, mining_text(&text, &r->settings.mine_bi, r->settings.seed));
    r->mined_bi_key = key_of("mine-bi", r->data_key, r->model_key, text.data);
    tandem_buffer_clear(&text);
    TANDEM_TRY_GOTO(rc, done, train_settings_text(&text, &r->bi, false));
    r->bi_key = key_of("train-bi", r->mined_bi_key, r->model_key, text.data);
    tandem_buffer_clear(&text);
    TANDEM_TRY_GOTO(rc, done, tandem_buffer_printf(&text, "%lld %lld %lld %lld", (long long)r->settings.mine_cloze.groups,
                                                   (long long)r->settings.mine_cloze.negatives,
                                                   (long long)r->settings.mine_cloze.words, (long long)r->settings.seed));
    r->mined_cloze_key = key_of("mine-cloze", r->data_key, r->data_key, text.data);
    tandem_buffer_clear(&text);
    TANDEM_TRY_GOTO(rc, done, train_settings_text(&text, &r->cloze, true));
    r->cloze_key = key_of("train-cloze", r->mined_cloze_key, r->model_key, text.data);
    tandem_buffer_clear(&text);
    TANDEM_TRY_GOTO(rc, done, mining_text(&text, &r->settings.mine_cross, r->settings.seed));
    r->mined_cross_key = key_of("mine-cross", r->data_key, r->bi_key, text.data);
    tandem_buffer_clear(&text);
    TANDEM_TRY_GOTO(rc, done, train_settings_text(&text, &r->cross, true));
    r->cross_key = key_of("train-cross", r->mined_cross_key, r->settings.mine_cloze.groups > 0 ? r->cloze_key : r->bi_key,
                          text.data);
done:
    tandem_buffer_free(&text);
    return rc;
}

int recipe_run(recipe *r)
{
    TANDEM_TRY(derive_keys(r));
    char depth[32];
    snprintf(depth, sizeof depth, "%lld", (long long)r->settings.depth);
    bool cloze = r->settings.mine_cloze.groups > 0;
    const stage stages[] = {
        {"bm25", "BM25", stage_bm25, {"runs/bm25.test.run"}, key_of("bm25", r->data_key, r->data_key, "")},
        {"zero-shot", "zero-shot retrieval", stage_zero_shot, {"runs/zero-shot.test.run"},
         key_of("zero-shot", r->data_key, r->model_key, "")},
        {"mine-bi", "mining hard negatives for the bi-encoder", stage_mine_bi, {"mined/bi-encoder.jsonl.zst"}, r->mined_bi_key},
        {"train-bi", "training the bi-encoder", stage_train_bi, {"models/bi-encoder"}, r->bi_key},
        {"fine-tuned", "retrieval with the fine-tuned bi-encoder", stage_fine_tuned,
         {"runs/fine-tuned.dev.run", "runs/fine-tuned.test.run"}, key_of("fine-tuned", r->data_key, r->bi_key, "")},
        {"mine-cloze", "making groups from the corpus", cloze ? stage_mine_cloze : NULL, {"mined/cloze.jsonl.zst"},
         r->mined_cloze_key},
        {"train-cloze", "training the cross-encoder on them", cloze ? stage_train_cloze : NULL, {"models/cloze"}, r->cloze_key},
        {"mine-cross", "mining hard negatives for the cross-encoder", stage_mine_cross, {"mined/cross-encoder.jsonl.zst"}, r->mined_cross_key},
        {"train-cross", "training the cross-encoder", stage_train_cross, {"models/cross-encoder"}, r->cross_key},
        {"rerank", "reranking", stage_rerank, {"runs/reranked.test.run", "runs/cross-encoder.test.run"},
         key_of("rerank", r->data_key, r->cross_key, depth)},
        {"export", "exporting both to ONNX", stage_export, {"onnx/bi-encoder", "onnx/cross-encoder"},
         key_of("export", r->bi_key, r->cross_key, "")},
    };
    for (size_t i = 0; i < sizeof stages / sizeof *stages; i++) {
        TANDEM_TRY(stages[i].work ? stage_run(r, &stages[i]) : TANDEM_OK);
    }
    return TANDEM_OK;
}
