/* forward.cpp - the encoder's forward pass: layers, pooling, modules and head. */
#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <memory>
#include <string>

#include <ATen/Functions.h>

#include "model/torch/encoder.hpp"
#include "model/torch/positions.hpp"
#include "model/torch/rows.hpp"
#include "model/torch/single_query.hpp"

using tandem::give;
using tandem::guarded;
using tandem::Layer;
using tandem::Lookup;
using tandem::Module;
using tandem::Packed;
using tandem::PackedPtr;
using tandem::ref;
using tandem::refuse;
using tandem::Steps;

namespace {

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

void check_lengths(const tandem_encoder_spec &spec, const Packed &packed) {
    for (int64_t s = 0; s < packed.count; ++s) {
        if (packed.length(s) > spec.positions - spec.position_offset) {
            refuse("sequence " + std::to_string(s) + " has " + std::to_string(packed.length(s)) + " tokens; the model has positions for " +
                   std::to_string(spec.positions - spec.position_offset));
        }
    }
}

/* position_offset, position_offset + 1, ... in each sequence, without the padding tokens,
 * which all have the row before (transformers' create_position_ids_from_input_ids). */
std::vector<int32_t> position_rows(const tandem_encoder_spec &spec, const int32_t *ids, const Packed &packed) {
    std::vector<int32_t> rows(static_cast<size_t>(packed.total));
    for (int64_t s = 0; s < packed.count; ++s) {
        int32_t next = static_cast<int32_t>(spec.position_offset);
        for (int64_t i = packed.start(s); i < packed.start(s + 1); ++i) {
            bool counted = spec.position_pad_id == -1 || ids[i] != spec.position_pad_id;
            rows[static_cast<size_t>(i)] = counted ? next++ : static_cast<int32_t>(spec.position_offset - 1);
        }
    }
    return rows;
}

std::vector<Lookup> lookups(const tandem_encoder &encoder, const tandem_batch &batch, const Packed &packed) {
    const tandem_encoder_spec &spec = encoder.spec;
    std::vector<Lookup> all;
    bool padding = spec.position_pad_id != -1;
    all.push_back({encoder.word_embedding, checked_rows(batch.ids, packed, spec.vocab, "id", "vocabulary"), spec.position_pad_id});
    if (encoder.position_embedding.defined()) {
        all.push_back({encoder.position_embedding, position_rows(spec, batch.ids, packed), padding ? spec.position_offset - 1 : -1});
    }
    if (encoder.type_embedding.defined()) {
        std::vector<int32_t> types(batch.total, 0);
        if (batch.type_ids != nullptr) {
            types = checked_rows(batch.type_ids, packed, spec.types, "type id", "types");
        }
        all.push_back({encoder.type_embedding, std::move(types), -1});
    }
    return all;
}

/* ---- forward ------------------------------------------------------------------------ */

/* Where elements are dropped, numbered through the network; the last two lie beyond the
 * sites of any layer, SITE_INNER + i is that of layer i. */
enum Site : uint64_t { SITE_EMBEDDINGS, SITE_CLASSIFIER, SITE_LAYERS, SITE_HEAD = 1 << 20, SITE_INNER };
enum LayerSite { SITE_PROBABILITIES, SITE_ATTENTION_OUT, SITE_DOWN, SITES_PER_LAYER };

/* A site's mask, whose rows are tokens, sequences, or a token's heads. */
tandem_mask mask_of(const tandem_dropout &dropout, uint64_t site, double probability, uint64_t first_row) {
    return tandem_mask_from(tandem_mask_make(dropout.seed, dropout.step, site, dropout.train ? probability : 0), first_row);
}

/* LayerNorm, or x itself where the model has none. */
at::Tensor norm(const Steps &steps, const at::Tensor &x, const at::Tensor &weight, const at::Tensor &bias, double eps) {
    return weight.defined() ? steps.residual_norm(x, {}, {}, tandem_mask{}, weight, bias, eps) : x;
}

/* One row of each sequence: its first, or its last; undefined where all are meant. */
at::Tensor query_rows(const Packed &packed, tandem_queries queries) {
    if (queries == TANDEM_QUERIES_ALL) {
        return {};
    }
    at::Tensor rows = at::empty({packed.count}, at::kLong);
    int64_t *row = rows.mutable_data_ptr<int64_t>();
    for (int64_t s = 0; s < packed.count; ++s) {
        row[s] = queries == TANDEM_QUERIES_LAST ? packed.start(s + 1) - 1 : packed.start(s);
    }
    return rows;
}

at::Tensor picked(const at::Tensor &x, const at::Tensor &rows) {
    return rows.defined() ? at::index_select(x, 0, rows.to(x.device())) : x;
}

/* One forward: what its layers share. It lives as long as a layer may be run again. */
struct Forward : std::enable_shared_from_this<Forward> {
    const tandem_encoder &encoder;
    const Steps &steps;
    tandem_dropout dropout;
    PackedPtr packed;
    tandem_queries queries; /* of the last layer */
    int64_t longest = 0;
    std::shared_ptr<const tandem::Relative> relative;
    std::map<double, at::Tensor> rotary; /* by theta */

