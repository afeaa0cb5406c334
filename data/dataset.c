/* dataset.c - loading a BEIR folder. */
#include "tandem/dataset.h"

#include <stdlib.h>
#include <string.h>

#include "data/text_reader.h"
#include "tandem/file.h"

/* ---- texts ------------------------------------------------------------------------ */
static int add_text(tandem_texts *texts, size_t *capacity, tandem_text text, const char *source)
{
    if (texts->count >= UINT32_MAX) { /* a tandem_split holds indices of 32 bits */
        return tandem_error("%s: more than %u texts", source, UINT32_MAX);
    }
    void *items = texts->items;
    TANDEM_TRY(tandem_grow(&items, capacity, texts->count + 1, sizeof *texts->items));
    texts->items = items;
    int rc = tandem_strmap_add(texts->by_id, text.id, strlen(text.id), texts->count, NULL);
    if (rc == 0) {
        return tandem_error("%s: duplicate _id \"%s\"", source, text.id);
    }
    texts->items[texts->count++] = text;
    return rc < 0 ? rc : TANDEM_OK;
}

int tandem_texts_read(tandem_texts *out, tandem_arena *arena, const char *path)
{
    *out = (tandem_texts){.by_id = tandem_strmap_new(0)};
    tandem_buffer source = TANDEM_BUFFER_INIT;
    tandem_lines *lines = NULL;
    size_t capacity = 0, length;
    char *line;
    int rc = out->by_id ? TANDEM_OK : TANDEM_ERROR;
    TANDEM_TRY_GOTO(rc, done, rc);
    TANDEM_TRY_GOTO(rc, done, tandem_lines_open(&lines, path));
    while ((rc = tandem_lines_next(lines, &line, &length)) == 1) {
        if (tandem_line_is_blank(line, length)) {
            continue;
        }
        tandem_text text;
        tandem_buffer_clear(&source);
        TANDEM_TRY_GOTO(rc, done, tandem_buffer_printf(&source, "%s:%zu", path, tandem_lines_number(lines)));
        TANDEM_TRY_GOTO(rc, done, tandem_text_parse(&text, arena, line, length, source.data));
        TANDEM_TRY_GOTO(rc, done, add_text(out, &capacity, text, source.data));
    }
done:
    if (rc < 0) {
        tandem_texts_free(out);
    }
    tandem_lines_close(lines);
    tandem_buffer_free(&source);
    return rc;
}

void tandem_texts_free(tandem_texts *texts)
{
    tandem_strmap_free(texts->by_id);
    free(texts->items);
    *texts = (tandem_texts){0};
}

/* ---- dataset ------------------------------------------------------------------------ */
static int read_file(tandem_texts *out, const tandem_dataset *dataset, const char *name)
{
    char *path = NULL;
    int rc = tandem_dataset_file(&path, dataset->path, name);
    if (rc == TANDEM_OK) {
        rc = tandem_texts_read(out, dataset->arena, path);
    }
    if (rc == TANDEM_OK && out->count == 0) {
        rc = tandem_error("%s: no line with a text", path);
    }
    free(path);
    return rc == TANDEM_NOT_FOUND ? TANDEM_ERROR : rc; /* a dataset without them is no dataset */
}

static void hash_texts(tandem_hasher *hasher, const tandem_texts *texts)
{
    tandem_hasher_int(hasher, (int64_t)texts->count);
    for (size_t i = 0; i < texts->count; i++) {
        tandem_hasher_string(hasher, texts->items[i].id);
        tandem_hasher_field(hasher, texts->items[i].text, texts->items[i].length);
    }
}

int tandem_dataset_open(tandem_dataset **out, const char *directory)
{
    *out = NULL;
    if (!tandem_dir_exists(directory)) {
        return tandem_error("%s: no such directory; a dataset is a folder with corpus.jsonl and queries.jsonl", directory);
    }
    tandem_dataset *dataset = tandem_alloc(1, sizeof *dataset);
    if (!dataset) {
        return TANDEM_ERROR;
    }
    dataset->path = tandem_strdup(directory);
    dataset->arena = tandem_arena_new();
    tandem_hasher *hasher = NULL;
    int rc = dataset->path && dataset->arena ? TANDEM_OK : TANDEM_ERROR;
    TANDEM_TRY_GOTO(rc, done, rc);
    TANDEM_TRY_GOTO(rc, done, read_file(&dataset->corpus, dataset, "corpus.jsonl"));
    TANDEM_TRY_GOTO(rc, done, read_file(&dataset->queries, dataset, "queries.jsonl"));
    hasher = tandem_hasher_new();
    TANDEM_TRY_GOTO(rc, done, hasher ? TANDEM_OK : TANDEM_ERROR);
    hash_texts(hasher, &dataset->corpus);
    hash_texts(hasher, &dataset->queries);
    dataset->hash = tandem_hasher_done(hasher);
    *out = dataset;
    dataset = NULL;
done:
    tandem_dataset_free(dataset);
    return rc;
}

