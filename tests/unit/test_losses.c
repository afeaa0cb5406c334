/* Losses against golden values, and what no reference implementation has: masks, parts that add up,
 * settings, bad input. tests/parity/test_losses.py compares every loss with sentence-transformers. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tandem/loss.h"
#include "tandem/train.h"
#include "train/losses.h"

/* Values: float32 arithmetic over a handful of terms. Gradients: the same, and the
 * differences below are good to 1e-8. */
static const double tolerance = 2e-6;

static tandem_train_config bi_config, cross_config;
static tandem_loss_settings *const bi = &bi_config.loss, *const cross = &cross_config.loss;
static tandem_arena *scratch;

static void assert_close(double found, double expected)
{
    if (!(fabs(found - expected) <= tolerance * fmax(1.0, fabs(expected)))) {
        print_error("expected %.10f, found %.10f\n", expected, found);
        fail();
    }
}

/* The defaults of a config, and its own changes: key=value, NULL at the end. */
static void set(bool is_cross, ...)
{
    size_t rows = 0;
    const tandem_setting *table = tandem_train_settings(is_cross, &rows);
    tandem_train_config *config = is_cross ? &cross_config : &bi_config;
    va_list changes;

    tandem_settings_free(config, table, rows);
    assert_int_equal(tandem_settings_init(config, table, rows), 0);
    va_start(changes, is_cross);
    for (const char *change; (change = va_arg(changes, const char *)) != NULL;) {
        assert_int_equal(tandem_settings_set(config, table, rows, change), 0);
    }
    va_end(changes);
}

static int begin(void **state)
{
    (void)state;
    scratch = tandem_arena_new();
    set(false, NULL);
    set(true, NULL);
    tandem_grad_enable(1);
    return scratch == NULL ? -1 : tandem_scope_begin();
}

static int end(void **state)
{
    (void)state;
    tandem_scope_end();
    tandem_grad_enable(0);
    tandem_arena_free(scratch);
    set(false, NULL);
    set(true, NULL);
    return 0;
}

static tandem_tensor *matrix(const float *data, int64_t rows, int64_t columns)
{
    tandem_tensor *tensor = NULL;
    int64_t shape[2] = {rows, columns};

    assert_int_equal(tandem_tensor_from(&tensor, data, shape, 2), 0);
    return tensor;
}

static tandem_tensor *leaf_of(const tandem_tensor *values)
{
    tandem_tensor *leaf = NULL;

    assert_int_equal(tandem_op_leaf(&leaf, values), 0);
    return leaf;
}

static double value_of(const tandem_tensor *tensor)
{
    double value = NAN;

    assert_int_equal(tandem_tensor_item(tensor, &value), 0);
    return value;
}

static void read_gradient(float *out, const tandem_tensor *leaf)
{
    tandem_tensor *gradient = NULL;

    assert_int_equal(tandem_tensor_grad(&gradient, leaf), 0);
    assert_int_equal(tandem_tensor_read(gradient, out), 0);
}

/* ---- bi-encoder ------------------------------------------------------------------------- */
enum { N = 3, M = 6, DIM = 3 };

static const float queries[N * DIM] = {1, 0, 0, 0, 1, 0, 1, 1, 1};
/* Positives, then negatives. */
static const float documents[M * DIM] = {2, 1, 0, 0, 1, 1, 1, 0, 1, 1, 1, 0, 1, 0, 2, 0, 1, 1};
static const uint32_t owner[M] = {0, 1, 2, 0, 1, 2};
static const float scores[M] = {1.0F, 0.75F, 1.0F, 0.25F, 0.0F, 0.5F};
static const int64_t classes[N + M] = {0, 1, 2, 0, 1, 2, 3, 4, 0};

static tandem_bi_candidates candidates(size_t m)
{
    return (tandem_bi_candidates){.n = N, .m = m, .owner = owner, .scores = scores, .classes = classes, .last = N,
                                  .settings = bi, .scratch = scratch};
}

static double mnrl(size_t m)
{
    tandem_bi_candidates c = candidates(m);
    tandem_tensor *loss = NULL;

    assert_int_equal(tandem_loss_mnrl(&loss, matrix(queries, N, DIM), matrix(documents, (int64_t)m, DIM), &c), 0);
    return value_of(loss);
}

