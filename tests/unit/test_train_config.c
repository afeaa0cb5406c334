/* docs/config.md is made from the tables of settings: run this program with
 * TANDEM_WRITE_DOCS=1 to write it again. Recipes of configs/ are read by the tables. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tandem/file.h"
#include "tandem/json.h"
#include "tandem/memory.h"
#include "tandem/train.h"
#include "train/losses.h"

static char *source_path(const char *name)
{
    const char *source = getenv("TANDEM_SOURCE");

    return tandem_path_join(source != NULL ? source : ".", name);
}

static void put_values(tandem_buffer *out, const tandem_setting *row)
{
    if (row->type == TANDEM_SETTING_CHOICE) {
        for (size_t i = 0; row->choices[i] != NULL; i++) {
            tandem_buffer_printf(out, "%s`%s`", i > 0 ? ", " : "", row->choices[i]);
        }
    } else if (row->type == TANDEM_SETTING_STRING) {
        tandem_buffer_puts(out, "text");
    } else if (row->type == TANDEM_SETTING_LIST) {
        tandem_buffer_puts(out, "array of objects");
    } else if (row->type == TANDEM_SETTING_BOOL) {
        tandem_buffer_puts(out, "`true`, `false`");
    } else {
        tandem_buffer_printf(out, "%s, %.15g to %.15g", row->type == TANDEM_SETTING_INT ? "integer" : "number", row->min, row->max);
    }
}

static void put_row(tandem_buffer *out, const tandem_setting *row)
{
    tandem_buffer_printf(out, "| `%s` | %s%s%s | ", row->path, row->initial != NULL ? "`" : "",
                         row->initial != NULL ? row->initial : "none", row->initial != NULL ? "`" : "");
    put_values(out, row);
    tandem_buffer_printf(out, " | %s |\n", row->help);
}

static void put_table(tandem_buffer *out, const char *title, bool cross)
{
    size_t count = 0;
    const tandem_setting *rows = tandem_train_settings(cross, &count);

    tandem_buffer_printf(out, "\n## %s\n\n| key | default | values | meaning |\n| --- | --- | --- | --- |\n", title);
    for (size_t i = 0; i < count; i++) {
        put_row(out, &rows[i]);
    }
}

static bool is_a_setting(const char *path, bool cross)
{
    size_t count = 0;
    const tandem_setting *rows = tandem_train_settings(cross, &count);

    for (size_t i = 0; i < count; i++) {
        if (strcmp(rows[i].path, path) == 0) {
            return true;
        }
    }
    return false;
}

/* What a source may say: the settings below "data." and "loss." of the other tables, and keys of its own, which are
 * the same for both. */
static void put_source_keys(tandem_buffer *out, bool cross, bool own)
{
    size_t count = 0;
    const tandem_setting *rows = tandem_train_source_settings(cross, &count);

    for (size_t i = 0; i < count; i++) {
        char path[64];

        snprintf(path, sizeof path, "data.%s", rows[i].path);
        bool shared = is_a_setting(path, cross) || is_a_setting(rows[i].path, cross);

        if (own && !shared) {
            put_row(out, &rows[i]);
        } else if (!own && is_a_setting(path, cross)) {
            tandem_buffer_printf(out, "`%s`, ", rows[i].path);
        }
    }
}

static void test_docs_are_the_tables(void **state)
{
    (void)state;
    tandem_buffer page = TANDEM_BUFFER_INIT;
    char *path = source_path("docs/config.md"), *found = NULL;
    size_t size = 0;

    tandem_buffer_puts(&page, "# Settings of `tandem train`\n\n"
                              "A config is a JSON object; a dot in a key stands for an object within it, and `range.0` and\n"
                              "`range.1` for the two numbers of an array `range`. On the command line, `--set key=value`\n"
                              "changes one. An unknown key is an error.\n\n"
                              "This page is made from the tables in train/config.c by tests/unit/test_train_config.c.\n");
    put_table(&page, "Bi-encoder: `tandem train bi`", false);
    put_table(&page, "Cross-encoder: `tandem train cross`", true);
    tandem_buffer_puts(&page, "\n## An object of `data.sources`\n\n"
                              "Its keys stand for those below `data`, and its `loss` for those below `loss`. What it does not say is as\n"
                              "there, but for dataset and groups, of which each source has its own.\n");
    tandem_buffer_puts(&page, "\nFor `tandem train bi`: ");
    put_source_keys(&page, false, false);
    tandem_buffer_puts(&page, "all of `loss`, and `weight`.\n\nFor `tandem train cross`: ");
    put_source_keys(&page, true, false);
    tandem_buffer_puts(&page, "all of `loss`, and `weight`.\n\n| key | default | values | meaning |\n| --- | --- | --- | --- |\n");
    put_source_keys(&page, false, true);
    if (getenv("TANDEM_WRITE_DOCS") != NULL) {
        assert_int_equal(tandem_file_write(path, page.data, page.length), 0);
    }
    assert_int_equal(tandem_file_read(&found, &size, path), 0);
    assert_string_equal(found, page.data);
    free(found);
    free(path);
    tandem_buffer_free(&page);
}