void tandem_dataset_free(tandem_dataset *dataset)
{
    if (!dataset) {
        return;
    }
    tandem_texts_free(&dataset->corpus);
    tandem_texts_free(&dataset->queries);
    tandem_arena_free(dataset->arena);
    free(dataset->path);
    free(dataset);
}

/* ---- splits -------------------------------------------------------------------------- */
/* "dev, test" of the splits that there are. */
static int describe_splits(tandem_buffer *out, const char *directory)
{
    tandem_split_names names;
    TANDEM_TRY(tandem_split_names_list(&names, directory));
    int rc = names.count == 0 ? tandem_buffer_puts(out, "none") : TANDEM_OK;
    for (size_t i = 0; i < names.count && rc == TANDEM_OK; i++) {
        rc = tandem_buffer_printf(out, "%s%s", i > 0 ? ", " : "", names.names[i]);
    }
    tandem_split_names_free(&names);
    return rc;
}

int tandem_dataset_qrels(tandem_qrels **out, const tandem_dataset *dataset, const char *split)
{
    *out = NULL;
    tandem_buffer text = TANDEM_BUFFER_INIT;
    char *path = NULL;
    int rc = tandem_buffer_printf(&text, "qrels/%s.tsv", split);
    TANDEM_TRY_GOTO(rc, done, rc);
    rc = tandem_dataset_file(&path, dataset->path, text.data);
    if (rc == TANDEM_NOT_FOUND) {
        tandem_buffer_clear(&text);
        TANDEM_TRY_GOTO(rc, done, describe_splits(&text, dataset->path));
        rc = tandem_error_code(TANDEM_NOT_FOUND, "%s: no split \"%s\" (qrels/%s.tsv); there are: %s", dataset->path,
                               split, split, text.data);
    }
    TANDEM_TRY_GOTO(rc, done, rc);
    rc = tandem_qrels_read(out, path);
done:
    free(path);
    tandem_buffer_free(&text);
    return rc;
}

/* Resolves one query's judgments; those of documents that do not exist are counted. */
static int resolve_query(tandem_split *split, const tandem_dataset *dataset, uint32_t query,
                         const tandem_judged_query *judged)
{
    uint32_t *documents = tandem_arena_alloc(split->arena, judged->count, sizeof *documents);
    int32_t *grades = tandem_arena_alloc(split->arena, judged->count, sizeof *grades);
    if (!documents || !grades) {
        return TANDEM_ERROR;
    }
    size_t count = 0;
    for (size_t i = 0; i < judged->count; i++) {
        const tandem_judgment *judgment = &judged->judgments[i];
        size_t index = 0;
        if (!tandem_strmap_find(dataset->corpus.by_id, judgment->document_id, strlen(judgment->document_id), &index)) {
            split->missing++;
        } else if (judgment->grade >= 1) {
            documents[count] = (uint32_t)index;
            grades[count++] = judgment->grade;
        }
    }
    if (count > 0) {
        split->queries[split->count++] = (tandem_split_query){query, documents, grades, count};
        split->pairs += count;
    }
    return TANDEM_OK;
}

static int resolve(tandem_split *split, const tandem_dataset *dataset, const tandem_qrels *qrels)
{
    for (size_t i = 0; i < tandem_qrels_count(qrels); i++) {
        const tandem_judged_query *judged = tandem_qrels_query(qrels, i);
        if (!tandem_strmap_find(dataset->queries.by_id, judged->query_id, strlen(judged->query_id), NULL)) {
            split->missing += judged->count;
        }
    }
    split->queries = tandem_alloc(tandem_qrels_count(qrels), sizeof *split->queries);
    if (!split->queries) {
        return TANDEM_ERROR;
    }
    for (size_t i = 0; i < dataset->queries.count; i++) {
        const tandem_judged_query *judged = tandem_qrels_find(qrels, dataset->queries.items[i].id);
        if (judged) {
            TANDEM_TRY(resolve_query(split, dataset, (uint32_t)i, judged));
        }
    }
    return TANDEM_OK;
}

int tandem_split_load(tandem_split **out, const tandem_dataset *dataset, const char *split_name)
{
    *out = NULL;
    tandem_qrels *qrels = NULL;
    TANDEM_TRY(tandem_dataset_qrels(&qrels, dataset, split_name));
    tandem_split *split = tandem_alloc(1, sizeof *split);
    int rc = split && (split->arena = tandem_arena_new()) != NULL ? TANDEM_OK : TANDEM_ERROR;
    if (rc == TANDEM_OK) {
        rc = resolve(split, dataset, qrels);
    }
    if (rc == TANDEM_OK) {
        *out = split;
    } else {
        tandem_split_free(split);
    }
    tandem_qrels_free(qrels);
    return rc;
}

void tandem_split_free(tandem_split *split)
{
    if (!split) {
        return;
    }
    free(split->queries);
    tandem_arena_free(split->arena);
    free(split);
}
