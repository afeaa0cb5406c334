/* log.h - talk to stderr: messages, and a progress line for long work. */
#ifndef TANDEM_LOG_H
#define TANDEM_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "tandem/error.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum { TANDEM_LOG_QUIET, TANDEM_LOG_WARN, TANDEM_LOG_INFO, TANDEM_LOG_DEBUG } tandem_log_level;

/* Process-wide; INFO at start. */
void tandem_log_set_level(tandem_log_level level);
void tandem_log_warn(const char *format, ...) TANDEM_PRINTF(1, 2);
void tandem_log_info(const char *format, ...) TANDEM_PRINTF(1, 2);
void tandem_log_debug(const char *format, ...) TANDEM_PRINTF(1, 2);

/* Progress: shown only on a terminal, and only once the work has taken a second.
 * Where stderr is no terminal, one line every 30 seconds is logged at INFO. */
typedef struct tandem_progress tandem_progress;

/* `total` units of `unit` ("documents", "steps"); 0 when unknown. NULL on a
 * failure, which every other call accepts: progress never fails a job. */
tandem_progress *tandem_progress_new(const char *title, const char *unit, uint64_t total);
/* `note` (may be NULL) is shown after rate and time left, e.g. "loss 0.31". */
void tandem_progress_update(tandem_progress *progress, uint64_t done, const char *note);
void tandem_progress_free(tandem_progress *progress); /* clears the line */

/* Seconds since an arbitrary start; monotonic. */
double tandem_seconds(void);

#ifdef __cplusplus
}
#endif
#endif
