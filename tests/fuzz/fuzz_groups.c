/* fuzz_groups.c - any bytes as training groups: an error, or groups that writing and reading
 * again leave as they are. The lines of a corpus share the reader's first half. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz.h"
#include "tandem/groups.h"

const tandem_fuzz_seed tandem_fuzz_seeds[] = {
    TANDEM_FUZZ_SEED("{\"query_id\": \"q\", \"query\": \"x\", \"positives\": [{\"id\": 7, \"text\": \"t\", \"score\": 0.5}], "
                     "\"negatives\": [{\"id\": \"n\", \"text\": \"\\u00e9\"}, {\"id\": \"m\", \"text\": \"x\", \"score\": null}]}\n"),
    TANDEM_FUZZ_SEED("{\"_id\": \"d\", \"title\": \"t\\u3000\", \"text\": \" \\ud83d\\ude00\"}\n\n{\"_id\": 3, \"text\": \"u\"}\n"),
    {NULL, 0},
};

static char copy[] = "/tmp/tandem-fuzz-XXXXXX"; /* groups are written by rename: not into memory */

static void remove_copy(void)
{
    unlink(copy);
}

static void make_copy(void)
{
    static bool made = false;
    if (!made) {
        int file = mkstemp(copy);
        if (file < 0 || atexit(remove_copy) != 0) {
            abort();
        }
        close(file);
        made = true;
    }
}

static void same_passages(const tandem_passage *a, const tandem_passage *b, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        bool same_score = isnan(a[i].score) ? isnan(b[i].score) : a[i].score == b[i].score;
        if (strcmp(a[i].id, b[i].id) != 0 || a[i].text != b[i].text || !same_score) {
            abort();
        }
    }
}

static void same(const tandem_groups *a, const tandem_groups *b)
{
    if (a->count != b->count || a->text_count != b->text_count) {
        abort();
    }
    for (size_t i = 0; i < a->text_count; i++) {
        if (a->texts[i].length != b->texts[i].length || memcmp(a->texts[i].text, b->texts[i].text, a->texts[i].length) != 0) {
            abort();
        }
    }
    for (size_t i = 0; i < a->count; i++) {
        const tandem_group *x = &a->items[i], *y = &b->items[i];
        if (strcmp(x->query_id, y->query_id) != 0 || x->query != y->query || x->positive_count != y->positive_count ||
            x->negative_count != y->negative_count || x->positive_count == 0) {
            abort();
        }
        same_passages(x->positives, y->positives, x->positive_count);
        same_passages(x->negatives, y->negatives, x->negative_count);
    }
}

static void check_groups(const char *path)
{
    tandem_groups *groups = NULL, *again = NULL;
    if (tandem_groups_read(&groups, path) < 0) {
        return;
    }
    make_copy();
    if (tandem_groups_write(groups, copy) < 0 || tandem_groups_read(&again, copy) < 0) {
        abort();
    }
    same(groups, again);
    tandem_groups_free(again);
    tandem_groups_free(groups);
}

static void check_texts(const char *path)
{
    tandem_texts texts;
    tandem_arena *arena = tandem_arena_new();
    if (!arena) {
        abort();
    }
    if (tandem_texts_read(&texts, arena, path) == 0) {
        for (size_t i = 0; i < texts.count; i++) {
            size_t index = texts.count;
            if (!tandem_strmap_find(texts.by_id, texts.items[i].id, strlen(texts.items[i].id), &index) || index != i ||
                strlen(texts.items[i].text) != texts.items[i].length) {
                abort();
            }
        }
        tandem_texts_free(&texts);
    }
    tandem_arena_free(arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[64];
    int file = memfd_create("groups", 0);
    if (file < 0 || write(file, data, size) != (ssize_t)size) {
        abort();
    }
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    check_groups(path);
    check_texts(path);
    close(file);
    return 0;
}
