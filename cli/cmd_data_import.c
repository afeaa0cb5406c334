/* cmd_data_import.c - `tandem data import`: other layouts into a BEIR folder. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "tandem/import.h"
#include "tandem/log.h"
#include "tandem/machine.h"
#include "tandem/settings.h"

typedef struct {
    const char *from, *output, *columns, *separator, *record, *topic_fields;
    tandem_option_list documents, queries, qrels, triples;
    int64_t layout, by, seed;
    double min_label, dev, test;
    bool compress, json;
} import_options;

static const tandem_option table[] = {
    {.name = "from", .type = TANDEM_OPTION_STRING, .required = true, .offset = offsetof(import_options, from),
     .value = "FORMAT", .help = "beir, trec, smart, msmarco, squad, pairs, triples or labelled"},
    {.name = "output", .letter = 'o', .type = TANDEM_OPTION_STRING, .required = true,
     .offset = offsetof(import_options, output), .value = "DATASET",
     .help = "the folder to write; one that holds a dataset is replaced"},
    {.name = "documents", .type = TANDEM_OPTION_LIST, .offset = offsetof(import_options, documents), .value = "PATH",
     .help = "trec, smart, msmarco: documents, or a folder of them"},
    {.name = "queries", .type = TANDEM_OPTION_LIST, .offset = offsetof(import_options, queries), .value = "PATH",
     .help = "trec, smart, msmarco: queries, which TREC calls topics"},
    {.name = "qrels", .type = TANDEM_OPTION_LIST, .offset = offsetof(import_options, qrels), .value = "[SPLIT=]PATH",
     .help = "trec, smart, msmarco: judgments in TREC's four columns or BEIR's three"},
    {.name = "triples", .type = TANDEM_OPTION_LIST, .offset = offsetof(import_options, triples),
     .value = "[SPLIT=]PATH", .help = "msmarco: ids of query, positive and negative between tabs"},
    {.name = "topic-fields", .type = TANDEM_OPTION_STRING, .offset = offsetof(import_options, topic_fields),
     .value = "NAMES", .help = "trec: the elements that make a query, as in \"title,desc\"; without it the title"},
    {.name = "columns", .type = TANDEM_OPTION_STRING, .offset = offsetof(import_options, columns),
     .value = "ROLE=COLUMN,...",
     .help = "pairs, triples, labelled: which column holds what; without it columns are called as their roles"},
    {.name = "layout", .type = TANDEM_OPTION_CHOICE, .offset = offsetof(import_options, layout),
     .value = "auto|tsv|csv|jsonl|json|xml", .initial = "auto", .help = "of the rows; auto: by the file's name"},
    {.name = "separator", .type = TANDEM_OPTION_STRING, .offset = offsetof(import_options, separator),
     .value = "CHARACTER", .help = "between the fields of CSV, or the word tab; without it a comma"},
    {.name = "record", .type = TANDEM_OPTION_STRING, .offset = offsetof(import_options, record), .value = "ELEMENT",
     .help = "the XML element that is a row"},
    {.name = "min-label", .type = TANDEM_OPTION_DOUBLE, .offset = offsetof(import_options, min_label), .value = "X",
     .initial = "1", .help = "labelled: the smallest label of a positive; what is below is a negative"},
    {.name = "dev", .type = TANDEM_OPTION_DOUBLE, .offset = offsetof(import_options, dev), .value = "F|N",
     .initial = "0", .min = 0, .max = UINT32_MAX, .help = "hold out of train: a fraction below 1 or a number"},
    {.name = "test", .type = TANDEM_OPTION_DOUBLE, .offset = offsetof(import_options, test), .value = "F|N",
     .initial = "0", .min = 0, .max = UINT32_MAX, .help = "the same for test, which is taken first"},
    {.name = "by", .type = TANDEM_OPTION_CHOICE, .offset = offsetof(import_options, by), .value = "query|document",
     .initial = "query", .help = "what F and N count, and what no two splits share"},
    {.name = "seed", .type = TANDEM_OPTION_INT, .offset = offsetof(import_options, seed), .value = "N", .initial = "13",
     .min = 0, .max = INT32_MAX, .help = "of the hold-out"},
    {.name = "compress", .type = TANDEM_OPTION_FLAG, .offset = offsetof(import_options, compress),
     .help = "write .zst files"},
    {.name = "json", .type = TANDEM_OPTION_FLAG, .offset = offsetof(import_options, json),
     .help = "print the report as one JSON object"},
    TANDEM_OPTION_END,
};

/* ---- options ------------------------------------------------------------------------------------ */
static int find_format(const char *name, tandem_import_format *out)
{
    static const char *const names[] = {
        [TANDEM_IMPORT_BEIR] = "beir",       [TANDEM_IMPORT_TREC] = "trec",        [TANDEM_IMPORT_SMART] = "smart",
        [TANDEM_IMPORT_MSMARCO] = "msmarco", [TANDEM_IMPORT_SQUAD] = "squad",      [TANDEM_IMPORT_PAIRS] = "pairs",
        [TANDEM_IMPORT_TRIPLES] = "triples", [TANDEM_IMPORT_LABELLED] = "labelled"};
    const size_t count = sizeof names / sizeof *names;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(names[i], name) == 0) {
            *out = (tandem_import_format)i;
            return TANDEM_OK;
        }
    }
    const char *nearest = tandem_nearest(name, names, count);
    return nearest
               ? tandem_error_code(TANDEM_USAGE, "--from: unknown format \"%s\"; did you mean \"%s\"?", name, nearest)
               : tandem_error_code(TANDEM_USAGE, "--from: expected %s, found \"%s\"", table[0].help, name);
}