    Forward(const tandem_encoder &encoder_, const tandem_dropout &dropout_, PackedPtr packed_, tandem_queries queries_)
        : encoder(encoder_), steps(*encoder_.steps), dropout(dropout_), packed(std::move(packed_)), queries(queries_) {
        for (int64_t s = 0; s < packed->count; ++s) {
            longest = std::max(longest, packed->length(s));
        }
        if (encoder.relative_bias.defined()) {
            relative = make_relative();
        }
        for (const Layer &layer : encoder.layers) {
            if (layer.rope_theta != 0 && rotary.count(layer.rope_theta) == 0) {
                rotary[layer.rope_theta] = tandem::rotary_table(layer.rope_theta, encoder.spec.hidden / encoder.spec.heads, longest).to(encoder.values.device());
            }
        }
    }

    /* The bias by offset, i - j, which is minus the position of the key as seen from the query. */
    std::shared_ptr<const tandem::Relative> make_relative() const {
        const tandem_encoder_spec &spec = encoder.spec;
        auto made = std::make_shared<tandem::Relative>();
        int64_t span = longest + 16;
        at::NoGradGuard no_gradients;
        at::Tensor bucket = at::flip(tandem::relative_buckets(spec.relative_buckets, spec.relative_distance, span + 1), {0}).narrow(0, 0, 2 * span).contiguous();
        made->table = encoder.relative_bias;
        made->bucket.assign(bucket.const_data_ptr<int64_t>(), bucket.const_data_ptr<int64_t>() + 2 * span);
        made->rows = at::index_select(encoder.relative_bias, 0, bucket.to(encoder.relative_bias.device())).t().contiguous();
        return made;
    }

    static uint64_t layer_site(size_t layer, LayerSite site) {
        return SITE_LAYERS + layer * SITES_PER_LAYER + site;
    }

    /* Those of a layer: beyond the last layer's, nobody reads what comes of the others. */
    tandem_queries queries_of(size_t index) const {
        return index + 1 == encoder.layers.size() ? queries : TANDEM_QUERIES_ALL;
    }

    /* Rows of the whole computation before this part's. */
    uint64_t first_row(tandem_queries of) const {
        return of == TANDEM_QUERIES_ALL ? dropout.first_row : dropout.first_sequence;
    }

    /* The mask of a site behind a layer's attention, with a row for each of its queries. */
    tandem_mask mask(size_t layer, uint64_t site, double probability) const {
        return mask_of(dropout, site, probability, first_row(queries_of(layer)));
    }

    /* True when nothing is kept for a backward pass, and the kernels have a way of their own for that. */
    bool reads() const {
        return encoder.uses_kernels() && !at::GradMode::is_enabled() && !dropout.train;
    }

    /* Of attention's probabilities: a row for each head of each query. */
    tandem_mask probability_mask(size_t index) const {
        uint64_t before = first_row(queries_of(index)) * static_cast<uint64_t>(encoder.spec.heads);
        return mask_of(dropout, layer_site(index, SITE_PROBABILITIES), encoder.spec.attention_dropout, before);
    }

