/* What goes to stderr, and when. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tandem/log.h"

static char written[8192];

/* Runs `talk` with stderr turned to `descriptor`. */
static void with_stderr(int descriptor, void (*talk)(void))
{
    fflush(stderr);
    int saved = dup(STDERR_FILENO);
    dup2(descriptor, STDERR_FILENO);
    talk();
    fflush(stderr);
    dup2(saved, STDERR_FILENO);
    close(saved);
}

/* All that is there: a terminal gives it in pieces, and EAGAIN after the last. */
static void read_written(int descriptor)
{
    size_t used = 0;
    for (ssize_t count = 1; count > 0 && used < sizeof written - 1; used += count > 0 ? (size_t)count : 0) {
        count = read(descriptor, written + used, sizeof written - 1 - used);
    }
    written[used] = '\0';
}

static void run_to_file(void (*talk)(void))
{
    char path[] = "/tmp/tandem-test-XXXXXX";
    int file = mkstemp(path);
    unlink(path);
    with_stderr(file, talk);
    lseek(file, 0, SEEK_SET);
    read_written(file);
    close(file);
}

static void say_all(void)
{
    tandem_log_warn("one %d", 1);
    tandem_log_info("two");
    tandem_log_debug("three");
}

static void levels(void **state)
{
    (void)state;
    run_to_file(say_all);
    assert_string_equal(written, "warning: one 1\ntwo\n"); /* INFO at start */
    tandem_log_set_level(TANDEM_LOG_DEBUG);
    run_to_file(say_all);
    assert_string_equal(written, "warning: one 1\ntwo\ndebug: three\n");
    tandem_log_set_level(TANDEM_LOG_WARN);
    run_to_file(say_all);
    assert_string_equal(written, "warning: one 1\n");
    tandem_log_set_level(TANDEM_LOG_QUIET);
    run_to_file(say_all);
    assert_string_equal(written, "");
    tandem_log_set_level(TANDEM_LOG_INFO);
}

/* 1.3 seconds of work, then a message. */
static void work(void)
{
    tandem_progress *progress = tandem_progress_new("train", "steps", 26);
    for (uint64_t done = 1; done <= 26; done++) {
        usleep(50000);
        tandem_progress_update(progress, done, "loss 0.5");
    }
    tandem_log_info("done");
    tandem_progress_free(progress);
}

static void short_work(void)
{
    tandem_progress *progress = tandem_progress_new("train", "steps", 2);
    tandem_progress_update(progress, 1, NULL);
    tandem_progress_update(progress, 2, NULL);
    tandem_progress_free(progress);
    tandem_progress_update(NULL, 1, NULL);
    tandem_progress_free(NULL);
}

static void progress_in_a_file_is_silent(void **state)
{
    (void)state;
    run_to_file(work);
    assert_string_equal(written, "done\n"); /* 30 seconds have not passed */
}

static void progress_on_a_terminal(void **state)
{
    (void)state;
    int master = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK);
    assert_true(master >= 0);
    assert_int_equal(grantpt(master), 0);
    assert_int_equal(unlockpt(master), 0);
    int terminal = open(ptsname(master), O_RDWR | O_NOCTTY);
    assert_true(terminal >= 0);
    with_stderr(terminal, work);
    read_written(master);
    assert_memory_equal(written, "\r\033[Ktrain: ", 11);
    assert_non_null(strstr(written, "/26 steps ("));
    assert_non_null(strstr(written, " left, loss 0.5"));
    assert_non_null(strstr(written, "\r\033[Kdone\r\n")); /* a message clears the line first */

    with_stderr(terminal, short_work);
    (void)!write(terminal, "end", 3);
    read_written(master);
    assert_string_equal(written, "end"); /* under a second nothing was shown */
    close(terminal);
    close(master);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(levels),
        cmocka_unit_test(progress_in_a_file_is_silent),
        cmocka_unit_test(progress_on_a_terminal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
