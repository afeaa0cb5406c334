/* options.c - command-line options by table. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "tandem/settings.h"

const char *const tandem_dtypes[] = {"fp32", "bf16", "auto", "tf32", "int8", NULL};

const tandem_option tandem_global_table[] = {
    {.name = "threads", .type = TANDEM_OPTION_INT, .offset = offsetof(tandem_global_options, threads), .value = "N",
     .initial = "0", .min = 0, .max = 4096, .help = "threads to use; 0: one for each physical core"},
    {.name = "device", .type = TANDEM_OPTION_CHOICE, .offset = offsetof(tandem_global_options, device),
     .value = "cpu|cuda|libtorch", .initial = "cpu",
     .help = "where models compute: cpu, cuda (the first GPU), or libtorch (on the CPU what a GPU computes, to test it)"},
    {.name = "quiet", .letter = 'q', .type = TANDEM_OPTION_FLAG, .offset = offsetof(tandem_global_options, quiet),
     .help = "say nothing but errors"},
    {.name = "verbose", .letter = 'v', .type = TANDEM_OPTION_FLAG, .offset = offsetof(tandem_global_options, verbose),
     .help = "say more"},
    {.name = "help", .letter = 'h', .type = TANDEM_OPTION_FLAG, .offset = offsetof(tandem_global_options, help),
     .help = "print this help"},
    {.name = "version", .type = TANDEM_OPTION_FLAG, .offset = offsetof(tandem_global_options, version),
     .help = "print the version"},
    TANDEM_OPTION_END,
};

/* Where an option was found: its row and the struct that it fills. */
typedef struct {
    const tandem_option *option;
    void *options;
} target;

static void *field_of(target at)
{
    return (char *)at.options + at.option->offset;
}

/* ---- values ----------------------------------------------------------------------- */
static int wrong_value(const tandem_option *option, const char *text)
{
    const char *kind = option->type == TANDEM_OPTION_INT ? "an integer" : "a number";
    bool bounded = option->min < option->max;
    return bounded ? tandem_error_code(TANDEM_USAGE, "--%s: expected %s from %.15g to %.15g, found \"%s\"", option->name,
                                       kind, option->min, option->max, text)
                   : tandem_error_code(TANDEM_USAGE, "--%s: expected %s, found \"%s\"", option->name, kind, text);
}

static int set_number(target at, const char *text)
{
    char *end = NULL;
    bool whole = at.option->type == TANDEM_OPTION_INT;
    errno = 0;
    long long integer = whole ? strtoll(text, &end, 10) : 0;
    double number = whole ? (double)integer : strtod(text, &end);
    bool bounded = at.option->min < at.option->max;
    if (end == text || *end || errno == ERANGE || !isfinite(number) ||
        (bounded && (number < at.option->min || number > at.option->max))) {
        return wrong_value(at.option, text);
    }
    if (whole) {
        *(int64_t *)field_of(at) = integer;
    } else {
        *(double *)field_of(at) = number;
    }
    return TANDEM_OK;
}

/* The words of `value` are "a|b|c". */
static int set_choice(target at, const char *text)
{
    size_t length = strlen(text);
    int64_t index = 0;
    for (const char *word = at.option->value; word; index++) {
        const char *bar = strchr(word, '|');
        size_t size = bar ? (size_t)(bar - word) : strlen(word);
        if (size == length && memcmp(word, text, size) == 0) {
            *(int64_t *)field_of(at) = index;
            return TANDEM_OK;
        }
        word = bar ? bar + 1 : NULL;
    }
    return tandem_error_code(TANDEM_USAGE, "--%s: expected %s, found \"%s\"", at.option->name, at.option->value, text);
}

static int add_to_list(target at, const char *text)
{
    tandem_option_list *list = field_of(at);
    void *items = list->items;
    TANDEM_TRY(tandem_realloc(&items, list->count + 1, sizeof *list->items));
    list->items = items;
    list->items[list->count++] = text;
    return TANDEM_OK;
}

static int set_value(target at, const char *text)
{
    switch (at.option->type) {
    case TANDEM_OPTION_FLAG: *(bool *)field_of(at) = true; return TANDEM_OK;
    case TANDEM_OPTION_STRING: *(const char **)field_of(at) = text; return TANDEM_OK;
    case TANDEM_OPTION_INT:
    case TANDEM_OPTION_DOUBLE: return set_number(at, text);
    case TANDEM_OPTION_CHOICE: return set_choice(at, text);
    case TANDEM_OPTION_LIST: return add_to_list(at, text);
    }
    return tandem_error("--%s has no such type", at.option->name);
}

int tandem_options_init(void *options, const tandem_option *table)
{
    for (const tandem_option *option = table; option && option->name; option++) {
        if (option->initial) {
            TANDEM_TRY(set_value((target){option, options}, option->initial));
        }
    }
    return TANDEM_OK;
}

void tandem_options_free(void *options, const tandem_option *table)
{
    for (const tandem_option *option = table; option && option->name; option++) {
        if (option->type == TANDEM_OPTION_LIST) {
            tandem_option_list *list = field_of((target){option, options});
            free(list->items);
            *list = (tandem_option_list){NULL, 0};
        }
    }
}

