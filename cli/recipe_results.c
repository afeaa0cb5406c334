/* The table at the end of `tandem run`, and results.json. */
#include "cli/recipe.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/torch/shim.h"
#include "tandem/compare.h"
#include "tandem/file.h"
#include "tandem/json.h"
#include "tandem/machine.h"
#include "tandem/memory.h"
#include "tandem/metrics.h"
#include "tandem/run.h"

enum { SYSTEMS = 5, MAX_METRICS = 16, RESAMPLES = 10000 };

/* The systems of the table, and which one each is compared with (-1: none). */
static const struct {
    const char *name, *run;
    int baseline;
} systems[SYSTEMS] = {
    {"BM25", "runs/bm25.test.run", -1},
    {"zero-shot", "runs/zero-shot.test.run", 0},
    {"fine-tuned", "runs/fine-tuned.test.run", 1},
    {"cross-encoder alone", "runs/cross-encoder.test.run", 2},
    {"reranked", "runs/reranked.test.run", 2},
};

typedef struct {
    tandem_metric metrics[MAX_METRICS];
    size_t metric_count;
    tandem_run *runs[SYSTEMS];
    tandem_scores scores[SYSTEMS];
    tandem_bootstrap intervals[SYSTEMS][MAX_METRICS];
    tandem_comparison comparisons[SYSTEMS][MAX_METRICS];
} results;

static int parse_metrics(results *out, const char *list)
{
    tandem_metric *metrics;
    TANDEM_TRY(tandem_metrics_parse(&metrics, &out->metric_count, list, TANDEM_METRICS_MEANS));
    bool fits = out->metric_count <= MAX_METRICS;
    if (fits) {
        memcpy(out->metrics, metrics, out->metric_count * sizeof *metrics);
    }
    free(metrics);
    return fits ? TANDEM_OK
                : tandem_error_code(TANDEM_USAGE, "metrics: \"%s\" are more than %d", list, MAX_METRICS);
}

static int compute(results *out, const recipe *r)
{
    TANDEM_TRY(parse_metrics(out, r->settings.metrics));
    uint64_t seed = (uint64_t)r->settings.seed;
    for (size_t s = 0; s < SYSTEMS; s++) {
        char *path = recipe_path(r, systems[s].run);
        int rc = path ? tandem_run_read(&out->runs[s], path) : TANDEM_ERROR;
        free(path);
        TANDEM_TRY(rc);
        TANDEM_TRY(tandem_scores_compute(&out->scores[s], r->test, out->runs[s], out->metrics, out->metric_count, NULL));
        size_t n = out->scores[s].query_count;
        for (size_t m = 0; m < out->metric_count; m++) {
            const double *values = out->scores[s].values + m * n;
            TANDEM_TRY(tandem_bootstrap_mean(&out->intervals[s][m], values, n, RESAMPLES, seed));
            if (systems[s].baseline >= 0) {
                const double *base = out->scores[systems[s].baseline].values + m * n;
                TANDEM_TRY(tandem_compare_paired(&out->comparisons[s][m], base, values, n, RESAMPLES, seed));
            }
        }
    }
    return TANDEM_OK;
}

static void release(results *out)
{
    for (size_t s = 0; s < SYSTEMS; s++) {
        tandem_scores_free(&out->scores[s]);
        tandem_run_free(out->runs[s]);
    }
}

/* ---- for people ------------------------------------------------------------------------ */

static void print_table(const results *res, const recipe *r)
{
    printf("\n%s, split %s: %zu queries, mean [95 %% bootstrap interval]\n\n%-20s", r->settings.dataset, r->settings.splits.test,
           res->scores[0].query_count, "");
    for (size_t m = 0; m < res->metric_count; m++) {
        printf("  %-23s", res->metrics[m].name);
    }
    printf("\n");
    for (size_t s = 0; s < SYSTEMS; s++) {
        printf("%-20s", systems[s].name);
        for (size_t m = 0; m < res->metric_count; m++) {
            printf("  %.4f [%.4f, %.4f]", res->scores[s].means[m], res->intervals[s][m].percentile.low,
                   res->intervals[s][m].percentile.high);
        }
        printf("\n");
    }
    printf("\nDifferences, paired randomization test (wins/ties/losses by query)\n\n");
    for (size_t s = 0; s < SYSTEMS; s++) {
        if (systems[s].baseline < 0) {
            continue;
        }
        for (size_t m = 0; m < res->metric_count; m++) {
            const tandem_comparison *c = &res->comparisons[s][m];
            printf("%-20s vs %-12s %-12s %+.4f [%+.4f, %+.4f]  p %.4f  %zu/%zu/%zu\n", m ? "" : systems[s].name,
                   systems[systems[s].baseline].name, res->metrics[m].name, c->difference, c->interval.percentile.low,
                   c->interval.percentile.high, c->p, c->wins,
                   c->ties, c->losses);
        }
    }
}

