/* post_processors.c - the post-processors of a tokenizer.json: special tokens and type ids as
 * templates, and trimmed offsets (Hugging Face tokenizers, src/processors). */
#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#include "data/tokenizer_parts.h"
#include "data/unicode.h"
#include "tandem/json.h"
#include "tandem/memory.h"

/* ---- templates ------------------------------------------------------------------------ */
static int add_piece(tandem_template *out, tandem_template_piece piece)
{
    void *pieces = out->pieces;
    int rc = tandem_grow(&pieces, &out->capacity, out->count + 1, sizeof *out->pieces);
    out->pieces = pieces;
    TANDEM_TRY(rc);
    out->pieces[out->count++] = piece;
    out->specials += piece.kind == TANDEM_PIECE_SPECIAL ? 1 : 0;
    return TANDEM_OK;
}

static int add_special(tandem_template *out, uint32_t id, uint8_t type_id)
{
    return add_piece(out, (tandem_template_piece){TANDEM_PIECE_SPECIAL, id, type_id, type_id});
}

/* The library leaves overflowing windows the type ids that they were made with, 0 and 1,
 * whatever the template says. */
static int add_side(tandem_template *out, tandem_piece_kind kind, uint8_t type_id)
{
    return add_piece(out, (tandem_template_piece){kind, 0, type_id, kind == TANDEM_PIECE_SECOND ? 1 : 0});
}

int tandem_post_processor_set_bert(tandem_post_processor *out, uint32_t cls, uint32_t sep)
{
    tandem_template *both[] = {&out->single, &out->pair};
    out->made = true;
    for (size_t i = 0; i < 2; i++) {
        TANDEM_TRY(add_special(both[i], cls, 0));
        TANDEM_TRY(add_side(both[i], TANDEM_PIECE_FIRST, 0));
        TANDEM_TRY(add_special(both[i], sep, 0));
    }
    TANDEM_TRY(add_side(&out->pair, TANDEM_PIECE_SECOND, 1));
    return add_special(&out->pair, sep, 1);
}

/* <s> A </s>, and <s> A </s> </s> B </s>, all of type 0. */
static int set_roberta(tandem_post_processor *out, uint32_t cls, uint32_t sep)
{
    tandem_template *both[] = {&out->single, &out->pair};
    for (size_t i = 0; i < 2; i++) {
        TANDEM_TRY(add_special(both[i], cls, 0));
        TANDEM_TRY(add_side(both[i], TANDEM_PIECE_FIRST, 0));
        TANDEM_TRY(add_special(both[i], sep, 0));
    }
    TANDEM_TRY(add_special(&out->pair, sep, 0));
    TANDEM_TRY(add_piece(&out->pair, (tandem_template_piece){TANDEM_PIECE_SECOND, 0, 0, 0}));
    return add_special(&out->pair, sep, 0);
}

/* The sides follow each other. */
static int set_plain(tandem_post_processor *out)
{
    TANDEM_TRY(add_side(&out->single, TANDEM_PIECE_FIRST, 0));
    TANDEM_TRY(add_side(&out->pair, TANDEM_PIECE_FIRST, 0));
    return add_side(&out->pair, TANDEM_PIECE_SECOND, 1);
}

/* ---- reading ----------------------------------------------------------------------------- */
typedef struct {
    tandem_post_processor *processor;
    const char *source;
    bool closed; /* special tokens are in: trimming would take them for the first */
} reader;

/* ["[SEP]", 102]: a token and its id. */
static int read_named_id(const reader *r, const cJSON *part, const char *key, uint32_t *id)
{
    const cJSON *named = tandem_json_member(part, key);
    if (!cJSON_IsArray(named) || cJSON_GetArraySize(named) != 2 || !cJSON_IsString(named->child)) {
        return tandem_error("%s: post_processor.%s: expected [token, id]", r->source, key);
    }
    return tandem_part_id(named->child->next, key, r->source, id);
}

static int read_bert(reader *r, const cJSON *part)
{
    uint32_t cls, sep;
    TANDEM_TRY(read_named_id(r, part, "cls", &cls));
    TANDEM_TRY(read_named_id(r, part, "sep", &sep));
    r->closed = true;
    return tandem_post_processor_set_bert(r->processor, cls, sep);
}

