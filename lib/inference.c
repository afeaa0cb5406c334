/* inference.c - libtandem: models as sessions that threads share. */
#include "tandem/inference.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tandem/log.h"
#include "tandem/machine.h"
#include "tandem/memory.h"
#include "tandem/model.h"

/* What a session was before it grew: the least that a program may know of the options. */
#define FIRST_OPTIONS_SIZE (offsetof(tandem_session_options, precision) + sizeof(const char *))

enum { MOST_THREADS = 1024 };

/* What stands before texts, and the model with just that prompt. */
typedef struct {
    const char *name; /* NULL: the default */
    tandem_model *model;
} prompted;

/* Nothing of it changes after tandem_session_open. */
struct tandem_session {
    size_t threads;
    tandem_model *model;
    const tandem_model_info *info; /* the model's */
    prompted *prompts;             /* [prompt_count], the side of documents has the prompt */
    size_t prompt_count;
};

/* ---- options --------------------------------------------------------------------------------- */

/* A program's options as this library has them: what it does not know is the default, and what this
 * library does not know must be. */
static int read_options(tandem_session_options *out, const tandem_session_options *options)
{
    *out = (tandem_session_options)TANDEM_SESSION_OPTIONS_INIT;
    if (options == NULL) {
        return 0;
    }
    if (options->size < FIRST_OPTIONS_SIZE) {
        return tandem_error("options of %zu bytes: expected at least %zu; is TANDEM_SESSION_OPTIONS_INIT missing?",
                            options->size, FIRST_OPTIONS_SIZE);
    }
    const unsigned char *bytes = (const unsigned char *)options;
    for (size_t i = sizeof *out; i < options->size; i++) {
        if (bytes[i] != 0) {
            return tandem_error("the options have one at byte %zu that tandem %s does not know", i, tandem_version());
        }
    }
    memcpy(out, options, options->size < sizeof *out ? options->size : sizeof *out);
    out->size = sizeof *out;
    return out->threads <= MOST_THREADS
               ? 0
               : tandem_error("%zu threads: a call can have %u", out->threads, (unsigned)MOST_THREADS);
}

static int read_precision(tandem_precision *out, const char *name)
{
    *out = TANDEM_FP32;
    if (name == NULL) {
        return 0;
    }
    for (int precision = TANDEM_FP32; precision <= TANDEM_INT8; precision++) {
        if (strcmp(tandem_precision_name((tandem_precision)precision), name) == 0) {
            *out = (tandem_precision)precision;
            return 0;
        }
    }
    return tandem_error("precision \"%s\": expected fp32, bf16, int8 or auto", name);
}

/* ---- prompts ----------------------------------------------------------------------------------- */

static int add_prompt(tandem_session *session, const char *name, const char *text)
{
    prompted *added = &session->prompts[session->prompt_count];
    TANDEM_TRY(tandem_model_share(&added->model, session->model));
    session->prompt_count++;
    added->name = name;
    return tandem_model_set_prompt(added->model, TANDEM_DOCUMENT, text);
}

/* The first of a name counts: "query" and "document" are those of the sides. */
static int add_prompts(tandem_session *session)
{
    const tandem_model_info *info = session->info;
    const char *initial = "";
    session->prompts = tandem_alloc(info->prompt_count + 4, sizeof *session->prompts);
    if (session->prompts == NULL) {
        return TANDEM_ERROR;
    }
    for (size_t i = 0; i < info->prompt_count && info->default_prompt_name != NULL; i++) {
        if (strcmp(info->prompts[i].name, info->default_prompt_name) == 0) {
            initial = info->prompts[i].text;
        }
    }
    TANDEM_TRY(add_prompt(session, NULL, initial));
    TANDEM_TRY(add_prompt(session, "", ""));
    TANDEM_TRY(add_prompt(session, "query", info->query_prompt));
    TANDEM_TRY(add_prompt(session, "document", info->document_prompt));
    for (size_t i = 0; i < info->prompt_count; i++) {
        TANDEM_TRY(add_prompt(session, info->prompts[i].name, info->prompts[i].text));
    }
    return 0;
}

/* The model with this prompt; NULL, with a message that lists the known ones. */
static tandem_model *find_prompted(const tandem_session *session, const char *name)
{
    for (size_t i = 0; i < session->prompt_count; i++) {
        const char *known = session->prompts[i].name;
        if (name == known || (name != NULL && known != NULL && strcmp(name, known) == 0)) {
            return session->prompts[i].model;
        }
    }
    (void)tandem_model_find_prompt(session->model, name); /* says so */
    return NULL;
}

