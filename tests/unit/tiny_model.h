/* tiny_model.h - what the tests of models share: a folder of their own, and BERT directories small enough to
 * write by hand. */
#ifndef TANDEM_TESTS_TINY_MODEL_H
#define TANDEM_TESTS_TINY_MODEL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tandem/file.h"
#include "tandem/memory.h"
#include "tandem/model.h"
#include "tandem/random.h"
#include "tandem/safetensors.h"

#define WORDS                                                                                                     \
    "[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "wing", "of", "a", "bird", "lift", "drag", "flow", "over", "heat", \
        "shock", "##s", "query", "passage", ":", "x"
static const char *const words[] = {WORDS};
#define VOCAB (sizeof words / sizeof *words)

/* A model small enough to write by hand. Hidden sizes that are no multiple of 4 make sure
 * that query, key and value lie together although each alone would not end on a border. */
typedef struct {
    int hidden, layers, heads, intermediate, positions, types, labels;
    const char *prefix;
    bool pooler;
} shape;

static const shape small = {.hidden = 8,
                            .layers = 2,
                            .heads = 2,
                            .intermediate = 12,
                            .positions = 16,
                            .types = 2,
                            .prefix = "",
                            .pooler = true};

static char root[] = "/tmp/tandem-test-model-XXXXXX";

static tandem_arena *strings; /* of paths, until the tests end */

static char *at(const char *name)
{
    char path[512];
    int length = snprintf(path, sizeof path, "%s/%s", root, name);
    return tandem_arena_strndup(strings, path, (size_t)length);
}

__attribute__((unused)) static void put(const char *name, const char *text)
{
    assert_int_equal(tandem_file_write(at(name), text, strlen(text)), 0);
}

typedef struct {
    tandem_safetensor_out tensors[96];
    char names[96][128];
    size_t count;
    const char *skip;   /* leave this weight out */
    const char *rename; /* give `skip` this name instead */
} weights;

static void add_weight(weights *all, const char *prefix, const char *name, int rows, int columns)
{
    char *full = all->names[all->count];
    snprintf(full, sizeof all->names[0], "%s%s", prefix, name);
    if (all->skip != NULL && strcmp(name, all->skip) == 0) {
        if (all->rename == NULL) {
            return;
        }
        snprintf(full, sizeof all->names[0], "%s%s", prefix, all->rename);
    }
    size_t count = (size_t)rows * (size_t)(columns > 0 ? columns : 1);
    float *data = tandem_alloc(count, sizeof *data);
    tandem_random random = tandem_random_stream(7, name, 0);
    for (size_t i = 0; i < count; i++) {
        data[i] =
            (float)tandem_random_normal(&random) * 0.2f + (strstr(name, "LayerNorm.weight") != NULL ? 1.0f : 0.0f);
    }
    all->tensors[all->count++] =
        (tandem_safetensor_out){.name = full, .dims = columns > 0 ? 2 : 1, .shape = {rows, columns}, .data = data};
}

static void write_weights(const char *folder, const shape *s, const char *skip_name, const char *rename_to)
{
    static weights all;
    all = (weights){.skip = skip_name, .rename = rename_to};
    add_weight(&all, s->prefix, "embeddings.word_embeddings.weight", (int)VOCAB, s->hidden);
    add_weight(&all, s->prefix, "embeddings.position_embeddings.weight", s->positions, s->hidden);
    add_weight(&all, s->prefix, "embeddings.token_type_embeddings.weight", s->types, s->hidden);
    add_weight(&all, s->prefix, "embeddings.LayerNorm.weight", s->hidden, 0);
    add_weight(&all, s->prefix, "embeddings.LayerNorm.bias", s->hidden, 0);
    static const char *const parts[] = {
        "attention.self.query",       "attention.self.key", "attention.self.value", "attention.output.dense",
        "attention.output.LayerNorm", "intermediate.dense", "output.dense",         "output.LayerNorm"};
    for (int layer = 0; layer < s->layers; layer++) {
        for (size_t i = 0; i < 8; i++) {
            char name[96];
            int out = i == 5 ? s->intermediate : s->hidden, in = i == 6 ? s->intermediate : s->hidden;
            snprintf(name, sizeof name, "encoder.layer.%d.%s.weight", layer, parts[i]);
            add_weight(&all, s->prefix, name, out, i == 4 || i == 7 ? 0 : in);
            snprintf(name, sizeof name, "encoder.layer.%d.%s.bias", layer, parts[i]);
            add_weight(&all, s->prefix, name, out, 0);
        }
    }
    if (s->pooler) {
        add_weight(&all, s->prefix, "pooler.dense.weight", s->hidden, s->hidden);
        add_weight(&all, s->prefix, "pooler.dense.bias", s->hidden, 0);
    }
    if (s->labels > 0) {
        add_weight(&all, "", "classifier.weight", s->labels, s->hidden);
        add_weight(&all, "", "classifier.bias", s->labels, 0);
    }
    char path[600];
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    assert_int_equal(tandem_safetensors_write(path, all.tensors, all.count), 0);
    for (size_t i = 0; i < all.count; i++) {
        free((void *)(uintptr_t)all.tensors[i].data);
    }
}

