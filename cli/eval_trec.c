/* eval_trec.c - `tandem eval --format trec_eval`: the lines that trec_eval 10.0 prints, byte for byte. */
#include <string.h>

#include "cli/eval_report.h"

static int put_number(tandem_buffer *out, const tandem_metric *metric, const char *query, double value)
{
    bool count = metric->summary == TANDEM_METRIC_SUM || metric->summary == TANDEM_METRIC_QUERIES;
    return tandem_buffer_printf(out, count ? "%-22s\t%s\t%.0f\n" : "%-22s\t%s\t%6.4f\n", metric->trec_name, query, value);
}

static int put_relevance(tandem_buffer *out, const eval_report *report, const eval_run *run, const tandem_metric *metric,
                         const char *query)
{
    double length = metric->numbers[0];
    TANDEM_TRY(tandem_buffer_printf(out, "%-22s\t%s\t'", metric->trec_name, query));
    TANDEM_TRY(tandem_relevance_string(out, tandem_qrels_find(report->qrels, query), tandem_run_find(run->run, query),
                                       &report->options, length < 1.0 ? 0 : length < 1e9 ? (size_t)length : SIZE_MAX));
    return tandem_buffer_puts(out, "'\n");
}

static int put_query(tandem_buffer *out, const eval_report *report, const eval_run *run, size_t index)
{
    const char *query = run->scores.query_ids[index];
    for (size_t m = 0; m < report->metric_count; m++) {
        const tandem_metric *metric = &report->metrics[m];
        if (metric->summary == TANDEM_METRIC_RELEVANCE) {
            TANDEM_TRY(put_relevance(out, report, run, metric, query));
        } else if (metric->summary == TANDEM_METRIC_MEAN || metric->summary == TANDEM_METRIC_SUM) {
            double value = run->scores.values[m * run->scores.query_count + index];
            TANDEM_TRY(put_number(out, metric, query, value));
        }
    }
    return TANDEM_OK;
}

/* Over all judged queries trec_eval sums num_rel without regard to the level. */
static double judged_positive(const tandem_qrels *qrels)
{
    size_t sum = 0;
    for (size_t q = 0; q < tandem_qrels_count(qrels); q++) {
        const tandem_judged_query *query = tandem_qrels_query(qrels, q);
        for (size_t i = 0; i < query->count; i++) {
            sum += query->judgments[i].grade > 0;
        }
    }
    return (double)sum;
}

static int put_summary(tandem_buffer *out, const eval_report *report, size_t index)
{
    const eval_run *run = &report->runs[index];
    for (size_t m = 0; m < report->metric_count; m++) {
        const tandem_metric *metric = &report->metrics[m];
        if (metric->summary == TANDEM_METRIC_RUN_NAME) {
            TANDEM_TRY(tandem_buffer_printf(out, "%-22s\tall\t%s\n", metric->trec_name, run->name));
        } else if (metric->summary != TANDEM_METRIC_RELEVANCE) {
            bool everything = !report->options.common && strcmp(metric->trec_name, "num_rel") == 0;
            double value = report->cells[index * report->metric_count + m].mean;
            TANDEM_TRY(put_number(out, metric, "all", everything ? judged_positive(report->qrels) : value));
        }
    }
    return TANDEM_OK;
}

int eval_report_trec(tandem_buffer *out, const eval_report *report)
{
    for (size_t r = 0; r < report->run_count; r++) {
        for (size_t q = 0; report->per_query && q < report->selected_count; q++) {
            TANDEM_TRY(put_query(out, report, &report->runs[r], report->selected[q]));
        }
        if (report->summary) {
            TANDEM_TRY(put_summary(out, report, r));
        }
    }
    return TANDEM_OK;
}
