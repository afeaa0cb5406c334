/* The attention kernels, of every instruction set of this machine, against a plain
 * reference in double precision. */
#include "kernel_checks.h"

/* What an attention is made of besides its sizes. */
typedef struct {
    size_t window;
    bool bias, rotary, relative;
    double dropout;
} attention_setting;

typedef struct {
    size_t total, hidden;
    tandem_attention attention;
    float *qkv, *bias, *d_out, *rotary, *relative;
    double *out, *d_qkv, *d_relative; /* the reference's */
} attention_case;

static double mask_of(const attention_case *c, size_t query, size_t head, size_t column)
{
    if (c->attention.mask.threshold == 0) {
        return 1;
    }
    uint64_t key = tandem_mask_row(c->attention.mask.key, query * c->attention.heads + head);
    return tandem_mask_hash(key, (uint32_t)column) >= c->attention.mask.threshold ? (double)c->attention.mask.scale : 0;
}

/* Turns a vector by the angles of a position: (a, b) -> (a cos - b sin, b cos + a sin) for
 * its d-th element a and b half the vector further. `sign` -1: back. */
static void turn(const attention_case *c, size_t position, double sign, double *x)
{
    size_t half = c->attention.head_size / 2;
    for (size_t d = 0; c->rotary != NULL && d < half; d++) {
        const float *angles = c->rotary + position * c->attention.head_size;
        double a = x[d], b = x[d + half], cosine = (double)angles[d], sine = sign * (double)angles[d + half];
        x[d] = a * cosine - b * sine;
        x[d + half] = b * cosine + a * sine;
    }
}

/* The queries (part 0), keys (1) or values (2) of a head, [length, head size]. */
static double *part_of(const attention_case *c, size_t first, size_t length, size_t head, size_t part)
{
    size_t size = c->attention.head_size, at = part * c->hidden + head * size;
    double *x = doubles(length * size);
    for (size_t i = 0; i < length; i++) {
        for (size_t d = 0; d < size; d++) {
            x[i * size + d] = (double)c->qkv[(first + i) * 3 * c->hidden + at + d] + (c->bias == NULL ? 0 : (double)c->bias[at + d]);
        }
        if (part < 2) {
            turn(c, i, 1, x + i * size);
        }
    }
    return x;
}

static void add_gradient(attention_case *c, size_t first, size_t length, size_t head, size_t part, double *d_x)
{
    size_t size = c->attention.head_size, at = part * c->hidden + head * size;
    for (size_t i = 0; i < length; i++) {
        if (part < 2) {
            turn(c, i, -1, d_x + i * size);
        }
        for (size_t d = 0; d < size; d++) {
            c->d_qkv[(first + i) * 3 * c->hidden + at + d] += d_x[i * size + d];
        }
    }
}

static double dot(const double *a, const double *b, size_t size)
{
    double sum = 0;
    for (size_t d = 0; d < size; d++) {
        sum += a[d] * b[d];
    }
    return sum;
}

/* One head of one sequence by the textbook: P = softmax(Q K^T / sqrt(d) + bias of i - j)
 * over the keys in the window, O = (P o M) V; dV = (P o M)^T dO, dP = M o (dO V^T),
 * dS = P o (dP - rowsum(P o dP)). */
