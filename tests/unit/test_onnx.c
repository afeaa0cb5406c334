/* Files of ONNX graphs: what lies in them and beside them, and what is refused. What the graphs compute is
 * compared by tests/parity/test_onnx.py. */
#include <cjson/cJSON.h>
#include <math.h>
#include <sys/stat.h>

#include "model/onnx_wire.h"
#include "tandem/json.h"
#include "tandem/onnx.h"
#include "tiny_model.h"

static const shape wide = {.hidden = 32, .layers = 1, .heads = 2, .intermediate = 40, .positions = 16, .types = 2, .prefix = ""};

static long long size_of(const char *path)
{
    struct stat status;
    assert_int_equal(stat(path, &status), 0);
    return (long long)status.st_size;
}

static void assert_says(const char *text)
{
    if (strstr(tandem_error_message(), text) == NULL) {
        fail_msg("expected \"%s\" in \"%s\"", text, tandem_error_message());
    }
}

/* ---- float16 ------------------------------------------------------------------------------- */

static float value_of(uint16_t half)
{
    int exponent = half >> 10 & 31, mantissa = half & 1023;
    float size = exponent == 0 ? ldexpf((float)mantissa, -24) : ldexpf((float)(mantissa + 1024), exponent - 25);
    return half & 0x8000 ? -size : size;
}

static void keeps_every_float16(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 65536; i++) {
        uint16_t half;
        if ((i >> 10 & 31) != 31) {
            assert_true(onnx_half(&half, value_of((uint16_t)i)));
            assert_int_equal(half, i);
        }
    }
}

static void rounds_to_the_nearest_float16(void **state)
{
    (void)state;
    static const struct {
        float value, expected;
    } cases[] = {
        {1 + 0x1p-11F, 1},               {1 + 3 * 0x1p-11F, 1 + 2 * 0x1p-10F}, /* ties go to the even one */
        {1 + 0x1.008p-11F, 1 + 0x1p-10F}, {65519.99F, 65504},
        {2047.9F, 2048},                 {0x1p-25F, 0},
        {0x1.8p-24F, 0x1p-23F},          {-0x1.ffep-15F, -0x1p-14F},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint16_t half;
        assert_true(onnx_half(&half, cases[i].value));
        assert_true(value_of(half) == cases[i].expected);
    }
    uint16_t half;
    assert_false(onnx_half(&half, 65520));
    assert_false(onnx_half(&half, -INFINITY));
    assert_false(onnx_half(&half, NAN));
}

/* ---- files ------------------------------------------------------------------------------------ */

/* The files of external data that config.json tells transformers.js of; NULL: none. */
static cJSON *told(const char *directory)
{
    char path[600];
    cJSON *config;
    snprintf(path, sizeof path, "%s/config.json", directory);
    assert_int_equal(tandem_json_read(&config, path), 0);
    cJSON *own = cJSON_GetObjectItem(config, "transformers.js_config");
    assert_string_equal(cJSON_GetObjectItem(own, "dtype")->valuestring, "q8"); /* the source's, kept */
    cJSON *found = cJSON_DetachItemFromObject(own, "use_external_data_format");
    cJSON_Delete(config);
    return found;
}

