/* Hashes, random streams, and what the machine says about itself. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tandem/file.h"
#include "tandem/hash.h"
#include "tandem/machine.h"
#include "tandem/random.h"

static void assert_hex(tandem_hash hash, const char *expected)
{
    char hex[TANDEM_HASH_HEX];
    tandem_hash_hex(hash, hex);
    assert_string_equal(hex, expected);
}

/* XXH3 128 of the xxHash test vectors (empty input) and, for "abc", of xxhsum -H2. */
static void hash_golden(void **state)
{
    (void)state;
    assert_hex(tandem_hash_bytes("", 0), "99aa06d3014798d86001c324468d497f");
    assert_hex(tandem_hash_bytes("abc", 3), "06b05ab6733a618578af5f94892f3950");
}

static void hash_of_a_file(void **state)
{
    (void)state;
    enum { SIZE = (1 << 20) + 17 }; /* more than one block */
    char path[] = "/tmp/tandem-test-XXXXXX";
    close(mkstemp(path));
    char *data = malloc(SIZE);
    for (size_t i = 0; i < SIZE; i++) {
        data[i] = (char)(i * i % 251);
    }
    assert_int_equal(tandem_file_write(path, data, SIZE), 0);
    tandem_hash hash;
    assert_int_equal(tandem_hash_file(&hash, path), 0);
    assert_true(tandem_hash_equal(hash, tandem_hash_bytes(data, SIZE)));
    assert_false(tandem_hash_equal(hash, tandem_hash_bytes(data, SIZE - 1)));
    unlink(path);
    assert_int_equal(tandem_hash_file(&hash, path), TANDEM_NOT_FOUND);
    free(data);
}

static tandem_hash of_strings(const char *a, const char *b)
{
    tandem_hasher *hasher = tandem_hasher_new();
    tandem_hasher_string(hasher, a);
    tandem_hasher_string(hasher, b);
    return tandem_hasher_done(hasher);
}

static void hash_fields_have_borders(void **state)
{
    (void)state;
    assert_true(tandem_hash_equal(of_strings("ab", "c"), of_strings("ab", "c")));
    assert_false(tandem_hash_equal(of_strings("ab", "c"), of_strings("a", "bc")));
    assert_false(tandem_hash_equal(of_strings("ab", ""), of_strings("ab", NULL)));
    tandem_hasher *one = tandem_hasher_new(), *two = tandem_hasher_new();
    tandem_hasher_int(one, 1);
    tandem_hasher_int(two, -1);
    assert_false(tandem_hash_equal(tandem_hasher_done(one), tandem_hasher_done(two)));
    one = tandem_hasher_new();
    two = tandem_hasher_new();
    tandem_hasher_hash(one, (tandem_hash){1, 2});
    tandem_hasher_hash(two, (tandem_hash){2, 1});
    assert_false(tandem_hash_equal(tandem_hasher_done(one), tandem_hasher_done(two)));
}

/* The first numbers of a stream, computed apart from this code by a transcription of
 * xoshiro256**, SplitMix64 and XXH3 into Python. A run's order depends on them. */
static void random_golden(void **state)
{
    (void)state;
    tandem_random random = tandem_random_stream(13, "sampler", 0);
    assert_true(tandem_random_next(&random) == UINT64_C(0xb43452338ccb9ac4));
    assert_true(tandem_random_next(&random) == UINT64_C(0x92f20f4e9c84fb69));
    tandem_random copy = random; /* copying saves the state */
    assert_true(tandem_random_next(&random) == UINT64_C(0x5d09089a2760dc10));
    assert_true(tandem_random_next(&copy) == UINT64_C(0x5d09089a2760dc10));
}

static void random_streams_differ(void **state)
{
    (void)state;
    tandem_random streams[] = {
        tandem_random_stream(13, "sampler", 0), tandem_random_stream(14, "sampler", 0),
        tandem_random_stream(13, "samplers", 0), tandem_random_stream(13, "sampler", 1)};
    for (size_t i = 0; i < 4; i++) {
        for (size_t j = 0; j < i; j++) {
            assert_memory_not_equal(&streams[i], &streams[j], sizeof streams[0]);
        }
    }
}

/* 100,000 draws: sums stray from their mean by less than six standard deviations (the
 * stream is fixed, so a right implementation always passes; an unfair one does not). */
static void random_is_uniform(void **state)
{
    (void)state;
    enum { DRAWS = 100000, BOUND = 7 };
    tandem_random random = tandem_random_stream(1, "test", 0);
    size_t counts[BOUND] = {0};
    double sum = 0, normal_sum = 0, normal_squares = 0;
    for (size_t i = 0; i < DRAWS; i++) {
        uint64_t below = tandem_random_below(&random, BOUND);
        assert_true(below < BOUND);
        counts[below]++;
        double uniform = tandem_random_double(&random);
        assert_true(uniform >= 0 && uniform < 1);
        sum += uniform;
        double normal = tandem_random_normal(&random);
        normal_sum += normal;
        normal_squares += normal * normal;
    }
    double expected = (double)DRAWS / BOUND, deviation = sqrt(expected * (1 - 1.0 / BOUND));
    for (size_t i = 0; i < BOUND; i++) {
        assert_true(fabs((double)counts[i] - expected) < 6 * deviation);
    }
    assert_true(fabs(sum - DRAWS / 2.0) < 6 * sqrt(DRAWS / 12.0));
    assert_true(fabs(normal_sum) < 6 * sqrt(DRAWS));
    assert_true(fabs(normal_squares - DRAWS) < 6 * sqrt(2.0 * DRAWS)); /* variance of a square: 2 */
    assert_int_equal(tandem_random_below(&random, 1), 0);
}

