/* markup.c - tags and texts, from a window of the lines read so far. */
#include "data/markup.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "data/checked_lines.h"
#include "data/unicode.h"
#include "tandem/file.h"
#include "tandem/memory.h"

/* A "<" whose ">" is not within so many bytes begins no tag. */
enum { TAG_LIMIT = 4096 };

struct tandem_markup {
    tandem_lines *lines;
    tandem_buffer window; /* lines with their "\n", from `at` on not yet given */
    size_t at, line;      /* `line` is that of window.data[at] */
    tandem_buffer text;   /* of the token last given */
    bool ended;
    bool closes; /* the tag last given was <name/>: its end comes next */
};

int tandem_markup_open(tandem_markup **out, const char *path)
{
    tandem_markup *markup = tandem_alloc(1, sizeof *markup);
    if (!markup) {
        return TANDEM_ERROR;
    }
    markup->line = 1;
    int rc = tandem_lines_open(&markup->lines, path);
    if (rc < 0) {
        tandem_markup_close(markup);
        return rc;
    }
    *out = markup;
    return TANDEM_OK;
}

void tandem_markup_close(tandem_markup *markup)
{
    if (markup) {
        tandem_lines_close(markup->lines);
        tandem_buffer_free(&markup->window);
        tandem_buffer_free(&markup->text);
        free(markup);
    }
}

/* ---- the window ------------------------------------------------------------------------ */
static int read_line(tandem_markup *markup)
{
    char *line;
    size_t length;
    int rc = tandem_checked_lines_next(markup->lines, &line, &length);
    if (rc <= 0) {
        markup->ended = true;
        return rc;
    }
    if (markup->at > 0) {
        size_t left = markup->window.length - markup->at;
        memmove(markup->window.data, markup->window.data + markup->at, left);
        markup->window.length = left;
        markup->at = 0;
    }
    TANDEM_TRY(tandem_buffer_append(&markup->window, line, length));
    return tandem_buffer_append(&markup->window, "\n", 1);
}

static const char *rest(const tandem_markup *markup)
{
    return markup->window.data + markup->at;
}

static void skip(tandem_markup *markup, size_t length)
{
    const char *from = rest(markup), *end = from + length;
    while ((from = memchr(from, '\n', (size_t)(end - from))) != NULL) {
        markup->line++;
        from++;
    }
    markup->at += length;
}

/* Puts the distance to the next `mark` into *distance, reading on as long as it takes. */
static int find_mark(tandem_markup *markup, const char *mark, const char *what, size_t *distance)
{
    size_t searched = 0, line = markup->line, size = strlen(mark);
    for (;;) {
        const char *found = strstr(rest(markup) + searched, mark);
        if (found) {
            *distance = (size_t)(found - rest(markup));
            return TANDEM_OK;
        }
        size_t length = markup->window.length - markup->at;
        searched = length < size ? 0 : length - size + 1;
        TANDEM_TRY(read_line(markup));
        if (markup->ended) {
            return tandem_error("%s:%zu: the %s that begins here is not closed", tandem_lines_path(markup->lines), line,
                                what);
        }
    }
}

/* ---- entities --------------------------------------------------------------------------- */
/* XML's five, and those that TREC's news collections have most. */
static const struct {
    const char *name, *text;
} entities[] = {
    {"amp", "&"},  {"lt", "<"},          {"gt", ">"},   {"quot", "\""},
    {"apos", "'"}, {"nbsp", "\xC2\xA0"}, {"hyph", "-"}, {"blank", " "},
};

/* "#233" or "#xE9" as UTF-8; 0 when it is no character. */
static size_t decode_number(const char *name, size_t length, char out[4])
{
    bool hexadecimal = length > 1 && (name[1] == 'x' || name[1] == 'X');
    const char *digits = name + (hexadecimal ? 2 : 1);
    char *end;
    if (!strchr("0123456789abcdefABCDEF", digits[0])) {
        return 0; /* strtoul would take signs and blanks */
    }
    unsigned long code = strtoul(digits, &end, hexadecimal ? 16 : 10);
    bool character = code > 0 && code <= 0x10FFFF && (code < 0xD800 || code > 0xDFFF);
    return end == name + length && character ? tandem_unicode_encode((uint32_t)code, out) : 0;
}