/* Values of the formulas in double arithmetic for sentence-transformers'
 * MultipleNegativesRankingLoss. */
static void test_mnrl_golden(void **state)
{
    (void)state;
    const char *const directions[] = {"loss.directions.query_to_query=true", "loss.directions.doc_to_query=true",
                                      "loss.directions.doc_to_doc=true"};

    assert_close(mnrl(N), 0.3059308709);
    assert_close(mnrl(M), 0.9096002428);
    set(false, directions[1], "loss.partition=per_direction", NULL);
    assert_close(mnrl(N), 0.5675736034);
    set(false, directions[0], directions[1], directions[2], NULL);
    assert_close(mnrl(N), 1.4763303352);
    assert_close(mnrl(M), 3.2193300593);
    set(false, "loss.hardness.mode=hard_negatives", "loss.hardness.strength=5", NULL);
    assert_close(mnrl(M), 1.9507913198);
    set(false, "loss.hardness.mode=in_batch_negatives", "loss.hardness.strength=9", NULL);
    assert_close(mnrl(M), 6.0167499169);
    set(false, "loss.hardness.mode=all_negatives", "loss.hardness.strength=5", NULL);
    assert_close(mnrl(M), 3.5344124815);
    set(false, "loss.scale=1", NULL);
    assert_close(mnrl(M), 1.5841362136);
}

/* The formula in doubles. */
static double mnrl_reference(const double *q, const double *d, const bool *masked, double scale)
{
    double total = 0.0;

    for (size_t i = 0; i < N; i++) {
        double sum = 0.0, own = 0.0;

        for (size_t j = 0; j < M; j++) {
            double dot = 0.0, qq = 0.0, dd = 0.0;

            for (size_t c = 0; c < DIM; c++) {
                dot += q[DIM * i + c] * d[DIM * j + c];
                qq += q[DIM * i + c] * q[DIM * i + c];
                dd += d[DIM * j + c] * d[DIM * j + c];
            }
            double score = scale * dot / sqrt(qq * dd);

            own = i == j ? score : own;
            sum += masked[i * M + j] ? 0.0 : exp(score);
        }
        total += log(sum) - own;
    }
    return total / N;
}

static const bool some_masked[N * M] = {0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 1, 0};
static const size_t known_starts[N + 1] = {0, 1, 3, 4};
static const uint32_t known[4] = {1, 3, 5, 4};

static void widen(double *out, const float *values, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        out[i] = (double)values[i];
    }
}

static void test_mnrl_leaves_out_what_is_known(void **state)
{
    (void)state;
    tandem_bi_candidates c = candidates(M);
    tandem_tensor *gradient[2] = {NULL, NULL};
    double qs[N * DIM], ds[M * DIM], value = 0.0;
    float found[M * DIM];

    set(false, "loss.scale=5", NULL);
    c.known_starts = known_starts;
    c.known = known;
    assert_int_equal(tandem_bi_loss_run(&value, &gradient[0], &gradient[1], matrix(queries, N, DIM),
                                        matrix(documents, M, DIM), &c), 0);
    widen(qs, queries, N * DIM);
    widen(ds, documents, M * DIM);
    assert_close(value, mnrl_reference(qs, ds, some_masked, 5.0));
    for (int side = 0; side < 2; side++) {
        double *values = side == 0 ? qs : ds;

        assert_int_equal(tandem_tensor_read(gradient[side], found), 0);
        for (size_t i = 0; i < (side == 0 ? N : M) * DIM; i++) {
            double kept = values[i], step = 1e-5;

            values[i] = kept + step;
            double above = mnrl_reference(qs, ds, some_masked, 5.0);
            values[i] = kept - step;
            double below = mnrl_reference(qs, ds, some_masked, 5.0);
            values[i] = kept;
            assert_close((double)found[i], (above - below) / (2.0 * step));
        }
    }
}

static void test_a_row_without_negatives_costs_nothing(void **state)
{
    (void)state;
    const size_t starts[N + 1] = {0, 2, 4, 6};
    const uint32_t others[6] = {1, 2, 0, 2, 0, 1};
    tandem_bi_candidates c = candidates(N);
    tandem_tensor *loss = NULL;

    c.known_starts = starts;
    c.known = others;
    assert_int_equal(tandem_loss_mnrl(&loss, matrix(queries, N, DIM), matrix(documents, N, DIM), &c), 0);
    assert_close(value_of(loss), 0.0);
}

