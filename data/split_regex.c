/* split_regex.c - from Oniguruma's syntax to PCRE2's, and the search. */
#include "data/split_regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "data/unicode.h"
#include "tandem/memory.h"

enum {
    CODE_POINTS = 0x110000,
    BLOCK = 256, /* of the tables */
    MATCH_STEPS = 1000000, /* backtracking steps from one start; sound expressions take a few a byte */
    MATCH_KIB = 65536      /* memory for them */
};

/* ---- sets of code points -------------------------------------------------------------------- */
#define ONE(short_name, long_name) {#short_name, long_name, TANDEM_CATEGORY_BIT(short_name)}

/* General categories, as Oniguruma names them. */
static const struct {
    const char *short_name, *long_name;
    uint32_t categories;
} properties[] = {
    {"L", "letter", TANDEM_CATEGORIES_L},
    {"M", "mark", TANDEM_CATEGORIES_M},
    {"N", "number", TANDEM_CATEGORIES_N},
    {"P", "punctuation", TANDEM_CATEGORIES_P},
    {"S", "symbol", TANDEM_CATEGORIES_S},
    {"Z", "separator", TANDEM_CATEGORIES_Z},
    {"C", "other", TANDEM_CATEGORIES_C},
    ONE(LU, "uppercaseletter"),
    ONE(LL, "lowercaseletter"),
    ONE(LT, "titlecaseletter"),
    ONE(LM, "modifierletter"),
    ONE(LO, "otherletter"),
    ONE(MN, "nonspacingmark"),
    ONE(MC, "spacingmark"),
    ONE(ME, "enclosingmark"),
    ONE(ND, "decimalnumber"),
    ONE(NL, "letternumber"),
    ONE(NO, "othernumber"),
    ONE(PC, "connectorpunctuation"),
    ONE(PD, "dashpunctuation"),
    ONE(PS, "openpunctuation"),
    ONE(PE, "closepunctuation"),
    ONE(PI, "initialpunctuation"),
    ONE(PF, "finalpunctuation"),
    ONE(PO, "otherpunctuation"),
    ONE(SM, "mathsymbol"),
    ONE(SC, "currencysymbol"),
    ONE(SK, "modifiersymbol"),
    ONE(SO, "othersymbol"),
    ONE(ZS, "spaceseparator"),
    ONE(ZL, "lineseparator"),
    ONE(ZP, "paragraphseparator"),
    ONE(CC, "control"),
    ONE(CF, "format"),
    ONE(CO, "privateuse"),
    ONE(CN, "unassigned"),
};

bool tandem_char_set_has(const tandem_char_set *set, uint32_t c)
{
    const tandem_unicode_record *record = tandem_unicode_find(c);
    bool member = (set->categories >> record->category & 1) || (set->flags & record->flags) ||
                  (set->literal && c == set->literal) ||
                  (set->latin_numbers && c < 256 && record->category == TANDEM_CATEGORY_NO);
    return member != set->negated;
}

static bool is_alphanumeric(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

/* Oniguruma disregards case, spaces, "-" and "_". */
static bool same_name(const char *name, const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (text[i] == ' ' || text[i] == '-' || text[i] == '_') {
            continue;
        }
        if (*name == '\0' || lower(*name++) != lower(text[i])) {
            return false;
        }
    }
    return *name == '\0';
}

/* The name in \p{name} or \p{^name}: the bytes of it all, or 0. */
static size_t property_name(const char *text, size_t length, const char **name, size_t *name_length, bool *negated)
{
    if (length < 4 || (text[1] != 'p' && text[1] != 'P') || text[2] != '{') {
        return 0;
    }
    const char *close = memchr(text, '}', length);
    *negated = (text[1] == 'P') != (text[3] == '^');
    *name = text + 3 + (text[3] == '^');
    *name_length = close ? (size_t)(close - *name) : 0;
    return close ? (size_t)(close - text) + 1 : 0;
}

