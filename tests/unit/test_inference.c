/* libtandem: sessions give what the model gives, to any number of threads at the same time, and say what is
 * wrong with what they are asked. The installed library is tests/cli/test_library.bats's. */
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tandem/inference.h"
#include "tandem/machine.h"
#include "tandem/openmp.h"
#include "tiny_model.h"

/* Large enough that a batch of texts is shared by the threads of a call. */
static const shape wide = {.hidden = 64, .layers = 2, .heads = 4, .intermediate = 96, .positions = 48, .types = 2, .prefix = "", .pooler = true};
static const shape classifier = {
    .hidden = 64, .layers = 2, .heads = 4, .intermediate = 96, .positions = 48, .types = 2, .labels = 1, .prefix = "bert.", .pooler = true};

enum { TEXTS = 48, THREADS = 8, ROUNDS = 4, PART = TEXTS / 2, LONGEST = 60 /* words: more than the positions */ };

static tandem_utf8 texts[TEXTS];

/* Each of its very own size, so that AddressSanitizer sees a byte read beyond it. */
static void make_texts(void)
{
    tandem_random random = tandem_random_stream(3, "texts", 0);
    for (size_t i = 0; i < TEXTS; i++) {
        tandem_buffer text = TANDEM_BUFFER_INIT;
        size_t count = (size_t)tandem_random_below(&random, i % 3 == 0 ? LONGEST : 9);
        for (size_t word = 0; word < count; word++) {
            tandem_buffer_printf(&text, "%s%s", word > 0 ? " " : "", words[4 + tandem_random_below(&random, VOCAB - 4)]);
        }
        char *copy = malloc(text.length + (text.length == 0));
        memcpy(copy, text.data != NULL ? text.data : "", text.length);
        texts[i] = (tandem_utf8){text.length > 0 ? copy : NULL, text.length};
        if (text.length == 0) {
            free(copy);
        }
        tandem_buffer_free(&text);
    }
}

static void free_texts(void)
{
    for (size_t i = 0; i < TEXTS; i++) {
        free((void *)(uintptr_t)texts[i].text);
    }
}

static tandem_session *open_session(const char *folder, size_t threads, const char *precision)
{
    tandem_session_options options = TANDEM_SESSION_OPTIONS_INIT;
    tandem_session *session = NULL;
    options.threads = threads;
    options.precision = precision;
    if (tandem_session_open(&session, folder, &options) != 0) {
        fail_msg("%s", tandem_error_message());
    }
    return session;
}

/* ---- what it gives ----------------------------------------------------------------------- */

static void put_prompts(const char *name, const char *settings)
{
    char path[128];
    snprintf(path, sizeof path, "%s/config_sentence_transformers.json", name);
    put(path, settings);
}

#define PROMPTS "\"prompts\": {\"query\": \"query: \", \"passage\": \"passage: \", \"other\": \"x \"}"

/* Vectors of all texts by the model itself, with a prompt of that text. */
static float *expected_vectors(const char *folder, const char *prompt)
{
    tandem_model *model = load(folder, (tandem_model_options){.kind = TANDEM_BI_ENCODER});
    assert_int_equal(tandem_model_set_prompt(model, TANDEM_QUERY, prompt), 0);
    tandem_text list[TEXTS];
    for (size_t i = 0; i < TEXTS; i++) {
        list[i] = (tandem_text){.id = "", .text = texts[i].text != NULL ? texts[i].text : "", .length = texts[i].length};
    }
    tandem_vectors vectors;
    assert_int_equal(tandem_model_encode_texts(&vectors, model, list, TEXTS, TANDEM_QUERY, false, NULL), 0);
    tandem_model_free(model);
    return vectors.data;
}

static void assert_vectors(const tandem_session *session, const char *name, const char *folder, const char *prompt)
{
    size_t floats = TEXTS * tandem_session_width(session);
    float *out = calloc(floats, sizeof *out), *expected = expected_vectors(folder, prompt);
    assert_int_equal(tandem_session_embed(session, texts, TEXTS, name, out, floats), 0);
    assert_memory_equal(out, expected, floats * sizeof *out);
    free(out);
    free(expected);
}

