/* probe_model.c - what tests/parity/test_model*.py ask of a model that no command shows:
 *
 *   pack  bi|cross DIR SEQUENCES OUT.safetensors   one packed batch of all {"ids", "type_ids", "gradient"} lines:
 *                                                  "hidden" [total, hidden], and "embeddings" or "logits"; where
 *                                                  the lines have gradients, of a loss by each output, also the
 *                                                  parameters' gradients, "gradient.NAME"
 *   alone DIR TEXTS OUT.safetensors                "embeddings" of {"text"} lines, a batch each
 *   score DIR PAIRS OUT.safetensors                "logits" of {"query", "document"} lines
 *   save  bi|cross|new DIR OUT                     load and save
 */
#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/model_private.h"
#include "tandem/file.h"
#include "tandem/json.h"
#include "tandem/model.h"
#include "tandem/safetensors.h"

static void check(int rc)
{
    if (rc < 0) {
        fprintf(stderr, "probe_model: %s\n", tandem_error_message());
        exit(1);
    }
}

static tandem_model *load(const char *kind, const char *directory)
{
    tandem_model_options options = {.kind = strcmp(kind, "bi") == 0 ? TANDEM_BI_ENCODER : TANDEM_CROSS_ENCODER,
                                    .new_head = strcmp(kind, "new") == 0, .seed = 1};
    tandem_model *model;
    check(tandem_model_load(&model, directory, &options));
    return model;
}

/* All lines of a JSONL file, as an array. */
static cJSON *read_lines(const char *path)
{
    cJSON *all = cJSON_CreateArray();
    tandem_lines *lines;
    char *line;
    size_t length;
    int rc;
    check(tandem_lines_open(&lines, path));
    while ((rc = tandem_lines_next(lines, &line, &length)) > 0) {
        cJSON *object;
        check(tandem_json_parse(&object, line, length, path));
        cJSON_AddItemToArray(all, object);
    }
    check(rc);
    tandem_lines_close(lines);
    return all;
}

static tandem_safetensor_out tensor(const char *name, const float *data, int64_t rows, int64_t columns)
{
    return (tandem_safetensor_out){.name = name, .dims = 2, .shape = {rows, columns}, .data = data};
}

static void copy_ids(int32_t *out, const cJSON *ids)
{
    for (const cJSON *id = ids->child; id != NULL; id = id->next) {
        *out++ = id->valueint;
    }
}

static tandem_safetensor_out read_tensor(const char *name, const tandem_tensor *from)
{
    int64_t rows = tandem_tensor_size(from, 0), columns = tandem_tensor_size(from, 1);
    float *data = tandem_alloc((size_t)(rows * columns), sizeof *data);
    check(tandem_tensor_read(from, data));
    return tensor(name, data, rows, columns);
}

/* Backward from [count, width] outputs with each line's "gradient"; adds the parameters' own to `out`. */
static size_t add_gradients(tandem_model *model, const cJSON *sequences, const tandem_tensor *result, tandem_safetensor_out *out)
{
    int64_t rows = tandem_tensor_size(result, 0), width = tandem_tensor_size(result, 1);
    float *values = tandem_alloc((size_t)(rows * width), sizeof *values), *next = values;
    const cJSON *line, *value;
    cJSON_ArrayForEach(line, sequences) {
        cJSON_ArrayForEach(value, tandem_json_member(line, "gradient")) {
            *next++ = (float)value->valuedouble;
        }
    }
    if (next != values + rows * width) {
        fprintf(stderr, "probe_model: %td numbers in the gradients, expected %lld\n", next - values, (long long)(rows * width));
        exit(1);
    }
    tandem_tensor *gradient;
    check(tandem_tensor_from(&gradient, values, (const int64_t[]){rows, width}, 2));
    check(tandem_backward_with(result, gradient));
    const float *arena = tandem_model_gradients(model);
    for (size_t i = 0; i < tandem_model_parameter_count(model); i++) {
        const tandem_parameter *parameter = tandem_model_parameter(model, i);
        char *name = tandem_alloc(strlen(parameter->name) + 10, 1);
        snprintf(name, strlen(parameter->name) + 10, "gradient.%s", parameter->name);
        out[i] = (tandem_safetensor_out){.name = name, .dims = parameter->dims, .data = arena + parameter->offset};
        memcpy(out[i].shape, parameter->shape, sizeof parameter->shape);
    }
    return tandem_model_parameter_count(model);
}