/* A row of the loss is a function of that row; the guide is 2 wide. */
static void test_rows_add_up(void **state)
{
    (void)state;
    const float guide[M * 2] = {1, 0, 0, 1, 1, 1, 1, 0.1F, 0, 1, -1, 1};
    tandem_bi_candidates c = candidates(M);
    tandem_bi_loss_function *const losses[] = {tandem_loss_mnrl, tandem_loss_gist};

    set(false, "loss.directions.query_to_query=true", "loss.directions.doc_to_query=true",
        "loss.directions.doc_to_doc=true",
        "loss.hardness.mode=all_negatives", "loss.hardness.strength=3", "loss.gist.temperature=0.1", NULL);
    c.known_starts = known_starts;
    c.known = known;
    c.teacher_queries = matrix(guide, N, 2);
    c.teacher_documents = matrix(guide, M, 2);
    for (size_t k = 0; k < 2; k++) {
        tandem_tensor *whole = NULL, *q[2], *d[2];
        float gradient[2][M * DIM];
        double sum = 0.0;

        for (int parts = 0; parts < 2; parts++) {
            q[parts] = leaf_of(matrix(queries, N, DIM));
            d[parts] = leaf_of(matrix(documents, M, DIM));
        }
        c.first = 0;
        c.last = N;
        assert_int_equal(losses[k](&whole, q[0], d[0], &c), 0);
        assert_int_equal(tandem_backward(whole), 0);
        for (c.first = 0, c.last = 2; c.first < N; c.first = c.last, c.last = N) {
            tandem_tensor *part = NULL;

            assert_int_equal(losses[k](&part, q[1], d[1], &c), 0);
            assert_int_equal(tandem_backward(part), 0);
            sum += value_of(part);
        }
        assert_close(sum, value_of(whole));
        assert_true(sum > 0.1);
        for (int parts = 0; parts < 2; parts++) {
            read_gradient(gradient[parts], d[parts]);
        }
        for (size_t i = 0; i < M * DIM; i++) {
            assert_close((double)gradient[1][i], (double)gradient[0][i]);
        }
    }
}

/* More cells than one part of a run holds. Vectors of one value, all alike, so that each of the n
 * rows costs log n. */
static void test_many_rows_go_in_parts(void **state)
{
    (void)state;
    enum { MANY = 5000 };
    static float ones[MANY];
    static uint32_t own[MANY];
    tandem_tensor *gradient[2] = {NULL, NULL};
    double value = 0.0;

    for (uint32_t i = 0; i < MANY; i++) {
        ones[i] = 1.0F;
        own[i] = i;
    }
    tandem_bi_candidates c = {.n = MANY, .m = MANY, .owner = own, .settings = bi, .scratch = scratch};

    assert_int_equal(tandem_bi_loss_run(&value, &gradient[0], &gradient[1], matrix(ones, MANY, 1),
                                        matrix(ones, MANY, 1), &c), 0);
    assert_close(value, log(MANY));
    /* A mask of the whole would have a byte a cell. */
    assert_true(tandem_arena_bytes(scratch) < (size_t)MANY * MANY);
}

/* Every loss of the table, with all that any of them asks for. */
static int run_row(double *value, size_t row, const float *q)
{
    tandem_bi_candidates c = candidates(M);
    tandem_tensor *gradient[2] = {NULL, NULL};

    bi->name = (int64_t)row;
    c.teacher_queries = matrix(queries, N, DIM);
    c.teacher_documents = matrix(documents, M, DIM);
    return tandem_bi_loss_run(value, &gradient[0], &gradient[1], matrix(q, N, DIM), matrix(documents, M, DIM), &c);
}

/* The trainer skips a step without a finite loss; a number must not hide that there is none. */
static void test_nan_is_not_hidden(void **state)
{
    (void)state;
    const float broken[N * DIM] = {1, 0, 0, 0, NAN, 0, 1, 1, 1};
    double value = 0.0;

    for (size_t row = 0; tandem_bi_loss_names[row] != NULL; row++) {
        assert_string_equal(tandem_bi_loss_at(row)->name, tandem_bi_loss_names[row]);
        assert_int_equal(run_row(&value, row, queries), 0);
        assert_true(isfinite(value));
        assert_int_equal(run_row(&value, row, broken), 0);
        if (!isnan(value)) {
            fail_msg("%s: %g of vectors with NaN", tandem_bi_loss_names[row], value);
        }
    }
}

