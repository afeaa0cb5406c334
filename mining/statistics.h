/* statistics.h - private to mining/: what a mining counts. */
#ifndef TANDEM_MINING_STATISTICS_H
#define TANDEM_MINING_STATISTICS_H

#include <stddef.h>

#include "tandem/negatives.h"

typedef struct {
    double *items;
    size_t count, room;
} tandem_score_list;

int tandem_score_list_add(tandem_score_list *list, double score);

/* Counters, and the scores behind the quantiles. */
typedef struct {
    tandem_mining_statistics counts;
    tandem_score_list positive, negative, margin;
} tandem_mining_tally;

void tandem_mining_tally_free(tandem_mining_tally *tally);

/* A tally as a file, and one read from there added to `tally`. */
int tandem_mining_tally_write(const tandem_mining_tally *tally, const char *path);
int tandem_mining_tally_read(tandem_mining_tally *tally, const char *path);

/* The counters with quantiles (linear between the two nearest, numpy's default; NaN when there is no
 * score) and the histogram. Sorts the scores. */
void tandem_mining_tally_finish(tandem_mining_statistics *out, tandem_mining_tally *tally);

#endif
