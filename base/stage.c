/* stage.c - write aside, sync, rename: a reader never meets half of a file. */
#include "base/stage.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tandem/file.h"
#include "tandem/memory.h"

char *tandem_stage_target(const char *path)
{
    struct stat status;
    if (lstat(path, &status) == 0 && S_ISLNK(status.st_mode) && stat(path, &status) == 0) {
        char *real = realpath(path, NULL);
        if (!real) {
            tandem_error("%s: the link cannot be followed: %s", path, strerror(errno));
        }
        return real;
    }
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/') {
        length--;
    }
    return tandem_strndup(path, length);
}

static char *parent_of(const char *target)
{
    const char *slash = strrchr(target, '/');
    if (!slash) {
        return tandem_strdup(".");
    }
    return tandem_strndup(target, slash == target ? 1 : (size_t)(slash - target));
}

char *tandem_stage_name(const char *target)
{
    static atomic_uint serial;
    tandem_buffer name = TANDEM_BUFFER_INIT;
    const char *base = tandem_path_base(target);
    int rc = tandem_buffer_append(&name, target, (size_t)(base - target));
    if (rc == TANDEM_OK) {
        rc = tandem_buffer_printf(&name, ".%s.tmp-%ld-%u", base, (long)getpid(),
                                  atomic_fetch_add(&serial, 1) + 1);
    }
    if (rc < 0) {
        tandem_buffer_free(&name);
        return NULL;
    }
    return tandem_buffer_take(&name);
}

int tandem_stage_parents(const char *target)
{
    char *parent = parent_of(target);
    if (!parent) {
        return TANDEM_ERROR;
    }
    int rc = tandem_dir_exists(parent) ? TANDEM_OK : tandem_dir_make(parent);
    free(parent);
    return rc;
}

/* File systems that cannot sync a directory say EINVAL; there is nothing to mend. */
static int sync_path(const char *path)
{
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) {
        return tandem_error("%s: cannot be synced: %s", path, strerror(errno));
    }
    int failed = fsync(descriptor) != 0 && errno != EINVAL ? errno : 0;
    close(descriptor);
    return failed ? tandem_error("%s: cannot be synced: %s", path, strerror(failed)) : TANDEM_OK;
}

int tandem_stage_sync_parent(const char *target)
{
    char *parent = parent_of(target);
    if (!parent) {
        return TANDEM_ERROR;
    }
    int rc = sync_path(parent);
    free(parent);
    return rc;
}

static int stage(char **staged, const char *path, bool directory)
{
    char *target = tandem_stage_target(path);
    char *name = target ? tandem_stage_name(target) : NULL;
    int rc = name ? tandem_stage_parents(target) : TANDEM_ERROR;
    if (rc == TANDEM_OK && directory && mkdir(name, 0777) != 0) {
        rc = tandem_error("%s: the directory cannot be made: %s", name, strerror(errno));
    }
    free(target);
    if (rc < 0) {
        free(name);
        return rc;
    }
    *staged = name;
    return TANDEM_OK;
}

int tandem_stage_file(char **staged, const char *path)
{
    return stage(staged, path, false);
}

int tandem_stage_dir(char **staged, const char *path)
{
    return stage(staged, path, true);
}

/* A positive value tells a failure here, whose message is set, from one of nftw's. */
static int sync_entry(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    (void)status;
    (void)walk;
    return (type == FTW_F || type == FTW_DP) && sync_path(path) < 0 ? 1 : 0;
}

static int sync_tree(const char *path)
{
    int rc = nftw(path, sync_entry, 16, FTW_DEPTH | FTW_PHYS);
    if (rc < 0) {
        return tandem_error("%s: cannot be synced: %s", path, strerror(errno));
    }
    return rc > 0 ? TANDEM_ERROR : TANDEM_OK;
}

static int rename_to(const char *from, const char *to)
{
    if (rename(from, to) != 0) {
        return tandem_error("%s: cannot be renamed to %s: %s", from, to, strerror(errno));
    }
    return TANDEM_OK;
}

/* rename(2) does not replace a directory that holds something. */
static int replace_directory(const char *staged, const char *target)
{
    char *aside = tandem_stage_name(target);
    if (!aside) {
        return TANDEM_ERROR;
    }
    int rc = rename_to(target, aside);
    if (rc == TANDEM_OK) {
        rc = rename_to(staged, target);
        if (rc < 0) {
            (void)rename(aside, target); /* the message is about the first failure */
        } else {
            rc = tandem_dir_remove(aside);
        }
    }
    free(aside);
    return rc;
}

int tandem_stage_commit(const char *staged, const char *path)
{
    char *target = tandem_stage_target(path);
    if (!target) {
        return TANDEM_ERROR;
    }
    int rc = sync_tree(staged);
    if (rc == TANDEM_OK) {
        bool replaces = tandem_dir_exists(target) && tandem_dir_exists(staged);
        rc = replaces ? replace_directory(staged, target) : rename_to(staged, target);
    }
    if (rc == TANDEM_OK) {
        rc = tandem_stage_sync_parent(target);
    }
    free(target);
    return rc;
}

void tandem_stage_abort(const char *staged)
{
    if (staged) {
        (void)tandem_dir_remove(staged);
    }
}
