/* Checkpoints: what is written is restored, damage is noticed, other runs are refused. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tandem/file.h"
#include "tandem/log.h"
#include "train/checkpoint.h"

enum { FLOATS = 48 };

static const tandem_parameter first = {.name = "a.weight", .dims = 2, .shape = {3, 4}, .offset = 0, .count = 12, .decay = true};
static const tandem_parameter second = {.name = "b.bias", .dims = 1, .shape = {20}, .offset = 16, .count = 20};
static const tandem_parameter *const parameters[] = {&first, &second};

typedef struct {
    float weights[FLOATS], m[FLOATS], v[FLOATS], best[FLOATS];
    tandem_source_state sources[2];
    tandem_checkpoint checkpoint;
    char folder[64];
} run;

static void fill(float *arena, float base)
{
    memset(arena, 0, FLOATS * sizeof *arena);
    for (size_t p = 0; p < 2; p++) {
        for (size_t i = 0; i < parameters[p]->count; i++) {
            arena[parameters[p]->offset + i] = base + (float)i * 0.1F;
        }
    }
}

static int set_up(void **state)
{
    run *r = calloc(1, sizeof *r);

    tandem_log_set_level(TANDEM_LOG_QUIET);
    snprintf(r->folder, sizeof r->folder, "/tmp/tandem_checkpoint_XXXXXX");
    assert_non_null(mkdtemp(r->folder));
    fill(r->weights, 1.0F);
    fill(r->m, 2.0F);
    fill(r->v, 3.0F);
    fill(r->best, 4.0F);
    r->sources[1] = (tandem_source_state){
        .steps = 3, .loss = 2.0 / 3.0, .scale = {.learned = true, .log_value = 2.9957323F, .m = -1e-3F, .v = 3e-7F, .updates = 7}};
    r->checkpoint = (tandem_checkpoint){
        .sources = r->sources, .source_count = 2,
        .parameters = parameters, .parameter_count = 2, .weights = r->weights, .m = r->m, .v = r->v, .best = r->best,
        .settings = "{\"batch_size\": 32, \"loss\": {\"scale\": 20}, \"threads\": 0, \"checkpoint\": {\"every_steps\": 5}}",
        .data = {7, 9},
        .state = {.step = 10, .updates = 9, .skipped = 1, .best_metric = 0.1 + 0.2, .best_step = 8, .tokens = 123456789012, .loss = 1.0 / 3.0},
    };
    *state = r;
    return 0;
}

static int tear_down(void **state)
{
    run *r = *state;

    tandem_dir_remove(r->folder);
    free(r);
    return 0;
}

static char *found(const run *r)
{
    char *path = NULL;

    assert_int_equal(tandem_checkpoint_find(&path, r->folder), 0);
    return path;
}

static void write_at(run *r, uint64_t step)
{
    r->checkpoint.state.step = step;
    assert_int_equal(tandem_checkpoint_write(r->folder, &r->checkpoint), 0);
}

static bool has(const run *r, const char *name)
{
    char *path = tandem_path_join(r->folder, name);
    bool there = tandem_dir_exists(path) || tandem_file_exists(path);

    free(path);
    return there;
}

static void test_round_trip(void **state)
{
    run *r = *state;
    run kept;

    write_at(r, 10);
    kept = *r;
    fill(r->weights, 0.0F);
    fill(r->m, 0.0F);
    fill(r->v, 0.0F);
    fill(r->best, 0.0F);
    memset(&r->checkpoint.state, 0, sizeof r->checkpoint.state);
    memset(r->sources, 0, sizeof r->sources);
    r->sources[1].scale.learned = true; /* as the settings say */
    char *path = found(r);
    assert_int_equal(tandem_checkpoint_restore(&r->checkpoint, path), 0);
    free(path);
    for (size_t i = 0; i < 2; i++) {
        const tandem_source_state *now = &r->sources[i], *before = &kept.sources[i];

        assert_true(now->mined == NULL && now->steps == before->steps && now->loss == before->loss);
        assert_true(now->scale.log_value == before->scale.log_value && now->scale.m == before->scale.m &&
                    now->scale.v == before->scale.v && now->scale.updates == before->scale.updates);
    }
    assert_memory_equal(r->weights, kept.weights, sizeof kept.weights);
    assert_memory_equal(r->m, kept.m, sizeof kept.m);
    assert_memory_equal(r->v, kept.v, sizeof kept.v);
    assert_memory_equal(r->best, kept.best, sizeof kept.best);
    assert_memory_equal(&r->checkpoint.state, &kept.checkpoint.state, sizeof kept.checkpoint.state);
}

static void test_learned_scale_that_is_missing(void **state)
{
    run *r = *state;

    write_at(r, 10);
    r->sources[0].scale.learned = true;
    char *path = found(r);
    assert_true(tandem_checkpoint_restore(&r->checkpoint, path) < 0);
    assert_non_null(strstr(tandem_error_message(), "a source lacks the scale that it has learned"));
    free(path);
}

