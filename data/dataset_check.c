/* dataset_check.c - every line of a dataset looked at, every problem told. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/qrels_reader.h"
#include "data/text_reader.h"
#include "data/token_store_private.h"
#include "tandem/dataset.h"
#include "tandem/file.h"

/* Problems of one kind are counted in full and kept up to TANDEM_PROBLEM_LIMIT, so that a
 * thousand missing documents do not hide the one bad byte. */
typedef enum {
    LINE, DUPLICATE_ID, EMPTY_TEXT, BLANK_IN_ID, SAME_TEXT, JUDGMENT, MISSING_ID, TWO_SPLITS, SAME_QUERY_TEXT,
    QUERY_IS_DOCUMENT, WHOLE_FILE, KINDS
} problem_kind;

/* A corpus or queries file as read, with what was found line by line. */
typedef struct {
    const char *name; /* "corpus.jsonl" */
    tandem_texts texts;
    size_t *lines; /* [count] the line of each text */
    size_t *split; /* [count] 1 + the split that judges the query first; 0: none */
    tandem_strmap *by_text; /* -> index of the first with this text */
} checked_texts;

typedef struct {
    tandem_dataset_report *report;
    const char *directory;
    size_t problem_capacity;
    size_t kept[KINDS];
    tandem_arena *arena;
    checked_texts corpus, queries;
    tandem_buffer where; /* "corpus.jsonl:17" */
} checker;

/* ---- problems -------------------------------------------------------------------------- */
static TANDEM_PRINTF(4, 5) int add_problem(checker *check, problem_kind kind, bool error, const char *format, ...)
{
    tandem_dataset_report *report = check->report;
    *(error ? &report->errors : &report->warnings) += 1;
    if (check->kept[kind]++ >= TANDEM_PROBLEM_LIMIT) {
        return TANDEM_OK;
    }
    void *problems = report->problems;
    TANDEM_TRY(tandem_grow(&problems, &check->problem_capacity, report->problem_count + 1, sizeof *report->problems));
    report->problems = problems;
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    tandem_problem *problem = &report->problems[report->problem_count++];
    *problem = (tandem_problem){error, tandem_strdup(check->where.data), tandem_strdup(text)};
    return problem->where && problem->what ? TANDEM_OK : TANDEM_ERROR;
}

/* The present message as a problem, without the place that it begins with. */
static int add_message(checker *check, problem_kind kind)
{
    const char *message = tandem_error_message();
    size_t place = check->where.length;
    if (strncmp(message, check->where.data, place) == 0 && strncmp(message + place, ": ", 2) == 0) {
        message += place + 2;
    }
    return add_problem(check, kind, true, "%s", message);
}

static int set_where(checker *check, const char *name, size_t line)
{
    tandem_buffer_clear(&check->where);
    return line > 0 ? tandem_buffer_printf(&check->where, "%s:%zu", name, line)
                    : tandem_buffer_puts(&check->where, name);
}

/* ---- corpus and queries ------------------------------------------------------------------- */
static int check_id(checker *check, const char *id)
{
    return strpbrk(id, " \t\r\n\v\f")
               ? add_problem(check, BLANK_IN_ID, false, "_id \"%s\" holds white space, which TREC run files cannot hold", id)
               : TANDEM_OK;
}

static int check_content(checker *check, checked_texts *file, const tandem_text *text)
{
    if (text->length == 0) {
        return add_problem(check, EMPTY_TEXT, true, "_id \"%s\" has an empty text", text->id);
    }
    size_t first = 0;
    int rc = tandem_strmap_add(file->by_text, text->text, text->length, file->texts.count - 1, &first);
    return rc != 0 ? rc
                   : add_problem(check, SAME_TEXT, false, "_id \"%s\" has the text of \"%s\" (line %zu)", text->id,
                                 file->texts.items[first].id, file->lines[first]);
}