static void embeds_as_the_model_does(void **state)
{
    (void)state;
    char *folder = write_model("prompted", &wide, "");
    put_prompts("prompted", "{" PROMPTS ", \"default_prompt_name\": \"other\"}");
    tandem_session *session = open_session(folder, 2, NULL);
    assert_int_equal(tandem_session_scores_pairs(session), 0);
    assert_int_equal(tandem_session_width(session), 64);
    assert_int_equal(tandem_session_max_length(session), 48);
    assert_int_equal(tandem_session_compares_cosine(session), 1);
    assert_int_equal(tandem_session_prompt_count(session), 3);
    assert_string_equal(tandem_session_prompt(session, 1), "passage");
    assert_null(tandem_session_prompt(session, 3));
    assert_vectors(session, "query", folder, "query: ");
    assert_vectors(session, "document", folder, "passage: ");
    assert_vectors(session, "passage", folder, "passage: ");
    assert_vectors(session, "", folder, "");
    assert_vectors(session, NULL, folder, "x ");
    assert_vectors(session, "other", folder, "x ");
    tandem_session_close(session);

    put_prompts("prompted", "{" PROMPTS "}"); /* without a default */
    session = open_session(folder, 2, NULL);
    assert_vectors(session, NULL, folder, "");
    tandem_session_close(session);
}

/* Pooling that leaves a prompt's tokens out needs to know how many they are. */
static void leaves_prompts_out_of_pooling(void **state)
{
    (void)state;
    char *folder = write_model("left-out", &wide, "");
    put("left-out/modules.json", "[{\"idx\": 0, \"name\": \"0\", \"path\": \"\", \"type\": \"sentence_transformers.models.Transformer\"},"
                                 "{\"idx\": 1, \"name\": \"1\", \"path\": \"1_Pooling\", \"type\": \"sentence_transformers.models.Pooling\"}]");
    assert_int_equal(tandem_dir_make(at("left-out/1_Pooling")), 0);
    put("left-out/1_Pooling/config.json", "{\"word_embedding_dimension\": 64, \"pooling_mode_mean_tokens\": true, \"include_prompt\": false}");
    put_prompts("left-out", "{" PROMPTS "}");
    tandem_session *session = open_session(folder, 2, NULL);
    assert_vectors(session, "query", folder, "query: ");
    assert_vectors(session, "other", folder, "x ");
    tandem_session_close(session);
}

static void cuts_to_the_width(void **state)
{
    (void)state;
    char *folder = write_model("cut", &wide, "");
    tandem_session_options options = TANDEM_SESSION_OPTIONS_INIT;
    tandem_session *whole = open_session(folder, 0, NULL), *cut;
    options.width = 5;
    assert_int_equal(tandem_session_open(&cut, folder, &options), 0);
    assert_int_equal(tandem_session_width(cut), 5);
    float *all = calloc(TEXTS * 64, sizeof *all), *some = calloc(TEXTS * 5, sizeof *some);
    assert_int_equal(tandem_session_embed(whole, texts, TEXTS, NULL, all, TEXTS * 64), 0);
    assert_int_equal(tandem_session_embed(cut, texts, TEXTS, NULL, some, TEXTS * 5), 0);
    for (size_t i = 0; i < TEXTS; i++) {
        assert_memory_equal(some + i * 5, all + i * 64, 5 * sizeof *some);
    }
    free(all);
    free(some);
    tandem_session_close(whole);
    tandem_session_close(cut);
}

