/* export_check.h - what an export needs an engine for: ranges of activations, and the check of a directory beside the
 * model that it was made of. */
#ifndef TANDEM_CLI_EXPORT_CHECK_H
#define TANDEM_CLI_EXPORT_CHECK_H

#include "cli/onnx_texts.h"
#include "tandem/model.h"
#include "tandem/onnx.h"

/* What nDCG@10 of a dataset's judged queries is with tandem's own numbers, and by what they are found again with
 * an engine's: a bi-encoder searches the corpus; a cross-encoder ranks BM25's first CHECK_DEPTH. */
enum { CHECK_DEPTH = 20 };

typedef struct check_quality check_quality;

int check_quality_new(check_quality **out, tandem_model *model, const char *dataset, const char *split);
void check_quality_free(check_quality *quality); /* NULL is fine */
double check_quality_own(const check_quality *quality);
int check_quality_measure(double *out, const check_quality *quality, onnx_runner *runner);

/* The ranges of activations for static int8 (tandem_onnx_options.ranges), least and greatest over texts of a dataset;
 * the graph that measures them lies beside `output` for that time. The caller frees *ranges [*count, 2]. */
int export_calibrate(float **ranges, size_t *count, const tandem_model *model, const char *dataset, const char *output);

/* Runs every graph of the directory through an engine, and prints by how much it differs from `model` at most, in
 * embeddings (else hidden states) or logits: batches of one and of many, lengths of one and of the limit. With
 * `dataset` not NULL also nDCG@10. TANDEM_ERROR where a difference is over the bound of the graph's dtype. */
int export_check(tandem_model *model, const char *directory, const tandem_onnx_options *graphs, size_t count,
                 const char *dataset, const char *split);

#endif
