/* mine_file.c - mining into a file, block after block, so that a kill loses no more than one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "mining/mine_models.h"
#include "mining/miner.h"
#include "tandem/file.h"
#include "tandem/log.h"
#include "tandem/machine.h"
#include "tandem/memory.h"

/* Version of what lies in the directory; part of the key. */
enum { FORMAT = 1 };

/* A mining and its directory: "key", and of every finished block the groups, then the tally. */
typedef struct {
    const tandem_mining_models *models;
    tandem_mining job; /* sources once some block is to be mined */
    tandem_mining_sources sources;
    char *directory;
    size_t block, blocks;
} work;

/* ---- names ------------------------------------------------------------------------------ */
static char *entry(const work *w, const char *name)
{
    return tandem_path_join(w->directory, name);
}

static char *block_path(const work *w, size_t index, const char *suffix)
{
    char name[64];
    snprintf(name, sizeof name, "block-%06zu%s", index, suffix);
    return entry(w, name);
}

/* ---- the key ---------------------------------------------------------------------------- */
static void hash_double(tandem_hasher *hasher, double value)
{
    tandem_hasher_field(hasher, &value, sizeof value);
}

static void hash_options(tandem_hasher *hasher, const tandem_mining_options *o)
{
    const double numbers[] = {o->absolute_margin, o->relative_margin, o->max_score,
                              o->min_score,       o->near_duplicate,  o->similar_positive};
    const size_t counts[] = {o->range_low, o->range_high, o->negatives};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        hash_double(hasher, isnan(numbers[i]) ? (double)NAN : numbers[i]);
    }
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        tandem_hasher_int(hasher, (int64_t)counts[i]);
    }
    tandem_hasher_int(hasher, o->rank);
    tandem_hasher_int(hasher, o->sampling);
    tandem_hasher_int(hasher, o->shortage);
    tandem_hasher_int(hasher, (int64_t)o->seed);
}

static void hash_split(tandem_hasher *hasher, const tandem_split *split)
{
    for (size_t q = 0; q < split->count; q++) {
        tandem_hasher_int(hasher, split->queries[q].query);
        tandem_hasher_field(hasher, split->queries[q].documents, split->queries[q].count * sizeof(uint32_t));
    }
}

static void hash_model(tandem_hasher *hasher, const tandem_model *model)
{
    if (!model) {
        tandem_hasher_string(hasher, "bm25");
        return;
    }
    tandem_hasher_hash(hasher, tandem_model_key(model, TANDEM_QUERY));
    tandem_hasher_hash(hasher, tandem_model_key(model, TANDEM_DOCUMENT));
}

/* Of all that the groups depend on. */
static int make_key(tandem_hash *out, const work *w)
{
    tandem_hasher *hasher = tandem_hasher_new();
    if (!hasher) {
        return TANDEM_ERROR;
    }
    tandem_hasher_int(hasher, FORMAT);
    tandem_hasher_int(hasher, (int64_t)w->block);
    tandem_hasher_hash(hasher, w->job.dataset->hash);
    hash_split(hasher, w->job.split);
    hash_options(hasher, &w->job.options);
    for (size_t i = 0; i < w->models->count; i++) {
        hash_model(hasher, w->models->retrievers[i]);
    }
    if (w->models->cross) {
        tandem_hasher_string(hasher, "cross");
        hash_model(hasher, w->models->cross);
    }
    *out = tandem_hasher_done(hasher);
    return TANDEM_OK;
}

static bool holds_key(const char *path, const char *hex)
{
    char *text = NULL;
    size_t size;
    bool same = tandem_file_exists(path) && tandem_file_read(&text, &size, path) == TANDEM_OK && size == strlen(hex) &&
                memcmp(text, hex, size) == 0;
    free(text);
    return same;
}