static void scores_as_the_model_does(void **state)
{
    (void)state;
    char *folder = write_model("scored", &classifier, ", \"architectures\": [\"BertForSequenceClassification\"]");
    tandem_session *session = open_session(folder, 2, NULL);
    assert_int_equal(tandem_session_scores_pairs(session), 1);
    assert_int_equal(tandem_session_width(session), 1);
    tandem_utf8_pair pairs[TEXTS];
    tandem_text list[TEXTS];
    tandem_pair indices[TEXTS];
    for (size_t i = 0; i < TEXTS; i++) {
        size_t query = i / 5; /* shared by five */
        pairs[i] = (tandem_utf8_pair){texts[query], texts[i]};
        indices[i] = (tandem_pair){(uint32_t)query, (uint32_t)i};
        list[i] = (tandem_text){.id = "", .text = texts[i].text != NULL ? texts[i].text : "", .length = texts[i].length};
    }
    tandem_model *model = load(folder, (tandem_model_options){.kind = TANDEM_CROSS_ENCODER});
    tandem_token_store *store;
    float out[TEXTS], expected[TEXTS];
    assert_int_equal(tandem_model_tokenize(&store, model, list, TEXTS, TANDEM_DOCUMENT), 0);
    assert_int_equal(tandem_model_score(expected, model, store, store, indices, TEXTS, NULL), 0);
    assert_int_equal(tandem_session_score(session, pairs, TEXTS, out, TEXTS), 0);
    assert_memory_equal(out, expected, sizeof out);
    tandem_token_store_free(store);
    tandem_model_free(model);
    tandem_session_close(session);
}

/* ---- threads ----------------------------------------------------------------------------------- */

typedef struct {
    const tandem_session *session;
    size_t number; /* of the thread */
    float *out;    /* [ROUNDS * PART * width] */
    int rc;
    const char *folder; /* where it opens a session of its own */
} caller;

/* The calls of one thread: other texts than its neighbours' in each. */
static int call(const caller *c, size_t round)
{
    size_t first = (c->number * 3 + round * 5) % (TEXTS - PART), width = tandem_session_width(c->session);
    float *out = c->out + round * PART * width;
    if (!tandem_session_scores_pairs(c->session)) {
        return tandem_session_embed(c->session, texts + first, PART, round % 2 == 0 ? "query" : NULL, out, PART * width);
    }
    tandem_utf8_pair pairs[PART];
    for (size_t i = 0; i < PART; i++) {
        pairs[i] = (tandem_utf8_pair){texts[first], texts[first + i]};
    }
    return tandem_session_score(c->session, pairs, PART, out, PART * width);
}

static void *call_all(void *argument)
{
    caller *c = argument;
    for (size_t round = 0; round < ROUNDS && c->rc == 0; round++) {
        c->rc = call(c, round);
    }
    return NULL;
}

/* All threads begin with a session that nobody has used; then one thread makes the same calls. */
static void assert_shared(const char *folder, size_t threads, const char *precision)
{
    tandem_session *session = open_session(folder, threads, precision);
    size_t floats = ROUNDS * PART * tandem_session_width(session);
    caller callers[THREADS];
    pthread_t running[THREADS];
    for (size_t i = 0; i < THREADS; i++) {
        callers[i] = (caller){.session = session, .number = i, .out = calloc(floats, sizeof(float))};
        assert_int_equal(pthread_create(&running[i], NULL, call_all, &callers[i]), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(running[i], NULL), 0);
    }
    float *expected = calloc(floats, sizeof *expected);
    for (size_t i = 0; i < THREADS; i++) {
        caller alone = {.session = session, .number = i, .out = expected};
        assert_int_equal(callers[i].rc, 0);
        call_all(&alone);
        assert_int_equal(alone.rc, 0);
        assert_memory_equal(callers[i].out, expected, floats * sizeof *expected);
        free(callers[i].out);
    }
    assert_true(expected[0] != expected[1]); /* they are no zeros */
    free(expected);
    tandem_session_close(session);
}

static void eight_threads_share_a_session(void **state)
{
    (void)state;
    char *bi = write_model("shared-bi", &wide, "");
    char *cross = write_model("shared-cross", &classifier, ", \"architectures\": [\"BertForSequenceClassification\"]");
    put_prompts("shared-bi", "{" PROMPTS "}");
    static const char *const precisions[] = {"fp32", "bf16", "int8"};
    for (size_t i = 0; i < 3; i++) {
        for (size_t threads = 1; threads <= 2; threads++) {
            assert_shared(bi, threads, precisions[i]);
            assert_shared(cross, threads, precisions[i]);
        }
    }
}