static int check_text_line(checker *check, checked_texts *file, size_t *capacity, const char *line, size_t length, size_t number)
{
    tandem_text text;
    if (tandem_text_parse(&text, check->arena, line, length, check->where.data) < 0) {
        return add_message(check, LINE);
    }
    size_t first = 0, count = file->texts.count;
    int rc = tandem_strmap_add(file->texts.by_id, text.id, strlen(text.id), count, &first);
    if (rc <= 0) {
        return rc < 0 ? rc : add_problem(check, DUPLICATE_ID, true, "duplicate _id \"%s\" (first on line %zu)", text.id,
                                         file->lines[first]);
    }
    void *items = file->texts.items, *lines = file->lines;
    size_t line_capacity = *capacity;
    TANDEM_TRY(tandem_grow(&lines, &line_capacity, count + 1, sizeof *file->lines));
    file->lines = lines;
    TANDEM_TRY(tandem_grow(&items, capacity, count + 1, sizeof *file->texts.items));
    file->texts.items = items;
    file->lines[count] = number;
    file->texts.items[file->texts.count++] = text;
    TANDEM_TRY(check_id(check, text.id));
    return check_content(check, file, &text);
}

static int check_text_lines(checker *check, checked_texts *file, tandem_lines *lines)
{
    size_t capacity = 0, length;
    char *line;
    int rc;
    while ((rc = tandem_lines_next(lines, &line, &length)) == 1) {
        if (!tandem_line_is_blank(line, length)) {
            size_t number = tandem_lines_number(lines);
            TANDEM_TRY(set_where(check, file->name, number));
            TANDEM_TRY(check_text_line(check, file, &capacity, line, length, number));
        }
    }
    TANDEM_TRY(set_where(check, file->name, 0));
    if (rc < 0) {
        return add_message(check, WHOLE_FILE); /* it cannot be read on, e.g. damaged zstd */
    }
    return file->texts.count == 0 ? add_problem(check, WHOLE_FILE, true, "no line with a text") : TANDEM_OK;
}

static int check_texts(checker *check, checked_texts *file)
{
    file->texts.by_id = tandem_strmap_new(0);
    file->by_text = tandem_strmap_new(0);
    if (!file->texts.by_id || !file->by_text) {
        return TANDEM_ERROR;
    }
    char *path = NULL;
    tandem_lines *lines = NULL;
    TANDEM_TRY(set_where(check, file->name, 0));
    int rc = tandem_dataset_file(&path, check->directory, file->name);
    if (rc == TANDEM_NOT_FOUND) {
        return add_problem(check, WHOLE_FILE, true, "no such file, nor with .zst");
    }
    if (rc == TANDEM_OK) {
        rc = tandem_lines_open(&lines, path) < 0 ? add_message(check, WHOLE_FILE) : check_text_lines(check, file, lines);
    }
    tandem_lines_close(lines);
    free(path);
    return rc;
}

/* ---- judgments -------------------------------------------------------------------------------- */
/* The first judgment of a query in split number `split`. */
static int check_query_split(checker *check, size_t query, size_t split)
{
    checked_texts *queries = &check->queries;
    const tandem_text *text = &queries->texts.items[query];
    size_t other = queries->split[query];
    if (other != 0 && other != split + 1) {
        return add_problem(check, TWO_SPLITS, true, "query \"%s\" is judged in split \"%s\" too", text->id,
                           check->report->splits[other - 1].name);
    }
    queries->split[query] = split + 1;
    size_t twin = query;
    (void)tandem_strmap_find(queries->by_text, text->text, text->length, &twin);
    other = queries->split[twin];
    if (twin != query && other != 0 && other != split + 1) {
        return add_problem(check, SAME_QUERY_TEXT, false, "query \"%s\" has the text of \"%s\", judged in split \"%s\"",
                           text->id, queries->texts.items[twin].id, check->report->splits[other - 1].name);
    }
    return TANDEM_OK;
}

