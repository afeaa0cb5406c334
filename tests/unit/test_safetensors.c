/* Reading safetensors by the rules of the format, and writing what every reader takes. */
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tandem/file.h"
#include "tandem/safetensors.h"

static char path[] = "/tmp/test_safetensors.XXXXXX";

static int setup(void **state)
{
    (void)state;
    int fd = mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}

static int teardown(void **state)
{
    (void)state;
    return unlink(path);
}

/* A file of a header and `data` bytes that count up from 0. */
static size_t build(unsigned char *out, const char *header, size_t data)
{
    size_t length = strlen(header);
    for (int i = 0; i < 8; i++) {
        out[i] = (unsigned char)(length >> (8 * i));
    }
    memcpy(out + 8, header, length);
    for (size_t i = 0; i < data; i++) {
        out[8 + length + i] = (unsigned char)i;
    }
    return 8 + length + data;
}

static int open_bytes(tandem_safetensors **file, const unsigned char *bytes, size_t size)
{
    assert_int_equal(tandem_file_write(path, bytes, size), 0);
    return tandem_safetensors_open(file, path);
}

static void assert_refused(const char *header, size_t data, const char *expected)
{
    unsigned char bytes[2048];
    tandem_safetensors *file = NULL;
    assert_int_equal(open_bytes(&file, bytes, build(bytes, header, data)), TANDEM_ERROR);
    assert_null(file);
    assert_non_null(strstr(tandem_error_message(), path)); /* every message names the file */
    if (strstr(tandem_error_message(), expected) == NULL) {
        fail_msg("expected \"%s\" in \"%s\"", expected, tandem_error_message());
    }
}

#define TENSOR(name, dtype, shape, begin, end) "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":[" #begin "," #end "]}"

/* What was read is given back to the system: it is there again, and so is what lies beside it. */
static void reads_again(void **state)
{
    (void)state;
    enum { LARGE = 9000, SMALL = 5, DATA = 4 * (LARGE + 2 * SMALL) };
    static unsigned char bytes[DATA + 1024];
    static float out[LARGE];
    tandem_safetensors *file = NULL;
    size_t size = build(bytes, "{" TENSOR("a", "F32", "[5]", 0, 20) "," TENSOR("b", "F32", "[9000]", 20, 36020) "," TENSOR("c", "F32", "[5]", 36020, 36040) "}   ", DATA);
    assert_int_equal(open_bytes(&file, bytes, size), 0);
    for (int again = 0; again < 2; again++) {
        const unsigned char *expected = bytes + size - DATA;
        for (size_t i = 0; i < 3; i++) {
            const tandem_safetensor *tensor = tandem_safetensors_at(file, i);
            assert_int_equal(tandem_safetensor_read_f32(tensor, out), 0);
            assert_memory_equal(out, expected, tensor->bytes);
            expected += tensor->bytes;
        }
    }
    tandem_safetensors_close(file);
}

static void reads_tensors_in_offset_order(void **state)
{
    (void)state;
    unsigned char bytes[512];
    tandem_safetensors *file = NULL;
    size_t size = build(bytes, "{" TENSOR("late", "F32", "[2]", 4, 12) ",\"__metadata__\":{\"a\":\"b\"}," TENSOR("empty", "F32", "[0,7]", 4, 4) ","
                                   TENSOR("scalar", "I32", "[]", 0, 4) "}   ", 12);
    assert_int_equal(open_bytes(&file, bytes, size), 0);
    assert_int_equal(tandem_safetensors_count(file), 3);
    assert_string_equal(tandem_safetensors_at(file, 0)->name, "scalar");
    assert_string_equal(tandem_safetensors_at(file, 1)->name, "empty");
    assert_string_equal(tandem_safetensors_at(file, 2)->name, "late");
    const tandem_safetensor *scalar = tandem_safetensors_find(file, "scalar");
    assert_int_equal(scalar->dims, 0);
    assert_int_equal(scalar->elements, 1);
    assert_int_equal(scalar->dtype, TANDEM_DTYPE_I32);
    assert_int_equal(tandem_safetensors_find(file, "empty")->elements, 0);
    assert_int_equal(tandem_safetensors_find(file, "late")->data[0], 4);
    assert_null(tandem_safetensors_find(file, "__metadata__"));
    float value;
    assert_int_equal(tandem_safetensor_read_f32(scalar, &value), TANDEM_ERROR);
    assert_non_null(strstr(tandem_error_message(), "holds I32"));
    tandem_safetensors_close(file);
}

