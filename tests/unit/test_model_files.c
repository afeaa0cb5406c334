/* Files of model directories: what is read, what is refused and how. Numbers are compared with
 * transformers and sentence-transformers in tests/parity. */
#include <math.h>

#include "model/model_private.h"
#include "tiny_model.h"

/* ---- config.json and the modules ------------------------------------------------------------ */

static void refuses_by_name(void **state)
{
    (void)state;
    static const struct {
        const char *more, *expected;
    } cases[] = {
        {", \"position_embedding_type\": \"relative_key\"",
         "position_embedding_type \"relative_key\" is not supported"},
        {", \"is_decoder\": true", "is_decoder"},
        {", \"layer_norm_eps\": 2", "layer_norm_eps is 2"},
        {", \"hidden_dropout_prob\": 1.5", "hidden_dropout_prob is 1.5"},
        {", \"quantization_config\": {\"bits\": 4}", "quantization_config"},
        {", \"auto_map\": {\"AutoModel\": \"modeling.Model\"}",
         "auto_map names code of its own for AutoModel (modeling.Model)"},
        {", \"auto_map\": {\"AutoModelForMaskedLM\": \"x.Y\"}", "AutoModelForMaskedLM"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_load_fails(write_model("config", &small, cases[i].more), TANDEM_BI_ENCODER, cases[i].expected);
    }
    shape uneven = small;
    uneven.heads = 3;
    assert_load_fails(write_model("config", &uneven, ""), TANDEM_BI_ENCODER,
                      "hidden_size 8 is no multiple of num_attention_heads 3");
    put("config/config.json", "{\"model_type\": \"bart\"}");
    assert_load_fails(at("config"), TANDEM_BI_ENCODER, "model_type \"bart\" is not supported (known: bert");
    put("config/config.json", "{\"model_type\": \"bert\", \"hidden_size\": 1e18}");
    assert_load_fails(at("config"), TANDEM_BI_ENCODER, "hidden_size");
    assert_load_fails(at("nowhere"), TANDEM_BI_ENCODER, "no such directory");
}

#define SIZES                                                                                                \
    ", \"hidden_size\": 8, \"num_hidden_layers\": 2, \"num_attention_heads\": 2, \"intermediate_size\": 4, " \
    "\"vocab_size\": 30, \"max_position_embeddings\": "

static void refuses_what_a_family_does_not_have(void **state)
{
    (void)state;
    static const struct {
        const char *config, *expected;
    } cases[] = {
        {"{\"model_type\": \"roberta\"" SIZES "16, \"pad_token_id\": 15}", "leaves no position after pad_token_id 15"},
        {"{\"model_type\": \"xlm-roberta\"" SIZES "16, \"pad_token_id\": 30}", "pad_token_id"},
        {"{\"model_type\": \"mpnet\"" SIZES "16, \"relative_attention_num_buckets\": 16}",
         "relative_attention_num_buckets 16 is not supported"},
        {"{\"model_type\": \"mpnet\"" SIZES "2}", "leaves no position"},
        {"{\"model_type\": \"electra\"" SIZES "16, \"embedding_size\": 0}", "embedding_size"},
        {"{\"model_type\": \"distilbert\"" SIZES "16}", "dim"},
        {"{\"model_type\": \"modernbert\"" SIZES "16, \"layer_types\": [\"full_attention\"]}",
         "layer_types must be an array of 2 names"},
        {"{\"model_type\": \"modernbert\"" SIZES "16, \"layer_types\": [\"full_attention\", \"chunked_attention\"]}",
         "\"chunked_attention\" is not supported"},
        {"{\"model_type\": \"modernbert\"" SIZES
         "16, \"rope_parameters\": {\"full_attention\": {\"rope_type\": \"yarn\"}}}",
         "rope_type \"yarn\" is not supported"},
        {"{\"model_type\": \"modernbert\"" SIZES "16, \"rope_scaling\": {\"type\": \"linear\"}}", "rope_scaling"},
        {"{\"model_type\": \"modernbert\"" SIZES "16, \"global_rope_theta\": 0}",
         "the base of the rotary positions is 0"},
        {"{\"model_type\": \"modernbert\"" SIZES "16, \"local_attention\": 1}", "local_attention"},
        {"{\"model_type\": \"modernbert\"" SIZES "16, \"classifier_pooling\": \"max\"}", "classifier_pooling \"max\""},
        {"{\"model_type\": \"modernbert\"" SIZES "16, \"hidden_activation\": \"tanh\"}",
         "hidden_activation \"tanh\" is not supported"},
        {"{\"model_type\": \"modernbert\"" SIZES "16, \"classifier_activation\": \"elu\"}",
         "classifier_activation \"elu\""},
        {"{\"model_type\": \"modernbert\"" SIZES "16, \"mlp_dropout\": 1}", "mlp_dropout is 1"},
    };
    write_model("family", &small, "");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        put("family/config.json", cases[i].config);
        assert_load_fails(at("family"), TANDEM_BI_ENCODER, cases[i].expected);
    }
}

