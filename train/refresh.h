/* refresh.h - mining negatives again with the weights as they are. */
#ifndef TANDEM_TRAIN_REFRESH_H
#define TANDEM_TRAIN_REFRESH_H

#include <stdint.h>

#include "tandem/dataset.h"
#include "tandem/groups.h"
#include "tandem/negatives.h"
#include "tandem/train.h"
#include "train/encoded.h"

/* Mines for the queries of `split` and gives `base` again with those negatives: queries
 * and positives stay as they are, in their order, and so do the negatives of queries
 * that the split does not have. With mining.bm25_negatives, as many of BM25's follow the model's.
 * Random sampling draws from (seed, step).
 * TANDEM_INTERRUPTED when a signal came. */
int tandem_refresh_negatives(tandem_groups **out, tandem_mining_statistics *statistics, tandem_encoded *encoded,
                             const tandem_dataset *dataset, const tandem_split *split, const tandem_groups *base,
                             const tandem_train_config *config, uint64_t step);

#endif
