/* model_card.c - README.md of an exported directory. */
#include "cli/model_card.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tandem/file.h"
#include "tandem/json.h"

/* What is known of a training; each NULL or empty where it is not. */
typedef struct {
    cJSON *settings; /* config.used.json */
    cJSON *start;    /* the event of metrics.jsonl, of the last run */
    char metric[64]; /* of dev */
    double best;     /* its best value, which the written weights gave */
    bool evaluated;
} training;

typedef struct {
    tandem_buffer *out;
    const tandem_model_info *info;
    const char *name;
    const tandem_onnx_options *graphs;
    size_t count;
    bool cross;
} card;

/* ---- what is known of the training ---------------------------------------------------------------- */

static int read_optional(cJSON **out, const char *directory, const char *name)
{
    char *path = tandem_path_join(directory, name);
    int rc = path ? tandem_json_read(out, path) : TANDEM_ERROR;
    free(path);
    return rc == TANDEM_NOT_FOUND ? TANDEM_OK : rc;
}

/* The member of a dev event that is the metric: it has a name of its own. */
static void take_dev(training *known, const cJSON *line)
{
    static const char *const others[] = {"event", "step", "seconds", "epoch"};
    const cJSON *member;
    cJSON_ArrayForEach(member, line)
    {
        bool metric = cJSON_IsNumber(member);
        for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
            metric = metric && strcmp(member->string, others[i]) != 0;
        }
        if (metric && (!known->evaluated || member->valuedouble > known->best)) {
            snprintf(known->metric, sizeof known->metric, "%s", member->string);
            known->best = member->valuedouble;
            known->evaluated = true;
        }
    }
}

static int take_line(training *known, const char *text, size_t length, const char *path)
{
    cJSON *line = NULL;
    const char *event = NULL;
    TANDEM_TRY(tandem_json_parse(&line, text, length, path));
    int rc = tandem_json_get_string(line, "event", path, &event);
    if (rc == TANDEM_OK && strcmp(event, "dev") == 0) {
        take_dev(known, line);
    } else if (rc == TANDEM_OK && strcmp(event, "start") == 0) {
        tandem_json_free(known->start);
        known->start = line;
        return TANDEM_OK;
    }
    tandem_json_free(line);
    return rc;
}

static int read_metrics(training *known, const char *path)
{
    tandem_lines *lines;
    char *line;
    size_t length;
    int rc;
    TANDEM_TRY(tandem_lines_open(&lines, path));
    while ((rc = tandem_lines_next(lines, &line, &length)) > 0) {
        TANDEM_TRY_GOTO(rc, done, take_line(known, line, length, path));
    }
done:
    tandem_lines_close(lines);
    return rc;
}

static int read_training(training *known, const char *directory)
{
    TANDEM_TRY(read_optional(&known->settings, directory, "config.used.json"));
    char *path = tandem_path_join(directory, "metrics.jsonl");
    int rc = path == NULL ? TANDEM_ERROR : tandem_file_exists(path) ? read_metrics(known, path) : TANDEM_OK;
    free(path);
    return rc;
}

/* ---- the head ------------------------------------------------------------------------------------------ */

static int write_head(const card *c)
{
    const tandem_model_info *info = c->info;
    TANDEM_TRY(tandem_buffer_printf(
        c->out, "---\nlibrary_name: sentence-transformers\npipeline_tag: %s\ntags:\n- sentence-transformers\n%s- onnx\n- transformers.js\n---\n\n# %s\n\n",
        c->cross ? "text-ranking" : "sentence-similarity",
        c->cross ? "- cross-encoder\n- reranker\n" : "- sentence-similarity\n- feature-extraction\n", c->name));
    if (c->cross) {
        return tandem_buffer_printf(c->out,
                                    "A cross-encoder (%s, %lld layers of %lld) that scores a query together with a "
                                    "document of together up to %zu tokens, and gives %lld number%s a pair.\n\n",
                                    info->family, (long long)info->layers, (long long)info->hidden,
                                    info->max_length, (long long)info->labels, info->labels == 1 ? "" : "s");
    }
    return tandem_buffer_printf(c->out,
                                "A bi-encoder (%s, %lld layers of %lld) that maps texts of up to %zu tokens to vectors of "
                                "%zu numbers, compared by %s.\n\n",
                                info->family, (long long)info->layers, (long long)info->hidden, info->max_length,
                                info->dim, info->cosine ? "cosine similarity" : "dot product");
}

