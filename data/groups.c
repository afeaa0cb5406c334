/* groups.c - training groups in memory and as JSONL. */
#include "tandem/groups.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/text_reader.h"
#include "tandem/file.h"
#include "tandem/json.h"

typedef struct {
    tandem_passage *items;
    size_t count, capacity;
} passage_list;

struct tandem_groups_private {
    tandem_arena *arena;
    tandem_strmap *text_index; /* bytes of a text -> index in texts */
    size_t text_capacity, capacity;
    passage_list positives, negatives; /* of the group under construction */
};

/* ---- building ---------------------------------------------------------------------- */
int tandem_groups_new(tandem_groups **out)
{
    *out = NULL;
    tandem_groups *groups = tandem_alloc(1, sizeof *groups);
    if (!groups) {
        return TANDEM_ERROR;
    }
    groups->own = tandem_alloc(1, sizeof *groups->own);
    if (groups->own) {
        groups->own->arena = tandem_arena_new();
        groups->own->text_index = tandem_strmap_new(0);
    }
    if (!groups->own || !groups->own->arena || !groups->own->text_index) {
        tandem_groups_free(groups);
        return TANDEM_ERROR;
    }
    *out = groups;
    return TANDEM_OK;
}

void tandem_groups_free(tandem_groups *groups)
{
    if (!groups) {
        return;
    }
    if (groups->own) {
        free(groups->own->positives.items);
        free(groups->own->negatives.items);
        tandem_strmap_free(groups->own->text_index);
        tandem_arena_free(groups->own->arena);
        free(groups->own);
    }
    free(groups->texts);
    free(groups->items);
    free(groups);
}

/* Index of a text with these bytes, added when there is none. */
static int intern(tandem_groups *groups, const char *id, const char *text, size_t length, uint32_t *index)
{
    struct tandem_groups_private *own = groups->own;
    size_t found;
    if (tandem_strmap_find(own->text_index, text, length, &found)) {
        *index = (uint32_t)found;
        return TANDEM_OK;
    }
    if (groups->text_count >= UINT32_MAX) {
        return tandem_error("more than %u texts in training groups", UINT32_MAX);
    }
    void *texts = groups->texts;
    TANDEM_TRY(tandem_grow(&texts, &own->text_capacity, groups->text_count + 1, sizeof *groups->texts));
    groups->texts = texts;
    const char *copy = tandem_arena_strndup(own->arena, text, length);
    if (!copy) {
        return TANDEM_ERROR;
    }
    TANDEM_TRY(tandem_strmap_add(own->text_index, copy, length, groups->text_count, NULL));
    *index = (uint32_t)groups->text_count;
    groups->texts[groups->text_count++] = (tandem_text){id, copy, length};
    return TANDEM_OK;
}

/* Moves the passages gathered into the arena. */
static int keep_passages(struct tandem_groups_private *own, passage_list *list, const tandem_passage **items,
                         size_t *count)
{
    tandem_passage *copy = tandem_arena_alloc(own->arena, list->count, sizeof *copy);
    if (!copy) {
        return TANDEM_ERROR;
    }
    if (list->count > 0) {
        memcpy(copy, list->items, list->count * sizeof *copy);
    }
    *items = copy;
    *count = list->count;
    list->count = 0;
    return TANDEM_OK;
}

/* Ends the group started last, if there is one. */
static int end_group(tandem_groups *groups)
{
    if (groups->count == 0) {
        return TANDEM_OK;
    }
    tandem_group *group = &groups->items[groups->count - 1];
    if (groups->own->positives.count == 0) {
        return tandem_error("query \"%s\" has no positive", group->query_id);
    }
    TANDEM_TRY(keep_passages(groups->own, &groups->own->positives, &group->positives, &group->positive_count));
    return keep_passages(groups->own, &groups->own->negatives, &group->negatives, &group->negative_count);
}

int tandem_groups_begin(tandem_groups *groups, const char *query_id, const char *query, size_t length)
{
    TANDEM_TRY(end_group(groups));
    void *items = groups->items;
    TANDEM_TRY(tandem_grow(&items, &groups->own->capacity, groups->count + 1, sizeof *groups->items));
    groups->items = items;
    tandem_group group = {.query_id = tandem_arena_strndup(groups->own->arena, query_id, strlen(query_id))};
    if (!group.query_id) {
        return TANDEM_ERROR;
    }
    TANDEM_TRY(intern(groups, group.query_id, query, length, &group.query));
    groups->items[groups->count++] = group;
    return TANDEM_OK;
}

