/* help.c - the pages of the commands, made from their tables. */
#include <string.h>

#include "cli/cli.h"
#include "tandem/machine.h"

#define TANDEM_PURPOSE "fine-tunes, measures and ships bi-encoders and cross-encoders for search"

enum { COLUMN = 28, WIDTH = 92 };

/* Appends `text`, broken between words so that lines that begin at `column` end
 * before WIDTH. */
static int put_wrapped(tandem_buffer *out, const char *text, size_t column)
{
    size_t at = column;
    while (*text) {
        size_t length = strcspn(text, " ");
        if (at > column && at + 1 + length > WIDTH) {
            TANDEM_TRY(tandem_buffer_printf(out, "\n%*s", (int)column, ""));
            at = column;
        } else if (at > column) {
            TANDEM_TRY(tandem_buffer_append(out, " ", 1));
            at++;
        }
        TANDEM_TRY(tandem_buffer_append(out, text, length));
        at += length;
        text += length;
        text += strspn(text, " ");
    }
    return tandem_buffer_append(out, "\n", 1);
}

/* "-m, --model DIR" */
static int put_option_name(tandem_buffer *out, const tandem_option *option)
{
    if (option->letter) {
        TANDEM_TRY(tandem_buffer_printf(out, "-%c, ", option->letter));
    }
    TANDEM_TRY(tandem_buffer_printf(out, "--%s", option->name));
    return option->type == TANDEM_OPTION_FLAG ? TANDEM_OK : tandem_buffer_printf(out, " %s", option->value);
}

/* "... (default: 10)" */
static int put_option_help(tandem_buffer *out, const tandem_option *option)
{
    TANDEM_TRY(tandem_buffer_puts(out, option->help));
    if (option->required) {
        TANDEM_TRY(tandem_buffer_puts(out, " (required)"));
    } else if (option->initial && *option->initial) {
        TANDEM_TRY(tandem_buffer_printf(out, " (default: %s)", option->initial));
    }
    return option->type == TANDEM_OPTION_LIST ? tandem_buffer_puts(out, "; may be given many times") : TANDEM_OK;
}

static int put_usage(tandem_buffer *out, const tandem_command *command)
{
    TANDEM_TRY(tandem_buffer_printf(out, "tandem %s", command->name));
    for (const tandem_option *option = command->options; option && option->name; option++) {
        if (option->required) {
            TANDEM_TRY(tandem_buffer_printf(out, " --%s %s", option->name, option->value));
        }
    }
    TANDEM_TRY(tandem_buffer_puts(out, " [OPTION]..."));
    return command->usage ? tandem_buffer_printf(out, " %s", command->usage) : TANDEM_OK;
}

/* ---- plain text --------------------------------------------------------------------- */
static int put_text_row(tandem_buffer *out, const tandem_option *option)
{
    size_t begin = out->length;
    TANDEM_TRY(tandem_buffer_puts(out, option->letter ? "  " : "      "));
    TANDEM_TRY(put_option_name(out, option));
    size_t used = out->length - begin;
    bool fits = used + 2 <= COLUMN;
    TANDEM_TRY(tandem_buffer_printf(out, "%s%*s", fits ? "" : "\n", fits ? (int)(COLUMN - used) : COLUMN, ""));
    tandem_buffer help = TANDEM_BUFFER_INIT;
    int rc = put_option_help(&help, option);
    if (rc == TANDEM_OK) {
        rc = put_wrapped(out, help.data, COLUMN);
    }
    tandem_buffer_free(&help);
    return rc;
}

static int put_text_table(tandem_buffer *out, const char *title, const tandem_option *table)
{
    TANDEM_TRY(tandem_buffer_printf(out, "\n%s:\n", title));
    for (; table->name; table++) {
        TANDEM_TRY(put_text_row(out, table));
    }
    return TANDEM_OK;
}

static int text_page(tandem_buffer *out, const tandem_command *command)
{
    TANDEM_TRY(tandem_buffer_printf(out, "tandem %s - %s\n\nusage: ", command->name, command->summary));
    TANDEM_TRY(put_usage(out, command));
    TANDEM_TRY(tandem_buffer_puts(out, "\n"));
    if (command->options && command->options->name) {
        TANDEM_TRY(put_text_table(out, "options", command->options));
    }
    TANDEM_TRY(put_text_table(out, "options of every command", tandem_global_table));
    return command->notes ? tandem_buffer_printf(out, "\n%s\n", command->notes) : TANDEM_OK;
}

