/* config.c - the settings of `tandem train`: one row a setting. */
#include <stddef.h>

#include "tandem/train.h"
#include "train/losses.h"

#define FIELD(name) offsetof(tandem_train_config, name)
#define INT(path, field, low, high, initial, help) \
    {path, TANDEM_SETTING_INT, FIELD(field), low, high, initial, NULL, help}
#define DOUBLE(path, field, low, high, initial, help) \
    {path, TANDEM_SETTING_DOUBLE, FIELD(field), low, high, initial, NULL, help}
#define STRING(path, field, initial, help) \
    {path, TANDEM_SETTING_STRING, FIELD(field), 0, 0, initial, NULL, help}
#define CHOICE(path, field, choices, initial, help) \
    {path, TANDEM_SETTING_CHOICE, FIELD(field), 0, 0, initial, choices, help}

static const char *const dtypes[] = {"auto", "fp32", NULL};
static const char *const samplings[] = {"top", "random", NULL};

#define MODEL_AND_DATA_ROWS \
    STRING("model", model, NULL, "model directory to start from"), \
    STRING("data.dataset", data.dataset, NULL, "dataset whose judged pairs are the positives; may be left out with data.groups"), \
    STRING("data.split", data.split, "train", "split of the dataset to train on"), \
    STRING("data.groups", data.groups, NULL, "training groups (JSONL, may be .zst) instead of the split's judged pairs"), \
    INT("data.negatives", data.negatives, 0, 1000, "1", "hard negatives of each group used in a step, hardest first"), \
    INT("max_length", max_length, 0, 1048576, "256", "tokens of a text (of a pair) with special tokens; 0: as the model says")

#define OPTIMIZER_ROWS \
    INT("batch_size", batch_size, 1, 1048576, "32", "groups in a step"), \
    INT("epochs", epochs, 1, 100000, "1", "passes over the groups"), \
    DOUBLE("learning_rate", learning_rate, 0, 1, "2e-5", "highest learning rate, reached after the warm-up"), \
    DOUBLE("warmup_ratio", warmup_ratio, 0, 1, "0.1", "share of the steps in which the rate rises from 0; then it falls to 0"), \
    DOUBLE("weight_decay", weight_decay, 0, 1, "0", "decoupled decay of weights (not of biases and LayerNorm)"), \
    DOUBLE("max_grad_norm", max_grad_norm, 0, 1e9, "1", "largest norm of the gradient; longer ones are scaled down; 0: off"), \
    INT("seed", seed, 0, 4294967295.0, "13", "of order, dropout and new heads"), \
    CHOICE("dtype", dtype, dtypes, "auto", "precision of the arithmetic; auto is fp32 on a CPU"), \
    INT("threads", threads, 0, 4096, "0", "threads; 0: as the command line says, or one a physical core")

#define DEV_ROWS \
    STRING("dev.dataset", dev.dataset, NULL, "dataset to evaluate on while training; the best weights are kept"), \
    STRING("dev.split", dev.split, "dev", "split of it"), \
    STRING("dev.metric", dev.metric, "ndcg@10", "metric that the best weights are chosen by"), \
    INT("dev.every_steps", dev.every_steps, 0, 1e9, "0", "steps between two evaluations; 0: at the end of each epoch")

#define CHECKPOINT_ROWS \
    INT("checkpoint.every_steps", checkpoint.every_steps, 0, 1e9, "500", "steps between two checkpoints; 0: only on a signal")

static const tandem_setting bi_rows[] = {
    MODEL_AND_DATA_ROWS,
    CHOICE("loss.name", loss.name, tandem_bi_loss_names, "mnrl", "docs/losses.md explains each"),
    DOUBLE("loss.scale", loss.scale, 1e-6, 1e6, "20", "factor of the cosine similarities, one over the temperature"),
    OPTIMIZER_ROWS,
    DEV_ROWS,
    INT("mining.refresh_epochs", mining.refresh_epochs, 0, 100000, "0", "mine the negatives again, with the weights as they are, every so many epochs; 0: never"),
    INT("mining.range.0", mining.range[0], 0, 1e9, "0", "first rank of the retriever's results to take negatives from, from 0"),
    INT("mining.range.1", mining.range[1], 1, 1e9, "50", "one past the last rank"),
    DOUBLE("mining.absolute_margin", mining.absolute_margin, -1, 1e6, "-1", "drop what scores above positive - margin; negative: off"),
    DOUBLE("mining.relative_margin", mining.relative_margin, -1, 1e6, "0.05", "drop what scores above positive - |positive| * margin; negative: off"),
    INT("mining.negatives", mining.negatives, 1, 1000, "4", "negatives to mine for a query"),
    CHOICE("mining.sampling", mining.sampling, samplings, "top", "take the hardest that are left, or random ones of them"),
    CHECKPOINT_ROWS,
};

static const tandem_setting cross_rows[] = {
    MODEL_AND_DATA_ROWS,
    CHOICE("loss.name", loss.name, tandem_cross_loss_names, "bce", "docs/losses.md explains each"),
    DOUBLE("loss.pos_weight", loss.pos_weight, 1e-6, 1e6, "1", "bce: weight of positives"),
    DOUBLE("loss.offset_scale", loss.offset_scale, 0, 1e6, "0", "times the groups' scores, added to the logits in training; 0: off"),
    OPTIMIZER_ROWS,
    DEV_ROWS,
    STRING("dev.run", dev.run, NULL, "TREC run file whose top 50 are reranked; needed with dev.dataset"),
    CHECKPOINT_ROWS,
};

const tandem_setting *tandem_train_settings(bool cross, size_t *count)
{
    *count = cross ? sizeof cross_rows / sizeof *cross_rows : sizeof bi_rows / sizeof *bi_rows;
    return cross ? cross_rows : bi_rows;
}
