/* main.c - the table of commands; finds the one that is asked for and runs it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "tandem/log.h"
#include "tandem/machine.h"
#include "tandem/settings.h"

/* In the order of their use. */
static const tandem_command *const commands[] = {
    &tandem_command_data_import, &tandem_command_data_check, &tandem_command_data_cloze,  &tandem_command_encode,
    &tandem_command_search,      &tandem_command_rerank,     &tandem_command_mine,        &tandem_command_train_bi,
    &tandem_command_train_cross, &tandem_command_eval,       &tandem_command_export,      &tandem_command_run,
    &tandem_command_pipeline,    &tandem_command_report,     &tandem_command_tokenize,    &tandem_command_info,
    &tandem_command_help,
};

enum { COMMANDS = sizeof commands / sizeof commands[0] };

size_t tandem_command_count(void)
{
    return COMMANDS;
}

const tandem_command *tandem_command_at(size_t index)
{
    return commands[index];
}

/* Number of words (1 or 2) when `words` begin with the command's name, else 0. */
static size_t matches(const tandem_command *command, char *const *words, size_t count)
{
    const char *space = strchr(command->name, ' ');
    if (!space) {
        return count > 0 && strcmp(command->name, words[0]) == 0 ? 1 : 0;
    }
    size_t length = (size_t)(space - command->name);
    bool both = count > 1 && strlen(words[0]) == length && memcmp(command->name, words[0], length) == 0 &&
                strcmp(space + 1, words[1]) == 0;
    return both ? 2 : 0;
}

const tandem_command *tandem_command_find(char *const *words, size_t count, size_t *used)
{
    for (size_t i = 0; i < tandem_command_count(); i++) {
        const tandem_command *command = tandem_command_at(i);
        if ((*used = matches(command, words, count)) > 0) {
            return command;
        }
    }
    return NULL;
}

/* True when `word` is the first of two-word commands. */
static bool is_group(const char *word)
{
    size_t length = strlen(word);
    for (size_t i = 0; i < tandem_command_count(); i++) {
        const char *name = tandem_command_at(i)->name;
        if (strncmp(name, word, length) == 0 && name[length] == ' ') {
            return true;
        }
    }
    return false;
}

int tandem_command_unknown(char *const *words, size_t count)
{
    const char *names[COMMANDS];
    for (size_t i = 0; i < tandem_command_count(); i++) {
        names[i] = tandem_command_at(i)->name;
    }
    /* After the first word of "train bi" the second one is what is wrong. */
    bool group = is_group(words[0]);
    tandem_buffer word = TANDEM_BUFFER_INIT;
    TANDEM_TRY(tandem_buffer_puts(&word, words[0]));
    if (group && count > 1) {
        TANDEM_TRY(tandem_buffer_printf(&word, " %s", words[1]));
    }
    const char *nearest = tandem_nearest(word.data, names, tandem_command_count());
    int rc;
    if (nearest) {
        rc = tandem_error_code(TANDEM_USAGE, "unknown command \"%s\"; did you mean \"%s\"?", word.data, nearest);
    } else if (group) {
        rc = tandem_error_code(TANDEM_USAGE, "\"%s\" is not a whole command; `tandem %s -h` lists those that begin so",
                               word.data, words[0]);
    } else {
        rc = tandem_error_code(TANDEM_USAGE, "unknown command \"%s\"; `tandem help` lists them", word.data);
    }
    tandem_buffer_free(&word);
    return rc;
}

/* ---- running ------------------------------------------------------------------------- */
static int print_help(const tandem_command *command, const char *prefix)
{
    tandem_buffer page = TANDEM_BUFFER_INIT;
    int rc = command ? tandem_help_command(&page, command, TANDEM_HELP_TEXT) : tandem_help_overview(&page, prefix, TANDEM_HELP_TEXT);
    if (rc == TANDEM_OK) {
        fputs(page.data, stdout);
    }
    tandem_buffer_free(&page);
    return rc;
}

static void apply_globals(const tandem_global_options *globals)
{
    tandem_log_set_level(globals->quiet     ? TANDEM_LOG_QUIET
                         : globals->verbose ? TANDEM_LOG_DEBUG
                                            : TANDEM_LOG_INFO);
    tandem_machine_set_threads((size_t)globals->threads);
    tandem_machine_set_device((tandem_device)globals->device);
}

static int run_parsed(const tandem_command *command, tandem_global_options *globals, void *options, char **argv,
                      size_t count)
{
    size_t positional;
    TANDEM_TRY(tandem_options_init(options, command->options));
    int rc = tandem_options_parse(command, globals, options, argv, count, &positional);
    if (rc == TANDEM_OK && globals->help) {
        return print_help(command, NULL);
    }
    if (rc == TANDEM_OK && globals->version) {
        printf("tandem %s\n", tandem_version());
        return TANDEM_OK;
    }
    if (rc == TANDEM_OK) {
        rc = tandem_options_check(command, options, positional);
    }
    if (rc < 0) {
        return tandem_error_code(rc, "%s\n`tandem %s -h` says what it takes", tandem_error_message(), command->name);
    }
    apply_globals(globals);
    return command->run(options, positional, argv);
}

static int run_command(const tandem_command *command, tandem_global_options *globals, char **argv, size_t count)
{
    void *options = tandem_alloc(1, command->options_size);
    if (!options) {
        return TANDEM_ERROR;
    }
    int rc = run_parsed(command, globals, options, argv, count);
    tandem_options_free(options, command->options);
    free(options);
    return rc;
}

/* No command was found where one was expected; `tandem train -h` is still answered. */
static int no_command(tandem_global_options *globals, char **argv, size_t count)
{
    size_t positional;
    if (is_group(argv[0]) && tandem_options_parse(NULL, globals, NULL, argv + 1, count - 1, &positional) == TANDEM_OK &&
        globals->help) {
        return print_help(NULL, argv[0]);
    }
    return tandem_command_unknown(argv, count);
}

static int dispatch(char **argv, size_t count)
{
    tandem_global_options globals = {0};
    size_t first, used;
    TANDEM_TRY(tandem_options_init(&globals, tandem_global_table));
    TANDEM_TRY(tandem_options_parse(NULL, &globals, NULL, argv, count, &first));
    if (globals.version) {
        printf("tandem %s\n", tandem_version());
        return TANDEM_OK;
    }
    if (first == count) {
        return globals.help ? print_help(NULL, NULL)
                            : tandem_error_code(TANDEM_USAGE, "expected a command; `tandem help` lists them");
    }
    const tandem_command *command = tandem_command_find(argv + first, count - first, &used);
    if (!command) {
        return no_command(&globals, argv + first, count - first);
    }
    return run_command(command, &globals, argv + first + used, count - first - used);
}

static int exit_status(int rc)
{
    return rc >= 0 ? 0 : rc == TANDEM_USAGE ? 2 : rc == TANDEM_INTERRUPTED ? 130 : 1;
}

/* Files are closed and stdout is flushed: nothing is left to do but libtorch's destructors, .06 s of taking apart what
 * the system takes back anyway. The sanitizers have their say at a whole exit. */
static _Noreturn void leave(int status)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    exit(status);
#else
    quick_exit(status);
#endif
}

int main(int argc, char **argv)
{
    int rc = argc > 0 ? dispatch(argv + 1, (size_t)argc - 1) : TANDEM_USAGE;
    if ((fflush(stdout) != 0 || ferror(stdout)) && rc >= 0) {
        rc = tandem_error("stdout: cannot be written");
    }
    if (rc < 0) {
        fprintf(stderr, "tandem: %s\n", tandem_error_message());
    }
    leave(exit_status(rc));
}
