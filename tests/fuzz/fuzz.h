/* fuzz.h - what a fuzz target gives.
 *
 * Adding a target: write tests/fuzz/fuzz_NAME.c with LLVMFuzzerTestOneInput and, so
 * that the test without libFuzzer starts from something valid, tandem_fuzz_seeds. */
#ifndef TANDEM_TESTS_FUZZ_H
#define TANDEM_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct {
    const char *data; /* NULL in the last row */
    size_t size;
} tandem_fuzz_seed;

/* Optional. Small valid inputs: each byte of each is tried with other values. */
extern const tandem_fuzz_seed tandem_fuzz_seeds[] __attribute__((weak));

/* A row from a string literal, which may hold NUL bytes. */
#define TANDEM_FUZZ_SEED(literal) {literal, sizeof(literal) - 1}

#endif
