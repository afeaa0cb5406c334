/* Files: lines, zstd, writers and staged paths. */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "folder.h"
#include "tandem/memory.h"

static size_t entries(const char *path)
{
    size_t count = 0;
    DIR *directory = opendir(path);
    assert_non_null(directory);
    for (struct dirent *entry; (entry = readdir(directory));) {
        count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    }
    closedir(directory);
    return count;
}

static void assert_content(const char *path, const char *expected)
{
    char *data;
    size_t size;
    assert_int_equal(tandem_file_read(&data, &size, path), 0);
    assert_int_equal(size, strlen(expected));
    assert_string_equal(data, expected);
    free(data);
}

static void paths(void **state)
{
    (void)state;
    char *joined = tandem_path_join("a/b", "c");
    assert_string_equal(joined, "a/b/c");
    free(joined);
    joined = tandem_path_join("/", "c");
    assert_string_equal(joined, "/c");
    free(joined);
    assert_string_equal(tandem_path_base("x/y.tsv"), "y.tsv");
    assert_string_equal(tandem_path_base("y.tsv"), "y.tsv");
    assert_true(tandem_path_has_suffix("corpus.jsonl", ".jsonl"));
    assert_true(tandem_path_has_suffix("corpus.jsonl.zst", ".jsonl"));
    assert_true(tandem_path_has_suffix("corpus.jsonl.zst", ".zst"));
    assert_false(tandem_path_has_suffix("corpus.jsonl.gz", ".jsonl"));
    assert_false(tandem_path_has_suffix(".zst", ".jsonl"));
    assert_false(tandem_path_has_suffix("l", ".jsonl"));
}

static void directories(void **state)
{
    (void)state;
    const char *deep = in_folder("made/x/y");
    assert_int_equal(tandem_dir_make(deep), 0);
    assert_int_equal(tandem_dir_make(deep), 0); /* again is fine */
    assert_true(tandem_dir_exists(deep));
    assert_false(tandem_file_exists(deep));
    assert_int_equal(tandem_file_write(in_folder("made/x/file"), "1", 1), 0);
    assert_int_equal(tandem_dir_make(in_folder("made/x/file")), TANDEM_ERROR);
    assert_int_equal(tandem_dir_remove(in_folder("made")), 0);
    assert_false(tandem_dir_exists(in_folder("made")));
    assert_int_equal(tandem_dir_remove(in_folder("made")), 0); /* a missing one is fine */
}

static void reading(void **state)
{
    (void)state;
    char *data;
    size_t size;
    assert_int_equal(tandem_file_read(&data, &size, in_folder("absent")), TANDEM_NOT_FOUND);
    assert_non_null(strstr(tandem_error_message(), "absent"));
    assert_int_equal(tandem_file_read(&data, &size, folder), TANDEM_ERROR); /* a directory */
    assert_int_equal(tandem_file_write(in_folder("empty"), "", 0), 0);
    assert_content(in_folder("empty"), "");

    tandem_map map;
    assert_int_equal(tandem_map_open(&map, in_folder("empty")), 0);
    assert_int_equal(map.size, 0);
    tandem_map_close(&map);
    assert_int_equal(tandem_file_write(in_folder("five"), "12345", 5), 0);
    assert_int_equal(tandem_map_open(&map, in_folder("five")), 0);
    assert_int_equal(map.size, 5);
    assert_memory_equal(map.data, "12345", 5);
    tandem_map_close(&map);
    tandem_map_close(&map);
    tandem_map_close(NULL);
    assert_int_equal(tandem_map_open(&map, in_folder("absent")), TANDEM_NOT_FOUND);
    assert_int_equal(tandem_map_open(&map, folder), TANDEM_ERROR);
}

static void lines(void **state)
{
    (void)state;
    static const char text[] = "one\r\n\ntwo\rtwo\nNUL\0here\nlast\r";
    const char *path = in_folder("lines");
    assert_int_equal(tandem_file_write(path, text, sizeof text - 1), 0);
    tandem_lines *reader;
    assert_int_equal(tandem_lines_open(&reader, path), 0);
    static const struct {
        const char *text;
        size_t length;
    } expected[] = {{"one", 3}, {"", 0}, {"two\rtwo", 7}, {"NUL\0here", 8}, {"last\r", 5}};
    char *line;
    size_t length;
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(tandem_lines_next(reader, &line, &length), 1);
        assert_int_equal(length, expected[i].length);
        assert_memory_equal(line, expected[i].text, length + 1);
        assert_int_equal(tandem_lines_number(reader), i + 1);
    }
    assert_int_equal(tandem_lines_next(reader, &line, &length), 0);
    assert_int_equal(tandem_lines_next(reader, &line, &length), 0); /* and stays there */
    assert_string_equal(tandem_lines_path(reader), path);
    tandem_lines_close(reader);
    tandem_lines_close(NULL);
    assert_int_equal(tandem_lines_open(&reader, in_folder("absent")), TANDEM_NOT_FOUND);
}

