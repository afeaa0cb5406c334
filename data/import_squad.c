/* import_squad.c - SQuAD 1.1 and 2.0: questions about the paragraphs of articles. */
#include <cjson/cJSON.h>
#include <string.h>

#include "data/import_private.h"
#include "tandem/json.h"

/* A file while it is read. */
typedef struct {
    import_sink *sink;
    uint8_t split;
    const char *path;
    tandem_buffer where; /* the paragraph: "train.json: article 3, paragraph 4" */
    tandem_buffer title; /* of the article */
} squad_file;

static int read_question(squad_file *file, const cJSON *question, uint32_t document)
{
    const char *where = file->where.data;
    import_text text = {NULL, NULL, NULL};
    bool impossible = false;
    uint32_t query = 0;
    TANDEM_TRY(tandem_json_get_string(question, "id", where, &text.id));
    TANDEM_TRY(tandem_json_get_string(question, "question", where, &text.text));
    TANDEM_TRY(tandem_json_get_bool_or(question, "is_impossible", where, &impossible));
    if (impossible) { /* the paragraph looks relevant and is not; no other one is judged */
        file->sink->report->unanswerable++;
        return TANDEM_OK;
    }
    TANDEM_TRY(tandem_sink_query(file->sink, file->split, &text, where, &query));
    return tandem_sink_judge(file->sink, file->split, query, document, 1);
}

static int get_array(const cJSON *object, const char *key, const char *where, const cJSON **out)
{
    *out = tandem_json_member(object, key);
    return cJSON_IsArray(*out) ? TANDEM_OK : tandem_error("%s: expected an object with an array \"%s\"", where, key);
}

static int read_paragraph(squad_file *file, const cJSON *paragraph)
{
    import_text text = {.title = file->title.data};
    const cJSON *questions, *question;
    uint32_t document = 0;
    TANDEM_TRY(tandem_json_get_string(paragraph, "context", file->where.data, &text.text));
    TANDEM_TRY(tandem_sink_document(file->sink, &text, file->where.data, &document));
    TANDEM_TRY(get_array(paragraph, "qas", file->where.data, &questions));
    cJSON_ArrayForEach(question, questions) {
        TANDEM_TRY(read_question(file, question, document));
    }
    return TANDEM_OK;
}

/* Titles are those of Wikipedia's addresses, in which "_" stands for a blank. */
static int set_title(squad_file *file, const cJSON *article)
{
    const char *title = "";
    TANDEM_TRY(tandem_json_get_string_or(article, "title", file->where.data, &title));
    tandem_buffer_clear(&file->title);
    TANDEM_TRY(tandem_buffer_puts(&file->title, title));
    for (char *at = file->title.data; (at = strchr(at, '_')) != NULL;) {
        *at = ' ';
    }
    return TANDEM_OK;
}

static int read_article(squad_file *file, const cJSON *article, size_t number)
{
    const cJSON *paragraphs, *paragraph;
    size_t count = 0;
    tandem_buffer_clear(&file->where);
    TANDEM_TRY(tandem_buffer_printf(&file->where, "%s: article %zu", file->path, number));
    TANDEM_TRY(get_array(article, "paragraphs", file->where.data, &paragraphs));
    TANDEM_TRY(set_title(file, article));
    size_t length = file->where.length;
    cJSON_ArrayForEach(paragraph, paragraphs) {
        file->where.length = length;
        TANDEM_TRY(tandem_buffer_printf(&file->where, ", paragraph %zu", ++count));
        TANDEM_TRY(read_paragraph(file, paragraph));
    }
    return TANDEM_OK;
}

static int read_articles(squad_file *file, const cJSON *json)
{
    const cJSON *articles, *article;
    size_t count = 0;
    TANDEM_TRY(get_array(json, "data", file->path, &articles));
    cJSON_ArrayForEach(article, articles) {
        TANDEM_TRY(read_article(file, article, ++count));
    }
    return TANDEM_OK;
}

static int read_file(import_sink *sink, void *context, const char *path, const char *split)
{
    (void)context;
    squad_file file = {.sink = sink, .path = path};
    cJSON *json = NULL;
    TANDEM_TRY(tandem_sink_split(sink, split, &file.split));
    TANDEM_TRY(tandem_json_read(&json, path));
    int rc = read_articles(&file, json);
    tandem_json_free(json);
    tandem_buffer_free(&file.where);
    tandem_buffer_free(&file.title);
    return rc;
}

int tandem_import_squad(import_sink *sink)
{
    return tandem_import_each(sink, &sink->options->sources, read_file, NULL);
}