/* ---- names -------------------------------------------------------------------------- */
typedef struct {
    target own, global; /* first rows of the tables */
    char **argv;
    size_t count, next; /* next is the argument to look at */
} parser;

/* By long name when `letter` is 0. */
static bool find_in(target *out, target table, const char *name, size_t length, char letter)
{
    for (const tandem_option *option = table.option; option && option->name; option++) {
        if (letter ? option->letter == letter
                   : strlen(option->name) == length && memcmp(option->name, name, length) == 0) {
            *out = (target){option, table.options};
            return true;
        }
    }
    return false;
}

static bool find_option(const parser *parse, target *out, const char *name, size_t length, char letter)
{
    return find_in(out, parse->own, name, length, letter) || find_in(out, parse->global, name, length, letter);
}

static int unknown_option(const parser *parse, const char *name, size_t length)
{
    const char *names[128];
    size_t count = 0;
    const tandem_option *tables[] = {parse->own.option, parse->global.option};
    for (size_t i = 0; i < 2; i++) {
        for (const tandem_option *option = tables[i]; option && option->name && count < 128; option++) {
            names[count++] = option->name;
        }
    }
    char *word = tandem_strndup(name, length);
    const char *nearest = word ? tandem_nearest(word, names, count) : NULL;
    int rc = nearest ? tandem_error_code(TANDEM_USAGE, "unknown option --%s; did you mean --%s?", word, nearest)
                     : tandem_error_code(TANDEM_USAGE, "unknown option --%.*s", (int)length, name);
    free(word);
    return rc;
}

/* The value of an option that stands in the next argument. */
static int next_value(parser *parse, target at)
{
    if (parse->next >= parse->count) {
        return tandem_error_code(TANDEM_USAGE, "--%s needs a value: %s", at.option->name, at.option->value);
    }
    return set_value(at, parse->argv[parse->next++]);
}

/* "--name", "--name value" or "--name=value". */
static int parse_long(parser *parse, const char *name)
{
    const char *equals = strchr(name, '=');
    size_t length = equals ? (size_t)(equals - name) : strlen(name);
    target at;
    if (!find_option(parse, &at, name, length, 0)) {
        return unknown_option(parse, name, length);
    }
    if (at.option->type == TANDEM_OPTION_FLAG) {
        return equals ? tandem_error_code(TANDEM_USAGE, "--%s takes no value", at.option->name) : set_value(at, NULL);
    }
    return equals ? set_value(at, equals + 1) : next_value(parse, at);
}

/* "-q", "-qv", "-k 10" or "-k10". */
static int parse_short(parser *parse, const char *letters)
{
    for (; *letters; letters++) {
        target at;
        if (!find_option(parse, &at, NULL, 0, *letters)) {
            return tandem_error_code(TANDEM_USAGE, "unknown option -%c", *letters);
        }
        if (at.option->type != TANDEM_OPTION_FLAG) {
            return letters[1] ? set_value(at, letters + 1) : next_value(parse, at);
        }
        TANDEM_TRY(set_value(at, NULL));
    }
    return TANDEM_OK;
}

int tandem_options_parse(const tandem_command *command, tandem_global_options *globals, void *options,
                         char **argv, size_t count, size_t *positional)
{
    parser parse = {.own = {command ? command->options : NULL, options}, .global = {tandem_global_table, globals},
                    .argv = argv, .count = count};
    *positional = 0;
    bool only_positional = false;
    while (parse.next < count) {
        char *argument = argv[parse.next++];
        bool option = !only_positional && argument[0] == '-' && argument[1];
        if (!option && !command) {
            *positional = parse.next - 1;
            return TANDEM_OK;
        }
        if (!option) {
            argv[(*positional)++] = argument;
        } else if (strcmp(argument, "--") == 0) {
            only_positional = true;
        } else if (argument[1] == '-') {
            TANDEM_TRY(parse_long(&parse, argument + 2));
        } else {
            TANDEM_TRY(parse_short(&parse, argument + 1));
        }
    }
    if (!command) {
        *positional = count;
    }
    return TANDEM_OK;
}

/* ---- what is missing -------------------------------------------------------------------- */
static bool is_given(const void *options, const tandem_option *option)
{
    const char *field = (const char *)options + option->offset;
    if (option->type == TANDEM_OPTION_LIST) {
        return ((const tandem_option_list *)(const void *)field)->count > 0;
    }
    return option->type != TANDEM_OPTION_STRING || *(const char *const *)(const void *)field != NULL;
}

int tandem_options_check(const tandem_command *command, const void *options, size_t positional)
{
    for (const tandem_option *option = command->options; option && option->name; option++) {
        if (option->required && !is_given(options, option)) {
            return tandem_error_code(TANDEM_USAGE, "--%s %s is required", option->name, option->value);
        }
    }
    if (positional < command->min_arguments || positional > command->max_arguments) {
        return tandem_error_code(TANDEM_USAGE, "expected %s%s, found %zu argument%s",
                                 command->usage ? "the arguments " : "no arguments",
                                 command->usage ? command->usage : "", positional, positional == 1 ? "" : "s");
    }
    return TANDEM_OK;
}