size_t tandem_char_set_read(tandem_char_set *set, const char *text, size_t length, bool in_brackets)
{
    *set = (tandem_char_set){0};
    if (length < 2 || text[0] != '\\') {
        return 0;
    }
    set->negated = text[1] >= 'A' && text[1] <= 'Z';
    switch (lower(text[1])) {
    case 's':
        set->flags = TANDEM_UNICODE_SPACE;
        return 2;
    case 'd':
        set->categories = TANDEM_CATEGORY_BIT(ND);
        return 2;
    case 'w':
        set->flags = TANDEM_UNICODE_REGEX_WORD;
        set->latin_numbers = !in_brackets;
        return 2;
    default:
        break;
    }
    const char *name;
    size_t name_length, size = property_name(text, length, &name, &name_length, &set->negated);
    for (size_t i = 0; size > 0 && i < sizeof properties / sizeof *properties; i++) {
        if (same_name(properties[i].short_name, name, name_length) ||
            same_name(properties[i].long_name, name, name_length)) {
            set->categories = properties[i].categories;
            return size;
        }
    }
    return 0;
}

/* ---- translation ------------------------------------------------------------------------------ */
typedef struct {
    const char *text;
    size_t length, at;
    const char *source;
    tandem_buffer out;
    uint8_t *members; /* [CODE_POINTS] 1 for those in the class that is read */
} translation;

static int refuse(const translation *t, const char *what)
{
    return tandem_error("%s: regular expression \"%.*s\", byte %zu: %s is not supported", t->source,
                        (int)(t->length < 200 ? t->length : 200), t->text, t->at, what);
}

static char peek(const translation *t, size_t ahead)
{
    return t->length - t->at > ahead ? t->text[t->at + ahead] : '\0';
}

static bool starts_with(const translation *t, const char *prefix)
{
    size_t length = strlen(prefix);
    return t->length - t->at >= length && memcmp(t->text + t->at, prefix, length) == 0;
}

static int copy(translation *t, size_t bytes)
{
    size_t from = t->at;
    t->at += bytes;
    return tandem_buffer_append(&t->out, t->text + from, bytes);
}

/* Blocks of 256 that follow each other are often the same, and then asked about once. */
static void add_set(translation *t, const tandem_char_set *set)
{
    bool same[BLOCK];
    for (uint32_t block = 0; block < CODE_POINTS / BLOCK; block++) {
        bool known = block > 1 && tandem_unicode_record_stage[block] == tandem_unicode_record_stage[block - 1];
        for (uint32_t i = 0; i < BLOCK && !known; i++) {
            same[i] = tandem_char_set_has(set, block * BLOCK + i);
        }
        for (uint32_t i = 0; i < BLOCK; i++) {
            t->members[block * BLOCK + i] |= same[i];
        }
    }
}

/* The members as ranges, for between brackets. */
static int write_members(translation *t)
{
    memset(t->members + 0xD800, 0, 0xE000 - 0xD800); /* surrogates are no characters */
    const uint8_t *members = t->members, *end = members + CODE_POINTS, *first, *after = members;
    while ((first = memchr(after, 1, (size_t)(end - after)))) {
        after = memchr(first, 0, (size_t)(end - first));
        after = after ? after : end;
        TANDEM_TRY(tandem_buffer_printf(&t->out, "\\x{%tX}-\\x{%tX}", first - members, after - 1 - members));
    }
    return TANDEM_OK;
}

static int write_set(translation *t, const tandem_char_set *set)
{
    memset(t->members, 0, CODE_POINTS);
    add_set(t, set);
    TANDEM_TRY(tandem_buffer_puts(&t->out, "["));
    TANDEM_TRY(write_members(t));
    return tandem_buffer_puts(&t->out, "]");
}

/* \xHH, \x{H..} or \uHHHH: its code point and its bytes, or 0 of them. */
static size_t read_hex(const translation *t, uint32_t *c)
{
    bool braces = starts_with(t, "\\x{"), four = starts_with(t, "\\u");
    size_t begin = t->at + (braces ? 3 : 2), most = braces ? 6 : four ? 4 : 2, at = begin;
    for (*c = 0; at < t->length && at - begin < most; at++) {
        char digit = lower(t->text[at]);
        bool letter = digit >= 'a' && digit <= 'f';
        if (!letter && !(digit >= '0' && digit <= '9')) {
            break;
        }
        *c = *c << 4 | (uint32_t)(letter ? digit - 'a' + 10 : digit - '0');
    }
    bool complete = braces ? at > begin && at < t->length && t->text[at] == '}' : at - begin == most;
    bool scalar = *c < CODE_POINTS && !(*c >= 0xD800 && *c < 0xE000);
    bool byte = !braces && !four && *c >= 0x80; /* to Oniguruma, a byte of UTF-8 */
    return complete && scalar && !byte ? at - t->at + (braces ? 1 : 0) : 0;
}