static int write_prompt(const card *c, const char *what, const char *prompt)
{
    if (prompt[0] == '\0') {
        return TANDEM_OK;
    }
    TANDEM_TRY(tandem_buffer_printf(c->out, "- %s begin with the prompt ", what));
    TANDEM_TRY(tandem_buffer_json_string(c->out, prompt, strlen(prompt)));
    return tandem_buffer_puts(c->out, ", which sentence-transformers puts there and other tools do not.\n");
}

static int write_use(const card *c)
{
    TANDEM_TRY(tandem_buffer_puts(
        c->out, c->cross ? "## Intended use\n\n- Reranking: the first documents of a search are sorted by their scores for the query. "
                           "Scores order the documents of one query; they are no probabilities that hold across queries.\n"
                         : "## Intended use\n\n- Retrieval: documents are embedded once, queries as they come, and the nearest "
                           "documents are found by their vectors.\n"));
    TANDEM_TRY(write_prompt(c, "Queries", c->info->query_prompt));
    TANDEM_TRY(write_prompt(c, "Documents", c->info->document_prompt));
    return tandem_buffer_printf(c->out,
                                "- Texts are cut after %zu tokens.\n- Measure it on queries and documents of your own before "
                                "you rely on it: other domains and languages than those of its training may do worse.\n\n",
                                c->info->max_length);
}

/* ---- training -------------------------------------------------------------------------------------------- */

static int write_fact(const card *c, const char *what, const cJSON *value, bool is_path)
{
    if (cJSON_IsString(value) && value->valuestring[0] != '\0') {
        const char *text = is_path ? tandem_path_base(value->valuestring) : value->valuestring;
        return tandem_buffer_printf(c->out, "| %s | `%s` |\n", what, text);
    }
    return cJSON_IsNumber(value) ? tandem_buffer_printf(c->out, "| %s | %.15g |\n", what, value->valuedouble) : TANDEM_OK;
}

static int write_training(const card *c, const training *known)
{
    const cJSON *settings = known->settings, *start = known->start;
    const cJSON *data = tandem_json_member(settings, "data"), *dev = tandem_json_member(settings, "dev");
    if (settings == NULL && start == NULL) {
        return TANDEM_OK;
    }
    TANDEM_TRY(tandem_buffer_puts(c->out, "## Training\n\n| | |\n| --- | --- |\n"));
    TANDEM_TRY(write_fact(c, "started from", tandem_json_member(settings, "model"), true));
    TANDEM_TRY(write_fact(c, "dataset", tandem_json_member(data, "dataset"), true));
    TANDEM_TRY(write_fact(c, "groups", tandem_json_member(data, "groups"), true));
    TANDEM_TRY(write_fact(c, "hash of the training data", tandem_json_member(start, "data"), false));
    TANDEM_TRY(write_fact(c, "loss", tandem_json_member(tandem_json_member(settings, "loss"), "name"), false));
    TANDEM_TRY(write_fact(c, "epochs", tandem_json_member(settings, "epochs"), false));
    TANDEM_TRY(write_fact(c, "batch size", tandem_json_member(settings, "batch_size"), false));
    TANDEM_TRY(write_fact(c, "learning rate", tandem_json_member(settings, "learning_rate"), false));
    TANDEM_TRY(write_fact(c, "precision", tandem_json_member(start, "dtype"), false));
    TANDEM_TRY(write_fact(c, "seed", tandem_json_member(start, "seed"), false));
    TANDEM_TRY(write_fact(c, "tandem", tandem_json_member(start, "tandem"), false));
    TANDEM_TRY(write_fact(c, "libtorch", tandem_json_member(start, "libtorch"), false));
    if (known->evaluated) {
        TANDEM_TRY(tandem_buffer_puts(c->out, "\n## Evaluation\n\n| | |\n| --- | --- |\n"));
        TANDEM_TRY(write_fact(c, "dataset", tandem_json_member(dev, "dataset"), true));
        TANDEM_TRY(write_fact(c, "split", tandem_json_member(dev, "split"), false));
        TANDEM_TRY(tandem_buffer_printf(c->out, "| %s | %.4f |\n\nThe weights were chosen by this number.\n", known->metric,
                                        known->best));
    }
    return tandem_buffer_puts(c->out, "\n");
}

/* ---- files and tools ---------------------------------------------------------------------------------------- */

