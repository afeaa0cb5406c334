/* token_store_cache.c - the cache's folder of one tokenizer, prompt and limit: an entry there
 * holds the ids of one list of texts, and has them for any other list as well. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "data/token_store_private.h"
#include "tandem/file.h"
#include "tandem/log.h"
#include "tandem/memory.h"

enum {
    /* An entry is read when at least one in so many of its texts is wanted: reading the ids of a text
     * takes about a tenth of the time of tokenizing it. */
    WORTH_READING = 8,
    LEFT_BEHIND = 24 * 60 * 60 /* seconds after which no writer is at a temporary file any more */
};

/* ---- the folder ------------------------------------------------------------------------- */
typedef struct {
    char *path;
    struct timespec used;
    bool temporary;
    size_t wanted; /* texts whose ids are wanted, once counted */
} cache_entry;

typedef struct {
    cache_entry *entries; /* those used last first */
    size_t count, capacity;
} cache_folder;

/* Ties are broken by name, so that the order is that of the folder's content alone. */
static int compare_entries(const void *a, const void *b)
{
    const cache_entry *first = a, *second = b;
    if (first->used.tv_sec != second->used.tv_sec) {
        return first->used.tv_sec < second->used.tv_sec ? 1 : -1;
    }
    if (first->used.tv_nsec != second->used.tv_nsec) {
        return first->used.tv_nsec < second->used.tv_nsec ? 1 : -1;
    }
    return strcmp(first->path, second->path);
}

static int add_entry(cache_folder *folder, const char *directory, const char *name)
{
    struct stat status;
    char *path = tandem_path_join(directory, name);
    void *entries = folder->entries;
    if (!path || tandem_grow(&entries, &folder->capacity, folder->count + 1, sizeof *folder->entries) < 0) {
        free(path);
        return TANDEM_ERROR;
    }
    folder->entries = entries;
    if (lstat(path, &status) != 0 || !S_ISREG(status.st_mode)) { /* removed meanwhile, or none of ours */
        free(path);
        return TANDEM_OK;
    }
    folder->entries[folder->count++] = (cache_entry){path, status.st_mtim, name[0] == '.', 0};
    return TANDEM_OK;
}

static void free_folder(cache_folder *folder)
{
    for (size_t i = 0; i < folder->count; i++) {
        free(folder->entries[i].path);
    }
    free(folder->entries);
    *folder = (cache_folder){0};
}

/* Lists the folder that `path` is in; one that cannot be listed is empty. */
static int list_folder(cache_folder *out, const char *path)
{
    *out = (cache_folder){0};
    char *directory = tandem_strndup(path, (size_t)(tandem_path_base(path) - path));
    if (!directory) {
        return TANDEM_ERROR;
    }
    int rc = TANDEM_OK;
    DIR *stream = opendir(directory);
    for (struct dirent *entry; stream && rc == TANDEM_OK && (entry = readdir(stream)) != NULL;) {
        if (tandem_path_has_suffix(entry->d_name, ".h5") || strstr(entry->d_name, ".h5.tmp-")) {
            rc = add_entry(out, directory, entry->d_name);
        }
    }
    if (stream) {
        closedir(stream);
    }
    free(directory);
    if (rc < 0) {
        free_folder(out);
    } else if (out->count > 0) {
        qsort(out->entries, out->count, sizeof *out->entries, compare_entries);
    }
    return rc;
}

void tandem_token_cache_touch(const char *path)
{
    (void)utimensat(AT_FDCWD, path, NULL, 0); /* a cache that may only be read keeps its order */
}

void tandem_token_cache_prune(const char *path)
{
    cache_folder folder;
    if (list_folder(&folder, path) < 0) {
        return;
    }
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    size_t kept = 0;
    for (size_t i = 0; i < folder.count; i++) {
        const cache_entry *entry = &folder.entries[i];
        bool old = entry->temporary ? now.tv_sec - entry->used.tv_sec > LEFT_BEHIND
                                    : kept++ >= TANDEM_TOKEN_CACHE_ENTRIES;
        if (old && unlink(entry->path) != 0 && errno != ENOENT) {
            tandem_log_debug("%s: cannot be removed: %s", entry->path, strerror(errno));
        }
    }
    free_folder(&folder);
}

/* ---- known ids -------------------------------------------------------------------------- */
/* The hashes of an entry's texts, and their places by the hashes' bytes; the first of equal ones. */
typedef struct {
    tandem_hash *hashes; /* [count] */
    size_t count;
    tandem_strmap *places;
} entry_texts;

static void free_texts(entry_texts *texts)
{
    tandem_strmap_free(texts->places);
    free(texts->hashes);
}

static int read_texts(entry_texts *out, const char *path)
{
    *out = (entry_texts){0};
    TANDEM_TRY(tandem_token_store_load_hashes(&out->hashes, &out->count, path));
    out->places = tandem_strmap_new(out->count);
    int rc = out->places ? TANDEM_OK : TANDEM_ERROR;
    for (size_t i = 0; i < out->count && rc >= 0; i++) {
        rc = tandem_strmap_add(out->places, (const char *)&out->hashes[i], sizeof *out->hashes, i, NULL);
    }
    if (rc < 0) {
        free_texts(out);
    }
    return rc < 0 ? rc : TANDEM_OK;
}

