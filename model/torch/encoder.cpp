/* encoder.cpp - the encoder's arenas and leaves, and its forward pass. */
#include "model/torch/encoder.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include <ATen/Functions.h>

using tandem::give;
using tandem::guarded;
using tandem::Layer;
using tandem::Lookup;
using tandem::Packed;
using tandem::PackedPtr;
using tandem::ref;

namespace {

[[noreturn]] void refuse(const std::string &message) {
    throw std::invalid_argument(message);
}

/* ---- construction -------------------------------------------------------------- */

void check_spec(const tandem_encoder_spec &spec) {
    if (spec.layers < 0 || spec.hidden <= 0 || spec.heads <= 0 || spec.intermediate <= 0 || spec.vocab <= 0 || spec.positions <= 0) {
        refuse("a size of the encoder is not positive");
    }
    if (spec.hidden % spec.heads != 0) {
        refuse("hidden size " + std::to_string(spec.hidden) + " is no multiple of " + std::to_string(spec.heads) + " heads");
    }
    if (spec.position_offset < 0 || spec.position_offset >= spec.positions) {
        refuse("position offset " + std::to_string(spec.position_offset) + " is outside the " + std::to_string(spec.positions) + " positions");
    }
    for (double probability : {spec.embedding_dropout, spec.attention_out_dropout, spec.down_dropout, spec.attention_dropout, spec.inner_dropout, spec.classifier_dropout}) {
        if (!(probability >= 0 && probability < 1)) {
            refuse("dropout " + std::to_string(probability) + " is not in [0, 1)");
        }
    }
}

/* Makes `tensor` a view of the arena and remembers it; -1 leaves it undefined. */
void place_leaf(tandem_encoder &encoder, at::Tensor &tensor, tandem_place place, at::IntArrayRef shape) {
    if (place == -1) {
        return;
    }
    int64_t floats = 1;
    for (int64_t size : shape) {
        if (size <= 0 || __builtin_mul_overflow(floats, size, &floats)) {
            refuse("a parameter has a size of " + std::to_string(size));
        }
    }
    int64_t arena = encoder.parameters.numel();
    if (place < 0 || place % 16 != 0 || floats > arena || place > arena - floats) {
        refuse("a parameter of " + std::to_string(floats) + " floats at " + std::to_string(place) + " is misaligned or outside the arena of " + std::to_string(arena));
    }
    tensor = encoder.parameters.narrow(0, place, floats).view(shape).detach();
    encoder.leaves.push_back({&tensor, place});
}

void place_layer(tandem_encoder &encoder, Layer &layer, const tandem_layer_spec &places) {
    int64_t h = encoder.spec.hidden, f = encoder.spec.intermediate;
    place_leaf(encoder, layer.qkv_weight, places.qkv_weight, {3 * h, h});
    place_leaf(encoder, layer.qkv_bias, places.qkv_bias, {3 * h});
    place_leaf(encoder, layer.out_weight, places.attention_out_weight, {h, h});
    place_leaf(encoder, layer.out_bias, places.attention_out_bias, {h});
    place_leaf(encoder, layer.attention_norm_weight, places.attention_norm_weight, {h});
    place_leaf(encoder, layer.attention_norm_bias, places.attention_norm_bias, {h});
    place_leaf(encoder, layer.up_weight, places.up_weight, {f, h});
    place_leaf(encoder, layer.up_bias, places.up_bias, {f});
    place_leaf(encoder, layer.down_weight, places.down_weight, {h, f});
    place_leaf(encoder, layer.down_bias, places.down_bias, {h});
    place_leaf(encoder, layer.output_norm_weight, places.output_norm_weight, {h});
    place_leaf(encoder, layer.output_norm_bias, places.output_norm_bias, {h});
    for (const at::Tensor *needed : {&layer.qkv_weight, &layer.out_weight, &layer.attention_norm_weight, &layer.up_weight, &layer.down_weight, &layer.output_norm_weight}) {
        if (!needed->defined()) {
            refuse("a layer lacks one of its weights");
        }
    }
}

void place_leaves(tandem_encoder &encoder) {
    const tandem_encoder_spec &spec = encoder.spec;
    int64_t h = spec.hidden;
    place_leaf(encoder, encoder.word_embedding, spec.word_embedding, {spec.vocab, h});
    place_leaf(encoder, encoder.position_embedding, spec.position_embedding, {spec.positions, h});
    if (spec.types > 0) {
        place_leaf(encoder, encoder.type_embedding, spec.type_embedding, {spec.types, h});
    }
    place_leaf(encoder, encoder.embedding_norm_weight, spec.embedding_norm_weight, {h});
    place_leaf(encoder, encoder.embedding_norm_bias, spec.embedding_norm_bias, {h});
    if (!encoder.word_embedding.defined() || !encoder.position_embedding.defined() || !encoder.embedding_norm_weight.defined()) {
        refuse("the embeddings lack one of their weights");
    }
    encoder.layers.resize(static_cast<size_t>(spec.layers));
    for (size_t i = 0; i < encoder.layers.size(); ++i) {
        place_layer(encoder, encoder.layers[i], spec.layer[i]);
    }
    place_leaf(encoder, encoder.head_weight, spec.head_weight, {h, h});
    place_leaf(encoder, encoder.head_bias, spec.head_bias, {h});
    place_leaf(encoder, encoder.classifier_weight, spec.classifier_weight, {spec.labels, h});
    place_leaf(encoder, encoder.classifier_bias, spec.classifier_bias, {spec.labels});
}

/* ---- a batch's tokens ------------------------------------------------------------- */

std::string place_of(int64_t sequence, int64_t token) {
    return "sequence " + std::to_string(sequence) + ", token " + std::to_string(token) + ": ";
}

/* The rows of the word or type table that a batch names, checked to be inside. */
std::vector<int32_t> checked_rows(const int32_t *rows, const Packed &packed, int64_t limit, const char *noun, const char *table) {
    for (int64_t s = 0; s < packed.count; ++s) {
        for (int64_t i = 0; i < packed.length(s); ++i) {
            int32_t row = rows[packed.start(s) + i];
            if (row < 0 || row >= limit) {
                refuse(place_of(s, i) + noun + " " + std::to_string(row) + " is outside the " + table + " of " + std::to_string(limit));
            }
        }
    }
    return {rows, rows + packed.total};
}

std::vector<int32_t> position_rows(const tandem_encoder_spec &spec, const Packed &packed) {
    std::vector<int32_t> rows;
    rows.reserve(static_cast<size_t>(packed.total));
    for (int64_t s = 0; s < packed.count; ++s) {
        if (packed.length(s) > spec.positions - spec.position_offset) {
            refuse("sequence " + std::to_string(s) + " has " + std::to_string(packed.length(s)) + " tokens; the model has positions for " +
                   std::to_string(spec.positions - spec.position_offset));
        }
        for (int64_t i = 0; i < packed.length(s); ++i) {
            rows.push_back(static_cast<int32_t>(spec.position_offset + i));
        }
    }
    return rows;
}

std::vector<Lookup> lookups(const tandem_encoder &encoder, const tandem_batch &batch, const Packed &packed) {
    const tandem_encoder_spec &spec = encoder.spec;
    std::vector<Lookup> all;
    all.push_back({encoder.word_embedding, checked_rows(batch.ids, packed, spec.vocab, "id", "vocabulary")});
    all.push_back({encoder.position_embedding, position_rows(spec, packed)});
    if (encoder.type_embedding.defined()) {
        std::vector<int32_t> types(batch.total, 0);
        if (batch.type_ids != nullptr) {
            types = checked_rows(batch.type_ids, packed, spec.types, "type id", "types");
        }
        all.push_back({encoder.type_embedding, std::move(types)});
    }
    return all;
}

/* ---- forward ------------------------------------------------------------------------ */

/* Where elements are dropped, numbered through the network. */
enum Site { SITE_EMBEDDINGS, SITE_CLASSIFIER, SITE_LAYERS };
enum LayerSite { SITE_PROBABILITIES, SITE_ATTENTION_OUT, SITE_DOWN, SITES_PER_LAYER };

tandem_mask mask_of(const tandem_dropout &dropout, uint64_t site, double probability) {
    return tandem_mask_make(dropout.seed, dropout.step, site, dropout.train ? probability : 0);
}

/* A post-norm transformer layer (Vaswani et al. 2017, section 3.1). x: [total, hidden]. */
at::Tensor run_layer(const tandem_encoder &encoder, size_t index, const at::Tensor &x, const PackedPtr &packed, const tandem_dropout &dropout) {
    const tandem_encoder_spec &spec = encoder.spec;
    const Layer &layer = encoder.layers[index];
    auto mask = [&](LayerSite site, double probability) { return mask_of(dropout, SITE_LAYERS + index * SITES_PER_LAYER + site, probability); };

    at::Tensor context = tandem::attention(tandem::product(x, layer.qkv_weight), layer.qkv_bias, packed, spec.heads, mask(SITE_PROBABILITIES, spec.attention_dropout));
    at::Tensor middle = tandem::residual_norm(tandem::product(context, layer.out_weight), layer.out_bias, x, mask(SITE_ATTENTION_OUT, spec.attention_out_dropout), layer.attention_norm_weight,
                                              layer.attention_norm_bias, spec.norm_eps);
    at::Tensor inner = tandem::activation(tandem::product(middle, layer.up_weight), layer.up_bias, spec.activation);
    return tandem::residual_norm(tandem::product(inner, layer.down_weight), layer.down_bias, middle, mask(SITE_DOWN, spec.down_dropout), layer.output_norm_weight,
                                 layer.output_norm_bias, spec.norm_eps);
}

/* ---- pooling -------------------------------------------------------------------------- */

/* Throws when `hidden` does not fit the batch. */
const at::Tensor &hidden_of(const tandem_tensor *hidden, const Packed &packed) {
    const at::Tensor &x = ref(hidden);
    if (x.dim() != 2 || x.size(0) != packed.total || x.scalar_type() != at::kFloat || !x.is_contiguous()) {
        refuse("hidden states are no [" + std::to_string(packed.total) + ", hidden] matrix of the batch");
    }
    return x;
}

/* One row of each sequence: its first, or its last. */
at::Tensor pick_rows(const at::Tensor &x, const Packed &packed, bool last) {
    at::Tensor rows = at::empty({packed.count}, at::kLong);
    int64_t *row = rows.mutable_data_ptr<int64_t>();
    for (int64_t s = 0; s < packed.count; ++s) {
        row[s] = last ? packed.start(s + 1) - 1 : packed.start(s);
    }
    return at::index_select(x, 0, rows);
}

/* The greatest value of each column; the gradient goes to the first row that has it. */
at::Tensor pool_max(const at::Tensor &x, const Packed &packed) {
    int64_t width = x.size(1);
    at::Tensor rows = at::empty({packed.count, width}, at::kLong);
    int64_t *row = rows.mutable_data_ptr<int64_t>();
    const float *values = x.const_data_ptr<float>();
    for (int64_t s = 0; s < packed.count; ++s) {
        std::fill(row + s * width, row + (s + 1) * width, packed.start(s));
        for (int64_t i = packed.start(s) + 1; i < packed.start(s + 1); ++i) {
            for (int64_t c = 0; c < width; ++c) {
                int64_t &best = row[s * width + c];
                best = values[i * width + c] > values[best * width + c] ? i : best;
            }
        }
    }
    return at::gather(x, 0, rows);
}

at::Tensor pool(const at::Tensor &x, const PackedPtr &packed, tandem_pooling pooling) {
    std::vector<double> scale;
    for (int64_t s = 0; s < packed->count; ++s) {
        double n = static_cast<double>(packed->length(s));
        scale.push_back(pooling == TANDEM_POOL_MEAN ? 1 / n : pooling == TANDEM_POOL_MEAN_SQRT_LEN ? 1 / std::sqrt(n) : 2 / (n * (n + 1)));
    }
    switch (pooling) {
    case TANDEM_POOL_CLS:
    case TANDEM_POOL_LAST:
        return pick_rows(x, *packed, pooling == TANDEM_POOL_LAST);
    case TANDEM_POOL_MAX:
        return pool_max(x, *packed);
    case TANDEM_POOL_MEAN:
    case TANDEM_POOL_MEAN_SQRT_LEN:
    case TANDEM_POOL_WEIGHTED_MEAN:
        return tandem::segment_sum(x, packed, std::move(scale), pooling == TANDEM_POOL_WEIGHTED_MEAN);
    }
    refuse("there is no pooling mode " + std::to_string(static_cast<int>(pooling)));
}

/* A batch's shape; throws when offsets do not run from 0 to total or a sequence is empty. */
PackedPtr pack(const tandem_batch *batch) {
    if (batch == nullptr || batch->count == 0) {
        refuse("the batch is empty");
    }
    if (batch->total > std::numeric_limits<int32_t>::max() || batch->count > batch->total) {
        refuse(std::to_string(batch->count) + " sequences of " + std::to_string(batch->total) + " tokens are no batch");
    }
    auto packed = std::make_shared<Packed>();
    packed->count = static_cast<int64_t>(batch->count);
    packed->total = static_cast<int64_t>(batch->total);
    packed->offsets.assign(batch->offsets, batch->offsets + batch->count + 1);
    if (packed->offsets.front() != 0 || packed->offsets.back() != packed->total) {
        refuse("offsets run from " + std::to_string(packed->offsets.front()) + " to " + std::to_string(packed->offsets.back()) + ", not from 0 to " + std::to_string(packed->total));
    }
    for (int64_t s = 0; s < packed->count; ++s) {
        if (packed->length(s) <= 0) {
            refuse("sequence " + std::to_string(s) + " is empty");
        }
    }
    return packed;
}

} // namespace