int tandem_groups_add(tandem_groups *groups, bool positive, const char *id, const char *text, size_t length, float score)
{
    if (isinf(score)) {
        return tandem_error("the score of passage \"%s\" is infinite", id);
    }
    passage_list *list = positive ? &groups->own->positives : &groups->own->negatives;
    void *items = list->items;
    TANDEM_TRY(tandem_grow(&items, &list->capacity, list->count + 1, sizeof *list->items));
    list->items = items;
    tandem_passage passage = {tandem_arena_strndup(groups->own->arena, id, strlen(id)), 0, score};
    if (!passage.id) {
        return TANDEM_ERROR;
    }
    TANDEM_TRY(intern(groups, passage.id, text, length, &passage.text));
    list->items[list->count++] = passage;
    return TANDEM_OK;
}

int tandem_groups_finish(tandem_groups *groups)
{
    return end_group(groups);
}

int tandem_groups_from_split(tandem_groups **out, const tandem_dataset *dataset, const tandem_split *split)
{
    *out = NULL;
    tandem_groups *groups = NULL;
    TANDEM_TRY(tandem_groups_new(&groups));
    int rc = TANDEM_OK;
    for (size_t i = 0; i < split->count; i++) {
        const tandem_split_query *judged = &split->queries[i];
        const tandem_text *query = &dataset->queries.items[judged->query];
        TANDEM_TRY_GOTO(rc, done, tandem_groups_begin(groups, query->id, query->text, query->length));
        for (size_t j = 0; j < judged->count; j++) {
            const tandem_text *document = &dataset->corpus.items[judged->documents[j]];
            TANDEM_TRY_GOTO(rc, done, tandem_groups_add(groups, true, document->id, document->text, document->length, NAN));
        }
    }
    TANDEM_TRY_GOTO(rc, done, tandem_groups_finish(groups));
    *out = groups;
    groups = NULL;
done:
    tandem_groups_free(groups);
    return rc;
}

/* ---- reading ------------------------------------------------------------------------- */
static int read_passage(tandem_groups *groups, tandem_arena *scratch, bool positive, const cJSON *item, const char *source)
{
    if (!cJSON_IsObject(item)) {
        return tandem_error("%s: expected each of \"%s\" to be an object {\"id\", \"text\"}", source,
                            positive ? "positives" : "negatives");
    }
    const char *id = NULL, *text = NULL;
    double score = (double)NAN;
    TANDEM_TRY(tandem_line_id(&id, item, "id", scratch, source));
    TANDEM_TRY(tandem_json_get_string(item, "text", source, &text));
    TANDEM_TRY(tandem_json_get_double_or(item, "score", source, &score));
    int rc = tandem_groups_add(groups, positive, id, text, strlen(text), (float)score);
    return rc < 0 ? tandem_error_context(rc, "%s", source) : TANDEM_OK;
}

static int read_passages(tandem_groups *groups, tandem_arena *scratch, bool positive, const cJSON *object, const char *source)
{
    const char *key = positive ? "positives" : "negatives";
    const cJSON *list = tandem_json_member(object, key);
    if (!list && !positive) {
        return TANDEM_OK; /* judged pairs alone have no negatives */
    }
    if (!cJSON_IsArray(list)) {
        return tandem_error("%s: expected \"%s\" to be an array", source, key);
    }
    if (positive && cJSON_GetArraySize(list) == 0) {
        return tandem_error("%s: \"positives\" is empty", source);
    }
    const cJSON *item;
    cJSON_ArrayForEach(item, list) {
        TANDEM_TRY(read_passage(groups, scratch, positive, item, source));
    }
    return TANDEM_OK;
}

static int read_group(tandem_groups *groups, tandem_arena *scratch, const char *line, size_t length, const char *source)
{
    cJSON *json = NULL;
    const char *query_id = NULL, *query = NULL;
    tandem_arena_reset(scratch);
    TANDEM_TRY(tandem_line_parse(&json, line, length, source));
    int rc;
    TANDEM_TRY_GOTO(rc, done, tandem_line_id(&query_id, json, "query_id", scratch, source));
    TANDEM_TRY_GOTO(rc, done, tandem_json_get_string(json, "query", source, &query));
    TANDEM_TRY_GOTO(rc, done, tandem_groups_begin(groups, query_id, query, strlen(query)));
    TANDEM_TRY_GOTO(rc, done, read_passages(groups, scratch, true, json, source));
    TANDEM_TRY_GOTO(rc, done, read_passages(groups, scratch, false, json, source));
done:
    tandem_json_free(json);
    return rc;
}