/* All labels alike leave nothing to order: the loss is 0, with a graph to go back on. */
static void test_equal_labels_cost_nothing(void **state)
{
    (void)state;
    tandem_bi_candidates c = candidates(N);
    tandem_tensor *gradient[2] = {NULL, NULL};
    double value = 1.0;

    set(false, "loss.name=cosent", "loss.labels=binary", NULL);
    assert_int_equal(tandem_bi_loss_run(&value, &gradient[0], &gradient[1], matrix(queries, N, DIM),
                                        matrix(documents, N, DIM), &c), 0);
    assert_close(value, 0.0);
}

static double run_named(const char *name, const char *change)
{
    tandem_bi_candidates c = candidates(M);
    tandem_tensor *gradient[2] = {NULL, NULL};
    double value = NAN;

    set(false, name, change, NULL);
    assert_int_equal(tandem_bi_loss_run(&value, &gradient[0], &gradient[1], matrix(queries, N, DIM),
                                        matrix(documents, M, DIM), &c), 0);
    return value;
}

/* Labels are the scores, or 1 and 0; cosines of the six pairs by hand. */
static void test_labels(void **state)
{
    (void)state;
    const double cosines[M] = {2 / sqrt(5), 1 / sqrt(2), 2 / sqrt(6), 1 / sqrt(2), 0, 2 / sqrt(6)};
    double graded = 0.0, binary = 0.0;

    for (size_t j = 0; j < M; j++) {
        graded += pow(cosines[j] - (double)scores[j], 2) / M;
        binary += pow(cosines[j] - (j < N ? 1.0 : 0.0), 2) / M;
    }
    assert_close(run_named("loss.name=cosine_similarity", NULL), graded);
    assert_close(run_named("loss.name=cosine_similarity", "loss.labels=binary"), binary);
}

static void test_bad_candidates_are_refused(void **state)
{
    (void)state;
    const uint32_t stranger[M] = {0, 1, 2, 0, 7, 2}, swapped[M] = {1, 0, 2, 0, 1, 2}, own[1] = {1};
    const size_t starts[N + 1] = {0, 0, 1, 1};
    tandem_tensor *loss = NULL, *q = matrix(queries, N, DIM), *d = matrix(documents, M, DIM);
    tandem_bi_candidates c = candidates(N - 1);

    assert_true(tandem_loss_mnrl(&loss, q, d, &c) < 0);
    c = candidates(N);
    assert_true(tandem_loss_mnrl(&loss, q, d, &c) < 0); /* another number of documents */
    c = candidates(M);
    c.owner = stranger;
    assert_true(tandem_loss_mnrl(&loss, q, d, &c) < 0);
    assert_non_null(strstr(tandem_error_message(), "document 4 belongs to row 7 of 3"));
    c.owner = swapped;
    assert_true(tandem_loss_mnrl(&loss, q, d, &c) < 0);
    c = candidates(M);
    c.known_starts = starts;
    c.known = own;
    assert_true(tandem_loss_mnrl(&loss, q, d, &c) < 0);
    assert_non_null(strstr(tandem_error_message(), "row 1 masks document 1"));
    c = candidates(M);
    c.first = c.last = 1;
    assert_true(tandem_loss_mnrl(&loss, q, d, &c) < 0);
}

static void test_missing_parts_are_named(void **state)
{
    (void)state;
    const float unscored[M] = {1, 1, 1, 0, NAN, 0};
    tandem_tensor *loss = NULL, *q = matrix(queries, N, DIM), *d = matrix(documents, M, DIM);
    tandem_bi_candidates c = candidates(M);

    c.scores = unscored;
    c.classes = NULL;
    assert_true(tandem_loss_margin_mse(&loss, q, d, &c) < 0);
    assert_non_null(strstr(tandem_error_message(), "document 4 has no teacher's score"));
    assert_true(tandem_loss_distill_kl(&loss, q, d, &c) < 0);
    assert_true(tandem_loss_batch_all_triplet(&loss, q, d, &c) < 0);
    assert_non_null(strstr(tandem_error_message(), "classes"));
    assert_true(tandem_loss_gist(&loss, q, d, &c) < 0);
    c.teacher_queries = q;
    c.teacher_documents = matrix(documents, N, DIM);
    assert_true(tandem_loss_gist(&loss, q, d, &c) < 0);
    assert_true(tandem_loss_embed_distill(&loss, q, d, &c) < 0);
    assert_non_null(strstr(tandem_error_message(), "9 texts"));
    c = candidates(N);
    d = matrix(documents, N, DIM);
    assert_true(tandem_loss_triplet(&loss, q, d, &c) < 0);
    assert_true(tandem_loss_margin_mse(&loss, q, d, &c) < 0);
}

