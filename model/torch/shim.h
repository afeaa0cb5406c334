/* shim.h - the one door to libtorch. Valid C17; no exception, std:: or torch type
 * crosses it. Every function returns 0 or a negative code (include/tandem/error.h)
 * with the message set, unless it says otherwise.
 *
 * Coarse where it is hot: one call runs an encoder over a packed batch. Fine where
 * people read it: losses are C over the tensor operations below.
 *
 * Handles. A tandem_tensor is a reference to a tensor. Inside a scope
 * (tandem_scope_begin ... tandem_scope_end) every handle that a function gives
 * belongs to the scope and is freed with it; outside one the caller frees it with
 * tandem_tensor_free. Scopes are per thread and nest.
 *
 * Gradients are recorded while tandem_grad_enable(1) holds on this thread; the
 * default is 0. All tensors are float32 on the CPU unless said otherwise, also those that
 * an encoder on another device takes and gives.
 */
#ifndef TANDEM_MODEL_TORCH_SHIM_H
#define TANDEM_MODEL_TORCH_SHIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tandem/batch.h"
#include "tandem/error.h"
#include "tandem/machine.h"
#include "tandem/precision.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The functions are in a module of their own, which tandem_torch_init loads: libtorch takes a third of a second to
 * start, and most commands need nothing of it. Outside the module a function is therefore a pointer, NULL until then;
 * model/torch_module.c lists them. */
#if defined(TANDEM_TORCH_MODULE)
#define TANDEM_SHIM(type, name) __attribute__((visibility("default"))) type name
#elif !defined(TANDEM_SHIM)
#define TANDEM_SHIM(type, name) extern type(*name)
#endif

typedef struct tandem_tensor tandem_tensor;
typedef struct tandem_encoder tandem_encoder;

/* ---- runtime ---------------------------------------------------------------- */
/* To be called before any other function here; idempotent, from any thread. Loads the module and, once
 * a thread asks that is no guest (machine.h), sets the process up: threads as tandem_machine_threads() says, one inter-op
 * thread, memory kept between steps (malloc gives nothing back), deterministic algorithms. */
int tandem_torch_init(void);
/* What tandem_torch_init makes of the process. */
TANDEM_SHIM(int, tandem_torch_own)(void);
/* Threads that work for the calling thread, of OpenMP and of MKL (0: as the process has); gives those that did before. */
typedef struct {
    int openmp, blas;
} tandem_team;
TANDEM_SHIM(tandem_team, tandem_torch_set_team)(tandem_team team);
TANDEM_SHIM(const char *, tandem_torch_version)(void);
TANDEM_SHIM(size_t, tandem_torch_gpus)(void); /* those that its CUDA finds; 0 also without CUDA */

/* ---- handles and scopes -------------------------------------------------------- */
TANDEM_SHIM(int, tandem_scope_begin)(void);
TANDEM_SHIM(void, tandem_scope_end)(void); /* frees every handle of the innermost scope */
TANDEM_SHIM(void, tandem_tensor_free)(tandem_tensor *tensor); /* outside scopes; NULL is fine */
/* Takes `tensor` out of its scope: the caller frees it from now on. */
TANDEM_SHIM(void, tandem_scope_keep)(tandem_tensor *tensor);

TANDEM_SHIM(int, tandem_grad_enable)(int on); /* returns the previous value (0 or 1), never fails */

/* ---- tensors ----------------------------------------------------------------------- */
/* Copies `data`, of the given shape (at most 4 dimensions), row-major. */
TANDEM_SHIM(int, tandem_tensor_from)(tandem_tensor **out, const float *data, const int64_t *shape, int dims);
TANDEM_SHIM(int, tandem_tensor_from_int64)(tandem_tensor **out, const int64_t *data, const int64_t *shape, int dims);
TANDEM_SHIM(int, tandem_tensor_from_bool)(tandem_tensor **out, const bool *data, const int64_t *shape, int dims);
TANDEM_SHIM(int, tandem_tensor_dims)(const tandem_tensor *tensor);                /* never fails */
TANDEM_SHIM(int64_t, tandem_tensor_size)(const tandem_tensor *tensor, int dim);   /* never fails */
/* Copies all elements, row-major, to `out` (float32). */
TANDEM_SHIM(int, tandem_tensor_read)(const tandem_tensor *tensor, float *out);
/* The value of a one-element tensor. */
TANDEM_SHIM(int, tandem_tensor_item)(const tandem_tensor *tensor, double *out);

