/* cmd_info.c - `tandem info`: versions, the machine, and how fast it is. */
#include <cjson/cJSON.h>
#include <hdf5.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>
#include <zstd.h>

#include "cli/cli.h"
#include "model/torch/shim.h"
#include "tandem/log.h"
#include "tandem/machine.h"

typedef struct {
    bool json;
} info_options;

static const tandem_option table[] = {
    {.name = "json", .type = TANDEM_OPTION_FLAG, .offset = offsetof(info_options, json), .help = "print one JSON object"},
    TANDEM_OPTION_END,
};

/* ---- how fast -------------------------------------------------------------------- */
/* Each of the two measurements takes about a second and gives the best of its rounds:
 * the one that other work on the machine disturbed least. */
static const double SECONDS = 0.9;

/* The feed-forward product of a MiniLM over 2048 tokens. */
enum { ROWS = 2048, COLUMNS = 1536, INNER = 384 };

static int multiply(double *best, const float *a, const float *b, float *c)
{
    double begun = tandem_seconds();
    TANDEM_TRY(tandem_sgemm_nt(ROWS, COLUMNS, INNER, a, INNER, b, INNER, c, COLUMNS));
    double rate = 2.0 * ROWS * COLUMNS * INNER / (tandem_seconds() - begun);
    *best = rate > *best ? rate : *best;
    return TANDEM_OK;
}

/* Floating point operations a second of a matrix product. */
static int measure_sgemm(double *rate)
{
    size_t floats = (size_t)ROWS * INNER + (size_t)COLUMNS * INNER + (size_t)ROWS * COLUMNS;
    float *memory = tandem_alloc(floats, sizeof *memory);
    if (!memory) {
        return TANDEM_ERROR;
    }
    float *a = memory, *b = a + (size_t)ROWS * INNER, *c = b + (size_t)COLUMNS * INNER;
    for (size_t i = 0; i < (size_t)(ROWS + COLUMNS) * INNER; i++) {
        memory[i] = (float)(i % 7) - 3.0f;
    }
    *rate = 0;
    int rc = TANDEM_OK;
    for (double end = tandem_seconds() + SECONDS; rc == TANDEM_OK && tandem_seconds() < end;) {
        rc = multiply(rate, a, b, c);
    }
    free(memory);
    return rc;
}

/* Bytes a second that all threads together read from main memory. */
static int measure_bandwidth(double *rate)
{
    const size_t bytes = (size_t)256 << 20; /* larger than the caches */
    const size_t words = bytes / sizeof(uint64_t);
    uint64_t *memory = tandem_alloc(words, sizeof *memory);
    if (!memory) {
        return TANDEM_ERROR;
    }
    memset(memory, 1, bytes); /* zeroed pages may all be one page */
    *rate = 0;
    uint64_t sum = 0;
    for (double end = tandem_seconds() + SECONDS; tandem_seconds() < end;) {
        double begun = tandem_seconds();
#pragma omp parallel for simd reduction(+ : sum)
        for (size_t i = 0; i < words; i++) {
            sum += memory[i];
        }
        double round = (double)bytes / (tandem_seconds() - begun);
        *rate = round > *rate ? round : *rate;
    }
    free(memory);
    /* Used, so that the loop is not optimized away; the sum is never 0 */
    return sum != 0 ? TANDEM_OK : tandem_error("the memory test read zeros");
}

/* ---- the facts ---------------------------------------------------------------------- */
/* One row a line of output, and a member of the JSON object. */
typedef struct {
    const char *key;
    bool number; /* JSON: written without quotes */
    char text[512];
} fact;

typedef struct {
    fact rows[24];
    size_t count;
} facts;

static void add(facts *all, const char *key, bool number, const char *format, ...) TANDEM_PRINTF(4, 5);

static void add(facts *all, const char *key, bool number, const char *format, ...)
{
    fact *row = &all->rows[all->count++];
    row->key = key;
    row->number = number;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(row->text, sizeof row->text, format, arguments);
    va_end(arguments);
}