/* ---- matryoshka ----------------------------------------------------------------------------- */
static void test_matryoshka_sizes(void **state)
{
    (void)state;
    tandem_matryoshka m;
    const char *const wrong[] = {"loss.matryoshka.dims=64,", "loss.matryoshka.dims=64,,32", "loss.matryoshka.dims=0",
                                 "loss.matryoshka.dims=385", "loss.matryoshka.dims=1.5", "loss.matryoshka.dims=",
                                 "loss.matryoshka.dims=nan", "loss.matryoshka.dims=1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1"
                                 ",1,1,1,1,1,1,1,1,1,1,1,1,1,1,1"};

    assert_int_equal(tandem_matryoshka_parse(&m, bi, 384), 0);
    assert_int_equal(m.count, 0);
    set(false, "loss.matryoshka.dims=384,256, 64", NULL);
    assert_int_equal(tandem_matryoshka_parse(&m, bi, 384), 0);
    assert_int_equal(m.count, 3);
    assert_int_equal(m.dims[2], 64);
    assert_true(m.weights[2] == 1.0);
    set(false, "loss.matryoshka.dims=384,64", "loss.matryoshka.weights=1,0.25", NULL);
    assert_int_equal(tandem_matryoshka_parse(&m, bi, 384), 0);
    assert_true(m.weights[1] == 0.25);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        set(false, wrong[i], NULL);
        assert_int_equal(tandem_matryoshka_parse(&m, bi, 384), TANDEM_USAGE);
    }
    set(false, "loss.matryoshka.dims=384,64", "loss.matryoshka.weights=1", NULL);
    assert_int_equal(tandem_matryoshka_parse(&m, bi, 384), TANDEM_USAGE);
    set(false, "loss.matryoshka.weights=1", NULL);
    assert_int_equal(tandem_matryoshka_parse(&m, bi, 384), TANDEM_USAGE);
}

/* ---- settings ---------------------------------------------------------------------------------- */
static void refused(bool is_cross, const char *part)
{
    assert_int_equal(tandem_loss_check_settings(is_cross ? cross : bi, is_cross), TANDEM_USAGE);
    assert_non_null(strstr(tandem_error_message(), part));
}

static void test_settings_that_contradict(void **state)
{
    (void)state;
    assert_int_equal(tandem_loss_check_settings(bi, false), 0);
    assert_int_equal(tandem_loss_check_settings(cross, true), 0);
    set(false, "loss.partition=per_direction", "loss.directions.doc_to_doc=true", NULL);
    refused(false, "per_direction");
    set(false, "loss.name=gist", NULL);
    refused(false, "needs loss.teacher");
    set(false, "loss.teacher=model", NULL);
    refused(false, "mnrl reads no loss.teacher");
    set(false, "loss.name=batch_hard_triplet", "loss.triplet.distance=manhattan", NULL);
    refused(false, "manhattan");
    set(false, "loss.name=triplet", "loss.triplet.distance=manhattan", NULL);
    assert_int_equal(tandem_loss_check_settings(bi, false), 0);
    set(true, "loss.name=margin_mse", "loss.offset_scale=1", NULL);
    refused(true, "margin_mse learns the groups' scores");
    set(true, "loss.name=lambda", "loss.offset_scale=1", "loss.labels=scores", NULL);
    refused(true, "lambda learns the groups' scores");
    set(true, "loss.name=lambda", "loss.offset_scale=1", NULL);
    assert_int_equal(tandem_loss_check_settings(cross, true), 0);
    set(true, "loss.name=cross_entropy", "loss.offset_scale=1", NULL);
    refused(true, "takes no offset");
    set(true, "loss.name=mnrl", "loss.offset_scale=1", NULL);
    refused(true, "in_batch_negatives");
    assert_true((tandem_loss_needs(cross, true) & TANDEM_NEEDS_NEGATIVES) == 0);
    set(true, "loss.name=mnrl", "loss.offset_scale=1", "loss.in_batch_negatives=0", NULL);
    assert_int_equal(tandem_loss_check_settings(cross, true), 0);
    assert_true((tandem_loss_needs(cross, true) & TANDEM_NEEDS_NEGATIVES) != 0);
}

