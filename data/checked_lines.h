/* checked_lines.h - private to data/: the lines of a text file that somebody else wrote. */
#ifndef TANDEM_DATA_CHECKED_LINES_H
#define TANDEM_DATA_CHECKED_LINES_H

#include <stddef.h>

#include "tandem/file.h"

/* tandem_lines_next() that refuses invalid UTF-8 and NUL bytes, naming file and line. */
int tandem_checked_lines_next(tandem_lines *lines, char **line, size_t *length);

#endif