static void test_example_configs_are_read(void **state)
{
    (void)state;
    static const char *const names[] = {"configs/bi-encoder.json", "configs/cross-encoder.json"};

    for (int cross = 0; cross < 2; cross++) {
        tandem_train_config config = {0};
        struct cJSON *json = NULL;
        size_t count = 0;
        const tandem_setting *rows = tandem_train_settings(cross == 1, &count);
        char *path = source_path(names[cross]);

        assert_int_equal(tandem_json_read(&json, path), 0);
        assert_int_equal(tandem_settings_init(&config, rows, count), 0);
        assert_int_equal(tandem_settings_apply(&config, rows, count, json, path), 0);
        assert_non_null(config.model);
        assert_true(cross == 0 || config.dev.run != NULL);
        tandem_settings_free(&config, rows, count);
        tandem_json_free(json);
        free(path);
    }
}

/* A source is the config with what it says itself; settings that come later reach what it does not say. */
static void test_sources(void **state)
{
    (void)state;
    tandem_train_config config = {0}, *sources = NULL;
    size_t rows = 0, count = 0;
    const tandem_setting *table = tandem_train_settings(false, &rows);

    assert_int_equal(tandem_settings_init(&config, table, rows), 0);
    assert_int_equal(tandem_settings_set(&config, table, rows, "data.groups=all.jsonl"), 0);
    assert_int_equal(tandem_train_sources(&sources, &count, &config, false), 0);
    assert_int_equal(count, 1);
    assert_string_equal(sources[0].data.groups, "all.jsonl");
    assert_true(sources[0].data.weight == 1.0);
    tandem_train_sources_free(sources, count, false);

    assert_int_equal(tandem_settings_set(&config, table, rows,
                                         "data.sources=[{\"dataset\": \"a\", \"loss\": {\"name\": \"triplet\", \"triplet\": {\"margin\": 2}}},"
                                         " {\"groups\": \"b\", \"weight\": 3, \"query_prompt\": \"query: \", \"negatives\": 0}]"), 0);
    assert_int_equal(tandem_settings_set(&config, table, rows, "loss.scale=30"), 0);
    assert_int_equal(tandem_settings_set(&config, table, rows, "data.negatives=5"), 0);
    assert_int_equal(tandem_train_sources(&sources, &count, &config, false), 0);
    assert_int_equal(count, 2);
    assert_string_equal(sources[0].data.dataset, "a");
    assert_string_equal(tandem_loss_name(&sources[0].loss, false), "triplet");
    assert_true(sources[0].loss.triplet.margin == 2.0 && sources[0].loss.scale == 30.0 && sources[0].data.weight == 1.0);
    assert_int_equal(sources[0].data.negatives, 5);
    assert_null(sources[0].data.query_prompt);
    assert_string_equal(tandem_loss_name(&sources[1].loss, false), "mnrl");
    assert_true(sources[1].loss.triplet.margin == 5.0 && sources[1].data.weight == 3.0);
    assert_int_equal(sources[1].data.negatives, 0);
    assert_string_equal(sources[1].data.query_prompt, "query: ");
    tandem_train_sources_free(sources, count, false);

    static const char *const wrong[][2] = {
        {"data.sources=[{}, {\"losss\": {\"name\": \"mnrl\"}}]", "data.sources.1: unknown key \"losss\""},
        {"data.sources=[{\"loss\": {\"nam\": 1}}]", "data.sources.0: unknown key \"loss.nam\"; did you mean \"loss.name\"?"},
        {"data.sources=[{\"weight\": 0}]", "data.sources.0: weight: expected a number"},
        {"data.sources=[{\"epochs\": 2}]", "data.sources.0: unknown key \"epochs\""},
        {"data.sources=[7]", "data.sources.0: expected a JSON object"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_equal(tandem_settings_set(&config, table, rows, wrong[i][0]), 0);
        assert_int_equal(tandem_train_sources(&sources, &count, &config, false), TANDEM_USAGE);
        if (strstr(tandem_error_message(), wrong[i][1]) == NULL) {
            fail_msg("expected \"%s\", found \"%s\"", wrong[i][1], tandem_error_message());
        }
    }
    tandem_settings_free(&config, table, rows);
}

/* The defaults that the design of the config names. */
static void test_defaults(void **state)
{
    (void)state;
    tandem_train_config config = {0};
    size_t count = 0;
    const tandem_setting *rows = tandem_train_settings(false, &count);

    assert_int_equal(tandem_settings_init(&config, rows, count), 0);
    assert_int_equal(config.max_length, 256);
    assert_int_equal(config.batch_size, 32);
    assert_true(config.loss.scale == 20.0);
    assert_true(config.learning_rate == 2e-5);
    assert_int_equal(config.mining.range[0], 0);
    assert_int_equal(config.mining.range[1], 50);
    tandem_settings_free(&config, rows, count);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_docs_are_the_tables),
        cmocka_unit_test(test_example_configs_are_read),
        cmocka_unit_test(test_sources),
        cmocka_unit_test(test_defaults),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
