/* stage.h - private to base/: temporary names, and what makes a rename durable. */
#ifndef TANDEM_BASE_STAGE_H
#define TANDEM_BASE_STAGE_H

#include <stdbool.h>

#include "tandem/error.h"

/* The path to rename to: `path` without trailing slashes, or what it points to when
 * it is a symbolic link. The caller frees. NULL with the message set. */
char *tandem_stage_target(const char *path);
/* A fresh name ".NAME.tmp-PID-N" beside `target`; the caller frees. NULL with the
 * message set. */
char *tandem_stage_name(const char *target);
/* Makes the missing parents of `target`. */
int tandem_stage_parents(const char *target);
/* fsync(2) of the directory that holds `target`. */
int tandem_stage_sync_parent(const char *target);

#endif
