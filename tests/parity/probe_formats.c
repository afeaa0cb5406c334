/* probe_formats copy IN OUT: vectors from one form into the other, with ids "0", "1", ... and
 * made-up origins.
 * probe_formats tokens TOKENIZER TEXTS.jsonl OUT.h5: a token store. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tandem/token_store.h"
#include "tandem/vectors.h"

static int copy(const char *from, const char *to)
{
    const tandem_vectors_origin origin = {.key = {1, 2}, .weights = "w", .tokenizer = "t", .prompt = "caf\xc3\xa9: ",
                                          .pooling = "mean", .max_length = 256, .normalized = true};
    tandem_vectors vectors;
    TANDEM_TRY(tandem_vectors_read(&vectors, from, NULL));
    char(*names)[24] = tandem_alloc(vectors.count, sizeof *names);
    tandem_text *ids = tandem_alloc(vectors.count, sizeof *ids);
    if (!names || !ids) {
        return TANDEM_ERROR;
    }
    for (size_t i = 0; i < vectors.count; i++) {
        snprintf(names[i], sizeof names[i], "%zu", i);
        ids[i].id = names[i];
    }
    int rc = tandem_vectors_write(to, &vectors, ids, &origin);
    free(names);
    free(ids);
    tandem_vectors_free(&vectors);
    return rc;
}

static int tokens(const char *model, const char *path, const char *to)
{
    tandem_tokenizer *tokenizer = NULL;
    tandem_token_store *store = NULL;
    tandem_texts texts;
    tandem_arena *arena = tandem_arena_new();
    TANDEM_TRY(tandem_tokenizer_load(&tokenizer, model));
    TANDEM_TRY(tandem_texts_read(&texts, arena, path));
    TANDEM_TRY(tandem_token_store_make(&store, tokenizer, texts.items, texts.count, NULL, 0));
    TANDEM_TRY(tandem_token_store_write(store, to, (tandem_hash){3, 4}));
    tandem_token_store_free(store);
    tandem_texts_free(&texts);
    tandem_arena_free(arena);
    tandem_tokenizer_free(tokenizer);
    return TANDEM_OK;
}

int main(int argc, char **argv)
{
    int rc = argc == 4 && strcmp(argv[1], "copy") == 0     ? copy(argv[2], argv[3])
             : argc == 5 && strcmp(argv[1], "tokens") == 0 ? tokens(argv[2], argv[3], argv[4])
                                                           : tandem_error("usage: copy IN OUT | tokens MODEL TEXTS OUT");
    if (rc < 0) {
        fprintf(stderr, "%s\n", tandem_error_message());
    }
    return rc < 0;
}
