/* probe_negatives QUERIES.npy DOCUMENTS.npy POSITIVES LOW HIGH NEGATIVES ABSOLUTE RELATIVE MAX MIN: mines from given
 * vectors; prints "query: document score ..." a query. POSITIVES is a file of lines, a query's documents each; a
 * threshold may be nan. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tandem/file.h"
#include "tandem/negatives.h"
#include "tandem/vectors.h"

/* Texts that are their own ids: "q0", "d17". */
static int name_texts(tandem_texts *out, tandem_arena *arena, char kind, size_t count)
{
    out->items = tandem_arena_alloc(arena, count, sizeof *out->items);
    out->count = count;
    for (size_t i = 0; out->items && i < count; i++) {
        char name[32];
        int length = snprintf(name, sizeof name, "%c%zu", kind, i);
        char *copy = tandem_arena_strndup(arena, name, (size_t)length);
        if (!copy) {
            return TANDEM_ERROR;
        }
        out->items[i] = (tandem_text){copy, copy, (size_t)length};
    }
    return out->items ? TANDEM_OK : TANDEM_ERROR;
}

static int read_split(tandem_split *out, tandem_arena *arena, const char *path, size_t queries)
{
    tandem_lines *lines = NULL;
    char *line;
    size_t length;
    out->queries = tandem_arena_alloc(arena, queries, sizeof *out->queries);
    TANDEM_TRY(tandem_lines_open(&lines, path));
    while (out->queries && out->count < queries && tandem_lines_next(lines, &line, &length) == 1) {
        uint32_t *documents = tandem_arena_alloc(arena, length, sizeof *documents);
        tandem_split_query *query = &out->queries[out->count];
        *query = (tandem_split_query){.query = (uint32_t)out->count++, .documents = documents};
        for (char *end; documents && *line; line = end) {
            documents[query->count++] = (uint32_t)strtoul(line, &end, 10);
        }
        out->pairs += query->count;
    }
    tandem_lines_close(lines);
    return out->count == queries ? TANDEM_OK : tandem_error("%s: %zu lines for %zu queries", path, out->count, queries);
}

static int run(char **argument)
{
    tandem_arena *arena = tandem_arena_new();
    tandem_vectors queries = {0}, documents = {0};
    tandem_dataset dataset = {.path = argument[3]};
    tandem_split split = {0};
    tandem_groups *groups = NULL;
    tandem_mining_statistics statistics;
    tandem_mining_options options = TANDEM_MINING_OPTIONS_INIT;
    int rc;
    options.range_low = strtoul(argument[4], NULL, 10);
    options.range_high = strtoul(argument[5], NULL, 10);
    options.negatives = strtoul(argument[6], NULL, 10);
    options.absolute_margin = strtod(argument[7], NULL);
    options.relative_margin = strtod(argument[8], NULL);
    options.max_score = strtod(argument[9], NULL);
    options.min_score = strtod(argument[10], NULL);
    TANDEM_TRY_GOTO(rc, done, tandem_vectors_read(&queries, argument[1], NULL));
    TANDEM_TRY_GOTO(rc, done, tandem_vectors_read(&documents, argument[2], NULL));
    TANDEM_TRY_GOTO(rc, done, name_texts(&dataset.queries, arena, 'q', queries.count));
    TANDEM_TRY_GOTO(rc, done, name_texts(&dataset.corpus, arena, 'd', documents.count));
    TANDEM_TRY_GOTO(rc, done, read_split(&split, arena, argument[3], queries.count));
    const tandem_mining_source source = {.queries = {&queries, 1}, .documents = {&documents, 1}};
    const tandem_mining mining = {
        .dataset = &dataset, .split = &split, .sources = &source, .source_count = 1, .options = options};
    TANDEM_TRY_GOTO(rc, done, tandem_mine_negatives(&groups, &statistics, &mining));
    for (size_t g = 0; g < groups->count; g++) {
        for (size_t i = 0; i < groups->items[g].negative_count; i++) {
            printf("%s %.9g ", groups->items[g].negatives[i].id, (double)groups->items[g].negatives[i].score);
        }
        putchar('\n');
    }
done:
    tandem_groups_free(groups);
    tandem_vectors_free(&queries);
    tandem_vectors_free(&documents);
    tandem_arena_free(arena);
    return rc;
}

int main(int argc, char **argv)
{
    if (argc != 11) {
        return 2;
    }
    if (run(argv) < 0) {
        fprintf(stderr, "%s\n", tandem_error_message());
        return 1;
    }
    return 0;
}
