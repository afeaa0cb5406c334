/* tokenizer_template.c - truncation, special tokens and type ids. */
#include <string.h>

#include "data/tokenizer_parts.h"
#include "tandem/memory.h"

int tandem_template_add(tandem_template *out, tandem_piece_kind kind, uint32_t id, uint8_t type_id)
{
    void *pieces = out->pieces;
    int rc = tandem_grow(&pieces, &out->capacity, out->count + 1, sizeof *out->pieces);
    out->pieces = pieces;
    TANDEM_TRY(rc);
    out->pieces[out->count++] = (tandem_template_piece){.kind = kind, .id = id, .type_id = type_id};
    out->specials += kind == TANDEM_PIECE_SPECIAL ? 1 : 0;
    return TANDEM_OK;
}

int tandem_tokenizer_set_bert_templates(tandem_tokenizer *tokenizer, uint32_t cls, uint32_t sep)
{
    tandem_template *both[] = {&tokenizer->single, &tokenizer->pair};
    for (size_t i = 0; i < 2; i++) {
        TANDEM_TRY(tandem_template_add(both[i], TANDEM_PIECE_SPECIAL, cls, 0));
        TANDEM_TRY(tandem_template_add(both[i], TANDEM_PIECE_FIRST, 0, 0));
        TANDEM_TRY(tandem_template_add(both[i], TANDEM_PIECE_SPECIAL, sep, 0));
    }
    TANDEM_TRY(tandem_template_add(&tokenizer->pair, TANDEM_PIECE_SECOND, 0, 1));
    return tandem_template_add(&tokenizer->pair, TANDEM_PIECE_SPECIAL, sep, 1);
}

size_t tandem_tokenizer_special_count(const tandem_tokenizer *tokenizer, bool pair)
{
    return pair ? tokenizer->pair.specials : tokenizer->single.specials;
}

/* longest_first as the library has it (utils/truncation.rs): not one token at a time,
 * but the shorter side kept whole where it leaves the other at least as much, and half
 * and half otherwise. */
static void truncate_pair(size_t *first, size_t *second, size_t budget)
{
    size_t *shorter = *first > *second ? second : first;
    size_t *longer = shorter == first ? second : first;
    if (*shorter <= budget / 2) {
        *longer = budget - *shorter;
    } else {
        *shorter = budget / 2;
        *longer = budget / 2 + budget % 2;
    }
}

int tandem_tokenizer_plan(const tandem_tokenizer *tokenizer, size_t first, const size_t *second, size_t max_length,
                          tandem_assembly *out)
{
    size_t specials = tandem_tokenizer_special_count(tokenizer, second != NULL);
    *out = (tandem_assembly){.first = first, .second = second ? *second : 0};
    if (max_length > 0 && max_length < specials) {
        return tandem_error("a maximum length of %zu leaves no room for the %zu special tokens", max_length, specials);
    }
    if (max_length > 0 && out->first + out->second > max_length - specials) {
        if (second) {
            truncate_pair(&out->first, &out->second, max_length - specials);
        } else {
            out->first = max_length - specials;
        }
    }
    out->total = out->first + out->second + specials;
    return TANDEM_OK;
}

int tandem_tokenizer_assemble(const tandem_tokenizer *tokenizer, tandem_bare first, const tandem_bare *second,
                              size_t max_length, uint32_t *ids, uint8_t *type_ids, int64_t *origin)
{
    tandem_assembly plan;
    TANDEM_TRY(tandem_tokenizer_plan(tokenizer, first.count, second ? &second->count : NULL, max_length, &plan));
    const tandem_template *template = second ? &tokenizer->pair : &tokenizer->single;
    size_t at = 0;
    for (size_t p = 0; p < template->count; p++) {
        const tandem_template_piece *piece = &template->pieces[p];
        bool special = piece->kind == TANDEM_PIECE_SPECIAL, of_first = piece->kind == TANDEM_PIECE_FIRST;
        const uint32_t *source = special ? &piece->id : of_first ? first.ids : second->ids;
        size_t count = special ? 1 : of_first ? plan.first : plan.second;
        if (count > 0) {
            memcpy(ids + at, source, count * sizeof *ids);
        }
        if (type_ids && count > 0) {
            memset(type_ids + at, piece->type_id, count);
        }
        for (size_t i = 0; origin && i < count; i++) {
            origin[at + i] = special ? -1 : (int64_t)i * 2 + (of_first ? 0 : 1);
        }
        at += count;
    }
    return TANDEM_OK;
}
