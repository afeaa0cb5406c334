/* pipeline_report.c - what a pipeline was measured at, as tables or as JSON. */
#include <cjson/cJSON.h>
#include <stdlib.h>

#include "cli/pipeline.h"
#include "tandem/json.h"
#include "tandem/machine.h"

static double milliseconds(double seconds)
{
    return 1000 * seconds;
}

/* ---- text --------------------------------------------------------------------------------------- */
static int print_latency(tandem_buffer *out, const tandem_latency *latency)
{
    return tandem_buffer_printf(out, " %9.2f %9.2f %9.2f\n", milliseconds(latency->p50), milliseconds(latency->p90),
                                milliseconds(latency->p99));
}

static int print_stages(tandem_buffer *out, const pipeline_report *report, const pipeline *p)
{
    TANDEM_TRY(tandem_buffer_printf(out, "%-28s %9s", "stage", "documents"));
    for (size_t m = 0; m < p->metric_count; m++) {
        TANDEM_TRY(tandem_buffer_printf(out, " %12s", p->metrics[m].name));
    }
    TANDEM_TRY(tandem_buffer_printf(out, " %9s %9s %9s\n", "p50 ms", "p90 ms", "p99 ms"));
    for (size_t i = 0; i < report->stage_count; i++) {
        const pipeline_stage *stage = &report->stages[i];
        bool cut = i + 1 == report->stage_count;
        TANDEM_TRY(tandem_buffer_printf(out, "%-28s %9zu", stage->name, stage->documents));
        for (size_t m = 0; m < p->metric_count; m++) {
            TANDEM_TRY(tandem_buffer_printf(out, " %12.4f", stage->means[m]));
        }
        TANDEM_TRY(cut ? tandem_buffer_puts(out, "\n") : print_latency(out, &stage->latency));
    }
    TANDEM_TRY(tandem_buffer_printf(out, "%-28s %9s%*s", "whole query", "", (int)(13 * p->metric_count), ""));
    return print_latency(out, &report->total);
}

static int print_ceiling(tandem_buffer *out, const pipeline_report *report, const pipeline *p)
{
    size_t top = (size_t)p->settings.retrieve.top, depth = p->reranker ? (size_t)p->settings.rerank.depth : top;
    TANDEM_TRY(tandem_buffer_printf(out, "\nof the relevant documents, the first stage finds %.4f in its %zu",
                                    report->retrieved_recall, top));
    if (p->reranker) {
        TANDEM_TRY(tandem_buffer_printf(out, ", %.4f in the %zu that are reranked", report->reranked_recall, depth));
    }
    return tandem_buffer_printf(out, ";\nno order of these %zu has %s above %.4f\n", depth, p->metrics[0].name,
                                report->ceiling);
}

static int print_sweep(tandem_buffer *out, const pipeline_report *report, const pipeline *p)
{
    TANDEM_TRY(tandem_buffer_printf(out, "\n%-28s %9s %7s %12s %9s %9s %9s  %s\n", "reranker", "depth", "weight",
                                    p->metrics[0].name, "p50 ms", "p90 ms", "p99 ms", "front"));
    for (size_t i = 0; i < report->point_count; i++) {
        const pipeline_point *point = &report->points[i];
        TANDEM_TRY(tandem_buffer_printf(out, "%-28s %9zu %7.2f %12.4f %9.2f %9.2f %9.2f%s\n",
                                        point->reranker ? point->reranker : "none", point->depth, point->weight,
                                        point->quality, milliseconds(point->latency.p50),
                                        milliseconds(point->latency.p90), milliseconds(point->latency.p99),
                                        point->front ? "  *" : ""));
    }
    return tandem_buffer_puts(out, "\n*: no other line is at least as good and as fast by the median\n");
}

int pipeline_report_text(tandem_buffer *out, const pipeline_report *report, const pipeline *p)
{
    TANDEM_TRY(tandem_buffer_printf(out, "%s, split %s: %zu queries, one at a time, %zu threads\n\n",
                                    p->settings.dataset, p->settings.split, report->query_count,
                                    tandem_machine_threads()));
    TANDEM_TRY(print_stages(out, report, p));
    TANDEM_TRY(print_ceiling(out, report, p));
    return report->point_count > 0 ? print_sweep(out, report, p) : TANDEM_OK;
}