static void puts_weights_beside_a_graph_over_the_limit(void **state)
{
    (void)state;
    char *folder = write_model("beside", &wide,
                               ", \"transformers.js_config\": {\"dtype\": \"q8\", \"use_external_data_format\": {\"model.onnx\": true}}");
    tandem_model *model = load(folder, (tandem_model_options){.kind = TANDEM_BI_ENCODER});
    tandem_onnx_options graphs[] = {{.weight_bits = 8, .inline_limit = 20000},
                                    {.dtype = TANDEM_ONNX_INT8, .weight_bits = 8, .inline_limit = 1000000}};
    assert_int_equal(tandem_onnx_export(model, at("beside-out"), graphs, 2, "# card\n"), 0);
    /* word embeddings 20 x 32, positions 16 x 32, four matrices of 32 x 32 and two of 32 x 40 floats, each at a
     * multiple of 4096; token types and vectors are below 1024 bytes */
    assert_true(size_of(at("beside-out/onnx/model.onnx_data")) == 8 * 4096 + 40 * 32 * 4);
    assert_true(size_of(at("beside-out/onnx/model.onnx")) < 20000);
    assert_false(tandem_file_exists(at("beside-out/onnx/model_quantized.onnx_data")));
    assert_true(size_of(at("beside-out/README.md")) == 7);
    cJSON *files = told(at("beside-out"));
    assert_int_equal(cJSON_GetArraySize(files), 1);
    assert_true(cJSON_IsTrue(cJSON_GetObjectItem(files, "model.onnx")));
    cJSON_Delete(files);

    graphs[0].inline_limit = 0;
    assert_int_equal(tandem_onnx_export(model, at("inline-out"), graphs, 1, NULL), 0);
    assert_false(tandem_file_exists(at("inline-out/onnx/model.onnx_data")));
    assert_false(tandem_file_exists(at("inline-out/README.md")));
    assert_null(told(at("inline-out"))); /* what the source said is no longer so */
    tandem_model_free(model);
}

static void refuses_what_float16_cannot_hold(void **state)
{
    (void)state;
    char *folder = write_model("large", &wide, "");
    tandem_model *model = load(folder, (tandem_model_options){.kind = TANDEM_BI_ENCODER});
    const tandem_parameter *weight = find(model, "encoder.layer.0.output.dense.weight");
    const tandem_onnx_options graph = {.dtype = TANDEM_ONNX_FP16, .weight_bits = 8};
    tandem_model_parameters(model, NULL)[weight->offset + 3] = 1e6F;
    assert_true(tandem_onnx_export(model, at("large-out"), &graph, 1, NULL) < 0);
    assert_says("encoder.layer.0.output.dense.weight: 1e+06");
    assert_false(tandem_dir_exists(at("large-out")));
    tandem_model_free(model);
}

static void cuts_vectors(void **state)
{
    (void)state;
    char *folder = write_model("cut", &wide, "");
    tandem_model *model = load(folder, (tandem_model_options){.kind = TANDEM_BI_ENCODER});
    assert_int_equal(tandem_model_set_dimensions(model, 0), TANDEM_USAGE);
    assert_int_equal(tandem_model_set_dimensions(model, 33), TANDEM_USAGE);
    assert_says("vectors of 32 numbers cannot be cut to 33");
    assert_int_equal(tandem_model_set_dimensions(model, 12), 0);
    assert_int_equal(tandem_model_save(model, at("cut-out")), 0);
    tandem_model_free(model);
    model = load(at("cut-out"), (tandem_model_options){.kind = TANDEM_BI_ENCODER});
    assert_int_equal(tandem_model_describe(model)->dim, 12);
    assert_int_equal(tandem_model_describe(model)->width, 32);
    tandem_model_free(model);
}

static void a_cross_encoder_has_scores_alone(void **state)
{
    (void)state;
    shape cross = wide;
    cross.labels = 1;
    cross.pooler = true;
    cross.prefix = "bert.";
    tandem_model *model = load(write_model("cross", &cross, ""), (tandem_model_options){.kind = TANDEM_CROSS_ENCODER});
    const tandem_onnx_options graph = {.outputs = TANDEM_ONNX_HIDDEN, .weight_bits = 8};
    assert_int_equal(tandem_onnx_write(model, at("cross.onnx"), &graph), TANDEM_USAGE);
    assert_int_equal(tandem_model_set_dimensions(model, 8), TANDEM_USAGE);
    assert_int_equal(tandem_onnx_write(model, at("cross.onnx"), NULL), 0);
    tandem_model_free(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_every_float16),
        cmocka_unit_test(rounds_to_the_nearest_float16),
        cmocka_unit_test(puts_weights_beside_a_graph_over_the_limit),
        cmocka_unit_test(refuses_what_float16_cannot_hold),
        cmocka_unit_test(cuts_vectors),
        cmocka_unit_test(a_cross_encoder_has_scores_alone),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
