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
    } else if (row->type == TANDEM_SETTING_BOOL) {
        tandem_buffer_puts(out, "`true`, `false`");
    } else {
        tandem_buffer_printf(out, "%s, %.15g to %.15g", row->type == TANDEM_SETTING_INT ? "integer" : "number", row->min, row->max);
    }
}

static void put_table(tandem_buffer *out, const char *title, bool cross)
{
    size_t count = 0;
    const tandem_setting *rows = tandem_train_settings(cross, &count);

    tandem_buffer_printf(out, "\n## %s\n\n| key | default | values | meaning |\n| --- | --- | --- | --- |\n", title);
    for (size_t i = 0; i < count; i++) {
        tandem_buffer_printf(out, "| `%s` | %s%s%s | ", rows[i].path, rows[i].initial != NULL ? "`" : "",
                             rows[i].initial != NULL ? rows[i].initial : "none", rows[i].initial != NULL ? "`" : "");
        put_values(out, &rows[i]);
        tandem_buffer_printf(out, " | %s |\n", rows[i].help);
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
        cmocka_unit_test(test_defaults),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
