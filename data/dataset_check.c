/* dataset_check.c - every line of a dataset looked at, every problem told. */
#include "data/dataset_check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/qrels_reader.h"

/* LightGBM's lambdarank and others weigh a grade by 2^grade - 1, which fits 32 bits up to here. */
enum { LARGEST_GRADE = 30 };

static const tandem_problem_kind kinds[TANDEM_KINDS] = {
    [TANDEM_INVALID_LINE] = {"invalid-line", true, 0},
    [TANDEM_DUPLICATE_ID] = {"duplicate-id", true, 0},
    [TANDEM_EMPTY_TEXT] = {"empty-text", true, 0},
    [TANDEM_INVALID_JUDGMENT] = {"invalid-judgment", true, 0},
    [TANDEM_UNKNOWN_ID] = {"unknown-id", true, 0},
    [TANDEM_QUERY_IN_TWO_SPLITS] = {"query-in-two-splits", true, 0},
    [TANDEM_NO_FILE] = {"no-file", true, 0},
    [TANDEM_UNREADABLE_FILE] = {"unreadable-file", true, 0},
    [TANDEM_NO_TEXT] = {"no-text", true, 0},
    [TANDEM_SPACE_IN_ID] = {"space-in-id", false, 0},
    [TANDEM_LONG_ID] = {"long-id", false, 0},
    [TANDEM_DUPLICATE_TEXT] = {"duplicate-text", false, 0},
    [TANDEM_CONTROL_CHARACTER] = {"control-character", false, 0},
    [TANDEM_REPLACEMENT_CHARACTER] = {"replacement-character", false, 0},
    [TANDEM_QUERY_IS_DOCUMENT] = {"query-is-document", false, 0},
    [TANDEM_TEXT_IN_TWO_SPLITS] = {"text-in-two-splits", false, 0},
    [TANDEM_UNJUDGED_QUERY] = {"unjudged-query", false, 0},
    [TANDEM_ODD_GRADE] = {"odd-grade", false, 0},
    [TANDEM_NO_RELEVANT] = {"no-relevant", false, 0},
    [TANDEM_NO_SPLIT] = {"no-split", false, 0},
    [TANDEM_BYTE_ORDER_MARK] = {"byte-order-mark", false, 0},
    [TANDEM_CRLF] = {"crlf", false, 0},
};
_Static_assert(TANDEM_KINDS == TANDEM_PROBLEM_KINDS, "dataset.h has the number of kinds");

/* ---- problems -------------------------------------------------------------------------- */
int tandem_checker_place(tandem_checker *check, const char *file, size_t line)
{
    check->file = file;
    check->line = line;
    tandem_buffer_clear(&check->where);
    return line > 0 ? tandem_buffer_printf(&check->where, "%s:%zu", file, line)
                    : tandem_buffer_puts(&check->where, file);
}

/* Problems of one kind are counted in full and kept up to TANDEM_PROBLEM_LIMIT, so that a
 * thousand missing documents do not hide the one bad byte. */
int tandem_checker_add(tandem_checker *check, tandem_problem_type type, const char *format, ...)
{
    tandem_dataset_report *report = check->report;
    tandem_problem_kind *kind = &report->kinds[type];
    *(kind->error ? &report->errors : &report->warnings) += 1;
    if (kind->count++ >= TANDEM_PROBLEM_LIMIT) {
        return TANDEM_OK;
    }
    void *problems = report->problems;
    TANDEM_TRY(tandem_grow(&problems, &check->problem_capacity, report->problem_count + 1, sizeof *report->problems));
    report->problems = problems;
    char *message = NULL;
    va_list arguments;
    va_start(arguments, format);
    int length = vasprintf(&message, format, arguments);
    va_end(arguments);
    char *file = length < 0 ? NULL : tandem_strdup(check->file);
    if (!file) {
        free(length < 0 ? NULL : message);
        return tandem_error("out of memory: a problem");
    }
    report->problems[report->problem_count++] = (tandem_problem){kind->code, kind->error, file, check->line, message};
    return TANDEM_OK;
}

int tandem_checker_add_message(tandem_checker *check, tandem_problem_type type)
{
    const char *message = tandem_error_message();
    size_t place = check->where.length;
    if (strncmp(message, check->where.data, place) == 0 && strncmp(message + place, ": ", 2) == 0) {
        message += place + 2;
    }
    return tandem_checker_add(check, type, "%s", message);
}

