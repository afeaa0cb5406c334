/* run.c - ranked results in memory. */
#include "eval/run.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A blank in the name would be read as the end of it, and an empty one as a missing field. */
static char *make_name(const char *name)
{
    char *copy = tandem_strdup(name && *name ? name : "tandem");
    for (char *c = copy; c && *c; c++) {
        if ((unsigned char)*c <= ' ') {
            *c = '-';
        }
    }
    return copy;
}

int tandem_run_new(tandem_run **out, const char *name)
{
    *out = NULL;
    tandem_run *run = tandem_alloc(1, sizeof *run);
    if (!run) {
        return TANDEM_ERROR;
    }
    run->name = make_name(name);
    run->arena = tandem_arena_new();
    if (!run->name || !run->arena) {
        tandem_run_free(run);
        return TANDEM_ERROR;
    }
    *out = run;
    return TANDEM_OK;
}

void tandem_run_free(tandem_run *run)
{
    if (!run) {
        return;
    }
    free(run->rankings);
    free(run->name);
    tandem_arena_free(run->arena);
    free(run);
}

static int compare_results(const void *left, const void *right)
{
    const tandem_result *a = left, *b = right;
    if (a->score != b->score) {
        return a->score > b->score ? -1 : 1;
    }
    return strcmp(b->document_id, a->document_id);
}

void tandem_run_rank(tandem_result *results, size_t count)
{
    /* Most run files come sorted: one pass then spares the sort. */
    for (size_t i = 1; i < count; i++) {
        if (compare_results(&results[i - 1], &results[i]) > 0) {
            qsort(results, count, sizeof *results, compare_results);
            return;
        }
    }
}

static int compare_rankings(const void *left, const void *right)
{
    const tandem_ranking *a = left, *b = right;
    return strcmp(a->query_id, b->query_id);
}

static int reserve_ranking(tandem_run *run)
{
    void *rankings = run->rankings;
    int rc = tandem_grow(&rankings, &run->capacity, run->count + 1, sizeof *run->rankings);
    run->rankings = rankings;
    return rc;
}

int tandem_run_append(tandem_run *run, const char *query_id, const tandem_result *results, size_t count)
{
    TANDEM_TRY(reserve_ranking(run));
    run->rankings[run->count++] = (tandem_ranking){query_id, results, count};
    return TANDEM_OK;
}

int tandem_run_order(tandem_run *run)
{
    if (run->count > 1) {
        qsort(run->rankings, run->count, sizeof *run->rankings, compare_rankings);
    }
    for (size_t i = 1; i < run->count; i++) {
        if (compare_rankings(&run->rankings[i - 1], &run->rankings[i]) == 0) {
            return tandem_error("query '%s' is in the run already", run->rankings[i].query_id);
        }
    }
    return TANDEM_OK;
}

/* Where `query_id` is, or would be; *found says which. */
static size_t entry_position(const tandem_run *run, const char *query_id, bool *found)
{
    size_t low = 0, high = run->count;
    *found = false;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(run->rankings[middle].query_id, query_id);
        if (order == 0) {
            *found = true;
            return middle;
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static int check_results(const char *query_id, const tandem_result *results, size_t count)
{
    tandem_strmap *seen = tandem_strmap_new(count);
    int rc = seen ? TANDEM_OK : TANDEM_ERROR;
    for (size_t i = 0; rc >= 0 && i < count; i++) {
        const char *document = results[i].document_id;
        if (!isfinite(results[i].score)) {
            rc = tandem_error("query '%s', document '%s': the score is not finite", query_id, document);
            break;
        }
        rc = tandem_strmap_add(seen, document, strlen(document), i, NULL);
        if (rc == 0) {
            rc = tandem_error("query '%s': document '%s' is given twice", query_id, document);
        }
    }
    tandem_strmap_free(seen);
    return rc < 0 ? rc : TANDEM_OK;
}

/* Ranked copy of `results` that lives in the arena; NULL with the message set. */
static tandem_result *copy_results(tandem_arena *arena, const tandem_result *results, size_t count)
{
    tandem_result *copy = tandem_arena_alloc(arena, count, sizeof *copy);
    for (size_t i = 0; copy && i < count; i++) {
        const char *id = results[i].document_id;
        copy[i].score = results[i].score;
        copy[i].document_id = tandem_arena_strndup(arena, id, strlen(id));
        if (!copy[i].document_id) {
            return NULL;
        }
    }
    if (copy) {
        tandem_run_rank(copy, count);
    }
    return copy;
}

int tandem_run_add(tandem_run *run, const char *query_id, const tandem_result *results, size_t count)
{
    bool found;
    size_t position = entry_position(run, query_id, &found);
    if (found) {
        return tandem_error("query '%s' is in the run already", query_id);
    }
    TANDEM_TRY(check_results(query_id, results, count));
    TANDEM_TRY(reserve_ranking(run));
    const char *id = tandem_arena_strndup(run->arena, query_id, strlen(query_id));
    tandem_result *copy = id ? copy_results(run->arena, results, count) : NULL;
    if (!copy) {
        return TANDEM_ERROR;
    }
    tandem_ranking *ranking = &run->rankings[position];
    memmove(ranking + 1, ranking, (run->count - position) * sizeof *ranking);
    *ranking = (tandem_ranking){id, copy, count};
    run->count++;
    return TANDEM_OK;
}

static int append_hits(tandem_run *run, const char *query_id, const tandem_hits *hits, size_t row,
                       const tandem_text *documents, tandem_result *results)
{
    size_t count = hits->counts[row];
    for (size_t i = 0; i < count; i++) {
        size_t at = row * hits->k + i;
        results[i] = (tandem_result){documents[hits->documents[at]].id, (double)hits->scores[at]};
    }
    TANDEM_TRY(check_results(query_id, results, count));
    const char *id = tandem_arena_strndup(run->arena, query_id, strlen(query_id));
    tandem_result *copy = id ? copy_results(run->arena, results, count) : NULL;
    return copy ? tandem_run_append(run, id, copy, count) : TANDEM_ERROR;
}

int tandem_run_from_hits(tandem_run **out, const char *name, const tandem_hits *hits,
                         const tandem_text *queries, const uint32_t *order, const tandem_text *documents)
{
    TANDEM_TRY(tandem_run_new(out, name));
    tandem_result *results = tandem_alloc(hits->k, sizeof *results);
    int rc = results ? TANDEM_OK : TANDEM_ERROR;
    for (size_t row = 0; rc >= 0 && row < hits->queries; row++) {
        const tandem_text *query = &queries[order ? order[row] : row];
        rc = append_hits(*out, query->id, hits, row, documents, results);
    }
    free(results);
    if (rc >= 0) {
        rc = tandem_run_order(*out);
    }
    if (rc < 0) {
        tandem_run_free(*out);
        *out = NULL;
    }
    return rc;
}

const char *tandem_run_name(const tandem_run *run)
{
    return run->name;
}

size_t tandem_run_count(const tandem_run *run)
{
    return run->count;
}

const tandem_ranking *tandem_run_ranking(const tandem_run *run, size_t index)
{
    return &run->rankings[index];
}

const tandem_ranking *tandem_run_find(const tandem_run *run, const char *query_id)
{
    bool found;
    size_t position = entry_position(run, query_id, &found);
    return found ? &run->rankings[position] : NULL;
}
