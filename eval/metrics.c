/* metrics.c - names of metrics and their parameters, as tandem and as trec_eval spell them. */
#include "tandem/metrics.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "eval/metrics.h"
#include "tandem/settings.h"

static const char *spelling_suffix(const measure *row)
{
    return row->parameters == PARAMETERS_CUTOFFS ? "@K" : row->parameters == PARAMETERS_SHARES ? "@X" : "";
}

const char *tandem_metric_describe(size_t index, const char **trec_name, const char **definition)
{
    static _Thread_local char spelling[32];
    if (index >= measure_count) {
        return NULL;
    }
    const measure *row = &measures[index];
    snprintf(spelling, sizeof spelling, "%s%s", row->name, spelling_suffix(row));
    *trec_name = row->trec_name;
    *definition = row->definition;
    return spelling;
}

/* ---- names ----------------------------------------------------------------------------- */
static bool takes_value(const measure *row) /* after an '@' */
{
    return row->parameters == PARAMETERS_CUTOFFS || row->parameters == PARAMETERS_SHARES;
}

static bool same_name(const char *name, const char *text, size_t length)
{
    return name && strlen(name) == length && strncasecmp(name, text, length) == 0;
}

static bool is_called(const measure *row, const char *text, size_t length)
{
    return same_name(row->name, text, length) || same_name(row->trec_name, text, length) ||
           same_name(row->aliases[0], text, length) || same_name(row->aliases[1], text, length);
}

typedef enum { ANY_ROW, ROW_WITH_VALUE, ROW_WITH_PARAMETERS } row_wish;

/* The first row of that name that grants the wish; else the first of that name; else NULL. */
static const measure *find_row(const char *text, size_t length, row_wish wish)
{
    const measure *called = NULL;
    for (size_t i = 0; i < measure_count; i++) {
        const measure *row = &measures[i];
        if (!is_called(row, text, length)) {
            continue;
        }
        if (wish == ANY_ROW || (wish == ROW_WITH_VALUE && takes_value(row)) ||
            (wish == ROW_WITH_PARAMETERS && row->parameters != PARAMETERS_NONE)) {
            return row;
        }
        called = called ? called : row;
    }
    return called;
}

static int unknown_metric(const char *text, size_t name_length)
{
    const char *names[128];
    size_t count = 0;
    tandem_buffer known = TANDEM_BUFFER_INIT;
    char *name = tandem_strndup(text, name_length);
    int rc = name ? TANDEM_OK : TANDEM_ERROR;
    for (size_t i = 0; name && i < name_length; i++) {
        name[i] = (char)tolower((unsigned char)name[i]);
    }
    for (size_t i = 0; rc >= 0 && i < measure_count && count < 126; i++) {
        names[count++] = measures[i].name;
        if (measures[i].trec_name) {
            names[count++] = measures[i].trec_name;
        }
        rc = tandem_buffer_printf(&known, "%s%s%s", i ? ", " : "", measures[i].name, spelling_suffix(&measures[i]));
    }
    if (rc >= 0) {
        const char *nearest = tandem_nearest(name, names, count);
        rc = nearest ? tandem_error_code(TANDEM_USAGE, "unknown metric '%s'; did you mean '%s'? (known: %s)", text,
                                         nearest, known.data)
                     : tandem_error_code(TANDEM_USAGE, "unknown metric '%s' (known: %s)", text, known.data);
    }
    free(name);
    tandem_buffer_free(&known);
    return rc;
}

/* Where trec_eval's "name_10" or "name_0.20" has its number, or NULL. */
static const char *number_at_end(const char *text)
{
    const char *cut = strrchr(text, '_');
    return cut && isdigit((unsigned char)cut[1]) && cut[1 + strspn(cut + 1, "0123456789.")] == '\0' ? cut : NULL;
}

/* The row that `text` means, and its parameters, NULL where it has none: "name", "name@10", "name.5,10", "name_10". */
static int resolve(const measure **row, const char **parameters, const char *text)
{
    const char *at = strchr(text, '@'), *dot = strchr(text, '.'), *number = number_at_end(text);
    *parameters = NULL;
    if ((*row = find_row(text, strlen(text), ANY_ROW))) {
        return TANDEM_OK;
    }
    if (dot && !find_row(text, (size_t)(dot - text), ROW_WITH_PARAMETERS)) {
        dot = NULL; /* of "name_0.20" */
    }
    const char *cut = at ? at : dot ? dot : number;
    bool listed = cut && *cut == '.';
    size_t length = cut ? (size_t)(cut - text) : strlen(text);
    *row = cut ? find_row(text, length, listed ? ROW_WITH_PARAMETERS : ROW_WITH_VALUE) : NULL;
    if (!*row) {
        return unknown_metric(text, length);
    }
    *parameters = cut + 1;
    if ((*row)->parameters == PARAMETERS_NONE || (!listed && !takes_value(*row))) {
        return tandem_error_code(TANDEM_USAGE, "metric '%s': %s takes no %s", text, (*row)->name,
                                 listed ? "parameter" : "cutoff");
    }
    return TANDEM_OK;
}

