/* import_table.c - pairs, triples and labelled pairs in the rows of tables. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/import_private.h"
#include "data/table.h"

/* What a column holds; ids and titles are those of the texts in the same order. */
typedef enum { QUERY, DOCUMENT, NEGATIVE, LABEL, QUERY_ID, DOCUMENT_ID, NEGATIVE_ID, TITLE, ROLES } role;

static const struct {
    const char *name;
    role role;
} role_names[] = {
    {"query", QUERY},       {"positive", DOCUMENT},       {"document", DOCUMENT},       {"negative", NEGATIVE},
    {"query-id", QUERY_ID}, {"positive-id", DOCUMENT_ID}, {"document-id", DOCUMENT_ID}, {"negative-id", NEGATIVE_ID},
    {"label", LABEL},       {"title", TITLE},
};

enum { COLUMN_LIMIT = 64 };

/* The cells of a row that have one role. */
typedef struct {
    tandem_cell *items;
    size_t count, capacity;
} role_cells;

/* The texts of a row as the sink numbers them. */
typedef struct {
    uint32_t *items;
    size_t count, capacity;
} index_list;

typedef struct {
    import_sink *sink;
    char *spec;                        /* cut up: the names lie in it */
    const char *columns[COLUMN_LIMIT]; /* [table.count] */
    role roles[COLUMN_LIMIT];
    tandem_table_options table;
    uint8_t split;
    const char *where; /* the row */
    role_cells cells[ROLES];
    index_list queries, documents, negatives;
} importer;

/* ---- columns --------------------------------------------------------------------------------- */
static int find_role(const char *name, role *out)
{
    for (size_t i = 0; i < sizeof role_names / sizeof *role_names; i++) {
        if (strcmp(role_names[i].name, name) == 0) {
            *out = role_names[i].role;
            return TANDEM_OK;
        }
    }
    return tandem_error_code(TANDEM_USAGE,
                             "--columns: no role \"%s\"; there are query, positive, negative, document, label, "
                             "query-id, positive-id, negative-id, document-id and title",
                             name);
}

/* Cuts "query=question,positive=2" up. */
static int parse_columns(importer *import)
{
    char *rest = import->spec;
    while (rest) {
        char *part = strsep(&rest, ","), *equals = strchr(part, '=');
        size_t count = import->table.count;
        if (!equals || equals[1] == '\0' || count == COLUMN_LIMIT) {
            return tandem_error_code(TANDEM_USAGE,
                                     "--columns: expected up to %d ROLE=COLUMN between commas, found \"%s\"",
                                     COLUMN_LIMIT, part);
        }
        *equals = '\0';
        TANDEM_TRY(find_role(part, &import->roles[count]));
        import->columns[count] = equals + 1;
        import->table.count++;
    }
    return TANDEM_OK;
}

static bool has_role(const importer *import, role wanted)
{
    for (size_t i = 0; i < import->table.count; i++) {
        if (import->roles[i] == wanted) {
            return true;
        }
    }
    return false;
}

static int check_roles(const importer *import, tandem_import_format format)
{
    static const char *const needed[] = {"query", "positive or document", "negative", "label"};
    const bool wanted[] = {true, true, format == TANDEM_IMPORT_TRIPLES, format == TANDEM_IMPORT_LABELLED};
    for (role i = QUERY; i <= LABEL; i++) {
        if (has_role(import, i) != wanted[i]) {
            return tandem_error_code(TANDEM_USAGE, "--columns: this format takes %s column %s", wanted[i] ? "a" : "no",
                                     needed[i]);
        }
    }
    return TANDEM_OK;
}

static int choose_columns(importer *import, const tandem_import_options *options)
{
    static const char *const usual[] = {[TANDEM_IMPORT_PAIRS] = "query=query,positive=positive",
                                        [TANDEM_IMPORT_TRIPLES] = "query=query,positive=positive,negative=negative",
                                        [TANDEM_IMPORT_LABELLED] = "query=query,document=document,label=label"};
    import->spec = tandem_strdup(options->columns ? options->columns : usual[options->format]);
    TANDEM_TRY(import->spec ? parse_columns(import) : TANDEM_ERROR);
    TANDEM_TRY(check_roles(import, options->format));
    import->table.layout = options->layout;
    import->table.separator = options->separator;
    import->table.record = options->record;
    import->table.columns = import->columns;
    return TANDEM_OK;
}

/* ---- a row --------------------------------------------------------------------------------------- */
static int gather_cells(importer *import, const tandem_cells *row)
{
    for (role i = QUERY; i < ROLES; i++) {
        import->cells[i].count = 0;
    }
    for (size_t i = 0; i < import->table.count; i++) {
        role_cells *cells = &import->cells[import->roles[i]];
        void *items = cells->items;
        TANDEM_TRY(tandem_grow(&items, &cells->capacity, cells->count + row[i].count, sizeof *cells->items));
        cells->items = items;
        if (row[i].count > 0) {
            memcpy(cells->items + cells->count, row[i].items, row[i].count * sizeof *cells->items);
        }
        cells->count += row[i].count;
    }
    return TANDEM_OK;
}