static void reference_head(attention_case *c, size_t first, size_t length, size_t head)
{
    size_t size = c->attention.head_size, span = c->attention.span, window = c->attention.window;
    double scale = 1 / sqrt((double)size), *p = doubles(length), *dp = doubles(length);
    double *x[3], *d_x[3];
    for (size_t part = 0; part < 3; part++) {
        x[part] = part_of(c, first, length, head, part);
        d_x[part] = doubles(length * size);
    }
    for (size_t i = 0; i < length; i++) {
        double most = -INFINITY, sum = 0, mean = 0, d_out[256], *out = c->out + (first + i) * c->hidden + head * size;
        size_t from = window == 0 || window > i ? 0 : i - window, end = window == 0 || i + window >= length ? length : i + window + 1;
        for (size_t d = 0; d < size; d++) {
            d_out[d] = (double)c->d_out[(first + i) * c->hidden + head * size + d];
        }
        for (size_t j = from; j < end; j++) {
            p[j] = scale * dot(x[0] + i * size, x[1] + j * size, size) + (c->relative == NULL ? 0 : (double)c->relative[head * 2 * span + span + i - j]);
            most = fmax(most, p[j]);
        }
        for (size_t j = from; j < end; j++) {
            p[j] = exp(p[j] - most);
            sum += p[j];
        }
        for (size_t j = from; j < end; j++) {
            double mask = mask_of(c, first + i, head, j);
            p[j] /= sum;
            dp[j] = mask * dot(d_out, x[2] + j * size, size);
            for (size_t d = 0; d < size; d++) {
                out[d] += mask * p[j] * x[2][j * size + d];
                d_x[2][j * size + d] += mask * p[j] * d_out[d];
            }
            mean += p[j] * dp[j];
        }
        for (size_t j = from; j < end; j++) {
            double ds = p[j] * (dp[j] - mean);
            if (c->relative != NULL) {
                c->d_relative[head * 2 * span + span + i - j] += ds;
            }
            for (size_t d = 0; d < size; d++) {
                d_x[0][i * size + d] += ds * scale * x[1][j * size + d];
                d_x[1][j * size + d] += ds * scale * x[0][i * size + d];
            }
        }
    }
    for (size_t part = 0; part < 3; part++) {
        add_gradient(c, first, length, head, part, d_x[part]);
        free(x[part]);
        free(d_x[part]);
    }
    free(p);
    free(dp);
}

static void reference_run(attention_case *c)
{
    memset(c->out, 0, c->total * c->hidden * sizeof *c->out);
    memset(c->d_qkv, 0, c->total * 3 * c->hidden * sizeof *c->d_qkv);
    memset(c->d_relative, 0, c->attention.heads * 2 * c->attention.span * sizeof *c->d_relative);
    for (size_t s = 0; s < c->attention.sequences; s++) {
        for (size_t head = 0; head < c->attention.heads; head++) {
            size_t first = (size_t)c->attention.offsets[s];
            reference_head(c, first, (size_t)c->attention.offsets[s + 1] - first, head);
        }
    }
}

static attention_case attention_case_make(tandem_random *random, const int32_t *offsets, size_t sequences, size_t heads, size_t head_size, attention_setting setting)
{
    size_t longest = 0;
    for (size_t s = 0; s < sequences; s++) {
        longest = (size_t)fmax((double)longest, offsets[s + 1] - offsets[s]);
    }
    attention_case c = {.total = (size_t)offsets[sequences], .hidden = heads * head_size};
    c.attention = (tandem_attention){.sequences = sequences, .heads = heads, .head_size = head_size, .offsets = offsets, .window = setting.window, .span = longest + 16,
                                     .mask = tandem_mask_make(5, 6, 7, setting.dropout), .threads = THREADS};
    /* Scores of a spread of a few units: neither uniform nor one-hot. */
    c.qkv = random_floats(random, c.total * 3 * c.hidden, 2);
    c.bias = setting.bias ? random_floats(random, 3 * c.hidden, 1) : NULL;
    c.d_out = random_floats(random, c.total * c.hidden, 1);
    c.out = doubles(c.total * c.hidden);
    c.d_qkv = doubles(c.total * 3 * c.hidden);
    c.d_relative = doubles(heads * 2 * c.attention.span);
    if (setting.relative) {
        c.attention.relative = c.relative = random_floats(random, heads * 2 * c.attention.span, 2);
    }
    if (setting.rotary) {
        c.attention.rotary = c.rotary = random_floats(random, longest * head_size, 3);
        for (size_t i = 0; i < longest * head_size; i++) {
            c.rotary[i] = i % head_size < head_size / 2 ? cosf(c.rotary[i]) : sinf(c.rotary[i - head_size / 2]);
        }
    }
    return c;
}

static void attention_case_free(attention_case *c)
{
    free(c->qkv), free(c->bias), free(c->d_out), free(c->rotary), free(c->relative);
    free(c->out), free(c->d_qkv), free(c->d_relative);
}