static void write_tokenizer(const char *folder)
{
    tandem_buffer text = TANDEM_BUFFER_INIT;
    tandem_buffer_puts(
        &text,
        "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,\"added_tokens\":[],\"normalizer\":{\"type\":"
        "\"BertNormalizer\","
        "\"clean_text\":true,\"handle_chinese_chars\":true,\"strip_accents\":null,\"lowercase\":true},"
        "\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"},\"post_processor\":{\"type\":\"BertProcessing\","
        "\"sep\":[\"[SEP]\",3],\"cls\":[\"[CLS]\",2]},\"decoder\":null,\"model\":{\"type\":\"WordPiece\","
        "\"unk_token\":\"[UNK]\",\"continuing_subword_prefix\":\"##\",\"max_input_chars_per_word\":100,\"vocab\":{");
    for (size_t i = 0; i < VOCAB; i++) {
        tandem_buffer_printf(&text, "%s\"%s\":%zu", i > 0 ? "," : "", words[i], i);
    }
    assert_int_equal(tandem_buffer_puts(&text, "}}}"), 0);
    char path[600];
    snprintf(path, sizeof path, "%s/tokenizer.json", folder);
    assert_int_equal(tandem_file_write(path, text.data, text.length), 0);
    tandem_buffer_free(&text);
}

/* Writes config.json, weights and tokenizer; `more` is put into config.json. */
static char *write_model(const char *name, const shape *s, const char *more)
{
    char *folder = at(name), config[1024], path[600];
    assert_int_equal(tandem_dir_make(folder), 0);
    snprintf(config, sizeof config,
             "{\"model_type\": \"bert\", \"hidden_size\": %d, \"num_hidden_layers\": %d, \"num_attention_heads\": %d, "
             "\"intermediate_size\": %d, "
             "\"vocab_size\": %d, \"max_position_embeddings\": %d, \"type_vocab_size\": %d, \"hidden_act\": \"gelu\", "
             "\"custom\": [1, 2]%s}",
             s->hidden, s->layers, s->heads, s->intermediate, (int)VOCAB, s->positions, s->types, more);
    snprintf(path, sizeof path, "%s/config.json", folder);
    assert_int_equal(tandem_file_write(path, config, strlen(config)), 0);
    write_tokenizer(folder);
    write_weights(folder, s, NULL, NULL);
    return folder;
}

static tandem_model *load(const char *folder, tandem_model_options options)
{
    tandem_model *model = NULL;
    if (tandem_model_load(&model, folder, &options) != 0) {
        fail_msg("%s", tandem_error_message());
    }
    return model;
}

__attribute__((unused)) static void assert_load_fails(const char *folder, tandem_model_kind kind, const char *expected)
{
    tandem_model *model = NULL;
    tandem_model_options options = {.kind = kind};
    assert_true(tandem_model_load(&model, folder, &options) < 0);
    assert_null(model);
    if (strstr(tandem_error_message(), expected) == NULL) {
        fail_msg("expected \"%s\" in \"%s\"", expected, tandem_error_message());
    }
}

__attribute__((unused)) static const tandem_parameter *find(const tandem_model *model, const char *name)
{
    for (size_t i = 0; i < tandem_model_parameter_count(model); i++) {
        if (strcmp(tandem_model_parameter(model, i)->name, name) == 0) {
            return tandem_model_parameter(model, i);
        }
    }
    fail_msg("no parameter %s", name);
    return NULL;
}

static int setup(void **state)
{
    (void)state;
    strings = tandem_arena_new();
    return strings == NULL || mkdtemp(root) == NULL || setenv("TANDEM_CACHE", at("cache"), 1) != 0 ? -1 : 0;
}

static int teardown(void **state)
{
    (void)state;
    tandem_arena_free(strings);
    return tandem_dir_remove(root);
}

#endif