/* One character, escaped or not, moving past it. */
static int read_character(translation *t, uint32_t *c)
{
    static const char names[] = "tnrfvae", values[] = "\t\n\r\f\v\a\033";
    if (peek(t, 0) != '\\') {
        t->at += tandem_unicode_decode(t->text + t->at, t->length - t->at, c);
        return TANDEM_OK;
    }
    char escaped = peek(t, 1);
    const char *name = escaped ? strchr(names, escaped) : NULL;
    size_t size = 2;
    *c = (uint32_t)(name ? values[name - names] : escaped);
    if (escaped == 'x' || escaped == 'u') {
        size = read_hex(t, c);
    } else if (!name && (escaped < ' ' || (unsigned char)escaped >= 0x80 || is_alphanumeric(escaped))) {
        size = 0;
    }
    if (size == 0) {
        return refuse(t, "this escape");
    }
    t->at += size;
    return TANDEM_OK;
}

static int write_character(translation *t, uint32_t c)
{
    return tandem_buffer_printf(&t->out, "\\x{%X}", c);
}

/* \p{Han} and the like, which are PCRE2's: 1 when there was one. */
static int translate_script(translation *t)
{
    const char *name;
    size_t length;
    bool negated;
    size_t size = property_name(t->text + t->at, t->length - t->at, &name, &length, &negated);
    if (size == 0) {
        return 0;
    }
    for (size_t i = 0; i < length; i++) {
        if (!is_alphanumeric(name[i]) && name[i] != '_') {
            return refuse(t, "this property");
        }
    }
    TANDEM_TRY(tandem_buffer_printf(&t->out, "\\%c{sc:%.*s}", negated ? 'P' : 'p', (int)length, name));
    t->at += size;
    return 1;
}

static int translate_class(translation *t)
{
    memset(t->members, 0, CODE_POINTS);
    t->at++;
    bool negated = peek(t, 0) == '^';
    t->at += negated;
    if (peek(t, 0) == ']') {
        return refuse(t, "] at the start of a class");
    }
    TANDEM_TRY(tandem_buffer_puts(&t->out, negated ? "[^" : "["));
    while (t->at < t->length && peek(t, 0) != ']') {
        tandem_char_set set;
        if (peek(t, 0) == '[' || starts_with(t, "&&")) {
            return refuse(t, "a class within a class");
        }
        size_t size = tandem_char_set_read(&set, t->text + t->at, t->length - t->at, true);
        if (size > 0) {
            t->at += size;
            add_set(t, &set);
            continue;
        }
        int script = translate_script(t);
        if (script != 0) {
            TANDEM_TRY(script);
            continue;
        }
        uint32_t first, last;
        TANDEM_TRY(read_character(t, &first));
        last = first;
        if (peek(t, 0) == '-' && peek(t, 1) != ']' && t->length - t->at > 1) {
            t->at++;
            if (tandem_char_set_read(&set, t->text + t->at, t->length - t->at, true) > 0 || peek(t, 0) == '[') {
                return refuse(t, "a range that ends in a class");
            }
            TANDEM_TRY(read_character(t, &last));
        }
        if (last < first) {
            return refuse(t, "a range that goes backwards");
        }
        memset(t->members + first, true, last - first + 1);
    }
    if (t->at == t->length) {
        return refuse(t, "a class without an end");
    }
    t->at++;
    TANDEM_TRY(write_members(t));
    return tandem_buffer_puts(&t->out, "]");
}

