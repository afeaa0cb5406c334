/* A step that goes through the model in parts is the step in one, in float32 and in bfloat16; and one in
 * bfloat16 is about the one in float32. */
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
static void open_bench(bench *b, const char *folder, tandem_precision precision, char *dims)
{
    tandem_model *model = load(folder, (tandem_model_options){.kind = TANDEM_BI_ENCODER, .precision = precision});

    *b = (bench){.model = model, .groups = random_groups(), .gradients = tandem_model_gradients(model)};
    b->loss = (tandem_loss_settings){.labels = TANDEM_LABELS_SCORES, .scale = 20.0, .temperature = 1.0, .teacher_scale = 1.0,
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

/* In bfloat16, too: a row of a product does not depend on the rows beside it. */
static void test_parts_equal_the_whole(void **state)
{
    (void)state;
    const char *folder = write_model("plain", &small,
                                     ", \"hidden_dropout_prob\": 0.1, \"attention_probs_dropout_prob\": 0.1");

    for (int precision = TANDEM_FP32; precision <= TANDEM_BF16; precision++) {
        bench b;

        open_bench(&b, folder, (tandem_precision)precision, NULL);
        for (size_t name = 0; tandem_bi_loss_names[name] != NULL; name++) {
            if ((tandem_bi_loss_at(name)->needs & TANDEM_NEEDS_TEACHER) == 0) {
                b.loss.name = (int64_t)name;
                compare_parts(&b, tandem_bi_loss_names[name]);
            }
        }
        close_bench(&b);
    }
}

static void test_parts_equal_the_whole_with_matryoshka(void **state)
{
    (void)state;
    bench b;
    char dims[] = "8,4";

    open_bench(&b, at("plain"), TANDEM_FP32, dims);
    compare_parts(&b, "mnrl with matryoshka");
    close_bench(&b);
}

/* Of a loss with the same texts and masks in both precisions. */
static void compare_precisions(bench *fp32, bench *bf16, size_t name)
{
    tandem_step_figures exact, rounded;
    fp32->loss.name = bf16->loss.name = (int64_t)name;
    float *expected = gradient_of(&exact, fp32, WHOLE, 7), *found = gradient_of(&rounded, bf16, WHOLE, 7);
    double distance = difference(expected, found, fp32->floats), moved = fabs(rounded.loss - exact.loss);

    /* Rounding moves a factor by up to 2^-9 = 0.002 of itself, in either direction. */
    if (moved > 0.002 * exact.loss || distance > 0.02 || distance < 1e-4) {
        fail_msg("%s: loss %.9g in bf16, %.9g in fp32; gradients differ by %.2g", tandem_bi_loss_names[name],
                 rounded.loss, exact.loss, distance);
    }
    free(expected);
    free(found);
}

/* But for the loss that takes the nearest of the negatives beyond the positive, which a little rounding
 * makes another one. */
static void test_bf16_is_about_fp32(void **state)
{
    (void)state;
    bench fp32, bf16;

    open_bench(&fp32, at("plain"), TANDEM_FP32, NULL);
    open_bench(&bf16, at("plain"), TANDEM_BF16, NULL);
    for (size_t name = 0; tandem_bi_loss_names[name] != NULL; name++) {
        if ((tandem_bi_loss_at(name)->needs & TANDEM_NEEDS_TEACHER) == 0 &&
            strcmp(tandem_bi_loss_names[name], "batch_semi_hard_triplet") != 0) {
            compare_precisions(&fp32, &bf16, name);
        }
    }
    close_bench(&fp32);
    close_bench(&bf16);
}

/* Layers run again, in one part and in several: the same bits. */
static void test_checkpointing(void **state)
{
    (void)state;
    bench b;

    open_bench(&b, at("plain"), TANDEM_BF16, NULL);
    for (size_t forward_tokens = 16; forward_tokens <= WHOLE; forward_tokens *= WHOLE / 16) {
        tandem_step_figures kept, again;

        tandem_model_set_checkpointing(b.model, false);
        float *expected = gradient_of(&kept, &b, forward_tokens, 7);
        tandem_model_set_checkpointing(b.model, true);
        float *found = gradient_of(&again, &b, forward_tokens, 7);

        assert_true(kept.loss == again.loss);
        assert_memory_equal(expected, found, b.floats * sizeof *found);
        free(expected);
        free(found);
    }
    close_bench(&b);
}

/* Copies of the weights are forgotten when they change: a step after an update sees the update. */
static void test_changed_parameters(void **state)
{
    (void)state;
    bench changed, loaded;
    tandem_step_figures before, after, expected;

    open_bench(&changed, at("plain"), TANDEM_BF16, NULL);
    open_bench(&loaded, at("plain"), TANDEM_BF16, NULL);
    free(gradient_of(&before, &changed, WHOLE, 7));
    for (int side = 0; side < 2; side++) {
        tandem_model *model = side == 0 ? changed.model : loaded.model;
        float *weights = tandem_model_parameters(model, NULL);

        for (size_t i = 0; i < changed.floats; i++) {
            weights[i] *= 1.25F;
        }
        tandem_model_parameters_changed(model);
    }
    float *found = gradient_of(&after, &changed, WHOLE, 7), *fresh = gradient_of(&expected, &loaded, WHOLE, 7);

    assert_true(after.loss == expected.loss && after.loss != before.loss);
    assert_memory_equal(found, fresh, changed.floats * sizeof *found);
    free(found);
    free(fresh);
    close_bench(&changed);
    close_bench(&loaded);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parts_equal_the_whole),
        cmocka_unit_test(test_parts_equal_the_whole_with_matryoshka),
        cmocka_unit_test(test_bf16_is_about_fp32),
        cmocka_unit_test(test_checkpointing),
        cmocka_unit_test(test_changed_parameters),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