static int write_files(const card *c)
{
    static const char *const how[] = {
        [TANDEM_ONNX_FP32] = "float32", [TANDEM_ONNX_FP16] = "float16 inside, float32 outputs",
        [TANDEM_ONNX_INT8] = "int8: weights rounded by output, activations where it runs"};
    TANDEM_TRY(tandem_buffer_puts(c->out, "## Files\n\n- `model.safetensors`: float32 weights\n"));
    for (size_t i = 0; i < c->count; i++) {
        const tandem_onnx_options *graph = &c->graphs[i];
        const char *outputs = c->cross                                     ? "`logits`, and `scores` after the activation"
                              : graph->outputs == TANDEM_ONNX_HIDDEN    ? "`last_hidden_state`, which is to be pooled"
                              : graph->outputs == TANDEM_ONNX_EMBEDDING ? "`sentence_embedding`"
                                                                        : "`last_hidden_state` and `sentence_embedding`";
        TANDEM_TRY(tandem_buffer_printf(c->out, "- `onnx/%s`: ONNX, %s; gives %s\n", tandem_onnx_file_name(graph->dtype),
                                        how[graph->dtype], outputs));
    }
    return tandem_buffer_puts(c->out, "\n");
}

/* Poolings and modules that fastembed has itself. */
static const char *fastembed_pooling(const card *c)
{
    const tandem_model_info *info = c->info;
    bool plain = info->poolings == 1 && info->include_prompt && info->width == (size_t)info->hidden && info->dim == info->width;
    return !plain                                  ? NULL
           : info->pooling[0] == TANDEM_POOL_MEAN ? "MEAN"
           : info->pooling[0] == TANDEM_POOL_CLS  ? "CLS"
                                                  : NULL;
}

static int write_fastembed(const card *c, const char *file)
{
    const char *pooling = fastembed_pooling(c);
    if (c->cross) {
        return tandem_buffer_printf(
            c->out,
            "## fastembed\n\n```python\nfrom fastembed.common.model_description import ModelSource\nfrom fastembed.rerank.cross_encoder import TextCrossEncoder\n\n"
            "TextCrossEncoder.add_custom_model(model=\"%s\", sources=ModelSource(hf=\"%s\"), model_file=\"onnx/%s\")\n"
            "model = TextCrossEncoder(\"%s\", specific_model_path=\"%s\")\n"
            "scores = list(model.rerank(\"a query\", [\"a document\", \"another\"]))\n```\n",
            c->name, c->name, file, c->name, c->name);
    }
    if (pooling == NULL && c->graphs[0].outputs != TANDEM_ONNX_EMBEDDING) {
        return tandem_buffer_puts(c->out, "## fastembed\n\nIt pools by mean or first token alone: export with `--outputs "
                                          "embedding`, and add the model with `PoolingType.DISABLED`.\n");
    }
    bool embeds = c->graphs[0].outputs == TANDEM_ONNX_EMBEDDING;
    return tandem_buffer_printf(
        c->out,
        "## fastembed\n\n```python\nfrom fastembed import TextEmbedding\nfrom fastembed.common.model_description import ModelSource, PoolingType\n\n"
        "TextEmbedding.add_custom_model(\n    model=\"%s\", pooling=PoolingType.%s, normalization=%s, sources=ModelSource(hf=\"%s\"),\n"
        "    dim=%zu, model_file=\"onnx/%s\")\nmodel = TextEmbedding(\"%s\", specific_model_path=\"%s\")\n"
        "vectors = list(model.embed([\"a text\", \"another\"]))\n```\n",
        c->name, embeds ? "DISABLED" : pooling, !embeds && c->info->normalize ? "True" : "False", c->name, c->info->dim, file,
        c->name, c->name);
}

static int write_sentence_transformers(const card *c)
{
    if (c->cross) {
        return tandem_buffer_printf(c->out,
                                    "## sentence-transformers\n\n```python\nfrom sentence_transformers import CrossEncoder\n\n"
                                    "model = CrossEncoder(\"%s\")  # backend=\"onnx\" runs the graph\n"
                                    "scores = model.predict([(\"a query\", \"a document\"), (\"a query\", \"another\")])\n```\n\n",
                                    c->name);
    }
    return tandem_buffer_printf(c->out,
                                "## sentence-transformers\n\n```python\nfrom sentence_transformers import SentenceTransformer\n\n"
                                "model = SentenceTransformer(\"%s\")  # backend=\"onnx\" runs the graph\n"
                                "queries = model.encode_query([\"a query\"])\ndocuments = model.encode_document([\"a document\", \"another\"])\n"
                                "print(model.similarity(queries, documents))\n```\n\n",
                                c->name);
}

/* What the examples ask the graph for. */
static const char *output_of(const card *c)
{
    return c->cross                                     ? "scores"
           : c->graphs[0].outputs == TANDEM_ONNX_HIDDEN ? "last_hidden_state"
                                                        : "sentence_embedding";
}