/* \b is where a word character and another or none meet. */
static int translate_boundary(translation *t)
{
    static const char *const parts[] = {"(?:(?<=", ")(?!", ")|(?<!", ")(?=", "))"};
    bool inside = peek(t, 1) == 'B';
    tandem_char_set word;
    tandem_char_set_read(&word, "\\w", 2, false);
    for (size_t i = 0; i < 4; i++) { /* \B is where two of a kind meet */
        bool other = i == 1 || i == 3;
        TANDEM_TRY(tandem_buffer_puts(&t->out, inside && other ? (i == 1 ? ")(?=" : ")(?!") : parts[i]));
        TANDEM_TRY(write_set(t, &word));
    }
    t->at += 2;
    return tandem_buffer_puts(&t->out, parts[4]);
}

static int translate_escape(translation *t)
{
    tandem_char_set set;
    size_t size = tandem_char_set_read(&set, t->text + t->at, t->length - t->at, false);
    if (size > 0) {
        t->at += size;
        return write_set(t, &set);
    }
    switch (peek(t, 1)) {
    case 'A':
    case 'z':
    case 'Z':
        return copy(t, 2);
    case 'b':
    case 'B':
        return translate_boundary(t);
    default:
        break;
    }
    int script = translate_script(t);
    if (script != 0) {
        return script < 0 ? script : TANDEM_OK;
    }
    uint32_t c;
    TANDEM_TRY(read_character(t, &c));
    return write_character(t, c);
}

/* The start of a group, up to where its expression begins. */
static int translate_group(translation *t)
{
    static const char *const same[] = {"(?:", "(?=", "(?!", "(?>", "(?<=", "(?<!", "(?i:", "(?-i:"};
    if (starts_with(t, "(*")) {
        return refuse(t, "(*");
    }
    if (peek(t, 1) != '?') {
        return copy(t, 1);
    }
    if (t->at == 0 && starts_with(t, "(?i)")) { /* elsewhere it would reach less far in Ruby */
        return copy(t, 4);
    }
    if (starts_with(t, "(?m:")) {
        t->at += 4;
        return tandem_buffer_puts(&t->out, "(?s:");
    }
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        if (starts_with(t, same[i])) {
            return copy(t, strlen(same[i]));
        }
    }
    return refuse(t, "this group");
}

/* {n}, {n,}, {,m} or {n,m}; anything else is a brace. */
static int translate_brace(translation *t)
{
    size_t at = t->at + 1, digits = 0;
    bool comma = false;
    for (; at < t->length && t->text[at] != '}'; at++) {
        bool digit = t->text[at] >= '0' && t->text[at] <= '9';
        if (!digit && (comma || t->text[at] != ',')) {
            break;
        }
        digits += digit;
        comma = comma || !digit;
    }
    if (at == t->length || t->text[at] != '}' || digits == 0) {
        t->at++;
        return tandem_buffer_puts(&t->out, "\\{");
    }
    char after = at + 1 < t->length ? t->text[at + 1] : '\0';
    if (after == '+' || (after == '?' && !comma)) {
        return refuse(t, "a repeat of a repeat");
    }
    TANDEM_TRY(tandem_buffer_puts(&t->out, peek(t, 1) == ',' ? "{0" : "{"));
    t->at++;
    return copy(t, at + 1 - t->at);
}

static int translate(translation *t)
{
    while (t->at < t->length) {
        switch (peek(t, 0)) {
        case '\\':
            TANDEM_TRY(translate_escape(t));
            break;
        case '[':
            TANDEM_TRY(translate_class(t));
            break;
        case '(':
            TANDEM_TRY(translate_group(t));
            break;
        case '{':
            TANDEM_TRY(translate_brace(t));
            break;
        default:
            TANDEM_TRY(copy(t, 1));
        }
    }
    return TANDEM_OK;
}

/* ---- search ----------------------------------------------------------------------------------- */
struct tandem_regex {
    char *description; /* for messages */
    pcre2_code *code;
    pcre2_match_context *limits;
};

/* A thread's match data, which all expressions share: only the whole match is asked for. */
static pthread_key_t match_data_key;
static bool has_match_data_key;
static pthread_once_t match_data_once = PTHREAD_ONCE_INIT;

static void free_match_data(void *data)
{
    pcre2_match_data_free(data);
}

