/* bench_limits THREADS: for each line of stdin, measures once what the machine can do at most with all threads at once,
 * and prints a JSON object.
 *   fma MILLISECONDS: float32 multiply-adds in registers, of the widest instructions that the CPU has, for so long
 *   read MEGABYTES, copy MEGABYTES: so much memory read; so much copied, where reading and writing both count
 *   forward|training TOKENS BATCH PRODUCTS HIDDEN INTERMEDIATE: libtorch's products of TOKENS tokens, BATCH at a time, with
 *   the first PRODUCTS weights of an encoder's layers, four in each: of a forward pass, or of a training step, where each
 *   product has two more, the gradients of its input and of its weight. Nothing else is done: no bias, no attention.
 * bench/limits.py drives this. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/fma.h"
#include "model/torch/shim.h"
#include "tandem/log.h"
#include "tandem/machine.h"
#include "tandem/memory.h"
#include "tandem/openmp.h"
#include "tandem/random.h"

enum { FMA_ROUNDS = 1 << 16, PASSES = 4, LINEARS = 4 };

/* ---- arithmetic -------------------------------------------------------------------- */

static bench_fma_fn *widest_fma(const char **name)
{
    static bench_fma_fn *const functions[] = {bench_fma_portable, bench_fma_avx2, bench_fma_avx512};
    tandem_isa isa = tandem_machine_isa() < TANDEM_ISA_AVX512 ? tandem_machine_isa() : TANDEM_ISA_AVX512;
    *name = tandem_isa_name(isa);
    return functions[isa];
}

static void measure_fma(double seconds)
{
    const char *name;
    bench_fma_fn *fma = widest_fma(&name);
    double rate = 0;
#pragma omp parallel num_threads((int)tandem_machine_threads()) reduction(+ : rate)
    {
        volatile float result;
        double start = tandem_seconds(), elapsed, operations = 0;
        do {
            operations += fma(FMA_ROUNDS, &result);
            elapsed = tandem_seconds() - start;
        } while (elapsed < seconds);
        rate += operations / elapsed;
    }
    printf("{\"rate\": %.6g, \"isa\": \"%s\"}\n", rate, name);
}

/* ---- memory ------------------------------------------------------------------------- */

typedef uint64_t line __attribute__((vector_size(64)));

/* The sum of `count` lines, in as many chains as hide the latency of additions. */
static uint64_t sum_lines(const line *lines, size_t count)
{
    line a = {0}, b = {0}, c = {0}, d = {0};
    for (size_t i = 0; i + 4 <= count; i += 4) {
        a += lines[i];
        b += lines[i + 1];
        c += lines[i + 2];
        d += lines[i + 3];
    }
    a += b + c + d;
    return a[0] + a[1] + a[2] + a[3] + a[4] + a[5] + a[6] + a[7];
}

/* Every thread has its own run of the memory, which it also was the first to write. */
static int measure_memory(size_t bytes, bool copies)
{
    size_t threads = tandem_machine_threads(), count = bytes / sizeof(line) / threads;
    size_t size = (count > 0 ? count : 1) * threads * sizeof(line);
    line *from = aligned_alloc(sizeof(line), size), *to = copies ? aligned_alloc(sizeof(line), size) : NULL;
    if (from == NULL || (copies && to == NULL)) {
        free(from);
        free(to);
        return tandem_error("no memory for %zu bytes", size);
    }
    double wall = 0;
    uint64_t sum = 0;
#pragma omp parallel num_threads((int)threads) reduction(+ : sum)
    {
        size_t mine = (size_t)omp_get_thread_num() * count;
        memset(from + mine, 1, count * sizeof *from);
        if (copies) {
            memset(to + mine, 2, count * sizeof *to);
        }
#pragma omp barrier
#pragma omp master
        wall = tandem_seconds();
        for (int pass = 0; pass < PASSES; pass++) {
            if (copies) {
                memcpy(to + mine, from + mine, count * sizeof *to);
            } else {
                sum += sum_lines(from + mine, count);
            }
        }
    }
    wall = tandem_seconds() - wall;
    sum += copies ? to[count - 1][0] : 0;
    double moved = (copies ? 2.0 : 1.0) * PASSES * (double)(count * threads * sizeof(line));
    printf("{\"rate\": %.6g, \"sum\": %llu}\n", moved / wall, (unsigned long long)sum);
    free(from);
    free(to);
    return TANDEM_OK;
}

/* ---- products ------------------------------------------------------------------------ */

/* The weights of a layer: query, key and value; attention's output; up; down. */
typedef struct {
    int64_t width, depth;
} linear;

typedef struct {
    size_t batch, products, hidden, intermediate;
} shape;

/* What is multiplied, made anew when another shape is asked for. */
typedef struct {
    shape shape;
    linear linears[LINEARS];
    tandem_tensor *inputs[LINEARS], *gradients[LINEARS]; /* [batch, depth] and [batch, width] */
    tandem_tensor **weights;                             /* [products], each [width, depth] */
} factors;

static void free_factors(factors *f)
{
    for (size_t i = 0; i < LINEARS; i++) {
        tandem_tensor_free(f->inputs[i]);
        tandem_tensor_free(f->gradients[i]);
    }
    for (size_t i = 0; f->weights != NULL && i < f->shape.products; i++) {
        tandem_tensor_free(f->weights[i]);
    }
    free(f->weights);
    *f = (factors){0};
}

