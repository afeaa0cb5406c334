/* graphemes.c - where grapheme clusters end; the rules' names are those of Annex #29. */
#include "data/graphemes.h"

#include <stdbool.h>

#include "data/unicode.h"

/* Grapheme_Cluster_Break, as scripts/generate_unicode.py numbers it. The last two have no break
 * property of their own: emoji, and the consonants of conjuncts. */
enum {
    OTHER,
    CONTROL,
    CR,
    LF,
    EXTEND,
    ZWJ,
    SPACING,
    PREPEND,
    REGIONAL,
    HANGUL_L,
    HANGUL_V,
    HANGUL_T,
    HANGUL_LV,
    HANGUL_LVT,
    PICTURE,
    CONSONANT,
    KIND_MASK = 15,
    CONJOINS = 16, /* Indic_Conjunct_Break is Extend or Linker */
    LINKS = 32     /* Linker */
};

/* What of a cluster decides whether it goes on. */
typedef struct {
    unsigned before; /* kind of the last code point */
    bool odd_regional;
    bool picture, joined; /* it ends in a picture and extenders; and in a joiner after them */
    bool consonant, linked; /* it ends in a consonant and conjoiners; and one of them links */
} cluster_state;

static unsigned break_class(uint32_t c)
{
    size_t block = tandem_unicode_break_stage[c >> 8];
    return tandem_unicode_break_blocks[block << 8 | (c & 0xFF)];
}

static bool is_control(unsigned kind)
{
    return kind == CONTROL || kind == CR || kind == LF;
}

static bool hangul_goes_on(unsigned before, unsigned kind)
{
    switch (before) {
    case HANGUL_L: /* GB6 */
        return kind == HANGUL_L || kind == HANGUL_V || kind == HANGUL_LV || kind == HANGUL_LVT;
    case HANGUL_V: /* GB7 */
    case HANGUL_LV:
        return kind == HANGUL_V || kind == HANGUL_T;
    case HANGUL_T: /* GB8 */
    case HANGUL_LVT:
        return kind == HANGUL_T;
    default:
        return false;
    }
}

static bool goes_on(const cluster_state *state, unsigned kind)
{
    if (is_control(state->before) || is_control(kind)) { /* GB3 to GB5 */
        return state->before == CR && kind == LF;
    }
    if (kind == EXTEND || kind == ZWJ || kind == SPACING || state->before == PREPEND) { /* GB9, GB9a, GB9b */
        return true;
    }
    return hangul_goes_on(state->before, kind) || (kind == CONSONANT && state->linked) || /* GB9c */
           (kind == PICTURE && state->joined) ||                                          /* GB11 */
           (kind == REGIONAL && state->odd_regional);                                     /* GB12, GB13 */
}

static void take(cluster_state *state, unsigned class)
{
    unsigned kind = class & KIND_MASK;
    state->before = kind;
    state->odd_regional = kind == REGIONAL && !state->odd_regional;
    state->joined = kind == ZWJ && state->picture;
    state->picture = kind == PICTURE || (kind == EXTEND && state->picture);
    state->consonant = kind == CONSONANT || (class & CONJOINS && state->consonant);
    state->linked = kind != CONSONANT && state->consonant && (state->linked || class & LINKS);
}

size_t tandem_grapheme_length(const uint32_t *chars, size_t count)
{
    cluster_state state = {.before = OTHER};
    size_t length = 1;
    for (take(&state, break_class(chars[0])); length < count; length++) {
        unsigned class = break_class(chars[length]);
        if (!goes_on(&state, class & KIND_MASK)) {
            break;
        }
        take(&state, class);
    }
    return length;
}
