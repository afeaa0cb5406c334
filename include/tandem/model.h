/* model.h - bi-encoders and cross-encoders: directories in, embeddings and scores out. */
#ifndef TANDEM_MODEL_H
#define TANDEM_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model/torch/shim.h"
#include "tandem/batch.h"
#include "tandem/dataset.h"
#include "tandem/error.h"
#include "tandem/hash.h"
#include "tandem/token_store.h"
#include "tandem/tokenizer.h"
#include "tandem/vectors.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tandem_model tandem_model;

typedef enum { TANDEM_BI_ENCODER, TANDEM_CROSS_ENCODER } tandem_model_kind;
typedef enum { TANDEM_QUERY, TANDEM_DOCUMENT } tandem_side;

typedef struct {
    tandem_model_kind kind;
    bool new_head;     /* cross-encoder: make the head (seeded) where the directory has none */
    uint64_t seed;     /* of a new head */
    size_t max_length; /* tokens with special ones; 0: what the directory says */
    size_t dim;        /* bi-encoder: numbers of an embedding, at most its width; 0: what the directory says */
    tandem_precision precision; /* of its products (shim.h) */
} tandem_model_options;

/* A directory as sentence-transformers or transformers writes it (old and new layouts):
 * config.json, the weights in model.safetensors or in the shards that
 * model.safetensors.index.json lists, tokenizer.json or vocab.txt, and for a bi-encoder
 * modules.json with the modules' folders, sentence_bert_config.json and
 * config_sentence_transformers.json where present (mean pooling where not). After Pooling any
 * of Dense, LayerNorm and Normalize may follow; their weights are parameters, too.
 *
 * The families are those of docs/models.md. Weights with or without the family's prefix
 * ("bert."), in float32, float16, bfloat16 or float64; all is computed, and written, in
 * float32. Missing or unknown weights are listed and refused, but for a head that options
 * name as new; the heads of pretraining ("cls.", "lm_head.") are ignored. An unknown
 * model_type or module, a setting that changes the forward pass in a way that tandem does
 * not have, and a model that brings code of its own (auto_map) are refused by name.
 *
 * A new head: the layers between pooling and classifier that the checkpoint came with, else
 * new ones, and a classifier with one label; weights from N(0, initializer_range),
 * biases 0, a norm's weights 1.
 *
 * The limit in tokens is options->max_length; else, of a bi-encoder, max_seq_length of
 * sentence_bert_config.json; else model_max_length of tokenizer_config.json; never more
 * than the model has positions. The prompt of queries is that called "query", of documents
 * "document", else "passage", else "corpus"; where there is none of these names it is the one that
 * default_prompt_name names. A cross-encoder has none. `options` NULL: a bi-encoder. */
int tandem_model_load(tandem_model **out, const char *directory, const tandem_model_options *options);
/* What a directory holds: what model_type of config_sentence_transformers.json says; else a
 * bi-encoder when modules.json lists more than one module; else, by config.json, a
 * cross-encoder when an architecture ends in "ForSequenceClassification", else a bi-encoder. */
int tandem_model_detect(tandem_model_kind *out, const char *directory);
/* One model under other prompts: shares all of `model`, which must not change and be freed after it, but has
 * prompts of its own, at first the same. */
int tandem_model_share(tandem_model **out, const tandem_model *model);
void tandem_model_free(tandem_model *model); /* NULL is fine */

/* Writes a directory that sentence-transformers (bi-encoder; the layout that versions
 * before 5.4 read too, unless poolings are joined in an order that only 5.4 can say) or
 * transformers (cross-encoder) and every tool of the field load: complete under its name,
 * or not at all. Weights are float32 in one model.safetensors, whatever they were read from.
 * The tokenizer's files are copied from the directory that the model was loaded from, which
 * must still be there; settings of config.json that tandem does not read are kept. A new head
 * of one label is marked with a sigmoid for its scores, which leaves their order as it is;
 * one that was loaded keeps its activation. */
int tandem_model_save(const tandem_model *model, const char *directory);

typedef struct {
    const char *name, *text;
} tandem_prompt;

typedef struct {
    tandem_model_kind kind;
    const char *family; /* "bert" */
    int64_t hidden, layers, heads, intermediate, vocab, positions, types;
    bool reads_types;          /* token type ids are read; else they are 0, whatever the tokenizer says */
    size_t max_length;         /* tokens with special ones */
    size_t width;              /* of a vector as tandem_model_embed gives it */
    size_t dim;                /* of an embedding: width, or less where truncate_dim cuts it (Matryoshka) */
    tandem_pooling pooling[6]; /* [poolings], their vectors joined in this order */
    size_t poolings;
    bool include_prompt;          /* false: pooling leaves the tokens of a prompt out */
    bool normalize;               /* the last module is Normalize: vectors have length 1 (before they are cut) */
    bool cosine;                  /* vectors are compared by their cosine, else by dot product (similarity_fn_name) */
    int64_t labels;               /* cross-encoder */
    const tandem_prompt *prompts; /* [prompt_count], as the directory lists them */
    size_t prompt_count;
    const char *default_prompt_name;            /* or NULL */
    const char *query_prompt, *document_prompt; /* those in use; never NULL */
    const char *directory;                      /* it was loaded from */
    double norm_eps;
    tandem_precision precision; /* fp32, bf16 or int8 */
} tandem_model_info;

