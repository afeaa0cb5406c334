/* journal.c - metrics.jsonl and the event file. */
#include "train/journal.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "model/torch/shim.h"
#include "tandem/machine.h"
#include "tandem/memory.h"
#include "train/tensorboard.h"

/* A file that only grows. */
typedef struct {
    int descriptor;
    uint64_t bytes;
    char *path;
} growing_file;

struct tandem_journal {
    growing_file lines, events;
    tandem_buffer line, record;
};

static int failed(const growing_file *file, const char *what)
{
    return tandem_error("%s: %s: %s", file->path, what, strerror(errno));
}

static int open_and_cut(growing_file *file, const char *path, uint64_t keep)
{
    struct stat status;

    file->path = tandem_strdup(path);
    if (file->path == NULL) {
        return TANDEM_ERROR;
    }
    file->descriptor = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (file->descriptor < 0 || fstat(file->descriptor, &status) != 0) {
        return failed(file, "cannot be opened");
    }
    if ((uint64_t)status.st_size < keep) {
        return tandem_error("%s: expected at least %llu bytes, as the checkpoint says, found %llu", path,
                            (unsigned long long)keep, (unsigned long long)status.st_size);
    }
    if (ftruncate(file->descriptor, (off_t)keep) != 0) {
        return failed(file, "cannot be cut");
    }
    file->bytes = keep;
    return TANDEM_OK;
}

static int write_all(growing_file *file, const tandem_buffer *buffer)
{
    const char *data = buffer->data;
    size_t left = buffer->length;

    while (left > 0) {
        ssize_t written = write(file->descriptor, data, left);

        if (written < 0 && errno != EINTR) {
            return failed(file, "cannot be written");
        }
        if (written > 0) {
            data += written;
            left -= (size_t)written;
            file->bytes += (uint64_t)written;
        }
    }
    return TANDEM_OK;
}

static void close_file(growing_file *file)
{
    if (file->descriptor >= 0) {
        close(file->descriptor);
    }
    free(file->path);
}

int tandem_journal_open(tandem_journal **out, const char *path, uint64_t keep, const char *events_path,
                        uint64_t events_keep)
{
    tandem_journal *journal = tandem_alloc(1, sizeof *journal);

    if (journal == NULL) {
        return TANDEM_ERROR;
    }
    journal->lines.descriptor = journal->events.descriptor = -1;
    int rc = open_and_cut(&journal->lines, path, keep);
    rc = rc < 0 ? rc : open_and_cut(&journal->events, events_path, events_keep);
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
        close_file(&journal->lines);
        close_file(&journal->events);
        tandem_buffer_free(&journal->line);
        tandem_buffer_free(&journal->record);
        free(journal);
    }
}

static int write_line(tandem_journal *journal)
{
    return write_all(&journal->lines, &journal->line);
}

