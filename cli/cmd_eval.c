/* cmd_eval.c - tandem eval: metrics of runs, and whether their differences are real. */
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/eval_report.h"
#include "tandem/log.h"
#include "tandem/qrels.h"
#include "tandem/run.h"

enum { ROUNDS = 100000 };

/* In the order of the option's words; the first three are table_style's. */
enum { FORMAT_CSV = TABLE_LATEX + 1, FORMAT_JSON, FORMAT_TREC_EVAL };

typedef struct {
    const char *metrics, *queries;
    bool per_query, no_summary, compare, common, judged_only, exclude_self, json;
    int64_t level, depth, format, interval, moved, seed;
} eval_options;

static const tandem_option table[] = {
    {.name = "metrics", .letter = 'm', .type = TANDEM_OPTION_STRING, .offset = offsetof(eval_options, metrics),
     .value = "LIST",
     .help = "metrics, separated by commas (default: ndcg@10,recall@100,map,mrr@10,precision@10; with --format "
             "trec_eval: official)"},
    {.name = "per-query", .type = TANDEM_OPTION_FLAG, .offset = offsetof(eval_options, per_query),
     .help = "print the values of every query too"},
    {.name = "compare", .type = TANDEM_OPTION_FLAG, .offset = offsetof(eval_options, compare),
     .help = "compare every other run with the first, and print 95 % intervals"},
    {.name = "common", .type = TANDEM_OPTION_FLAG, .offset = offsetof(eval_options, common),
     .help = "average over the judged queries that every run has, not over all judged queries"},
    {.name = "level", .letter = 'l', .type = TANDEM_OPTION_INT, .offset = offsetof(eval_options, level), .value = "N",
     .initial = "1", .min = 1, .max = INT32_MAX, .help = "grades from N on are relevant (trec_eval -l)"},
    {.name = "depth", .letter = 'M', .type = TANDEM_OPTION_INT, .offset = offsetof(eval_options, depth), .value = "N",
     .initial = "0", .min = 0, .max = INT32_MAX, .help = "use the first N results of each query; 0: all (trec_eval -M)"},
    {.name = "judged-only", .letter = 'J', .type = TANDEM_OPTION_FLAG, .offset = offsetof(eval_options, judged_only),
     .help = "leave out results without a judgment, or with a negative one (trec_eval -J)"},
    {.name = "exclude-self", .type = TANDEM_OPTION_FLAG, .offset = offsetof(eval_options, exclude_self),
     .help = "leave out results whose id is their query's, as BEIR does"},
    {.name = "interval", .type = TANDEM_OPTION_CHOICE, .offset = offsetof(eval_options, interval),
     .value = "percentile|bca", .initial = "percentile", .help = "kind of bootstrap interval that tables show"},
    {.name = "moved", .type = TANDEM_OPTION_INT, .offset = offsetof(eval_options, moved), .value = "N", .initial = "5",
     .min = 0, .max = 1e6, .help = "with --compare, list N queries that gained most and N that lost most"},
    {.name = "queries", .type = TANDEM_OPTION_STRING, .offset = offsetof(eval_options, queries), .value = "FILE",
     .help = "a dataset's queries.jsonl, so that they are listed with their texts"},
    {.name = "format", .type = TANDEM_OPTION_CHOICE, .offset = offsetof(eval_options, format),
     .value = "text|markdown|latex|csv|json|trec_eval", .initial = "text", .help = "how to print"},
    {.name = "no-summary", .letter = 'n', .type = TANDEM_OPTION_FLAG, .offset = offsetof(eval_options, no_summary),
     .help = "with --format trec_eval: no lines over all queries (trec_eval -n)"},
    {.name = "json", .type = TANDEM_OPTION_FLAG, .offset = offsetof(eval_options, json),
     .help = "the same as --format json"},
    {.name = "seed", .type = TANDEM_OPTION_INT, .offset = offsetof(eval_options, seed), .value = "N", .initial = "13",
     .min = 0, .max = 9007199254740992.0, .help = "seed of bootstrap and randomization"},
    TANDEM_OPTION_END,
};