static int read_byte_level(reader *r, const cJSON *part)
{
    tandem_post_processor *processor = r->processor;
    bool trim = true, prefix = true;
    TANDEM_TRY(tandem_json_get_bool_or(part, "trim_offsets", r->source, &trim));
    TANDEM_TRY(tandem_json_get_bool_or(part, "add_prefix_space", r->source, &prefix));
    if (!trim) {
        return TANDEM_OK;
    }
    if (r->closed || processor->trims == TANDEM_TRIMS_MAX) {
        return tandem_error("%s: post_processor: %s", r->source,
                            r->closed ? "trim_offsets after special tokens were added is not supported"
                                      : "more than 4 parts with trim_offsets");
    }
    processor->add_prefix_space[processor->trims++] = prefix;
    return TANDEM_OK;
}

static int read_roberta(reader *r, const cJSON *part)
{
    uint32_t cls, sep;
    TANDEM_TRY(read_named_id(r, part, "cls", &cls));
    TANDEM_TRY(read_named_id(r, part, "sep", &sep));
    TANDEM_TRY(read_byte_level(r, part));
    r->closed = true;
    return set_roberta(r->processor, cls, sep);
}

/* A special token of a template may stand for several ids. */
static int read_template_special(const reader *r, tandem_template *out, const cJSON *part, const char *name,
                                 uint8_t type_id)
{
    const cJSON *ids = tandem_json_member(tandem_json_member(tandem_json_member(part, "special_tokens"), name), "ids");
    if (!cJSON_IsArray(ids)) {
        return tandem_error("%s: post_processor.special_tokens: the ids of \"%s\" are missing", r->source, name);
    }
    for (const cJSON *item = ids->child; item; item = item->next) {
        uint32_t id = 0;
        TANDEM_TRY(tandem_part_id(item, name, r->source, &id));
        TANDEM_TRY(add_special(out, id, type_id));
    }
    return TANDEM_OK;
}

/* {"Sequence": {"id": "A", "type_id": 0}} or {"SpecialToken": {"id": "[CLS]", "type_id": 0}} */
static int read_template_piece(const reader *r, tandem_template *out, const cJSON *part, const cJSON *piece)
{
    const cJSON *sequence = tandem_json_member(piece, "Sequence"), *special = tandem_json_member(piece, "SpecialToken");
    if (!sequence == !special) {
        return tandem_error("%s: post_processor: a piece is neither a Sequence nor a SpecialToken", r->source);
    }
    const char *name;
    int64_t type_id;
    TANDEM_TRY(tandem_json_get_string(sequence ? sequence : special, "id", r->source, &name));
    TANDEM_TRY(tandem_json_get_int(sequence ? sequence : special, "type_id", r->source, 0, UINT8_MAX, &type_id));
    if (special) {
        return read_template_special(r, out, part, name, (uint8_t)type_id);
    }
    if (strcmp(name, "A") != 0 && strcmp(name, "B") != 0) {
        return tandem_error("%s: post_processor: expected sequence \"A\" or \"B\", found \"%s\"", r->source, name);
    }
    return add_side(out, *name == 'A' ? TANDEM_PIECE_FIRST : TANDEM_PIECE_SECOND, (uint8_t)type_id);
}

static int read_template(const reader *r, tandem_template *out, const cJSON *part, const char *key, size_t seconds)
{
    const cJSON *pieces = tandem_json_member(part, key);
    if (!cJSON_IsArray(pieces)) {
        return tandem_error("%s: post_processor.%s: expected an array", r->source, key);
    }
    for (const cJSON *piece = pieces->child; piece; piece = piece->next) {
        TANDEM_TRY(read_template_piece(r, out, part, piece));
    }
    size_t found[3] = {0};
    for (size_t i = 0; i < out->count; i++) {
        found[out->pieces[i].kind]++;
    }
    if (found[TANDEM_PIECE_FIRST] != 1 || found[TANDEM_PIECE_SECOND] != seconds) {
        return tandem_error("%s: post_processor.%s: expected sequence A once and B %s", r->source, key,
                            seconds ? "once" : "nowhere");
    }
    return TANDEM_OK;
}

static int read_template_processing(reader *r, const cJSON *part)
{
    TANDEM_TRY(read_template(r, &r->processor->single, part, "single", 0));
    return read_template(r, &r->processor->pair, part, "pair", 1);
}

static const struct {
    const char *type;
    int (*read)(reader *r, const cJSON *part);
    bool specials;
} kinds[] = {
    {"TemplateProcessing", read_template_processing, true},
    {"BertProcessing", read_bert, true},
    {"RobertaProcessing", read_roberta, true},
    {"ByteLevel", read_byte_level, false},
};
enum { KINDS = sizeof kinds / sizeof kinds[0] };

