/* config.c - the settings of `tandem train`: one row a setting. */
#include <cjson/cJSON.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tandem/json.h"
#include "tandem/train.h"
#include "train/losses.h"

#define FIELD(name) offsetof(tandem_train_config, name)
#define INT(path, field, low, high, initial, help) \
    {path, TANDEM_SETTING_INT, FIELD(field), low, high, initial, NULL, help}
#define DOUBLE(path, field, low, high, initial, help) \
    {path, TANDEM_SETTING_DOUBLE, FIELD(field), low, high, initial, NULL, help}
#define STRING(path, field, initial, help) \
    {path, TANDEM_SETTING_STRING, FIELD(field), 0, 0, initial, NULL, help}
#define BOOL(path, field, initial, help) \
    {path, TANDEM_SETTING_BOOL, FIELD(field), 0, 0, initial, NULL, help}
#define CHOICE(path, field, choices, initial, help) \
    {path, TANDEM_SETTING_CHOICE, FIELD(field), 0, 0, initial, choices, help}

static const char *const dtypes[] = {"fp32", "bf16", "auto", "tf32", NULL}; /* as tandem_precision */
static const char *const drawings[] = {"first", "random", NULL};
static const char *const samplers[] = {"random", "no_duplicates", NULL}; /* as tandem_sampler */
static const char *const mixings[] = {"proportional", "round_robin", "weighted", NULL}; /* as tandem_mixing */
static const char *const schedules[] = {"linear", "cosine", "constant", "wsd", NULL}; /* as tandem_schedule */
static const char *const samplings[] = {"top", "random", NULL};
/* In the order of the enumerations of loss.h. */
static const char *const similarities[] = {"auto", "cosine", "dot", NULL};
static const char *const labels[] = {"binary", "scores", NULL};
static const char *const partitions[] = {"joint", "per_direction", NULL};
static const char *const hardnesses[] = {"off", "in_batch_negatives", "hard_negatives", "all_negatives", NULL};
static const char *const margins[] = {"absolute", "relative", NULL};
static const char *const distances[] = {"cosine", "euclidean", "manhattan", NULL};
static const char *const distills[] = {"cosine", "mse", "l2", NULL};
static const char *const weightings[] = {"ndcg2pp", "ndcg2", "ndcg1", "rank", "none", NULL};
static const char *const logarithms[] = {"binary", "natural", NULL};

/* What a source says of its data: below "data." of a run with one, in each object of data.sources. */
#define SOURCE_ROWS(at) \
    STRING(at "dataset", data.dataset, NULL, "dataset whose judged pairs are the positives; may be left out with groups"), \
    STRING(at "split", data.split, "train", "split of the dataset to train on"), \
    STRING(at "groups", data.groups, NULL, "training groups (JSONL, may be .zst) instead of the split's judged pairs"), \
    INT(at "negatives", data.negatives, 0, 1000, "1", "hard negatives of each group used in a step"), \
    CHOICE(at "negative_sampling", data.negative_sampling, drawings, "first", "the hardest ones, or others in each epoch, drawn from all that the group has"), \
    CHOICE(at "sampler", data.sampler, samplers, "random", "batches cut from a shuffle; or from one that keeps every text from coming twice into a batch")

#define PROMPT_ROWS(at) \
    STRING(at "query_prompt", data.query_prompt, NULL, "text before each query in training; none: the model's own prompt"), \
    STRING(at "document_prompt", data.document_prompt, NULL, "text before each document in training; none: the model's own prompt")

#define WEIGHT_ROW \
    DOUBLE("weight", data.weight, 1e-6, 1e6, "1", "data.mixing weighted: of the source, beside the weights of the others")

#define MODEL_ROW \
    STRING("model", model, NULL, "model directory to start from")

#define SOURCES_ROWS \
    {"data.sources", TANDEM_SETTING_LIST, FIELD(data.sources), 0, 0, NULL, NULL, "several sources to train on, each an object of the keys below"}, \
    CHOICE("data.mixing", data.mixing, mixings, "proportional", "whose batch comes next: all batches of all sources in random order; one of each source in turn, until one has no more; or of sources drawn by weight"), \
    INT("max_length", max_length, 0, 1048576, "256", "tokens of a text (of a pair) with special tokens; 0: as the model says")