/* A bound just above 2^63: a plain modulo would draw the low values twice as often. */
static void random_below_has_no_bias(void **state)
{
    (void)state;
    enum { DRAWS = 10000 };
    tandem_random random = tandem_random_stream(1, "bias", 0);
    uint64_t bound = (UINT64_C(1) << 63) + (UINT64_C(1) << 62);
    size_t low = 0;
    for (size_t i = 0; i < DRAWS; i++) {
        low += tandem_random_below(&random, bound) < bound / 3;
    }
    /* A third of the draws; six standard deviations. With bias it were half. */
    assert_true(fabs((double)low - DRAWS / 3.0) < 6 * sqrt(DRAWS * 2.0 / 9));
}

static void shuffles(void **state)
{
    (void)state;
    uint32_t items[100], moved = 0;
    uint64_t seen[2] = {0, 0};
    for (uint32_t i = 0; i < 100; i++) {
        items[i] = i;
    }
    tandem_random random = tandem_random_stream(5, "shuffle", 0);
    tandem_random_shuffle(&random, items, 100);
    for (uint32_t i = 0; i < 100; i++) {
        moved += items[i] != i;
        seen[items[i] / 64] |= UINT64_C(1) << items[i] % 64;
    }
    assert_in_range(moved, 80, 100); /* one item is expected to stay */
    assert_true(seen[0] == UINT64_MAX && seen[1] == (UINT64_C(1) << 36) - 1); /* a permutation */

    size_t orders[6] = {0}; /* of three items, all six come equally often */
    for (size_t i = 0; i < 6000; i++) {
        uint32_t three[] = {0, 1, 2};
        tandem_random_shuffle(&random, three, 3);
        orders[three[0] * 2 + (three[1] > three[2])]++;
    }
    for (size_t i = 0; i < 6; i++) {
        assert_in_range(orders[i], 1000 - 173, 1000 + 173); /* six standard deviations */
    }
    tandem_random_shuffle(&random, items, 0);
}

static void machine(void **state)
{
    (void)state;
    assert_in_range(tandem_machine_cores(), 1, (size_t)sysconf(_SC_NPROCESSORS_CONF));
    assert_true(tandem_machine_memory() > (size_t)64 << 20);
    assert_in_range(tandem_machine_peak_rss(), 1 << 20, tandem_machine_memory());
    assert_true(strlen(tandem_machine_cpu()) > 0);
    tandem_machine_set_threads(3);
    assert_int_equal(tandem_machine_threads(), 3);
    tandem_machine_set_threads(0);
    assert_int_equal(tandem_machine_threads(), tandem_machine_cores());
    assert_string_equal(tandem_isa_name(TANDEM_ISA_AVX512), "avx512");
}

/* TANDEM_ISA is read once a process: ask in a child. */
static int isa_in_child(const char *wish)
{
    pid_t child = fork();
    if (child == 0) {
        setenv("TANDEM_ISA", wish, 1);
        _exit((int)tandem_machine_isa());
    }
    int status;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void isa_can_be_lowered(void **state)
{
    (void)state;
    int best = isa_in_child("zen4"); /* at most what the CPU has */
    assert_int_equal(isa_in_child("portable"), TANDEM_ISA_PORTABLE);
    assert_int_equal(isa_in_child("avx2"), best < TANDEM_ISA_AVX2 ? best : TANDEM_ISA_AVX2);
    assert_int_equal(isa_in_child("avx512"), best < TANDEM_ISA_AVX512 ? best : TANDEM_ISA_AVX512);
    assert_int_equal(isa_in_child(""), best);
}

static void interrupts(void **state)
{
    (void)state;
    pid_t child = fork();
    if (child == 0) {
        tandem_interrupt_install();
        int before = tandem_interrupted();
        raise(SIGTERM);
        int after = tandem_interrupted();
        if (before || !after) {
            _exit(1);
        }
        raise(SIGINT); /* the second one ends the process */
        _exit(2);
    }
    int status;
    waitpid(child, &status, 0);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 130);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hash_golden),
        cmocka_unit_test(hash_of_a_file),
        cmocka_unit_test(hash_fields_have_borders),
        cmocka_unit_test(random_golden),
        cmocka_unit_test(random_streams_differ),
        cmocka_unit_test(random_is_uniform),
        cmocka_unit_test(random_below_has_no_bias),
        cmocka_unit_test(shuffles),
        cmocka_unit_test(isa_can_be_lowered),
        cmocka_unit_test(interrupts),
        cmocka_unit_test(machine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
