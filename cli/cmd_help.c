/* cmd_help.c - `tandem help`: the list of commands, or the page of one. */
#include <stdio.h>

#include "cli/cli.h"

typedef struct {
    int64_t format; /* tandem_help_format */
} help_options;

static const tandem_option table[] = {
    {.name = "format", .type = TANDEM_OPTION_CHOICE, .offset = offsetof(help_options, format),
     .value = "text|markdown|man", .initial = "text", .help = "what a command's page is written in"},
    TANDEM_OPTION_END,
};

static int help_page(tandem_buffer *page, const help_options *options, size_t count, char *const *arguments)
{
    if (count == 0) {
        return options->format != TANDEM_HELP_MARKDOWN
                   ? tandem_help_overview(page, NULL, (tandem_help_format)options->format)
                   : tandem_error_code(TANDEM_USAGE, "--format markdown: expected a command whose page to write");
    }
    size_t used;
    const tandem_command *command = tandem_command_find(arguments, count, &used);
    if (!command || used < count) {
        return tandem_command_unknown(arguments, count);
    }
    return tandem_help_command(page, command, (tandem_help_format)options->format);
}

static int run(const void *options, size_t count, char *const *arguments)
{
    tandem_buffer page = TANDEM_BUFFER_INIT;
    int rc = help_page(&page, options, count, arguments);
    if (rc == TANDEM_OK) {
        fputs(page.data, stdout);
    }
    tandem_buffer_free(&page);
    return rc;
}

const tandem_command tandem_command_help = {
    .name = "help",
    .summary = "List the commands, or print the page of one",
    .usage = "[COMMAND]",
    .max_arguments = 2,
    .options = table,
    .options_size = sizeof(help_options),
    .run = run,
};