static int read_lines(tandem_groups *groups, tandem_lines *lines, const char *path)
{
    tandem_buffer source = TANDEM_BUFFER_INIT;
    tandem_arena *scratch = tandem_arena_new();
    int rc = scratch ? TANDEM_OK : TANDEM_ERROR;
    TANDEM_TRY_GOTO(rc, done, rc);
    char *line;
    size_t length;
    while ((rc = tandem_lines_next(lines, &line, &length)) == 1) {
        if (tandem_line_is_blank(line, length)) {
            continue;
        }
        tandem_buffer_clear(&source);
        TANDEM_TRY_GOTO(rc, done, tandem_buffer_printf(&source, "%s:%zu", path, tandem_lines_number(lines)));
        TANDEM_TRY_GOTO(rc, done, read_group(groups, scratch, line, length, source.data));
    }
    if (rc == TANDEM_OK && groups->count == 0) {
        rc = tandem_error("%s: no training group", path);
    }
done:
    tandem_arena_free(scratch);
    tandem_buffer_free(&source);
    return rc;
}

int tandem_groups_read(tandem_groups **out, const char *path)
{
    *out = NULL;
    tandem_groups *groups = NULL;
    tandem_lines *lines = NULL;
    int rc;
    TANDEM_TRY_GOTO(rc, done, tandem_lines_open(&lines, path));
    TANDEM_TRY_GOTO(rc, done, tandem_groups_new(&groups));
    TANDEM_TRY_GOTO(rc, done, read_lines(groups, lines, path));
    TANDEM_TRY_GOTO(rc, done, tandem_groups_finish(groups));
    *out = groups;
    groups = NULL;
done:
    tandem_groups_free(groups);
    tandem_lines_close(lines);
    return rc;
}

/* ---- writing -------------------------------------------------------------------------- */
static int put_member(tandem_buffer *out, const char *opening, const char *text, size_t length)
{
    TANDEM_TRY(tandem_buffer_puts(out, opening));
    return tandem_buffer_json_string(out, text, length);
}

static int put_passages(tandem_buffer *out, const tandem_groups *groups, const char *opening,
                        const tandem_passage *passages, size_t count)
{
    TANDEM_TRY(tandem_buffer_puts(out, opening));
    for (size_t i = 0; i < count; i++) {
        const tandem_text *text = &groups->texts[passages[i].text];
        TANDEM_TRY(put_member(out, i > 0 ? ", {\"id\": " : "{\"id\": ", passages[i].id, strlen(passages[i].id)));
        TANDEM_TRY(put_member(out, ", \"text\": ", text->text, text->length));
        if (!isnan(passages[i].score)) {
            /* Nine digits give every float back exactly. */
            TANDEM_TRY(tandem_buffer_printf(out, ", \"score\": %.9g", (double)passages[i].score));
        }
        TANDEM_TRY(tandem_buffer_puts(out, "}"));
    }
    return tandem_buffer_puts(out, "]");
}

static int put_group(tandem_buffer *out, const tandem_groups *groups, const tandem_group *group)
{
    const tandem_text *query = &groups->texts[group->query];
    TANDEM_TRY(put_member(out, "{\"query_id\": ", group->query_id, strlen(group->query_id)));
    TANDEM_TRY(put_member(out, ", \"query\": ", query->text, query->length));
    TANDEM_TRY(put_passages(out, groups, ", \"positives\": [", group->positives, group->positive_count));
    TANDEM_TRY(put_passages(out, groups, ", \"negatives\": [", group->negatives, group->negative_count));
    return tandem_buffer_puts(out, "}\n");
}

int tandem_groups_write(const tandem_groups *groups, const char *path)
{
    tandem_writer *writer = NULL;
    tandem_buffer line = TANDEM_BUFFER_INIT;
    TANDEM_TRY(tandem_writer_open(&writer, path));
    int rc = TANDEM_OK;
    for (size_t i = 0; i < groups->count; i++) {
        tandem_buffer_clear(&line);
        TANDEM_TRY_GOTO(rc, done, put_group(&line, groups, &groups->items[i]));
        TANDEM_TRY_GOTO(rc, done, tandem_writer_write(writer, line.data, line.length));
    }
    rc = tandem_writer_commit(&writer);
done:
    tandem_writer_abort(writer);
    tandem_buffer_free(&line);
    return rc;
}
