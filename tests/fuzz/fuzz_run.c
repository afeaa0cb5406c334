/* fuzz_run.c - any bytes as a run file: an error or a run that survives writing and reading. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tandem/memory.h"
#include "tandem/run.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int read_bytes(tandem_run **out, const uint8_t *data, size_t size)
{
    char path[64];
    int file = memfd_create("run", 0);
    if (file < 0 || write(file, data, size) != (ssize_t)size) {
        abort();
    }
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    int rc = tandem_run_read(out, path);
    close(file);
    return rc;
}

/* Every id came through a column and every score through text, so the whole run must fit a file. */
static void check_rankings(const tandem_run *run)
{
    for (size_t i = 0; i < tandem_run_count(run); i++) {
        const tandem_ranking *ranking = tandem_run_ranking(run, i);
        if (tandem_run_find(run, ranking->query_id) != ranking || ranking->count == 0) {
            abort();
        }
        for (size_t d = 1; d < ranking->count; d++) {
            const tandem_result *a = &ranking->results[d - 1], *b = &ranking->results[d];
            if (!(a->score > b->score || (a->score == b->score && strcmp(a->document_id, b->document_id) > 0))) {
                abort();
            }
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    tandem_run *run;
    if (read_bytes(&run, data, size) == 0) {
        check_rankings(run);
        tandem_run_free(run);
    } else if (run || !*tandem_error_message()) {
        abort();
    }
    return 0;
}