/* ---- parameters ------------------------------------------------------------------------- */
/* A piece of `text` from `begin` on, up to a comma. */
typedef struct {
    const char *begin;
    size_t length;
} piece;

static piece next_piece(const char *text)
{
    return (piece){text, strcspn(text, ",")};
}

static bool read_number(double *out, const char *text, size_t length)
{
    char *end;
    *out = strtod(text, &end);
    return length > 0 && end == text + length && isfinite(*out);
}

/* A rank from 1 to 10^9; trec_eval's "23.4" is 23. 0 when it is none. */
static size_t read_cutoff(piece p)
{
    double number;
    bool decimal = strspn(p.begin, "0123456789.") >= p.length;
    return decimal && read_number(&number, p.begin, p.length) && number >= 1.0 && number <= 1e9 ? (size_t)number : 0;
}

static int too_many(const measure *row)
{
    return tandem_error_code(TANDEM_USAGE, "metric %s: more than %d parameters", row->name, TANDEM_METRIC_PARAMETERS);
}

static int add_number(tandem_metric *out, const measure *row, piece p)
{
    double number;
    if (!read_number(&number, p.begin, p.length)) {
        return tandem_error_code(TANDEM_USAGE, "metric %s: expected a number, found '%.*s'", row->name, (int)p.length,
                                 p.begin);
    }
    if (out->number_count == TANDEM_METRIC_PARAMETERS) {
        return too_many(row);
    }
    out->numbers[out->number_count++] = number;
    return TANDEM_OK;
}

static int add_persistence(tandem_metric *out, piece p)
{
    double number;
    if (out->number_count > 0 || !read_number(&number, p.begin + 2, p.length - 2) || number <= 0.0 || number >= 1.0) {
        return tandem_error_code(TANDEM_USAGE, "metric rbp: expected one p between 0 and 1, found '%.*s'",
                                 (int)p.length, p.begin);
    }
    out->numbers[out->number_count++] = number;
    return TANDEM_OK;
}

/* "grade=gain". Unjudged documents have no grade, so there is no gain for negative ones. */
static int add_gain(tandem_metric *out, const measure *row, piece p)
{
    const char *equals = memchr(p.begin, '=', p.length);
    double grade = -1, gain = 0;
    if (!equals || !read_number(&grade, p.begin, (size_t)(equals - p.begin)) || grade < 0 || grade > INT32_MAX ||
        grade != floor(grade) || !read_number(&gain, equals + 1, (size_t)(p.begin + p.length - equals - 1))) {
        return tandem_error_code(TANDEM_USAGE, "metric %s: expected GRADE=GAIN with a grade from 0 on, found '%.*s'",
                                 row->name, (int)p.length, p.begin);
    }
    for (size_t i = 0; i < out->gain_count; i++) {
        if (out->gains[i].grade == (int32_t)grade) {
            return tandem_error_code(TANDEM_USAGE, "metric %s: two gains of grade %d", row->name, (int)grade);
        }
    }
    if (out->gain_count == TANDEM_METRIC_PARAMETERS) {
        return too_many(row);
    }
    out->gains[out->gain_count].grade = (int32_t)grade;
    out->gains[out->gain_count++].gain = gain;
    return TANDEM_OK;
}

static int put_names(tandem_metric *out, const measure *row, const char *tandem_form, const char *trec_form)
{
    const char *trec = row->trec_name ? row->trec_name : row->name;
    size_t room = sizeof out->name;
    if ((size_t)snprintf(out->name, room, "%s%s", row->name, tandem_form) >= room ||
        (size_t)snprintf(out->trec_name, room, "%s%s", trec, trec_form) >= room) {
        return tandem_error_code(TANDEM_USAGE, "metric %s: the parameters '%s' are too long", row->name, trec_form);
    }
    return TANDEM_OK;
}