/* Appends what "&name;" at the start of `text` stands for; returns its bytes in the text, or 0
 * when it is no entity that is known. */
static int decode_entity(tandem_buffer *out, const char *text, size_t *taken)
{
    size_t length = strcspn(text + 1, "; \t\n<&");
    *taken = 0;
    if (text[1 + length] != ';' || length == 0) {
        return TANDEM_OK;
    }
    if (text[1] == '#') {
        char bytes[4];
        size_t size = decode_number(text + 1, length, bytes);
        *taken = size > 0 ? length + 2 : 0;
        return tandem_buffer_append(out, bytes, size);
    }
    for (size_t i = 0; i < sizeof entities / sizeof *entities; i++) {
        if (strlen(entities[i].name) == length && strncasecmp(entities[i].name, text + 1, length) == 0) {
            *taken = length + 2;
            return tandem_buffer_puts(out, entities[i].text);
        }
    }
    return TANDEM_OK;
}

/* ---- tokens ------------------------------------------------------------------------------ */
static int give_text(tandem_markup *markup, tandem_markup_token *token)
{
    token->kind = TANDEM_MARKUP_TEXT;
    token->text = markup->text.data;
    token->length = markup->text.length;
    return TANDEM_OK;
}

/* Text up to the next "<", or to the end of the window. */
static int read_text(tandem_markup *markup, tandem_markup_token *token)
{
    const char *text = rest(markup);
    size_t end = *text == '<' ? 1 : 0; /* one that begins no tag */
    TANDEM_TRY(tandem_buffer_append(&markup->text, text, end));
    while (text[end] && text[end] != '<') {
        size_t plain = strcspn(text + end, "<&"), taken;
        TANDEM_TRY(tandem_buffer_append(&markup->text, text + end, plain));
        end += plain;
        if (text[end] == '&') {
            TANDEM_TRY(decode_entity(&markup->text, text + end, &taken));
            TANDEM_TRY(taken > 0 ? TANDEM_OK : tandem_buffer_append(&markup->text, "&", 1));
            end += taken > 0 ? taken : 1;
        }
    }
    skip(markup, end);
    return give_text(markup, token);
}

static int read_cdata(tandem_markup *markup, tandem_markup_token *token)
{
    const size_t opening = strlen("<![CDATA[");
    size_t length;
    TANDEM_TRY(find_mark(markup, "]]>", "CDATA section", &length));
    TANDEM_TRY(tandem_buffer_append(&markup->text, rest(markup) + opening, length - opening));
    skip(markup, length + 3);
    return give_text(markup, token);
}