static void pack(tandem_model *model, const char *input, const char *output)
{
    cJSON *sequences = read_lines(input);
    tandem_batch_builder *builder = tandem_batch_builder_new();
    const cJSON *line;
    cJSON_ArrayForEach(line, sequences) {
        const cJSON *ids = tandem_json_member(line, "ids");
        int32_t *to_ids, *to_types;
        check(tandem_batch_builder_add(builder, (size_t)cJSON_GetArraySize(ids), &to_ids, &to_types));
        copy_ids(to_ids, ids);
        copy_ids(to_types, tandem_json_member(line, "type_ids"));
    }
    tandem_batch batch = tandem_batch_builder_view(builder);
    const tandem_dropout none = {.train = false};
    tandem_tensor *hidden, *result;
    bool bi = tandem_model_describe(model)->kind == TANDEM_BI_ENCODER, trains = tandem_json_member(sequences->child, "gradient") != NULL;
    if (trains && tandem_model_gradients(model) == NULL) {
        check(TANDEM_ERROR);
    }
    check(tandem_scope_begin());
    tandem_grad_enable(trains);
    check(tandem_encoder_forward(&hidden, model->encoder, &batch, none));
    check(bi ? tandem_model_embed(&result, model, &batch, none) : tandem_model_logits(&result, model, &batch, none));
    tandem_safetensor_out *tensors = tandem_alloc(2 + tandem_model_parameter_count(model), sizeof *tensors);
    tensors[0] = read_tensor("hidden", hidden);
    tensors[1] = read_tensor(bi ? "embeddings" : "logits", result);
    size_t gradients = trains ? add_gradients(model, sequences, result, tensors + 2) : 0;
    check(tandem_safetensors_write(output, tensors, 2 + gradients));
    tandem_scope_end();
    tandem_batch_builder_free(builder);
    cJSON_Delete(sequences);
}

static tandem_text *read_texts(const cJSON *lines, const char *key, size_t *count)
{
    *count = (size_t)cJSON_GetArraySize(lines);
    tandem_text *texts = tandem_alloc(*count, sizeof *texts), *next = texts;
    const cJSON *line;
    cJSON_ArrayForEach(line, lines) {
        const char *text;
        check(tandem_json_get_string(line, key, "input", &text));
        *next++ = (tandem_text){.id = "", .text = text, .length = strlen(text)};
    }
    return texts;
}

static void alone(tandem_model *model, const char *input, const char *output)
{
    size_t count, dim = tandem_model_describe(model)->dim;
    tandem_text *texts = read_texts(read_lines(input), "text", &count);
    float *all = tandem_alloc(count * dim, sizeof *all);
    for (size_t i = 0; i < count; i++) {
        tandem_vectors one;
        check(tandem_model_encode_texts(&one, model, &texts[i], 1, TANDEM_DOCUMENT, false, NULL));
        memcpy(all + i * dim, one.data, dim * sizeof *all);
        tandem_vectors_free(&one);
    }
    tandem_safetensor_out out = tensor("embeddings", all, (int64_t)count, (int64_t)dim);
    check(tandem_safetensors_write(output, &out, 1));
}

static void score(tandem_model *model, const char *input, const char *output)
{
    cJSON *lines = read_lines(input);
    size_t count;
    tandem_text *queries = read_texts(lines, "query", &count), *documents = read_texts(lines, "document", &count);
    tandem_token_store *q, *d;
    check(tandem_model_tokenize(&q, model, queries, count, TANDEM_QUERY));
    check(tandem_model_tokenize(&d, model, documents, count, TANDEM_DOCUMENT));
    tandem_pair *pairs = tandem_alloc(count, sizeof *pairs);
    for (size_t i = 0; i < count; i++) {
        pairs[i] = (tandem_pair){(uint32_t)i, (uint32_t)i};
    }
    int64_t labels = tandem_model_describe(model)->labels;
    float *logits = tandem_alloc(count * (size_t)labels, sizeof *logits);
    check(tandem_model_score(logits, model, q, d, pairs, count, NULL));
    tandem_safetensor_out out = tensor("logits", logits, (int64_t)count, labels);
    check(tandem_safetensors_write(output, &out, 1));
}

int main(int count, char **words)
{
    if (count == 6 && strcmp(words[1], "pack") == 0) {
        pack(load(words[2], words[3]), words[4], words[5]);
    } else if (count == 5 && strcmp(words[1], "alone") == 0) {
        alone(load("bi", words[2]), words[3], words[4]);
    } else if (count == 5 && strcmp(words[1], "score") == 0) {
        score(load("cross", words[2]), words[3], words[4]);
    } else if (count == 5 && strcmp(words[1], "save") == 0) {
        check(tandem_model_save(load(words[2], words[3]), words[4]));
    } else {
        fprintf(stderr, "probe_model: see the top of its source\n");
        return 2;
    }
    return 0;
}