typedef struct {
    float *out, *d_qkv, *d_relative;
} attention_result;

static void attention_result_free(attention_result *result)
{
    free(result->out), free(result->d_qkv), free(result->d_relative);
}

/* Runs the kernels of `isa` on `threads` threads. Scratch memory holds NaN before. */
static attention_result attention_run(const tandem_kernels *kernels, const attention_case *c, int threads)
{
    tandem_attention attention = c->attention;
    attention.threads = threads;
    size_t workspace = tandem_attention_workspace(&attention);
    attention.workspace = floats(workspace);
    memset(attention.workspace, 0xff, workspace * sizeof *attention.workspace);
    float *lse = floats(c->total * attention.heads);
    attention_result result = {floats(c->total * c->hidden), floats(c->total * 3 * c->hidden), floats(attention.heads * 2 * attention.span)};
    kernels->attention_forward(&attention, c->qkv, c->bias, result.out, lse);
    kernels->attention_backward(&attention, c->qkv, c->bias, result.out, lse, c->d_out, result.d_qkv, c->relative == NULL ? NULL : result.d_relative);
    free(lse);
    free(attention.workspace);
    return result;
}

static const int32_t all_lengths[] = {0, 1, 3, 10, 26, 43, 74, 138, 203, 403, 915}; /* 1 2 7 16 17 31 64 65 200 512 */

/* All instruction sets against the reference. */
static void check_attention(tandem_random *random, size_t head_size, attention_setting setting)
{
    attention_case c = attention_case_make(random, all_lengths, 10, 2, head_size, setting);
    reference_run(&c);
    for (int isa = TANDEM_ISA_PORTABLE; isa <= (int)tandem_machine_isa(); isa++) {
        char what[96];
        attention_result result = attention_run(tandem_kernels_of((tandem_isa)isa), &c, THREADS);
        snprintf(what, sizeof what, "head size %zu, dropout %g, window %zu, rotary %d, relative %d", head_size, setting.dropout, setting.window, setting.rotary, setting.relative);
        /* Scores reach 40, so float rounding shifts an exponential by up to
         * 40 * 2^-24 = 2e-6 of itself; ten such errors bound what was ever seen. */
        check_close(what, (tandem_isa)isa, result.out, c.out, c.total * c.hidden, 2e-5);
        check_close(what, (tandem_isa)isa, result.d_qkv, c.d_qkv, c.total * 3 * c.hidden, 2e-5);
        if (setting.relative) {
            check_close(what, (tandem_isa)isa, result.d_relative, c.d_relative, 2 * 2 * c.attention.span, 2e-5);
        }
        attention_result_free(&result);
    }
    attention_case_free(&c);
}

/* One query a sequence gives what it gives among all, where no others have gradients. */
static void check_queries(tandem_random *random, tandem_queries queries, attention_setting setting)
{
    attention_case all = attention_case_make(random, all_lengths, 10, 2, 24, setting), one;
    size_t hidden = all.hidden, count = all.attention.sequences;
    float *asked = floats(count * hidden), *expected = floats(count * hidden);
    for (size_t s = 0, row = 0; s < count; s++) {
        size_t end = (size_t)all_lengths[s + 1], picked = queries == TANDEM_QUERIES_FIRST ? (size_t)all_lengths[s] : end - 1;
        memcpy(asked + s * hidden, all.d_out + picked * hidden, hidden * sizeof *asked);
        for (; row < end; row++) {
            if (row != picked) {
                memset(all.d_out + row * hidden, 0, hidden * sizeof *asked);
            }
        }
    }
    one = all;
    one.attention.queries = queries;
    one.d_out = asked;
    for (int isa = TANDEM_ISA_PORTABLE; isa <= (int)tandem_machine_isa(); isa++) {
        for (int bf16 = 0; bf16 < 2; bf16++) {
            const tandem_kernels *kernels = tandem_kernels_of((tandem_isa)isa);
            all.attention.bf16 = one.attention.bf16 = bf16;
            attention_result full = attention_run(kernels, &all, THREADS), result = attention_run(kernels, &one, THREADS);
            for (size_t s = 0; s < count; s++) {
                size_t picked = queries == TANDEM_QUERIES_FIRST ? (size_t)all_lengths[s] : (size_t)all_lengths[s + 1] - 1;
                memcpy(expected + s * hidden, full.out + picked * hidden, hidden * sizeof *expected);
            }
            assert_memory_equal(expected, result.out, count * hidden * sizeof *expected); /* sums in the same order */
            for (size_t i = 0; i < all.total * 3 * hidden; i++) {
                assert_true(full.d_qkv[i] == result.d_qkv[i]); /* 0 of either sign */
            }
            attention_result_free(&full), attention_result_free(&result);
        }
    }
    free(asked), free(expected);
    attention_case_free(&all);
}