#define BI_LOSS_ROWS \
    CHOICE("loss.name", loss.name, tandem_bi_loss_names, "mnrl", "docs/losses.md explains each"), \
    DOUBLE("loss.scale", loss.scale, 1e-6, 1e6, "20", "mnrl, cosent, angle: factor of the similarities, one over the temperature"), \
    DOUBLE("loss.scale_learning_rate", loss.scale_learning_rate, 0, 1, "0", "mnrl, gist, cosent, angle: highest learning rate of the scale's logarithm, as one more parameter; 0: the scale stays"), \
    CHOICE("loss.similarity", loss.similarity, similarities, "auto", "mnrl, cosent: auto is cosine; margin_mse, distill_kl: auto is dot"), \
    CHOICE("loss.labels", loss.labels, labels, "scores", "label of a pair: its score where the groups have one, or 1 of a positive and 0 of a negative"), \
    BOOL("loss.directions.query_to_query", loss.directions.query_to_query, "false", "mnrl: other queries are negatives of a query"), \
    BOOL("loss.directions.doc_to_query", loss.directions.doc_to_query, "false", "mnrl: other queries are negatives of a positive"), \
    BOOL("loss.directions.doc_to_doc", loss.directions.doc_to_doc, "false", "mnrl: other documents are negatives of a positive"), \
    CHOICE("loss.partition", loss.partition, partitions, "joint", "mnrl: one softmax over all directions, or the mean of one each"), \
    CHOICE("loss.hardness.mode", loss.hardness.mode, hardnesses, "off", "mnrl: which negatives count more the more similar they are"), \
    DOUBLE("loss.hardness.strength", loss.hardness.strength, 0, 1e6, "0", "mnrl: times the similarity, added to the logits of those negatives"), \
    STRING("loss.teacher", loss.teacher, NULL, "gist, embed_distill: directory of the bi-encoder that guides or teaches"), \
    DOUBLE("loss.gist.temperature", loss.gist.temperature, 1e-6, 1e6, "0.01", "gist: one over the scale"), \
    CHOICE("loss.gist.margin_strategy", loss.gist.margin_strategy, margins, "absolute", "gist: margin itself, or times the guide's similarity"), \
    DOUBLE("loss.gist.margin", loss.gist.margin, -1, 1, "0", "gist: below the guide's similarity of the positive, where false negatives begin"), \
    BOOL("loss.gist.contrast_anchors", loss.gist.contrast_anchors, "true", "gist: other queries are negatives of a query"), \
    BOOL("loss.gist.contrast_positives", loss.gist.contrast_positives, "true", "gist: other positives are negatives of a positive"), \
    DOUBLE("loss.teacher_scale", loss.teacher_scale, 1e-9, 1e9, "1", "margin_mse, distill_kl: factor of the teacher's scores, which brings them to the range of the similarities"), \
    DOUBLE("loss.temperature", loss.temperature, 1e-6, 1e6, "1", "distill_kl: of the student's and the teacher's softmax"), \
    CHOICE("loss.distill", loss.distill, distills, "cosine", "embed_distill: distance from the teacher's vectors"), \
    CHOICE("loss.contrastive.distance", loss.contrastive.distance, distances, "cosine", "contrastive, online_contrastive"), \
    DOUBLE("loss.contrastive.margin", loss.contrastive.margin, 0, 1e6, "0.5", "contrastive, online_contrastive: negatives farther than it cost nothing"), \
    CHOICE("loss.triplet.distance", loss.triplet.distance, distances, "euclidean", "triplet, batch_*_triplet (those without manhattan)"), \
    DOUBLE("loss.triplet.margin", loss.triplet.margin, 0, 1e6, "5", "triplet, batch_*_triplet: by which a negative shall be farther than a positive"), \
    STRING("loss.matryoshka.dims", loss.matryoshka.dims, NULL, "sizes that the vectors shall be cut to, such as \"384,256,128\"; the loss is added up over them"), \
    STRING("loss.matryoshka.weights", loss.matryoshka.weights, NULL, "weight of each size; none: 1 each")

#define CROSS_LOSS_ROWS \
    CHOICE("loss.name", loss.name, tandem_cross_loss_names, "bce", "docs/losses.md explains each"), \
    CHOICE("loss.labels", loss.labels, labels, "binary", "label of a pair: 1 of a positive and 0 of a negative, or its score where the groups have one"), \
    DOUBLE("loss.pos_weight", loss.pos_weight, 1e-6, 1e6, "1", "bce: weight of positives"), \
    DOUBLE("loss.offset_scale", loss.offset_scale, 0, 1e6, "0", "times the groups' scores, added to the logits in training; 0: off"), \
    DOUBLE("loss.scale", loss.scale, 1e-6, 1e6, "10", "mnrl: factor of the sigmoids"), \
    INT("loss.in_batch_negatives", loss.in_batch_negatives, 0, 1000, "4", "mnrl: documents of other groups of the step that are drawn as negatives"), \
    CHOICE("loss.lambda.weighting", loss.lambda.weighting, weightings, "ndcg2pp", "lambda: weight of a pair"), \
    INT("loss.lambda.k", loss.lambda.k, 0, 1000000, "0", "lambda: pairs with both ranks past it count nothing; 0: all count"), \
    DOUBLE("loss.lambda.sigma", loss.lambda.sigma, 1e-6, 1e6, "1", "lambda: factor of the differences of logits"), \
    DOUBLE("loss.lambda.mu", loss.lambda.mu, 0, 1e6, "10", "lambda: weight of ndcg2 in ndcg2pp"), \
    CHOICE("loss.lambda.log", loss.lambda.log, logarithms, "binary", "lambda: base of the logarithm"), \
    DOUBLE("loss.alpha", loss.alpha, 1e-6, 1e6, "1", "adr_mse: steepness of the ranks' sigmoids")