/* ---- Markdown and man -------------------------------------------------------------------- */
typedef struct {
    const char *section;                  /* before a section's title */
    const char *title_end;                /* and after it */
    const char *before, *between, *after; /* around an option's name and its help */
    int (*name)(tandem_buffer *out, const char *text); /* escapes the name */
    int (*text)(tandem_buffer *out, const char *text); /* escapes the help */
} markup;

/* An asterisk or an underscore is no emphasis here; < begins no tag. */
static int markdown_text(tandem_buffer *out, const char *text)
{
    for (; *text; text++) {
        if (strchr("*_<`", *text)) {
            TANDEM_TRY(tandem_buffer_append(out, "\\", 1));
        }
        TANDEM_TRY(tandem_buffer_append(out, text, 1));
    }
    return TANDEM_OK;
}

/* roff takes a backslash as an escape, and a dot or quote that begins a line as a
 * request. */
static int man_text(tandem_buffer *out, const char *text)
{
    for (; *text; text++) {
        bool first = out->length > 0 && out->data[out->length - 1] == '\n';
        if (first && (*text == '.' || *text == '\'')) {
            TANDEM_TRY(tandem_buffer_puts(out, "\\&"));
        }
        TANDEM_TRY(*text == '\\' ? tandem_buffer_puts(out, "\\e") :
                   *text == '-' ? tandem_buffer_puts(out, "\\-") : tandem_buffer_append(out, text, 1));
    }
    return TANDEM_OK;
}

/* Markdown's name stands between backquotes, where nothing is escaped. */
static const markup markdown = {"\n## ", "\n\n", "- `", "`: ", "\n", tandem_buffer_puts, markdown_text};
static const markup man = {".SH ", "\n", ".TP\n.B ", "\n", "\n", man_text, man_text};

static int put_marked_table(tandem_buffer *out, const markup *style, const tandem_option *table)
{
    tandem_buffer text = TANDEM_BUFFER_INIT;
    int rc = TANDEM_OK;
    for (; table->name && rc == TANDEM_OK; table++) {
        tandem_buffer_clear(&text);
        TANDEM_TRY_GOTO(rc, done, tandem_buffer_puts(out, style->before));
        TANDEM_TRY_GOTO(rc, done, put_option_name(&text, table));
        TANDEM_TRY_GOTO(rc, done, style->name(out, text.data));
        TANDEM_TRY_GOTO(rc, done, tandem_buffer_puts(out, style->between));
        tandem_buffer_clear(&text);
        TANDEM_TRY_GOTO(rc, done, put_option_help(&text, table));
        TANDEM_TRY_GOTO(rc, done, style->text(out, text.data));
        TANDEM_TRY_GOTO(rc, done, tandem_buffer_puts(out, style->after));
    }
done:
    tandem_buffer_free(&text);
    return rc;
}

/* A section, unless it is empty. */
static int put_section(tandem_buffer *out, const markup *style, const char *title, const tandem_option *table)
{
    if (!table || !table->name) {
        return TANDEM_OK;
    }
    TANDEM_TRY(tandem_buffer_printf(out, "%s%s%s", style->section, title, style->title_end));
    return put_marked_table(out, style, table);
}

static int markdown_page(tandem_buffer *out, const tandem_command *command)
{
    TANDEM_TRY(tandem_buffer_printf(out, "# tandem %s\n\n%s.\n\n    ", command->name, command->summary));
    TANDEM_TRY(put_usage(out, command));
    TANDEM_TRY(tandem_buffer_puts(out, "\n"));
    TANDEM_TRY(put_section(out, &markdown, "Options", command->options));
    TANDEM_TRY(put_section(out, &markdown, "Options of every command", tandem_global_table));
    /* Notes are written for a terminal; a code block keeps their lines. */
    if (command->notes) {
        TANDEM_TRY(tandem_buffer_printf(out, "\n## Notes\n\n```text\n%s\n```\n", command->notes));
    }
    return TANDEM_OK;
}

/* `name` with hyphens: of the page and, as man -k reads it, under NAME. */
static int man_head(tandem_buffer *out, const char *name, const char *summary)
{
    TANDEM_TRY(tandem_buffer_puts(out, ".TH \""));
    for (const char *c = name; *c; c++) {
        char upper = *c >= 'a' && *c <= 'z' ? (char)(*c - 'a' + 'A') : *c;
        TANDEM_TRY(tandem_buffer_append(out, &upper, 1));
    }
    TANDEM_TRY(tandem_buffer_printf(out, "\" 1 \"\" \"tandem %s\"\n.SH NAME\n", tandem_version()));
    TANDEM_TRY(man_text(out, name));
    TANDEM_TRY(tandem_buffer_puts(out, " \\- "));
    TANDEM_TRY(man_text(out, summary));
    return tandem_buffer_puts(out, "\n.SH SYNOPSIS\n");
}