static void refuses_what_the_rules_refuse(void **state)
{
    (void)state;
    assert_refused("[]", 0, "expected '{'");
    assert_refused(" {}", 0, "expected '{'");
    assert_refused("{" TENSOR("a", "F32", "[1]", 0, 4) "," TENSOR("a", "F32", "[1]", 0, 4) "}", 4, "\"a\"");
    assert_refused("{" TENSOR("a", "F32", "[1]", 0, 4) "," TENSOR("b", "F32", "[1]", 2, 6) "}", 6, "begins at data byte 2, expected 4");
    assert_refused("{" TENSOR("a", "F32", "[1]", 0, 4) "," TENSOR("b", "F32", "[1]", 5, 9) "}", 9, "begins at data byte 5, expected 4");
    assert_refused("{" TENSOR("a", "F32", "[1]", 4, 8) "}", 8, "begins at data byte 4, expected 0");
    assert_refused("{" TENSOR("a", "F32", "[1]", 0, 4) "}", 5, "1 bytes after the last tensor");
    assert_refused("{" TENSOR("a", "F32", "[1]", 0, 4) "}", 3, "truncated or damaged");
    assert_refused("{" TENSOR("a", "F32", "[1]", 4, 0) "}", 4, "data_offsets");
    assert_refused("{" TENSOR("a", "F32", "[2]", 0, 4) "}", 4, "its shape needs 8 bytes, data_offsets give 4");
    assert_refused("{" TENSOR("a", "F33", "[1]", 0, 4) "}", 4, "dtype \"F33\"");
    assert_refused("{" TENSOR("a", "F32", "[-1]", 0, 4) "}", 4, "expected a string, an integer");
    assert_refused("{" TENSOR("a", "F32", "[1.0]", 0, 4) "}", 4, "expected a string, an integer");
    assert_refused("{" TENSOR("a", "F32", "[01]", 0, 4) "}", 4, "a number begins with 0");
    assert_refused("{" TENSOR("a", "F32", "[1,1,1,1,1,1,1,1,1]", 0, 4) "}", 4, "more than 8 numbers");
    assert_refused("{" TENSOR("a", "F32", "[\"1\"]", 0, 4) "}", 4, "integers below 2^53");
    assert_refused("{" TENSOR("a", "F32", "[9007199254740993]", 0, 4) "}", 4, "integers below 2^53");
    /* 2^32 * 2^32 * 4 bytes wraps to 0 in 64 bits. */
    assert_refused("{" TENSOR("a", "F32", "[4294967296,4294967296]", 0, 0) "}", 0, "its shape needs");
    assert_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, "data_offsets must be an array");
    assert_refused("{\"a\":{\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "dtype");
    assert_refused("{\"a\":[]}", 0, "expected an object");
    assert_refused("{\"__metadata__\":{\"a\":1}}", 0, "strings only");
    assert_refused("{\"__metadata__\":[]}", 0, "must be an object");
    assert_refused("{\"a\xff\":{}}", 0, "UTF-8");
    assert_refused("{\"a\n\":{}}", 0, "control character");
    assert_refused("{} x", 0, "expected a string, an integer");
}

static void refuses_lying_lengths(void **state)
{
    (void)state;
    static const unsigned char none[4] = {0};
    unsigned char bytes[64];
    tandem_safetensors *file = NULL;
    assert_int_equal(open_bytes(&file, none, sizeof none), TANDEM_ERROR);
    assert_non_null(strstr(tandem_error_message(), "at least 8"));
    size_t size = build(bytes, "{}", 0);
    bytes[1] = 1; /* 258 bytes of header in a file of 10 */
    assert_int_equal(open_bytes(&file, bytes, size), TANDEM_ERROR);
    assert_non_null(strstr(tandem_error_message(), "truncated: the header claims 258 bytes"));
    memset(bytes, 0xff, 8);
    assert_int_equal(open_bytes(&file, bytes, size), TANDEM_ERROR);
    assert_non_null(strstr(tandem_error_message(), "more than the format allows"));
}

static void refuses_every_truncation(void **state)
{
    (void)state;
    unsigned char bytes[512];
    size_t size = build(bytes, "{" TENSOR("a", "F32", "[2,2]", 0, 16) "," TENSOR("b", "F16", "[3]", 16, 22) "}", 22);
    for (size_t cut = 0; cut < size; cut++) {
        tandem_safetensors *file = NULL;
        assert_int_equal(open_bytes(&file, bytes, cut), TANDEM_ERROR);
        assert_null(file);
    }
    tandem_safetensors *file = NULL;
    assert_int_equal(open_bytes(&file, bytes, size), 0);
    tandem_safetensors_close(file);
}

static void refuses_pickles_with_the_command_that_converts(void **state)
{
    (void)state;
    static const unsigned char zip[] = "PK\3\4\0\0\10\10\0\0\0\0\0\0archive/data.pkl";
    static const unsigned char bare[] = "\x80\2\x8a\12l\xfc\x9c\x46\xf9\x20\x6a\xa8P\x19.";
    tandem_safetensors *file = NULL;
    assert_int_equal(open_bytes(&file, zip, sizeof zip), TANDEM_ERROR);
    assert_non_null(strstr(tandem_error_message(), "weights_only=True"));
    assert_non_null(strstr(tandem_error_message(), "save_file"));
    assert_int_equal(open_bytes(&file, bare, sizeof bare), TANDEM_ERROR);
    assert_non_null(strstr(tandem_error_message(), "weights_only=True"));
}

