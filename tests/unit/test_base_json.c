/* JSON access and the settings table. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cjson/cJSON.h>
#include <cmocka.h>

#include "tandem/file.h"
#include "tandem/json.h"
#include "tandem/settings.h"

static cJSON *parsed(const char *text)
{
    cJSON *json = NULL;
    int rc = tandem_json_parse(&json, text, strlen(text), "x.json");
    if (rc < 0) {
        fail_msg("%s: %s", text, tandem_error_message());
    }
    return json;
}

static void good_json(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "0", " null \n", "[]", "{}", "\"\\u00e9 \xC3\xA9 \\ud83d\\ude00\"", "\"\\\\u0000 is text\"",
        "{\"a\": {\"a\": 1}, \"b\": [{\"a\": 1}, {\"a\": 2}]}", /* the same key in other objects */
        "{\"a\": 1, \"A\": 2}",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        tandem_json_free(parsed(texts[i]));
    }
}

/* Every message names the source and says what is wrong, with line:column. */
static void bad_json(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
        size_t length; /* 0: strlen */
    } cases[] = {
        {"", "x.json: expected JSON, found nothing", 0},
        {" \n", "x.json: expected JSON, found nothing", 0},
        {"{\"a\": 1,\n \"b\": tru}", "x.json:2:7: invalid JSON", 0},
        {"{\"a\": 1", "its end is missing", 0},
        {"[1, 2", "its end is missing", 0},
        {"[1] x", "x.json:1:5: expected the end after the JSON value", 0},
        {"{} {}", "x.json:1:4: expected the end after the JSON value", 0},
        {"[NaN]", "x.json:1:2: invalid JSON", 0},
        {"[Infinity]", "x.json:1:2: invalid JSON", 0},
        {"[1e999]", "too large for a double", 0},
        {"{\"a\": \"\n\xFF\"}", "x.json:2:1: invalid UTF-8", 0},
        {"{\"a\": 1,\n  \"b\": 2, \"a\": 3}", "x.json:2:11: the key \"a\" is already in this object", 0},
        {"{\"o\": {\"k\": \"a\\\"b: \",\n\"\\u006b\": 2}}", "x.json:2:1: the key \"k\" is already", 0},
        {"[\n\"a\\u0000b\"]", "x.json:2:3: the character U+0000", 0},
        {"[\"a\0b\"]", "x.json:1:4: a NUL byte", 7},
        {"[\"\\ue9\"]", "x.json:1:3: \\u without four", 0},
        {"[\"\\ud800\"]", "invalid JSON", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cJSON *json = NULL;
        size_t length = cases[i].length ? cases[i].length : strlen(cases[i].text);
        assert_int_equal(tandem_json_parse(&json, cases[i].text, length, "x.json"), TANDEM_ERROR);
        assert_null(json);
        if (!strstr(tandem_error_message(), cases[i].message)) {
            fail_msg("expected \"%s\", found \"%s\"", cases[i].message, tandem_error_message());
        }
    }
}

/* Deep nesting is refused, not recursed into until the stack ends. */
static void deep_json(void **state)
{
    (void)state;
    enum { DEPTH = 2000000 };
    char *text = malloc(DEPTH);
    memset(text, '[', DEPTH);
    cJSON *json = NULL;
    assert_int_equal(tandem_json_parse(&json, text, DEPTH, "deep"), TANDEM_ERROR);
    free(text);
}

/* A vocabulary's size; a quadratic search would take minutes here. */
static void many_keys(void **state)
{
    (void)state;
    tandem_buffer text = TANDEM_BUFFER_INIT;
    tandem_buffer_puts(&text, "{");
    for (int i = 0; i < 250000; i++) {
        tandem_buffer_printf(&text, "%s\"key%d\":%d", i ? "," : "", i, i);
    }
    tandem_buffer_puts(&text, ",\n\"key77\":0}");
    cJSON *json = NULL;
    assert_int_equal(tandem_json_parse(&json, text.data, text.length, "big"), TANDEM_ERROR);
    assert_string_equal(tandem_error_message(), "big:2:1: the key \"key77\" is already in this object");
    text.length -= strlen(",\n\"key77\":0}");
    tandem_buffer_puts(&text, "}");
    assert_int_equal(tandem_json_parse(&json, text.data, text.length, "big"), 0);
    tandem_json_free(json);
    tandem_buffer_free(&text);
}