static int read_part(void *context, const cJSON *part, size_t depth)
{
    reader *r = context;
    const char *names[KINDS + 2] = {NULL};
    for (size_t i = 0; i < KINDS; i++) {
        names[i] = kinds[i].type;
    }
    names[KINDS] = "Sequence";
    size_t row;
    TANDEM_TRY(tandem_part_type(part, "post_processor", names, r->source, &row));
    if (row == KINDS) {
        return tandem_part_each(part, "post_processor", "processors", r->source, depth, read_part, context);
    }
    if (kinds[row].specials && r->processor->made) {
        return tandem_error("%s: post_processor: two parts that add special tokens are not supported", r->source);
    }
    r->processor->made = r->processor->made || kinds[row].specials;
    return kinds[row].read(r, part);
}

int tandem_post_processor_read(tandem_post_processor *out, const cJSON *part, const char *source)
{
    reader r = {.processor = out, .source = source};
    TANDEM_TRY(part && !cJSON_IsNull(part) ? read_part(&r, part, 0) : TANDEM_OK);
    return out->made ? TANDEM_OK : set_plain(out);
}

void tandem_post_processor_clear(tandem_post_processor *processor)
{
    free(processor->single.pieces);
    free(processor->pair.pieces);
    free(processor->spaces);
}

static void hash_template(tandem_hasher *hasher, const tandem_template *template)
{
    tandem_hasher_int(hasher, (int64_t)template->count);
    for (size_t i = 0; i < template->count; i++) {
        tandem_hasher_int(hasher, template->pieces[i].kind);
        tandem_hasher_int(hasher, template->pieces[i].id);
        tandem_hasher_int(hasher, template->pieces[i].type_id);
    }
}

void tandem_post_processor_hash(const tandem_post_processor *processor, tandem_hasher *hasher)
{
    hash_template(hasher, &processor->single);
    hash_template(hasher, &processor->pair);
}

/* ---- trimmed offsets ------------------------------------------------------------------------ */
enum { BYTE_LEVEL_SPACE = 0x120 }; /* how ByteLevel writes a space */

static bool is_space(uint32_t c)
{
    return c == BYTE_LEVEL_SPACE || (tandem_unicode_find(c)->flags & TANDEM_UNICODE_SPACE) != 0;
}

tandem_token_spaces tandem_count_spaces(const char *text, size_t length)
{
    tandem_token_spaces spaces = {0, 0};
    uint32_t c;
    for (size_t at = 0; at < length; spaces.lead++) {
        at += tandem_unicode_decode(text + at, length - at, &c);
        if (!is_space(c)) {
            break;
        }
    }
    for (size_t at = length; at > 0; spaces.trail++) {
        at -= tandem_unicode_decode_before(text, at, &c);
        if (!is_space(c)) {
            break;
        }
    }
    return spaces;
}

int tandem_post_processor_set_spaces(tandem_post_processor *processor, const cJSON *vocab, size_t ids)
{
    processor->spaces = tandem_alloc(ids, sizeof *processor->spaces);
    if (!processor->spaces) {
        return TANDEM_ERROR;
    }
    for (const cJSON *item = vocab->child; item; item = item->next) {
        processor->spaces[(size_t)item->valuedouble] = tandem_count_spaces(item->string, strlen(item->string));
    }
    return TANDEM_OK;
}

static uint32_t smaller(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* process_offsets of the library's pre_tokenizers/byte_level.rs. */
static void trim_once(tandem_token_spaces spaces, bool keep_one, uint32_t *start, uint32_t *end)
{
    if (keep_one && spaces.lead == 1) {
        spaces.lead = 0;
    }
    *start = spaces.lead > 0 ? smaller(*start + spaces.lead, *end) : *start;
    if (spaces.trail > 0 && *end >= spaces.trail) {
        *end = *end - spaces.trail > *start ? *end - spaces.trail : *start;
    }
}

void tandem_trim_offsets(const tandem_post_processor *processor, tandem_token_spaces spaces, bool first,
                         uint32_t *start, uint32_t *end)
{
    for (size_t i = 0; i < processor->trims; i++) {
        trim_once(spaces, (first || *start == 0) && processor->add_prefix_space[i], start, end);
    }
}