/* ---- metrics --------------------------------------------------------------------------- */
static int parse_metrics(eval_report *report, const eval_options *options)
{
    bool trec = options->format == FORMAT_TREC_EVAL;
    const char *usual = trec ? "official" : "ndcg@10,recall@100,map,mrr@10,precision@10";
    TANDEM_TRY(tandem_metrics_parse(&report->metrics, &report->metric_count,
                                    options->metrics ? options->metrics : usual,
                                    trec               ? TANDEM_METRICS_ALL
                                    : options->compare ? TANDEM_METRICS_MEANS
                                                       : TANDEM_METRICS_NUMBERS));
    if (trec) {
        tandem_metrics_sort(report->metrics, report->metric_count);
    }
    return TANDEM_OK;
}

/* ---- scores ------------------------------------------------------------------------------- */
static void warn_of_gaps(const eval_run *run, const tandem_score_options *options, size_t judged)
{
    if (options->exclude_self) {
        tandem_log_info("%s: results that are their query itself: %zu (left out)", run->path, run->scores.self_excluded);
    }
    if (run->scores.missing > 0) {
        tandem_log_warn("%s: judged queries that are missing: %zu of %zu (%s)", run->path, run->scores.missing, judged,
                        options->common ? "left out" : "they count 0");
    }
    if (run->scores.unjudged > 0) {
        tandem_log_warn("%s: queries that are not judged: %zu (left out)", run->path, run->scores.unjudged);
    }
}

/* Which queries every run has; scores of all runs are of the same judged queries. */
static int select_common(eval_report *report, tandem_run *const *runs)
{
    size_t judged = report->runs[0].scores.query_count;
    report->selected_count = 0;
    for (size_t q = 0; q < judged; q++) {
        bool everywhere = true;
        for (size_t r = 0; r < report->run_count; r++) {
            everywhere = everywhere && tandem_run_find(runs[r], report->runs[0].scores.query_ids[q]);
        }
        if (everywhere) {
            report->selected[report->selected_count++] = q;
        }
    }
    return report->selected_count > 0 ? TANDEM_OK : tandem_error("no judged query is in every run");
}

static int score_runs(eval_report *report, const tandem_qrels *qrels, tandem_run **runs)
{
    tandem_score_options options = report->options;
    options.common = false; /* so that all runs have the same queries */
    size_t judged = tandem_qrels_count(qrels);
    for (size_t r = 0; r < report->run_count; r++) {
        eval_run *run = &report->runs[r];
        TANDEM_TRY(tandem_run_read(&runs[r], run->path));
        run->run = runs[r];
        run->name = tandem_run_name(runs[r]);
        int rc = tandem_scores_compute(&run->scores, qrels, runs[r], report->metrics, report->metric_count, &options);
        if (rc < 0) {
            return tandem_error_context(rc, "%s", run->path);
        }
        warn_of_gaps(run, &report->options, judged);
    }
    report->selected = tandem_alloc(judged, sizeof *report->selected);
    if (!report->selected) {
        return TANDEM_ERROR;
    }
    if (report->options.common) {
        return select_common(report, runs);
    }
    report->selected_count = judged;
    for (size_t q = 0; q < judged; q++) {
        report->selected[q] = q;
    }
    return TANDEM_OK;
}

/* ---- cells: a run by a metric ----------------------------------------------------------------- */
/* The values of a run by a metric, alone and against those of the first run. */
static int fill_cell(eval_report *report, size_t run, size_t metric, double *values, double *baseline, uint64_t seed)
{
    eval_cell *cell = &report->cells[run * report->metric_count + metric];
    size_t count = report->selected_count;
    eval_report_gather(values, report, run, metric);
    cell->mean = tandem_metric_summarize(&report->metrics[metric], values, count);
    if (!report->compared) {
        return TANDEM_OK;
    }
    TANDEM_TRY(tandem_bootstrap_mean(&cell->interval, values, count, TANDEM_BOOTSTRAP_RESAMPLES, seed));
    if (run == 0) {
        return TANDEM_OK;
    }
    eval_report_gather(baseline, report, 0, metric);
    return tandem_compare_paired(&cell->comparison, baseline, values, count, ROUNDS, seed);
}