static int check_judgment(checker *check, const tandem_qrels_line *judged, size_t split)
{
    const tandem_texts *queries = &check->queries.texts, *corpus = &check->corpus.texts;
    size_t query = 0, document = 0;
    bool has_query = tandem_strmap_find(queries->by_id, judged->query_id, strlen(judged->query_id), &query);
    bool has_document = tandem_strmap_find(corpus->by_id, judged->document_id, strlen(judged->document_id), &document);
    check->report->splits[split].queries += judged->new_query;
    check->report->splits[split].judgments++;
    check->report->splits[split].relevant += judged->grade >= 1;
    if (!has_query && judged->new_query) {
        TANDEM_TRY(add_problem(check, MISSING_ID, true, "query \"%s\" is not in queries.jsonl", judged->query_id));
    }
    if (!has_document) {
        TANDEM_TRY(add_problem(check, MISSING_ID, true, "document \"%s\" is not in corpus.jsonl", judged->document_id));
    }
    if (has_query && judged->new_query) {
        TANDEM_TRY(check_query_split(check, query, split));
    }
    if (has_query && has_document && judged->grade >= 1) {
        const tandem_text *a = &queries->items[query], *b = &corpus->items[document];
        if (a->length == b->length && a->length > 0 && memcmp(a->text, b->text, a->length) == 0) {
            return add_problem(check, QUERY_IS_DOCUMENT, false, "query \"%s\" and its document \"%s\" have the same text", a->id, b->id);
        }
    }
    return TANDEM_OK;
}

static int check_qrels_lines(checker *check, const char *name, tandem_lines *lines, tandem_qrels *qrels, size_t split)
{
    char *line;
    size_t length;
    int rc;
    while ((rc = tandem_lines_next(lines, &line, &length)) == 1) {
        size_t number = tandem_lines_number(lines);
        tandem_qrels_line judged;
        TANDEM_TRY(set_where(check, name, number));
        int taken = tandem_qrels_add(qrels, line, length, true, number == 1, check->where.data, &judged);
        if (taken != 0) {
            TANDEM_TRY(taken < 0 ? add_message(check, JUDGMENT) : check_judgment(check, &judged, split));
        }
    }
    TANDEM_TRY(set_where(check, name, 0));
    if (rc < 0) {
        return add_message(check, WHOLE_FILE);
    }
    return check->report->splits[split].relevant == 0
               ? add_problem(check, WHOLE_FILE, false, "no judgment with a grade of 1 or more")
               : TANDEM_OK;
}

static int check_split(checker *check, size_t split)
{
    tandem_buffer name = TANDEM_BUFFER_INIT;
    tandem_lines *lines = NULL;
    tandem_qrels *qrels = NULL;
    char *path = NULL;
    int rc = tandem_buffer_printf(&name, "qrels/%s.tsv", check->report->splits[split].name);
    TANDEM_TRY_GOTO(rc, done, rc);
    TANDEM_TRY_GOTO(rc, done, set_where(check, name.data, 0));
    TANDEM_TRY_GOTO(rc, done, tandem_dataset_file(&path, check->directory, name.data));
    TANDEM_TRY_GOTO(rc, done, tandem_qrels_new(&qrels));
    rc = tandem_lines_open(&lines, path) < 0 ? add_message(check, WHOLE_FILE)
                                             : check_qrels_lines(check, name.data, lines, qrels, split);
done:
    tandem_lines_close(lines);
    tandem_qrels_free(qrels);
    tandem_buffer_free(&name);
    free(path);
    return rc;
}

static int check_splits(checker *check)
{
    tandem_split_names names;
    TANDEM_TRY(tandem_split_names_list(&names, check->directory));
    tandem_dataset_report *report = check->report;
    report->splits = tandem_alloc(names.count, sizeof *report->splits);
    check->queries.split = tandem_alloc(check->queries.texts.count, sizeof *check->queries.split);
    int rc = report->splits && check->queries.split ? TANDEM_OK : TANDEM_ERROR;
    for (size_t i = 0; i < names.count && rc == TANDEM_OK; i++) {
        report->splits[i].name = names.names[i];
        names.names[i] = NULL;
        report->split_count++;
    }
    tandem_split_names_free(&names);
    TANDEM_TRY(rc);
    for (size_t i = 0; i < report->split_count; i++) {
        TANDEM_TRY(check_split(check, i));
    }
    if (report->split_count == 0) {
        TANDEM_TRY(set_where(check, "qrels", 0));
        return add_problem(check, WHOLE_FILE, false, "no split: no file qrels/NAME.tsv");
    }
    return TANDEM_OK;
}