#define OPTIMIZER_ROWS(forward_tokens_initial) \
    INT("batch_size", batch_size, 1, 1048576, "32", "groups in a step"), \
    INT("forward_tokens", forward_tokens, 1, 1e9, forward_tokens_initial, "tokens that go through the model at once; a greater step is cut into parts, with the same result and no more memory"), \
    INT("epochs", epochs, 1, 100000, "1", "passes over the groups"), \
    DOUBLE("learning_rate", learning_rate, 0, 1, "2e-5", "highest learning rate, reached after the warm-up"), \
    DOUBLE("warmup_ratio", warmup_ratio, 0, 1, "0.1", "share of the steps in which the rate rises from 0"), \
    CHOICE("schedule", schedule, schedules, "linear", "of the learning rate after the warm-up: falls to 0 linearly, or as half a cosine, or stays, or stays and falls over the last steps (warm-up, stable, decay)"), \
    DOUBLE("decay_ratio", decay_ratio, 0, 1, "0.1", "wsd: share of the steps in which the rate falls to 0"), \
    DOUBLE("weight_decay", weight_decay, 0, 1, "0", "decoupled decay of weights (not of biases and LayerNorm)"), \
    DOUBLE("max_grad_norm", max_grad_norm, 0, 1e9, "1", "largest norm of the gradient; longer ones are scaled down; 0: off"), \
    DOUBLE("spike_guard", spike_guard, 0, 1e9, "0", "a step whose gradient is longer than so many times the median of the last 64 makes no update; 0: off"), \
    INT("freeze", freeze, -1, 1000, "-1", "parameters that stay as they are: of the embeddings and so many layers after them, which then cost no backward; -1: none"), \
    DOUBLE("layer_decay", layer_decay, 1e-6, 1, "1", "each layer learns at so much of the rate of the one after it, the embeddings below the first"), \
    INT("seed", seed, 0, 4294967295.0, "13", "of order, dropout and new heads"), \
    BOOL("activation_checkpointing", activation_checkpointing, "false", "keep the inputs of layers alone and compute the rest again in backward: a third more work, a fraction of the memory, the same result"), \
    CHOICE("dtype", dtype, dtypes, "auto", "precision of the matrix products: factors in bf16 are summed in fp32, and everything else is fp32; auto is bf16 on a GPU and on a CPU that multiplies it faster, else fp32; tf32 is of GPUs"), \
    INT("threads", threads, 0, 4096, "0", "threads; 0: as the command line says, or one a physical core")

#define DEV_ROWS \
    STRING("dev.dataset", dev.dataset, NULL, "dataset to evaluate on while training; the best weights are kept"), \
    STRING("dev.split", dev.split, "dev", "split of it"), \
    STRING("dev.metric", dev.metric, "ndcg@10", "metric that the best weights are chosen by"), \
    INT("dev.every_steps", dev.every_steps, 0, 1e9, "0", "steps between two evaluations; 0: at the end of each epoch"), \
    INT("dev.patience", dev.patience, 0, 1e9, "0", "training ends after so many evaluations in a row without a new best; 0: never")

#define CHECKPOINT_ROWS \
    INT("checkpoint.every_steps", checkpoint.every_steps, 0, 1e9, "500", "steps between two checkpoints; 0: only on a signal")