/* Lines longer than any buffer, compressed and not. */
static void long_lines(void **state)
{
    (void)state;
    static const char *const names[] = {"long", "long.zst"};
    static const size_t lengths[] = {1, 127 * 1024, 3000001, 0, 131072, 131071, 17};
    enum { COUNT = sizeof lengths / sizeof lengths[0] };
    for (size_t n = 0; n < 2; n++) {
        tandem_writer *writer;
        assert_int_equal(tandem_writer_open(&writer, in_folder(names[n])), 0);
        for (size_t i = 0; i < COUNT; i++) {
            for (size_t j = 0; j < lengths[i]; j++) {
                char byte = (char)('a' + (i + j) % 26);
                assert_int_equal(tandem_writer_write(writer, &byte, 1), 0);
            }
            assert_int_equal(tandem_writer_write(writer, "\n", 1), 0);
        }
        assert_int_equal(tandem_writer_commit(&writer), 0);
        tandem_lines *reader;
        assert_int_equal(tandem_lines_open(&reader, in_folder(names[n])), 0);
        char *line;
        size_t length;
        for (size_t i = 0; i < COUNT; i++) {
            assert_int_equal(tandem_lines_next(reader, &line, &length), 1);
            assert_int_equal(length, lengths[i]);
            for (size_t j = 0; j < length; j++) {
                assert_true(line[j] == (char)('a' + (i + j) % 26));
            }
        }
        assert_int_equal(tandem_lines_next(reader, &line, &length), 0);
        tandem_lines_close(reader);
    }
}

/* Put together, blocks are the file; each ends where a line does. */
static void assert_blocks(const char *path, const char *expected, size_t size)
{
    tandem_lines *reader;
    tandem_buffer block = TANDEM_BUFFER_INIT, whole = TANDEM_BUFFER_INIT;
    int rc;
    assert_int_equal(tandem_lines_open(&reader, path), 0);
    while ((rc = tandem_lines_block(reader, &block)) == 1) {
        assert_int_equal(block.data[block.length], '\0');
        assert_int_equal(tandem_buffer_append(&whole, block.data, block.length), 0);
        assert_true(whole.length == size || block.data[block.length - 1] == '\n');
    }
    assert_int_equal(rc, 0);
    assert_int_equal(tandem_lines_block(reader, &block), 0); /* and stays there */
    assert_int_equal(whole.length, size);
    if (size > 0) {
        assert_memory_equal(whole.data, expected, size);
    }
    tandem_lines_close(reader);
    tandem_buffer_free(&block);
    tandem_buffer_free(&whole);
}

static void blocks(void **state)
{
    (void)state;
    char *text;
    size_t size;
    static const char *const names[] = {"long", "long.zst"};
    for (size_t n = 0; n < 2; n++) { /* those of the test before */
        assert_int_equal(tandem_file_read(&text, &size, in_folder(names[n])), 0);
        assert_blocks(in_folder(names[n]), text, size);
        free(text);
    }
    static const char marked[] = "\xEF\xBB\xBF" "a\r\n\nNUL\0here\n\xEF\xBB\xBFlast";
    assert_int_equal(tandem_file_write(in_folder("marked"), marked, sizeof marked - 1), 0);
    assert_blocks(in_folder("marked"), marked + 3, sizeof marked - 4);
    assert_int_equal(tandem_file_write(in_folder("mark"), marked, 3), 0);
    assert_blocks(in_folder("mark"), NULL, 0);
    assert_int_equal(tandem_file_write(in_folder("none"), "", 0), 0);
    assert_blocks(in_folder("none"), NULL, 0);
}

static void writer_abort_leaves_nothing(void **state)
{
    (void)state;
    const char *path = in_folder("aborted/x");
    tandem_writer *writer;
    assert_int_equal(tandem_writer_open(&writer, path), 0); /* makes the parent */
    assert_int_equal(tandem_writer_write(writer, "half", 4), 0);
    assert_false(tandem_file_exists(path));
    tandem_writer_abort(writer);
    assert_int_equal(entries(in_folder("aborted")), 0);
    tandem_writer_abort(NULL);
}