/* "tandem-train-bi" */
static int put_page_name(tandem_buffer *out, const tandem_command *command)
{
    TANDEM_TRY(tandem_buffer_printf(out, "tandem-%s", command->name));
    for (char *c = out->data; *c; c++) {
        *c = *c == ' ' ? '-' : *c;
    }
    return TANDEM_OK;
}

static int man_page(tandem_buffer *out, const tandem_command *command)
{
    tandem_buffer name = TANDEM_BUFFER_INIT;
    int head = put_page_name(&name, command);
    head = head < 0 ? head : man_head(out, name.data, command->summary);
    tandem_buffer_free(&name);
    TANDEM_TRY(head);
    tandem_buffer usage = TANDEM_BUFFER_INIT;
    int rc = put_usage(&usage, command);
    if (rc == TANDEM_OK) {
        rc = man_text(out, usage.data);
    }
    tandem_buffer_free(&usage);
    TANDEM_TRY(rc);
    TANDEM_TRY(tandem_buffer_puts(out, "\n"));
    TANDEM_TRY(put_section(out, &man, "OPTIONS", command->options));
    TANDEM_TRY(put_section(out, &man, "OPTIONS OF EVERY COMMAND", tandem_global_table));
    if (command->notes) {
        TANDEM_TRY(tandem_buffer_puts(out, ".SH NOTES\n.nf\n"));
        TANDEM_TRY(man_text(out, command->notes));
        TANDEM_TRY(tandem_buffer_puts(out, "\n.fi\n"));
    }
    return TANDEM_OK;
}

static int man_overview(tandem_buffer *out)
{
    tandem_buffer name = TANDEM_BUFFER_INIT;
    int rc = man_head(out, "tandem", TANDEM_PURPOSE);
    rc = rc < 0 ? rc : tandem_buffer_puts(out, ".B tandem\nCOMMAND [OPTION]... [ARGUMENT]...\n.SH COMMANDS\n");
    for (size_t i = 0; i < tandem_command_count() && rc == TANDEM_OK; i++) {
        const tandem_command *command = tandem_command_at(i);
        tandem_buffer_clear(&name);
        TANDEM_TRY_GOTO(rc, done, put_page_name(&name, command));
        TANDEM_TRY_GOTO(rc, done, tandem_buffer_printf(out, ".TP\n.B %s\n", command->name));
        TANDEM_TRY_GOTO(rc, done, man_text(out, command->summary));
        TANDEM_TRY_GOTO(rc, done, tandem_buffer_puts(out, ": "));
        TANDEM_TRY_GOTO(rc, done, man_text(out, name.data));
        TANDEM_TRY_GOTO(rc, done, tandem_buffer_puts(out, "(1)\n"));
    }
    rc = rc < 0 ? rc : put_section(out, &man, "OPTIONS OF EVERY COMMAND", tandem_global_table);
    rc = rc < 0 ? rc
                : tandem_buffer_puts(out, ".SH EXIT STATUS\n0 done, 1 failed, 2 wrong usage, 130 interrupted.\n"
                                          ".SH SEE ALSO\nlibtandem(3), and the pages that COMMANDS names\n");
done:
    tandem_buffer_free(&name);
    return rc;
}

/* ---- public -------------------------------------------------------------------------------- */
int tandem_help_command(tandem_buffer *out, const tandem_command *command, tandem_help_format format)
{
    switch (format) {
    case TANDEM_HELP_TEXT: return text_page(out, command);
    case TANDEM_HELP_MARKDOWN: return markdown_page(out, command);
    case TANDEM_HELP_MAN: return man_page(out, command);
    }
    return tandem_error("no such help format: %d", (int)format);
}

int tandem_help_overview(tandem_buffer *out, const char *prefix, tandem_help_format format)
{
    size_t length = prefix ? strlen(prefix) : 0;
    if (format == TANDEM_HELP_MAN) {
        return man_overview(out);
    }
    TANDEM_TRY(tandem_buffer_puts(out, "tandem - " TANDEM_PURPOSE "\n\n"
                                       "usage: tandem COMMAND [OPTION]... [ARGUMENT]...\n\ncommands:\n"));
    for (size_t i = 0; i < tandem_command_count(); i++) {
        const tandem_command *command = tandem_command_at(i);
        if (strncmp(command->name, length ? prefix : "", length) == 0) {
            TANDEM_TRY(tandem_buffer_printf(out, "  %-14s%s\n", command->name, command->summary));
        }
    }
    TANDEM_TRY(put_text_table(out, "options of every command", tandem_global_table));
    return tandem_buffer_puts(out, "\n`tandem COMMAND -h` says more about a command.\n");
}