static int find_separator(const char *text, char *out)
{
    *out = !text ? '\0' : strcmp(text, "tab") == 0 ? '\t' : text[0];
    bool one = !text || *out == '\t' || (text[0] && !text[1]);
    return one && *out != '"'
               ? TANDEM_OK
               : tandem_error_code(TANDEM_USAGE, "--separator: expected one character or \"tab\", found \"%s\"", text);
}

static tandem_import_paths paths_of(const tandem_option_list *list)
{
    return (tandem_import_paths){list->items, list->count};
}

/* ---- the report -------------------------------------------------------------------------------------- */
/* What is told only where it is not 0, as a key and in words. */
static const struct {
    const char *key, *words;
    size_t offset;
} notes[] = {
    {"joined_documents", "documents were there already, by id or by text, and joined",
     offsetof(tandem_import_report, joined_documents)},
    {"joined_queries", "queries were there already, by id or by text, and joined",
     offsetof(tandem_import_report, joined_queries)},
    {"empty", "texts were empty and left out", offsetof(tandem_import_report, empty)},
    {"lost", "judgments were left out with them", offsetof(tandem_import_report, lost)},
    {"unlabelled", "rows had no label and were left out", offsetof(tandem_import_report, unlabelled)},
    {"unanswerable", "questions had no answer and were left out", offsetof(tandem_import_report, unanswerable)},
    {"repeated", "judgments were there already; the highest grade was kept", offsetof(tandem_import_report, repeated)},
    {"twins", "documents have the text of another id", offsetof(tandem_import_report, twins)},
    {"shared_queries", "query texts are judged in more than one split", offsetof(tandem_import_report, shared_queries)},
    {"withheld", "negatives of train were held-out documents and left out", offsetof(tandem_import_report, withheld)},
    {"groups", "training groups", offsetof(tandem_import_report, groups)},
    {"negatives", "negatives in them", offsetof(tandem_import_report, negatives)},
};

static size_t note_value(const tandem_import_report *report, size_t i)
{
    return *(const size_t *)(const void *)((const char *)report + notes[i].offset);
}

static void tell(const char *directory, const tandem_import_report *report)
{
    tandem_log_info("%s: %zu documents, %zu queries", directory, report->documents, report->queries);
    for (size_t i = 0; i < report->split_count; i++) {
        tandem_log_info("split %s: %zu queries, %zu judgments", report->splits[i].name, report->splits[i].queries,
                        report->splits[i].judgments);
    }
    for (size_t i = 0; i < sizeof notes / sizeof *notes; i++) {
        if (note_value(report, i) > 0) {
            tandem_log_info("%zu %s", note_value(report, i), notes[i].words);
        }
    }
}

static int put_json(tandem_buffer *out, const char *directory, const tandem_import_report *report)
{
    TANDEM_TRY(tandem_buffer_puts(out, "{\"dataset\": "));
    TANDEM_TRY(tandem_buffer_json_string(out, directory, strlen(directory)));
    TANDEM_TRY(tandem_buffer_printf(out, ", \"documents\": %zu, \"queries\": %zu,\n \"splits\": [", report->documents,
                                    report->queries));
    for (size_t i = 0; i < report->split_count; i++) {
        TANDEM_TRY(tandem_buffer_puts(out, i > 0 ? ", {\"name\": " : "{\"name\": "));
        TANDEM_TRY(tandem_buffer_json_string(out, report->splits[i].name, strlen(report->splits[i].name)));
        TANDEM_TRY(tandem_buffer_printf(out, ", \"queries\": %zu, \"judgments\": %zu}", report->splits[i].queries,
                                        report->splits[i].judgments));
    }
    TANDEM_TRY(tandem_buffer_puts(out, "]"));
    for (size_t i = 0; i < sizeof notes / sizeof *notes; i++) {
        TANDEM_TRY(
            tandem_buffer_printf(out, ",%s\"%s\": %zu", i == 0 ? "\n " : " ", notes[i].key, note_value(report, i)));
    }
    return tandem_buffer_puts(out, "}\n");
}

