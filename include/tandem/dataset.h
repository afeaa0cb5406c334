/* dataset.h - a BEIR folder in memory: corpus.jsonl, queries.jsonl, qrels/SPLIT.tsv,
 * each also as .zst. */
#ifndef TANDEM_DATASET_H
#define TANDEM_DATASET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tandem/error.h"
#include "tandem/hash.h"
#include "tandem/memory.h"
#include "tandem/qrels.h"
#include "tandem/tokenizer.h"

#ifdef __cplusplus
extern "C" {
#endif

/* One text with its id. A document's text is title + " " + text, trimmed, as every
 * encoder of the field reads it (BEIR's GenericDataLoader). */
typedef struct {
    const char *id;
    const char *text; /* NUL-terminated UTF-8 */
    size_t length;    /* bytes */
} tandem_text;

typedef struct {
    tandem_text *items;
    size_t count;
    tandem_strmap *by_id; /* id -> index in items */
} tandem_texts;

typedef struct {
    char *path;
    tandem_texts corpus;
    tandem_texts queries;
    tandem_hash hash; /* of ids and texts, in order; not of the qrels */
    tandem_arena *arena;
} tandem_dataset;

/* Loads corpus and queries. The first malformed line is an error naming file and
 * line; so is a duplicate id, an empty corpus or no query. */
int tandem_dataset_open(tandem_dataset **out, const char *directory);
void tandem_dataset_free(tandem_dataset *dataset); /* NULL is fine */

/* Reads a JSONL file of {"_id","text","title"?} lines by the same rules, into texts
 * that live in `arena`. */
int tandem_texts_read(tandem_texts *out, tandem_arena *arena, const char *path);
void tandem_texts_free(tandem_texts *texts); /* the map and items; not the arena */

/* Judgments of a split; TANDEM_NOT_FOUND when the folder has no such qrels file. */
int tandem_dataset_qrels(tandem_qrels **out, const tandem_dataset *dataset, const char *split);

/* A split with ids resolved to indices: only queries with at least one grade >= 1
 * whose document is in the corpus, in the order of queries.jsonl. */
typedef struct {
    uint32_t query;            /* index in dataset->queries */
    const uint32_t *documents; /* indices in dataset->corpus of the relevant documents */
    const int32_t *grades;
    size_t count;
} tandem_split_query;

typedef struct {
    tandem_split_query *queries;
    size_t count;
    size_t pairs;   /* relevant (query, document) pairs in all */
    size_t missing; /* judgments whose query or document does not exist: skipped */
    tandem_arena *arena;
} tandem_split;

int tandem_split_load(tandem_split **out, const tandem_dataset *dataset, const char *split);
void tandem_split_free(tandem_split *split);

/* ---- check ----------------------------------------------------------------------- */
#define TANDEM_PROBLEM_LIMIT 100 /* problems of a kind that are kept */
#define TANDEM_PROBLEM_KINDS 22

typedef struct {
    const char *code; /* "duplicate-id"; static */
    bool error;       /* else a warning */
    size_t count;     /* all, kept or not */
} tandem_problem_kind;

typedef struct {
    const char *code; /* of its kind */
    bool error;
    char *file;  /* "corpus.jsonl", also where it is corpus.jsonl.zst */
    size_t line; /* from 1; 0: the whole file */
    char *message;
} tandem_problem;

typedef struct {
    tandem_problem *problems; /* in file and line order, but for unjudged queries, which come last */
    size_t problem_count;
    tandem_problem_kind kinds[TANDEM_PROBLEM_KINDS];
    size_t errors, warnings; /* all, kept or not */
    size_t documents, queries;
    size_t split_count;
    struct tandem_split_statistics {
        char *name;
        size_t queries, judgments, relevant;
    } *splits;
    /* Lengths in tokens when a tokenizer was given (special tokens included), else in
     * bytes: minimum, 5 %, 25 %, median, 75 %, 95 %, 99 %, maximum (nearest rank). */
    size_t document_length[8], query_length[8];
    size_t documents_truncated, queries_truncated; /* over max_length */
} tandem_dataset_report;

/* Looks at every line, once; malformed input is reported, not a failure of the call.
 * Errors: bad JSON, invalid UTF-8, missing or duplicate ids, empty texts, malformed
 * qrels lines, judged ids missing from corpus or queries, a query judged in two
 * splits. Warnings: white space in an id, an id of more than 512 bytes, two ids with one
 * text, a query with the text of a document or of a query of another split, control
 * characters, U+FFFD, a query that no split judges, a grade below 0 or above 30, a byte
 * order mark, CR LF, no split, a split without a relevant document. Texts are compared
 * without regard to case and white space. `tokenizer` may be NULL; `max_length` 0: no
 * limit. */
int tandem_dataset_check(tandem_dataset_report *out, const char *directory,
                         const tandem_tokenizer *tokenizer, size_t max_length);
void tandem_dataset_report_free(tandem_dataset_report *report);

#ifdef __cplusplus
}
#endif
#endif
