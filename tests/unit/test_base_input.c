/* Compressed input: gzip (RFC 1952) as tools write it, told by its first bytes. */
#include "folder.h"

#include <zlib.h>

/* `text` as one gzip member, into `out`; returns its size. */
static size_t pack(const char *text, size_t length, unsigned char *out, size_t room)
{
    z_stream stream = {0};
    assert_int_equal(deflateInit2(&stream, 6, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY), Z_OK);
    stream.next_in = (Bytef *)(uintptr_t)text;
    stream.avail_in = (uInt)length;
    stream.next_out = out;
    stream.avail_out = (uInt)room;
    assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
    size_t size = room - stream.avail_out;
    deflateEnd(&stream);
    return size;
}

static void assert_reads(const char *path, const char *text, size_t length)
{
    char *data;
    size_t size;
    assert_int_equal(tandem_file_read(&data, &size, path), 0);
    assert_int_equal(size, length);
    assert_memory_equal(data, text, length);
    free(data);
}

/* Several members, one of them empty, are the concatenation of their texts (RFC 1952, 2.2). */
static void members(void **state)
{
    (void)state;
    unsigned char packed[256];
    size_t first = pack("one\ntw", 6, packed, sizeof packed);
    size_t second = first + pack("", 0, packed + first, sizeof packed - first);
    size_t third = second + pack("o\n", 2, packed + second, sizeof packed - second);
    const char *path = in_folder("members.gz");
    assert_int_equal(tandem_file_write(path, packed, third), 0);
    assert_reads(path, "one\ntwo\n", 8);
    tandem_lines *lines;
    char *line;
    size_t length;
    assert_int_equal(tandem_lines_open(&lines, path), 0);
    assert_int_equal(tandem_lines_next(lines, &line, &length), 1);
    assert_string_equal(line, "one");
    assert_int_equal(tandem_lines_next(lines, &line, &length), 1);
    assert_string_equal(line, "two");
    assert_int_equal(tandem_lines_next(lines, &line, &length), 0);
    tandem_lines_close(lines);
    /* The name does not matter. */
    assert_int_equal(tandem_file_write(in_folder("plain.txt"), packed, first), 0);
    assert_reads(in_folder("plain.txt"), "one\ntw", 6);
}

/* Much larger than any buffer, packed and not. */
static void large(void **state)
{
    (void)state;
    enum { LENGTH = 3000017 };
    char *text = malloc(LENGTH);
    unsigned char *packed = malloc(LENGTH);
    uint32_t seed = 1;
    for (size_t i = 0; i < LENGTH; i++) { /* half compressible, so that the packed file is large too */
        seed = seed * 1664525 + 1013904223;
        text[i] = (char)('a' + (i % 2 ? seed >> 28 : 0));
    }
    size_t size = pack(text, LENGTH, packed, LENGTH);
    assert_true(size > 512 * 1024);
    assert_int_equal(tandem_file_write(in_folder("large.gz"), packed, size), 0);
    assert_reads(in_folder("large.gz"), text, LENGTH);
    free(packed);
    free(text);
}

/* Every truncation after the magic number and a changed byte of the checksum are errors. */
static void damaged(void **state)
{
    (void)state;
    unsigned char packed[256];
    char *data = NULL;
    size_t read, size = pack("some text", 9, packed, sizeof packed);
    const char *path = in_folder("damaged.gz");
    for (size_t length = 4; length < size; length++) {
        assert_int_equal(tandem_file_write(path, packed, length), 0);
        assert_fails(tandem_file_read(&data, &read, path),
                     "damaged.gz: truncated: the last gzip member is not complete");
    }
    packed[size - 8] ^= 1;
    assert_int_equal(tandem_file_write(path, packed, size), 0);
    assert_fails(tandem_file_read(&data, &read, path), "damaged.gz: bad gzip data: incorrect data check");
    packed[size - 8] ^= 1;
    packed[size] = 'x'; /* what follows a member must be one */
    assert_int_equal(tandem_file_write(path, packed, size + 1), 0);
    assert_int_equal(tandem_file_read(&data, &read, path), TANDEM_ERROR);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members),
        cmocka_unit_test(large),
        cmocka_unit_test(damaged),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