/* ---- in a process of somebody else ---------------------------------------------------------------- */

/* How many threads worked for the calling thread before a call. */
typedef struct {
    size_t machine;
    tandem_team team;
} guest;

static int enter(guest *before, size_t threads)
{
    before->machine = tandem_machine_be_guest(threads);
    int rc = tandem_torch_init();
    if (rc < 0) {
        tandem_machine_be_guest(before->machine);
        return rc;
    }
    before->team = tandem_torch_set_team((tandem_team){(int)threads, (int)threads});
    return 0;
}

static void leave(const guest *before)
{
    tandem_torch_set_team(before->team);
    tandem_machine_be_guest(before->machine);
}

/* ---- sessions ------------------------------------------------------------------------------------ */

/* The log is stderr, which is not the library's. */
static void keep_silent(void)
{
    tandem_log_set_level(TANDEM_LOG_QUIET);
}

static int load(tandem_session *session, const char *directory, const tandem_session_options *options)
{
    tandem_model_options load = {.max_length = options->max_length, .dim = options->width};
    TANDEM_TRY(read_precision(&load.precision, options->precision));
    TANDEM_TRY(tandem_model_detect(&load.kind, directory));
    if (load.kind == TANDEM_CROSS_ENCODER && load.dim > 0) {
        return tandem_error("%s: a width of %zu for a cross-encoder, which gives no embeddings", directory, load.dim);
    }
    TANDEM_TRY(tandem_model_load(&session->model, directory, &load));
    session->info = tandem_model_describe(session->model);
    return load.kind == TANDEM_BI_ENCODER ? add_prompts(session) : 0;
}

int tandem_session_open(tandem_session **out, const char *directory, const tandem_session_options *options)
{
    static pthread_once_t silence = PTHREAD_ONCE_INIT;
    tandem_session_options known;
    guest before;
    *out = NULL;
    pthread_once(&silence, keep_silent);
    TANDEM_TRY(read_options(&known, options));
    tandem_session *session = tandem_alloc(1, sizeof *session);
    if (session == NULL) {
        return TANDEM_ERROR;
    }
    session->threads = known.threads > 0 ? known.threads : tandem_machine_cores();
    int rc = enter(&before, session->threads);
    if (rc == 0) {
        rc = load(session, directory, &known);
        leave(&before);
    }
    if (rc < 0) {
        tandem_session_close(session);
        return rc;
    }
    *out = session;
    return 0;
}

void tandem_session_close(tandem_session *session)
{
    if (session == NULL) {
        return;
    }
    for (size_t i = 0; i < session->prompt_count; i++) {
        tandem_model_free(session->prompts[i].model);
    }
    free(session->prompts);
    tandem_model_free(session->model);
    free(session);
}

int tandem_session_scores_pairs(const tandem_session *session)
{
    return session->info->kind == TANDEM_CROSS_ENCODER;
}

size_t tandem_session_width(const tandem_session *session)
{
    return tandem_session_scores_pairs(session) ? (size_t)session->info->labels : session->info->dim;
}

size_t tandem_session_max_length(const tandem_session *session)
{
    return session->info->max_length;
}

int tandem_session_compares_cosine(const tandem_session *session)
{
    return session->info->cosine;
}

size_t tandem_session_prompt_count(const tandem_session *session)
{
    return session->info->prompt_count;
}

const char *tandem_session_prompt(const tandem_session *session, size_t index)
{
    return index < session->info->prompt_count ? session->info->prompts[index].name : NULL;
}

/* ---- inference -------------------------------------------------------------------------------------- */

/* Room for `count` rows, and numbers that indices can name. */
static int check_room(const tandem_session *session, size_t count, size_t floats)
{
    size_t needed;
    if (count > UINT32_MAX || !tandem_size_mul(&needed, count, tandem_session_width(session))) {
        return tandem_error("%zu are more texts than one call takes", count);
    }
    if (floats < needed) {
        return tandem_error("room for %zu floats: %zu texts or pairs give %zu", floats, count, needed);
    }
    return 0;
}

static int check_text(const tandem_utf8 *text, size_t index)
{
    if (text->length >= UINT32_MAX) {
        return tandem_error("text %zu has %zu bytes: one can have %u", index, text->length, UINT32_MAX - 1);
    }
    return text->text == NULL && text->length > 0 ? tandem_error("text %zu is NULL", index) : 0;
}