static void make_match_data_key(void)
{
    has_match_data_key = pthread_key_create(&match_data_key, free_match_data) == 0;
}

static pcre2_match_data *match_data(void)
{
    pthread_once(&match_data_once, make_match_data_key);
    if (!has_match_data_key) {
        return NULL;
    }
    pcre2_match_data *data = pthread_getspecific(match_data_key);
    if (!data && (data = pcre2_match_data_create(1, NULL)) && pthread_setspecific(match_data_key, data) != 0) {
        pcre2_match_data_free(data);
        data = NULL;
    }
    return data;
}

static int compile(tandem_regex *regex, const tandem_buffer *pattern)
{
    int code;
    size_t at;
    unsigned char message[256];
    pcre2_compile_context *context = pcre2_compile_context_create(NULL);
    regex->limits = pcre2_match_context_create(NULL);
    if (!context || !regex->limits) {
        pcre2_compile_context_free(context);
        return tandem_error("out of memory");
    }
    pcre2_set_newline(context, PCRE2_NEWLINE_LF);
    pcre2_set_match_limit(regex->limits, MATCH_STEPS);
    pcre2_set_heap_limit(regex->limits, MATCH_KIB);
    regex->code = pcre2_compile((PCRE2_SPTR)pattern->data, pattern->length, PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE,
                                &code, &at, context);
    pcre2_compile_context_free(context);
    if (!regex->code) {
        pcre2_get_error_message(code, message, sizeof message);
        return tandem_error("%s: %s", regex->description, (const char *)message);
    }
    pcre2_jit_compile(regex->code, PCRE2_JIT_COMPLETE); /* where it cannot, matching is slower */
    return TANDEM_OK;
}

int tandem_regex_new(tandem_regex **out, const char *text, size_t length, const char *source)
{
    *out = NULL;
    translation t = {.text = text, .length = length, .source = source, .members = tandem_alloc(CODE_POINTS, 1)};
    tandem_regex *regex = tandem_alloc(1, sizeof *regex);
    tandem_buffer description = TANDEM_BUFFER_INIT;
    int rc = TANDEM_ERROR;
    if (!t.members || !regex) {
        goto done;
    }
    TANDEM_TRY_GOTO(rc, done, tandem_buffer_printf(&description, "%s: regular expression \"", source));
    TANDEM_TRY_GOTO(rc, done, tandem_buffer_append(&description, text, length < 200 ? length : 200));
    TANDEM_TRY_GOTO(rc, done, tandem_buffer_puts(&description, "\""));
    regex->description = tandem_buffer_take(&description);
    TANDEM_TRY_GOTO(rc, done, translate(&t));
    TANDEM_TRY_GOTO(rc, done, compile(regex, &t.out));
    *out = regex;
    regex = NULL;
done:
    free(t.members);
    tandem_buffer_free(&t.out);
    tandem_buffer_free(&description);
    tandem_regex_free(regex);
    return rc;
}

void tandem_regex_free(tandem_regex *regex)
{
    if (regex) {
        free(regex->description);
        pcre2_code_free(regex->code);
        pcre2_match_context_free(regex->limits);
        free(regex);
    }
}

int tandem_regex_search(const tandem_regex *regex, const char *text, size_t length, size_t from, size_t *begin,
                        size_t *end)
{
    pcre2_match_data *data = match_data();
    if (!data) {
        return tandem_error("out of memory");
    }
    int rc = pcre2_match(regex->code, (PCRE2_SPTR)text, length, from, PCRE2_NO_UTF_CHECK, data, regex->limits);
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT) { /* the interpreter's stack is the heap */
        rc = pcre2_match(regex->code, (PCRE2_SPTR)text, length, from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, data,
                         regex->limits);
    }
    if (rc == PCRE2_ERROR_NOMATCH) {
        return 0;
    }
    if (rc < 0) {
        unsigned char message[256];
        pcre2_get_error_message(rc, message, sizeof message);
        return tandem_error("%s: at byte %zu of a text: %s", regex->description, from, (const char *)message);
    }
    const size_t *found = pcre2_get_ovector_pointer(data);
    *begin = found[0];
    *end = found[1];
    return 1;
}
