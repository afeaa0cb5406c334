/* journal.h - metrics.jsonl, one line of figures a step and an evaluation, and the same as
 * TensorBoard's scalars in an event file. */
#ifndef TANDEM_TRAIN_JOURNAL_H
#define TANDEM_TRAIN_JOURNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "tandem/error.h"
#include "tandem/hash.h"
#include "tandem/machine.h"
#include "tandem/negatives.h"
#include "train/checkpoint.h"

typedef struct tandem_journal tandem_journal;

/* Opens both files for appending, cut to their first `keep` bytes: what a resumed run repeats
 * is written once. */
int tandem_journal_open(tandem_journal **out, const char *path, uint64_t keep, const char *events_path,
                        uint64_t events_keep);
void tandem_journal_close(tandem_journal *journal); /* NULL is fine */

typedef struct {
    uint64_t step, epoch; /* the step from 1, the epoch from 0 */
    size_t source;        /* whose batch it was, from 0 */
    double loss, learning_rate, grad_norm; /* null where not finite */
    double scale; /* of the step's similarities where it is learned, else NaN */
    uint64_t pairs, tokens;
    double seconds; /* of the step */
    bool skipped;   /* no update was made */
} tandem_journal_step;

/* The first line: what the run depends on besides its settings. */
int tandem_journal_add_start(tandem_journal *journal, tandem_hash data, uint64_t seed, tandem_precision dtype);
int tandem_journal_add_step(tandem_journal *journal, const tandem_journal_step *figures);
int tandem_journal_add_dev(tandem_journal *journal, uint64_t step, const char *metric, double value, double seconds);
/* At the end of an epoch, after `step`: the mean loss of each source. */
int tandem_journal_add_epoch(tandem_journal *journal, uint64_t step, uint64_t epoch, const tandem_source_state *sources,
                             size_t count);
int tandem_journal_add_mining(tandem_journal *journal, uint64_t step, uint64_t epoch, size_t source,
                              const tandem_mining_statistics *statistics, double seconds);

/* Makes what was written durable; gives the lengths of the files. */
int tandem_journal_sync(tandem_journal *journal, uint64_t *bytes, uint64_t *events_bytes);

#endif
