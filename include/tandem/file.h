/* file.h - reading files and lines (zstd and gzip transparently), and writing files so
 * that a reader never meets half of one. */
#ifndef TANDEM_FILE_H
#define TANDEM_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tandem/error.h"
#include "tandem/memory.h"

#ifdef __cplusplus
extern "C" {
#endif

bool tandem_file_exists(const char *path);
bool tandem_dir_exists(const char *path);
/* "dir/name" into a new string; the caller frees. NULL with the message set. */
char *tandem_path_join(const char *directory, const char *name);
/* The part after the last '/', borrowed from `path`. */
const char *tandem_path_base(const char *path);
/* True when `path` ends in `suffix`, or in `suffix` followed by ".zst". */
bool tandem_path_has_suffix(const char *path, const char *suffix);

/* Creates a directory and its missing parents. */
int tandem_dir_make(const char *path);
/* Removes a directory with all it holds; a missing one is no error. */
int tandem_dir_remove(const char *path);

/* A whole file into memory, decompressed if it is zstd or gzip (by its magic number).
 * *data gets one NUL byte past its end; the caller frees. TANDEM_NOT_FOUND when
 * there is no such file. */
int tandem_file_read(char **data, size_t *size, const char *path);

/* Copies a file byte for byte, written by rename. */
int tandem_file_copy(const char *from, const char *to);

/* ---- memory map ------------------------------------------------------------ */
typedef struct {
    const unsigned char *data;
    size_t size;
} tandem_map;

/* Read-only map of a regular file; an empty file gives size 0. */
int tandem_map_open(tandem_map *out, const char *path);
/* Bytes of a map that are done with leave the process's memory; whoever reads them again gets them from the file. */
void tandem_map_release(const void *data, size_t bytes);
void tandem_map_close(tandem_map *map); /* NULL or closed is fine */

/* ---- lines ----------------------------------------------------------------- */
typedef struct tandem_lines tandem_lines;

/* Opens a text file (zstd or gzip by magic number) for reading by lines. "-" is stdin. */
int tandem_lines_open(tandem_lines **out, const char *path);
/* Next line without its "\n" (and without a "\r" before it, and a byte order mark at the
 * start of the file). Only '\n' ends a line. 1 with a line, 0 at the end, negative on
 * failure. The line is borrowed until the next call, and NUL-terminated. */
int tandem_lines_next(tandem_lines *lines, char **line, size_t *length);
/* Many lines at once, for a reader that cuts them itself, perhaps in another thread: whole lines as they stand with
 * their ends, which the last of the file may lack; a byte order mark at its start is left out. Some 128 KiB, more where
 * a line is longer. The memory of `block`, empty at first, is used again. 1 with a block, 0 at the end, negative on
 * failure. Not to be mixed with tandem_lines_next. */
int tandem_lines_block(tandem_lines *lines, tandem_buffer *block);
size_t tandem_lines_number(const tandem_lines *lines); /* of the line or block last given, from 1 */
/* What was left out of the lines given so far: a byte order mark before the first, a "\r". */
bool tandem_lines_had_mark(const tandem_lines *lines);
bool tandem_lines_had_returns(const tandem_lines *lines);
const char *tandem_lines_path(const tandem_lines *lines);
void tandem_lines_close(tandem_lines *lines); /* NULL is fine */

/* ---- writer: temporary file beside the target, renamed when complete ---------- */
typedef struct tandem_writer tandem_writer;

/* Starts writing `path` (compressed when it ends in ".zst"). "-" is stdout.
 * Nothing appears under `path` before tandem_writer_commit. Missing parent
 * directories are created. */
int tandem_writer_open(tandem_writer **out, const char *path);
int tandem_writer_write(tandem_writer *writer, const void *data, size_t length);
int tandem_writer_printf(tandem_writer *writer, const char *format, ...) TANDEM_PRINTF(2, 3);
/* Bytes written so far, before compression. */
uint64_t tandem_writer_offset(const tandem_writer *writer);
/* Flushes, syncs and renames; a full disk is an error here at the latest, and
 * the target is then as it was before. Frees the writer in every case and sets
 * *writer to NULL. */
int tandem_writer_commit(tandem_writer **writer);
/* Drops what was written; NULL is fine. */
void tandem_writer_abort(tandem_writer *writer);

/* Writes a whole file in one call, by rename. */
int tandem_file_write(const char *path, const void *data, size_t length);

/* ---- staged paths: for libraries that write a file themselves (HDF5), and for
 * directories that must appear complete ------------------------------------------ */
/* A fresh temporary name in the directory of `path` (parents are created); the
 * caller writes there, then calls tandem_stage_commit or tandem_stage_abort. The
 * caller frees *staged. */
int tandem_stage_file(char **staged, const char *path);
/* The same, and makes the directory. */
int tandem_stage_dir(char **staged, const char *path);
/* Syncs and renames `staged` to `path`, replacing what is there: a directory that
 * is replaced is moved aside first and removed after, so that one of the two is
 * always complete. */
int tandem_stage_commit(const char *staged, const char *path);
void tandem_stage_abort(const char *staged);

#ifdef __cplusplus
}
#endif
#endif
