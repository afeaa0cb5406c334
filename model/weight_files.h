/* weight_files.h - the tensors of a model's directory under one roof: those of
 * model.safetensors, or of the shards that model.safetensors.index.json lists, and those of
 * sentence-transformers' modules, which have files of their own. */
#ifndef TANDEM_MODEL_WEIGHT_FILES_H
#define TANDEM_MODEL_WEIGHT_FILES_H

#include <stdbool.h>
#include <stddef.h>

#include "tandem/error.h"
#include "tandem/memory.h"
#include "tandem/safetensors.h"

/* What is wrong with a checkpoint: the first eight in words, the others counted. */
typedef struct {
    tandem_buffer text;
    size_t count;
} tandem_problems;

int tandem_problems_add(tandem_problems *problems, const char *format, ...) TANDEM_PRINTF(2, 3);
/* 0 when there is none; else an error "`what`: ..., ... and N more". Frees the list. */
int tandem_problems_close(tandem_problems *problems, const char *what);

typedef struct {
    const char *name; /* as the file has it, after the prefix that its folder was added under */
    const char *path; /* of its file */
    const tandem_safetensor *tensor;
    bool used; /* the caller's mark */
} tandem_weight_entry;

typedef struct tandem_weight_files tandem_weight_files;

tandem_weight_files *tandem_weight_files_new(void);             /* NULL with the message set */
void tandem_weight_files_free(tandem_weight_files *checkpoint); /* NULL is fine */
/* Adds the tensors of a folder, `prefix` before each name. Of a sharded one, every shard is
 * checked against the index: a tensor that is not where the index says, or is there
 * without its saying so, is an error that lists such tensors. A folder with neither file
 * is an error that says what is there instead. */
int tandem_weight_files_add(tandem_weight_files *checkpoint, const char *folder, const char *prefix);

size_t tandem_weight_files_count(const tandem_weight_files *checkpoint);
tandem_weight_entry *tandem_weight_files_at(tandem_weight_files *checkpoint, size_t index);
tandem_weight_entry *tandem_weight_files_find(tandem_weight_files *checkpoint, const char *name); /* or NULL */
/* Of the first folder's file or index, for messages. */
const char *tandem_weight_files_path(const tandem_weight_files *checkpoint);

#endif
