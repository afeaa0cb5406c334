/* checked_lines.c - lines that hold valid text. */
#include "data/checked_lines.h"

#include <string.h>

#include "tandem/memory.h"

int tandem_checked_lines_next(tandem_lines *lines, char **line, size_t *length)
{
    int rc = tandem_lines_next(lines, line, length);
    if (rc <= 0) {
        return rc;
    }
    const char *path = tandem_lines_path(lines);
    size_t number = tandem_lines_number(lines);
    size_t invalid = tandem_utf8_invalid(*line, *length);
    if (invalid < *length) {
        return tandem_error("%s:%zu: at byte %zu: invalid UTF-8 (iconv converts other encodings)", path, number,
                            invalid + 1);
    }
    size_t nul = strlen(*line);
    if (nul < *length) {
        return tandem_error("%s:%zu: at byte %zu: a NUL byte", path, number, nul + 1);
    }
    return 1;
}