static int fill_cells(eval_report *report, uint64_t seed)
{
    size_t count = report->selected_count;
    double *values = tandem_alloc(count, sizeof *values), *baseline = tandem_alloc(count, sizeof *baseline);
    int rc = values && baseline ? TANDEM_OK : TANDEM_ERROR;
    for (size_t r = 0; r < report->run_count; r++) {
        for (size_t m = 0; rc >= 0 && m < report->metric_count; m++) {
            rc = fill_cell(report, r, m, values, baseline, seed);
        }
    }
    free(values);
    free(baseline);
    return rc;
}

/* The runs that are compared with the first are a family, by each metric. */
static int correct_cells(eval_report *report)
{
    size_t family = report->run_count - 1;
    double *p = tandem_alloc(family, sizeof *p);
    int rc = p ? TANDEM_OK : TANDEM_ERROR;
    for (size_t m = 0; rc >= 0 && m < report->metric_count; m++) {
        for (size_t r = 0; r < family; r++) {
            p[r] = eval_report_cell(report, r + 1, m)->comparison.p;
        }
        rc = tandem_holm(p, p, family);
        for (size_t r = 0; rc >= 0 && r < family; r++) {
            report->cells[(r + 1) * report->metric_count + m].holm = p[r];
        }
    }
    free(p);
    return rc;
}

/* ---- the command --------------------------------------------------------------------------------- */
static int make_report(eval_report *report, const eval_options *options, const char *qrels_path, tandem_run **runs)
{
    tandem_qrels *qrels;
    size_t cells;
    TANDEM_TRY(parse_metrics(report, options));
    if (!tandem_size_mul(&cells, report->run_count, report->metric_count)) {
        return tandem_error("too many runs and metrics");
    }
    report->cells = tandem_alloc(cells, sizeof *report->cells);
    if (!report->cells) {
        return TANDEM_ERROR;
    }
    if (options->queries) {
        report->arena = tandem_arena_new();
        TANDEM_TRY(report->arena ? tandem_texts_read(&report->texts, report->arena, options->queries) : TANDEM_ERROR);
    }
    TANDEM_TRY(tandem_qrels_read(&qrels, qrels_path));
    int rc = score_runs(report, qrels, runs);
    if (rc >= 0) {
        rc = fill_cells(report, (uint64_t)options->seed);
    }
    if (rc >= 0 && report->compared) {
        rc = correct_cells(report);
    }
    report->qrels = qrels; /* holds the query ids */
    return rc;
}

static int print_report(const eval_report *report, int64_t format)
{
    tandem_buffer text = TANDEM_BUFFER_INIT;
    int rc = format == FORMAT_JSON        ? eval_report_json(&text, report)
             : format == FORMAT_CSV       ? eval_report_csv(&text, report)
             : format == FORMAT_TREC_EVAL ? eval_report_trec(&text, report)
                                          : eval_report_tables(&text, report, (table_style)format);
    if (rc >= 0 && (fwrite(text.data, 1, text.length, stdout) != text.length || fflush(stdout) != 0)) {
        rc = tandem_error("cannot write to stdout");
    }
    tandem_buffer_free(&text);
    return rc;
}

static int check_options(const eval_options *options, size_t count)
{
    bool trec = options->format == FORMAT_TREC_EVAL;
    if (options->compare && (count < 3 || trec)) {
        return tandem_error_code(TANDEM_USAGE, trec ? "--format trec_eval has no place for --compare"
                                                    : "--compare needs at least two runs");
    }
    if (options->json && options->format != TABLE_TEXT && options->format != FORMAT_JSON) {
        return tandem_error_code(TANDEM_USAGE, "--json and --format ask for two formats");
    }
    if (options->no_summary && !(trec && options->per_query)) {
        return tandem_error_code(TANDEM_USAGE, "--no-summary needs --format trec_eval and --per-query");
    }
    return TANDEM_OK;
}