/* Without cmocka's checks, which are the main thread's. */
static void *open_and_fail(void *argument)
{
    caller *c = argument;
    tandem_session *session, *none;
    char name[64];
    c->rc = tandem_session_open(&session, c->folder, NULL);
    if (c->rc < 0) {
        return NULL;
    }
    c->session = session;
    c->rc = call(c, 0);
    tandem_session_close(session);
    /* Messages are a thread's own. */
    snprintf(name, sizeof name, "there-is-no-%p", (void *)c);
    int failed = tandem_session_open(&none, name, NULL);
    if (failed >= 0 || none != NULL || strstr(tandem_error_message(), name) == NULL) {
        c->rc = -1;
    }
    return NULL;
}

static void eight_threads_open_their_own(void **state)
{
    (void)state;
    const char *folder = at("shared-bi");
    caller callers[THREADS];
    pthread_t running[THREADS];
    for (size_t i = 0; i < THREADS; i++) {
        callers[i] = (caller){.out = calloc(PART * 64, sizeof(float)), .folder = folder};
        assert_int_equal(pthread_create(&running[i], NULL, open_and_fail, &callers[i]), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(running[i], NULL), 0);
        assert_int_equal(callers[i].rc, 0);
        assert_memory_equal(callers[i].out, callers[0].out, PART * 64 * sizeof(float));
    }
    for (size_t i = 0; i < THREADS; i++) {
        free(callers[i].out);
    }
}

/* ---- a guest in the process --------------------------------------------------------------------- */

static void leaves_the_process_as_it_is(void **state)
{
    (void)state;
    omp_set_num_threads(3);
    tandem_session *session = open_session(at("shared-bi"), 1, NULL);
    float out[64];
    assert_int_equal(tandem_session_embed(session, texts, 1, NULL, out, 64), 0);
#ifdef _OPENMP
    assert_int_equal(omp_get_max_threads(), 3);
#endif
    assert_false(tandem_machine_is_guest());
    tandem_session_close(session);
}

/* What a program would warn of: a limit that the model cannot meet is cut. */
static void prints_nothing(void **state)
{
    (void)state;
    fflush(NULL);
    int file = open(at("printed"), O_RDWR | O_CREAT, 0600), out = dup(1), err = dup(2);
    assert_true(file >= 0 && dup2(file, 1) >= 0 && dup2(file, 2) >= 0);
    tandem_session_options options = TANDEM_SESSION_OPTIONS_INIT;
    tandem_session *session = NULL, *none = NULL;
    options.max_length = 1000;
    int opened = tandem_session_open(&session, at("shared-bi"), &options);
    int failed = tandem_session_open(&none, at("nowhere"), &options);
    fflush(NULL);
    dup2(out, 1);
    dup2(err, 2);
    close(out);
    close(err);
    struct stat info;
    assert_int_equal(fstat(file, &info), 0);
    assert_int_equal(info.st_size, 0);
    close(file);
    assert_int_equal(opened, 0);
    assert_true(failed < 0);
    assert_int_equal(tandem_session_max_length(session), 48);
    tandem_session_close(session);
}

/* ---- what it refuses --------------------------------------------------------------------------------- */

static void assert_fails(int rc, const char *expected)
{
    assert_true(rc < 0);
    if (strstr(tandem_error_message(), expected) == NULL) {
        fail_msg("expected \"%s\" in \"%s\"", expected, tandem_error_message());
    }
}

static void assert_open_fails(const tandem_session_options *options, const char *expected)
{
    tandem_session *session = (tandem_session *)&session;
    assert_fails(tandem_session_open(&session, at("shared-bi"), options), expected);
    assert_null(session);
}

