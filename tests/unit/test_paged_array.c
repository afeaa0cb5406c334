/* Memory in an unlinked file: what it holds, and what happens when it cannot grow. */
#include <signal.h>
#include <string.h>
#include <sys/resource.h>

#include "folder.h"

#include "data/paged_array.h"

static void test_grows_with_zeros(void **state)
{
    (void)state;
    tandem_paged_array array = {.folder = folder};
    assert_int_equal(tandem_paged_array_reserve(&array, 10), 0);
    size_t first = array.bytes;
    memset(array.data, 7, first);
    assert_int_equal(tandem_paged_array_reserve(&array, first), 0);
    assert_int_equal(array.bytes, first);
    assert_int_equal(tandem_paged_array_reserve(&array, 5 * first), 0);
    assert_true(array.bytes >= 5 * first);
    const unsigned char *bytes = array.data;
    for (size_t i = 0; i < array.bytes; i++) {
        assert_int_equal(bytes[i], i < first ? 7 : 0);
    }
    tandem_paged_array_free(&array);
    assert_int_equal(array.bytes, 0);
    tandem_paged_array_free(&array); /* again, and of nothing: fine */
}

static void test_a_full_file_system_leaves_what_there_was(void **state)
{
    (void)state;
    struct rlimit before, limit;
    tandem_paged_array array = {.folder = folder};
    assert_int_equal(tandem_paged_array_reserve(&array, 1), 0);
    size_t bytes = array.bytes;
    memset(array.data, 5, bytes);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = (struct rlimit){bytes, before.rlim_max};
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    int rc = tandem_paged_array_reserve(&array, 2 * bytes);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, handler);
    assert_int_equal(rc, TANDEM_ERROR);
    assert_non_null(strstr(tandem_error_message(), "no room for"));
    assert_int_equal(array.bytes, bytes);
    assert_int_equal(((const unsigned char *)array.data)[bytes - 1], 5);
    tandem_paged_array_free(&array);
}

static void test_a_folder_that_is_not_there(void **state)
{
    (void)state;
    tandem_paged_array array = {.folder = in_folder("nowhere")};
    assert_int_equal(tandem_paged_array_reserve(&array, 1), TANDEM_ERROR);
    assert_message("nowhere: cannot make a temporary file: No such file or directory");
    tandem_paged_array_free(&array);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_grows_with_zeros),
        cmocka_unit_test(test_a_full_file_system_leaves_what_there_was),
        cmocka_unit_test(test_a_folder_that_is_not_there),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
