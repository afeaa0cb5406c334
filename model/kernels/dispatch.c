/* dispatch.c - the kernels of each instruction set in one table, chosen at run time,
 * and what needs no special instructions. */
#include "model/kernels/kernels.h"
#include "model/kernels/search.h"

#include <math.h>

/* The names of the kernels, once: ENTRY(name, isa) for each. */
#define KERNELS(ENTRY, isa)             \
    ENTRY(attention_forward, isa)       \
    ENTRY(attention_backward, isa)      \
    ENTRY(residual_norm_forward, isa)   \
    ENTRY(residual_norm_backward, isa)  \
    ENTRY(activation_forward, isa)      \
    ENTRY(activation_backward, isa)     \
    ENTRY(dropout, isa)                 \
    ENTRY(column_sum, isa)              \
    ENTRY(rows_gather, isa)             \
    ENTRY(rows_scatter, isa)            \
    ENTRY(segment_sum, isa)             \
    ENTRY(segment_spread, isa)          \
    ENTRY(float_lay_out, isa)           \
    ENTRY(float_multiply, isa)          \
    ENTRY(float_gradient, isa)          \
    ENTRY(bf16_lay_out, isa)            \
    ENTRY(bf16_multiply, isa)           \
    ENTRY(bf16_gradient, isa)           \
    ENTRY(int8_words, isa)              \
    ENTRY(int8_lay_out, isa)            \
    ENTRY(int8_quantize, isa)           \
    ENTRY(int8_multiply, isa)           \
    ENTRY(rows_product, isa)            \
    ENTRY(rows_layer, isa)

#define SEARCH_KERNELS(ENTRY, isa)      \
    ENTRY(rows_dot, isa)                \
    ENTRY(rows_dot_bfloat16, isa)       \
    ENTRY(rows_dot_int8, isa)           \
    ENTRY(rows_lay_out, isa)            \
    ENTRY(rows_multiply, isa)           \
    ENTRY(scores_keep, isa)             \
    ENTRY(scores_count, isa)            \
    ENTRY(dot_exact, isa)

#define DECLARE(name, isa) tandem_##name##_fn tandem_##name##_##isa;
#define ASSIGN(name, isa) .name = tandem_##name##_##isa,

KERNELS(DECLARE, portable)
SEARCH_KERNELS(DECLARE, portable)
KERNELS(DECLARE, avx2)
SEARCH_KERNELS(DECLARE, avx2)
KERNELS(DECLARE, avx512)
SEARCH_KERNELS(DECLARE, avx512)
KERNELS(DECLARE, avx512_vnni)
SEARCH_KERNELS(DECLARE, avx512_vnni)
KERNELS(DECLARE, avx512_bf16)
SEARCH_KERNELS(DECLARE, avx512_bf16)
KERNELS(DECLARE, zen4)
SEARCH_KERNELS(DECLARE, zen4)

static const tandem_kernels tables[] = {
    [TANDEM_ISA_PORTABLE] = {KERNELS(ASSIGN, portable)},
    [TANDEM_ISA_AVX2] = {KERNELS(ASSIGN, avx2)},
    [TANDEM_ISA_AVX512] = {KERNELS(ASSIGN, avx512)},
    [TANDEM_ISA_AVX512_VNNI] = {KERNELS(ASSIGN, avx512_vnni)},
    [TANDEM_ISA_AVX512_BF16] = {KERNELS(ASSIGN, avx512_bf16)},
    [TANDEM_ISA_ZEN4] = {KERNELS(ASSIGN, zen4)},
};

static const tandem_search_kernels search_tables[] = {
    [TANDEM_ISA_PORTABLE] = {SEARCH_KERNELS(ASSIGN, portable)},
    [TANDEM_ISA_AVX2] = {SEARCH_KERNELS(ASSIGN, avx2)},
    [TANDEM_ISA_AVX512] = {SEARCH_KERNELS(ASSIGN, avx512)},
    [TANDEM_ISA_AVX512_VNNI] = {SEARCH_KERNELS(ASSIGN, avx512_vnni)},
    [TANDEM_ISA_AVX512_BF16] = {SEARCH_KERNELS(ASSIGN, avx512_bf16)},
    [TANDEM_ISA_ZEN4] = {SEARCH_KERNELS(ASSIGN, zen4)},
};

const tandem_kernels *tandem_kernels_of(tandem_isa isa) {
    return isa <= tandem_machine_isa() ? &tables[isa] : NULL;
}

const tandem_kernels *tandem_kernels_best(void) {
    return &tables[tandem_machine_isa()];
}

const tandem_search_kernels *tandem_search_kernels_of(tandem_isa isa) {
    return isa <= tandem_machine_isa() ? &search_tables[isa] : NULL;
}

const tandem_search_kernels *tandem_search_kernels_best(void) {
    return &search_tables[tandem_machine_isa()];
}

tandem_mask tandem_mask_make(uint64_t seed, uint64_t step, uint64_t site, double probability) {
    uint64_t key = tandem_mask_row(tandem_mask_row(tandem_mask_row(0, seed), step), site);
    double threshold = nearbyint(probability * 4294967296.0);
    return (tandem_mask){
        .key = key,
        .threshold = threshold >= 4294967295.0 ? UINT32_MAX : (uint32_t)threshold,
        .scale = (float)(1.0 / (1.0 - probability)),
    };
}

size_t tandem_attention_scratch(const tandem_attention *attention) {
    size_t longest = 0;
    for (size_t s = 0; s < attention->sequences; s++) {
        size_t length = (size_t)(attention->offsets[s + 1] - attention->offsets[s]);
        longest = length > longest ? length : longest;
    }
    /* As item_make in attention_kernel.c divides it. */
    size_t padded = (attention->head_size + 15) / 16 * 16, line = attention->relative == NULL ? 0 : (2 * attention->span + 15) / 16 * 16;
    return 4 * longest * padded + 2 * tandem_attention_keys(attention, longest) * TANDEM_QUERY_BLOCK + 5 * TANDEM_QUERY_BLOCK * padded + line;
}

size_t tandem_attention_workspace(const tandem_attention *attention) {
    size_t total = (size_t)attention->offsets[attention->sequences];
    return tandem_attention_scratch(attention) * (size_t)attention->threads + (attention->relative == NULL ? 0 : 2 * total * attention->heads);
}