static const tandem_setting bi_rows[] = {
    MODEL_ROW,
    SOURCE_ROWS("data."),
    PROMPT_ROWS("data."),
    SOURCES_ROWS,
    BI_LOSS_ROWS,
    OPTIMIZER_ROWS("16384"),
    DEV_ROWS,
    INT("mining.refresh_epochs", mining.refresh_epochs, 0, 100000, "0", "mine the negatives again, with the weights as they are, every so many epochs; 0: never"),
    INT("mining.refresh_steps", mining.refresh_steps, 0, 1e9, "0", "the same every so many steps; 0: never"),
    INT("mining.bm25_negatives", mining.bm25_negatives, 0, 1000, "0", "negatives that BM25 gives a query besides the model's, after them"),
    INT("mining.range.0", mining.range[0], 0, 1e9, "0", "first rank of the retriever's results to take negatives from, from 0"),
    INT("mining.range.1", mining.range[1], 1, 1e9, "50", "one past the last rank"),
    DOUBLE("mining.absolute_margin", mining.absolute_margin, -1, 1e6, "-1", "drop what scores above positive - margin; negative: off"),
    DOUBLE("mining.relative_margin", mining.relative_margin, -1, 1e6, "0.05", "drop what scores above positive - |positive| * margin; negative: off"),
    INT("mining.negatives", mining.negatives, 1, 1000, "4", "negatives to mine for a query"),
    CHOICE("mining.sampling", mining.sampling, samplings, "top", "take the hardest that are left, or random ones of them"),
    CHECKPOINT_ROWS,
};

static const tandem_setting cross_rows[] = {
    MODEL_ROW,
    SOURCE_ROWS("data."),
    SOURCES_ROWS,
    CROSS_LOSS_ROWS,
    OPTIMIZER_ROWS("4096"),
    DEV_ROWS,
    STRING("dev.run", dev.run, NULL, "TREC run file whose top 50 are reranked; needed with dev.dataset"),
    CHECKPOINT_ROWS,
};

static const tandem_setting bi_source_rows[] = {SOURCE_ROWS(""), PROMPT_ROWS(""), WEIGHT_ROW, BI_LOSS_ROWS};
static const tandem_setting cross_source_rows[] = {SOURCE_ROWS(""), WEIGHT_ROW, CROSS_LOSS_ROWS};

const tandem_setting *tandem_train_settings(bool cross, size_t *count)
{
    *count = cross ? sizeof cross_rows / sizeof *cross_rows : sizeof bi_rows / sizeof *bi_rows;
    return cross ? cross_rows : bi_rows;
}

const tandem_setting *tandem_train_source_settings(bool cross, size_t *count)
{
    *count = cross ? sizeof cross_source_rows / sizeof *cross_source_rows : sizeof bi_source_rows / sizeof *bi_source_rows;
    return cross ? cross_source_rows : bi_source_rows;
}

/* ---- sources ------------------------------------------------------------------------- */
/* `element` NULL: the only source. */
static int make_source(tandem_train_config *out, const tandem_train_config *config, bool cross, const cJSON *element,
                       size_t index)
{
    size_t rows = 0, source_rows = 0;
    const tandem_setting *table = tandem_train_settings(cross, &rows);
    const tandem_setting *source_table = tandem_train_source_settings(cross, &source_rows);
    char name[48];

    snprintf(name, sizeof name, "data.sources.%zu", index);
    TANDEM_TRY(tandem_settings_init(out, source_table, source_rows)); /* what only a source has */
    TANDEM_TRY(tandem_settings_copy(out, config, table, rows));
    return element == NULL ? TANDEM_OK : tandem_settings_apply(out, source_table, source_rows, element, name);
}

static int make_sources(tandem_train_config *out, size_t count, const tandem_train_config *config, bool cross,
                        const cJSON *list)
{
    for (size_t i = 0; i < count; i++) {
        TANDEM_TRY(make_source(&out[i], config, cross, cJSON_GetArrayItem(list, (int)i), i));
    }
    return TANDEM_OK;
}

int tandem_train_sources(tandem_train_config **out, size_t *count, const tandem_train_config *config, bool cross)
{
    cJSON *list = NULL;

    if (config->data.sources != NULL) {
        TANDEM_TRY(tandem_json_parse(&list, config->data.sources, strlen(config->data.sources), "data.sources"));
    }
    size_t listed = list == NULL ? 0 : (size_t)cJSON_GetArraySize(list);

    *count = listed > 0 ? listed : 1;
    *out = tandem_alloc(*count, sizeof **out);
    int rc = *out == NULL ? TANDEM_ERROR : make_sources(*out, *count, config, cross, list);
    tandem_json_free(list);
    if (rc < 0) {
        tandem_train_sources_free(*out, *count, cross);
        *out = NULL;
    }
    return rc;
}

void tandem_train_sources_free(tandem_train_config *sources, size_t count, bool cross)
{
    size_t rows = 0;
    const tandem_setting *table = tandem_train_settings(cross, &rows);

    for (size_t i = 0; sources != NULL && i < count; i++) {
        tandem_settings_free(&sources[i], table, rows);
    }
    free(sources);
}