    /* The product with query, key and value weights -> attention's context, before its output product. */
    at::Tensor context(size_t index, const at::Tensor &qkv) const {
        const Layer &layer = encoder.layers[index];
        tandem::Attention setting;
        setting.heads = encoder.spec.heads;
        setting.window = layer.window;
        setting.rotary = layer.rope_theta == 0 ? at::Tensor() : rotary.at(layer.rope_theta);
        setting.relative = relative;
        setting.queries = queries_of(index);
        setting.mask = probability_mask(index);
        setting.bf16 = reads() && encoder.precision != TANDEM_FP32 && tandem_machine_has_bf16();
        return steps.attention(qkv, layer.qkv_bias, packed, setting);
    }

    /* Whether single_query_attention has the same context: one query a sequence, and scores that no position changes. */
    bool asks_once(size_t index) const {
        const Layer &layer = encoder.layers[index];
        return encoder.uses_kernels() && queries_of(index) != TANDEM_QUERIES_ALL && layer.rope_theta == 0 && layer.window == 0 && !relative;
    }

    at::Tensor attend(size_t index, const at::Tensor &x) const {
        const Layer &layer = encoder.layers[index];
        at::Tensor found = asks_once(index) ? tandem::single_query_attention(x, picked(x, query_rows(*packed, queries_of(index))), layer.qkv_weight.leaf, layer.qkv_bias, *packed,
                                                                             encoder.spec.heads, probability_mask(index))
                                            : context(index, steps.product(x, layer.qkv_weight));
        return steps.product(found, layer.out_weight);
    }

    at::Tensor feed_forward(size_t index, const at::Tensor &x) const {
        const Layer &layer = encoder.layers[index];
        const tandem_encoder_spec &spec = encoder.spec;
        at::Tensor inner = steps.activation(steps.product(x, layer.up_weight), layer.up_bias, spec.activation, spec.gated, mask(index, SITE_INNER + index, spec.inner_dropout));
        return steps.product(inner, layer.down_weight);
    }

    /* A transformer layer (Vaswani et al. 2017, section 3.1), its norms after the residual
     * sums or, pre_norm, before attention and feed-forward part (Xiong et al. 2020). */
    at::Tensor layer(size_t index, const at::Tensor &x) const {
        const Layer &layer = encoder.layers[index];
        const tandem_encoder_spec &spec = encoder.spec;
        tandem_mask out_mask = mask(index, layer_site(index, SITE_ATTENTION_OUT), spec.attention_out_dropout), down_mask = mask(index, layer_site(index, SITE_DOWN), spec.down_dropout);
        at::Tensor asked = picked(x, query_rows(*packed, queries_of(index)));
        if (spec.pre_norm) {
            at::Tensor attended = attend(index, norm(steps, x, layer.attention_norm_weight, layer.attention_norm_bias, spec.norm_eps));
            at::Tensor middle = steps.residual(attended, layer.out_bias, asked, out_mask);
            at::Tensor down = feed_forward(index, norm(steps, middle, layer.output_norm_weight, layer.output_norm_bias, spec.norm_eps));
            return steps.residual(down, layer.down_bias, middle, down_mask);
        }
        at::Tensor middle = steps.residual_norm(attend(index, x), layer.out_bias, asked, out_mask, layer.attention_norm_weight, layer.attention_norm_bias, spec.norm_eps);
        return steps.residual_norm(feed_forward(index, middle), layer.down_bias, middle, down_mask, layer.output_norm_weight, layer.output_norm_bias, spec.norm_eps);
    }

    at::Tensor embeddings(const tandem_batch &batch) const {
        const tandem_encoder_spec &spec = encoder.spec;
        at::Tensor x = steps.embed(lookups(encoder, batch, *packed));
        x = norm(steps, x, encoder.embedding_norm_weight, encoder.embedding_norm_bias, spec.norm_eps);
        x = steps.dropout(x, mask_of(dropout, SITE_EMBEDDINGS, spec.embedding_dropout, dropout.first_row));
        if (encoder.projection_weight.leaf.defined()) {
            x = steps.residual(steps.product(x, encoder.projection_weight), encoder.projection_bias, {}, tandem_mask{});
        }
        return x;
    }

