/* journal.h - metrics.jsonl: one line of figures a step and an evaluation. */
#ifndef TANDEM_TRAIN_JOURNAL_H
#define TANDEM_TRAIN_JOURNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "tandem/error.h"
#include "tandem/hash.h"

typedef struct tandem_journal tandem_journal;

/* Opens `path` for appending, cut to its first `keep` bytes: what a resumed run repeats
 * is written once. */
int tandem_journal_open(tandem_journal **out, const char *path, uint64_t keep);
void tandem_journal_close(tandem_journal *journal); /* NULL is fine */

typedef struct {
    uint64_t step, epoch; /* the step from 1, the epoch from 0 */
    double loss, learning_rate, grad_norm; /* null where not finite */
    uint64_t pairs, tokens;
    double seconds; /* of the step */
    bool skipped;   /* no update was made */
} tandem_journal_step;

/* The first line: what the run depends on besides its settings. */
int tandem_journal_add_start(tandem_journal *journal, tandem_hash data, uint64_t seed);
int tandem_journal_add_step(tandem_journal *journal, const tandem_journal_step *figures);
int tandem_journal_add_dev(tandem_journal *journal, uint64_t step, const char *metric, double value, double seconds);
int tandem_journal_add_mining(tandem_journal *journal, uint64_t epoch, uint64_t negatives, double seconds);

/* Makes what was written durable; *bytes is the length of the file. */
int tandem_journal_sync(tandem_journal *journal, uint64_t *bytes);

#endif