/* ---- cross-encoder --------------------------------------------------------------------- */
enum { ROWS = 9 };

static const float logits[ROWS] = {1.0F, -0.5F, 2.0F, 0.3F, -40.0F, 3.0F, 0.0F, 25.0F, -1.5F};
static const float offsets[ROWS] = {0.5F, 0.25F, -1.0F, 0.0F, 2.0F, -0.5F, 1.0F, -3.0F, 0.75F};
static const float labels[ROWS] = {1, 0, 0, 0, 1, 0, 1, 0, 0};
static const size_t starts[4] = {0, 4, 6, ROWS};

static tandem_candidates groups(size_t count, const size_t *bounds, const float *of, const float *added)
{
    return (tandem_candidates){count, bounds, of, added, cross, scratch};
}

static double softplus(double x)
{
    return x > 0.0 ? x + log1p(exp(-x)) : log1p(exp(x));
}

static double bce_reference(const double *x)
{
    double total = 0.0;

    for (size_t i = 0; i < ROWS; i++) {
        total += labels[i] > 0.5F ? 4.0 * softplus(-x[i]) : softplus(x[i]);
    }
    return total / ROWS;
}

static double pairwise_reference(const double *x)
{
    double total = 0.0;

    for (size_t g = 0; g < 3; g++) {
        for (size_t i = starts[g] + 1; i < starts[g + 1]; i++) {
            total += softplus(x[i] - x[starts[g]]);
        }
    }
    return total / (ROWS - 3);
}

static double softmax_reference(const double *x)
{
    double total = 0.0;

    for (size_t g = 0; g < 3; g++) {
        double sum = 0.0;

        for (size_t i = starts[g]; i < starts[g + 1]; i++) {
            sum += exp(x[i] - x[starts[g]]);
        }
        total += log(sum);
    }
    return total / 3.0;
}

/* Value and gradient, with offsets. */
static void check_cross(tandem_cross_loss_function *loss, double (*reference)(const double *))
{
    tandem_candidates c = groups(3, starts, labels, offsets);
    tandem_tensor *leaf = leaf_of(matrix(logits, ROWS, 1)), *scalar = NULL;
    double x[ROWS];
    float found[ROWS];

    assert_int_equal(loss(&scalar, leaf, &c), 0);
    assert_int_equal(tandem_backward(scalar), 0);
    read_gradient(found, leaf);
    for (size_t i = 0; i < ROWS; i++) {
        x[i] = (double)logits[i] + (double)offsets[i];
    }
    assert_close(value_of(scalar), reference(x));
    for (size_t i = 0; i < ROWS; i++) {
        double kept = x[i], step = 1e-5;

        x[i] = kept + step;
        double above = reference(x);
        x[i] = kept - step;
        double below = reference(x);
        x[i] = kept;
        assert_close((double)found[i], (above - below) / (2.0 * step));
    }
}

static void test_offsets_are_added(void **state)
{
    (void)state;
    set(true, "loss.pos_weight=4", NULL);
    check_cross(tandem_loss_bce, bce_reference);
    check_cross(tandem_loss_pairwise, pairwise_reference);
    check_cross(tandem_loss_softmax, softmax_reference);
}

static double list_loss(tandem_cross_loss_function *loss, const char *change)
{
    const float x[4] = {1.0F, -0.5F, 2.0F, 0.3F}, grades[4] = {2, 0, 1, 0};
    const size_t one[2] = {0, 4};
    tandem_candidates c = groups(1, one, grades, NULL);
    tandem_tensor *scalar = NULL;

    set(true, change, NULL);
    assert_int_equal(loss(&scalar, matrix(x, 4, 1), &c), 0);
    return value_of(scalar);
}

/* Values of sentence-transformers' formulas in double arithmetic. Its ListMLE takes the list as
 * it is given, 1, -.5, 2, .3; ours by grades. */
