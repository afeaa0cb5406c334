/* Model directories: what is read, what is refused and how, where weights lie, and that what
 * is saved is what was loaded. Numbers are compared with transformers in tests/parity. */
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <setjmp.h>
#include <math.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tandem/file.h"
#include "tandem/json.h"
#include "tandem/machine.h"
#include "tandem/memory.h"
#include "tandem/model.h"
#include "tandem/random.h"
#include "tandem/safetensors.h"

#define WORDS "[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "wing", "of", "a", "bird", "lift", "drag", "flow", "over", "heat", "shock", "##s", "query", "passage", ":", "x"
static const char *const words[] = {WORDS};
#define VOCAB (sizeof words / sizeof *words)

/* A model small enough to write by hand. Hidden sizes that are no multiple of 4 make sure
 * that query, key and value lie together although each alone would not end on a border. */
typedef struct {
    int hidden, layers, heads, intermediate, positions, types, labels;
    const char *prefix;
    bool pooler;
} shape;

static const shape small = {.hidden = 8, .layers = 2, .heads = 2, .intermediate = 12, .positions = 16, .types = 2, .prefix = "", .pooler = true};

static char root[] = "/tmp/test_model.XXXXXX";

static tandem_arena *strings; /* of paths, until the tests end */

static char *at(const char *name)
{
    char path[512];
    int length = snprintf(path, sizeof path, "%s/%s", root, name);
    return tandem_arena_strndup(strings, path, (size_t)length);
}

static void put(const char *name, const char *text)
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
        data[i] = (float)tandem_random_normal(&random) * 0.2f + (strstr(name, "LayerNorm.weight") != NULL ? 1.0f : 0.0f);
    }
    all->tensors[all->count++] = (tandem_safetensor_out){.name = full, .dims = columns > 0 ? 2 : 1, .shape = {rows, columns}, .data = data};
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
    static const char *const parts[] = {"attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense",
                                        "attention.output.LayerNorm", "intermediate.dense", "output.dense", "output.LayerNorm"};
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
    tandem_buffer_puts(&text, "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,\"added_tokens\":[],\"normalizer\":{\"type\":\"BertNormalizer\","
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
             "{\"model_type\": \"bert\", \"hidden_size\": %d, \"num_hidden_layers\": %d, \"num_attention_heads\": %d, \"intermediate_size\": %d, "
             "\"vocab_size\": %d, \"max_position_embeddings\": %d, \"type_vocab_size\": %d, \"hidden_act\": \"gelu\", \"custom\": [1, 2]%s}",
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

static void assert_load_fails(const char *folder, tandem_model_kind kind, const char *expected)
{
    tandem_model *model = NULL;
    tandem_model_options options = {.kind = kind};
    assert_true(tandem_model_load(&model, folder, &options) < 0);
    assert_null(model);
    if (strstr(tandem_error_message(), expected) == NULL) {
        fail_msg("expected \"%s\" in \"%s\"", expected, tandem_error_message());
    }
}

static const tandem_parameter *find(const tandem_model *model, const char *name)
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

/* ---- layout --------------------------------------------------------------------------- */

static void lays_weights_out_for_the_encoder(void **state)
{
    (void)state;
    static const shape odd = {.hidden = 15, .layers = 3, .heads = 3, .intermediate = 7, .positions = 9, .types = 1, .prefix = "", .pooler = true};
    tandem_model *model = load(write_model("odd", &odd, ""), (tandem_model_options){0});
    const tandem_encoder_spec *spec = tandem_model_spec(model);
    const tandem_parameter *query = find(model, "encoder.layer.2.attention.self.query.weight");
    const tandem_parameter *key = find(model, "encoder.layer.2.attention.self.key.weight");
    const tandem_parameter *value = find(model, "encoder.layer.2.attention.self.value.bias");
    assert_int_equal(spec->layer[2].qkv_weight, query->offset);
    assert_int_equal(key->offset, query->offset + 15 * 15);
    assert_int_equal(value->offset, spec->layer[2].qkv_bias + 2 * 15);
    const tandem_place blocks[] = {spec->word_embedding, spec->embedding_norm_bias, spec->layer[1].qkv_weight, spec->layer[1].qkv_bias,
                                   spec->layer[1].up_weight, spec->layer[2].output_norm_bias};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) {
        assert_int_equal(blocks[i] % 16, 0);
    }
    assert_int_equal(spec->classifier_weight, -1);
    assert_int_equal(spec->head_weight, -1); /* a bi-encoder's is no parameter */
    /* Every float belongs to one weight or is zero. */
    size_t floats, covered = 0, end = 0;
    const float *arena = tandem_model_parameters(model, &floats);
    for (size_t i = 0; i < tandem_model_parameter_count(model); i++) {
        const tandem_parameter *parameter = tandem_model_parameter(model, i);
        assert_true(parameter->offset >= end);
        for (; end < parameter->offset; end++, covered++) {
            assert_true(arena[end] == 0.0f);
        }
        end += parameter->count;
        covered += parameter->count;
        assert_true(parameter->decay == (strstr(parameter->name, "LayerNorm") == NULL && strstr(parameter->name, "bias") == NULL));
    }
    assert_true(floats - covered < 16);
    tandem_model_free(model);
}