static void members(void **state)
{
    (void)state;
    cJSON *json = parsed("{\"s\": \"text\", \"n\": null, \"i\": 42, \"f\": 1.5, \"b\": true, "
                         "\"big\": 9007199254740993, \"neg\": -3}");
    const char *text = "default";
    assert_int_equal(tandem_json_get_string(json, "s", "x", &text), 0);
    assert_string_equal(text, "text");
    assert_int_equal(tandem_json_get_string_or(json, "absent", "x", &text), 0);
    assert_int_equal(tandem_json_get_string_or(json, "n", "x", &text), 0); /* null is absent */
    assert_string_equal(text, "text");
    assert_int_equal(tandem_json_get_string(json, "absent", "x", &text), TANDEM_ERROR);
    assert_string_equal(tandem_error_message(), "x: \"absent\" is missing: expected a string");
    assert_int_equal(tandem_json_get_string_or(json, "i", "x", &text), TANDEM_ERROR);
    assert_string_equal(tandem_error_message(), "x: \"i\": expected a string, found a number");

    int64_t integer = 7;
    assert_int_equal(tandem_json_get_int_or(json, "absent", "x", 0, 9, &integer), 0);
    assert_int_equal(integer, 7);
    assert_int_equal(tandem_json_get_int(json, "i", "x", 0, 42, &integer), 0);
    assert_int_equal(integer, 42);
    assert_int_equal(tandem_json_get_int(json, "i", "x", 0, 41, &integer), TANDEM_ERROR);
    assert_string_equal(tandem_error_message(), "x: \"i\": expected an integer from 0 to 41, found 42");
    assert_int_equal(tandem_json_get_int(json, "neg", "x", 0, 41, &integer), TANDEM_ERROR);
    assert_int_equal(tandem_json_get_int(json, "f", "x", 0, 9, &integer), TANDEM_ERROR);
    assert_int_equal(tandem_json_get_int(json, "s", "x", 0, 9, &integer), TANDEM_ERROR);
    assert_int_equal(tandem_json_get_int(json, "n", "x", 0, 9, &integer), TANDEM_ERROR);
    /* 2^53 + 1 is read as 2^53: no double tells them apart. */
    assert_int_equal(tandem_json_get_int(json, "big", "x", INT64_MIN, INT64_MAX, &integer), TANDEM_ERROR);

    double number = 0.25;
    assert_int_equal(tandem_json_get_double_or(json, "absent", "x", &number), 0);
    assert_true(number == 0.25);
    assert_int_equal(tandem_json_get_double_or(json, "f", "x", &number), 0);
    assert_true(number == 1.5);
    assert_int_equal(tandem_json_get_double_or(json, "b", "x", &number), TANDEM_ERROR);
    bool flag = false;
    assert_int_equal(tandem_json_get_bool_or(json, "b", "x", &flag), 0);
    assert_true(flag);
    assert_int_equal(tandem_json_get_bool_or(json, "i", "x", &flag), TANDEM_ERROR);
    assert_null(tandem_json_member(json, "S")); /* case counts */
    tandem_json_free(json);

    json = parsed("[1]");
    assert_int_equal(tandem_json_get_string(json, "s", "x", &text), TANDEM_ERROR);
    assert_non_null(strstr(tandem_error_message(), "expected an object"));
    tandem_json_free(json);
}