/* Operations: as torch's of the same name; broadcasting as torch's. */
TANDEM_SHIM(int, tandem_op_matmul)(tandem_tensor **out, const tandem_tensor *a, const tandem_tensor *b,
                                   bool transpose_b);
TANDEM_SHIM(int, tandem_op_add)(tandem_tensor **out, const tandem_tensor *a, const tandem_tensor *b);
TANDEM_SHIM(int, tandem_op_sub)(tandem_tensor **out, const tandem_tensor *a, const tandem_tensor *b);
TANDEM_SHIM(int, tandem_op_mul)(tandem_tensor **out, const tandem_tensor *a, const tandem_tensor *b);
TANDEM_SHIM(int, tandem_op_div)(tandem_tensor **out, const tandem_tensor *a, const tandem_tensor *b);
TANDEM_SHIM(int, tandem_op_scale)(tandem_tensor **out, const tandem_tensor *a, double factor);       /* a * factor */
TANDEM_SHIM(int, tandem_op_shift)(tandem_tensor **out, const tandem_tensor *a, double addend);       /* a + addend */
TANDEM_SHIM(int, tandem_op_exp)(tandem_tensor **out, const tandem_tensor *a);
TANDEM_SHIM(int, tandem_op_log)(tandem_tensor **out, const tandem_tensor *a);
TANDEM_SHIM(int, tandem_op_sigmoid)(tandem_tensor **out, const tandem_tensor *a);
TANDEM_SHIM(int, tandem_op_softplus)(tandem_tensor **out, const tandem_tensor *a); /* log(1 + e^a), stable */
TANDEM_SHIM(int, tandem_op_relu)(tandem_tensor **out, const tandem_tensor *a);
TANDEM_SHIM(int, tandem_op_abs)(tandem_tensor **out, const tandem_tensor *a); /* gradient 0 at 0 */
TANDEM_SHIM(int, tandem_op_softmax)(tandem_tensor **out, const tandem_tensor *a, int dim);
TANDEM_SHIM(int, tandem_op_log_softmax)(tandem_tensor **out, const tandem_tensor *a, int dim);
TANDEM_SHIM(int, tandem_op_logsumexp)(tandem_tensor **out, const tandem_tensor *a, int dim);
TANDEM_SHIM(int, tandem_op_sum)(tandem_tensor **out, const tandem_tensor *a);
TANDEM_SHIM(int, tandem_op_mean)(tandem_tensor **out, const tandem_tensor *a);
TANDEM_SHIM(int, tandem_op_sum_dim)(tandem_tensor **out, const tandem_tensor *a, int dim);
/* Euclidean, over the last dim; gradient 0 at 0 */
TANDEM_SHIM(int, tandem_op_norm)(tandem_tensor **out, const tandem_tensor *a);
TANDEM_SHIM(int, tandem_op_logcumsumexp)(tandem_tensor **out, const tandem_tensor *a, int dim);
/* Euclidean distances of all rows of `a` [n, dim] to all rows of `b` [m, dim], [n, m], from their differences, so that
 * near rows lose no digits; gradient 0 at 0. */
TANDEM_SHIM(int, tandem_op_distances)(tandem_tensor **out, const tandem_tensor *a, const tandem_tensor *b);
/* a > b, a bool tensor */
TANDEM_SHIM(int, tandem_op_greater)(tandem_tensor **out, const tandem_tensor *a, const tandem_tensor *b);
/* L2 over the last dim, eps 1e-12 */
TANDEM_SHIM(int, tandem_op_normalize)(tandem_tensor **out, const tandem_tensor *a);
TANDEM_SHIM(int, tandem_op_cat)(tandem_tensor **out, const tandem_tensor *const *parts, size_t count, int dim);
TANDEM_SHIM(int, tandem_op_narrow)(tandem_tensor **out, const tandem_tensor *a, int dim, int64_t start, int64_t length);
TANDEM_SHIM(int, tandem_op_index_select)(tandem_tensor **out, const tandem_tensor *a, int dim, const int64_t *index,
                                         size_t count);
TANDEM_SHIM(int, tandem_op_reshape)(tandem_tensor **out, const tandem_tensor *a, const int64_t *shape, int dims);
TANDEM_SHIM(int, tandem_op_transpose)(tandem_tensor **out, const tandem_tensor *a, int dim0, int dim1);
/* Elements where `mask` (bool tensor) is true become `value`. */
TANDEM_SHIM(int, tandem_op_masked_fill)(tandem_tensor **out, const tandem_tensor *a, const tandem_tensor *mask,
                                        double value);