int tandem_encoder_new(tandem_encoder **out, const tandem_encoder_spec *spec, size_t arena_floats) {
    return guarded(__func__, [&] {
        check_spec(*spec);
        auto encoder = std::make_unique<tandem_encoder>();
        encoder->spec = *spec;
        encoder->parameters = at::zeros({static_cast<int64_t>(arena_floats)}, at::kFloat);
        place_leaves(*encoder);
        encoder->spec.layer = nullptr;
        *out = encoder.release();
        return TANDEM_OK;
    });
}

void tandem_encoder_free(tandem_encoder *encoder) {
    delete encoder;
}

float *tandem_encoder_parameters(tandem_encoder *encoder) {
    return encoder->parameters.mutable_data_ptr<float>();
}

float *tandem_encoder_gradients(tandem_encoder *encoder) {
    int rc = guarded(__func__, [&] {
        if (!encoder->gradients.defined()) {
            encoder->gradients = at::zeros_like(encoder->parameters);
            for (tandem_encoder::Leaf &leaf : encoder->leaves) {
                leaf.tensor->set_requires_grad(true);
                leaf.tensor->mutable_grad() = encoder->gradients.narrow(0, leaf.place, leaf.tensor->numel()).view(leaf.tensor->sizes()).detach();
            }
        }
        return TANDEM_OK;
    });
    return rc < 0 ? nullptr : encoder->gradients.mutable_data_ptr<float>();
}

