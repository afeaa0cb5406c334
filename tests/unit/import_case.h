/* import_case.h - what the tests of tandem_import() share: a run into folder/out, and its files. */
#ifndef TANDEM_TESTS_IMPORT_CASE_H
#define TANDEM_TESTS_IMPORT_CASE_H

#include "folder.h"

#include "tandem/import.h"

#define PATHS(...) {(const char *const[]){__VA_ARGS__}, sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *)}

/* A path of folder.h, whose few buffers are used again, to stay. */
static const char *keep(const char *path)
{
    static char kept[64][256];
    static size_t next;
    char *copy = kept[next++ % 64];
    snprintf(copy, sizeof kept[0], "%s", path);
    return copy;
}

static const char *keep_file(const char *name, const char *text)
{
    return keep(put_file(name, text));
}

/* Imports into folder/out, where nothing is before. */
static int import(tandem_import_report *report, const tandem_import_options *options)
{
    assert_int_equal(tandem_dir_remove(in_folder("out")), 0);
    return tandem_import(report, in_folder("out"), options);
}

/* folder/out/name must hold `expected`; NULL: must not be there. */
static void assert_output(const char *name, const char *expected)
{
    char path[128], *data;
    size_t size;
    snprintf(path, sizeof path, "out/%s", name);
    if (!expected) {
        assert_false(tandem_file_exists(in_folder(path)));
        return;
    }
    assert_int_equal(tandem_file_read(&data, &size, in_folder(path)), 0);
    assert_string_equal(data, expected);
    free(data);
}

/* An import that must fail with this message and leave nothing behind. */
__attribute__((unused)) static void refuse(int code, const tandem_import_options *options, const char *message)
{
    tandem_import_report report;
    assert_int_equal(import(&report, options), code);
    assert_message(message);
    assert_false(tandem_dir_exists(in_folder("out")));
}

#define HEADER "query-id\tcorpus-id\tscore\n"

#endif