/* ---- names ----------------------------------------------------------------------------- */

static void accepts_the_names_that_checkpoints_have(void **state)
{
    (void)state;
    char *plain = write_model("plain", &small, "");
    tandem_model *model = load(plain, (tandem_model_options){0});
    tandem_hash hash = tandem_model_weights_hash(model);
    tandem_model_free(model);
    shape prefixed = small;
    prefixed.prefix = "bert.";
    char *folder = write_model("prefixed", &prefixed, "");
    model = load(folder, (tandem_model_options){0});
    assert_true(tandem_hash_equal(hash, tandem_model_weights_hash(model)));
    tandem_model_free(model);
    write_weights(folder, &prefixed, "embeddings.LayerNorm.weight", "embeddings.LayerNorm.gamma");
    model = load(folder, (tandem_model_options){0});
    assert_true(tandem_hash_equal(hash, tandem_model_weights_hash(model)));
    tandem_model_free(model);
}

static void lists_missing_unknown_and_misshapen_weights(void **state)
{
    (void)state;
    char *folder = write_model("broken", &small, "");
    write_weights(folder, &small, "encoder.layer.1.output.dense.bias", NULL);
    assert_load_fails(folder, TANDEM_BI_ENCODER, "missing encoder.layer.1.output.dense.bias");
    write_weights(folder, &small, "encoder.layer.1.output.dense.bias", "encoder.layer.1.output.dense.bas");
    assert_load_fails(folder, TANDEM_BI_ENCODER, "missing encoder.layer.1.output.dense.bias, unknown encoder.layer.1.output.dense.bas");
    shape wide = small;
    wide.intermediate = 13;
    write_weights(folder, &wide, NULL, NULL);
    assert_load_fails(folder, TANDEM_BI_ENCODER, "wrong shape of encoder.layer.0.intermediate.dense.weight (expected [12, 8], found [13, 8])");
    shape deep = small;
    deep.layers = 3;
    write_weights(folder, &deep, NULL, NULL);
    assert_load_fails(folder, TANDEM_BI_ENCODER, "unknown encoder.layer.2.attention");
    assert_non_null(strstr(tandem_error_message(), " and 8 more"));
    shape classifier = small;
    classifier.labels = 1;
    write_weights(folder, &classifier, NULL, NULL);
    assert_load_fails(folder, TANDEM_BI_ENCODER, "unknown classifier.weight");
    write_weights(folder, &small, NULL, NULL);
    assert_load_fails(folder, TANDEM_CROSS_ENCODER, "missing classifier.weight, missing classifier.bias");
}

static void ignores_what_says_nothing(void **state)
{
    (void)state;
    char *folder = write_model("heads", &small, "");
    shape spare = small;
    spare.pooler = false;
    write_weights(folder, &spare, NULL, NULL);
    tandem_model *model = load(folder, (tandem_model_options){0}); /* no pooler: nothing needs it */
    tandem_model_free(model);
    /* The pooler stands in for a head of pretraining under another name. */
    write_weights(folder, &small, "pooler.dense.bias", "cls.predictions.bias");
    tandem_model_free(load(folder, (tandem_model_options){0}));
    write_weights(folder, &small, "pooler.dense.bias", "embeddings.position_ids");
    tandem_model_free(load(folder, (tandem_model_options){0}));
}

/* ---- config.json and the modules ------------------------------------------------------------ */

