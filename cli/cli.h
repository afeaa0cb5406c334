/* cli.h - what the files of cli/ share: commands, their option tables, the parser.
 *
 * Adding a command, three things to do:
 *  1. Write cli/cmd_NAME.c: a struct for its options, a static table of tandem_option
 *     rows that says where each goes, a run function, and `const tandem_command
 *     tandem_command_NAME` (cmd_info.c is a short example).
 *  2. Declare that symbol at the end of this file and add it to the table in main.c.
 *     `tandem help`, `tandem CMD -h`, the pages and the test that every command
 *     answers -h follow from the table.
 *  3. Test it in tests/cli/test_NAME.bats, and write its page again:
 *     scripts/docs.sh build/tandem
 */
#ifndef TANDEM_CLI_CLI_H
#define TANDEM_CLI_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tandem/error.h"
#include "tandem/memory.h"

/* The type of an option says the type of its field in the command's struct. */
typedef enum {
    TANDEM_OPTION_FLAG,   /* bool; takes no value */
    TANDEM_OPTION_STRING, /* const char *, borrowed; NULL when absent */
    TANDEM_OPTION_INT,    /* int64_t */
    TANDEM_OPTION_DOUBLE, /* double */
    TANDEM_OPTION_CHOICE, /* int64_t: index among the words of `value` ("a|b|c") */
    TANDEM_OPTION_LIST    /* tandem_option_list; may be given many times */
} tandem_option_type;

typedef struct {
    const char **items; /* [count], borrowed */
    size_t count;
} tandem_option_list;

/* A row of a command's table, written with designated initializers; what is left
 * out is 0. The table ends with TANDEM_OPTION_END. */
typedef struct {
    const char *name; /* long name, without the dashes */
    char letter;      /* short name, or 0; h, q and v are taken by every command */
    tandem_option_type type;
    bool required;       /* STRING and LIST only */
    size_t offset;       /* of the field in the command's struct */
    const char *value;   /* what the value is, for the help: "DIR", "N"; CHOICE: "a|b" */
    const char *initial; /* default as the command line would spell it; NULL: zero */
    double min, max;     /* INT and DOUBLE: bounds, both inclusive; 0, 0: none */
    const char *help;    /* one sentence, no full stop */
} tandem_option;

#define TANDEM_OPTION_END {.name = NULL}

/* The precision of a model that only reads texts, a tandem_precision in the field `dtype` of the command's struct. */
#define TANDEM_OPTION_DTYPE(options)                                                                          \
    {                                                                                                         \
        .name = "dtype", .type = TANDEM_OPTION_CHOICE, .offset = offsetof(options, dtype),                    \
        .value = "fp32|bf16|auto|tf32|int8", .initial = "fp32",                                               \
        .help = "precision of the matrix products; auto: bf16 on a GPU and on a CPU that is faster in it,"    \
                " else fp32; tf32: on a GPU alone; int8: fastest on a CPU, a little off"                      \
    }

/* Its words where it is a setting: in the order of tandem_precision, then NULL. */
extern const char *const tandem_dtypes[];

typedef struct {
    const char *name;    /* "encode", or two words: "train bi" */
    const char *summary; /* one line: "Mine hard negatives", no full stop */
    const char *usage;   /* positional arguments: "QRELS RUN [RUN...]"; NULL: none */
    size_t min_arguments, max_arguments; /* of them; SIZE_MAX: any number */
    const tandem_option *options;        /* NULL: none of its own */
    size_t options_size;                 /* sizeof the command's struct */
    /* `options` is the filled struct (NULL when options_size is 0). Returns 0 or a
     * TANDEM_ code; main() prints the message and chooses the exit status. */
    int (*run)(const void *options, size_t count, char *const *arguments);
    const char *notes; /* paragraphs after the options; NULL: none */
} tandem_command;

/* ---- the parser (options.c) ------------------------------------------------- */
/* What every command accepts, before or after its name. */
typedef struct {
    int64_t threads; /* 0: the physical cores */
    int64_t device;  /* a tandem_device */
    bool quiet, verbose, help, version;
} tandem_global_options;

extern const tandem_option tandem_global_table[];

/* Puts every default of `table` into `options`. */
int tandem_options_init(void *options, const tandem_option *table);
/* Reads argv[0..count): fills `globals` and, when `command` is not NULL, its
 * `options`; positional arguments are moved to the front of argv, and *positional is
 * their number. Without a command, parsing stops at the first positional argument
 * and *positional is its index. TANDEM_USAGE with a message that suggests the
 * nearest option. Numbers of arguments and required options are not looked at. */
int tandem_options_parse(const tandem_command *command, tandem_global_options *globals, void *options,
                         char **argv, size_t count, size_t *positional);
/* TANDEM_USAGE unless every required option is there and `positional` is a number
 * of arguments that the command takes. */
int tandem_options_check(const tandem_command *command, const void *options, size_t positional);
void tandem_options_free(void *options, const tandem_option *table); /* the lists in it */

/* ---- help (help.c) ------------------------------------------------------------ */
typedef enum { TANDEM_HELP_TEXT, TANDEM_HELP_MARKDOWN, TANDEM_HELP_MAN } tandem_help_format;

/* The page of a command. */
int tandem_help_command(tandem_buffer *out, const tandem_command *command, tandem_help_format format);
/* The list of commands, as text or as a man page; in the text, `prefix` ("train") leaves only those that begin
 * with that word. */
int tandem_help_overview(tandem_buffer *out, const char *prefix, tandem_help_format format);

/* ---- the table (main.c) ----------------------------------------------------------- */
size_t tandem_command_count(void);
const tandem_command *tandem_command_at(size_t index);
/* The command named by the first one or two of `words`; *used is how many. NULL when
 * there is none. */
const tandem_command *tandem_command_find(char *const *words, size_t count, size_t *used);
/* TANDEM_USAGE with a message that suggests the nearest command. */
int tandem_command_unknown(char *const *words, size_t count);

extern const tandem_command tandem_command_data_import;
extern const tandem_command tandem_command_data_check;
extern const tandem_command tandem_command_data_cloze;
extern const tandem_command tandem_command_encode;
extern const tandem_command tandem_command_search;
extern const tandem_command tandem_command_rerank;
extern const tandem_command tandem_command_mine;
extern const tandem_command tandem_command_train_bi;
extern const tandem_command tandem_command_train_cross;
extern const tandem_command tandem_command_eval;
extern const tandem_command tandem_command_report;
extern const tandem_command tandem_command_export;
extern const tandem_command tandem_command_run;
extern const tandem_command tandem_command_pipeline;
extern const tandem_command tandem_command_tokenize;
extern const tandem_command tandem_command_info;
extern const tandem_command tandem_command_help;

#endif
