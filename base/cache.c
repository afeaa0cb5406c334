/* The cache's place on disk. */
#include "tandem/cache.h"

#include <stdlib.h>
#include <string.h>

#include "tandem/file.h"
#include "tandem/log.h"
#include "tandem/memory.h"

/* The cache's root as the environment says, or NULL when there is to be none. */
static int cache_root(char **out)
{
    *out = NULL;
    const char *own = getenv("TANDEM_CACHE");
    if (own && strcmp(own, "off") == 0) {
        return TANDEM_OK;
    }
    if (own && *own) {
        *out = tandem_strdup(own);
        return *out ? TANDEM_OK : TANDEM_ERROR;
    }
    const char *xdg = getenv("XDG_CACHE_HOME");
    const char *home = getenv("HOME");
    if (xdg && *xdg) {
        *out = tandem_path_join(xdg, "tandem");
        return *out ? TANDEM_OK : TANDEM_ERROR;
    }
    if (home && *home) {
        *out = tandem_path_join(home, ".cache/tandem");
        return *out ? TANDEM_OK : TANDEM_ERROR;
    }
    return TANDEM_OK;
}

bool tandem_cache_is_on(void)
{
    char *root;
    bool on = cache_root(&root) == TANDEM_OK && root != NULL;
    free(root);
    return on;
}

int tandem_cache_path(char **out, const char *kind, tandem_hash key, const char *suffix)
{
    *out = NULL;
    char *root = NULL;
    char *directory = NULL;
    tandem_buffer name = TANDEM_BUFFER_INIT;
    int rc = cache_root(&root);
    if (rc < 0 || !root) {
        return rc;
    }
    directory = tandem_path_join(root, kind);
    if (!directory) {
        rc = TANDEM_ERROR;
        goto done;
    }
    if (tandem_dir_make(directory) < 0) {
        tandem_log_debug("no cache: %s", tandem_error_message());
        goto done;
    }
    char hex[TANDEM_HASH_HEX];
    tandem_hash_hex(key, hex);
    TANDEM_TRY_GOTO(rc, done, tandem_buffer_printf(&name, "%s%s", hex, suffix));
    *out = tandem_path_join(directory, name.data);
    rc = *out ? TANDEM_OK : TANDEM_ERROR;
done:
    tandem_buffer_free(&name);
    free(directory);
    free(root);
    return rc;
}