/* A declaration, whose internal subset holds declarations in its turn. */
static int skip_declaration(tandem_markup *markup)
{
    size_t length, bracket;
    TANDEM_TRY(find_mark(markup, ">", "declaration", &length));
    bracket = strcspn(rest(markup), "[>");
    if (rest(markup)[bracket] == '[') {
        TANDEM_TRY(find_mark(markup, "]>", "declaration", &length));
        length++;
    }
    skip(markup, length + 1);
    return TANDEM_OK;
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

/* Distance to the ">" of the tag at the window's start, 0 when it is none; a ">" between
 * quotation marks is not its end. */
static size_t tag_end(const char *text)
{
    char quote = '\0';
    for (size_t i = 1; text[i] && i < TAG_LIMIT; i++) {
        if (quote) {
            quote = text[i] == quote ? '\0' : quote;
        } else if ((text[i] == '"' || text[i] == '\'') && text[i - 1] == '=') {
            quote = text[i];
        } else if (text[i] == '>' || text[i] == '<') {
            return text[i] == '>' ? i : 0;
        }
    }
    return 0;
}

/* The tag at the start of the window; 0 when it is none. */
static int read_tag(tandem_markup *markup, tandem_markup_token *token)
{
    size_t length;
    while ((length = tag_end(rest(markup))) == 0) {
        size_t open = strcspn(rest(markup) + 1, "<>") + 1;
        if (rest(markup)[open] == '<' || markup->window.length - markup->at >= TAG_LIMIT || markup->ended) {
            return 0;
        }
        TANDEM_TRY(read_line(markup));
    }
    const char *tag = rest(markup);
    bool closing = tag[1] == '/';
    markup->closes = !closing && tag[length - 1] == '/';
    size_t begin = closing ? 2 : 1, end = length - (markup->closes ? 1 : 0);
    TANDEM_TRY(tandem_buffer_append(&markup->text, tag + begin, end - begin));
    size_t name = strcspn(markup->text.data, " \t\n");
    token->kind = closing ? TANDEM_MARKUP_CLOSE : TANDEM_MARKUP_OPEN;
    token->attributes = markup->text.data + name + (markup->text.data[name] ? 1 : 0);
    markup->text.data[name] = '\0';
    token->text = markup->text.data;
    token->length = name;
    skip(markup, length + 1);
    return 1;
}

/* 1 with a token, 0 when something was skipped. */
static int read_markup(tandem_markup *markup, tandem_markup_token *token)
{
    const char *text = rest(markup);
    if (strncmp(text, "<!--", 4) == 0) {
        size_t length;
        TANDEM_TRY(find_mark(markup, "-->", "comment", &length));
        skip(markup, length + 3);
        return 0;
    }
    if (strncmp(text, "<![CDATA[", 9) == 0) {
        TANDEM_TRY(read_cdata(markup, token));
        return 1;
    }
    if ((text[0] == '<' && text[1] == '?') || (text[0] == '<' && text[1] == '!' && is_letter(text[2]))) {
        TANDEM_TRY(skip_declaration(markup));
        return 0;
    }
    if (text[0] == '<' && is_letter(text[text[1] == '/' ? 2 : 1])) {
        int rc = read_tag(markup, token);
        if (rc != 0) {
            return rc;
        }
    }
    TANDEM_TRY(read_text(markup, token));
    return 1;
}

int tandem_markup_next(tandem_markup *markup, tandem_markup_token *token)
{
    *token = (tandem_markup_token){
        .kind = TANDEM_MARKUP_END, .text = markup->text.data, .line = markup->line, .attributes = ""};
    if (markup->closes) { /* the name still stands in `text` */
        markup->closes = false;
        token->kind = TANDEM_MARKUP_CLOSE;
        token->length = strlen(token->text);
        return TANDEM_OK;
    }
    for (int rc = 0; rc == 0;) {
        tandem_buffer_clear(&markup->text);
        if (markup->at == markup->window.length && !markup->ended) {
            TANDEM_TRY(read_line(markup));
        }
        if (markup->at == markup->window.length) {
            token->line = markup->line;
            return TANDEM_OK;
        }
        token->line = markup->line;
        TANDEM_TRY(rc = read_markup(markup, token));
    }
    return TANDEM_OK;
}

/* ---- what callers ask ------------------------------------------------------------------------ */
bool tandem_markup_is(const tandem_markup_token *token, tandem_markup_kind kind, const char *name)
{
    return token->kind == kind && strcasecmp(token->text, name) == 0;
}

const char *tandem_markup_attribute(const char *attributes, const char *name, size_t *length)
{
    for (const char *at = attributes; *at;) {
        at += strspn(at, " \t\n");
        size_t key = strcspn(at, " \t\n=");
        const char *value = at + key + strspn(at + key, " \t\n");
        bool wanted = key == strlen(name) && strncasecmp(at, name, key) == 0;
        if (*value != '=') {
            at = value;
            continue;
        }
        value += 1 + strspn(value + 1, " \t\n");
        bool quoted = *value == '"' || *value == '\'';
        const char quote[2] = {*value, '\0'};
        value += quoted ? 1 : 0;
        *length = strcspn(value, quoted ? quote : " \t\n");
        if (wanted) {
            return value;
        }
        at = value + *length;
        at += quoted && *at ? 1 : 0;
    }
    return NULL;
}