/* Values from IEEE 754: 1.5 is 0x3e00 in binary16 and 0x3fc0 in bfloat16. */
static void converts_to_float32(void **state)
{
    (void)state;
    unsigned char bytes[512];
    static const char header[] = "{" TENSOR("half", "F16", "[6]", 0, 12) "," TENSOR("brain", "BF16", "[2]", 12, 16) "," TENSOR("double", "F64", "[1]", 16, 24) "}";
    static const uint16_t half[6] = {0x3e00, 0x0001, 0x7bff, 0xfc00, 0x8000, 0x0400};
    static const uint16_t brain[2] = {0x3fc0, 0xff80};
    static const double number = -0.1;
    size_t size = build(bytes, header, 24), start = size - 24;
    memcpy(bytes + start, half, 12);
    memcpy(bytes + start + 12, brain, 4);
    memcpy(bytes + start + 16, &number, 8);
    tandem_safetensors *file = NULL;
    assert_int_equal(open_bytes(&file, bytes, size), 0);
    float out[6];
    static const float expected[6] = {1.5f, 0x1p-24f, 65504.0f, -__builtin_inff(), -0.0f, 0x1p-14f};
    assert_int_equal(tandem_safetensor_read_f32(tandem_safetensors_find(file, "half"), out), 0);
    assert_memory_equal(out, expected, sizeof expected);
    assert_int_equal(tandem_safetensor_read_f32(tandem_safetensors_find(file, "brain"), out), 0);
    assert_true(out[0] == 1.5f && out[1] == -__builtin_inff());
    assert_int_equal(tandem_safetensor_read_f32(tandem_safetensors_find(file, "double"), out), 0);
    assert_true(out[0] == -0.1f);
    tandem_safetensors_close(file);
}

static void writes_what_it_reads(void **state)
{
    (void)state;
    static const float matrix[6] = {1, 2, 3, 4, 5, 6}, one = -7;
    static const tandem_safetensor_out tensors[] = {
        {.name = "z \"quoted\"", .dims = 2, .shape = {3, 2}, .data = matrix},
        {.name = "a", .dims = 0, .data = &one},
        {.name = "none", .dims = 1, .shape = {0}, .data = NULL},
    };
    assert_int_equal(tandem_safetensors_write(path, tensors, 3), 0);
    tandem_safetensors *file = NULL;
    assert_int_equal(tandem_safetensors_open(&file, path), 0);
    assert_int_equal(tandem_safetensors_count(file), 3);
    const tandem_safetensor *z = tandem_safetensors_find(file, "z \"quoted\"");
    assert_int_equal(z->dims, 2);
    assert_int_equal(z->shape[0], 3);
    assert_int_equal(z->shape[1], 2);
    assert_int_equal((uintptr_t)z->data % 8, 0); /* data begins at a multiple of 8 */
    assert_memory_equal(z->data, matrix, sizeof matrix);
    assert_memory_equal(tandem_safetensors_find(file, "a")->data, &one, sizeof one);
    assert_int_equal(tandem_safetensors_find(file, "none")->elements, 0);
    tandem_safetensors_close(file);
}

/* A download that broke off, and the files of another library. */
static void reads_and_refuses_the_fixtures(void **state)
{
    (void)state;
    const char *shared = getenv("TANDEM_SHARED");
    char name[512];
    tandem_safetensors *file = NULL;
    snprintf(name, sizeof name, "%s/fixtures/weights/all-MiniLM-L6-v2.TRUNCATED/model.safetensors.truncated", shared ? shared : "");
    if (!tandem_file_exists(name)) {
        skip();
    }
    assert_int_equal(tandem_safetensors_open(&file, name), TANDEM_ERROR);
    assert_non_null(strstr(tandem_error_message(), "truncated"));
    static const char *const letters = "BHIbdefhi";
    for (const char *letter = letters; *letter != '\0'; letter++) {
        snprintf(name, sizeof name, "%s/fixtures/weights/safetensors-samples/%c.safetensors", shared, *letter);
        assert_int_equal(tandem_safetensors_open(&file, name), 0);
        assert_int_equal(tandem_safetensors_at(file, 0)->elements, 6);
        tandem_safetensors_close(file);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_again),
        cmocka_unit_test(reads_tensors_in_offset_order),
        cmocka_unit_test(refuses_what_the_rules_refuse),
        cmocka_unit_test(refuses_lying_lengths),
        cmocka_unit_test(refuses_every_truncation),
        cmocka_unit_test(refuses_pickles_with_the_command_that_converts),
        cmocka_unit_test(converts_to_float32),
        cmocka_unit_test(writes_what_it_reads),
        cmocka_unit_test(reads_and_refuses_the_fixtures),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
