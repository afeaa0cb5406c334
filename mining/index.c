/* index.c - the documents of an exact search, and their copies of two bytes or one a number. */
#include "mining/index.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "model/kernels/search.h"
#include "tandem/log.h"
#include "tandem/memory.h"

int tandem_row_norms(double *norms, double *largest, const float *rows, size_t count, size_t dim, const char *what)
{
    const tandem_search_kernels *kernels = tandem_search_kernels_best();
    double longest = 0;
    size_t broken = count, zero = count, zeros = 0;
#pragma omp parallel for schedule(static) reduction(max : longest) reduction(min : broken, zero) reduction(+ : zeros)
    for (size_t row = 0; row < count; row++) {
        double norm = sqrt(kernels->dot_exact(rows + row * dim, rows + row * dim, dim));
        if (norms) {
            norms[row] = norm;
        }
        if (!isfinite(norm)) { /* squares of finite floats do not overflow a double */
            broken = row < broken ? row : broken;
        } else if (norm == 0) {
            zero = row < zero ? row : zero;
            zeros++;
        } else {
            longest = norm > longest ? norm : longest;
        }
    }
    if (broken < count) {
        return tandem_error("%s vector in row %zu holds NaN or infinity", what, broken);
    }
    if (zeros > 0) {
        tandem_log_warn("%s vectors of zeros, whose scores are all 0: %zu, the first in row %zu", what, zeros, zero);
    }
    *largest = longest;
    return TANDEM_OK;
}

/* ---- smaller copies --------------------------------------------------------------------- */
/* Rounded to nearest, ties to even; infinity where the number is too large. */
static uint16_t bfloat16_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return (uint16_t)((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

static float float_of(uint16_t x)
{
    uint32_t bits = (uint32_t)x << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* These return the square of the distance of the row from its copy. */
static double copy_bfloat16(uint16_t *to, const float *row, size_t dim)
{
    double square = 0;
    for (size_t i = 0; i < dim; i++) {
        to[i] = bfloat16_of(row[i]);
        double difference = (double)row[i] - (double)float_of(to[i]);
        square += difference * difference;
    }
    return square;
}

/* Whole numbers from -127 to 127 times the row's own scale. */
static double copy_int8(int8_t *to, float *scale, const float *row, size_t dim)
{
    float greatest = 0;
    double square = 0;
    for (size_t i = 0; i < dim; i++) {
        greatest = fmaxf(greatest, fabsf(row[i]));
    }
    *scale = greatest / 127;
    for (size_t i = 0; i < dim; i++) {
        double steps = *scale > 0 ? nearbyint((double)row[i] / (double)*scale) : 0;
        to[i] = (int8_t)fmin(fmax(steps, -127), 127); /* a scale that underflows is far too small */
        double difference = (double)row[i] - (double)*scale * to[i];
        square += difference * difference;
    }
    return square;
}

static int copy_rows(tandem_index *index)
{
    size_t cells, dim = index->dim;
    bool whole = index->storage == TANDEM_STORE_INT8;
    if (!tandem_size_mul(&cells, index->count, dim)) {
        return tandem_error("%zu vectors of %zu dimensions do not fit in memory", index->count, dim);
    }
    index->rows = tandem_alloc(cells, whole ? sizeof(int8_t) : sizeof(uint16_t));
    index->scales = whole ? tandem_alloc(index->count, sizeof *index->scales) : NULL;
    if (!index->rows || (whole && !index->scales)) {
        return TANDEM_ERROR;
    }
    double square = 0;
    size_t broken = index->count;
#pragma omp parallel for schedule(static) reduction(max : square) reduction(min : broken)
    for (size_t row = 0; row < index->count; row++) {
        const float *from = index->documents + row * dim;
        double own = whole ? copy_int8((int8_t *)index->rows + row * dim, &index->scales[row], from, dim)
                           : copy_bfloat16((uint16_t *)index->rows + row * dim, from, dim);
        if (!isfinite(own)) {
            broken = row < broken ? row : broken;
        } else {
            square = own > square ? own : square;
        }
    }
    if (broken < index->count) {
        return tandem_error("document vector in row %zu holds a number too large for bfloat16", broken);
    }
    index->error = sqrt(square) * (1 + 0x1p-24); /* more than the roundings of the sum */
    return TANDEM_OK;
}

int tandem_index_new(tandem_index **out, const float *documents, size_t count, size_t dim, tandem_storage storage)
{
    *out = NULL;
    if (dim == 0 || dim >= 1 << 23) {
        return tandem_error("vectors of %zu dimensions; expected 1 to %d", dim, (1 << 23) - 1);
    }
    if (count > UINT32_MAX) {
        return tandem_error("%zu documents are more than 32-bit indices can name", count);
    }
    tandem_index *index = tandem_alloc(1, sizeof *index);
    if (!index) {
        return TANDEM_ERROR;
    }
    *index = (tandem_index){.documents = documents, .count = count, .dim = dim, .storage = storage};
    int rc = tandem_row_norms(NULL, &index->norm, documents, count, dim, "document");
    if (rc == TANDEM_OK && storage != TANDEM_STORE_FLOAT32) {
        rc = copy_rows(index);
    }
    if (rc < 0) {
        tandem_index_free(index);
        return rc;
    }
    *out = index;
    return TANDEM_OK;
}

void tandem_index_free(tandem_index *index)
{
    if (index) {
        free(index->rows);
        free(index->scales);
        free(index);
    }
}

void tandem_index_dots(const tandem_index *index, const float *queries, size_t count, size_t first, size_t width,
                       float *scores)
{
    const tandem_search_kernels *kernels = tandem_search_kernels_best();
    size_t dim = index->dim, begin = first * dim;
    switch (index->storage) {
    case TANDEM_STORE_FLOAT32:
        kernels->rows_dot(queries, count, index->documents + begin, width, dim, scores);
        break;
    case TANDEM_STORE_BFLOAT16:
        kernels->rows_dot_bfloat16(queries, count, (const uint16_t *)index->rows + begin, width, dim, scores);
        break;
    case TANDEM_STORE_INT8:
        kernels->rows_dot_int8(queries, count, (const int8_t *)index->rows + begin, index->scales + first, width, dim,
                               scores);
        break;
    }
}