static void refuses_options_it_cannot_meet(void **state)
{
    (void)state;
    struct {
        tandem_session_options known;
        size_t later; /* an option of a later version */
    } newer = {TANDEM_SESSION_OPTIONS_INIT, 0};
    const tandem_session_options plain = TANDEM_SESSION_OPTIONS_INIT;
    tandem_session_options options = plain;
    options.size = 8;
    assert_open_fails(&options, "options of 8 bytes");
    options = plain;
    options.threads = 5000;
    assert_open_fails(&options, "5000 threads");
    options = plain;
    options.width = 65;
    assert_open_fails(&options, "an embedding has 64 numbers, not 65");
    options = plain;
    options.max_length = 2;
    assert_open_fails(&options, "leaves no room");
    options = plain;
    options.precision = "fp8";
    assert_open_fails(&options, "precision \"fp8\"");
    newer.known.size = sizeof newer;
    newer.later = 1;
    assert_open_fails(&newer.known, "does not know");
    newer.later = 0; /* its default */
    tandem_session *session;
    assert_int_equal(tandem_session_open(&session, at("shared-bi"), &newer.known), 0);
    tandem_session_close(session);
    options = plain;
    options.width = 1;
    assert_fails(tandem_session_open(&session, at("shared-cross"), &options), "gives no embeddings");
}

static void refuses_calls_it_cannot_answer(void **state)
{
    (void)state;
    tandem_session *bi = open_session(at("shared-bi"), 1, NULL), *cross = open_session(at("shared-cross"), 1, NULL);
    tandem_utf8_pair pairs[] = {{{"lift", 4}, {"drag", 4}}, {{"lift", 4}, {NULL, 4}}};
    tandem_utf8 wrong[] = {{"lift", 4}, {NULL, 3}, {"x", (size_t)1 << 33}};
    float out[128];
    assert_fails(tandem_session_embed(cross, texts, 1, NULL, out, 64), "a cross-encoder gives no embeddings");
    assert_fails(tandem_session_score(bi, pairs, 1, out, 1), "a bi-encoder does not score pairs");
    assert_fails(tandem_session_embed(bi, texts, 2, NULL, out, 127), "room for 127 floats: 2 texts or pairs give 128");
    assert_fails(tandem_session_embed(bi, texts, SIZE_MAX / 8, NULL, out, 128), "more texts than one call takes");
    assert_fails(tandem_session_embed(bi, texts, 1, "title", out, 64), "no prompt is called \"title\" (known: query, passage, other)");
    assert_fails(tandem_session_embed(bi, wrong, 2, NULL, out, 128), "text 1 is NULL");
    assert_fails(tandem_session_embed(bi, wrong + 2, 1, NULL, out, 128), "text 0 has 8589934592 bytes");
    assert_fails(tandem_session_score(cross, pairs, 2, out, 1), "room for 1 floats");
    assert_fails(tandem_session_score(cross, pairs, 2, out, 2), "text 1 is NULL");
    assert_int_equal(tandem_session_embed(bi, NULL, 0, NULL, NULL, 0), 0);
    assert_int_equal(tandem_session_score(cross, NULL, 0, NULL, 0), 0);
    tandem_session_close(bi);
    tandem_session_close(cross);
    tandem_session_close(NULL);
}

static int begin(void **state)
{
    if (setup(state) != 0) {
        return -1;
    }
    tandem_machine_set_threads(2); /* as many as the sessions that are compared: sums may depend on it */
    make_texts();
    return 0;
}

static int end(void **state)
{
    free_texts();
    return teardown(state);
}

int main(void)
{
    /* Sharing comes first, so that what libtorch and the kernels do once is done by threads at the same time. */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(eight_threads_share_a_session),   cmocka_unit_test(eight_threads_open_their_own),
        cmocka_unit_test(embeds_as_the_model_does),        cmocka_unit_test(leaves_prompts_out_of_pooling),
        cmocka_unit_test(cuts_to_the_width),               cmocka_unit_test(scores_as_the_model_does),
        cmocka_unit_test(leaves_the_process_as_it_is),     cmocka_unit_test(prints_nothing),
        cmocka_unit_test(refuses_options_it_cannot_meet),  cmocka_unit_test(refuses_calls_it_cannot_answer),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
