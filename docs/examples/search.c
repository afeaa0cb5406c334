/* search.c - ranks lines of text for a query with libtandem: a bi-encoder by its embeddings, a
 * cross-encoder by its scores.
 *
 *     cc search.c $(pkg-config --cflags --libs tandem) -lm -o search
 *     ./search MODEL "what is lift" < documents.txt
 *
 * Prints score, tab and line, best first; with -v the query's embedding instead. */
#define _POSIX_C_SOURCE 200809L
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tandem/inference.h>

typedef struct {
    char *text;
    float score;
} line;

typedef struct {
    line *items;
    size_t count;
} lines;

static void fail(const char *message)
{
    fprintf(stderr, "search: %s\n", message);
    exit(1);
}

static void *allocate(size_t count, size_t size)
{
    void *memory = calloc(count > 0 ? count : 1, size);
    if (memory == NULL) {
        fail("out of memory");
    }
    return memory;
}

static lines read_lines(void)
{
    lines all = {NULL, 0};
    size_t room = 0;
    char *text = NULL;
    for (;;) {
        size_t size = 0;
        long long length = (long long)getline(&text, &size, stdin);
        if (length < 0) {
            free(text);
            return all;
        }
        text[strcspn(text, "\n")] = '\0';
        if (all.count == room) {
            room = room * 2 + 64;
            all.items = realloc(all.items, room * sizeof *all.items);
            if (all.items == NULL) {
                fail("out of memory");
            }
        }
        all.items[all.count++] = (line){text, 0};
        text = NULL;
    }
}

static tandem_utf8 utf8(const char *text)
{
    return (tandem_utf8){text, strlen(text)};
}

static float *embed(const tandem_session *session, const tandem_utf8 *texts, size_t count, const char *prompt)
{
    size_t floats = count * tandem_session_width(session);
    float *vectors = allocate(floats, sizeof *vectors);
    if (tandem_session_embed(session, texts, count, prompt, vectors, floats) < 0) {
        fail(tandem_error_message());
    }
    return vectors;
}

/* As the model compares: by the cosine or by the dot product. */
static float compare(const float *a, const float *b, size_t width, int cosine)
{
    double product = 0, a_square = 0, b_square = 0;
    for (size_t d = 0; d < width; d++) {
        product += (double)a[d] * (double)b[d];
        a_square += (double)a[d] * (double)a[d];
        b_square += (double)b[d] * (double)b[d];
    }
    return (float)(cosine ? product / sqrt(a_square * b_square) : product);
}

static void score_by_embeddings(const tandem_session *session, const char *query, lines *all)
{
    size_t width = tandem_session_width(session);
    tandem_utf8 *texts = allocate(all->count, sizeof *texts), question = utf8(query);
    for (size_t i = 0; i < all->count; i++) {
        texts[i] = utf8(all->items[i].text);
    }
    float *documents = embed(session, texts, all->count, "document"), *vector = embed(session, &question, 1, "query");
    for (size_t i = 0; i < all->count; i++) {
        all->items[i].score = compare(vector, documents + i * width, width, tandem_session_compares_cosine(session));
    }
    free(texts);
    free(documents);
    free(vector);
}

static void score_by_pairs(const tandem_session *session, const char *query, lines *all)
{
    size_t width = tandem_session_width(session);
    tandem_utf8_pair *pairs = allocate(all->count, sizeof *pairs);
    float *scores = allocate(all->count * width, sizeof *scores);
    for (size_t i = 0; i < all->count; i++) {
        pairs[i] = (tandem_utf8_pair){utf8(query), utf8(all->items[i].text)};
    }
    if (tandem_session_score(session, pairs, all->count, scores, all->count * width) < 0) {
        fail(tandem_error_message());
    }
    for (size_t i = 0; i < all->count; i++) {
        all->items[i].score = scores[i * width];
    }
    free(pairs);
    free(scores);
}

static int better_first(const void *a, const void *b)
{
    float left = ((const line *)a)->score, right = ((const line *)b)->score;
    return (left < right) - (left > right);
}

static void print_embedding(const tandem_session *session, const char *query)
{
    tandem_utf8 text = utf8(query);
    float *vector = embed(session, &text, 1, "query");
    for (size_t d = 0; d < tandem_session_width(session); d++) {
        printf("%.9g\n", (double)vector[d]);
    }
    free(vector);
}

static void rank(const tandem_session *session, const char *query)
{
    lines all = read_lines();
    (tandem_session_scores_pairs(session) ? score_by_pairs : score_by_embeddings)(session, query, &all);
    if (all.count > 0) {
        qsort(all.items, all.count, sizeof *all.items, better_first);
    }
    for (size_t i = 0; i < all.count; i++) {
        printf("%.6f\t%s\n", (double)all.items[i].score, all.items[i].text);
        free(all.items[i].text);
    }
    free(all.items);
}

int main(int argc, char **argv)
{
    int only_embed = argc == 4 && strcmp(argv[1], "-v") == 0;
    if (argc != 3 && !only_embed) {
        fail("usage: search [-v] MODEL QUERY < LINES");
    }
    tandem_session *session;
    if (tandem_session_open(&session, argv[1 + only_embed], NULL) < 0) {
        fail(tandem_error_message());
    }
    (only_embed ? print_embedding : rank)(session, argv[2 + only_embed]);
    tandem_session_close(session);
    return 0;
}