static int check_counts(const importer *import)
{
    static const struct {
        role role, of;
        const char *name, *texts;
    } parallel[] = {{QUERY_ID, QUERY, "query ids", "queries"}, {DOCUMENT_ID, DOCUMENT, "document ids", "documents"},
                    {NEGATIVE_ID, NEGATIVE, "negative ids", "negatives"}, {LABEL, DOCUMENT, "labels", "documents"}};
    for (size_t i = 0; i < sizeof parallel / sizeof *parallel; i++) {
        size_t count = import->cells[parallel[i].role].count, texts = import->cells[parallel[i].of].count;
        if (has_role(import, parallel[i].role) && count != texts) {
            return tandem_error("%s: %zu %s for %zu %s", import->where, count, parallel[i].name, texts,
                                parallel[i].texts);
        }
    }
    size_t titles = import->cells[TITLE].count;
    if (titles > 1 && titles != import->cells[DOCUMENT].count) {
        return tandem_error("%s: %zu titles for %zu documents", import->where, titles, import->cells[DOCUMENT].count);
    }
    for (role i = QUERY; i <= DOCUMENT; i++) {
        if (import->cells[i].count == 0) {
            return tandem_error("%s: no %s", import->where, i == QUERY ? "query" : "document");
        }
    }
    return TANDEM_OK;
}

/* The title of document `index`: its own, the one of that place, or the only one. */
static const char *find_title(const importer *import, role texts, size_t index)
{
    const char *own = import->cells[texts].items[index].title;
    const role_cells *titles = &import->cells[TITLE];
    return own                                       ? own
           : texts != DOCUMENT || titles->count == 0 ? NULL
                                                     : titles->items[titles->count > 1 ? index : 0].text;
}

static int add_texts(importer *import, role texts, role ids, index_list *out)
{
    const role_cells *cells = &import->cells[texts];
    void *items = out->items;
    TANDEM_TRY(tandem_grow(&items, &out->capacity, cells->count, sizeof *out->items));
    out->items = items;
    for (out->count = 0; out->count < cells->count; out->count++) {
        const tandem_cell *cell = &cells->items[out->count];
        import_text text = {.id = has_role(import, ids) ? import->cells[ids].items[out->count].text : cell->id,
                            .title = find_title(import, texts, out->count), .text = cell->text};
        uint32_t *index = &out->items[out->count];
        TANDEM_TRY(texts == QUERY ? tandem_sink_query(import->sink, import->split, &text, import->where, index)
                                  : tandem_sink_document(import->sink, &text, import->where, index));
    }
    return TANDEM_OK;
}

static int parse_label(const importer *import, const char *text, double *out)
{
    char *end;
    errno = 0;
    *out = strtod(text, &end);
    bool number = end != text && end[strspn(end, " ")] == '\0' && errno == 0 && isfinite(*out);
    return number ? TANDEM_OK
                  : tandem_error("%s: expected a number as the label, found \"%.40s\"", import->where, text);
}

/* What a row says of a query and its document number `index`. */
static int link_document(importer *import, uint32_t query, size_t index)
{
    double label = 1;
    uint32_t document = import->documents.items[index];
    if (has_role(import, LABEL)) {
        TANDEM_TRY(parse_label(import, import->cells[LABEL].items[index].text, &label));
        if (label < import->sink->options->min_label) {
            return tandem_sink_negative(import->sink, import->split, query, document);
        }
    }
    double grade = floor(label);
    grade = grade < 1 ? 1 : grade > INT32_MAX ? INT32_MAX : grade;
    return tandem_sink_judge(import->sink, import->split, query, document, (int32_t)grade);
}

/* True for a row whose label is left blank: it says nothing of its texts. */
static bool is_unlabelled(const importer *import)
{
    const role_cells *labels = &import->cells[LABEL];
    return labels->count == 1 && labels->items->text[strspn(labels->items->text, " ")] == '\0';
}

static int add_row(importer *import, const tandem_cells *row)
{
    TANDEM_TRY(gather_cells(import, row));
    TANDEM_TRY(check_counts(import));
    if (is_unlabelled(import)) {
        import->sink->report->unlabelled++;
        return TANDEM_OK;
    }
    TANDEM_TRY(add_texts(import, QUERY, QUERY_ID, &import->queries));
    TANDEM_TRY(add_texts(import, DOCUMENT, DOCUMENT_ID, &import->documents));
    TANDEM_TRY(add_texts(import, NEGATIVE, NEGATIVE_ID, &import->negatives));
    for (size_t q = 0; q < import->queries.count; q++) {
        uint32_t query = import->queries.items[q];
        for (size_t i = 0; i < import->documents.count; i++) {
            TANDEM_TRY(link_document(import, query, i));
        }
        for (size_t i = 0; i < import->negatives.count; i++) {
            TANDEM_TRY(tandem_sink_negative(import->sink, import->split, query, import->negatives.items[i]));
        }
    }
    return TANDEM_OK;
}

/* ---- files ----------------------------------------------------------------------------------------- */
static int read_file(import_sink *sink, void *context, const char *path, const char *split)
{
    importer *import = context;
    tandem_table *table = NULL;
    const tandem_cells *row;
    int rc;
    TANDEM_TRY(tandem_sink_split(sink, split, &import->split));
    TANDEM_TRY(tandem_table_open(&table, path, &import->table));
    while ((rc = tandem_table_next(table, &row)) == 1) {
        import->where = tandem_table_where(table);
        TANDEM_TRY_GOTO(rc, done, import->where ? add_row(import, row) : TANDEM_ERROR);
    }
done:
    tandem_table_close(table);
    return rc;
}

int tandem_import_table(import_sink *sink)
{
    importer *import = tandem_alloc(1, sizeof *import);
    if (!import) {
        return TANDEM_ERROR;
    }
    import->sink = sink;
    int rc = choose_columns(import, sink->options);
    if (rc == TANDEM_OK) {
        rc = tandem_import_each(sink, &sink->options->sources, read_file, import);
    }
    for (role i = QUERY; i < ROLES; i++) {
        free(import->cells[i].items);
    }
    free(import->queries.items);
    free(import->documents.items);
    free(import->negatives.items);
    free(import->spec);
    free(import);
    return rc;
}