static int write_runtime(const card *c, const char *file)
{
    const char *output = output_of(c);
    return tandem_buffer_printf(
        c->out,
        "## ONNX Runtime\n\n```python\nimport onnxruntime, transformers\n\n"
        "tokenizer = transformers.AutoTokenizer.from_pretrained(\"%s\")\n"
        "session = onnxruntime.InferenceSession(\"%s/onnx/%s\")\n"
        "inputs = tokenizer(%s, padding=True, truncation=True, return_tensors=\"np\")\n"
        "wanted = {i.name for i in session.get_inputs()}\n"
        "(%s,) = session.run([\"%s\"], {k: v.astype(\"int64\") for k, v in inputs.items() if k in wanted})\n```\n\n",
        c->name, c->name, file, c->cross ? "[\"a query\"] * 2, [\"a document\", \"another\"]" : "[\"a text\", \"another\"]", output,
        output);
}

static int write_javascript(const card *c)
{
    static const char *const dtypes[] = {[TANDEM_ONNX_FP32] = "fp32", [TANDEM_ONNX_FP16] = "fp16", [TANDEM_ONNX_INT8] = "q8"};
    const char *output = output_of(c);
    return tandem_buffer_printf(
        c->out,
        "## transformers.js\n\n```js\nimport { %s, AutoTokenizer, env } from '@huggingface/transformers';\n\n"
        "env.localModelPath = '.';\nenv.allowRemoteModels = false;\n"
        "const tokenizer = await AutoTokenizer.from_pretrained('%s');\n"
        "const model = await %s.from_pretrained('%s', { dtype: '%s' });\n"
        "const inputs = tokenizer(%s);\nconst { %s } = await model(inputs);\n```\n\n",
        c->cross ? "AutoModelForSequenceClassification" : "AutoModel", c->name,
        c->cross ? "AutoModelForSequenceClassification" : "AutoModel", c->name, dtypes[c->graphs[0].dtype],
        c->cross ? "['a query', 'a query'], { text_pair: ['a document', 'another'], padding: true, truncation: true }"
                 : "['a text', 'another'], { padding: true, truncation: true }",
        output);
}

static int write_tools(const card *c)
{
    const char *file = tandem_onnx_file_name(c->graphs[0].dtype);
    TANDEM_TRY(write_sentence_transformers(c));
    TANDEM_TRY(write_runtime(c, file));
    TANDEM_TRY(write_javascript(c));
    TANDEM_TRY(tandem_buffer_printf(c->out,
                                    "## text-embeddings-inference\n\n```sh\ntext-embeddings-router --model-id ./%s\n"
                                    "curl localhost:3000/%s -H 'Content-Type: application/json' \\\n     -d '%s'\n```\n\n",
                                    c->name, c->cross ? "rerank" : "embed",
                                    c->cross ? "{\"query\": \"a query\", \"texts\": [\"a document\", \"another\"]}"
                                             : "{\"inputs\": [\"a text\", \"another\"]}"));
    return write_fastembed(c, file);
}

/* ---- the whole -------------------------------------------------------------------------------------------------- */

static int write_card(const card *c, const training *known)
{
    TANDEM_TRY(write_head(c));
    TANDEM_TRY(write_use(c));
    TANDEM_TRY(write_training(c, known));
    TANDEM_TRY(write_files(c));
    return write_tools(c);
}

static int take_own(tandem_buffer *out, bool *own, const char *directory)
{
    char *path = tandem_path_join(directory, "README.md"), *text = NULL;
    size_t size = 0;
    int rc = path ? tandem_file_read(&text, &size, path) : TANDEM_ERROR;
    *own = rc == TANDEM_OK;
    rc = rc == TANDEM_NOT_FOUND ? TANDEM_OK : rc < 0 ? rc : tandem_buffer_append(out, text, size);
    free(text);
    free(path);
    return rc;
}

int model_card(tandem_buffer *out, bool *own, const tandem_model *model, const char *name,
               const tandem_onnx_options *graphs, size_t count)
{
    const tandem_model_info *info = tandem_model_describe(model);
    const card c = {out, info, name, graphs, count, info->kind == TANDEM_CROSS_ENCODER};
    training known = {0};
    TANDEM_TRY(take_own(out, own, info->directory));
    if (*own) {
        return TANDEM_OK;
    }
    int rc = read_training(&known, info->directory);
    rc = rc < 0 ? rc : write_card(&c, &known);
    tandem_json_free(known.settings);
    tandem_json_free(known.start);
    return rc;
}