static int make_matrix(tandem_tensor **out, int64_t rows, int64_t columns)
{
    size_t count = (size_t)rows * (size_t)columns;
    float *data = tandem_alloc(count, sizeof *data);
    if (data == NULL) {
        return TANDEM_ERROR;
    }
    tandem_random random = tandem_random_stream(1, "matrix", count);
    for (size_t i = 0; i < count; i++) {
        data[i] = (float)(tandem_random_next(&random) >> 40) * 0x1p-24F - 0.5F;
    }
    int rc = tandem_tensor_from(out, data, (const int64_t[]){rows, columns}, 2);
    free(data);
    return rc;
}

static int make_factors(factors *f, shape s)
{
    int64_t hidden = (int64_t)s.hidden, inner = (int64_t)s.intermediate, rows = (int64_t)s.batch;
    free_factors(f);
    *f = (factors){s, {{3 * hidden, hidden}, {hidden, hidden}, {inner, hidden}, {hidden, inner}}, {0}, {0},
                   tandem_alloc(s.products, sizeof *f->weights)};
    if (f->weights == NULL) {
        return TANDEM_ERROR;
    }
    for (size_t i = 0; i < LINEARS; i++) {
        TANDEM_TRY(make_matrix(&f->inputs[i], rows, f->linears[i].depth));
        TANDEM_TRY(make_matrix(&f->gradients[i], rows, f->linears[i].width));
    }
    for (size_t i = 0; i < s.products; i++) {
        TANDEM_TRY(make_matrix(&f->weights[i], f->linears[i % LINEARS].width, f->linears[i % LINEARS].depth));
    }
    return TANDEM_OK;
}

/* The product of the first `rows` tokens with one weight, and with `training` its two gradients. */
static int multiply(const factors *f, size_t index, int64_t rows, bool training)
{
    tandem_tensor *x, *d_out, *d_out_t, *out;
    TANDEM_TRY(tandem_op_narrow(&x, f->inputs[index % LINEARS], 0, 0, rows));
    TANDEM_TRY(tandem_op_matmul(&out, x, f->weights[index], true));
    if (!training) {
        return TANDEM_OK;
    }
    TANDEM_TRY(tandem_op_narrow(&d_out, f->gradients[index % LINEARS], 0, 0, rows));
    TANDEM_TRY(tandem_op_matmul(&out, d_out, f->weights[index], false));
    TANDEM_TRY(tandem_op_transpose(&d_out_t, d_out, 0, 1));
    return tandem_op_matmul(&out, d_out_t, x, false);
}

static int multiply_all(const factors *f, size_t tokens, bool training)
{
    for (size_t done = 0; done < tokens; done += f->shape.batch) {
        size_t rows = tokens - done < f->shape.batch ? tokens - done : f->shape.batch;
        for (size_t i = 0; i < f->shape.products; i++) {
            TANDEM_TRY(tandem_scope_begin()); /* results are freed here, and their memory is used again */
            int rc = multiply(f, i, (int64_t)rows, training);
            tandem_scope_end();
            TANDEM_TRY(rc);
        }
    }
    return TANDEM_OK;
}

static int measure_products(factors *f, shape s, size_t tokens, bool training)
{
    TANDEM_TRY(tandem_torch_init());
    if (f->weights == NULL || memcmp(&s, &f->shape, sizeof s) != 0) {
        TANDEM_TRY(make_factors(f, s));
    }
    double wall = tandem_seconds(), weights = 0;
    TANDEM_TRY(multiply_all(f, tokens, training));
    wall = tandem_seconds() - wall;
    for (size_t i = 0; i < s.products; i++) {
        weights += (double)(f->linears[i % LINEARS].width * f->linears[i % LINEARS].depth);
    }
    double operations = 2 * weights * (double)tokens * (training ? 3 : 1);
    printf("{\"wall\": %.6f, \"rate\": %.6g}\n", wall, operations / wall);
    return TANDEM_OK;
}

/* ---- lines ---------------------------------------------------------------------------- */

static int answer(factors *f, const char *text)
{
    char what[16];
    size_t n = 0;
    shape s = {0};
    int fields = sscanf(text, "%15s %zu %zu %zu %zu %zu", what, &n, &s.batch, &s.products, &s.hidden, &s.intermediate);
    bool training = strcmp(what, "training") == 0, copies = strcmp(what, "copy") == 0;
    if (fields == 2 && strcmp(what, "fma") == 0) {
        measure_fma((double)n / 1e3);
    } else if (fields == 2 && (copies || strcmp(what, "read") == 0)) {
        TANDEM_TRY(measure_memory(n * 1000000, copies));
    } else if (fields == 6 && s.batch > 0 && (training || strcmp(what, "forward") == 0)) {
        TANDEM_TRY(measure_products(f, s, n, training));
    } else {
        return tandem_error("%s: no such measurement", text);
    }
    fflush(stdout);
    return TANDEM_OK;
}

int main(int count, char **arguments)
{
    long threads = count == 2 ? strtol(arguments[1], NULL, 10) : 0;
    if (threads < 1 || threads > 1024) {
        fputs("usage: bench_limits THREADS < MEASUREMENTS\n", stderr);
        return 2;
    }
    tandem_machine_set_threads((size_t)threads);
    factors f = {0};
    char text[128];
    int rc = TANDEM_OK;
    while (rc == TANDEM_OK && fgets(text, sizeof text, stdin) != NULL) {
        rc = answer(&f, text);
    }
    if (rc < 0) {
        fprintf(stderr, "bench_limits: %s\n", tandem_error_message());
    }
    free_factors(&f);
    return rc < 0;
}