static void refuses_by_name(void **state)
{
    (void)state;
    static const struct {
        const char *more, *expected;
    } cases[] = {
        {", \"position_embedding_type\": \"relative_key\"", "position_embedding_type \"relative_key\" is not supported"},
        {", \"is_decoder\": true", "is_decoder"},
        {", \"layer_norm_eps\": 2", "layer_norm_eps is 2"},
        {", \"hidden_dropout_prob\": 1.5", "hidden_dropout_prob is 1.5"},
        {", \"quantization_config\": {\"bits\": 4}", "quantization_config"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_load_fails(write_model("config", &small, cases[i].more), TANDEM_BI_ENCODER, cases[i].expected);
    }
    shape uneven = small;
    uneven.heads = 3;
    assert_load_fails(write_model("config", &uneven, ""), TANDEM_BI_ENCODER, "hidden_size 8 is no multiple of num_attention_heads 3");
    put("config/config.json", "{\"model_type\": \"bart\"}");
    assert_load_fails(at("config"), TANDEM_BI_ENCODER, "model_type \"bart\" is not supported (known: bert");
    put("config/config.json", "{\"model_type\": \"bert\", \"hidden_size\": 1e18}");
    assert_load_fails(at("config"), TANDEM_BI_ENCODER, "hidden_size");
    assert_load_fails(at("nowhere"), TANDEM_BI_ENCODER, "no such directory");
}

#define MODULES(rest) "[{\"idx\":0,\"name\":\"0\",\"path\":\"\",\"type\":\"sentence_transformers.models.Transformer\"}," \
                      "{\"idx\":1,\"name\":\"1\",\"path\":\"1_Pooling\",\"type\":\"sentence_transformers.models.Pooling\"}" rest "]"

static void reads_both_layouts_of_modules(void **state)
{
    (void)state;
    char *folder = write_model("st", &small, "");
    put("st/modules.json", MODULES(",{\"idx\":2,\"name\":\"2\",\"path\":\"2_Normalize\",\"type\":\"sentence_transformers.models.Normalize\"}"));
    put("st/1_Pooling/config.json", "{\"word_embedding_dimension\": 8, \"pooling_mode_cls_token\": true, \"pooling_mode_mean_tokens\": false}");
    put("st/sentence_bert_config.json", "{\"max_seq_length\": 9, \"do_lower_case\": false}");
    put("st/config_sentence_transformers.json", "{\"prompts\": {\"query\": \"query: \", \"passage\": \"passage: \"}, \"similarity_fn_name\": \"dot\"}");
    put("st/tokenizer_config.json", "{\"model_max_length\": 12}");
    tandem_model *model = load(folder, (tandem_model_options){0});
    const tandem_model_info *info = tandem_model_describe(model);
    assert_int_equal(info->pooling, TANDEM_POOL_CLS);
    assert_true(info->normalize);
    assert_false(info->cosine);
    assert_int_equal(info->max_length, 9);
    assert_int_equal(info->dim, 8);
    assert_string_equal(info->query_prompt, "query: ");
    assert_string_equal(info->document_prompt, "passage: ");
    tandem_model_free(model);

    put("st/modules.json", "[{\"idx\":0,\"name\":\"0\",\"path\":\"\",\"type\":\"sentence_transformers.base.modules.transformer.Transformer\"},"
                           "{\"idx\":1,\"name\":\"1\",\"path\":\"1_Pooling\",\"type\":\"sentence_transformers.sentence_transformer.modules.pooling.Pooling\"}]");
    put("st/1_Pooling/config.json", "{\"embedding_dimension\": 8, \"pooling_mode\": [\"weightedmean\"], \"include_prompt\": true}");
    put("st/sentence_bert_config.json", "{\"transformer_task\": \"feature-extraction\", \"module_output_name\": \"token_embeddings\"}");
    model = load(folder, (tandem_model_options){0});
    info = tandem_model_describe(model);
    assert_int_equal(info->pooling, TANDEM_POOL_WEIGHTED_MEAN);
    assert_false(info->normalize);
    assert_int_equal(info->max_length, 12);
    tandem_model_free(model);

    model = load(folder, (tandem_model_options){.max_length = 1000});
    assert_int_equal(tandem_model_describe(model)->max_length, 16); /* never more than there are positions */
    tandem_model_free(model);
    tandem_model *none = NULL;
    assert_int_equal(tandem_model_load(&none, folder, &(tandem_model_options){.max_length = 2}), TANDEM_USAGE);

    put("st/1_Pooling/config.json", "{\"word_embedding_dimension\": 8, \"pooling_mode_cls_token\": true, \"pooling_mode_mean_tokens\": true}");
    assert_load_fails(folder, TANDEM_BI_ENCODER, "pooling_mode_cls_token and pooling_mode_mean_tokens are both true");
    put("st/1_Pooling/config.json", "{\"embedding_dimension\": 8, \"pooling_mode\": [\"cls\", \"mean\"]}");
    assert_load_fails(folder, TANDEM_BI_ENCODER, "joins several modes");
    put("st/1_Pooling/config.json", "{\"embedding_dimension\": 9, \"pooling_mode\": \"mean\"}");
    assert_load_fails(folder, TANDEM_BI_ENCODER, "vectors of 9 numbers, the encoder gives 8");
    put("st/1_Pooling/config.json", "{\"embedding_dimension\": 8, \"pooling_mode\": \"mean\", \"include_prompt\": false}");
    assert_load_fails(folder, TANDEM_BI_ENCODER, "include_prompt false");
    put("st/modules.json", MODULES(",{\"idx\":2,\"name\":\"2\",\"path\":\"2_Dense\",\"type\":\"sentence_transformers.models.Dense\"}"));
    assert_load_fails(folder, TANDEM_BI_ENCODER, "\"Dense\", is not supported");
    put("st/modules.json", "[{\"idx\":0,\"name\":\"0\",\"path\":\"../plain\",\"type\":\"sentence_transformers.models.Transformer\"}]");
    assert_load_fails(folder, TANDEM_BI_ENCODER, "leaves the directory");
}

static void refuses_other_weight_files(void **state)
{
    (void)state;
    char *folder = write_model("pickle", &small, "");
    assert_int_equal(remove(at("pickle/model.safetensors")), 0);
    assert_load_fails(folder, TANDEM_BI_ENCODER, "model.safetensors: no such file");
    static const char zip[] = "PK\3\4\0\0\10\10\0\0\0\0\0\0archive/data.pkl";
    assert_int_equal(tandem_file_write(at("pickle/pytorch_model.bin"), zip, sizeof zip), 0);
    assert_load_fails(folder, TANDEM_BI_ENCODER, "weights_only=True");
    assert_int_equal(remove(at("pickle/pytorch_model.bin")), 0);
    put("pickle/model.safetensors.index.json", "{}");
    assert_load_fails(folder, TANDEM_BI_ENCODER, "must be in one file");
}

/* ---- saving ------------------------------------------------------------------------------------ */

static void assert_same_tensors(const char *left, const char *right)
{
    tandem_safetensors *a = NULL, *b = NULL;
    assert_int_equal(tandem_safetensors_open(&a, left), 0);
    assert_int_equal(tandem_safetensors_open(&b, right), 0);
    assert_int_equal(tandem_safetensors_count(a), tandem_safetensors_count(b));
    for (size_t i = 0; i < tandem_safetensors_count(a); i++) {
        const tandem_safetensor *x = tandem_safetensors_at(a, i), *y = tandem_safetensors_find(b, x->name);
        assert_non_null(y);
        assert_int_equal(x->bytes, y->bytes);
        assert_memory_equal(x->data, y->data, x->bytes);
    }
    tandem_safetensors_close(a);
    tandem_safetensors_close(b);
}

static void saves_a_bi_encoder_as_it_was(void **state)
{
    (void)state;
    char *folder = write_model("source", &small, ", \"dtype\": \"float16\"");
    put("source/config_sentence_transformers.json", "{\"prompts\": {\"query\": \"query: \"}, \"extra\": 1}");
    tandem_model *model = load(folder, (tandem_model_options){.max_length = 11});
    assert_int_equal(tandem_model_save(model, at("saved")), 0);
    assert_same_tensors(at("source/model.safetensors"), at("saved/model.safetensors")); /* the unread pooler, too */
    tandem_model *again = load(at("saved"), (tandem_model_options){0});
    assert_int_equal(tandem_model_describe(again)->max_length, 11);
    tandem_hash key = tandem_model_key(model, TANDEM_QUERY);
    assert_true(tandem_hash_equal(key, tandem_model_key(again, TANDEM_QUERY)));
    assert_false(tandem_hash_equal(key, tandem_model_key(model, TANDEM_DOCUMENT))); /* another prompt */
    tandem_model_parameters(again, NULL)[0] += 1.0f;
    assert_false(tandem_hash_equal(key, tandem_model_key(again, TANDEM_QUERY)));
    struct cJSON *config = NULL, *settings = NULL;
    assert_int_equal(tandem_json_read(&config, at("saved/config.json")), 0);
    assert_int_equal(tandem_json_read(&settings, at("saved/config_sentence_transformers.json")), 0);
    assert_non_null(tandem_json_member(config, "custom"));
    assert_non_null(tandem_json_member(settings, "extra"));
    const char *dtype;
    assert_int_equal(tandem_json_get_string(config, "dtype", "config.json", &dtype), 0);
    assert_string_equal(dtype, "float32");
    tandem_json_free(config);
    tandem_json_free(settings);
    tandem_model_free(again);
    /* Over itself: the directory is complete before and after. */
    assert_int_equal(tandem_model_save(model, folder), 0);
    assert_same_tensors(at("source/model.safetensors"), at("saved/model.safetensors"));
    /* Without the tokenizer to copy there is an error, and nothing under the name. */
    assert_int_equal(remove(at("source/tokenizer.json")), 0);
    assert_true(tandem_model_save(model, at("incomplete")) < 0);
    assert_non_null(strstr(tandem_error_message(), "tokenizer.json"));
    assert_false(tandem_dir_exists(at("incomplete")));
    tandem_model_free(model);
}

static void makes_and_saves_a_new_head(void **state)
{
    (void)state;
    char *folder = write_model("base", &small, "");
    tandem_model_options options = {.kind = TANDEM_CROSS_ENCODER, .new_head = true, .seed = 5};
    tandem_model *model = load(folder, options);
    assert_int_equal(tandem_model_describe(model)->labels, 1);
    const float *arena = tandem_model_parameters(model, NULL);
    const tandem_parameter *head = find(model, "classifier.weight"), *pooler = find(model, "bert.pooler.dense.weight");
    double squares = 0;
    for (size_t i = 0; i < head->count; i++) {
        squares += (double)arena[head->offset + i] * (double)arena[head->offset + i];
    }
    assert_true(squares > 0 && sqrt(squares / 8) < 0.06); /* N(0, 0.02): 8 draws stay within 3 deviations on average */
    assert_true(arena[find(model, "classifier.bias")->offset] == 0.0f);
    assert_true(arena[pooler->offset] != 0.0f);
    tandem_model *twin = load(folder, options);
    assert_true(tandem_hash_equal(tandem_model_weights_hash(model), tandem_model_weights_hash(twin)));
    tandem_model_free(twin);
    options.seed = 6;
    twin = load(folder, options);
    assert_false(tandem_hash_equal(tandem_model_weights_hash(model), tandem_model_weights_hash(twin)));
    tandem_model_free(twin);
    assert_int_equal(tandem_model_save(model, at("cross")), 0);
    tandem_model *again = load(at("cross"), (tandem_model_options){.kind = TANDEM_CROSS_ENCODER});
    assert_true(tandem_hash_equal(tandem_model_weights_hash(model), tandem_model_weights_hash(again)));
    assert_false(tandem_file_exists(at("cross/modules.json")));
    tandem_model_kind kind;
    assert_int_equal(tandem_model_detect(&kind, at("cross")), 0);
    assert_int_equal(kind, TANDEM_CROSS_ENCODER);
    tandem_model_free(again);
    tandem_model_free(model);
    /* A head that is there is kept. */
    again = load(at("cross"), options);
    options.seed = 5;
    twin = load(at("cross"), options);
    assert_true(tandem_hash_equal(tandem_model_weights_hash(again), tandem_model_weights_hash(twin)));
    tandem_model_free(twin);
    tandem_model_free(again);
}

/* ---- inference ------------------------------------------------------------------------------------ */

static tandem_text text(const char *words_)
{
    return (tandem_text){.id = words_, .text = words_, .length = strlen(words_)};
}

/* Sums in a batch are taken in another order than alone: a few roundings of numbers near 1. */
#define ROUNDING 2e-6f

static void assert_close(const float *a, const float *b, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!(fabsf(a[i] - b[i]) <= ROUNDING)) {
            fail_msg("element %zu: %.9g and %.9g", i, (double)a[i], (double)b[i]);
        }
    }
}