static void test_list_golden(void **state)
{
    (void)state;
    assert_close(list_loss(tandem_loss_pairwise, NULL), 0.6245532951 * log(2.0));
    assert_close(list_loss(tandem_loss_lambda, "loss.lambda.weighting=none"), 0.6245532951);
    assert_close(list_loss(tandem_loss_lambda, "loss.lambda.weighting=ndcg2"), 0.1209752492);
    assert_close(list_loss(tandem_loss_lambda, "loss.lambda.weighting=rank"), 0.1094694570);
    assert_close(list_loss(tandem_loss_lambda, NULL), 1.3192219491);
    assert_close(list_loss(tandem_loss_list_net, NULL), 1.4473959655);
    assert_close(list_loss(tandem_loss_adr_mse, NULL), 0.4804655607);
}

static double in_given_order(tandem_cross_loss_function *loss, const float *x)
{
    const float equal[4] = {1, 1, 1, 1};
    const size_t one[2] = {0, 4};
    tandem_candidates c = groups(1, one, equal, NULL);
    tandem_tensor *scalar = NULL;

    assert_int_equal(loss(&scalar, matrix(x, 4, 1), &c), 0);
    return value_of(scalar);
}

/* Ranks from 1, as in Lan et al. 2014: weights 7, 3, 1, 0 (sentence-transformers before 6.2
 * counted from 0: 15, 7, 3, 1, and 1.6154088516). */
static void test_list_mle_golden(void **state)
{
    (void)state;
    const float given[4] = {1.0F, -0.5F, 2.0F, 0.3F}, by_grade[4] = {1.0F, 2.0F, -0.5F, 0.3F};

    assert_close(in_given_order(tandem_loss_list_mle, given), 4.3928783633);
    assert_close(in_given_order(tandem_loss_p_list_mle, given), 1.7094432626);
    assert_close(list_loss(tandem_loss_list_mle, NULL), in_given_order(tandem_loss_list_mle, by_grade));
    assert_close(list_loss(tandem_loss_p_list_mle, NULL), in_given_order(tandem_loss_p_list_mle, by_grade));
}

/* A loss of the table over 4-class logits where it takes classes; NaN when it fails. */
static double cross_row(size_t row, const float *x, const tandem_candidates *c)
{
    const tandem_cross_loss *loss = tandem_cross_loss_at(row);
    size_t n = c->starts[c->groups];
    bool wide = (loss->needs & TANDEM_NEEDS_CLASSES) != 0;
    tandem_tensor *scalar = NULL, *column = matrix(x, (int64_t)n, 1), *other = NULL;

    assert_int_equal(tandem_op_scale(&other, column, -0.5), 0);
    const tandem_tensor *columns[4] = {column, other, column, other};
    if (wide) {
        assert_int_equal(tandem_op_cat(&column, columns, 4, 1), 0);
    }
    assert_int_equal(loss->compute(&scalar, column, c), 0);
    return value_of(scalar);
}

/* The mean of the whole is the sum of part means times their share of the terms. */
static void test_terms_make_parts_add_up(void **state)
{
    (void)state;
    const float x[ROWS] = {1.0F, -0.5F, 2.0F, 0.3F, -4.0F, 3.0F, 0.0F, 2.5F, -1.5F};
    const float grades[ROWS] = {3, 0, 1, 0, 1, 0, 2, 2, 1};
    const size_t first[2] = {0, 4}, rest[3] = {0, 2, 5};
    const char *const changes[] = {NULL, "loss.lambda.weighting=ndcg1", "loss.lambda.k=2"};

    for (size_t change = 0; change < 3; change++) {
        set(true, changes[change], NULL);
        tandem_candidates whole = groups(3, starts, grades, NULL);
        tandem_candidates a = groups(1, first, grades, NULL), b = groups(2, rest, grades + 4, NULL);

        for (size_t k = 0; tandem_cross_loss_names[k] != NULL; k++) {
            const tandem_cross_loss *row = tandem_cross_loss_at(k);
            double terms = (double)row->terms(&whole), of_a = (double)row->terms(&a), of_b = (double)row->terms(&b);

            assert_string_equal(row->name, tandem_cross_loss_names[k]);
            assert_true(of_a + of_b == terms);
            assert_close((cross_row(k, x, &a) * of_a + cross_row(k, x + 4, &b) * of_b) / terms,
                         cross_row(k, x, &whole));
        }
    }
}