/* A metric with one cutoff or share. */
static int make_with_value(tandem_metric *out, const measure *row, piece p)
{
    char tandem_form[32], trec_form[32];
    *out = (tandem_metric){.kind = (int)(row - measures), .summary = row->summary};
    if (row->parameters == PARAMETERS_SHARES) {
        TANDEM_TRY(add_number(out, row, p));
        if (out->numbers[0] < 0.0 || out->numbers[0] > 1e6) {
            return tandem_error_code(TANDEM_USAGE, "metric %s: %g is no share", row->name, out->numbers[0]);
        }
        snprintf(tandem_form, sizeof tandem_form, "@%.2f", out->numbers[0]);
        snprintf(trec_form, sizeof trec_form, "_%.2f", out->numbers[0]);
    } else {
        out->cutoff = read_cutoff(p);
        if (out->cutoff == 0) {
            return tandem_error_code(TANDEM_USAGE, "metric %s: expected a cutoff from 1 to 1000000000, found '%.*s'",
                                     row->name, (int)p.length, p.begin);
        }
        snprintf(tandem_form, sizeof tandem_form, "@%zu", out->cutoff);
        snprintf(trec_form, sizeof trec_form, "_%zu", out->cutoff);
    }
    return put_names(out, row, tandem_form, trec_form);
}

static size_t pieces_of(const char *text)
{
    size_t count = 1;
    for (; *text; text++) {
        count += *text == ',';
    }
    return count;
}

/* A metric that takes all its parameters at once; NULL: the usual ones, which its name does not tell. */
static int make_whole(tandem_metric *out, const measure *row, const char *parameters)
{
    char form[64] = "";
    bool numbers = row->parameters == PARAMETERS_NUMBERS || row->parameters == PARAMETERS_FIXED;
    *out = (tandem_metric){.kind = (int)(row - measures), .summary = row->summary};
    if (parameters && (size_t)snprintf(form, sizeof form, "_%s", parameters) >= sizeof form) {
        return tandem_error_code(TANDEM_USAGE, "metric %s: the parameters '%s' are too long", row->name, parameters);
    }
    for (const char *at = parameters ? parameters : row->defaults; at;) {
        piece p = next_piece(at);
        bool is_p = row->parameters == PARAMETERS_PERSISTENCE && p.length >= 2 && strncmp(p.begin, "p=", 2) == 0;
        TANDEM_TRY(is_p ? add_persistence(out, p) : numbers ? add_number(out, row, p) : add_gain(out, row, p));
        at = at[p.length] ? at + p.length + 1 : NULL;
    }
    if (row->parameters == PARAMETERS_FIXED && out->number_count != pieces_of(row->defaults)) {
        return tandem_error_code(TANDEM_USAGE, "metric %s: expected parameters as in '%s', found '%s'", row->name,
                                 row->defaults, parameters);
    }
    return put_names(out, row, form, form);
}

int tandem_metric_parse(tandem_metric *out, const char *text)
{
    const measure *row;
    const char *parameters;
    TANDEM_TRY(resolve(&row, &parameters, text));
    if (!row->value) {
        return tandem_error_code(TANDEM_USAGE, "metric '%s' is a text, not a number", text);
    }
    if (!takes_value(row)) {
        return make_whole(out, row, parameters);
    }
    if (!parameters) {
        return tandem_error_code(TANDEM_USAGE, "metric '%s' needs a cutoff, as in '%s@%s'", text, row->name,
                                 row->parameters == PARAMETERS_SHARES ? "0.5" : "10");
    }
    return make_with_value(out, row, (piece){parameters, strlen(parameters)});
}

/* ---- lists --------------------------------------------------------------------------------- */
typedef struct {
    tandem_metric *items;
    bool *usual; /* [count] from trec_eval's lists or cutoffs, not asked for one by one */
    size_t count, capacity, usual_capacity;
    tandem_metric_range allowed;
} metric_list;

static int append(metric_list *list, const tandem_metric *metric, bool usual)
{
    for (size_t i = 0; i < list->count; i++) {
        if (strcmp(list->items[i].name, metric->name) == 0) {
            if (!usual && !list->usual[i]) {
                return tandem_error_code(TANDEM_USAGE, "metric '%s' is asked for twice", metric->name);
            }
            list->usual[i] = list->usual[i] && usual;
            return TANDEM_OK;
        }
    }
    void *items = list->items, *flags = list->usual;
    int rc = tandem_grow(&items, &list->capacity, list->count + 1, sizeof *list->items);
    list->items = items;
    TANDEM_TRY(rc);
    rc = tandem_grow(&flags, &list->usual_capacity, list->count + 1, sizeof *list->usual);
    list->usual = flags;
    TANDEM_TRY(rc);
    list->items[list->count] = *metric;
    list->usual[list->count++] = usual;
    return TANDEM_OK;
}