#define MODULES(rest)                                                                                  \
    "[{\"idx\":0,\"name\":\"0\",\"path\":\"\",\"type\":\"sentence_transformers.models.Transformer\"}," \
    "{\"idx\":1,\"name\":\"1\",\"path\":\"1_Pooling\",\"type\":\"sentence_transformers.models.Pooling\"}" rest "]"

static void reads_both_layouts_of_modules(void **state)
{
    (void)state;
    char *folder = write_model("st", &small, "");
    put("st/modules.json", MODULES(",{\"idx\":2,\"name\":\"2\",\"path\":\"2_Normalize\",\"type\":\"sentence_"
                                   "transformers.models.Normalize\"}"));
    put("st/1_Pooling/config.json",
        "{\"word_embedding_dimension\": 8, \"pooling_mode_cls_token\": true, \"pooling_mode_mean_tokens\": false}");
    put("st/sentence_bert_config.json", "{\"max_seq_length\": 9, \"do_lower_case\": false}");
    put("st/config_sentence_transformers.json",
        "{\"prompts\": {\"query\": \"query: \", \"passage\": \"passage: \"}, \"similarity_fn_name\": \"dot\"}");
    put("st/tokenizer_config.json", "{\"model_max_length\": 12}");
    tandem_model *model = load(folder, (tandem_model_options){0});
    const tandem_model_info *info = tandem_model_describe(model);
    assert_int_equal(info->poolings, 1);
    assert_int_equal(info->pooling[0], TANDEM_POOL_CLS);
    assert_true(info->normalize);
    assert_false(info->cosine);
    assert_int_equal(info->max_length, 9);
    assert_int_equal(info->dim, 8);
    assert_string_equal(info->query_prompt, "query: ");
    assert_string_equal(info->document_prompt, "passage: ");
    tandem_model_free(model);

    put("st/modules.json", "[{\"idx\":0,\"name\":\"0\",\"path\":\"\",\"type\":\"sentence_transformers.base.modules."
                           "transformer.Transformer\"},"
                           "{\"idx\":1,\"name\":\"1\",\"path\":\"1_Pooling\",\"type\":\"sentence_transformers.sentence_"
                           "transformer.modules.pooling.Pooling\"}]");
    put("st/1_Pooling/config.json",
        "{\"embedding_dimension\": 8, \"pooling_mode\": [\"weightedmean\"], \"include_prompt\": true}");
    put("st/sentence_bert_config.json",
        "{\"transformer_task\": \"feature-extraction\", \"module_output_name\": \"token_embeddings\"}");
    model = load(folder, (tandem_model_options){0});
    info = tandem_model_describe(model);
    assert_int_equal(info->pooling[0], TANDEM_POOL_WEIGHTED_MEAN);
    assert_false(info->normalize);
    assert_int_equal(info->max_length, 12);
    tandem_model_free(model);

    model = load(folder, (tandem_model_options){.max_length = 1000});
    assert_int_equal(tandem_model_describe(model)->max_length, 16); /* never more than there are positions */
    tandem_model_free(model);
    tandem_model *none = NULL;
    assert_int_equal(tandem_model_load(&none, folder, &(tandem_model_options){.max_length = 2}), TANDEM_USAGE);

    put("st/1_Pooling/config.json",
        "{\"word_embedding_dimension\": 8, \"pooling_mode_cls_token\": true, \"pooling_mode_lasttoken\": true}");
    model = load(folder, (tandem_model_options){0});
    info = tandem_model_describe(model);
    assert_int_equal(info->poolings, 2);
    assert_int_equal(info->pooling[0], TANDEM_POOL_CLS);
    assert_int_equal(info->pooling[1], TANDEM_POOL_LAST);
    assert_int_equal(info->dim, 16);
    tandem_model_free(model);
}

