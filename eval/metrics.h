/* metrics.h - private to eval/: what a metric sees of a query, and the table of metrics. */
#ifndef TANDEM_EVAL_METRICS_H
#define TANDEM_EVAL_METRICS_H

#include "tandem/metrics.h"

/* ---- a query (judge.c) ------------------------------------------------------------ */
enum { NOT_JUDGED = -1, JUDGED_NEGATIVE = -2 };

/* A ranking reduced to grades. */
typedef struct {
    const int32_t *grades; /* [retrieved] in rank order, or one of the two above */
    size_t retrieved;
    const size_t *relevant_at; /* [relevant_retrieved] indices in grades, ascending */
    size_t relevant_retrieved;
    size_t unjudged_retrieved; /* with no judgment or a negative one */
    const int32_t *ideal;      /* [judged] grades from 0 on of all judged documents, descending */
    size_t judged;
    size_t positive; /* of those, grades above 0 */
    size_t relevant; /* of those, grades from the level on */
    double *gains;   /* [judged] scratch for a metric's own use */
} judged_ranking;

/* Scratch that is reused from query to query; zeroed at first. */
typedef struct {
    tandem_strmap *by_id; /* judged documents of one query */
    int32_t *grades, *ideal;
    size_t *relevant_at;
    double *gains;
    size_t judged_capacity, retrieved_capacity;
    size_t self_excluded; /* so far */
} judge;

/* Looks up the grades of a ranking (NULL: nothing was retrieved). The result lives in `j` until its next use. */
int judge_query(judge *j, judged_ranking *out, const tandem_judged_query *judged, const tandem_ranking *ranking,
                const tandem_score_options *options);
void judge_free(judge *j);

/* ---- the table (measures.c) --------------------------------------------------------- */
typedef enum {
    PARAMETERS_NONE,
    PARAMETERS_CUTOFFS,    /* ranks; each makes a metric */
    PARAMETERS_SHARES,     /* shares of the relevant documents; each makes a metric */
    PARAMETERS_NUMBERS,    /* any number of them, one metric */
    PARAMETERS_FIXED,      /* as many numbers as there are defaults, one metric */
    PARAMETERS_GAINS,      /* grade=gain, one metric */
    PARAMETERS_PERSISTENCE /* the same, and p=persistence */
} parameter_kind;

enum { SET_OFFICIAL = 1, SET_ALL = 2, SET_UNRANKED = 4 };

typedef struct {
    const char *name;       /* as tandem prints it; two rows share one where trec_eval has two names */
    const char *trec_name;  /* NULL: trec_eval has no such metric */
    const char *aliases[2]; /* or NULL */
    parameter_kind parameters;
    const char *defaults; /* of the parameters, trec_eval's; NULL: they must be given, or there are none */
    unsigned sets;        /* trec_eval's lists that have it */
    tandem_metric_summary summary;
    double (*value)(const judged_ranking *r, const tandem_metric *metric); /* NULL: not a number */
    const char *definition;
} measure;

extern const measure measures[];
extern const size_t measure_count;

double metric_value(const tandem_metric *metric, const judged_ranking *r);

#endif