const tandem_model_info *tandem_model_describe(const tandem_model *model); /* borrowed */
const tandem_tokenizer *tandem_model_tokenizer(const tandem_model *model); /* borrowed */
/* The text of a prompt of the directory; NULL, with a message that lists the known ones. */
const char *tandem_model_find_prompt(const tandem_model *model, const char *name);
/* Puts `prompt` before a side's texts from now on (copied); "": none. It is not saved. */
int tandem_model_set_prompt(tandem_model *model, tandem_side side, const char *prompt);
/* Cuts a bi-encoder's vectors to their first `dim` numbers from now on (Matryoshka); saved as truncate_dim.
 * TANDEM_USAGE unless 1 <= dim <= width. */
int tandem_model_set_dimensions(tandem_model *model, size_t dim);
/* Tokens at the front of a side's texts, special ones included, that pooling leaves out: 0 but for a model that
 * pools without prompts (include_prompt) and has one in use for that side. */
size_t tandem_model_prompt_length(const tandem_model *model, tandem_side side);
/* Sizes, activation, and the place of every weight in the arenas; borrowed. */
const tandem_encoder_spec *tandem_model_spec(const tandem_model *model);

/* ---- parameters ------------------------------------------------------------------------ */
/* One weight under its Hugging Face name, a run of the arena. A bi-encoder's pooler, which
 * nothing reads, is no parameter: it is kept aside and written back as it was. */
typedef struct {
    /* As model.safetensors has it, e.g. "encoder.layer.0.output.dense.weight"; of a module with its
     * folder: "2_Dense.linear.weight". */
    const char *name;
    int dims;
    int64_t shape[4];
    size_t offset, count; /* floats in the arena */
    bool decay;           /* false for biases and norms */
} tandem_parameter;

size_t tandem_model_parameter_count(const tandem_model *model);
const tandem_parameter *tandem_model_parameter(const tandem_model *model, size_t index);
/* The arenas, [*floats] (`floats` may be NULL); padding between weights is zero and stays zero. */
float *tandem_model_parameters(const tandem_model *model, size_t *floats);
float *tandem_model_gradients(const tandem_model *model);         /* NULL with the message set */
void tandem_model_parameters_changed(tandem_model *model);        /* to be called after every change of them */
/* Borrowed: for updates where its parameters are (shim.h). */
tandem_encoder *tandem_model_encoder(const tandem_model *model);
/* As tandem_encoder_freeze and tandem_encoder_set_checkpointing. */
void tandem_model_freeze(tandem_model *model, int64_t layers);
void tandem_model_set_checkpointing(tandem_model *model, bool on);
tandem_hash tandem_model_weights_hash(const tandem_model *model); /* of the weights as they are now */
/* Of everything that an embedding of a side depends on: weights, tokenizer, prompt, pooling,
 * modules, limit, precision, and what config.json says of the forward pass. */
tandem_hash tandem_model_key(const tandem_model *model, tandem_side side);

/* ---- differentiable, over one packed batch -------------------------------------------------- */
/* To be called inside a scope (shim.h), which frees what they leave behind. */
/* [count, width]: hidden states, pooled, through the modules; not cut to `dim`. */
int tandem_model_embed(tandem_tensor **out, tandem_model *model, const tandem_batch *batch, tandem_dropout dropout);
/* The same, where sides[i] says whose prompt sequence i begins with. A model that pools without
 * prompts (include_prompt) and has one in use needs it: tandem_model_embed fails there. */
int tandem_model_embed_sides(tandem_tensor **out, tandem_model *model, const tandem_batch *batch,
                             const tandem_side *sides, tandem_dropout dropout);
/* [total, hidden]: the hidden state of every token. */
int tandem_model_hidden(tandem_tensor **out, tandem_model *model, const tandem_batch *batch, tandem_dropout dropout);
/* [count, labels], before any activation. */
int tandem_model_logits(tandem_tensor **out, tandem_model *model, const tandem_batch *batch, tandem_dropout dropout);

/* Appends one sequence, truncated and with special tokens, to a batch. `second` NULL: a single text. */
int tandem_model_append(const tandem_model *model, tandem_batch_builder *builder, tandem_bare first,
                        const tandem_bare *second);

/* ---- inference --------------------------------------------------------------------------------- */
/* Token ids of texts with the model's tokenizer, limit and the side's prompt. */
int tandem_model_tokenize(tandem_token_store **out, const tandem_model *model, const tandem_text *texts, size_t count,
                          tandem_side side);
/* Embeddings of all texts of a store that tandem_model_tokenize made for `side`, out[count * dim],
 * in store order. `title` names the progress line, NULL: none. Batches by token budget, longest first.
 * TANDEM_INTERRUPTED when a signal came. */
int tandem_model_encode(float *out, tandem_model *model, const tandem_token_store *store, tandem_side side,
                        const char *title);
/* Texts whose vectors are one entry of the cache. */
enum { TANDEM_VECTOR_SHARD = 65536 };

/* Both steps; with `cache`, the vectors are read from and kept in the cache (cache.h), an entry for
 * every TANDEM_VECTOR_SHARD texts, so that a kill loses no more than that. The vectors of one shard
 * are mapped from there, and read-only. */
int tandem_model_encode_texts(tandem_vectors *out, tandem_model *model, const tandem_text *texts, size_t count,
                              tandem_side side, bool cache, const char *title);

/* Writes vectors of a side's texts, with what made them (vectors.h). */
int tandem_model_write_vectors(const char *path, const tandem_model *model, const tandem_vectors *vectors,
                               const tandem_text *texts, tandem_side side);

typedef struct {
    uint32_t query, document; /* indices in the two stores */
} tandem_pair;

/* Logits of pairs, out[count * labels], in the given order. */
int tandem_model_score(float *out, tandem_model *model, const tandem_token_store *queries,
                       const tandem_token_store *documents, const tandem_pair *pairs, size_t count, const char *title);

#ifdef __cplusplus
}
#endif
#endif