/* Mean over rows of -log softmax(logits)[label]; labels are int64 [rows]. */
TANDEM_SHIM(int, tandem_op_cross_entropy)(tandem_tensor **out, const tandem_tensor *logits,
                                          const tandem_tensor *labels);
TANDEM_SHIM(int, tandem_op_detach)(tandem_tensor **out, const tandem_tensor *a);
/* A leaf with the values of `a` that records gradients (for tests and GradCache). */
TANDEM_SHIM(int, tandem_op_leaf)(tandem_tensor **out, const tandem_tensor *a);
/* The gradient that backward left in a leaf, zeros if none. */
TANDEM_SHIM(int, tandem_tensor_grad)(tandem_tensor **out, const tandem_tensor *leaf);

/* Adds d loss / d parameter into the gradient arenas (and leaves). */
TANDEM_SHIM(int, tandem_backward)(const tandem_tensor *loss);
/* The vector-Jacobian product: backward from `output` with `gradient` of its shape. */
TANDEM_SHIM(int, tandem_backward_with)(const tandem_tensor *output, const tandem_tensor *gradient);

/* ---- encoder -------------------------------------------------------------------------- */
typedef enum {
    TANDEM_ACTIVATION_GELU, TANDEM_ACTIVATION_GELU_TANH, TANDEM_ACTIVATION_RELU, TANDEM_ACTIVATION_SILU,
    TANDEM_ACTIVATION_TANH, TANDEM_ACTIVATION_IDENTITY /* the last two in heads and modules only */
} tandem_activation;

typedef enum {
    TANDEM_POOL_CLS, TANDEM_POOL_MAX, TANDEM_POOL_MEAN, TANDEM_POOL_MEAN_SQRT_LEN,
    TANDEM_POOL_WEIGHTED_MEAN, TANDEM_POOL_LAST
} tandem_pooling;

/* A parameter's place in the flat arenas, in floats; -1: the model has none.
 * Offsets are multiples of 16 (64 bytes). */
typedef int64_t tandem_place;

/* One layer. query, key and value lie one after the other, so that their weights
 * are one [3 * hidden, hidden] matrix and their biases one [3 * hidden] vector. */
typedef struct {
    tandem_place qkv_weight, qkv_bias;
    tandem_place attention_out_weight, attention_out_bias;
    tandem_place attention_norm_weight, attention_norm_bias; /* post-norm: after attention; pre-norm: before it, -1: no norm */
    tandem_place up_weight, up_bias; /* [intermediate, hidden]; gated: [2 * intermediate, hidden], what is activated first, then its factor */
    tandem_place down_weight, down_bias;
    tandem_place output_norm_weight, output_norm_bias; /* post-norm: after the feed-forward part; pre-norm: before it */
    int64_t window;    /* a token attends to those at most this far from it; 0: to all */
    double rope_theta; /* base of the rotary positions (half-split pairs, as transformers' rotate_half); 0: none */
} tandem_layer_spec;

/* What follows pooling in a sentence-transformers directory, in its order. */
typedef enum { TANDEM_MODULE_DENSE, TANDEM_MODULE_LAYER_NORM, TANDEM_MODULE_NORMALIZE } tandem_module_kind;
typedef struct {
    tandem_module_kind kind;
    int64_t in, out;              /* sizes of a vector before and after */
    tandem_place weight, bias;    /* dense: [out, in], [out] or -1; layer norm: [out] each */
    tandem_activation activation; /* dense */
    double eps;                   /* layer norm */
} tandem_module_spec;

/* What the encoder's forward needs to know, filled from a family's table row and a
 * config.json (model/families.c). */