int tandem_checker_line_ends(tandem_checker *check, const tandem_lines *lines, bool *told)
{
    if (tandem_lines_number(lines) == 1 && tandem_lines_had_mark(lines)) {
        TANDEM_TRY(
            tandem_checker_add(check, TANDEM_BYTE_ORDER_MARK, "a byte order mark; not every reader passes over it"));
    }
    if (*told || !tandem_lines_had_returns(lines)) {
        return TANDEM_OK;
    }
    *told = true;
    return tandem_checker_add(check, TANDEM_CRLF, "the line ends in CR LF; not every reader drops the CR");
}

/* ---- judgments -------------------------------------------------------------------------------- */
/* The first judgment of a query in split number `split`. */
static int check_query_split(tandem_checker *check, size_t index, size_t split)
{
    tandem_checked_text *items = check->queries.items, *query = &items[index];
    const struct tandem_split_statistics *splits = check->report->splits;
    if (query->split != 0 && query->split != split + 1) {
        return tandem_checker_add(check, TANDEM_QUERY_IN_TWO_SPLITS, "query \"%s\" is judged in split \"%s\" too",
                                  query->id, splits[query->split - 1].name);
    }
    query->split = split + 1;
    size_t first = index;
    if (query->hash) {
        (void)tandem_strmap_find(check->queries.by_hash, (const char *)query->hash, sizeof *query->hash, &first);
    }
    if (items[first].judged == 0) {
        items[first].judged = index + 1;
    }
    const tandem_checked_text *twin = &items[items[first].judged - 1];
    if (twin->split == split + 1) {
        return TANDEM_OK;
    }
    return tandem_checker_add(check, TANDEM_TEXT_IN_TWO_SPLITS,
                              "query \"%s\" has the text of \"%s\", judged in split \"%s\"", query->id, twin->id,
                              splits[twin->split - 1].name);
}

static int check_grade(tandem_checker *check, int grade)
{
    if (grade < 0) {
        return tandem_checker_add(check, TANDEM_ODD_GRADE, "grade %d is negative; it counts as not relevant", grade);
    }
    return grade <= LARGEST_GRADE
               ? TANDEM_OK
               : tandem_checker_add(check, TANDEM_ODD_GRADE, "grade %d is above %d", grade, LARGEST_GRADE);
}

static int check_judgment(tandem_checker *check, const tandem_qrels_line *judged, size_t split)
{
    struct tandem_split_statistics *statistics = &check->report->splits[split];
    size_t query = 0;
    statistics->queries += judged->new_query;
    statistics->judgments++;
    statistics->relevant += judged->grade >= 1;
    if (judged->new_query) {
        const char *id = judged->query_id;
        TANDEM_TRY(tandem_strmap_find(check->queries.by_id, id, strlen(id), &query)
                       ? check_query_split(check, query, split)
                       : tandem_checker_add(check, TANDEM_UNKNOWN_ID, "query \"%s\" is not in queries.jsonl", id));
    }
    const char *id = judged->document_id;
    if (!tandem_strmap_find(check->corpus.by_id, id, strlen(id), NULL)) {
        TANDEM_TRY(tandem_checker_add(check, TANDEM_UNKNOWN_ID, "document \"%s\" is not in corpus.jsonl", id));
    }
    return check_grade(check, judged->grade);
}

static int check_qrels_lines(tandem_checker *check, const char *name, tandem_lines *lines, tandem_qrels *qrels,
                             size_t split)
{
    char *line;
    size_t length;
    bool told = false;
    int rc;
    while ((rc = tandem_lines_next(lines, &line, &length)) == 1) {
        size_t number = tandem_lines_number(lines);
        tandem_qrels_line judged;
        TANDEM_TRY(tandem_checker_place(check, name, number));
        TANDEM_TRY(tandem_checker_line_ends(check, lines, &told));
        int taken = tandem_qrels_add(qrels, line, length, true, number == 1, check->where.data, &judged);
        if (taken != 0) {
            TANDEM_TRY(taken < 0 ? tandem_checker_add_message(check, TANDEM_INVALID_JUDGMENT)
                                 : check_judgment(check, &judged, split));
        }
    }
    TANDEM_TRY(tandem_checker_place(check, name, 0));
    if (rc < 0) {
        return tandem_checker_add_message(check, TANDEM_UNREADABLE_FILE);
    }
    return check->report->splits[split].relevant == 0
               ? tandem_checker_add(check, TANDEM_NO_RELEVANT, "no judgment with a grade of 1 or more")
               : TANDEM_OK;
}

