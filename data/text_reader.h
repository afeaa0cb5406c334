/* text_reader.h - private to data/: what dataset.c, dataset_check.c and groups.c share in
 * reading BEIR's JSONL. `source` is the place that messages begin with,
 * "corpus.jsonl:17". */
#ifndef TANDEM_DATA_TEXT_READER_H
#define TANDEM_DATA_TEXT_READER_H

#include <stdbool.h>
#include <stddef.h>

#include "tandem/dataset.h"
#include "tandem/memory.h"

struct cJSON;

/* True when the line holds nothing but blanks: such lines are passed over. */
bool tandem_line_is_blank(const char *line, size_t length);

/* Parses one line as a JSON object; a message names the byte in the line, from 1. */
int tandem_line_parse(struct cJSON **out, const char *line, size_t length, const char *source);

/* The member `key` as an id, in `arena`: a string that is not empty, or a whole number
 * that a double holds exactly, by its decimal digits. */
int tandem_line_id(const char **out, const struct cJSON *object, const char *key, tandem_arena *arena,
                   const char *source);

/* One line {"_id", "text", "title"?} as a text in `arena`: title + " " + text, without
 * white space at its ends. The text may be empty. */
int tandem_text_parse(tandem_text *out, tandem_arena *arena, const char *line, size_t length,
                      const char *source);

/* `text` without Unicode white space at its ends, as Python's str.strip() leaves it:
 * returns its start and sets *length. */
const char *tandem_text_strip(const char *text, size_t *length);

/* directory/name, or directory/name.zst where only that exists; the caller frees.
 * TANDEM_NOT_FOUND when neither does. */
int tandem_dataset_file(char **out, const char *directory, const char *name);

/* The names of the splits that directory/qrels holds, sorted; none when there is no such
 * folder. */
typedef struct {
    char **names;
    size_t count;
} tandem_split_names;

int tandem_split_names_list(tandem_split_names *out, const char *directory);
void tandem_split_names_free(tandem_split_names *names);

#endif