static void json_files(void **state)
{
    (void)state;
    char path[] = "/tmp/tandem-test-XXXXXX";
    int descriptor = mkstemp(path);
    assert_true(descriptor >= 0);
    close(descriptor);
    cJSON *json = parsed("{\"x\": [1, 2.5, \"\xC3\xA9\"]}"), *again = NULL;
    assert_int_equal(tandem_json_write(json, path), 0);
    assert_int_equal(tandem_json_read(&again, path), 0);
    assert_true(cJSON_Compare(json, again, 1));
    tandem_json_free(again);
    cJSON_AddNumberToObject(json, "nan", (double)NAN);
    assert_int_equal(tandem_json_write(json, path), TANDEM_ERROR);
    tandem_json_free(json);
    unlink(path);
    assert_int_equal(tandem_json_read(&again, path), TANDEM_NOT_FOUND);
}

/* ---- settings -------------------------------------------------------------------- */
typedef struct {
    char *model, *split, *sources;
    int64_t batch_size, low, high, loss;
    double rate;
    bool shuffle;
} config;

static const char *const losses[] = {"mnrl", "margin_mse", NULL};

static const tandem_setting rows[] = {
    {"model", TANDEM_SETTING_STRING, offsetof(config, model), 0, 0, NULL, NULL, "the model"},
    {"data.split", TANDEM_SETTING_STRING, offsetof(config, split), 0, 0, "train", NULL, "the split"},
    {"data.sources", TANDEM_SETTING_LIST, offsetof(config, sources), 0, 0, NULL, NULL, "several"},
    {"batch_size", TANDEM_SETTING_INT, offsetof(config, batch_size), 1, 4096, "32", NULL, "pairs a step"},
    {"learning_rate", TANDEM_SETTING_DOUBLE, offsetof(config, rate), 0, 1, "2e-5", NULL, "peak rate"},
    {"data.shuffle", TANDEM_SETTING_BOOL, offsetof(config, shuffle), 0, 0, "true", NULL, "shuffle"},
    {"loss.name", TANDEM_SETTING_CHOICE, offsetof(config, loss), 0, 0, "mnrl", losses, "the loss"},
    {"mining.range.0", TANDEM_SETTING_INT, offsetof(config, low), 0, 1000, "0", NULL, "first rank"},
    {"mining.range.1", TANDEM_SETTING_INT, offsetof(config, high), 0, 1000, "50", NULL, "rank after the last"},
};

enum { ROWS = sizeof rows / sizeof rows[0] };

static int apply(config *settings, const char *text)
{
    cJSON *json = parsed(text);
    int rc = tandem_settings_apply(settings, rows, ROWS, json, "c.json");
    tandem_json_free(json);
    return rc;
}

static void settings_defaults_and_values(void **state)
{
    (void)state;
    config c = {0};
    assert_int_equal(tandem_settings_init(&c, rows, ROWS), 0);
    assert_null(c.model);
    assert_string_equal(c.split, "train");
    assert_int_equal(c.batch_size, 32);
    assert_true(c.rate == 2e-5);
    assert_true(c.shuffle);
    assert_int_equal(c.loss, 0);
    assert_int_equal(c.high, 50);

    assert_int_equal(apply(&c, "{\"model\": \"m\", \"data\": {\"split\": \"dev\", \"shuffle\": false}, "
                               "\"loss\": {\"name\": \"margin_mse\"}, \"mining\": {\"range\": [5, 60]}}"), 0);
    assert_string_equal(c.model, "m");
    assert_string_equal(c.split, "dev");
    assert_false(c.shuffle);
    assert_int_equal(c.loss, 1);
    assert_int_equal(c.low, 5);
    assert_int_equal(c.high, 60);
    assert_int_equal(c.batch_size, 32); /* what is not named stays */

    assert_int_equal(tandem_settings_set(&c, rows, ROWS, "learning_rate=0.5"), 0);
    assert_true(c.rate == 0.5);
    assert_int_equal(tandem_settings_set(&c, rows, ROWS, "model=a=b"), 0);
    assert_string_equal(c.model, "a=b");
    assert_int_equal(tandem_settings_set(&c, rows, ROWS, "mining.range=[1,2]"), 0);
    assert_int_equal(c.low, 1);
    assert_int_equal(tandem_settings_set(&c, rows, ROWS, "mining.range.1=9"), 0);
    assert_int_equal(c.high, 9);
    tandem_settings_free(&c, rows, ROWS);
    assert_null(c.model);
}