static void encodes_alone_as_in_a_batch(void **state)
{
    (void)state;
    tandem_model *model = load(write_model("encode", &small, ""), (tandem_model_options){0});
    tandem_text texts[100];
    static const char *const samples[] = {"the wing of a bird", "", "lift", "drag flow over heat shock the wing of a birds lift drag flow over heat", "x x x"};
    for (size_t i = 0; i < 100; i++) {
        texts[i] = text(samples[i % 5]);
    }
    tandem_vectors all, cached, one;
    assert_int_equal(tandem_model_encode_texts(&all, model, texts, 100, TANDEM_DOCUMENT, true, NULL), 0);
    assert_int_equal(all.count, 100);
    assert_int_equal(all.dim, 8);
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(tandem_model_encode_texts(&one, model, &texts[i], 1, TANDEM_DOCUMENT, false, NULL), 0);
        assert_close(one.data, all.data + i * 8, 8);
        assert_close(one.data, all.data + (i + 95) * 8, 8);
        tandem_vectors_free(&one);
    }
    assert_int_equal(tandem_model_encode_texts(&cached, model, texts, 100, TANDEM_DOCUMENT, true, NULL), 0);
    assert_memory_equal(cached.data, all.data, 800 * sizeof(float));
    tandem_vectors_free(&cached);
    /* Other weights must not meet the old vectors. */
    tandem_model_parameters(model, NULL)[find(model, "embeddings.LayerNorm.bias")->offset] += 1.0f;
    assert_int_equal(tandem_model_encode_texts(&cached, model, texts, 100, TANDEM_DOCUMENT, true, NULL), 0);
    assert_true(fabsf(cached.data[0] - all.data[0]) > 1e-3f);
    tandem_vectors_free(&cached);
    tandem_vectors_free(&all);
    tandem_model_free(model);
}