static tandem_text text_of(const tandem_utf8 *text)
{
    return (tandem_text){.id = "", .text = text->length > 0 ? text->text : "", .length = text->length};
}

/* Without the cache, which is tandem's own. */
static int tokenize(tandem_token_store **out, const tandem_model *model, const tandem_text *texts, size_t count)
{
    const tandem_model_info *info = tandem_model_describe(model);
    return tandem_token_store_build(out, tandem_model_tokenizer(model), texts, count, info->document_prompt,
                                    info->max_length);
}

static int embed(float *out, tandem_model *model, const tandem_text *texts, size_t count)
{
    tandem_token_store *store = NULL;
    int rc = tokenize(&store, model, texts, count);
    rc = rc < 0 ? rc : tandem_model_encode(out, model, store, TANDEM_DOCUMENT, NULL);
    tandem_token_store_free(store);
    return rc;
}

int tandem_session_embed(const tandem_session *session, const tandem_utf8 *texts, size_t count, const char *prompt,
                         float *out, size_t floats)
{
    if (tandem_session_scores_pairs(session)) {
        return tandem_error("%s: a cross-encoder gives no embeddings", session->info->directory);
    }
    TANDEM_TRY(check_room(session, count, floats));
    tandem_model *model = find_prompted(session, prompt);
    tandem_text *list = model == NULL ? NULL : tandem_alloc(count, sizeof *list);
    guest before;
    int rc = list == NULL ? TANDEM_ERROR : 0;
    for (size_t i = 0; i < count && rc == 0; i++) {
        rc = check_text(&texts[i], i);
        list[i] = text_of(&texts[i]);
    }
    if (rc == 0 && (rc = enter(&before, session->threads)) == 0) {
        rc = embed(out, model, list, count);
        leave(&before);
    }
    free(list);
    return rc;
}

/* Pairs as texts, without the queries that are their neighbour's, and which go together. */
typedef struct {
    tandem_text *queries, *documents;
    tandem_pair *pairs;
    size_t query_count, count;
} pair_list;

static void free_pairs(pair_list *list)
{
    free(list->queries);
    free(list->documents);
    free(list->pairs);
}

static int list_pairs(pair_list *list, const tandem_utf8_pair *pairs, size_t count)
{
    *list = (pair_list){.queries = tandem_alloc(count, sizeof *list->queries),
                        .documents = tandem_alloc(count, sizeof *list->documents),
                        .pairs = tandem_alloc(count, sizeof *list->pairs),
                        .count = count};
    if (list->queries == NULL || list->documents == NULL || list->pairs == NULL) {
        return TANDEM_ERROR;
    }
    for (size_t i = 0; i < count; i++) {
        const tandem_utf8 *query = &pairs[i].query;
        TANDEM_TRY(check_text(query, i));
        TANDEM_TRY(check_text(&pairs[i].document, i));
        if (i == 0 || query->text != pairs[i - 1].query.text || query->length != pairs[i - 1].query.length) {
            list->queries[list->query_count++] = text_of(query);
        }
        list->documents[i] = text_of(&pairs[i].document);
        list->pairs[i] = (tandem_pair){(uint32_t)(list->query_count - 1), (uint32_t)i};
    }
    return 0;
}

static int score(float *out, tandem_model *model, const pair_list *list)
{
    tandem_token_store *queries = NULL, *documents = NULL;
    int rc = tokenize(&queries, model, list->queries, list->query_count);
    rc = rc < 0 ? rc : tokenize(&documents, model, list->documents, list->count);
    rc = rc < 0 ? rc : tandem_model_score(out, model, queries, documents, list->pairs, list->count, NULL);
    tandem_token_store_free(queries);
    tandem_token_store_free(documents);
    return rc;
}

int tandem_session_score(const tandem_session *session, const tandem_utf8_pair *pairs, size_t count, float *out,
                         size_t floats)
{
    if (!tandem_session_scores_pairs(session)) {
        return tandem_error("%s: a bi-encoder does not score pairs", session->info->directory);
    }
    TANDEM_TRY(check_room(session, count, floats));
    pair_list list;
    guest before;
    int rc = list_pairs(&list, pairs, count);
    if (rc == 0 && (rc = enter(&before, session->threads)) == 0) {
        rc = score(out, session->model, &list);
        leave(&before);
    }
    free_pairs(&list);
    return rc;
}