/* Makes the directory, or keeps it when it is of this mining. */
static int enter(const work *w)
{
    tandem_hash key;
    char hex[TANDEM_HASH_HEX];
    TANDEM_TRY(make_key(&key, w));
    tandem_hash_hex(key, hex);
    char *path = entry(w, "key");
    int rc = path ? TANDEM_OK : TANDEM_ERROR;
    if (rc == TANDEM_OK && !holds_key(path, hex)) {
        if (tandem_dir_exists(w->directory)) {
            tandem_log_info("%s: of another mining; starting anew", w->directory);
        }
        rc = tandem_dir_remove(w->directory);
        rc = rc < 0 ? rc : tandem_dir_make(w->directory);
        rc = rc < 0 ? rc : tandem_file_write(path, hex, strlen(hex));
    }
    free(path);
    return rc;
}

/* ---- blocks -------------------------------------------------------------------------------- */
/* A block's tally is written last. */
static int is_done(bool *out, const work *w, size_t index)
{
    char *path = block_path(w, index, ".json");
    *out = path && tandem_file_exists(path);
    free(path);
    return path ? TANDEM_OK : TANDEM_ERROR;
}

static int write_block(const work *w, size_t index, const tandem_groups *groups, const tandem_mining_tally *tally)
{
    char *lines = block_path(w, index, ".jsonl.zst"), *counts = block_path(w, index, ".json");
    int rc = lines && counts ? tandem_groups_write(groups, lines) : TANDEM_ERROR;
    rc = rc < 0 ? rc : tandem_mining_tally_write(tally, counts);
    free(lines);
    free(counts);
    return rc;
}

static int mine_block(const work *w, tandem_miner *m, size_t index)
{
    size_t first = index * w->block, queries = w->job.split->count;
    size_t count = queries - first < w->block ? queries - first : w->block;
    tandem_mining_tally tally = {0};
    tandem_groups *groups = NULL;
    int rc;
    TANDEM_TRY_GOTO(rc, done, tandem_groups_new(&groups));
    TANDEM_TRY_GOTO(rc, done, tandem_miner_block(m, groups, &tally, first, count));
    TANDEM_TRY_GOTO(rc, done, tandem_groups_finish(groups));
    rc = write_block(w, index, groups, &tally);
done:
    tandem_groups_free(groups);
    tandem_mining_tally_free(&tally);
    return rc;
}

static int open_miner(work *w, tandem_miner *m)
{
    TANDEM_TRY(tandem_mining_sources_make(&w->sources, w->models, w->job.dataset, w->job.split));
    w->job.sources = w->sources.items;
    w->job.source_count = w->models->count;
    return tandem_miner_open(m, &w->job);
}

/* The miner is opened for the first block that is missing: no model runs when there is none. */
static int mine_missing(work *w)
{
    tandem_miner m = {0};
    size_t found = 0;
    int rc = TANDEM_OK;
    tandem_progress *progress = tandem_progress_new("mining", "blocks", w->blocks);
    for (size_t i = 0; i < w->blocks; i++) {
        bool done;
        TANDEM_TRY_GOTO(rc, done, is_done(&done, w, i));
        found += done;
        if (!done) {
            if (found > 0 && !m.job) {
                tandem_log_info("%s: going on after %zu of %zu blocks", w->directory, found, w->blocks);
            }
            TANDEM_TRY_GOTO(rc, done, m.job ? TANDEM_OK : open_miner(w, &m));
            TANDEM_TRY_GOTO(rc, done, mine_block(w, &m, i));
            if (tandem_interrupted()) {
                rc = tandem_error_code(TANDEM_INTERRUPTED, "interrupted; the same command goes on");
                goto done;
            }
        }
        tandem_progress_update(progress, i + 1, NULL);
    }
done:
    tandem_progress_free(progress);
    if (m.job) {
        tandem_miner_close(&m);
    }
    return rc;
}

/* ---- the file --------------------------------------------------------------------------------- */
static int append_block(tandem_writer *writer, size_t *groups, const char *path)
{
    tandem_lines *lines = NULL;
    char *line;
    size_t length;
    TANDEM_TRY(tandem_lines_open(&lines, path));
    int rc;
    while ((rc = tandem_lines_next(lines, &line, &length)) == 1) {
        line[length] = '\n'; /* in the place of its NUL */
        TANDEM_TRY_GOTO(rc, done, tandem_writer_write(writer, line, length + 1));
        ++*groups;
    }
done:
    tandem_lines_close(lines);
    return rc;
}