static void refuses_modules_by_name(void **state)
{
    (void)state;
    static const struct {
        const char *file, *text, *expected;
    } cases[] = {
        {"1_Pooling/config.json", "{\"embedding_dimension\": 9, \"pooling_mode\": \"mean\"}",
         "vectors of 9 numbers, the encoder gives 8"},
        {"1_Pooling/config.json", "{\"embedding_dimension\": 8, \"pooling_mode\": \"median\"}",
         "pooling_mode \"median\" is not supported"},
        {"1_Pooling/config.json", "{\"embedding_dimension\": 8, \"pooling_mode\": [\"cls\", \"cls\"]}",
         "names \"cls\" twice"},
        {"1_Pooling/config.json", "{\"embedding_dimension\": 8, \"pooling_mode\": []}", "pooling_mode is empty"},
        {"1_Pooling/config.json", "{\"embedding_dimension\": 8, \"pooling_mode\": \"mean\"}", NULL},
        {"modules.json",
         MODULES(",{\"idx\":2,\"name\":\"2\",\"path\":\"2_CNN\",\"type\":\"sentence_transformers.models.CNN\"}"),
         "\"CNN\", is not supported"},
        {"modules.json", MODULES(",{\"idx\":2,\"name\":\"2\",\"path\":\"2_X\",\"type\":\"custom.Dense\"}"),
         "\"custom.Dense\", is not supported"},
        {"modules.json",
         "[{\"idx\":0,\"name\":\"0\",\"path\":\"../plain\",\"type\":\"sentence_transformers.models.Transformer\"}]",
         "leaves the directory"},
        {"modules.json",
         "[{\"idx\":0,\"name\":\"0\",\"path\":\"\",\"type\":\"sentence_transformers.models.Transformer\"}]",
         "no Pooling module"},
        {"modules.json",
         MODULES(",{\"idx\":2,\"name\":\"2\",\"path\":\"\",\"type\":\"sentence_transformers.models.Normalize\"}"),
         "needs a folder of its own"},
        {"modules.json",
         MODULES(",{\"idx\":2,\"name\":\"2\",\"path\":\"2_Dense\",\"type\":\"sentence_transformers.models.Dense\"}"),
         "2_Dense/config.json: no such file"},
        {"2_Dense/config.json",
         "{\"in_features\": 8, \"out_features\": 4, \"activation_function\": \"torch.nn.modules.activation.ELU\"}",
         "ELU\" is not supported"},
        {"2_Dense/config.json", "{\"in_features\": 8, \"out_features\": 4, \"activation_function\": \"os.system\"}",
         "\"os.system\" is not supported"},
        {"2_Dense/config.json", "{\"in_features\": 8, \"out_features\": 4, \"use_residual\": true}", "use_residual"},
        {"2_Dense/config.json",
         "{\"in_features\": 8, \"out_features\": 4, \"module_input_name\": \"token_embeddings\"}",
         "module_input_name \"token_embeddings\""},
        {"2_Dense/config.json", "{\"in_features\": 9, \"out_features\": 4}",
         "2_Dense expects vectors of 9 numbers, the one before it gives 8"},
        {"2_Dense/config.json", "{\"in_features\": 8, \"out_features\": 4}", "2_Dense/model.safetensors: no such file"},
        {"2_Dense/pytorch_model.bin", "\x80\x02}q\x00(X\x06", "pytorch_model.bin"},
    };
    char *folder = write_model("modules", &small, "");
    put("modules/modules.json", MODULES(""));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char name[64];
        snprintf(name, sizeof name, "modules/%s", cases[i].file);
        put(name, cases[i].text);
        if (cases[i].expected != NULL) {
            assert_load_fails(folder, TANDEM_BI_ENCODER, cases[i].expected);
        }
    }
    static const float values[32];
    const tandem_safetensor_out dense[] = {{.name = "linear.weight", .dims = 2, .shape = {4, 8}, .data = values},
                                           {.name = "linear.bias", .dims = 1, .shape = {5}, .data = values},
                                           {.name = "linear.scale", .dims = 1, .shape = {4}, .data = values}};
    assert_int_equal(tandem_safetensors_write(at("modules/2_Dense/model.safetensors"), dense, 3), 0);
    assert_load_fails(folder, TANDEM_BI_ENCODER,
                      "wrong shape of 2_Dense.linear.bias (expected [4], found [5]), unknown 2_Dense.linear.scale");
    assert_int_equal(tandem_safetensors_write(at("modules/2_Dense/model.safetensors"), dense, 1), 0);
    assert_load_fails(folder, TANDEM_BI_ENCODER, "missing 2_Dense.linear.bias");
}

/* ---- prompts ---------------------------------------------------------------------------------- */

