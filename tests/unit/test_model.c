/* Models: where weights lie and under which names they are found, that what is saved is what was
 * loaded, and inference. Numbers are compared with transformers in tests/parity; the
 * files of directories are test_model_files.c's. */
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
#include "tandem/model.h"
#include "tiny_model.h"

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
        cmocka_unit_test(saves_a_bi_encoder_as_it_was),
        cmocka_unit_test(makes_and_saves_a_new_head),
        cmocka_unit_test(encodes_alone_as_in_a_batch),
        cmocka_unit_test(scores_pairs_in_the_given_order),
        cmocka_unit_test(stops_when_a_signal_came),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
