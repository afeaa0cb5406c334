/* statistics.h - private to mining/: the scores behind the quantiles of a mining. */
#ifndef TANDEM_MINING_STATISTICS_H
#define TANDEM_MINING_STATISTICS_H

#include <stddef.h>

#include "tandem/negatives.h"

typedef struct {
    double *items;
    size_t count, room;
} tandem_score_list;

int tandem_score_list_add(tandem_score_list *list, double score);

typedef struct {
    tandem_score_list positive, negative, margin;
} tandem_mining_scores;

void tandem_mining_scores_free(tandem_mining_scores *scores);

/* Sorts the scores and sets the quantiles: linear between the two nearest (numpy's
 * default), NaN when there is no score. */
void tandem_mining_quantiles(tandem_mining_statistics *statistics, tandem_mining_scores *scores);

#endif