/* ---- lengths ------------------------------------------------------------------------------------ */
static int compare_sizes(const void *a, const void *b)
{
    size_t first = *(const size_t *)a, second = *(const size_t *)b;
    return (first > second) - (first < second);
}

/* Nearest rank: the smallest length that at least p % of the texts do not exceed. */
static void find_quantiles(size_t *lengths, size_t count, size_t out[8])
{
    static const size_t percents[8] = {0, 5, 25, 50, 75, 95, 99, 100};
    qsort(lengths, count, sizeof *lengths, compare_sizes);
    for (size_t i = 0; i < 8; i++) {
        size_t rank = (count * percents[i] + 99) / 100;
        out[i] = lengths[rank > 0 ? rank - 1 : 0];
    }
}

static int measure(const tandem_texts *texts, const tandem_tokenizer *tokenizer, size_t max_length, size_t out[8], size_t *truncated)
{
    if (texts->count == 0) {
        return TANDEM_OK;
    }
    tandem_token_store *store = NULL;
    if (tokenizer) {
        TANDEM_TRY(tandem_token_store_build(&store, tokenizer, texts->items, texts->count, NULL, 0));
    }
    size_t *lengths = tandem_alloc(texts->count, sizeof *lengths);
    for (size_t i = 0; lengths && i < texts->count; i++) {
        lengths[i] = store ? tandem_token_store_get(store, i).count + tandem_tokenizer_special_count(tokenizer, false)
                           : texts->items[i].length;
        *truncated += store && max_length > 0 && lengths[i] > max_length;
    }
    if (lengths) {
        find_quantiles(lengths, texts->count, out);
    }
    tandem_token_store_free(store);
    free(lengths);
    return lengths ? TANDEM_OK : TANDEM_ERROR;
}

/* ---- the whole ------------------------------------------------------------------------------------ */
static void free_checked(checked_texts *file)
{
    tandem_texts_free(&file->texts);
    tandem_strmap_free(file->by_text);
    free(file->lines);
    free(file->split);
}

static int run_checks(checker *check, const tandem_tokenizer *tokenizer, size_t max_length)
{
    tandem_dataset_report *report = check->report;
    TANDEM_TRY(check_texts(check, &check->corpus));
    TANDEM_TRY(check_texts(check, &check->queries));
    TANDEM_TRY(check_splits(check));
    report->documents = check->corpus.texts.count;
    report->queries = check->queries.texts.count;
    TANDEM_TRY(measure(&check->corpus.texts, tokenizer, max_length, report->document_length, &report->documents_truncated));
    return measure(&check->queries.texts, tokenizer, max_length, report->query_length, &report->queries_truncated);
}

int tandem_dataset_check(tandem_dataset_report *out, const char *directory, const tandem_tokenizer *tokenizer, size_t max_length)
{
    *out = (tandem_dataset_report){0};
    if (!tandem_dir_exists(directory)) {
        return tandem_error("%s: no such directory; a dataset is a folder with corpus.jsonl and queries.jsonl", directory);
    }
    checker check = {.report = out, .directory = directory, .arena = tandem_arena_new(), .where = TANDEM_BUFFER_INIT,
                     .corpus.name = "corpus.jsonl", .queries.name = "queries.jsonl"};
    int rc = check.arena ? run_checks(&check, tokenizer, max_length) : TANDEM_ERROR;
    free_checked(&check.corpus);
    free_checked(&check.queries);
    tandem_arena_free(check.arena);
    tandem_buffer_free(&check.where);
    if (rc < 0) {
        tandem_dataset_report_free(out);
    }
    return rc;
}

void tandem_dataset_report_free(tandem_dataset_report *report)
{
    for (size_t i = 0; i < report->problem_count; i++) {
        free(report->problems[i].where);
        free(report->problems[i].what);
    }
    for (size_t i = 0; i < report->split_count; i++) {
        free(report->splits[i].name);
    }
    free(report->problems);
    free(report->splits);
    *report = (tandem_dataset_report){0};
}