typedef struct {
    int64_t layers, hidden, heads, intermediate;
    int64_t vocab, positions, types; /* types 0: no token type embedding; positions: the most tokens, also without a table of them */
    int64_t embedding_size;          /* width of the three tables; where it is not `hidden`, a projection follows the embedding's norm */
    int64_t position_offset;         /* position id of a text's first token (RoBERTa: 2) */
    int64_t position_pad_id;         /* a token of this id gets position_offset - 1 and is not counted, and neither table trains its row
                                        (RoBERTa; torch's padding_idx); -1: every token counts */
    bool pre_norm;                   /* norms before attention and feed-forward, and one at the end; else after each (BERT) */
    bool gated;                      /* feed-forward: activation(a) * b, where up gives a and b */
    double norm_eps;
    /* Dropout of: embeddings; what attention and the feed-forward part add; attention's probabilities;
     * the feed-forward part's inside; the head. */
    double embedding_dropout, attention_out_dropout, down_dropout, attention_dropout, inner_dropout, classifier_dropout;
    tandem_activation activation;
    tandem_place word_embedding, position_embedding, type_embedding;
    tandem_place embedding_norm_weight, embedding_norm_bias;
    tandem_place projection_weight, projection_bias; /* [hidden, embedding_size] */
    tandem_place relative_bias; /* [relative_buckets, heads], added to the attention scores of all layers (MPNet, T5 buckets) */
    int64_t relative_buckets, relative_distance;
    tandem_place final_norm_weight, final_norm_bias;
    const tandem_layer_spec *layer; /* [layers], copied */
    /* Sequence classification head; all -1 for a bi-encoder: pooling, dropout (head_dropout_first), dense,
     * activation, norm, dropout, classifier; a place of -1 leaves its step out. */
    tandem_pooling head_pooling;
    bool head_dropout_first;
    tandem_activation head_activation;
    tandem_place head_weight, head_bias; /* [hidden, hidden] */
    tandem_place head_norm_weight, head_norm_bias;
    tandem_place classifier_weight, classifier_bias; /* [labels, hidden] */
    int64_t labels;
    const tandem_module_spec *module; /* [modules], copied */
    int64_t modules;
} tandem_encoder_spec;

/* Makes an encoder whose parameters and gradients are views of two arenas of
 * `arena_floats` floats, which it owns (64-byte aligned, zeroed). Gradients are
 * allocated at the first tandem_encoder_gradients call. Elsewhere than on TANDEM_DEVICE_CPU it
 * computes with copies of the two, by libtorch's operations (operations.cpp): see "updates" below. */
TANDEM_SHIM(int, tandem_encoder_new)(tandem_encoder **out, const tandem_encoder_spec *spec, size_t arena_floats,
                                     tandem_device device);
TANDEM_SHIM(void, tandem_encoder_free)(tandem_encoder *encoder); /* NULL is fine */
TANDEM_SHIM(float *, tandem_encoder_parameters)(tandem_encoder *encoder); /* borrowed, [arena_floats] */
/* Borrowed, [arena_floats]; allocates and zeroes on the first call and makes every
 * parameter record gradients. NULL with the message set. */
TANDEM_SHIM(float *, tandem_encoder_gradients)(tandem_encoder *encoder);

/* ---- updates of an encoder whose parameters are elsewhere ------------------------------- */
/* On TANDEM_DEVICE_CPU the arenas are what the encoder computes with, and none of this is needed. Elsewhere
 * tandem_encoder_parameters_changed says that the device's copy is to follow the arena, before the next forward; what
 * happens there comes back when it is asked for. */
TANDEM_SHIM(tandem_device, tandem_encoder_device)(const tandem_encoder *encoder); /* never fails */
TANDEM_SHIM(int, tandem_encoder_fetch_parameters)(tandem_encoder *encoder);
TANDEM_SHIM(int, tandem_encoder_fetch_gradients)(tandem_encoder *encoder);
TANDEM_SHIM(int, tandem_encoder_zero_gradients)(tandem_encoder *encoder);
/* Euclidean norm of all gradients, summed in double. */
TANDEM_SHIM(int, tandem_encoder_gradient_norm)(double *out, tandem_encoder *encoder);

/* A run of the arena, and what is its own in an update. */
typedef struct {
    tandem_place place;
    int64_t count; /* floats */
    double learning_rate, weight_decay;
} tandem_update;

/* AdamW's moments, kept there, [arena_floats] each; zero until they are sent. */
TANDEM_SHIM(int, tandem_encoder_fetch_moments)(tandem_encoder *encoder, float *mean, float *variance);
TANDEM_SHIM(int, tandem_encoder_send_moments)(tandem_encoder *encoder, const float *mean, const float *variance);
/* The update number `number`, from 1, of AdamW by `scale` times the gradients, which it multiplies with it. */
TANDEM_SHIM(int, tandem_encoder_update)(tandem_encoder *encoder, const tandem_update *runs, size_t count,
                                        uint64_t number, double beta1, double beta2, double epsilon, double scale);

/* What the products of tokens and weights are computed in, in the layers and before them; fp32
 * until it is said. Everything else is float32: in bf16 and int8
 * products read rounded copies of activations, gradients and weights, which are made here. In int8 no
 * gradients can be recorded, and a token's result does not depend on what else is in its batch. */
