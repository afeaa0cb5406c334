/* TensorBoard's event records, byte for byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "train/tensorboard.h"

/* The examples of RFC 3720, B.4, and the check value of the CRC catalogue. */
static void test_crc32c(void **state)
{
    (void)state;
    unsigned char bytes[32];

    memset(bytes, 0, sizeof bytes);
    assert_int_equal(tandem_crc32c(bytes, sizeof bytes), 0x8a9136aaU);
    memset(bytes, 0xff, sizeof bytes);
    assert_int_equal(tandem_crc32c(bytes, sizeof bytes), 0x62a8ab43U);
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (unsigned char)i;
    }
    assert_int_equal(tandem_crc32c(bytes, sizeof bytes), 0x46dd794eU);
    assert_int_equal(tandem_crc32c("123456789", 9), 0xe3069283U);
}

/* The record that every file of tensorboard's own writer begins with, but for the time. */
static void test_version(void **state)
{
    (void)state;
    static const unsigned char head[] = {24, 0, 0, 0, 0, 0, 0, 0, 0xa3, 0x7f, 0x4b, 0x22};
    tandem_buffer out = TANDEM_BUFFER_INIT;

    assert_int_equal(tandem_event_version(&out, 1.0), 0);
    assert_int_equal(out.length, 12 + 24 + 4);
    assert_memory_equal(out.data, head, sizeof head);
    assert_memory_equal(out.data + 12, "\x09\0\0\0\0\0\0\xf0\x3f\x1a\x0d" "brain.Event:2", 24);
    tandem_buffer_free(&out);
}

static void test_scalars(void **state)
{
    (void)state;
    const tandem_scalar scalars[] = {{"a/b", 0.5}, {"c", -2.0}};
    tandem_buffer out = TANDEM_BUFFER_INIT;

    assert_int_equal(tandem_event_scalars(&out, 1.0, 300, scalars, 2), 0);
    assert_int_equal(out.length, 12 + 36 + 4);
    assert_memory_equal(out.data + 12,
                        "\x09\0\0\0\0\0\0\xf0\x3f"                    /* wall_time 1.0 */
                        "\x10\xac\x02"                                /* step 300 */
                        "\x2a\x16"                                    /* summary */
                        "\x0a\x0a\x0a\x03" "a/b" "\x15\0\0\0\x3f"     /* value: tag, 0.5 */
                        "\x0a\x08\x0a\x01" "c" "\x15\0\0\0\xc0", 36); /* -2.0 */
    tandem_buffer_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crc32c), cmocka_unit_test(test_version), cmocka_unit_test(test_scalars),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