    at::Tensor layers(at::Tensor x) const {
        if (encoder.layers.empty()) {
            return picked(x, query_rows(*packed, queries));
        }
        if (reads()) {
            const Layer &first = encoder.layers[0];
            at::Tensor in = encoder.spec.pre_norm ? norm(steps, x, first.attention_norm_weight, first.attention_norm_bias, encoder.spec.norm_eps) : x;
            return tandem::run_rows(encoder, x, in, query_rows(*packed, queries), [this](size_t index, const at::Tensor &qkv) { return context(index, qkv); });
        }
        for (size_t index = 0; index < encoder.layers.size(); ++index) {
            auto run_layer = [self = shared_from_this(), index](const at::Tensor &in) { return self->layer(index, in); };
            x = encoder.checkpointing ? tandem::checkpoint(x, encoder.layers[index].down_weight.leaf, run_layer) : run_layer(x);
        }
        return x;
    }

    at::Tensor run(const tandem_batch &batch) const {
        return norm(steps, layers(embeddings(batch)), encoder.final_norm_weight, encoder.final_norm_bias, encoder.spec.norm_eps);
    }
};

/* ---- pooling -------------------------------------------------------------------------- */

/* Throws when `hidden` does not fit the batch. */
const at::Tensor &hidden_of(const tandem_tensor *hidden, const Packed &packed) {
    const at::Tensor &x = ref(hidden);
    if (x.dim() != 2 || x.size(0) != packed.total || x.scalar_type() != at::kFloat || !x.is_contiguous()) {
        refuse("hidden states are no [" + std::to_string(packed.total) + ", hidden] matrix of the batch");
    }
    return x;
}

/* The tokens whose hidden states it reads. */
tandem_queries queries_of(tandem_pooling pooling) {
    return pooling == TANDEM_POOL_CLS ? TANDEM_QUERIES_FIRST : pooling == TANDEM_POOL_LAST ? TANDEM_QUERIES_LAST : TANDEM_QUERIES_ALL;
}

at::Tensor pool(const Steps &steps, const at::Tensor &x, const PackedPtr &packed, tandem_pooling pooling) {
    std::vector<double> scale;
    for (int64_t s = 0; s < packed->count; ++s) {
        double n = static_cast<double>(packed->length(s));
        scale.push_back(pooling == TANDEM_POOL_MEAN ? 1 / n : pooling == TANDEM_POOL_MEAN_SQRT_LEN ? 1 / std::sqrt(n) : 2 / (n * (n + 1)));
    }
    switch (pooling) {
    case TANDEM_POOL_CLS:
    case TANDEM_POOL_LAST:
        return picked(x, query_rows(*packed, queries_of(pooling)));
    case TANDEM_POOL_MAX:
        return steps.segment_max(x, packed);
    case TANDEM_POOL_MEAN:
    case TANDEM_POOL_MEAN_SQRT_LEN:
    case TANDEM_POOL_WEIGHTED_MEAN:
        return steps.segment_sum(x, packed, std::move(scale), pooling == TANDEM_POOL_WEIGHTED_MEAN);
    }
    refuse("there is no pooling mode " + std::to_string(static_cast<int>(pooling)));
}

/* ---- heads and modules --------------------------------------------------------------- */

at::Tensor run_module(const Module &module, const at::Tensor &x) {
    switch (module.spec.kind) {
    case TANDEM_MODULE_DENSE:
        return tandem::activate(at::linear(x, module.weight, module.bias), module.spec.activation);
    case TANDEM_MODULE_LAYER_NORM:
        return at::layer_norm(x, {module.spec.out}, module.weight, module.bias, module.spec.eps);
    case TANDEM_MODULE_NORMALIZE:
        return tandem::unit_rows(x);
    }
    refuse("there is no module kind " + std::to_string(static_cast<int>(module.spec.kind)));
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

/* The encoder's leaves are where it computes; what a caller gives and gets is on the CPU. */
at::Tensor brought(const at::Tensor &x, const tandem_encoder &encoder) {
    return x.to(encoder.values.device());
}

/* Hidden states, [total, hidden], or pooled, [count, hidden]. */
at::Tensor forward(tandem_encoder &encoder, const tandem_batch &batch, const PackedPtr &packed, const tandem_pooling *pooling, const tandem_dropout &dropout) {
    check_lengths(encoder.spec, *packed);
    tandem::bring_parameters(encoder);
    tandem_queries queries = pooling == nullptr ? TANDEM_QUERIES_ALL : queries_of(*pooling);
    at::Tensor x = std::make_shared<const Forward>(encoder, dropout, packed, queries)->run(batch);
    return (pooling == nullptr || queries != TANDEM_QUERIES_ALL ? x : pool(*encoder.steps, x, packed, *pooling)).cpu();
}

} // namespace

int tandem_encoder_forward(tandem_tensor **out, tandem_encoder *encoder, const tandem_batch *batch, tandem_dropout dropout) {
    return guarded(__func__, [&] {
        give(out, forward(*encoder, *batch, pack(batch), nullptr, dropout));
        return TANDEM_OK;
    });
}

int tandem_encoder_forward_pooled(tandem_tensor **out, tandem_encoder *encoder, const tandem_batch *batch, tandem_pooling pooling, tandem_dropout dropout) {
    return guarded(__func__, [&] {
        give(out, forward(*encoder, *batch, pack(batch), &pooling, dropout));
        return TANDEM_OK;
    });
}

int tandem_encoder_pool(tandem_tensor **out, const tandem_tensor *hidden, const tandem_batch *batch, tandem_pooling pooling) {
    return guarded(__func__, [&] {
        PackedPtr packed = pack(batch);
        give(out, pool(tandem::by_kernels, hidden_of(hidden, *packed), packed, pooling));
        return TANDEM_OK;
    });
}

int tandem_encoder_modules(tandem_tensor **out, tandem_encoder *encoder, const tandem_tensor *pooled) {
    return guarded(__func__, [&] {
        at::Tensor x = brought(ref(pooled), *encoder);
        if (x.dim() != 2 || (!encoder->modules.empty() && x.size(1) != encoder->modules[0].spec.in)) {
            refuse("the pooled vectors do not fit the first module");
        }
        for (const Module &module : encoder->modules) {
            x = run_module(module, x);
        }
        give(out, x.cpu());
        return TANDEM_OK;
    });
}

int tandem_encoder_classify(tandem_tensor **out, tandem_encoder *encoder, const tandem_tensor *pooled, tandem_dropout dropout) {
    return guarded(__func__, [&] {
        const tandem_encoder_spec &spec = encoder->spec;
        const Steps &steps = *encoder->steps;
        at::Tensor x = brought(ref(pooled), *encoder);
        if (!encoder->classifier_weight.defined()) {
            refuse("the model has no classification head");
        }
        if (x.dim() != 2 || x.size(1) != spec.hidden) {
            refuse("the pooled vectors do not have the hidden size " + std::to_string(spec.hidden));
        }
        if (spec.head_dropout_first) {
            x = steps.dropout(x, mask_of(dropout, SITE_HEAD, spec.classifier_dropout, dropout.first_sequence));
        }
        if (encoder->head_weight.defined()) {
            x = tandem::activate(at::linear(x, encoder->head_weight, encoder->head_bias), spec.head_activation);
        }
        x = norm(steps, x, encoder->head_norm_weight, encoder->head_norm_bias, spec.norm_eps);
        x = steps.dropout(x, mask_of(dropout, SITE_CLASSIFIER, spec.classifier_dropout, dropout.first_sequence));
        give(out, at::linear(x, encoder->classifier_weight, encoder->classifier_bias).cpu());
        return TANDEM_OK;
    });
}
