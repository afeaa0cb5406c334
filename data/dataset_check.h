/* dataset_check.h - private to data/: what the two halves of the check of a dataset share.
 *
 *   dataset_check_texts.c   corpus.jsonl and queries.jsonl: every line, and lengths
 *   dataset_check.c         problems, qrels, and the whole
 *
 * Files are read as streams. Of a text its id, its line, its length and a hash stay in memory.
 */
#ifndef TANDEM_DATA_DATASET_CHECK_H
#define TANDEM_DATA_DATASET_CHECK_H

#include "data/text_reader.h"
#include "tandem/dataset.h"
#include "tandem/file.h"

/* The kinds of problems; dataset_check.c has their names and levels. */
typedef enum {
    TANDEM_INVALID_LINE, TANDEM_DUPLICATE_ID, TANDEM_EMPTY_TEXT, TANDEM_INVALID_JUDGMENT, TANDEM_UNKNOWN_ID,
    TANDEM_QUERY_IN_TWO_SPLITS, TANDEM_NO_FILE, TANDEM_UNREADABLE_FILE, TANDEM_NO_TEXT,
    TANDEM_SPACE_IN_ID, TANDEM_LONG_ID, TANDEM_DUPLICATE_TEXT, TANDEM_CONTROL_CHARACTER, TANDEM_REPLACEMENT_CHARACTER,
    TANDEM_QUERY_IS_DOCUMENT, TANDEM_TEXT_IN_TWO_SPLITS, TANDEM_UNJUDGED_QUERY, TANDEM_ODD_GRADE, TANDEM_NO_RELEVANT,
    TANDEM_NO_SPLIT, TANDEM_BYTE_ORDER_MARK, TANDEM_CRLF, TANDEM_KINDS
} tandem_problem_type;

/* What stays of a text. */
typedef struct {
    const char *id;
    const tandem_hash *hash; /* of the text without regard to case and white space; NULL: it is empty */
    size_t line;
    size_t length;   /* in tokens or bytes */
    size_t split;    /* 1 + the split that judges the query first; 0: none */
    size_t judged;   /* of the first query of a text: 1 + the first query of this text that is judged */
} tandem_checked_text;

typedef struct {
    const char *name; /* "corpus.jsonl" */
    tandem_checked_text *items;
    size_t count, capacity;
    tandem_strmap *by_id;
    tandem_strmap *by_hash; /* -> index of the first with this text */
} tandem_checked_texts;

typedef struct {
    tandem_dataset_report *report;
    const char *directory;
    const tandem_tokenizer *tokenizer;
    size_t max_length;
    size_t problem_capacity;
    tandem_arena *kept;    /* what stays of the texts */
    tandem_arena *scratch; /* texts until they are measured */
    tandem_text *pending;  /* [pending_count] those that are to be tokenized together */
    size_t pending_count, pending_bytes;
    char *normal;          /* a text without regard to case and white space */
    size_t normal_capacity;
    tandem_checked_texts corpus, queries;
    const char *file; /* the place of problems: */
    size_t line;      /* 0: the whole file */
    tandem_buffer where; /* both, as messages begin: "corpus.jsonl:17" */
} tandem_checker;

int tandem_checker_place(tandem_checker *check, const char *file, size_t line);
int tandem_checker_add(tandem_checker *check, tandem_problem_type type, const char *format, ...) TANDEM_PRINTF(3, 4);
/* The present message as a problem, without the place that it begins with. */
int tandem_checker_add_message(tandem_checker *check, tandem_problem_type type);
/* To be called after each line: tells once a file what was left out of its lines. */
int tandem_checker_line_ends(tandem_checker *check, const tandem_lines *lines, bool *told);

int tandem_check_texts(tandem_checker *check, tandem_checked_texts *file);
void tandem_checked_texts_free(tandem_checked_texts *file);
/* Quantiles of the lengths, and how many are over the limit. */
int tandem_check_lengths(const tandem_checker *check, const tandem_checked_texts *file, size_t out[8],
                         size_t *truncated);

#endif
