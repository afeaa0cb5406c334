/* pipeline.h - what the files behind `tandem pipeline` share: the settings, the loaded pipeline, and what was
 * measured. */
#ifndef TANDEM_CLI_PIPELINE_H
#define TANDEM_CLI_PIPELINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tandem/dataset.h"
#include "tandem/memory.h"
#include "tandem/metrics.h"
#include "tandem/pipeline.h"
#include "tandem/qrels.h"
#include "tandem/run.h"

enum { PIPELINE_METRICS = 16 };

/* One field a row of the settings (pipeline.c). Lists are strings with commas. */
typedef struct {
    char *dataset, *split, *metrics;
    int64_t max_length, dtype, cut;
    struct {
        char *models, *weights;
        int64_t top, fusion, analyzer;
        double rrf_k, k1, b;
    } retrieve;
    struct {
        char *model, *dev_split;
        int64_t depth;
    } rerank;
    struct {
        char *models, *depths;
        int64_t queries;
    } sweep;
} pipeline_settings;

typedef struct {
    char **items; /* owned */
    size_t count;
} pipeline_list;

typedef struct {
    pipeline_settings settings;
    pipeline_list models; /* of the first stage */
    double *weights;      /* [models.count] or NULL */
    tandem_metric metrics[PIPELINE_METRICS];
    size_t metric_count;
    tandem_dataset *dataset;
    tandem_retriever *retriever;
    tandem_reranker *reranker; /* NULL: none */
    tandem_fusion fusion;
} pipeline;

/* Reads the settings, applies assignments ("key=value"), loads dataset and models, and fits the reranker's weight
 * where rerank.dev_split says on what. */
int pipeline_open(pipeline *out, const char *path, const char *const *assignments, size_t count);
void pipeline_close(pipeline *p);
/* A cross-encoder for this dataset, by the settings. */
int pipeline_open_reranker(tandem_reranker **out, const pipeline *p, const char *directory);
int pipeline_split_list(pipeline_list *out, const char *key, const char *text);
void pipeline_free_list(pipeline_list *list);
/* All settings as they are. */
int pipeline_dump(tandem_buffer *out, const pipeline *p);

/* ---- answering one query ------------------------------------------------------------------ */
/* Stages: those of the retriever, then the reranker's if there is one. */
typedef struct {
    tandem_run **runs; /* [stages] */
    double *seconds;   /* [stages] */
    size_t count;
} pipeline_answer;

size_t pipeline_stages(const pipeline *p);
const char *pipeline_stage_name(const pipeline *p, size_t stage); /* borrowed */
int pipeline_answer_new(pipeline_answer *out, const pipeline *p);
void pipeline_answer_free(pipeline_answer *answer);
/* Fills in the runs, dropping those of the query before. */
int pipeline_ask(pipeline_answer *out, const pipeline *p, const tandem_text *query);

/* ---- measuring ------------------------------------------------------------------------------ */
typedef struct {
    const char *name;
    size_t documents; /* of a query, at most */
    double means[PIPELINE_METRICS];
    tandem_latency latency;
} pipeline_stage;

/* A reranker at a depth; NULL at 0 is the first stage alone. */
typedef struct {
    char *reranker;
    size_t depth;
    double weight, quality; /* by the first metric */
    tandem_latency latency; /* of the whole query */
    bool front;
} pipeline_point;

typedef struct {
    size_t query_count;
    pipeline_stage *stages; /* [stage_count] the last one is the cut */
    size_t stage_count;
    tandem_latency total;
    double retrieved_recall, reranked_recall; /* of the first stage's top, and of what is reranked */
    double ceiling;                           /* the first metric, were these ranked perfectly */
    pipeline_point *points;                   /* [point_count] the sweep */
    size_t point_count, point_room;
} pipeline_report;

/* Answers the split's queries one at a time; *final is the run that comes out, which the caller frees. */
int pipeline_measure(pipeline_report *out, tandem_run **final, const pipeline *p, bool sweep);
void pipeline_report_free(pipeline_report *report);
/* Of a run over all judged queries. */
int pipeline_metric(double *out, const tandem_metric *metric, const tandem_qrels *qrels, const tandem_run *run);
int pipeline_report_text(tandem_buffer *out, const pipeline_report *report, const pipeline *p);
int pipeline_report_json(tandem_buffer *out, const pipeline_report *report, const pipeline *p);
/* Adds the points of the sweep. `first` is the first stage's run of `queries`, `seconds` [count] what it took. */
int pipeline_sweep(pipeline_report *report, const pipeline *p, const tandem_qrels *qrels, const tandem_text *queries,
                   size_t count, const tandem_run *first, const double *seconds);

/* Scores the first `depth` candidates of every ranking of `first`. */
int pipeline_score_all(tandem_run **out, const tandem_reranker *reranker, const tandem_run *first,
                       const tandem_text *queries, size_t count, size_t depth);
/* Both stages' runs of the queries of rerank.dev_split, to fit a weight on. */
int pipeline_dev_runs(tandem_run **first, tandem_run **scored, const pipeline *p, const tandem_reranker *reranker,
                      tandem_qrels **qrels, size_t depth);

/* ---- the prompt --------------------------------------------------------------------------------- */
/* Answers the lines of stdin until its end. */
int pipeline_prompt(const pipeline *p, bool json);

#endif