static void scores_pairs_in_the_given_order(void **state)
{
    (void)state;
    shape classifier = small;
    classifier.labels = 2;
    tandem_model *model = load(write_model("score", &classifier, ""), (tandem_model_options){.kind = TANDEM_CROSS_ENCODER});
    assert_int_equal(tandem_model_describe(model)->labels, 2);
    const tandem_text queries[] = {text("the wing"), text("heat")};
    const tandem_text documents[] = {text("lift drag flow over heat shock the wing of a birds lift drag flow over heat"), text("a bird"), text("x")};
    tandem_token_store *q = NULL, *d = NULL;
    assert_int_equal(tandem_model_tokenize(&q, model, queries, 2, TANDEM_QUERY), 0);
    assert_int_equal(tandem_model_tokenize(&d, model, documents, 3, TANDEM_DOCUMENT), 0);
    const tandem_pair pairs[] = {{0, 2}, {1, 0}, {0, 0}, {1, 1}, {0, 2}};
    float all[10], one[2];
    assert_int_equal(tandem_model_score(all, model, q, d, pairs, 5, NULL), 0);
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(tandem_model_score(one, model, q, d, &pairs[i], 1, NULL), 0);
        assert_close(one, all + 2 * i, 2);
    }
    assert_true(fabsf(all[0] - all[2]) > 1e-4f);
    assert_int_equal(tandem_model_score(all, model, q, d, &(tandem_pair){0, 3}, 1, NULL), TANDEM_ERROR);
    tandem_vectors none;
    assert_int_equal(tandem_model_encode_texts(&none, model, queries, 2, TANDEM_QUERY, false, NULL), TANDEM_ERROR);
    tandem_token_store_free(q);
    tandem_token_store_free(d);
    tandem_model_free(model);
}

