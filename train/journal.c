/* journal.c - metrics.jsonl. */
#include "train/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "model/torch/shim.h"
#include "tandem/machine.h"
#include "tandem/memory.h"

struct tandem_journal {
    int descriptor;
    uint64_t bytes;
    char *path;
    tandem_buffer line;
};

static int failed(const tandem_journal *journal, const char *what)
{
    return tandem_error("%s: %s: %s", journal->path, what, strerror(errno));
}

static int open_and_cut(tandem_journal *journal, uint64_t keep)
{
    struct stat status;

    journal->descriptor = open(journal->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (journal->descriptor < 0 || fstat(journal->descriptor, &status) != 0) {
        return failed(journal, "cannot be opened");
    }
    if ((uint64_t)status.st_size < keep) {
        return tandem_error("%s: expected at least %llu bytes, as the checkpoint says, found %llu", journal->path,
                            (unsigned long long)keep, (unsigned long long)status.st_size);
    }
    if (ftruncate(journal->descriptor, (off_t)keep) != 0) {
        return failed(journal, "cannot be cut");
    }
    journal->bytes = keep;
    return TANDEM_OK;
}

int tandem_journal_open(tandem_journal **out, const char *path, uint64_t keep)
{
    tandem_journal *journal = tandem_alloc(1, sizeof *journal);

    if (journal == NULL) {
        return TANDEM_ERROR;
    }
    journal->descriptor = -1;
    journal->path = tandem_strdup(path);
    int rc = journal->path == NULL ? TANDEM_ERROR : open_and_cut(journal, keep);
    if (rc < 0) {
        tandem_journal_close(journal);
        return rc;
    }
    *out = journal;
    return TANDEM_OK;
}

void tandem_journal_close(tandem_journal *journal)
{
    if (journal != NULL) {
        if (journal->descriptor >= 0) {
            close(journal->descriptor);
        }
        tandem_buffer_free(&journal->line);
        free(journal->path);
        free(journal);
    }
}

static int write_line(tandem_journal *journal)
{
    const char *data = journal->line.data;
    size_t left = journal->line.length;

    while (left > 0) {
        ssize_t written = write(journal->descriptor, data, left);

        if (written < 0 && errno != EINTR) {
            return failed(journal, "cannot be written");
        }
        if (written > 0) {
            data += written;
            left -= (size_t)written;
            journal->bytes += (uint64_t)written;
        }
    }
    return TANDEM_OK;
}

/* , "key": number; JSON has no NaN. */
static int add_number(tandem_buffer *line, const char *key, double value)
{
    return isfinite(value) ? tandem_buffer_printf(line, ", \"%s\": %.9g", key, value)
                           : tandem_buffer_printf(line, ", \"%s\": null", key);
}

int tandem_journal_add_start(tandem_journal *journal, tandem_hash data, uint64_t seed)
{
    tandem_buffer *line = &journal->line;
    char hex[TANDEM_HASH_HEX];

    tandem_hash_hex(data, hex);
    tandem_buffer_clear(line);
    TANDEM_TRY(tandem_buffer_printf(line, "{\"event\": \"start\", \"seed\": %llu, \"data\": \"%s\", \"tandem\": \"%s\", "
                                    "\"libtorch\": \"%s\", \"threads\": %zu, \"cpu\": ",
                                    (unsigned long long)seed, hex, tandem_version(), tandem_torch_version(),
                                    tandem_machine_threads()));
    TANDEM_TRY(tandem_buffer_json_string(line, tandem_machine_cpu(), strlen(tandem_machine_cpu())));
    TANDEM_TRY(tandem_buffer_puts(line, "}\n"));
    return write_line(journal);
}

int tandem_journal_add_step(tandem_journal *journal, const tandem_journal_step *figures)
{
    tandem_buffer *line = &journal->line;

    tandem_buffer_clear(line);
    TANDEM_TRY(tandem_buffer_printf(line, "{\"event\": \"step\", \"step\": %llu, \"epoch\": %llu",
                                    (unsigned long long)figures->step, (unsigned long long)figures->epoch));
    TANDEM_TRY(add_number(line, "loss", figures->loss));
    TANDEM_TRY(add_number(line, "learning_rate", figures->learning_rate));
    TANDEM_TRY(add_number(line, "grad_norm", figures->grad_norm));
    TANDEM_TRY(tandem_buffer_printf(line, ", \"pairs\": %llu, \"tokens\": %llu, \"seconds\": %.4f%s}\n",
                                    (unsigned long long)figures->pairs, (unsigned long long)figures->tokens,
                                    figures->seconds, figures->skipped ? ", \"skipped\": true" : ""));
    return write_line(journal);
}

int tandem_journal_add_dev(tandem_journal *journal, uint64_t step, const char *metric, double value, double seconds)
{
    tandem_buffer *line = &journal->line;

    tandem_buffer_clear(line);
    TANDEM_TRY(tandem_buffer_printf(line, "{\"event\": \"dev\", \"step\": %llu", (unsigned long long)step));
    TANDEM_TRY(add_number(line, metric, value));
    TANDEM_TRY(tandem_buffer_printf(line, ", \"seconds\": %.2f}\n", seconds));
    return write_line(journal);
}

int tandem_journal_add_mining(tandem_journal *journal, uint64_t epoch, uint64_t negatives, double seconds)
{
    tandem_buffer_clear(&journal->line);
    TANDEM_TRY(tandem_buffer_printf(&journal->line,
                                    "{\"event\": \"mining\", \"epoch\": %llu, \"negatives\": %llu, \"seconds\": %.2f}\n",
                                    (unsigned long long)epoch, (unsigned long long)negatives, seconds));
    return write_line(journal);
}

int tandem_journal_sync(tandem_journal *journal, uint64_t *bytes)
{
    if (fsync(journal->descriptor) != 0) {
        return failed(journal, "cannot be synced");
    }
    *bytes = journal->bytes;
    return TANDEM_OK;
}
