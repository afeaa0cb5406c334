/* reservoir.c - keeps what may be among the k best. */
#include "mining/reservoir.h"

#include <math.h>

#include "model/kernels/search.h"

/* Cutting costs a few passes over the reservoir, each score that is kept until then its place: for small k
 * a multiple of the chunk's cost is the smaller one. */
enum { LEAST_SPARE = 512 };

size_t tandem_reservoir_mark(size_t k)
{
    return k + (k > LEAST_SPARE ? k : LEAST_SPARE);
}

size_t tandem_reservoir_room(size_t k)
{
    return tandem_reservoir_mark(k) + TANDEM_RESERVOIR_CHUNK + TANDEM_SIFT_SLACK;
}

float tandem_round_down(double x)
{
    float rounded = (float)x;
    return (double)rounded > x ? nextafterf(rounded, -INFINITY) : rounded;
}

void tandem_reservoir_begin(tandem_reservoir *reservoir, double error, double limit)
{
    reservoir->count = 0;
    reservoir->error = error;
    reservoir->limit = -tandem_round_down(-limit);
    reservoir->floor = -reservoir->limit;
}

void tandem_reservoir_add(tandem_reservoir *reservoir, const float *scores, uint32_t first, size_t count)
{
    reservoir->count += tandem_search_kernels_best()->scores_keep(scores, NULL, first, count, reservoir->floor,
                                                           reservoir->scores + reservoir->count,
                                                           reservoir->documents + reservoir->count);
}

/* A score that at least k of the reservoir reach and hardly more do, by bisection between the floor, which
 * all reach, and the limit. Each step is one pass of comparisons, without branches. */
static float reached_by(const tandem_reservoir *reservoir, size_t k)
{
    const tandem_search_kernels *kernels = tandem_search_kernels_best();
    float low = reservoir->floor, high = reservoir->limit;
    for (;;) {
        float middle = 0.5f * low + 0.5f * high;
        if (!(middle > low && middle < high)) {
            return low;
        }
        size_t reached = kernels->scores_count(reservoir->scores, reservoir->count, middle);
        if (reached < k) {
            high = middle;
        } else {
            low = middle;
            if (reached <= k + k / 16) {
                return low;
            }
        }
    }
}

/* With a the k-th best score and e the error, the k-th best true score is at least a - e, and a document
 * whose score is below a - 2 e does not reach it. */
void tandem_reservoir_cut(tandem_reservoir *reservoir, size_t k)
{
    if (reservoir->count <= k) {
        return;
    }
    float floor = tandem_round_down((double)reached_by(reservoir, k) - 2 * reservoir->error);
    if (floor > reservoir->floor) {
        reservoir->floor = floor;
        reservoir->count = tandem_search_kernels_best()->scores_keep(reservoir->scores, reservoir->documents, 0,
                                                              reservoir->count, floor, reservoir->scores,
                                                              reservoir->documents);
    }
}
