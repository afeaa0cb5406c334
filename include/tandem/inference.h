/* inference.h - libtandem: embeddings and scores of a model directory, in any program.
 *
 *     tandem_session *session;
 *     const char *text = "what is lift";
 *     tandem_utf8 texts[] = {{text, strlen(text)}};
 *     if (tandem_session_open(&session, "my-model", NULL) < 0) {
 *         fprintf(stderr, "%s\n", tandem_error_message());
 *     }
 *     float *vector = malloc(tandem_session_width(session) * sizeof *vector);
 *     tandem_session_embed(session, texts, 1, "query", vector, tandem_session_width(session));
 *     tandem_session_close(session);
 *
 * Errors. A function that can fail returns 0, or a negative number with the message of
 * tandem_error_message() set. Nothing is printed, no signal is taken, nothing ends the
 * process, and no file is written.
 *
 * Threads. A session does not change after it is opened: any number of threads may use one at the
 * same time, without locks of their own, and what a call gives depends on its arguments alone,
 * to the bit. Each call works with `threads` threads: its own, and a team of OpenMP that belongs to
 * the calling thread and ends with it. One caller at a time is fastest with all cores (the
 * default); where many threads call, open the session with threads = 1 and let each be one core's
 * work. tandem_session_close must come after all calls have returned. A child of fork() opens
 * sessions of its own, and only where its parent had none with more than one thread.
 *
 * ABI. Functions and the layouts here stay; options grow at their end, and `size` says how much of
 * them a program knows. Texts are bytes with a length, need no NUL and may hold one. */
#ifndef TANDEM_INFERENCE_H
#define TANDEM_INFERENCE_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tandem_session tandem_session;

/* Of the library, e.g. "0.1.0"; static. */
const char *tandem_version(void);

/* Why the last call that failed on this thread did so; never NULL, "" where none has failed.
 * Borrowed: valid until the next failure on this thread. */
const char *tandem_error_message(void);

/* ---- sessions --------------------------------------------------------------------------- */
/* What a session is opened with. Initialize it by TANDEM_SESSION_OPTIONS_INIT; 0 and NULL are
 * the defaults. */
typedef struct {
    size_t size;           /* of this struct, as the program was compiled */
    size_t threads;        /* of one call; 0: one for each physical core */
    size_t max_length;     /* tokens read of a text or pair, with special ones; 0: what the directory says */
    size_t width;          /* numbers of an embedding that are kept, the first ones (Matryoshka), which are not
                            * normalized again; 0: what the directory says */
    const char *precision; /* of the matrix products: "fp32" (NULL means it), "bf16", "int8", or "auto": bf16
                            * on a CPU that multiplies it faster, else fp32 */
} tandem_session_options;

#define TANDEM_SESSION_OPTIONS_INIT {sizeof(tandem_session_options), 0, 0, 0, NULL}

/* Loads a directory as sentence-transformers or transformers writes it, with weights in
 * safetensors; what it holds, a bi-encoder or a cross-encoder, is told by its files. The directory
 * is not needed afterwards. Fails where the directory is not a model that is known, an option
 * cannot be met, or `size` is that of no version or has options set that this library does not
 * know; *out is then NULL. `options` NULL: all defaults. */
int tandem_session_open(tandem_session **out, const char *directory, const tandem_session_options *options);
void tandem_session_close(tandem_session *session); /* NULL is fine */

/* 1 for a cross-encoder, which scores pairs; 0 for a bi-encoder, which embeds texts. */
int tandem_session_scores_pairs(const tandem_session *session);
/* Floats that a text or a pair gives: numbers of an embedding, or labels of a cross-encoder (for
 * ranking, 1). */
size_t tandem_session_width(const tandem_session *session);
/* Tokens that are read of a text or pair, with special ones; what is longer is cut. */
size_t tandem_session_max_length(const tandem_session *session);
/* 1 where embeddings are compared by their cosine, 0 where by their dot product. */
int tandem_session_compares_cosine(const tandem_session *session);
/* Names of the prompts that the directory has, in its order; borrowed from the session. NULL from
 * tandem_session_prompt where `index` is not below the count. */
size_t tandem_session_prompt_count(const tandem_session *session);
const char *tandem_session_prompt(const tandem_session *session, size_t index);

/* ---- inference ------------------------------------------------------------------------------ */
/* Bytes of UTF-8; `text` may be NULL where `length` is 0. Bytes that are no UTF-8 are read as U+FFFD. */
typedef struct {
    const char *text;
    size_t length;
} tandem_utf8;

/* Embeddings of `count` texts, in order, as rows of width floats in out[0 .. count * width - 1];
 * `floats` is the room there. `prompt` names what is put before each text:
 *   "query"     the prompt of that name, else the directory's default prompt, else nothing
 *   "document"  the prompt "document", else "passage", else "corpus", else the default, else nothing
 *   any name    of a prompt that the directory has
 *   ""          nothing
 *   NULL        the directory's default prompt, else nothing: as encode() of sentence-transformers
 * Fails for a cross-encoder, a prompt that is not known, too little room, and out of memory; `out`
 * then holds nothing of use. */
int tandem_session_embed(const tandem_session *session, const tandem_utf8 *texts, size_t count, const char *prompt,
                         float *out, size_t floats);

typedef struct {
    tandem_utf8 query, document;
} tandem_utf8_pair;

/* Scores of `count` pairs, in order: the logits of the last layer, before any activation, as rows
 * of width floats in out[0 .. count * width - 1]; `floats` is the room there. Where
 * sentence-transformers' predict() gives a sigmoid, it is 1 / (1 + exp(-logit)). A query that
 * neighbouring pairs share by its pointer is tokenized once. Fails for a bi-encoder and as
 * tandem_session_embed does. */
int tandem_session_score(const tandem_session *session, const tandem_utf8_pair *pairs, size_t count, float *out,
                         size_t floats);

#ifdef __cplusplus
}
#endif
#endif