/* Where the entry has text `index` of the store, if its ids are still wanted. */
static bool find_wanted(const tandem_known_ids *known, const tandem_token_store *store, size_t index,
                        const entry_texts *texts, size_t *place)
{
    return !known->known[index].ids &&
           tandem_strmap_find(texts->places, (const char *)&store->hashes[index], sizeof *store->hashes, place);
}

static size_t count_wanted(const tandem_known_ids *known, const tandem_token_store *store, const entry_texts *texts)
{
    size_t wanted = 0;
    for (size_t i = 0; i < store->count; i++) {
        wanted += find_wanted(known, store, i, texts, NULL);
    }
    return wanted;
}

/* Takes what the source has, and the source itself, in which the ids lie. */
static int take_source(tandem_known_ids *known, const tandem_token_store *store, tandem_token_store *source,
                       const entry_texts *texts)
{
    void *sources = known->sources;
    TANDEM_TRY(tandem_grow(&sources, &known->source_capacity, known->source_count + 1, sizeof *known->sources));
    known->sources = sources;
    known->sources[known->source_count++] = source;
    for (size_t i = 0; i < store->count; i++) {
        size_t place = 0;
        if (find_wanted(known, store, i, texts, &place)) {
            known->known[i] = tandem_token_store_get(source, place);
        }
    }
    return TANDEM_OK;
}

/* Loads the entry that has these texts. */
static int load_source(tandem_token_store **out, const tandem_token_store *store, const char *path,
                       const entry_texts *texts)
{
    TANDEM_TRY(tandem_token_store_load(out, path, NULL));
    if (tandem_token_store_serves(*out, store, texts->hashes, texts->count)) {
        return TANDEM_OK;
    }
    tandem_token_store_free(*out);
    *out = NULL;
    return tandem_error("%s: not of this folder's tokenizer and limit", path);
}

static int use_entry(tandem_known_ids *known, const tandem_token_store *store, cache_entry *entry)
{
    entry_texts texts;
    tandem_token_store *source = NULL;
    TANDEM_TRY(read_texts(&texts, entry->path));
    int rc = TANDEM_OK;
    size_t wanted = count_wanted(known, store, &texts);
    if (wanted > 0 && wanted >= texts.count / WORTH_READING) {
        rc = load_source(&source, store, entry->path, &texts);
        if (rc == TANDEM_OK && (rc = take_source(known, store, source, &texts)) < 0) {
            tandem_token_store_free(source);
        }
    }
    free_texts(&texts);
    return rc;
}

static int count_entry(tandem_known_ids *known, const tandem_token_store *store, cache_entry *entry)
{
    entry_texts texts;
    TANDEM_TRY(read_texts(&texts, entry->path));
    entry->wanted = count_wanted(known, store, &texts);
    free_texts(&texts);
    return TANDEM_OK;
}

static int compare_wanted(const void *a, const void *b)
{
    const cache_entry *first = a, *second = b;
    return first->wanted != second->wanted ? (first->wanted < second->wanted ? 1 : -1) : compare_entries(a, b);
}

/* Says and removes what cannot be read; an entry that is not there was removed by another process. */
static void drop_entry(const cache_entry *entry, int rc)
{
    if (rc < 0 && rc != TANDEM_NOT_FOUND) {
        tandem_log_warn("the cache entry is damaged and removed: %s", tandem_error_message());
        (void)unlink(entry->path);
    }
}

/* The entry with most of the texts comes first, so that as few as possible are read. */
int tandem_known_ids_find(tandem_known_ids *out, const tandem_token_store *store, const char *path)
{
    cache_folder folder = {0};
    *out = (tandem_known_ids){.known = tandem_alloc(store->count, sizeof *out->known)};
    int rc = out->known ? list_folder(&folder, path) : TANDEM_ERROR;
    if (rc < 0) {
        tandem_known_ids_free(out);
        return rc;
    }
    for (size_t i = 0; i < folder.count; i++) {
        cache_entry *entry = &folder.entries[i];
        if (!entry->temporary && strcmp(entry->path, path) != 0) {
            drop_entry(entry, count_entry(out, store, entry));
        }
    }
    if (folder.count > 0) {
        qsort(folder.entries, folder.count, sizeof *folder.entries, compare_wanted);
    }
    for (size_t i = 0; i < folder.count && folder.entries[i].wanted > 0; i++) {
        drop_entry(&folder.entries[i], use_entry(out, store, &folder.entries[i]));
    }
    free_folder(&folder);
    return TANDEM_OK;
}

void tandem_known_ids_free(tandem_known_ids *known)
{
    for (size_t i = 0; i < known->source_count; i++) {
        tandem_token_store_free(known->sources[i]);
    }
    free(known->sources);
    free(known->known);
    *known = (tandem_known_ids){0};
}