static void test_queries(void **state)
{
    (void)state;
    tandem_random random = tandem_random_stream(15, "queries", 0);
    for (tandem_queries queries = TANDEM_QUERIES_FIRST; queries <= TANDEM_QUERIES_LAST; queries++) {
        check_queries(&random, queries, (attention_setting){.bias = true});
        check_queries(&random, queries, (attention_setting){.window = 20, .rotary = true, .relative = true});
    }
}

/* Rounded to bfloat16, on one thread and two, which give the same. */
static void check_attention_bf16(tandem_random *random, size_t head_size, attention_setting setting)
{
    attention_case c = attention_case_make(random, all_lengths, 10, 2, head_size, setting);
    for (size_t i = 0; i < c.total * 3 * c.hidden; i++) {
        c.qkv[i] /= 4; /* scores of 40 become 2.5 */
    }
    reference_run(&c);
    c.attention.bf16 = true;
    for (int isa = TANDEM_ISA_PORTABLE; isa <= (int)tandem_machine_isa(); isa++) {
        float *out[2];
        for (int i = 0; i < 2; i++) {
            tandem_attention attention = c.attention;
            attention.threads = i + 1;
            size_t workspace = tandem_attention_workspace(&attention);
            attention.workspace = floats(workspace);
            memset(attention.workspace, 0xff, workspace * sizeof *attention.workspace);
            out[i] = floats(c.total * c.hidden);
            tandem_kernels_of((tandem_isa)isa)->attention_forward(&attention, c.qkv, c.bias, out[i], NULL);
            free(attention.workspace);
        }
        assert_memory_equal(out[0], out[1], c.total * c.hidden * sizeof **out);
        /* Queries, keys, values and probabilities are off by 2^-9 of themselves: scores by 2.5 * 2^-8, results by that and 2^-8. */
        check_close("bf16", (tandem_isa)isa, out[0], c.out, c.total * c.hidden, 3.5 * 0x1p-8);
        free(out[0]);
        free(out[1]);
    }
    attention_case_free(&c);
}

static void test_attention_bf16(void **state)
{
    (void)state;
    const struct {
        size_t head_size;
        attention_setting setting;
    } cases[] = {
        {32, {.bias = true}},
        {64, {.window = 64, .rotary = true}},
        {5, {.window = 3, .relative = true}},
        {80, {.window = 20, .rotary = true, .relative = true, .bias = true}},
    };
    tandem_random random = tandem_random_stream(12, "bf16", 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        check_attention_bf16(&random, cases[i].head_size, cases[i].setting);
    }
}

static void test_attention(void **state)
{
    (void)state;
    const size_t sizes[] = {8, 16, 24, 32, 64, 80, 128, 5, 20};
    tandem_random random = tandem_random_stream(1, "attention", 0);
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        check_attention(&random, sizes[s], (attention_setting){0});
        check_attention(&random, sizes[s], (attention_setting){.bias = true, .dropout = 0.15});
    }
}

static void test_attention_positions(void **state)
{
    (void)state;
    const struct {
        size_t head_size;
        attention_setting setting;
    } cases[] = {
        {16, {.window = 3}},
        {64, {.window = 64, .rotary = true}},
        {32, {.window = 70, .rotary = true, .bias = true, .dropout = 0.1}},
        {24, {.rotary = true}},
        {6, {.window = 200, .rotary = true}},
        {64, {.relative = true, .bias = true}},
        {7, {.relative = true, .dropout = 0.15}},
        {14, {.window = 20, .rotary = true, .relative = true, .bias = true, .dropout = 0.2}},
        {80, {.window = 1, .rotary = true, .relative = true}},
    };
    tandem_random random = tandem_random_stream(11, "positions", 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        check_attention(&random, cases[i].head_size, cases[i].setting);
    }
}