/* A list is kept as its JSON, however it came; a copy shares nothing. */
static void settings_lists_and_copies(void **state)
{
    (void)state;
    config c = {0}, copy = {0};
    assert_int_equal(tandem_settings_init(&c, rows, ROWS), 0);
    assert_null(c.sources);
    assert_int_equal(apply(&c, "{\"data\": {\"sources\": [ {\"weight\": 0.1, \"loss\": {\"scale\": 20}}, 7 ]}}"), 0);
    assert_string_equal(c.sources, "[{\"weight\":0.1,\"loss\":{\"scale\":20}},7]");
    assert_int_equal(tandem_settings_copy(&copy, &c, rows, ROWS), 0);
    assert_string_equal(copy.sources, c.sources);
    assert_ptr_not_equal(copy.sources, c.sources);
    assert_null(copy.model);
    assert_true(copy.shuffle && copy.rate == 2e-5 && copy.batch_size == 32 && copy.high == 50);

    assert_int_equal(tandem_settings_set(&copy, rows, ROWS, "data.sources=[{}]"), 0);
    assert_string_equal(copy.sources, "[{}]");
    assert_int_equal(apply(&copy, "{\"data\": {\"sources\": null}}"), 0);
    assert_null(copy.sources);
    assert_string_equal(c.sources, "[{\"weight\":0.1,\"loss\":{\"scale\":20}},7]");
    assert_int_equal(tandem_settings_set(&c, rows, ROWS, "data.sources={}"), TANDEM_USAGE);
    assert_non_null(strstr(tandem_error_message(), "data.sources: expected an array, found {}"));
    assert_true(tandem_settings_set(&c, rows, ROWS, "data.sources=[1") < 0);
    tandem_settings_free(&c, rows, ROWS);
    tandem_settings_free(&copy, rows, ROWS);
    assert_null(c.sources);
}

static void settings_errors(void **state)
{
    (void)state;
    static const struct {
        const char *json, *message;
    } cases[] = {
        {"{\"batchsize\": 3}", "c.json: unknown key \"batchsize\"; did you mean \"batch_size\"?"},
        {"{\"data\": {\"spilt\": \"x\"}}", "unknown key \"data.spilt\"; did you mean \"data.split\"?"},
        {"{\"shuffle\": true}", "did you mean \"data.shuffle\"?"}, /* in the wrong object */
        {"{\"zzzzzzzz\": 1}", "c.json: unknown key \"zzzzzzzz\""},
        {"{\"\": 1}", "unknown key \"\""},
        {"{\"batch_size\": 0}", "c.json: batch_size: expected an integer from 1 to 4096, found 0"},
        {"{\"batch_size\": 1.5}", "batch_size: expected an integer from 1 to 4096, found 1.5"},
        {"{\"batch_size\": \"8\"}", "batch_size: expected an integer, found \"8\""},
        {"{\"batch_size\": null}", "batch_size: expected an integer, found null"},
        {"{\"learning_rate\": 2}", "learning_rate: expected a number from 0 to 1, found 2"},
        {"{\"loss\": {\"name\": \"mnr\"}}", "loss.name: expected one of mnrl, margin_mse; found \"mnr\""},
        {"{\"loss\": \"mnrl\"}", "loss: expected an object"},
        {"{\"model\": {\"path\": \"m\"}}", "model: expected a string, found {\"path\":\"m\"}"},
        {"{\"mining\": {\"range\": [1]}}", "mining.range: expected an array of 2 values"},
        {"{\"mining\": {\"range\": {\"0\": 1, \"1\": 2}}}", "mining.range: expected an array of 2 values"},
        {"[1]", "c.json: expected a JSON object"},
    };
    config c = {0};
    assert_int_equal(tandem_settings_init(&c, rows, ROWS), 0);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(apply(&c, cases[i].json), TANDEM_USAGE);
        if (!strstr(tandem_error_message(), cases[i].message)) {
            fail_msg("expected \"%s\", found \"%s\"", cases[i].message, tandem_error_message());
        }
    }
    static const char *const assignments[] = {"batch_size", "=1", "batch_size=", "batch_size=1x", "batch_size=1e9",
                                              "data.shuffle=yes", "batchsize=4", "learning_rate=nan", "data=[1]"};
    for (size_t i = 0; i < sizeof assignments / sizeof assignments[0]; i++) {
        assert_int_equal(tandem_settings_set(&c, rows, ROWS, assignments[i]), TANDEM_USAGE);
    }
    assert_int_equal(c.batch_size, 32); /* a refused value changes nothing */
    tandem_settings_free(&c, rows, ROWS);
}

