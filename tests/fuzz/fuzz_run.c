/* fuzz_run.c - any bytes as a run file: an error, or queries and results in order. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz.h"
#include "tandem/run.h"

const tandem_fuzz_seed tandem_fuzz_seeds[] = {
    TANDEM_FUZZ_SEED("q1 Q0 d1 1 2.5 r\nq1 Q0 d2 2 -1e-3 r\r\nq0 Q0 d1 1 1e3 r more\n"),
    TANDEM_FUZZ_SEED("# comment\n\n q2\tQ0  d#1 127 7 name\nq1 Q0 a 1 7 r\nq2 Q0 a 2 7 last"),
    {NULL, 0},
};

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
