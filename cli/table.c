/* table.c - tables of text. */
#include "cli/table.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* ---- cells ------------------------------------------------------------------------------- */
static bool starts_character(char byte)
{
    return ((unsigned char)byte & 0xC0) != 0x80;
}

int table_cell(tandem_buffer *cells, const char *text, size_t limit)
{
    for (size_t characters = 0; *text; text++) {
        characters += starts_character(*text);
        if (limit > 0 && characters > limit) {
            TANDEM_TRY(tandem_buffer_puts(cells, "…"));
            break;
        }
        unsigned char byte = (unsigned char)*text;
        if (byte >= ' ' && byte != 0x7F) {
            TANDEM_TRY(tandem_buffer_append(cells, text, 1));
        } else {
            TANDEM_TRY(tandem_buffer_puts(cells, strchr("\t\n\v\f\r", byte) ? " " : "\xEF\xBF\xBD"));
        }
    }
    return tandem_buffer_puts(cells, "\n");
}

/* ---- markup --------------------------------------------------------------------------------- */
static int put_latex(tandem_buffer *out, const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        char byte = text[i];
        const char *name = byte == '\\'  ? "\\textbackslash{}"
                           : byte == '~' ? "\\textasciitilde{}"
                           : byte == '^' ? "\\textasciicircum{}"
                           : byte == '<' ? "\\textless{}"
                           : byte == '>' ? "\\textgreater{}"
                                         : NULL;
        if (name) {
            TANDEM_TRY(tandem_buffer_puts(out, name));
            continue;
        }
        if (strchr("&%$#_{}", byte)) {
            TANDEM_TRY(tandem_buffer_puts(out, "\\"));
        }
        TANDEM_TRY(tandem_buffer_append(out, &byte, 1));
    }
    return TANDEM_OK;
}

static int put_markdown(tandem_buffer *out, const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        /* A bracket alone is no markup; an interval keeps its own. */
        bool link = text[i] == ']' && i + 1 < length && text[i + 1] == '(';
        if (link || strchr("\\`*_<&|~", text[i])) {
            TANDEM_TRY(tandem_buffer_puts(out, "\\"));
        }
        TANDEM_TRY(tandem_buffer_append(out, &text[i], 1));
    }
    return TANDEM_OK;
}

static int put_markup(tandem_buffer *out, const char *text, size_t length, table_style style)
{
    return style == TABLE_LATEX      ? put_latex(out, text, length)
           : style == TABLE_MARKDOWN ? put_markdown(out, text, length)
                                     : tandem_buffer_append(out, text, length);
}

/* ---- layout ------------------------------------------------------------------------------------ */
typedef struct {
    const char *before, *between, *after;
} frame;

static const frame frames[] = {
    [TABLE_TEXT] = {"", "  ", "\n"}, [TABLE_MARKDOWN] = {"| ", " | ", " |\n"}, [TABLE_LATEX] = {"", " & ", " \\\\\n"}};

/* Characters, not bytes: a path may hold any. */
static size_t display_width(const char *text, size_t length)
{
    size_t width = 0;
    for (size_t i = 0; i < length; i++) {
        width += starts_character(text[i]);
    }
    return width;
}

static int put_cell(tandem_buffer *out, const char *cell, size_t length, size_t width, char align)
{
    size_t padding = width - display_width(cell, length);
    if (align == 'r') {
        TANDEM_TRY(tandem_buffer_printf(out, "%*s", (int)padding, ""));
    }
    TANDEM_TRY(tandem_buffer_append(out, cell, length));
    return align == 'r' ? TANDEM_OK : tandem_buffer_printf(out, "%*s", (int)padding, "");
}

/* Under the head: what the style has there. */
static int put_rule(tandem_buffer *out, const char *align, const size_t *widths, table_style style)
{
    if (style != TABLE_MARKDOWN) {
        return style == TABLE_LATEX ? tandem_buffer_puts(out, "\\midrule\n") : TANDEM_OK;
    }
    for (size_t c = 0; align[c]; c++) {
        TANDEM_TRY(tandem_buffer_puts(out, c ? " | " : "| "));
        for (size_t i = 0; i + 1 < widths[c] || i < 2; i++) {
            TANDEM_TRY(tandem_buffer_puts(out, i == 0 && align[c] == 'l' ? ":" : "-"));
        }
        TANDEM_TRY(tandem_buffer_puts(out, align[c] == 'r' ? ":" : "-"));
    }
    return tandem_buffer_puts(out, " |\n");
}

/* `escaped` holds cells as they appear. */
static int put_rows(tandem_buffer *out, const char *escaped, const char *align, size_t *widths, table_style style)
{
    size_t columns = strlen(align), i = 0;
    const char *end;
    for (const char *cell = escaped; (end = strchr(cell, '\n')); cell = end + 1, i++) {
        size_t width = display_width(cell, (size_t)(end - cell));
        widths[i % columns] = width > widths[i % columns] ? width : widths[i % columns];
    }
    i = 0;
    for (const char *cell = escaped; (end = strchr(cell, '\n')); cell = end + 1, i++) {
        size_t column = i % columns;
        bool last = column == columns - 1;
        TANDEM_TRY(tandem_buffer_puts(out, column ? frames[style].between : frames[style].before));
        /* Nothing is aligned by blanks at the end of a line. */
        size_t width = last && align[column] == 'l' && style == TABLE_TEXT ? 0 : widths[column];
        size_t length = (size_t)(end - cell);
        TANDEM_TRY(width ? put_cell(out, cell, length, width, align[column]) : tandem_buffer_append(out, cell, length));
        if (last) {
            TANDEM_TRY(tandem_buffer_puts(out, frames[style].after));
        }
        if (i == columns - 1) {
            TANDEM_TRY(put_rule(out, align, widths, style));
        }
    }
    return TANDEM_OK;
}

int table_put(tandem_buffer *out, const char *cells, const char *align, table_style style)
{
    tandem_buffer escaped = TANDEM_BUFFER_INIT;
    size_t *widths = tandem_alloc(strlen(align), sizeof *widths);
    int rc = widths ? TANDEM_OK : TANDEM_ERROR;
    const char *end;
    for (const char *cell = cells; rc >= 0 && (end = strchr(cell, '\n')); cell = end + 1) {
        rc = put_markup(&escaped, cell, (size_t)(end - cell), style);
        rc = rc < 0 ? rc : tandem_buffer_puts(&escaped, "\n");
    }
    if (rc >= 0 && style == TABLE_LATEX) {
        rc = tandem_buffer_printf(out, "\\begin{tabular}{%s}\n\\toprule\n", align);
    }
    rc = rc < 0 ? rc : put_rows(out, escaped.data, align, widths, style);
    if (rc >= 0 && style == TABLE_LATEX) {
        rc = tandem_buffer_puts(out, "\\bottomrule\n\\end{tabular}\n");
    }
    tandem_buffer_free(&escaped);
    free(widths);
    return rc;
}

int table_heading(tandem_buffer *out, const char *text, table_style style)
{
    size_t length = strcspn(text, "\n");
    TANDEM_TRY(tandem_buffer_puts(out, style == TABLE_LATEX ? "\n% " : "\n"));
    TANDEM_TRY(put_markup(out, text, length, style));
    return tandem_buffer_puts(out, style == TABLE_MARKDOWN ? "\n\n" : "\n");
}
