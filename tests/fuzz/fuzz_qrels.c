/* fuzz_qrels.c - any bytes as judgments, in both forms: an error, or queries in order that are
 * all found again. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "data/qrels_reader.h"
#include "fuzz.h"
#include "tandem/file.h"

const tandem_fuzz_seed tandem_fuzz_seeds[] = {
    TANDEM_FUZZ_SEED("query-id\tcorpus-id\tscore\nq1\td1\t1\nq1\td2\t-3\r\nq0\td1\t0"),
    TANDEM_FUZZ_SEED("# comment\nq1 0 d1 1\n\n q2\tQ0  d#1 127\n"),
    {NULL, 0},
};

static void check(const tandem_qrels *qrels)
{
    for (size_t i = 0; i < tandem_qrels_count(qrels); i++) {
        const tandem_judged_query *query = tandem_qrels_query(qrels, i);
        if (query->count == 0 || tandem_qrels_find(qrels, query->query_id) != query ||
            (i > 0 && strcmp(tandem_qrels_query(qrels, i - 1)->query_id, query->query_id) >= 0)) {
            abort();
        }
    }
}

/* Lines by the private functions, as the name of the file would choose them. */
static void read_as(const char *path, bool tsv)
{
    tandem_lines *lines = NULL;
    tandem_qrels *qrels = NULL;
    char *line;
    size_t length;
    int rc = 0;
    if (tandem_lines_open(&lines, path) < 0 || tandem_qrels_new(&qrels) < 0) {
        tandem_lines_close(lines);
        return;
    }
    while (rc >= 0 && (rc = tandem_lines_next(lines, &line, &length)) == 1) {
        tandem_qrels_line added;
        rc = tandem_qrels_add(qrels, line, length, tsv, tandem_lines_number(lines) == 1, "input", &added);
    }
    if (rc == 0 && tandem_qrels_finish(qrels) == 0) {
        check(qrels);
    }
    tandem_qrels_free(qrels);
    tandem_lines_close(lines);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[64];
    int file = memfd_create("qrels", 0);
    if (file < 0 || write(file, data, size) != (ssize_t)size) {
        abort();
    }
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    read_as(path, true);
    read_as(path, false);
    close(file);
    return 0;
}