static void chooses_prompts_by_name(void **state)
{
    (void)state;
    char *folder = write_model("prompts", &small, "");
    put("prompts/config_sentence_transformers.json",
        "{\"prompts\": {\"web\": \"the wing: \", \"corpus\": \"lift: \", \"none\": null}, \"default_prompt_name\": "
        "\"web\", \"truncate_dim\": 5}");
    tandem_model *model = load(folder, (tandem_model_options){0});
    const tandem_model_info *info = tandem_model_describe(model);
    assert_int_equal(info->prompt_count, 3);
    assert_string_equal(info->default_prompt_name, "web");
    assert_string_equal(info->query_prompt, "the wing: ");
    assert_string_equal(info->document_prompt, "lift: ");
    assert_string_equal(tandem_model_find_prompt(model, "none"), "");
    assert_null(tandem_model_find_prompt(model, "query"));
    assert_non_null(strstr(tandem_error_message(), "no prompt is called \"query\" (known: web, corpus, none)"));
    assert_int_equal(info->width, 8);
    assert_int_equal(info->dim, 5);
    tandem_hash key = tandem_model_key(model, TANDEM_QUERY);
    assert_int_equal(tandem_model_set_prompt(model, TANDEM_QUERY, "drag "), 0);
    assert_string_equal(info->query_prompt, "drag ");
    assert_false(tandem_hash_equal(key, tandem_model_key(model, TANDEM_QUERY)));
    tandem_model_free(model);
    put("prompts/config_sentence_transformers.json",
        "{\"prompts\": {\"web\": \"\"}, \"default_prompt_name\": \"wob\"}");
    assert_load_fails(folder, TANDEM_BI_ENCODER, "default_prompt_name: ");
    put("prompts/config_sentence_transformers.json", "{\"prompts\": {\"web\": 1}}");
    assert_load_fails(folder, TANDEM_BI_ENCODER, "prompt \"web\" must be a text");
    put("prompts/config_sentence_transformers.json", "{\"similarity_fn_name\": \"euclidean\"}");
    assert_load_fails(folder, TANDEM_BI_ENCODER, "similarity_fn_name \"euclidean\" is not supported");
}

static void leaves_prompts_out_of_pooling(void **state)
{
    (void)state;
    char *folder = write_model("instructed", &small, "");
    put("instructed/modules.json", MODULES(""));
    put("instructed/1_Pooling/config.json",
        "{\"word_embedding_dimension\": 8, \"pooling_mode_mean_tokens\": true, \"include_prompt\": false}");
    tandem_model *model = load(folder, (tandem_model_options){0});
    tandem_batch_builder *builder = tandem_batch_builder_new();
    const uint32_t ids[] = {5, 7, 9, 10, 11};
    assert_int_equal(tandem_model_append(model, builder, (tandem_bare){ids, 5}, NULL), 0);
    tandem_batch batch = tandem_batch_builder_view(builder);
    const tandem_side sides[] = {TANDEM_QUERY};
    const tandem_dropout none = {.train = false};
    tandem_tensor *whole, *rest, *hidden;
    float first[8], second[8], rows[7 * 8];
    assert_int_equal(tandem_scope_begin(), 0);
    assert_int_equal(tandem_model_embed(&whole, model, &batch, none), 0); /* without a prompt all is pooled */
    assert_int_equal(tandem_tensor_read(whole, first), 0);
    assert_int_equal(tandem_model_set_prompt(model, TANDEM_QUERY, "wing a"), 0);
    assert_int_equal(tandem_model_embed_sides(&rest, model, &batch, sides, none), 0);
    assert_int_equal(tandem_tensor_read(rest, second), 0);
    assert_true(tandem_model_embed(&rest, model, &batch, none) < 0);
    assert_non_null(strstr(tandem_error_message(), "include_prompt"));
    /* [CLS] wing a are left out of seven tokens. */
    assert_int_equal(tandem_encoder_forward(&hidden, model->encoder, &batch, none), 0);
    assert_int_equal(tandem_tensor_read(hidden, rows), 0);
    for (size_t d = 0; d < 8; d++) {
        double sum = 0, all = 0;
        for (size_t t = 0; t < 7; t++) {
            all += (double)rows[t * 8 + d];
            sum += t >= 3 ? (double)rows[t * 8 + d] : 0;
        }
        assert_true(fabs(all / 7 - (double)first[d]) < 1e-6); /* a few roundings of numbers near 1 */
        assert_true(fabs(sum / 4 - (double)second[d]) < 1e-6);
    }
    tandem_scope_end();
    assert_true(tandem_model_set_prompt(model, TANDEM_DOCUMENT,
                                        "wing wing wing wing wing wing wing wing wing wing wing wing wing wing wing") <
                0);
    assert_non_null(strstr(tandem_error_message(), "a prompt of 16 tokens"));
    tandem_batch_builder_free(builder);
    tandem_model_free(model);
}