static void test_mined_groups_and_missing_metric(void **state)
{
    run *r = *state;
    tandem_groups *groups = NULL;

    assert_int_equal(tandem_groups_new(&groups), 0);
    assert_int_equal(tandem_groups_begin(groups, "q1", "query", 5), 0);
    assert_int_equal(tandem_groups_add(groups, true, "d1", "yes", 3, 0.5F), 0);
    assert_int_equal(tandem_groups_add(groups, false, "d2", "no", 2, 0.25F), 0);
    assert_int_equal(tandem_groups_finish(groups), 0);
    r->sources[1].mined = groups;
    r->checkpoint.state.mined_at = 2;
    r->checkpoint.state.best_metric = NAN;
    write_at(r, 10);
    r->sources[1].mined = NULL;
    char *path = found(r);
    assert_int_equal(tandem_checkpoint_restore(&r->checkpoint, path), 0);
    const tandem_groups *mined = r->sources[1].mined;
    assert_null(r->sources[0].mined);
    assert_true(isnan(r->checkpoint.state.best_metric));
    assert_int_equal(mined->count, 1);
    assert_int_equal(mined->items[0].negative_count, 1);
    assert_string_equal(mined->texts[mined->items[0].negatives[0].text].text, "no");
    free(path);
    tandem_groups_free(groups);
    tandem_groups_free(r->sources[1].mined);
}

static void test_newest_two_are_kept(void **state)
{
    run *r = *state;

    write_at(r, 9);
    write_at(r, 10);
    write_at(r, 100);
    assert_false(has(r, "step-9"));
    assert_true(has(r, "step-10"));
    assert_true(has(r, "step-100"));
    char *path = found(r);
    assert_string_equal(tandem_path_base(path), "step-100");
    free(path);
}

/* Truncates or flips one byte of a file, and expects the checkpoint before it. */
static void damage(const run *r, const char *name, bool truncate_it)
{
    char *path = tandem_path_join(r->folder, name), *data = NULL;
    size_t size = 0;

    assert_int_equal(tandem_file_read(&data, &size, path), 0);
    data[size / 2] = (char)(data[size / 2] ^ 1);
    FILE *file = fopen(path, "wb");
    fwrite(data, 1, truncate_it ? size / 2 : size, file);
    fclose(file);
    free(data);
    free(path);
}

static void test_damage_falls_back(void **state)
{
    run *r = *state;
    static const char *const names[] = {"weights.safetensors", "adam_m.safetensors", "adam_v.safetensors", "best.safetensors", "state.json"};

    for (size_t i = 0; i < 2 * sizeof names / sizeof *names; i++) {
        char name[64];

        write_at(r, 10);
        write_at(r, 20);
        snprintf(name, sizeof name, "step-20/%s", names[i / 2]);
        damage(r, name, i % 2 == 0);
        char *path = found(r);
        assert_string_equal(tandem_path_base(path), "step-10");
        free(path);
    }
    damage(r, "step-10/manifest.json", true);
    char *path = NULL;
    assert_int_equal(tandem_checkpoint_find(&path, r->folder), TANDEM_ERROR);
    assert_null(path);
}

static void test_none_is_not_found(void **state)
{
    run *r = *state;
    char *path = NULL;

    assert_int_equal(tandem_checkpoint_find(&path, r->folder), TANDEM_NOT_FOUND);
    assert_int_equal(tandem_checkpoint_find(&path, "/tmp/no such folder of tandem"), TANDEM_NOT_FOUND);
}

static void test_another_run_is_refused_by_key(void **state)
{
    run *r = *state;

    write_at(r, 10);
    char *path = found(r);
    r->checkpoint.settings = "{\"batch_size\": 16, \"loss\": {\"scale\": 21}, \"threads\": 3, \"checkpoint\": {\"every_steps\": 6}}";
    assert_int_equal(tandem_checkpoint_restore(&r->checkpoint, path), TANDEM_USAGE);
    assert_non_null(strstr(tandem_error_message(), "these differ: batch_size, loss.scale"));
    assert_null(strstr(tandem_error_message(), "threads"));
    r->checkpoint.settings = "{\"batch_size\": 32, \"loss\": {\"scale\": 20}, \"threads\": 3, \"checkpoint\": {\"every_steps\": 6}}";
    r->checkpoint.data.low = 10;
    assert_int_equal(tandem_checkpoint_restore(&r->checkpoint, path), TANDEM_USAGE);
    assert_non_null(strstr(tandem_error_message(), "training data"));
    r->checkpoint.data.low = 9;
    assert_int_equal(tandem_checkpoint_restore(&r->checkpoint, path), 0);
    free(path);
}

/* Another model: a parameter of another size, and one of another name. */
static void test_other_parameters_are_refused(void **state)
{
    run *r = *state;
    tandem_parameter larger = second, renamed = second;
    const tandem_parameter *const with_larger[] = {&first, &larger}, *const with_renamed[] = {&first, &renamed};

    write_at(r, 10);
    char *path = found(r);
    larger.count = 21;
    renamed.name = "c.bias";
    r->checkpoint.parameters = with_larger;
    assert_int_equal(tandem_checkpoint_restore(&r->checkpoint, path), TANDEM_ERROR);
    r->checkpoint.parameters = with_renamed;
    assert_int_equal(tandem_checkpoint_restore(&r->checkpoint, path), TANDEM_ERROR);
    assert_non_null(strstr(tandem_error_message(), "c.bias"));
    free(path);
}

#define CHECKPOINT_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHECKPOINT_TEST(test_round_trip),
        CHECKPOINT_TEST(test_learned_scale_that_is_missing),
        CHECKPOINT_TEST(test_mined_groups_and_missing_metric),
        CHECKPOINT_TEST(test_newest_two_are_kept),
        CHECKPOINT_TEST(test_damage_falls_back),
        CHECKPOINT_TEST(test_none_is_not_found),
        CHECKPOINT_TEST(test_another_run_is_refused_by_key),
        CHECKPOINT_TEST(test_other_parameters_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