static int append_blocks(const work *w, tandem_writer *writer, tandem_mining_tally *tally)
{
    size_t groups = 0;
    for (size_t i = 0; i < w->blocks; i++) {
        char *lines = block_path(w, i, ".jsonl.zst"), *counts = block_path(w, i, ".json");
        int rc = lines && counts ? append_block(writer, &groups, lines) : TANDEM_ERROR;
        rc = rc < 0 ? rc : tandem_mining_tally_read(tally, counts);
        free(lines);
        free(counts);
        TANDEM_TRY(rc);
    }
    return groups > 0 ? TANDEM_OK : tandem_mining_none(&w->job.options, w->job.dataset->path);
}

/* Joins the blocks inside the directory, so that a kill leaves nothing beside it, and moves
 * the whole to its place. */
static int join(const work *w, const char *path, tandem_mining_statistics *statistics)
{
    tandem_mining_tally tally = {0};
    tandem_writer *writer = NULL;
    char *whole = entry(w, tandem_path_has_suffix(path, ".zst") ? "whole.zst" : "whole");
    int rc;
    TANDEM_TRY_GOTO(rc, done, whole ? tandem_writer_open(&writer, whole) : TANDEM_ERROR);
    TANDEM_TRY_GOTO(rc, done, append_blocks(w, writer, &tally));
    TANDEM_TRY_GOTO(rc, done, tandem_writer_commit(&writer));
    TANDEM_TRY_GOTO(rc, done, tandem_stage_commit(whole, path));
    tandem_mining_tally_finish(statistics, &tally);
    rc = tandem_dir_remove(w->directory);
done:
    tandem_writer_abort(writer);
    tandem_mining_tally_free(&tally);
    free(whole);
    return rc;
}

/* What cannot be put in place by a rename: stdout, a device, a pipe. */
static bool is_stream(const char *path)
{
    struct stat status;
    return strcmp(path, "-") == 0 || (stat(path, &status) == 0 && !S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode));
}

static int mine_to_stream(work *w, const char *path, tandem_mining_statistics *statistics)
{
    tandem_groups *groups = NULL;
    TANDEM_TRY(tandem_mining_sources_make(&w->sources, w->models, w->job.dataset, w->job.split));
    w->job.sources = w->sources.items;
    w->job.source_count = w->models->count;
    int rc = tandem_mine_negatives(&groups, statistics, &w->job);
    rc = rc < 0 ? rc : tandem_groups_write(groups, path);
    tandem_groups_free(groups);
    return rc;
}

static int mine_to_file(work *w, const char *path, tandem_mining_statistics *statistics)
{
    size_t length = strlen(path);
    w->directory = tandem_alloc(length + sizeof ".partial", 1);
    if (!w->directory) {
        return TANDEM_ERROR;
    }
    snprintf(w->directory, length + sizeof ".partial", "%s.partial", path);
    w->block = tandem_mining_block(&w->job);
    w->blocks = (w->job.split->count + w->block - 1) / w->block;
    TANDEM_TRY(enter(w));
    TANDEM_TRY(mine_missing(w));
    return join(w, path, statistics);
}

int tandem_mine_file(const char *path, tandem_mining_statistics *statistics, const tandem_mining_models *models,
                     const tandem_dataset *dataset, const tandem_split *split, const tandem_mining_options *options)
{
    work w = {.models = models,
              .job = {.dataset = dataset, .split = split, .cross = models->cross, .options = *options}};
    *statistics = (tandem_mining_statistics){0};
    TANDEM_TRY(tandem_mining_check(options, split, dataset->path));
    if (tandem_dir_exists(path)) {
        return tandem_error("%s: cannot be written: it is a directory", path);
    }
    int rc = is_stream(path) ? mine_to_stream(&w, path, statistics) : mine_to_file(&w, path, statistics);
    tandem_mining_sources_free(&w.sources);
    free(w.directory);
    return rc;
}