/* ---- JSON ------------------------------------------------------------------------------------------ */
static void add_latency(cJSON *parent, const tandem_latency *latency)
{
    cJSON *json = cJSON_AddObjectToObject(parent, "latency_ms");
    cJSON_AddNumberToObject(json, "mean", milliseconds(latency->mean));
    cJSON_AddNumberToObject(json, "p50", milliseconds(latency->p50));
    cJSON_AddNumberToObject(json, "p90", milliseconds(latency->p90));
    cJSON_AddNumberToObject(json, "p99", milliseconds(latency->p99));
}

static void add_stages(cJSON *parent, const pipeline_report *report, const pipeline *p)
{
    cJSON *list = cJSON_AddArrayToObject(parent, "stages");
    for (size_t i = 0; i < report->stage_count; i++) {
        const pipeline_stage *stage = &report->stages[i];
        cJSON *json = cJSON_CreateObject();
        cJSON_AddItemToArray(list, json);
        cJSON_AddStringToObject(json, "name", stage->name);
        cJSON_AddNumberToObject(json, "documents", (double)stage->documents);
        cJSON *metrics = cJSON_AddObjectToObject(json, "metrics");
        for (size_t m = 0; m < p->metric_count; m++) {
            cJSON_AddNumberToObject(metrics, p->metrics[m].name, stage->means[m]);
        }
        if (i + 1 < report->stage_count) {
            add_latency(json, &stage->latency);
        }
    }
}

static void add_sweep(cJSON *parent, const pipeline_report *report)
{
    cJSON *list = cJSON_AddArrayToObject(parent, "sweep");
    for (size_t i = 0; i < report->point_count; i++) {
        const pipeline_point *point = &report->points[i];
        cJSON *json = cJSON_CreateObject();
        cJSON_AddItemToArray(list, json);
        if (point->reranker) {
            cJSON_AddStringToObject(json, "reranker", point->reranker);
        } else {
            cJSON_AddNullToObject(json, "reranker");
        }
        cJSON_AddNumberToObject(json, "depth", (double)point->depth);
        cJSON_AddNumberToObject(json, "weight", point->weight);
        cJSON_AddNumberToObject(json, "quality", point->quality);
        add_latency(json, &point->latency);
        cJSON_AddBoolToObject(json, "front", point->front);
    }
}

static int add_settings(cJSON *parent, const pipeline *p)
{
    tandem_buffer text = TANDEM_BUFFER_INIT;
    cJSON *settings = NULL;
    int rc = pipeline_dump(&text, p);
    if (rc == TANDEM_OK) {
        rc = tandem_json_parse(&settings, text.data, text.length, "settings");
    }
    if (rc == TANDEM_OK) {
        cJSON_AddItemToObject(parent, "settings", settings);
    }
    tandem_buffer_free(&text);
    return rc;
}

int pipeline_report_json(tandem_buffer *out, const pipeline_report *report, const pipeline *p)
{
    cJSON *json = cJSON_CreateObject();
    int rc = add_settings(json, p);
    cJSON_AddNumberToObject(json, "queries", (double)report->query_count);
    cJSON_AddNumberToObject(json, "threads", (double)tandem_machine_threads());
    cJSON_AddStringToObject(json, "cpu", tandem_machine_cpu());
    cJSON_AddNumberToObject(json, "weight", p->reranker ? p->fusion.weight : 0.0);
    add_stages(json, report, p);
    add_latency(json, &report->total);
    cJSON *ceiling = cJSON_AddObjectToObject(json, "ceiling");
    cJSON_AddNumberToObject(ceiling, "retrieved_recall", report->retrieved_recall);
    cJSON_AddNumberToObject(ceiling, "reranked_recall", report->reranked_recall);
    cJSON_AddNumberToObject(ceiling, p->metrics[0].name, report->ceiling);
    if (report->point_count > 0) {
        add_sweep(json, report);
    }
    char *text = rc == TANDEM_OK ? cJSON_Print(json) : NULL;
    if (rc == TANDEM_OK) {
        rc = text ? tandem_buffer_printf(out, "%s\n", text) : tandem_error("out of memory: the report");
    }
    cJSON_free(text);
    cJSON_Delete(json);
    return rc;
}