int tandem_encoder_forward(tandem_tensor **out, tandem_encoder *encoder, const tandem_batch *batch, tandem_dropout dropout) {
    return guarded(__func__, [&] {
        const tandem_encoder_spec &spec = encoder->spec;
        PackedPtr packed = pack(batch);
        at::Tensor x = tandem::embed(lookups(*encoder, *batch, *packed));
        x = tandem::residual_norm(x, {}, {}, tandem_mask{}, encoder->embedding_norm_weight, encoder->embedding_norm_bias, spec.norm_eps);
        x = tandem::dropout(x, mask_of(dropout, SITE_EMBEDDINGS, spec.embedding_dropout));
        for (size_t layer = 0; layer < encoder->layers.size(); ++layer) {
            x = run_layer(*encoder, layer, x, packed, dropout);
        }
        give(out, x);
        return TANDEM_OK;
    });
}

int tandem_encoder_pool(tandem_tensor **out, const tandem_tensor *hidden, const tandem_batch *batch, tandem_pooling pooling) {
    return guarded(__func__, [&] {
        PackedPtr packed = pack(batch);
        give(out, pool(hidden_of(hidden, *packed), packed, pooling));
        return TANDEM_OK;
    });
}

int tandem_encoder_classify(tandem_tensor **out, tandem_encoder *encoder, const tandem_tensor *hidden, const tandem_batch *batch, tandem_dropout dropout) {
    return guarded(__func__, [&] {
        if (!encoder->classifier_weight.defined()) {
            refuse("the model has no classification head");
        }
        PackedPtr packed = pack(batch);
        at::Tensor x = pick_rows(hidden_of(hidden, *packed), *packed, false);
        if (encoder->head_weight.defined()) {
            x = at::tanh(at::linear(x, encoder->head_weight, encoder->head_bias));
        }
        x = tandem::dropout(x, mask_of(dropout, SITE_CLASSIFIER, encoder->spec.classifier_dropout));
        give(out, at::linear(x, encoder->classifier_weight, encoder->classifier_bias));
        return TANDEM_OK;
    });
}
