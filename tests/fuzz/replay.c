/* replay.c - runs a fuzz target without libFuzzer: on the files named on the command
 * line (to replay a crash), else on its seeds and on inputs made from them. The same
 * inputs on every run. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "tandem/file.h"
#include "tandem/random.h"

/* Inputs of each kind that are made from one seed. */
enum { TRUNCATIONS = 1000, SUBSTITUTIONS = 2000, MUTATIONS = 2000 };

/* What most parsers here have in common. */
static const tandem_fuzz_seed common_seeds[] = {
    TANDEM_FUZZ_SEED(""),
    TANDEM_FUZZ_SEED("\n"),
    TANDEM_FUZZ_SEED("\0\0\0\0\0\0\0\0"),
    TANDEM_FUZZ_SEED("\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF"),
    TANDEM_FUZZ_SEED("{\"a\": [1, -2.5e3, \"\\u00e9\\n\"], \"b\": {\"c\": null, \"d\": true}}\n"),
    TANDEM_FUZZ_SEED("q1\t0\td1\t1\nq1 0 d2 0\n"),
    TANDEM_FUZZ_SEED("caf\xC3\xA9 \xE6\x97\xA5\xE6\x9C\xAC \xF0\x9F\x98\x80 \xC3("),
    {NULL, 0},
};

static size_t inputs;

/* The target gets a block of exactly `size` bytes: AddressSanitizer sees a read past
 * its end. */
static void run(const char *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);
    if (!copy) {
        abort();
    }
    memcpy(copy, data, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
    inputs++;
}

/* A few random edits: bytes replaced, a run removed or repeated. */
static size_t mutate(tandem_random *random, char *data, size_t size, size_t room)
{
    for (uint64_t edits = 1 + tandem_random_below(random, 4); edits > 0 && size > 0; edits--) {
        size_t at = (size_t)tandem_random_below(random, size);
        size_t length = 1 + (size_t)tandem_random_below(random, size - at);
        switch (tandem_random_below(random, 4)) {
        case 0:
            memmove(data + at, data + at + length, size - at - length);
            size -= length;
            break;
        case 1:
            if (size + length <= room) {
                memmove(data + at + length, data + at, size - at);
                size += length;
            }
            break;
        default:
            data[at] = (char)tandem_random_next(random);
            break;
        }
    }
    return size;
}

static void run_around(const tandem_fuzz_seed *seed, uint64_t index)
{
    run(seed->data, seed->size);
    size_t step = seed->size / TRUNCATIONS + 1;
    for (size_t size = 0; size < seed->size; size += step) {
        run(seed->data, size);
    }
    size_t room = 2 * seed->size + 1;
    char *data = malloc(room);
    if (!data) {
        abort();
    }
    memcpy(data, seed->data, seed->size);
    static const char values[] = {'\0', '\xFF', '\x7F', '"', '9'};
    step = seed->size * sizeof values / SUBSTITUTIONS + 1;
    for (size_t i = 0; i < seed->size * sizeof values; i += step) {
        size_t at = i / sizeof values;
        data[at] = values[i % sizeof values];
        run(data, seed->size);
        data[at] = seed->data[at];
    }
    tandem_random random = tandem_random_stream(1, "fuzz", index);
    for (size_t i = 0; i < MUTATIONS && seed->size > 0; i++) {
        memcpy(data, seed->data, seed->size);
        run(data, mutate(&random, data, seed->size, room));
    }
    free(data);
}

static int run_files(int count, char **paths)
{
    for (int i = 0; i < count; i++) {
        tandem_map map;
        if (tandem_map_open(&map, paths[i]) < 0) {
            fprintf(stderr, "%s\n", tandem_error_message());
            return 1;
        }
        run(map.data ? (const char *)map.data : "", map.size);
        tandem_map_close(&map);
    }
    return 0;
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        return run_files(argc - 1, argv + 1);
    }
    uint64_t index = 0;
    for (const tandem_fuzz_seed *seed = common_seeds; seed->data; seed++) {
        run_around(seed, index++);
    }
    for (const tandem_fuzz_seed *seed = tandem_fuzz_seeds; seed && seed->data; seed++) {
        run_around(seed, index++);
    }
    printf("%zu inputs\n", inputs);
    return 0;
}
