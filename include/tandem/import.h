/* import.h - other layouts of the field into a BEIR folder, streamed. */
#ifndef TANDEM_IMPORT_H
#define TANDEM_IMPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tandem/error.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
    TANDEM_IMPORT_BEIR,     /* folders with corpus.jsonl, queries.jsonl, qrels/ */
    TANDEM_IMPORT_TREC,     /* SGML or XML documents, topics, qrels */
    TANDEM_IMPORT_SMART,    /* .I .T .W documents and queries (Cranfield, CACM), qrels */
    TANDEM_IMPORT_MSMARCO,  /* id<TAB>text collections and queries, qrels, triples of ids */
    TANDEM_IMPORT_SQUAD,    /* JSON of SQuAD 1.1 or 2.0 */
    TANDEM_IMPORT_PAIRS,    /* tables of query and positive */
    TANDEM_IMPORT_TRIPLES,  /* tables of query, positive and negative */
    TANDEM_IMPORT_LABELLED  /* tables of query, document and label */
} tandem_import_format;

typedef enum {
    TANDEM_LAYOUT_AUTO,  /* by the file's name, before .gz or .zst */
    TANDEM_LAYOUT_TSV,   /* fields between tabs, no quotes */
    TANDEM_LAYOUT_CSV,   /* RFC 4180 */
    TANDEM_LAYOUT_JSONL, /* one object a line */
    TANDEM_LAYOUT_JSON,  /* an array of objects, read whole */
    TANDEM_LAYOUT_XML    /* one element a row: see `record` */
} tandem_table_layout;

/* Paths as the user names them, borrowed. A path may begin with "SPLIT=": the split that its
 * judgments belong to; without it "test" for TREC and SMART, else "train". Where the format
 * allows, a folder stands for the files below it, in the order of their names. "-" is stdin. */
typedef struct {
    const char *const *items;
    size_t count;
} tandem_import_paths;

typedef struct {
    tandem_import_format format;
    tandem_import_paths sources;                    /* BEIR, SQUAD, PAIRS, TRIPLES, LABELLED */
    tandem_import_paths documents, queries, qrels;  /* TREC, SMART, MSMARCO; qrels may be none */
    tandem_import_paths triples;                    /* MSMARCO: query, positive, negative ids */
    const char *topic_fields;                       /* TREC: "title,desc"; NULL: "title" */

    /* Tables. `columns` is "ROLE=COLUMN,..."; a role is query, positive, negative, document,
     * label, query-id, positive-id, negative-id, document-id or title; a column is a name from
     * the first row, a key of the objects, an element, "element@attribute", or, when no column
     * has a name, a number from 1 in tables without such a row. NULL: each role's own name. */
    const char *columns;
    tandem_table_layout layout;
    char separator;     /* CSV; 0: a comma */
    const char *record; /* XML: the element that is a row */
    double min_label;   /* LABELLED: the smallest label of a positive */

    /* Held out of the split "train": below 1 a fraction, from 1 on a number, of its queries or,
     * with `by_document`, of their documents; 0: none. */
    double dev, test;
    bool by_document;
    uint64_t seed;

    bool compress; /* every file of the output gets .zst */
} tandem_import_options;

typedef struct {
    size_t documents, queries;               /* written */
    size_t joined_documents, joined_queries; /* met again: the same id, or the same text */
    size_t empty;                            /* texts with nothing but white space: left out */
    size_t lost;                             /* judgments and negatives left out with them */
    size_t unlabelled;                       /* rows with a blank label: left out */
    size_t unanswerable;                     /* SQuAD 2.0's questions without an answer: left out */
    size_t repeated;                         /* judgments met again: the highest grade is kept */
    size_t twins;                            /* documents whose text another id has too */
    size_t shared_queries;                   /* query texts judged in more than one split */
    size_t groups, negatives;                /* of groups.jsonl.zst */
    size_t withheld;                         /* negatives of train whose document is held out: left out */
    size_t split_count;
    struct tandem_import_split {
        char *name;
        size_t queries, judgments;
    } *splits; /* in the order of their names */
} tandem_import_report;

/* Writes `directory`, complete or not at all: corpus.jsonl, queries.jsonl, qrels/SPLIT.tsv and,
 * where there are negatives, groups.jsonl.zst of the split "train".
 *
 * Ids and grades are kept. Texts without ids are numbered from 1 in the order of their
 * appearance: documents d1, d2 ..., queries q1, q2 ...; documents with the same text are one
 * document, and so are queries of one split. A label becomes its whole part as a grade, but at
 * least 1.
 *
 * The hold-out moves whole families of queries: those whose texts differ in white space alone
 * and, by document, those that share a positive document or one with the same text. Families
 * are taken in the order of a hash of seed and ids (of texts where ids are numbered) as long as
 * they fit: the order of the input does not matter.
 *
 * Memory: some 40 bytes a text and 20 a judgment, and never the texts, but for JSON arrays and
 * SQuAD, which are read whole. TANDEM_USAGE when the options contradict each other;
 * TANDEM_INTERRUPTED when tandem_interrupted(). */
int tandem_import(tandem_import_report *out, const char *directory, const tandem_import_options *options);
void tandem_import_report_free(tandem_import_report *report);

#ifdef __cplusplus
}
#endif
#endif