static void writer_commit_replaces(void **state)
{
    (void)state;
    const char *path = in_folder("replaced/x");
    assert_int_equal(tandem_file_write(path, "old", 3), 0);
    tandem_writer *writer;
    assert_int_equal(tandem_writer_open(&writer, path), 0);
    assert_int_equal(tandem_writer_printf(writer, "%s %d", "new", 7), 0);
    assert_int_equal(tandem_writer_offset(writer), 5);
    assert_content(path, "old"); /* until the commit */
    assert_int_equal(tandem_writer_commit(&writer), 0);
    assert_null(writer);
    assert_content(path, "new 7");
    assert_int_equal(entries(in_folder("replaced")), 1);

    char *text = malloc(5001);
    memset(text, 'y', 5000);
    text[5000] = '\0';
    assert_int_equal(tandem_writer_open(&writer, path), 0);
    assert_int_equal(tandem_writer_printf(writer, "%s", text), 0); /* longer than its buffer */
    assert_int_equal(tandem_writer_commit(&writer), 0);
    assert_content(path, text);
    free(text);
}

static void writer_follows_links(void **state)
{
    (void)state;
    assert_int_equal(tandem_file_write(in_folder("links/real"), "old", 3), 0);
    assert_int_equal(symlink("real", in_folder("links/link")), 0);
    assert_int_equal(tandem_file_write(in_folder("links/link"), "new", 3), 0);
    assert_content(in_folder("links/real"), "new");
    struct stat status;
    assert_int_equal(lstat(in_folder("links/link"), &status), 0);
    assert_true(S_ISLNK(status.st_mode));
}

/* /dev/full takes every write(2) and answers ENOSPC. */
static void writer_reports_a_full_disk(void **state)
{
    (void)state;
    tandem_writer *writer;
    assert_int_equal(tandem_writer_open(&writer, "/dev/full"), 0);
    assert_int_equal(tandem_writer_write(writer, "x", 1), 0);
    assert_int_equal(tandem_writer_commit(&writer), TANDEM_ERROR);
    assert_non_null(strstr(tandem_error_message(), "/dev/full: cannot be written: No space left"));
    assert_null(writer);
    struct stat status;
    assert_int_equal(stat("/dev/full", &status), 0);
    assert_true(S_ISCHR(status.st_mode)); /* it was not renamed over */

    assert_int_equal(tandem_writer_open(&writer, "/dev/full"), 0);
    char *block = calloc(1, 1 << 20);
    assert_int_equal(tandem_writer_write(writer, block, 1 << 20), TANDEM_ERROR);
    assert_int_equal(tandem_writer_write(writer, "x", 1), TANDEM_ERROR); /* a failure stays one */
    assert_int_equal(tandem_writer_commit(&writer), TANDEM_ERROR);
    free(block);
    assert_int_equal(tandem_file_write("/dev/null", "x", 1), 0);
    assert_int_equal(tandem_file_write(folder, "x", 1), TANDEM_ERROR); /* a directory */
}

static void zstd_round_trip(void **state)
{
    (void)state;
    enum { SIZE = 3 << 20 };
    char *data = malloc(SIZE), *copy;
    uint32_t x = 1;
    for (size_t i = 0; i < SIZE; i++) { /* does not compress to nothing */
        x = x * 1664525u + 1013904223u;
        data[i] = (char)(x >> 29);
    }
    const char *path = in_folder("data.zst");
    assert_int_equal(tandem_file_write(path, data, SIZE), 0);
    struct stat status;
    assert_int_equal(stat(path, &status), 0);
    assert_true(status.st_size < SIZE / 2);
    size_t size;
    assert_int_equal(tandem_file_read(&copy, &size, path), 0);
    assert_int_equal(size, SIZE);
    assert_memory_equal(copy, data, SIZE);
    free(copy);

    /* A copy is byte for byte, whatever its name says. */
    assert_int_equal(tandem_file_copy(path, in_folder("copy.zst")), 0);
    struct stat copied;
    assert_int_equal(stat(in_folder("copy.zst"), &copied), 0);
    assert_int_equal(copied.st_size, status.st_size);
    assert_int_equal(tandem_file_copy(in_folder("absent"), in_folder("copy")), TANDEM_NOT_FOUND);
    assert_false(tandem_file_exists(in_folder("copy")));
    free(data);
}