/* One sentence on whether a step was worth it, by the first metric. */
static void print_verdict(const results *res, size_t s)
{
    const tandem_comparison *c = &res->comparisons[s][0];
    const char *baseline = systems[systems[s].baseline].name;
    if (c->p < 0.05) {
        printf("%s is significantly %s %s (%s %+.4f, p %.4f).\n", systems[s].name, c->difference > 0 ? "better than" : "worse than",
               baseline, res->metrics[0].name, c->difference, c->p);
    } else {
        printf("%s does not differ significantly from %s (%s %+.4f, p %.4f).\n", systems[s].name, baseline,
               res->metrics[0].name, c->difference, c->p);
    }
}

/* ---- for machines -------------------------------------------------------------------------- */

static cJSON *system_json(const results *res, size_t s)
{
    cJSON *system = cJSON_CreateObject();
    cJSON_AddStringToObject(system, "name", systems[s].name);
    cJSON_AddStringToObject(system, "run", systems[s].run);
    cJSON *metrics = cJSON_AddObjectToObject(system, "metrics");
    for (size_t m = 0; m < res->metric_count; m++) {
        cJSON *metric = cJSON_AddObjectToObject(metrics, res->metrics[m].name);
        cJSON_AddNumberToObject(metric, "mean", res->scores[s].means[m]);
        cJSON_AddNumberToObject(metric, "low", res->intervals[s][m].percentile.low);
        cJSON_AddNumberToObject(metric, "high", res->intervals[s][m].percentile.high);
        if (systems[s].baseline >= 0) {
            const tandem_comparison *c = &res->comparisons[s][m];
            cJSON *against = cJSON_AddObjectToObject(metric, "against");
            cJSON_AddStringToObject(against, "system", systems[systems[s].baseline].name);
            cJSON_AddNumberToObject(against, "difference", c->difference);
            cJSON_AddNumberToObject(against, "low", c->interval.percentile.low);
            cJSON_AddNumberToObject(against, "high", c->interval.percentile.high);
            cJSON_AddNumberToObject(against, "p", c->p);
            cJSON_AddNumberToObject(against, "wins", (double)c->wins);
            cJSON_AddNumberToObject(against, "ties", (double)c->ties);
            cJSON_AddNumberToObject(against, "losses", (double)c->losses);
        }
    }
    return system;
}

/* A training config as JSON. */
static int config_json(cJSON *parent, const char *name, const tandem_train_config *config, bool cross)
{
    size_t count;
    const tandem_setting *table = tandem_train_settings(cross, &count);
    tandem_buffer text = TANDEM_BUFFER_INIT;
    cJSON *json = NULL;
    int rc = tandem_settings_dump(&text, config, table, count);
    if (rc == TANDEM_OK) {
        rc = tandem_json_parse(&json, text.data, text.length, name);
    }
    if (rc == TANDEM_OK) {
        cJSON_AddItemToObject(parent, name, json);
    }
    tandem_buffer_free(&text);
    return rc;
}

static int write_json(const results *res, const recipe *r)
{
    char hex[TANDEM_HASH_HEX];
    TANDEM_TRY(tandem_torch_init()); /* for its version */
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "dataset", r->settings.dataset);
    tandem_hash_hex(r->data_key, hex);
    cJSON_AddStringToObject(json, "data_hash", hex);
    cJSON_AddStringToObject(json, "model", r->settings.model);
    tandem_hash_hex(r->model_key, hex);
    cJSON_AddStringToObject(json, "model_hash", hex);
    cJSON_AddStringToObject(json, "split", r->settings.splits.test);
    cJSON_AddNumberToObject(json, "queries", (double)res->scores[0].query_count);
    cJSON_AddNumberToObject(json, "seed", (double)r->settings.seed);
    cJSON_AddNumberToObject(json, "threads", (double)tandem_machine_threads());
    cJSON_AddStringToObject(json, "cpu", tandem_machine_cpu());
    cJSON_AddStringToObject(json, "kernels", tandem_isa_name(tandem_machine_isa()));
    cJSON_AddStringToObject(json, "libtorch", tandem_torch_version());
    cJSON *list = cJSON_AddArrayToObject(json, "systems");
    for (size_t s = 0; s < SYSTEMS; s++) {
        cJSON_AddItemToArray(list, system_json(res, s));
    }
    int rc = config_json(json, "bi", &r->bi, false);
    if (rc == TANDEM_OK) {
        rc = config_json(json, "cross", &r->cross, true);
    }
    if (rc == TANDEM_OK) {
        char *path = recipe_path(r, "results.json");
        rc = path ? tandem_json_write(json, path) : TANDEM_ERROR;
        free(path);
    }
    cJSON_Delete(json);
    return rc;
}

int recipe_results(const recipe *r)
{
    results res = {0};
    int rc = compute(&res, r);
    if (rc == TANDEM_OK) {
        print_table(&res, r);
        printf("\n");
        print_verdict(&res, 2);
        print_verdict(&res, 4);
        rc = write_json(&res, r);
    }
    release(&res);
    return rc;
}
