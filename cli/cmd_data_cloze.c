/* cmd_data_cloze.c - `tandem data cloze`: training groups made from a corpus alone. */
#include "cli/cli.h"
#include "tandem/cloze.h"
#include "tandem/log.h"

typedef struct {
    const char *output;
    int64_t groups, negatives, words, seed;
    double keep;
} cloze_options;

static const tandem_option table[] = {
    {.name = "groups", .type = TANDEM_OPTION_INT, .offset = offsetof(cloze_options, groups), .value = "N",
     .initial = "3000", .min = 1, .max = 1e9, .help = "groups to make"},
    {.name = "negatives", .type = TANDEM_OPTION_INT, .offset = offsetof(cloze_options, negatives), .value = "N",
     .initial = "7", .min = 1, .max = 1000, .help = "of each group: three sevenths from BM25's best, the others from anywhere"},
    {.name = "words", .type = TANDEM_OPTION_INT, .offset = offsetof(cloze_options, words), .value = "N",
     .initial = "60", .min = 1, .max = 1e6, .help = "words of a passage, made up of whole sentences"},
    {.name = "keep", .type = TANDEM_OPTION_DOUBLE, .offset = offsetof(cloze_options, keep), .value = "P",
     .initial = "0.2", .min = 0, .max = 1, .help = "how often the positive keeps the sentence that is the query"},
    {.name = "seed", .type = TANDEM_OPTION_INT, .offset = offsetof(cloze_options, seed), .value = "N", .initial = "13",
     .min = 0, .max = 9007199254740992.0, .help = "seed of all choices"},
    {.name = "output", .letter = 'o', .type = TANDEM_OPTION_STRING, .required = true,
     .offset = offsetof(cloze_options, output), .value = "GROUPS.jsonl[.zst]", .help = "the training groups to write"},
    TANDEM_OPTION_END,
};

static int run(const void *given, size_t count, char *const *arguments)
{
    (void)count;
    const cloze_options *options = given;
    const tandem_cloze_options cloze = {.groups = (size_t)options->groups, .negatives = (size_t)options->negatives,
                                        .words = (size_t)options->words, .keep = options->keep,
                                        .seed = (uint64_t)options->seed};
    tandem_dataset *dataset = NULL;
    tandem_groups *groups = NULL;
    int rc = tandem_dataset_open(&dataset, arguments[0]);
    TANDEM_TRY_GOTO(rc, done, rc);
    TANDEM_TRY_GOTO(rc, done, tandem_cloze_groups(&groups, dataset, &cloze));
    TANDEM_TRY_GOTO(rc, done, tandem_groups_write(groups, options->output));
    tandem_log_info("%zu groups from %zu documents", groups->count, dataset->corpus.count);
done:
    tandem_groups_free(groups);
    tandem_dataset_free(dataset);
    return rc;
}

const tandem_command tandem_command_data_cloze = {
    .name = "data cloze",
    .summary = "Make training groups from a corpus alone",
    .usage = "DATASET",
    .min_arguments = 1,
    .max_arguments = 1,
    .options = table,
    .options_size = sizeof(cloze_options),
    .run = run,
    .notes =
        "The inverse cloze task: a query is a sentence of 6 to 30 words, its positive the sentences around it, most\n"
        "often without it, its negatives passages of other documents. A cross-encoder that starts from a bare\n"
        "encoder learns from them how texts match, which a thousand judged queries do not teach it. No judgment\n"
        "is read. The result is a function of corpus, options and seed.",
};