/* Two frames one after the other are one file (RFC 8878, section 3); a file that ends
 * inside a frame is an error at whatever byte it ends. */
static void zstd_frames_and_truncation(void **state)
{
    (void)state;
    assert_int_equal(tandem_file_write(in_folder("a.zst"), "first, ", 7), 0);
    assert_int_equal(tandem_file_write(in_folder("b.zst"), "second", 6), 0);
    tandem_map a, b;
    assert_int_equal(tandem_map_open(&a, in_folder("a.zst")), 0);
    assert_int_equal(tandem_map_open(&b, in_folder("b.zst")), 0);
    char both[256];
    size_t size = a.size + b.size, first = a.size;
    assert_true(size < sizeof both);
    memcpy(both, a.data, a.size);
    memcpy(both + a.size, b.data, b.size);
    tandem_map_close(&a);
    tandem_map_close(&b);
    /* Not compressed again: the name says nothing. */
    assert_int_equal(tandem_file_write(in_folder("both"), both, size), 0);
    assert_content(in_folder("both"), "first, second");
    for (size_t cut = 4; cut < size; cut++) {
        char *data;
        size_t length;
        assert_int_equal(tandem_file_write(in_folder("cut"), both, cut), 0);
        int rc = tandem_file_read(&data, &length, in_folder("cut"));
        if (cut == first) {
            assert_int_equal(rc, 0);
            free(data);
        } else {
            assert_int_equal(rc, TANDEM_ERROR);
            assert_non_null(strstr(tandem_error_message(), "cut: "));
        }
    }
    both[first / 2] ^= 0x10; /* the checksum sees a changed byte */
    assert_int_equal(tandem_file_write(in_folder("bad"), both, first), 0);
    char *data;
    size_t length;
    assert_int_equal(tandem_file_read(&data, &length, in_folder("bad")), TANDEM_ERROR);
}

static void staged_file(void **state)
{
    (void)state;
    const char *path = in_folder("staged/deep/x.h5");
    char *staged;
    assert_int_equal(tandem_stage_file(&staged, path), 0);
    FILE *file = fopen(staged, "w");
    assert_non_null(file);
    fputs("content", file);
    fclose(file);
    assert_false(tandem_file_exists(path));
    assert_int_equal(tandem_stage_commit(staged, path), 0);
    free(staged);
    assert_content(path, "content");

    assert_int_equal(tandem_stage_file(&staged, path), 0);
    assert_int_equal(tandem_stage_commit(staged, path), TANDEM_ERROR); /* nothing was written */
    assert_content(path, "content");
    tandem_stage_abort(staged);
    free(staged);
    assert_int_equal(entries(in_folder("staged/deep")), 1);
}

static void staged_directory(void **state)
{
    (void)state;
    const char *path = in_folder("models/m/"); /* a trailing slash is none of the name */
    for (int round = 0; round < 2; round++) {
        char *staged, name[300];
        assert_int_equal(tandem_stage_dir(&staged, path), 0);
        snprintf(name, sizeof name, "%s/sub/config%d", staged, round);
        assert_int_equal(tandem_file_write(name, "{}", 2), 0);
        assert_int_equal(tandem_stage_commit(staged, path), 0);
        free(staged);
        assert_int_equal(entries(in_folder("models")), 1);
        assert_int_equal(entries(in_folder("models/m/sub")), 1); /* replaced, not merged */
    }
    assert_content(in_folder("models/m/sub/config1"), "{}");
    char *staged;
    assert_int_equal(tandem_stage_dir(&staged, path), 0);
    assert_int_equal(entries(in_folder("models")), 2);
    tandem_stage_abort(staged);
    free(staged);
    assert_int_equal(entries(in_folder("models")), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths),
        cmocka_unit_test(directories),
        cmocka_unit_test(reading),
        cmocka_unit_test(lines),
        cmocka_unit_test(long_lines),
        cmocka_unit_test(blocks),
        cmocka_unit_test(writer_abort_leaves_nothing),
        cmocka_unit_test(writer_commit_replaces),
        cmocka_unit_test(writer_follows_links),
        cmocka_unit_test(writer_reports_a_full_disk),
        cmocka_unit_test(zstd_round_trip),
        cmocka_unit_test(zstd_frames_and_truncation),
        cmocka_unit_test(staged_file),
        cmocka_unit_test(staged_directory),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