TANDEM_SHIM(int, tandem_encoder_set_precision)(tandem_encoder *encoder, tandem_precision precision);
/* To be called after every change of the parameters, of which there is none between a forward and its backward pass: forgets
 * the rounded copies of weights. */
TANDEM_SHIM(void, tandem_encoder_parameters_changed)(tandem_encoder *encoder);

/* From now on the embeddings and the first `layers` layers record no gradients (-1: all parameters do):
 * nothing of their forward is kept, and backward ends above them. After tandem_encoder_gradients. */
TANDEM_SHIM(void, tandem_encoder_freeze)(tandem_encoder *encoder, int64_t layers);
/* With `on` a forward keeps of a layer its input alone; backward runs the layer again, with the same dropout,
 * so that every gradient is the same to the bit (Chen et al. 2016, Training deep nets with sublinear memory
 * cost). The encoder must still be there then. */
TANDEM_SHIM(void, tandem_encoder_set_checkpointing)(tandem_encoder *encoder, bool on);

/* Dropout of one forward: masks are a pure function of (seed, step, site, row, column),
 * so a forward can be replayed and a run resumed with no generator state. */
typedef struct {
    bool train;    /* false: no dropout at all */
    uint64_t seed; /* of the run */
    uint64_t step; /* a different one for every forward that shall differ */
    /* Where a batch lies in a greater one: its parts draw the masks of the whole (GradCache). */
    uint64_t first_row;      /* tokens before this part's first */
    uint64_t first_sequence; /* sequences before it */
} tandem_dropout;

/* Hidden states of the last layer, [batch.total, hidden]. Parameters record
 * gradients when tandem_grad_enable(1) holds. */
TANDEM_SHIM(int, tandem_encoder_forward)(tandem_tensor **out, tandem_encoder *encoder, const tandem_batch *batch,
                                         tandem_dropout dropout);
/* The same pooled, [batch.count, hidden]; of the last layer's attention and what follows it, rows that pooling does
 * not read are not computed. */
TANDEM_SHIM(int, tandem_encoder_forward_pooled)(tandem_tensor **out, tandem_encoder *encoder, const tandem_batch *batch,
                                                tandem_pooling pooling, tandem_dropout dropout);

/* [total, hidden] -> [count, hidden]; the modes as sentence-transformers defines
 * them (reference/sentence-transformers.md, section 5). */
TANDEM_SHIM(int, tandem_encoder_pool)(tandem_tensor **out, const tandem_tensor *hidden, const tandem_batch *batch,
                                      tandem_pooling pooling);

/* Pooled vectors, [count, modules' first `in`], through the spec's modules. */
TANDEM_SHIM(int, tandem_encoder_modules)(tandem_tensor **out, tandem_encoder *encoder, const tandem_tensor *pooled);

/* Sequence classification logits, [count, labels], of what the spec's head_pooling gives, [count, hidden]. */
TANDEM_SHIM(int, tandem_encoder_classify)(tandem_tensor **out, tandem_encoder *encoder, const tandem_tensor *pooled,
                                          tandem_dropout dropout);

/* ---- positions, as the forward computes them: for writers of graphs ----------------- */
/* out [positions, head_size]: of each position the cosines of the head_size / 2 angles
 * position * theta^(-2 i / head_size), then their sines (Su et al. 2021, RoFormer).
 * Angles are rounded to float32 as transformers rounds them: thousands of positions
 * away that shows, and checkpoints were trained with it. */
TANDEM_SHIM(int, tandem_rotary_table)(float *out, double theta, int64_t head_size, int64_t positions);

/* out [2 * span - 1]: the bucket of every key - query from 1 - span to span - 1 (Raffel et
 * al. 2020, T5, in both directions): half of the buckets for each sign; of those half
 * for single distances, the rest logarithmically up to `distance`. */
TANDEM_SHIM(int, tandem_relative_buckets)(int32_t *out, int64_t buckets, int64_t distance, int64_t span);

/* ---- plain matrices -------------------------------------------------------------------- */
/* c[m, n] = a[m, k] * b[n, k]^T, row-major with leading dimensions lda, ldb, ldc. */
TANDEM_SHIM(int, tandem_sgemm_nt)(int64_t m, int64_t n, int64_t k, const float *a, int64_t lda, const float *b,
                                  int64_t ldb, float *c, int64_t ldc);

#ifdef __cplusplus
}
#endif
#endif
