/* A step that goes through the model in parts is the step in one. */
#include <math.h>

#include "tiny_model.h"

#include "train/step.h"

enum { ROWS = 24, WHOLE = 1 << 20 };

/* Groups of random words, with one negative each; scores that every loss takes as labels. */
static tandem_groups *random_groups(void)
{
    tandem_random random = tandem_random_stream(5, "texts", 0);
    tandem_groups *groups = NULL;
    char texts[3][96];

    assert_int_equal(tandem_groups_new(&groups), 0);
    for (size_t g = 0; g < ROWS; g++) {
        for (size_t t = 0; t < 3; t++) {
            size_t length = 0, count = 2 + (size_t)tandem_random_below(&random, 8);

            for (size_t w = 0; w < count; w++) {
                length += (size_t)snprintf(texts[t] + length, sizeof texts[t] - length, "%s ",
                                           words[4 + tandem_random_below(&random, 11)]);
            }
        }
        assert_int_equal(tandem_groups_begin(groups, "q", texts[0], strlen(texts[0])), 0);
        assert_int_equal(tandem_groups_add(groups, true, "p", texts[1], strlen(texts[1]), 1.0F), 0);
        assert_int_equal(tandem_groups_add(groups, false, "n", texts[2], strlen(texts[2]), 0.0F), 0);
    }
    assert_int_equal(tandem_groups_finish(groups), 0);
    return groups;
}

typedef struct {
    tandem_model *model;
    tandem_groups *groups;
    tandem_loss_settings loss;
    size_t floats;
    float *gradients;
} bench;

/* Matryoshka's two sizes besides what the losses default to. */
static void open_bench(bench *b, const char *folder, char *dims)
{
    tandem_model *model = load(folder, (tandem_model_options){.kind = TANDEM_BI_ENCODER});

    *b = (bench){.model = model, .groups = random_groups(), .gradients = tandem_model_gradients(model)};
    b->loss = (tandem_loss_settings){.labels = TANDEM_LABELS_SCORES, .scale = 20.0, .temperature = 1.0,
                                     .contrastive = {.margin = 0.5}, .triplet = {.margin = 5.0},
                                     .matryoshka = {.dims = dims}};
    tandem_model_parameters(model, &b->floats);
}

static void close_bench(bench *b)
{
    tandem_groups_free(b->groups);
    tandem_model_free(b->model);
}

/* The gradient of one step with dropout; the caller frees it. */
static float *gradient_of(tandem_step_figures *figures, bench *b, size_t forward_tokens, uint64_t seed)
{
    tandem_examples_options options = tandem_examples_options_for(&b->loss, false, 1);
    tandem_examples *examples = NULL;
    tandem_stepper *stepper = NULL;
    uint32_t batch[ROWS];
    float *copy = tandem_alloc(b->floats, sizeof *copy);

    for (uint32_t i = 0; i < ROWS; i++) {
        batch[i] = i;
    }
    assert_int_equal(tandem_examples_new(&examples, b->groups, b->model, &options), 0);
    assert_int_equal(tandem_stepper_new(&stepper, b->model), 0);
    memset(b->gradients, 0, b->floats * sizeof *b->gradients);
    assert_int_equal(tandem_step_bi(figures, stepper, examples, batch, ROWS, &b->loss, forward_tokens, true, seed, 3),
                     0);
    memcpy(copy, b->gradients, b->floats * sizeof *copy);
    tandem_stepper_free(stepper);
    tandem_examples_free(examples);
    return copy;
}

/* Norm of the difference over the norm of the first. */
static double difference(const float *a, const float *b, size_t count)
{
    double sum = 0.0, whole = 0.0;

    for (size_t i = 0; i < count; i++) {
        sum += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
        whole += (double)a[i] * (double)a[i];
    }
    return sqrt(sum / whole);
}

/* Sums over the rows of weights' gradients are in another order, in float32 (2^-24 = 6e-8 each). */
static const double tolerance = 1e-5;

static void compare_parts(bench *b, const char *name)
{
    static const size_t budgets[] = {120, 16, 1};
    tandem_step_figures whole, parts;
    float *expected = gradient_of(&whole, b, WHOLE, 7);

    assert_int_equal(whole.parts, 1);
    assert_true(isfinite(whole.loss) && whole.loss > 0.0);
    for (size_t i = 0; i < sizeof budgets / sizeof *budgets; i++) {
        float *found = gradient_of(&parts, b, budgets[i], 7);
        double distance = difference(expected, found, b->floats);

        assert_true(parts.parts > 1 && parts.tokens == whole.tokens);
        if (fabs(parts.loss - whole.loss) > tolerance * fabs(whole.loss) || distance > tolerance) {
            fail_msg("%s in parts of %zu tokens: loss %.9g, whole %.9g; gradients differ by %.2g", name, budgets[i],
                     parts.loss, whole.loss, distance);
        }
        free(found);
    }
    float *other = gradient_of(&parts, b, WHOLE, 8);

    assert_true(difference(expected, other, b->floats) > 1e-2); /* dropout is on */
    free(other);
    free(expected);
}

static void test_parts_equal_the_whole(void **state)
{
    (void)state;
    bench b;

    open_bench(&b, write_model("plain", &small,
                               ", \"hidden_dropout_prob\": 0.1, \"attention_probs_dropout_prob\": 0.1"), NULL);
    for (size_t name = 0; tandem_bi_loss_names[name] != NULL; name++) {
        if ((tandem_bi_loss_at(name)->needs & TANDEM_NEEDS_TEACHER) == 0) {
            b.loss.name = (int64_t)name;
            compare_parts(&b, tandem_bi_loss_names[name]);
        }
    }
    close_bench(&b);
}

static void test_parts_equal_the_whole_with_matryoshka(void **state)
{
    (void)state;
    bench b;
    char dims[] = "8,4";

    open_bench(&b, at("plain"), dims);
    compare_parts(&b, "mnrl with matryoshka");
    close_bench(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parts_equal_the_whole),
        cmocka_unit_test(test_parts_equal_the_whole_with_matryoshka),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