/* As the compiler saw it: a name of a build type says less. */
static const char *build_type(void)
{
#if defined(__SANITIZE_ADDRESS__)
    return "address sanitizer";
#elif defined(__OPTIMIZE__) && defined(NDEBUG)
    return "optimized";
#elif defined(__OPTIMIZE__)
    return "optimized, with assertions";
#else
    return "not optimized";
#endif
}

#if defined(__clang__)
#define COMPILER __VERSION__ /* "Clang ..." */
#else
#define COMPILER "GCC " __VERSION__
#endif

static void add_versions(facts *all)
{
    unsigned major = 0, minor = 0, release = 0;
    H5get_libversion(&major, &minor, &release);
    unsigned xxhash = XXH_versionNumber();
    add(all, "version", false, "%s", tandem_version());
    add(all, "build", false, "%s", build_type());
    add(all, "compiler", false, "%s", COMPILER);
    add(all, "libtorch", false, "%s", tandem_torch_version());
    add(all, "hdf5", false, "%u.%u.%u", major, minor, release);
    add(all, "zstd", false, "%s", ZSTD_versionString());
    add(all, "cjson", false, "%s", cJSON_Version());
    add(all, "xxhash", false, "%u.%u.%u", xxhash / 10000, xxhash / 100 % 100, xxhash % 100);
}

static void add_machine(facts *all)
{
    add(all, "cpu", false, "%s", tandem_machine_cpu());
    add(all, "isa", false, "%s", tandem_isa_name(tandem_machine_isa()));
    add(all, "bf16", true, "%s", tandem_machine_has_bf16() ? "true" : "false");
    add(all, "cores", true, "%zu", tandem_machine_cores());
    add(all, "threads", true, "%zu", tandem_machine_threads());
    add(all, "gpus", true, "%zu", tandem_torch_gpus());
    add(all, "memory_bytes", true, "%zu", tandem_machine_memory());
}

static int add_speed(facts *all)
{
    double sgemm, bandwidth;
    TANDEM_TRY(measure_sgemm(&sgemm));
    TANDEM_TRY(measure_bandwidth(&bandwidth));
    add(all, "sgemm_gflops", true, "%.1f", sgemm * 1e-9);
    add(all, "memory_read_gb_per_second", true, "%.1f", bandwidth * 1e-9);
    return TANDEM_OK;
}

static int put_json(tandem_buffer *out, const facts *all)
{
    for (size_t i = 0; i < all->count; i++) {
        const fact *row = &all->rows[i];
        TANDEM_TRY(tandem_buffer_printf(out, "%s\"%s\": ", i ? ",\n  " : "{\n  ", row->key));
        TANDEM_TRY(row->number ? tandem_buffer_puts(out, row->text)
                               : tandem_buffer_json_string(out, row->text, strlen(row->text)));
    }
    return tandem_buffer_puts(out, "\n}\n");
}

static int put_text(tandem_buffer *out, const facts *all)
{
    for (size_t i = 0; i < all->count; i++) {
        TANDEM_TRY(tandem_buffer_printf(out, "%-26s %s\n", all->rows[i].key, all->rows[i].text));
    }
    return TANDEM_OK;
}

static int run(const void *options, size_t count, char *const *arguments)
{
    (void)count;
    (void)arguments;
    const info_options *wanted = options;
    facts all = {.count = 0};
    TANDEM_TRY(tandem_torch_init());
    add_versions(&all);
    add_machine(&all);
    TANDEM_TRY(add_speed(&all));
    tandem_buffer text = TANDEM_BUFFER_INIT;
    int rc = wanted->json ? put_json(&text, &all) : put_text(&text, &all);
    if (rc == TANDEM_OK) {
        fputs(text.data, stdout);
    }
    tandem_buffer_free(&text);
    return rc;
}

const tandem_command tandem_command_info = {
    .name = "info",
    .summary = "Print versions, the CPU and threads, and a two-second test of speed",
    .options = table,
    .options_size = sizeof(info_options),
    .run = run,
    .notes = "sgemm_gflops is the best rate of the matrix product that a small encoder spends most of\n"
             "its time in; memory_read_gb_per_second that of all threads reading a buffer larger than\n"
             "the caches. Both move with what else the machine does.",
};