/* ---- weight files -------------------------------------------------------------------------------- */

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
    assert_load_fails(folder, TANDEM_BI_ENCODER, "weight_map must be an object");
}

/* Each shard against the index, and the index against the shards. */
static void checks_every_shard(void **state)
{
    (void)state;
    char *folder = write_model("shards", &small, "");
    assert_int_equal(rename(at("shards/model.safetensors"), at("shards/all.safetensors")), 0);
    static const float values[8];
    const tandem_safetensor_out more[] = {{.name = "pooler.dense.bias", .dims = 1, .shape = {8}, .data = values},
                                          {.name = "extra", .dims = 1, .shape = {8}, .data = values}};
    assert_int_equal(tandem_safetensors_write(at("shards/more.safetensors"), more + 1, 1), 0);
    static const struct {
        const char *map, *expected;
    } cases[] = {
        {"\"x\": \"../all.safetensors\"", "\"x\" is in \"../all.safetensors\", expected the name"},
        {"\"x\": \"all.bin\"", "\"x\" is in \"all.bin\""},
        {"\"x\": \"none.safetensors\"", "none.safetensors"},
        {"\"x\": \"more.safetensors\"",
         "x is missing from more.safetensors, extra of more.safetensors is not in the index"},
        {"\"extra\": \"all.safetensors\", \"pooler.dense.bias\": \"more.safetensors\"",
         "extra is in more.safetensors, not in all.safetensors, pooler.dense.bias is in all.safetensors, not in "
         "more.safetensors, embeddings."},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[512];
        snprintf(text, sizeof text, "{\"metadata\": {}, \"weight_map\": {%s}}", cases[i].map);
        put("shards/model.safetensors.index.json", text);
        assert_load_fails(folder, TANDEM_BI_ENCODER, cases[i].expected);
    }
    assert_int_equal(tandem_safetensors_write(at("shards/more.safetensors"), more, 2), 0);
    put("shards/model.safetensors.index.json",
        "{\"weight_map\": {\"extra\": \"more.safetensors\", \"embeddings.LayerNorm.bias\": \"all.safetensors\"}}");
    assert_load_fails(folder, TANDEM_BI_ENCODER, "tensor \"pooler.dense.bias\" is there twice");
}

/* ---- what a directory holds ------------------------------------------------------------------------ */

static void tells_the_kinds_apart(void **state)
{
    (void)state;
    static const struct {
        const char *file, *text;
        tandem_model_kind expected;
    } steps[] = {
        {"config.json", "{\"architectures\": [\"BertModel\"]}", TANDEM_BI_ENCODER},
        {"config.json", "{\"architectures\": [\"BertForSequenceClassification\"]}", TANDEM_CROSS_ENCODER},
        {"modules.json", "[{}]", TANDEM_CROSS_ENCODER},
        {"modules.json", "[{}, {}]", TANDEM_BI_ENCODER},
        {"config_sentence_transformers.json", "{\"model_type\": \"CrossEncoder\"}", TANDEM_CROSS_ENCODER},
        {"config_sentence_transformers.json", "{\"model_type\": \"SentenceTransformer\"}", TANDEM_BI_ENCODER},
    };
    tandem_model_kind kind;
    assert_int_equal(tandem_model_detect(&kind, at("kinds")), TANDEM_NOT_FOUND);
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        char name[64];
        snprintf(name, sizeof name, "kinds/%s", steps[i].file);
        put(name, steps[i].text);
        assert_int_equal(tandem_model_detect(&kind, at("kinds")), 0);
        assert_int_equal(kind, steps[i].expected);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_by_name),
        cmocka_unit_test(refuses_what_a_family_does_not_have),
        cmocka_unit_test(reads_both_layouts_of_modules),
        cmocka_unit_test(refuses_modules_by_name),
        cmocka_unit_test(chooses_prompts_by_name),
        cmocka_unit_test(leaves_prompts_out_of_pooling),
        cmocka_unit_test(refuses_other_weight_files),
        cmocka_unit_test(checks_every_shard),
        cmocka_unit_test(tells_the_kinds_apart),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