/* Last: a signal is not forgotten. */
static void stops_when_a_signal_came(void **state)
{
    (void)state;
    tandem_model *model = load(write_model("signal", &small, ""), (tandem_model_options){0});
    tandem_interrupt_install();
    assert_int_equal(raise(SIGTERM), 0);
    tandem_vectors none;
    const tandem_text one = text("lift");
    assert_int_equal(tandem_model_encode_texts(&none, model, &one, 1, TANDEM_QUERY, false, NULL), TANDEM_INTERRUPTED);
    assert_null(none.data);
    tandem_model_free(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lays_weights_out_for_the_encoder),
        cmocka_unit_test(accepts_the_names_that_checkpoints_have),
        cmocka_unit_test(lists_missing_unknown_and_misshapen_weights),
        cmocka_unit_test(ignores_what_says_nothing),
        cmocka_unit_test(refuses_by_name),
        cmocka_unit_test(reads_both_layouts_of_modules),
        cmocka_unit_test(refuses_other_weight_files),
        cmocka_unit_test(saves_a_bi_encoder_as_it_was),
        cmocka_unit_test(makes_and_saves_a_new_head),
        cmocka_unit_test(encodes_alone_as_in_a_batch),
        cmocka_unit_test(scores_pairs_in_the_given_order),
        cmocka_unit_test(stops_when_a_signal_came),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