static int check_split(tandem_checker *check, size_t split)
{
    tandem_buffer name = TANDEM_BUFFER_INIT;
    tandem_lines *lines = NULL;
    tandem_qrels *qrels = NULL;
    char *path = NULL;
    int rc = tandem_buffer_printf(&name, "qrels/%s.tsv", check->report->splits[split].name);
    TANDEM_TRY_GOTO(rc, done, rc);
    TANDEM_TRY_GOTO(rc, done, tandem_checker_place(check, name.data, 0));
    TANDEM_TRY_GOTO(rc, done, tandem_dataset_file(&path, check->directory, name.data));
    TANDEM_TRY_GOTO(rc, done, tandem_qrels_new(&qrels));
    rc = tandem_lines_open(&lines, path) < 0 ? tandem_checker_add_message(check, TANDEM_UNREADABLE_FILE)
                                             : check_qrels_lines(check, name.data, lines, qrels, split);
done:
    tandem_lines_close(lines);
    tandem_qrels_free(qrels);
    tandem_buffer_free(&name);
    free(path);
    return rc;
}

/* Told after the last split, when it is known that none judges them. */
static int check_unjudged(tandem_checker *check)
{
    const tandem_checked_texts *queries = &check->queries;
    for (size_t i = 0; i < queries->count; i++) {
        const tandem_checked_text *query = &queries->items[i];
        if (query->split == 0) {
            TANDEM_TRY(tandem_checker_place(check, queries->name, query->line));
            TANDEM_TRY(tandem_checker_add(check, TANDEM_UNJUDGED_QUERY, "_id \"%s\" is judged in no split", query->id));
        }
    }
    return TANDEM_OK;
}

static int check_splits(tandem_checker *check)
{
    tandem_split_names names;
    TANDEM_TRY(tandem_split_names_list(&names, check->directory));
    tandem_dataset_report *report = check->report;
    report->splits = tandem_alloc(names.count, sizeof *report->splits);
    for (size_t i = 0; i < names.count && report->splits; i++) {
        report->splits[i].name = names.names[i];
        names.names[i] = NULL;
        report->split_count++;
    }
    tandem_split_names_free(&names);
    if (!report->splits) {
        return TANDEM_ERROR;
    }
    for (size_t i = 0; i < report->split_count; i++) {
        TANDEM_TRY(check_split(check, i));
    }
    if (report->split_count == 0) {
        TANDEM_TRY(tandem_checker_place(check, "qrels", 0));
        return tandem_checker_add(check, TANDEM_NO_SPLIT, "no split: no file qrels/NAME.tsv");
    }
    return check_unjudged(check);
}

/* ---- the whole ------------------------------------------------------------------------------------ */
static int run_checks(tandem_checker *check)
{
    tandem_dataset_report *report = check->report;
    TANDEM_TRY(tandem_check_texts(check, &check->corpus));
    TANDEM_TRY(tandem_check_texts(check, &check->queries));
    TANDEM_TRY(check_splits(check));
    report->documents = check->corpus.count;
    report->queries = check->queries.count;
    TANDEM_TRY(tandem_check_lengths(check, &check->corpus, report->document_length, &report->documents_truncated));
    return tandem_check_lengths(check, &check->queries, report->query_length, &report->queries_truncated);
}

int tandem_dataset_check(tandem_dataset_report *out, const char *directory, const tandem_tokenizer *tokenizer,
                         size_t max_length)
{
    *out = (tandem_dataset_report){0};
    memcpy(out->kinds, kinds, sizeof kinds);
    if (!tandem_dir_exists(directory)) {
        return tandem_error("%s: no such directory; a dataset is a folder with corpus.jsonl and queries.jsonl",
                            directory);
    }
    tandem_checker check = {.report = out, .directory = directory, .tokenizer = tokenizer, .max_length = max_length,
                            .kept = tandem_arena_new(), .scratch = tandem_arena_new(), .where = TANDEM_BUFFER_INIT,
                            .corpus.name = "corpus.jsonl", .queries.name = "queries.jsonl"};
    int rc = check.kept && check.scratch ? run_checks(&check) : TANDEM_ERROR;
    tandem_checked_texts_free(&check.corpus);
    tandem_checked_texts_free(&check.queries);
    tandem_arena_free(check.kept);
    tandem_arena_free(check.scratch);
    tandem_buffer_free(&check.where);
    free(check.normal);
    free(check.pending);
    if (rc < 0) {
        tandem_dataset_report_free(out);
    }
    return rc;
}

void tandem_dataset_report_free(tandem_dataset_report *report)
{
    for (size_t i = 0; i < report->problem_count; i++) {
        free(report->problems[i].file);
        free(report->problems[i].message);
    }
    for (size_t i = 0; i < report->split_count; i++) {
        free(report->splits[i].name);
    }
    free(report->problems);
    free(report->splits);
    *report = (tandem_dataset_report){0};
}
