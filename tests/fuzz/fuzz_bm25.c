/* BM25 indexes. The input edits a valid index: three bytes an edit, place and value; what an odd byte more says is
 * cut off its end. The checksum is made right again, so that the checks behind it are met. What opens must be
 * searchable. */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "mining/bm25_index.h"
#include "tandem/memory.h"

const tandem_fuzz_seed tandem_fuzz_seeds[] = {
    TANDEM_FUZZ_SEED("\x20\x00\x01"),
    TANDEM_FUZZ_SEED("\x10\x00\xFF\x11\x00\x7F\x90\x01\x01\x95\x01\x02\x40\x02\x01"),
    TANDEM_FUZZ_SEED("\x50\x01\x00\x58\x01\x00\x60\x01\x00\x68\x01\x00\x08"),
    {NULL, 0},
};

static const tandem_text *texts(void)
{
    static tandem_text made[200];
    static const char *const words[] = {"red fish", "blue fish two", "red red boat", "", "a fish of the blue sea"};
    for (size_t i = 0; i < 200; i++) {
        const char *text = words[i * i % 5];
        made[i] = (tandem_text){"d", text, strlen(text)};
    }
    return made;
}

/* A copy of the valid index. */
static char *copy_valid(size_t *size)
{
    static tandem_buffer valid;
    if (!valid.data && tandem_bm25_build(NULL, &valid, texts(), 200, TANDEM_ANALYZER_ENGLISH, 1000) < 0) {
        abort();
    }
    char *copy = malloc(valid.length);
    if (!copy) {
        abort();
    }
    memcpy(copy, valid.data, valid.length);
    *size = valid.length;
    return copy;
}

static void search(const tandem_bm25 *index)
{
    const tandem_text queries[] = {{"q", "blue fish", 9}, {"r", "red sea boat fish two", 21}};
    tandem_hits hits;
    float score;
    if (tandem_bm25_search(&hits, index, queries, 2, 7, NULL) < 0) {
        abort();
    }
    tandem_hits_free(&hits);
    if (tandem_bm25_score(&score, index, &queries[1], 3) < 0) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t length;
    char *bytes = copy_valid(&length);
    for (; size >= 3; data += 3, size -= 3) {
        bytes[(size_t)(data[0] | data[1] << 8) % length] = (char)data[2];
    }
    if (size > 0) {
        length -= data[0];
    }
    tandem_hash hash = tandem_hash_bytes(bytes, length - sizeof hash);
    memcpy(bytes + length - sizeof hash, &hash, sizeof hash);
    char *exact = malloc(length); /* AddressSanitizer sees a read past its end */
    if (!exact) {
        abort();
    }
    memcpy(exact, bytes, length);
    free(bytes);
    tandem_bm25 *index;
    if (tandem_bm25_from_memory(&index, exact, length, (tandem_bm25_options)TANDEM_BM25_OPTIONS_INIT) == 0) {
        search(index);
        tandem_bm25_free(index);
    }
    return 0;
}