static int run_eval(const void *raw, size_t count, char *const *arguments)
{
    const eval_options *options = raw;
    eval_report report = {
        .run_count = count - 1,
        .compared = options->compare,
        .per_query = options->per_query,
        .summary = !options->no_summary,
        .bca = options->interval == 1,
        .moved = (size_t)options->moved,
        .options = {.common = options->common, .level = (int32_t)options->level, .depth = (size_t)options->depth,
                    .judged_only = options->judged_only, .exclude_self = options->exclude_self},
    };
    TANDEM_TRY(check_options(options, count));
    report.runs = tandem_alloc(report.run_count, sizeof *report.runs);
    tandem_run **runs = tandem_alloc(report.run_count, sizeof(tandem_run *));
    int rc = report.runs && runs ? TANDEM_OK : TANDEM_ERROR;
    if (rc >= 0) {
        for (size_t r = 0; r < report.run_count; r++) {
            report.runs[r].path = arguments[r + 1];
        }
        rc = make_report(&report, options, arguments[0], runs);
    }
    if (rc >= 0) {
        rc = print_report(&report, options->json ? FORMAT_JSON : options->format);
    }
    for (size_t r = 0; runs && r < report.run_count; r++) {
        tandem_run_free(runs[r]);
    }
    free(runs);
    eval_report_free(&report);
    return rc;
}

const tandem_command tandem_command_eval = {
    .name = "eval",
    .summary = "Measure runs with trec_eval's metrics, and compare them",
    .usage = "QRELS RUN [RUN...]",
    .min_arguments = 2,
    .max_arguments = SIZE_MAX,
    .options = table,
    .options_size = sizeof(eval_options),
    .run = run_eval,
    .notes = "QRELS is a BEIR .tsv or TREC qrels, a RUN a TREC run file; each may be .zst. Documents\n"
             "rank by score, ties by document id descending, as in trec_eval. A judged query that a\n"
             "run lacks counts 0 (trec_eval -c) unless --common is given.\n\n"
             "Metrics: ndcg, ndcg@K, map, map@K, mrr, mrr@K, recall@K, recall_cap@K, precision@K,\n"
             "success@K (also hit@K), rprec, bpref, iprec@X, judged@K, unjudged@K, ndcg_exp,\n"
             "ndcg_exp@K, dcg, ideal_dcg, rbp, rbp_resid, infAP, gm_map, gm_bpref, 11pt_avg,\n"
             "rprec_mult@X, ndcg_rel, Rndcg, G, binG, yaap, utility, set_P, set_recall, set_map, set_F,\n"
             "set_relative_P, num_q, num_ret, num_rel, num_rel_ret, num_nonrel_judged_ret, and, in\n"
             "trec_eval's format alone, runid and relstring. trec_eval's names and parameters are\n"
             "understood too (ndcg_cut_10, P.5,10, ndcg.1=3,2=9, rbp.p=0.8), and its lists official,\n"
             "all_trec and set. docs/evaluation.md has their definitions.\n\n"
             "trec_eval's options are here: -c the default, without it --common; -q --per-query; -n, -l,\n"
             "-M and -J as there.\n\n"
             "--compare takes the first RUN as the baseline. Intervals are 95 % bootstrap over queries\n"
             "(10,000 resamples), p is the paired two-sided randomization test: exact where at most 20\n"
             "queries differ, else from 100,000 random sign assignments. Holm p is corrected for all runs\n"
             "that are compared by that metric; p and the paired t-test's are not corrected. d is Cohen's d\n"
             "of the paired differences (mean over deviation). The queries that moved are those of the first\n"
             "metric.\n\n"
             "LaTeX tables need the package booktabs. CSV has a line a run and metric, with --per-query a\n"
             "line a run and query; CSV and JSON hold all digits, and both kinds of interval.",
};