/* d (sum of the reference's out * d_out) / d *x by central differences; h is a power of
 * two, which the float inputs take without rounding beyond 2^-13 h. */
static double reference_slope(attention_case *c, float *x)
{
    const float h = 0x1p-10f;
    double loss[2];
    float keep = *x;
    for (int side = 0; side < 2; side++) {
        *x = side == 0 ? keep + h : keep - h;
        reference_run(c);
        loss[side] = 0;
        for (size_t k = 0; k < c->total * c->hidden; k++) {
            loss[side] += c->out[k] * (double)c->d_out[k];
        }
    }
    *x = keep;
    return (loss[0] - loss[1]) / (2 * (double)h);
}

/* The reference's gradient is not taken on trust. */
static void test_reference_gradient(void **state)
{
    (void)state;
    const int32_t offsets[] = {0, 3, 8};
    tandem_random random = tandem_random_stream(2, "finite", 0);
    attention_case c = attention_case_make(&random, offsets, 2, 2, 4, (attention_setting){.window = 3, .bias = true, .rotary = true, .relative = true, .dropout = 0.25});
    reference_run(&c);
    size_t inputs = c.total * 3 * c.hidden, offsets_count = c.attention.heads * 2 * c.attention.span;
    double *gradient = doubles(inputs), *d_relative = doubles(offsets_count);
    memcpy(gradient, c.d_qkv, inputs * sizeof *gradient);
    memcpy(d_relative, c.d_relative, offsets_count * sizeof *d_relative);
    /* Central differences err by h^2 = 1e-6 times the third derivative. */
    for (size_t i = 0; i < inputs; i += 7) {
        assert_true(fabs(reference_slope(&c, c.qkv + i) - gradient[i]) < 1e-4);
    }
    for (size_t i = 0; i < offsets_count; i++) {
        assert_true(fabs(reference_slope(&c, c.relative + i) - d_relative[i]) < 1e-4);
    }
    free(gradient), free(d_relative);
    attention_case_free(&c);
}

/* Every item is one thread's: the number of threads changes no bit. */
static void test_attention_threads(void **state)
{
    (void)state;
    tandem_random random = tandem_random_stream(3, "threads", 0);
    attention_case c = attention_case_make(&random, all_lengths, 10, 3, 16, (attention_setting){.window = 90, .bias = true, .rotary = true, .relative = true, .dropout = 0.1});
    attention_result one = attention_run(tandem_kernels_best(), &c, 1), three = attention_run(tandem_kernels_best(), &c, 3);
    assert_memory_equal(one.out, three.out, c.total * c.hidden * sizeof(float));
    assert_memory_equal(one.d_qkv, three.d_qkv, c.total * 3 * c.hidden * sizeof(float));
    assert_memory_equal(one.d_relative, three.d_relative, c.attention.heads * 2 * c.attention.span * sizeof(float));
    attention_result_free(&one);
    attention_result_free(&three);
    attention_case_free(&c);
}

/* A sequence's result is the same alone and among others: bit for bit without dropout.
 * `alone`: the one of 200 tokens. */
static void test_attention_batch(void **state)
{
    (void)state;
    enum { FIRST = 203, LENGTH = 200 };
    tandem_random random = tandem_random_stream(4, "batch", 0);
    attention_case c = attention_case_make(&random, all_lengths, 10, 2, 32, (attention_setting){.window = 30, .rotary = true});
    const int32_t offsets[] = {0, LENGTH};
    attention_case one = c;
    one.total = LENGTH;
    one.qkv = c.qkv + FIRST * 3 * c.hidden;
    one.d_out = c.d_out + FIRST * c.hidden;
    one.attention.sequences = 1;
    one.attention.offsets = offsets;
    attention_result all = attention_run(tandem_kernels_best(), &c, THREADS), alone = attention_run(tandem_kernels_best(), &one, THREADS);
    assert_memory_equal(alone.out, all.out + FIRST * c.hidden, LENGTH * c.hidden * sizeof(float));
    assert_memory_equal(alone.d_qkv, all.d_qkv + FIRST * 3 * c.hidden, LENGTH * 3 * c.hidden * sizeof(float));
    attention_result_free(&all);
    attention_result_free(&alone);
    attention_case_free(&c);
}

