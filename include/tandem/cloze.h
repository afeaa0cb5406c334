/* cloze.h - training groups made from a corpus alone: sentences and the passages they were taken from. */
#ifndef TANDEM_CLOZE_H
#define TANDEM_CLOZE_H

#include <stddef.h>
#include <stdint.h>

#include "tandem/dataset.h"
#include "tandem/error.h"
#include "tandem/groups.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    size_t groups;    /* to make */
    size_t negatives; /* of each: three sevenths from documents that BM25 ranks high, the others from any */
    size_t words;     /* of a passage, roughly: whole sentences are added until it has as many */
    double keep;      /* how often the passage keeps the sentence, 0 to 1 */
    uint64_t seed;
} tandem_cloze_options;

#define TANDEM_CLOZE_OPTIONS_INIT {3000, 7, 60, 0.2, 13}

/* The inverse cloze task (Lee, Chang and Toutanova 2019): the query is a sentence of 6 to 30 words of a random
 * document, the positive the sentences around it, mostly without itself, the negatives passages of other
 * documents. A reranker learns from it how texts match before it sees a judgment. Documents of fewer than four
 * sentences give no query; when none gives one, that is an error. Judgments are not read. Group i is a
 * function of corpus, options and i. The result has no scores. */
int tandem_cloze_groups(tandem_groups **out, const tandem_dataset *dataset, const tandem_cloze_options *options);

#ifdef __cplusplus
}
#endif
#endif