static void test_nan_logits_are_not_hidden(void **state)
{
    (void)state;
    float broken[ROWS];
    tandem_candidates c = groups(3, starts, labels, NULL);

    memcpy(broken, logits, sizeof broken);
    broken[5] = NAN;
    for (size_t k = 0; tandem_cross_loss_names[k] != NULL; k++) {
        assert_true(isfinite(cross_row(k, logits, &c)));
        assert_true(isnan(cross_row(k, broken, &c)));
    }
}

/* Pairs of equal labels are none: no loss, and a gradient of zeros. */
static void test_no_pairs_cost_nothing(void **state)
{
    (void)state;
    const float equal[ROWS] = {1, 1, 1, 1, 2, 2, 0, 0, 0};
    tandem_candidates c = groups(3, starts, equal, NULL);
    tandem_cross_loss_function *const losses[] = {tandem_loss_pairwise, tandem_loss_lambda};

    for (size_t k = 0; k < 2; k++) {
        tandem_tensor *leaf = leaf_of(matrix(logits, ROWS, 1)), *scalar = NULL;
        float gradient[ROWS];

        assert_int_equal(losses[k](&scalar, leaf, &c), 0);
        assert_true(value_of(scalar) == 0.0);
        assert_int_equal(tandem_backward(scalar), 0);
        read_gradient(gradient, leaf);
        for (size_t i = 0; i < ROWS; i++) {
            assert_true(gradient[i] == 0.0F);
        }
    }
}

static void test_bad_groups_are_refused(void **state)
{
    (void)state;
    const size_t lonely[3] = {0, 1, 3}, short_of[2] = {0, 2}, empty[3] = {0, 0, 3};
    const float no_class[3] = {0, 2, 1}, half[3] = {0, 0.5F, 1};
    tandem_candidates c = groups(2, lonely, labels, NULL);
    tandem_tensor *loss = NULL;

    assert_true(tandem_loss_softmax(&loss, matrix(logits, 3, 1), &c) < 0);
    assert_non_null(strstr(tandem_error_message(), "group 0 has no negative"));
    assert_true(tandem_loss_cross_margin_mse(&loss, matrix(logits, 3, 1), &c) < 0);
    assert_int_equal(tandem_loss_cross_mnrl(&loss, matrix(logits, 3, 1), &c), 0); /* its negatives are others' */
    c = groups(1, short_of, labels, NULL);
    assert_true(tandem_loss_bce(&loss, matrix(logits, 3, 1), &c) < 0);
    assert_true(tandem_loss_bce(&loss, matrix(logits, 2, 2), &c) < 0);
    c = groups(2, empty, labels, NULL);
    assert_true(tandem_loss_list_net(&loss, matrix(logits, 3, 1), &c) < 0);
    c = groups(2, lonely, no_class, NULL);
    assert_true(tandem_loss_cross_entropy(&loss, matrix(logits, 3, 2), &c) < 0);
    assert_non_null(strstr(tandem_error_message(), "found 2"));
    c.labels = half;
    assert_true(tandem_loss_cross_entropy(&loss, matrix(logits, 3, 2), &c) < 0);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, begin, end)

static int load_libtorch(void **state)
{
    (void)state;
    return tandem_torch_init();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_mnrl_golden),
        TEST(test_mnrl_leaves_out_what_is_known),
        TEST(test_a_row_without_negatives_costs_nothing),
        TEST(test_rows_add_up),
        TEST(test_many_rows_go_in_parts),
        TEST(test_nan_is_not_hidden),
        TEST(test_equal_labels_cost_nothing),
        TEST(test_labels),
        TEST(test_bad_candidates_are_refused),
        TEST(test_missing_parts_are_named),
        TEST(test_matryoshka_sizes),
        TEST(test_settings_that_contradict),
        TEST(test_offsets_are_added),
        TEST(test_list_golden),
        TEST(test_list_mle_golden),
        TEST(test_terms_make_parts_add_up),
        TEST(test_nan_logits_are_not_hidden),
        TEST(test_no_pairs_cost_nothing),
        TEST(test_bad_groups_are_refused),
    };

    return cmocka_run_group_tests(tests, load_libtorch, NULL);
}