/* All metrics of a row: one for each of its values, or one with all parameters. */
static int append_row(metric_list *list, const measure *row, const char *parameters, bool usual)
{
    tandem_metric metric;
    if (!takes_value(row)) {
        TANDEM_TRY(make_whole(&metric, row, parameters));
        return append(list, &metric, usual);
    }
    for (const char *at = parameters ? parameters : row->defaults; at;) {
        piece p = next_piece(at);
        TANDEM_TRY(make_with_value(&metric, row, p));
        TANDEM_TRY(append(list, &metric, usual));
        at = at[p.length] ? at + p.length + 1 : NULL;
    }
    return TANDEM_OK;
}

static unsigned set_called(const char *text)
{
    return strcmp(text, "official") == 0   ? SET_OFFICIAL
           : strcmp(text, "all_trec") == 0 ? SET_ALL
           : strcmp(text, "set") == 0      ? SET_UNRANKED
                                           : 0;
}

static bool is_allowed(const metric_list *list, const measure *row)
{
    return list->allowed == TANDEM_METRICS_ALL || row->summary == TANDEM_METRIC_MEAN ||
           (list->allowed == TANDEM_METRICS_NUMBERS && row->value);
}

static int append_item(metric_list *list, const char *text)
{
    const measure *row;
    const char *parameters;
    unsigned set = set_called(text);
    for (size_t i = 0; set && i < measure_count; i++) {
        if ((measures[i].sets & set) && is_allowed(list, &measures[i])) {
            TANDEM_TRY(append_row(list, &measures[i], NULL, true));
        }
    }
    if (set) {
        return TANDEM_OK;
    }
    TANDEM_TRY(resolve(&row, &parameters, text));
    if (!is_allowed(list, row)) {
        return tandem_error_code(TANDEM_USAGE, "metric '%s' is %s", text,
                                 row->value ? "no mean over queries" : "a text, not a number");
    }
    if (takes_value(row) && !parameters && !row->defaults) {
        return tandem_error_code(TANDEM_USAGE, "metric '%s' needs a cutoff, as in '%s@10'", text, row->name);
    }
    return append_row(list, row, parameters, takes_value(row) && !parameters);
}

/* "P.5,10,map": what follows a comma and is "10", "1=3" or "p=0.8" is a parameter still. */
static bool is_parameter(const char *text, size_t length)
{
    double number;
    const char *equals = memchr(text, '=', length);
    size_t key = equals ? (size_t)(equals - text) : length;
    return read_number(&number, text, key) || (equals && key == 1 && *text == 'p');
}

static size_t item_length(const char *list)
{
    size_t length = strcspn(list, ",");
    while (list[length]) {
        size_t next = strcspn(list + length + 1, ",");
        if (!is_parameter(list + length + 1, next)) {
            break;
        }
        length += 1 + next;
    }
    return length;
}

/* Parameters that were given take the place of the usual ones of the same measure. */
static void drop_overridden(metric_list *list)
{
    size_t kept = 0;
    for (size_t i = 0; i < list->count; i++) {
        bool overridden = false;
        for (size_t k = 0; list->usual[i] && k < list->count; k++) {
            overridden = overridden || (!list->usual[k] && list->items[k].kind == list->items[i].kind);
        }
        if (!overridden) {
            list->usual[kept] = list->usual[i];
            list->items[kept++] = list->items[i];
        }
    }
    list->count = kept;
}

int tandem_metrics_parse(tandem_metric **out, size_t *count, const char *list, tandem_metric_range allowed)
{
    metric_list parsed = {.allowed = allowed};
    int rc = TANDEM_OK;
    for (const char *at = list; rc >= 0 && at;) {
        size_t length = item_length(at);
        char *item = tandem_strndup(at, length);
        rc = item ? append_item(&parsed, item) : TANDEM_ERROR;
        free(item);
        at = at[length] ? at + length + 1 : NULL;
    }
    if (rc >= 0) {
        drop_overridden(&parsed);
    }
    free(parsed.usual);
    if (rc < 0) {
        free(parsed.items);
        parsed.items = NULL;
    }
    *out = parsed.items;
    *count = parsed.items ? parsed.count : 0;
    return rc;
}

/* The table is in trec_eval's order; cutoffs and shares go up. */
static int by_place(const void *left, const void *right)
{
    const tandem_metric *a = left, *b = right;
    if (a->kind != b->kind) {
        return a->kind < b->kind ? -1 : 1;
    }
    if (a->cutoff != b->cutoff) {
        return a->cutoff < b->cutoff ? -1 : 1;
    }
    int order = (a->numbers[0] > b->numbers[0]) - (a->numbers[0] < b->numbers[0]);
    return order ? order : strcmp(a->name, b->name);
}

void tandem_metrics_sort(tandem_metric *metrics, size_t count)
{
    if (count > 1) {
        qsort(metrics, count, sizeof *metrics, by_place);
    }
}