/* Keys outside the window are not even read, but for those that share a block with one
 * inside: what long texts cost is linear in their length. */
static void test_attention_window_skips(void **state)
{
    (void)state;
    enum { LENGTH = 400, AT = 200, WINDOW = 5 };
    const int32_t offsets[] = {0, LENGTH};
    tandem_random random = tandem_random_stream(12, "window", 0);
    attention_case c = attention_case_make(&random, offsets, 1, 1, 16, (attention_setting){.window = WINDOW});
    for (size_t i = 0; i < 3 * c.hidden; i++) {
        c.qkv[AT * 3 * c.hidden + i] = NAN;
    }
    for (int isa = TANDEM_ISA_PORTABLE; isa <= (int)tandem_machine_isa(); isa++) {
        attention_result result = attention_run(tandem_kernels_of((tandem_isa)isa), &c, 1);
        for (size_t i = 0; i < LENGTH; i++) {
            /* A block's gradients reach as far beyond it as its queries see. */
            bool far = i + 2 * WINDOW + TANDEM_QUERY_BLOCK < AT || i > AT + 2 * WINDOW + TANDEM_QUERY_BLOCK;
            bool spoilt = isnan(result.out[i * c.hidden]), d_spoilt = isnan(result.d_qkv[i * 3 * c.hidden]);
            assert_true(far ? !spoilt && !d_spoilt : i != AT || (spoilt && d_spoilt));
        }
        attention_result_free(&result);
    }
    c.attention.window = 64;
    const int32_t longer[] = {0, 8192};
    c.attention.offsets = longer;
    size_t windowed = tandem_attention_scratch(&c.attention);
    c.attention.window = 0;
    /* Two blocks of scores, and of 176 keys each instead of 8,192. */
    assert_int_equal(tandem_attention_scratch(&c.attention) - windowed, 2 * TANDEM_QUERY_BLOCK * (8192 - (2 * 64 + TANDEM_QUERY_BLOCK)));
    c.attention.offsets = offsets;
    attention_case_free(&c);
}

/* Scores beyond the range of exp must not overflow: the softmax is shifted. */
static void test_attention_large_scores(void **state)
{
    (void)state;
    const int32_t offsets[] = {0, 20};
    tandem_random random = tandem_random_stream(5, "large", 0);
    for (size_t window = 0; window <= 4; window += 4) {
        attention_case c = attention_case_make(&random, offsets, 1, 1, 8, (attention_setting){.window = window});
        fill(&random, c.qkv, c.total * 3 * c.hidden, 100);
        reference_run(&c);
        for (int isa = TANDEM_ISA_PORTABLE; isa <= (int)tandem_machine_isa(); isa++) {
            attention_result result = attention_run(tandem_kernels_of((tandem_isa)isa), &c, 1);
            /* Scores reach 3e4, whose float spacing is 2e-3: that much of a probability. */
            check_close("large scores", (tandem_isa)isa, result.out, c.out, c.total * c.hidden, 4e-3);
            for (size_t i = 0; i < c.total * 3 * c.hidden; i++) {
                assert_true(isfinite(result.d_qkv[i]));
            }
            attention_result_free(&result);
        }
        attention_case_free(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_attention),
        cmocka_unit_test(test_queries),
        cmocka_unit_test(test_attention_bf16),
        cmocka_unit_test(test_attention_positions),
        cmocka_unit_test(test_reference_gradient),
        cmocka_unit_test(test_attention_threads),
        cmocka_unit_test(test_attention_batch),
        cmocka_unit_test(test_attention_window_skips),
        cmocka_unit_test(test_attention_large_scores),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
