/* reservoir.h - private to mining/: what may be among the k best of a stream of scores. */
#ifndef TANDEM_MINING_RESERVOIR_H
#define TANDEM_MINING_RESERVOIR_H

#include <stddef.h>
#include <stdint.h>

enum { TANDEM_RESERVOIR_CHUNK = 1024 /* scores taken at a time */ };

/* Scores that lie within `error` of the true ones, and the documents they belong to. */
typedef struct {
    float *scores;       /* [room], as tandem_reservoir_room() gives it */
    uint32_t *documents; /* [room] */
    size_t count;
    double error;
    float limit; /* no score is further from 0 */
    float floor; /* scores below it are not among the k best */
} tandem_reservoir;

/* From how many scores on a reservoir is cut; and what it holds at most, with what the kernels write beyond. */
size_t tandem_reservoir_mark(size_t k);
size_t tandem_reservoir_room(size_t k);

/* Empties it. */
void tandem_reservoir_begin(tandem_reservoir *reservoir, double error, double limit);
/* Takes up to TANDEM_RESERVOIR_CHUNK scores, of documents first, first + 1 ... There must be less than the mark in
 * it. */
void tandem_reservoir_add(tandem_reservoir *reservoir, const float *scores, uint32_t first, size_t count);
/* Drops what cannot be among the k best. What is left may be any number from k on, when scores lie closer
 * than the error. */
void tandem_reservoir_cut(tandem_reservoir *reservoir, size_t k);
/* The greatest float that is not above x. */
float tandem_round_down(double x);

#endif