static void settings_dump_is_stable(void **state)
{
    (void)state;
    config c = {0}, again = {0};
    assert_int_equal(tandem_settings_init(&c, rows, ROWS), 0);
    assert_int_equal(tandem_settings_set(&c, rows, ROWS, "learning_rate=0.1"), 0);
    assert_int_equal(tandem_settings_set(&c, rows, ROWS, "data.sources=[{\"weight\":2.5}]"), 0);
    tandem_buffer first = TANDEM_BUFFER_INIT, second = TANDEM_BUFFER_INIT;
    assert_int_equal(tandem_settings_dump(&first, &c, rows, ROWS), 0);
    assert_string_equal(first.data, "{\n"
                                    "\t\"model\":\tnull,\n"
                                    "\t\"data\":\t{\n"
                                    "\t\t\"split\":\t\"train\",\n"
                                    "\t\t\"sources\":\t[{\n"
                                    "\t\t\t\t\"weight\":\t2.5\n"
                                    "\t\t\t}],\n"
                                    "\t\t\"shuffle\":\ttrue\n"
                                    "\t},\n"
                                    "\t\"batch_size\":\t32,\n"
                                    "\t\"learning_rate\":\t0.1,\n"
                                    "\t\"loss\":\t{\n"
                                    "\t\t\"name\":\t\"mnrl\"\n"
                                    "\t},\n"
                                    "\t\"mining\":\t{\n"
                                    "\t\t\"range\":\t[0, 50]\n"
                                    "\t}\n"
                                    "}\n");
    /* What was dumped can be applied, and gives the same dump. */
    assert_int_equal(tandem_settings_init(&again, rows, ROWS), 0);
    assert_int_equal(apply(&again, first.data), 0);
    assert_int_equal(tandem_settings_dump(&second, &again, rows, ROWS), 0);
    assert_string_equal(first.data, second.data);
    tandem_buffer_free(&first);
    tandem_buffer_free(&second);
    tandem_settings_free(&c, rows, ROWS);
    tandem_settings_free(&again, rows, ROWS);
}

static void nearest_words(void **state)
{
    (void)state;
    static const char *const words[] = {"encode", "search", "eval", "export"};
    assert_string_equal(tandem_nearest("encdoe", words, 4), "encode"); /* neighbours swapped: one edit */
    assert_string_equal(tandem_nearest("serch", words, 4), "search");
    assert_string_equal(tandem_nearest("evla", words, 4), "eval");
    assert_null(tandem_nearest("zebra", words, 4));
    assert_null(tandem_nearest("encode", words, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_json),
        cmocka_unit_test(bad_json),
        cmocka_unit_test(deep_json),
        cmocka_unit_test(many_keys),
        cmocka_unit_test(members),
        cmocka_unit_test(json_files),
        cmocka_unit_test(settings_defaults_and_values),
        cmocka_unit_test(settings_lists_and_copies),
        cmocka_unit_test(settings_errors),
        cmocka_unit_test(settings_dump_is_stable),
        cmocka_unit_test(nearest_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
