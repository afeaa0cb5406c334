/* folder.h - what tests that touch the disk share: a folder of their own, files in it, and the
 * messages of failures without its path. */
#ifndef TANDEM_TESTS_FOLDER_H
#define TANDEM_TESTS_FOLDER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tandem/error.h"
#include "tandem/file.h"

static char folder[] = "/tmp/tandem-test-XXXXXX";

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    return tandem_dir_remove(folder);
}

/* folder/name, in one of a few static buffers. */
static const char *in_folder(const char *name)
{
    static char paths[8][256];
    static size_t next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

/* Writes folder/name (its parents are made) and returns its path. */
__attribute__((unused)) static const char *put_file(const char *name, const char *text)
{
    const char *path = in_folder(name);
    assert_int_equal(tandem_file_write(path, text, strlen(text)), 0);
    return path;
}

/* The present message, in which folder/ is left out, must be `expected`. */
__attribute__((unused)) static void assert_message(const char *expected)
{
    const char *message = tandem_error_message();
    size_t length = strlen(folder);
    if (strncmp(message, folder, length) == 0 && message[length] == '/') {
        message += length + 1;
    }
    assert_string_equal(message, expected);
}

/* `call` must fail with TANDEM_ERROR and this message. */
#define assert_fails(call, expected)            \
    do {                                        \
        assert_int_equal((call), TANDEM_ERROR); \
        assert_message(expected);               \
    } while (0)

#endif