static double wall_clock(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static int write_scalars(tandem_journal *journal, uint64_t step, const tandem_scalar *scalars, size_t count)
{
    tandem_buffer_clear(&journal->record);
    TANDEM_TRY(tandem_event_scalars(&journal->record, wall_clock(), step, scalars, count));
    return write_all(&journal->events, &journal->record);
}

/* , "key": number; JSON has no NaN. */
static int add_number(tandem_buffer *line, const char *key, double value)
{
    return isfinite(value) ? tandem_buffer_printf(line, ", \"%s\": %.9g", key, value)
                           : tandem_buffer_printf(line, ", \"%s\": null", key);
}

int tandem_journal_add_start(tandem_journal *journal, tandem_hash data, uint64_t seed, tandem_precision dtype)
{
    tandem_buffer *line = &journal->line;
    char hex[TANDEM_HASH_HEX];

    tandem_hash_hex(data, hex);
    tandem_buffer_clear(line);
    TANDEM_TRY(tandem_buffer_printf(line, "{\"event\": \"start\", \"seed\": %llu, \"data\": \"%s\", \"tandem\": \"%s\", "
                                    "\"libtorch\": \"%s\", \"threads\": %zu, \"device\": \"%s\", "
                                    "\"dtype\": \"%s\", \"cpu\": ",
                                    (unsigned long long)seed, hex, tandem_version(), tandem_torch_version(),
                                    tandem_machine_threads(), tandem_device_name(tandem_machine_device()),
                                    tandem_precision_name(dtype)));
    TANDEM_TRY(tandem_buffer_json_string(line, tandem_machine_cpu(), strlen(tandem_machine_cpu())));
    TANDEM_TRY(tandem_buffer_puts(line, "}\n"));
    TANDEM_TRY(write_line(journal));
    tandem_buffer_clear(&journal->record);
    TANDEM_TRY(tandem_event_version(&journal->record, wall_clock()));
    return write_all(&journal->events, &journal->record);
}

int tandem_journal_add_step(tandem_journal *journal, const tandem_journal_step *figures)
{
    tandem_buffer *line = &journal->line;

    tandem_buffer_clear(line);
    TANDEM_TRY(tandem_buffer_printf(line, "{\"event\": \"step\", \"step\": %llu, \"epoch\": %llu, \"source\": %zu",
                                    (unsigned long long)figures->step, (unsigned long long)figures->epoch,
                                    figures->source));
    TANDEM_TRY(add_number(line, "loss", figures->loss));
    TANDEM_TRY(add_number(line, "learning_rate", figures->learning_rate));
    TANDEM_TRY(add_number(line, "grad_norm", figures->grad_norm));
    TANDEM_TRY(isfinite(figures->scale) ? add_number(line, "scale", figures->scale) : TANDEM_OK);
    TANDEM_TRY(tandem_buffer_printf(line, ", \"pairs\": %llu, \"tokens\": %llu, \"seconds\": %.4f%s}\n",
                                    (unsigned long long)figures->pairs, (unsigned long long)figures->tokens,
                                    figures->seconds, figures->skipped ? ", \"skipped\": true" : ""));
    const tandem_scalar scalars[] = {{"train/loss", figures->loss}, {"train/learning_rate", figures->learning_rate},
                                     {"train/grad_norm", figures->grad_norm},
                                     {"train/tokens_per_second", (double)figures->tokens / figures->seconds},
                                     {"train/scale", figures->scale}};
    size_t count = sizeof scalars / sizeof *scalars;

    TANDEM_TRY(write_line(journal));
    return write_scalars(journal, figures->step, scalars, isfinite(figures->scale) ? count : count - 1);
}

int tandem_journal_add_dev(tandem_journal *journal, uint64_t step, const char *metric, double value, double seconds)
{
    tandem_buffer *line = &journal->line;

    tandem_buffer_clear(line);
    TANDEM_TRY(tandem_buffer_printf(line, "{\"event\": \"dev\", \"step\": %llu", (unsigned long long)step));
    TANDEM_TRY(add_number(line, metric, value));
    TANDEM_TRY(tandem_buffer_printf(line, ", \"seconds\": %.2f}\n", seconds));
    TANDEM_TRY(write_line(journal));
    char tag[64];

    snprintf(tag, sizeof tag, "dev/%s", metric);
    return write_scalars(journal, step, &(tandem_scalar){tag, value}, 1);
}

static int add_mean(tandem_journal *journal, uint64_t step, const tandem_source_state *sources, size_t index)
{
    double mean = sources[index].loss / (double)sources[index].steps;
    char tag[48];

    TANDEM_TRY(tandem_buffer_printf(&journal->line, "%s{\"source\": %zu, \"steps\": %llu", index > 0 ? ", " : "", index,
                                    (unsigned long long)sources[index].steps));
    TANDEM_TRY(add_number(&journal->line, "loss", mean));
    TANDEM_TRY(tandem_buffer_puts(&journal->line, "}"));
    snprintf(tag, sizeof tag, "epoch/loss/%zu", index);
    return write_scalars(journal, step, &(tandem_scalar){tag, mean}, 1);
}

int tandem_journal_add_epoch(tandem_journal *journal, uint64_t step, uint64_t epoch, const tandem_source_state *sources,
                             size_t count)
{
    tandem_buffer_clear(&journal->line);
    TANDEM_TRY(tandem_buffer_printf(&journal->line, "{\"event\": \"epoch\", \"step\": %llu, \"epoch\": %llu, \"sources\": [",
                                    (unsigned long long)step, (unsigned long long)epoch));
    for (size_t i = 0; i < count; i++) {
        TANDEM_TRY(add_mean(journal, step, sources, i));
    }
    TANDEM_TRY(tandem_buffer_puts(&journal->line, "]}\n"));
    return write_line(journal);
}

int tandem_journal_add_mining(tandem_journal *journal, uint64_t step, uint64_t epoch, size_t source,
                              const tandem_mining_statistics *statistics, double seconds)
{
    cJSON *json = NULL;

    TANDEM_TRY(tandem_mining_report_json(&json, statistics));
    char *text = cJSON_PrintUnformatted(json);

    cJSON_Delete(json);
    if (text == NULL) {
        return tandem_error("out of memory");
    }
    tandem_buffer_clear(&journal->line);
    int rc = tandem_buffer_printf(&journal->line,
                                  "{\"event\": \"mining\", \"step\": %llu, \"epoch\": %llu, \"source\": %zu, \"statistics\": %s, "
                                  "\"seconds\": %.2f}\n",
                                  (unsigned long long)step, (unsigned long long)epoch, source, text, seconds);
    cJSON_free(text);
    TANDEM_TRY(rc);
    TANDEM_TRY(write_line(journal));
    return write_scalars(journal, step, &(tandem_scalar){"mining/negatives", (double)statistics->mined}, 1);
}

static int sync_file(const growing_file *file, uint64_t *bytes)
{
    *bytes = file->bytes;
    return fsync(file->descriptor) == 0 ? TANDEM_OK : failed(file, "cannot be synced");
}

int tandem_journal_sync(tandem_journal *journal, uint64_t *bytes, uint64_t *events_bytes)
{
    TANDEM_TRY(sync_file(&journal->lines, bytes));
    return sync_file(&journal->events, events_bytes);
}