/* ---- the command ---------------------------------------------------------------------------------------- */
static int run(const void *options, size_t count, char *const *arguments)
{
    const import_options *wanted = options;
    tandem_import_options import = {
        .sources = {(const char *const *)arguments, count},
        .documents = paths_of(&wanted->documents), .queries = paths_of(&wanted->queries),
        .qrels = paths_of(&wanted->qrels), .triples = paths_of(&wanted->triples),
        .topic_fields = wanted->topic_fields, .columns = wanted->columns, .layout = (tandem_table_layout)wanted->layout,
        .record = wanted->record, .min_label = wanted->min_label, .dev = wanted->dev, .test = wanted->test,
        .by_document = wanted->by == 1, .seed = (uint64_t)wanted->seed, .compress = wanted->compress,
    };
    TANDEM_TRY(find_format(wanted->from, &import.format));
    TANDEM_TRY(find_separator(wanted->separator, &import.separator));
    tandem_interrupt_install();
    tandem_import_report report;
    tandem_buffer text = TANDEM_BUFFER_INIT;
    TANDEM_TRY(tandem_import(&report, wanted->output, &import));
    int rc = TANDEM_OK;
    if (wanted->json) {
        rc = put_json(&text, wanted->output, &report);
    } else {
        tell(wanted->output, &report);
    }
    if (rc == TANDEM_OK && wanted->json) {
        fputs(text.data, stdout);
    }
    tandem_buffer_free(&text);
    tandem_import_report_free(&report);
    return rc;
}

const tandem_command tandem_command_data_import = {
    .name = "data import",
    .summary = "Turn another layout into a dataset",
    .usage = "[[SPLIT=]SRC...]",
    .min_arguments = 0,
    .max_arguments = SIZE_MAX,
    .options = table,
    .options_size = sizeof(import_options),
    .run = run,
    .notes =
        "DATASET becomes a BEIR folder (corpus.jsonl, queries.jsonl, qrels/SPLIT.tsv), complete or not at\n"
        "all. Files may be compressed with zstd or gzip; \"-\" is stdin; a folder stands for the files\n"
        "below it, in the order of their names. SPLIT= before a path names the split of its judgments;\n"
        "without it that is \"test\" for trec and smart, else \"train\".\n"
        "\n"
        "Formats and what they read:\n"
        "  beir      folders; files as .gz too\n"
        "  trec      --documents (<doc> <docno> <text> in SGML or XML), --queries (<top> <num> <title>), --qrels\n"
        "  smart     --documents and --queries (.I .T .W), --qrels\n"
        "  msmarco   --documents and --queries (id<TAB>text), --qrels, --triples\n"
        "  squad     JSON of SQuAD 1.1 or 2.0; questions without an answer are left out\n"
        "  pairs     rows of query and positive\n"
        "  triples   rows of query, positive and negative; rows of one query become one training group\n"
        "  labelled  rows of query, document and label; labels from --min-label on are judgments, whose\n"
        "            grade is the label's whole part, at least 1; those below are negatives\n"
        "Where there are negatives, groups.jsonl.zst holds the training groups of the split \"train\".\n"
        "\n"
        "Rows: .tsv (fields between tabs, no quotes), .csv (RFC 4180), .jsonl (one object a line), .json\n"
        "(an array of objects), .xml (--record names the element that is a row). The roles of --columns\n"
        "are query, positive or document, negative, label, title (of the positive), query-id,\n"
        "positive-id or document-id, negative-id. A column is a name from the first row, a key, an element\n"
        "(ELEMENT@ATTRIBUTE for an attribute) or, when all are numbers, a place from 1 in a table without\n"
        "a row of names. Several negatives may be named; in JSON a value may be an array of texts or of\n"
        "objects with \"text\", \"title\" and \"id\"; in XML an element may come several times.\n"
        "\n"
        "Ids and grades are kept as they are. Texts without ids are numbered in the order of their\n"
        "appearance, d1, d2 ... and q1, q2 ...; documents with the same text become one document, and so\n"
        "do queries of one split.\n"
        "\n"
        "--dev and --test take queries out of \"train\": which ones follows from the seed and their ids\n"
        "(their texts, where they are numbered), not from their order. Queries whose texts differ in white\n"
        "space alone stay together; with --by document, so do queries that share a positive document, and F\n"
        "and N count documents.",
};
