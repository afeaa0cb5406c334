/* measures.c - the metrics of one query, and the table of them.
 *
 * Definitions are those of trec_eval 10.0 (its m_*.c) unless said otherwise. Where that divides zero by zero (nothing
 * retrieved after -J, no positive gain) the value here is 0.
 *
 * Adding a metric, three things to do: write its function over a `judged_ranking`, add its row to the table, and
 * describe it in docs/evaluation.md. Names, help and `tandem eval -m` follow from the table; tests/unit/test_metrics.c
 * wants a query computed by hand. */
#include <math.h>
#include <stdlib.h>

#include "eval/metrics.h"

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* a / b, and 0 where there is nothing to divide by. */
static double ratio(double a, double b)
{
    return b > 0.0 ? a / b : 0.0;
}

/* How many ranks the metric looks at. */
static size_t depth_of(const tandem_metric *metric)
{
    return metric->cutoff ? metric->cutoff : SIZE_MAX;
}

/* ---- counts ------------------------------------------------------------------------ */
static double queries(const judged_ranking *r, const tandem_metric *metric)
{
    (void)r;
    (void)metric;
    return 1.0;
}

static double retrieved(const judged_ranking *r, const tandem_metric *metric)
{
    (void)metric;
    return (double)r->retrieved;
}

static double relevant(const judged_ranking *r, const tandem_metric *metric)
{
    (void)metric;
    return (double)r->relevant;
}

static double relevant_retrieved(const judged_ranking *r, const tandem_metric *metric)
{
    (void)metric;
    return (double)r->relevant_retrieved;
}

static double nonrelevant_judged_retrieved(const judged_ranking *r, const tandem_metric *metric)
{
    (void)metric;
    return (double)(r->retrieved - r->unjudged_retrieved - r->relevant_retrieved);
}

/* ---- relevant or not, at a rank ------------------------------------------------------ */
static size_t relevant_in_top(const judged_ranking *r, size_t k)
{
    size_t found = 0;
    while (found < r->relevant_retrieved && r->relevant_at[found] < k) {
        found++;
    }
    return found;
}

static double recall(const judged_ranking *r, const tandem_metric *metric)
{
    return ratio((double)relevant_in_top(r, metric->cutoff), (double)r->relevant);
}

static double capped_recall(const judged_ranking *r, const tandem_metric *metric)
{
    return ratio((double)relevant_in_top(r, metric->cutoff), (double)smaller(metric->cutoff, r->relevant));
}

static double precision(const judged_ranking *r, const tandem_metric *metric)
{
    return (double)relevant_in_top(r, metric->cutoff) / (double)metric->cutoff;
}

static double success(const judged_ranking *r, const tandem_metric *metric)
{
    return relevant_in_top(r, metric->cutoff) > 0 ? 1.0 : 0.0;
}

static double reciprocal_rank(const judged_ranking *r, const tandem_metric *metric)
{
    return relevant_in_top(r, depth_of(metric)) > 0 ? 1.0 / (double)(r->relevant_at[0] + 1) : 0.0;
}

static double r_precision(const judged_ranking *r, const tandem_metric *metric)
{
    (void)metric;
    return ratio((double)relevant_in_top(r, r->relevant), (double)r->relevant);
}

static double r_precision_at_multiple(const judged_ranking *r, const tandem_metric *metric)
{
    /* trec_eval's own rounding: up from a tenth. */
    double rank = trunc(metric->numbers[0] * (double)r->relevant + 0.9);
    return rank < 1.0 ? 0.0 : (double)relevant_in_top(r, rank < 1e15 ? (size_t)rank : SIZE_MAX) / rank;
}

static double unjudged(const judged_ranking *r, const tandem_metric *metric)
{
    size_t found = 0;
    for (size_t i = 0; i < smaller(metric->cutoff, r->retrieved); i++) {
        found += r->grades[i] < 0;
    }
    return (double)found / (double)metric->cutoff;
}

/* ir_measures' Judged@k: over the results that there are; a negative grade is a judgment. */
static double judged(const judged_ranking *r, const tandem_metric *metric)
{
    size_t found = 0, count = smaller(metric->cutoff, r->retrieved);
    for (size_t i = 0; i < count; i++) {
        found += r->grades[i] != NOT_JUDGED;
    }
    return ratio((double)found, (double)count);
}

/* ---- relevant or not, over the ranking -------------------------------------------------- */
static double sum_of_precisions(const judged_ranking *r, size_t k)
{
    double sum = 0.0;
    for (size_t i = 0; i < r->relevant_retrieved && r->relevant_at[i] < k; i++) {
        sum += (double)(i + 1) / (double)(r->relevant_at[i] + 1);
    }
    return sum;
}

static double average_precision(const judged_ranking *r, const tandem_metric *metric)
{
    return ratio(sum_of_precisions(r, depth_of(metric)), (double)r->relevant);
}

/* Robertson, "On smoothing average precision", ECIR 2012. */
static double yaap(const judged_ranking *r, const tandem_metric *metric)
{
    (void)metric;
    double sum = sum_of_precisions(r, SIZE_MAX);
    return log((1.0 + sum) / (1.0 + (double)r->relevant - sum));
}

/* The best precision at any rank that has at least that share of the relevant documents. */
static double interpolated_precision(const judged_ranking *r, double share)
{
    double needed = round(share * (double)r->relevant);
    double best = 0.0;
    for (size_t i = r->relevant_retrieved; i > 0 && (double)i >= needed; i--) {
        best = fmax(best, (double)i / (double)(r->relevant_at[i - 1] + 1));
    }
    return best;
}

static double precision_at_recall(const judged_ranking *r, const tandem_metric *metric)
{
    return interpolated_precision(r, metric->numbers[0]);
}

static double mean_precision_at_recall(const judged_ranking *r, const tandem_metric *metric)
{
    double sum = 0.0;
    for (size_t i = metric->number_count; i > 0; i--) {
        sum += interpolated_precision(r, metric->numbers[i - 1]);
    }
    return sum / (double)metric->number_count;
}

/* Buckley and Voorhees, "Retrieval evaluation with incomplete information", SIGIR 2004. */
static double binary_preference(const judged_ranking *r, const tandem_metric *metric)
{
    (void)metric;
    size_t nonrelevant = 0, next = 0;
    double bound = (double)smaller(r->judged - r->relevant, r->relevant), sum = 0.0;
    for (size_t i = 0; i < r->retrieved; i++) {
        if (next < r->relevant_retrieved && r->relevant_at[next] == i) {
            next++;
            sum += nonrelevant > 0 ? 1.0 - (double)smaller(nonrelevant, r->relevant) / bound : 1.0;
        } else {
            nonrelevant += r->grades[i] >= 0;
        }
    }
    return ratio(sum, (double)r->relevant);
}

/* Yilmaz and Aslam, "Estimating average precision with incomplete and imperfect judgments", CIKM 2006: negative
 * grades are documents of the pool that were not drawn for judging. */
static double inferred_average_precision(const judged_ranking *r, const tandem_metric *metric)
{
    (void)metric;
    const double epsilon = 0.00001;
    double sum = 0.0, nonrelevant = 0.0, undrawn = 0.0, found = 0.0;
    size_t next = 0;
    for (size_t i = 0; i < r->retrieved; i++) {
        if (next < r->relevant_retrieved && r->relevant_at[next] == i) {
            double above = (double)i;
            sum += i == 0 ? 1.0
                          : 1.0 / (above + 1.0) + above / (above + 1.0) * ((found + nonrelevant + undrawn) / above) *
                                                      ((found + epsilon) / (found + nonrelevant + 2.0 * epsilon));
            next++;
            found += 1.0;
        } else if (r->grades[i] >= 0) {
            nonrelevant += 1.0;
        } else if (r->grades[i] == JUDGED_NEGATIVE) {
            undrawn += 1.0;
        }
    }
    return ratio(sum, (double)r->relevant);
}

static double binary_gain(const judged_ranking *r, const tandem_metric *metric)
{
    (void)metric;
    double sum = 0.0;
    for (size_t i = 0; i < r->relevant_retrieved; i++) {
        sum += 1.0 / log2((double)(r->relevant_at[i] - i) + 2.0); /* nonrelevant ones before it */
    }
    return ratio(sum, (double)r->relevant);
}

/* ---- the retrieved as a set ------------------------------------------------------------- */
static double set_precision(const judged_ranking *r, const tandem_metric *metric)
{
    (void)metric;
    return ratio((double)r->relevant_retrieved, (double)r->retrieved);
}

static double set_recall(const judged_ranking *r, const tandem_metric *metric)
{
    (void)metric;
    return ratio((double)r->relevant_retrieved, (double)r->relevant);
}

static double set_relative_precision(const judged_ranking *r, const tandem_metric *metric)
{
    (void)metric;
    return ratio((double)r->relevant_retrieved, (double)smaller(r->retrieved, r->relevant));
}

static double set_average_precision(const judged_ranking *r, const tandem_metric *metric)
{
    (void)metric;
    double found = (double)r->relevant_retrieved;
    return ratio(found * found, (double)r->retrieved * (double)r->relevant);
}

static double set_f(const judged_ranking *r, const tandem_metric *metric)
{
    double x = metric->numbers[0], p = set_precision(r, metric), recalled = set_recall(r, metric);
    return r->relevant_retrieved > 0 ? (x + 1.0) * p * recalled / (x * p + recalled) : 0.0;
}

static double utility(const judged_ranking *r, const tandem_metric *metric)
{
    double found = (double)r->relevant_retrieved, all = (double)r->retrieved, known = (double)r->relevant;
    const double *p = metric->numbers;
    return p[0] * found + p[1] * (all - found) + p[2] * (known - found) + p[3] * (found - all - known);
}

/* ---- gains ---------------------------------------------------------------------------------- */
static bool has_gain(const tandem_metric *metric, int32_t grade, double *gain)
{
    for (size_t i = 0; i < metric->gain_count; i++) {
        if (metric->gains[i].grade == grade) {
            *gain = metric->gains[i].gain;
            return true;
        }
    }
    return false;
}

static double gain_of(const tandem_metric *metric, int32_t grade)
{
    double gain = grade > 0 ? (double)grade : 0.0;
    has_gain(metric, grade, &gain);
    return gain;
}

static int descending(const void *left, const void *right)
{
    const double *a = left, *b = right;
    return (*a < *b) - (*a > *b);
}

/* The gains of the ideal ranking as far as they are positive, in r->gains. Returns their number. */
static size_t ideal_gains(const judged_ranking *r, const tandem_metric *metric)
{
    size_t count = 0;
    for (size_t i = 0; i < r->judged; i++) {
        double gain = gain_of(metric, r->ideal[i]);
        if (gain > 0.0) {
            r->gains[count++] = gain;
        }
    }
    if (metric->gain_count > 0 && count > 1) {
        qsort(r->gains, count, sizeof *r->gains, descending);
    }
    return count;
}

static double discount(size_t rank_from_0)
{
    return log2((double)rank_from_0 + 2.0);
}

static double dcg_of_top(const judged_ranking *r, const tandem_metric *metric, size_t k)
{
    double sum = 0.0;
    for (size_t i = 0; i < smaller(k, r->retrieved); i++) {
        double gain = gain_of(metric, r->grades[i]);
        if (gain != 0.0) {
            sum += gain / discount(i);
        }
    }
    return sum;
}

static double ideal_dcg_of_top(const judged_ranking *r, const tandem_metric *metric, size_t k)
{
    size_t count = smaller(k, ideal_gains(r, metric));
    double sum = 0.0;
    for (size_t i = 0; i < count; i++) {
        sum += r->gains[i] / discount(i);
    }
    return sum;
}

static double dcg(const judged_ranking *r, const tandem_metric *metric)
{
    return dcg_of_top(r, metric, depth_of(metric));
}

static double ideal_dcg(const judged_ranking *r, const tandem_metric *metric)
{
    return ideal_dcg_of_top(r, metric, depth_of(metric));
}

static double ndcg(const judged_ranking *r, const tandem_metric *metric)
{
    return ratio(dcg(r, metric), ideal_dcg(r, metric));
}

/* Mean of nDCG at each document of positive gain; where one was not retrieved, nDCG of the whole ranking. */
static double ndcg_at_relevant(const judged_ranking *r, const tandem_metric *metric)
{
    size_t positive = ideal_gains(r, metric), found = 0;
    double sum = 0.0, reached = 0.0, ideal = 0.0;
    for (size_t i = 0; i < r->retrieved; i++) {
        double gain = gain_of(metric, r->grades[i]);
        reached += gain / discount(i);
        ideal += i < positive ? r->gains[i] / discount(i) : 0.0;
        if (gain > 0.0) {
            found++;
            sum += reached / ideal;
        }
    }
    for (size_t i = r->retrieved; i < positive; i++) {
        ideal += r->gains[i] / discount(i);
    }
    sum += (double)(positive - found) * ratio(reached, ideal);
    return sum > 0.0 ? sum / (double)positive : 0.0;
}

/* Mean of nDCG at the ranks where the ideal ranking's gain falls, and at the end where two results or more are
 * beyond the last of them. */
static double ndcg_at_levels(const judged_ranking *r, const tandem_metric *metric)
{
    if (r->relevant == 0) {
        return 0.0;
    }
    size_t positive = ideal_gains(r, metric), points = 0;
    double sum = 0.0, reached = 0.0, ideal = 0.0;
    for (size_t i = 0; i < positive; i++) {
        reached += i < r->retrieved ? gain_of(metric, r->grades[i]) / discount(i) : 0.0;
        ideal += r->gains[i] / discount(i);
        if (i + 1 == positive || r->gains[i + 1] < r->gains[i]) {
            sum += reached / ideal;
            points++;
        }
    }
    if (positive > 0 && r->retrieved > positive + 1) {
        sum += dcg_of_top(r, metric, SIZE_MAX) / ideal;
        points++;
    }
    return ratio(sum, (double)points);
}

/* Each gain is discounted by how far the ranking is behind the ideal one so far; a rank of the ideal ranking
 * counts at least 1. */
static double normalized_gain(const judged_ranking *r, const tandem_metric *metric)
{
    size_t positive = ideal_gains(r, metric);
    double sum = 0.0, reached = 0.0, behind = 0.0, ideal = 0.0;
    for (size_t i = 0; i < r->retrieved; i++) {
        double gain = gain_of(metric, r->grades[i]);
        reached += gain;
        behind += i < positive ? fmax(r->gains[i], 1.0) : 1.0;
        if (gain != 0.0) {
            sum += gain / log2(2.0 + behind - reached);
        }
    }
    for (size_t i = 0; i < positive; i++) {
        ideal += r->gains[i];
    }
    return ratio(sum, ideal);
}

/* Gains 2^grade - 1 (Burges et al., ICML 2005), all of them over 2^top so that none overflows. */
static double exponential_dcg(const int32_t *grades, size_t count, double top)
{
    double sum = 0.0;
    for (size_t i = 0; i < count; i++) {
        if (grades[i] > 0) {
            sum += (exp2((double)grades[i] - top) - exp2(-top)) / discount(i);
        }
    }
    return sum;
}

static double exponential_ndcg(const judged_ranking *r, const tandem_metric *metric)
{
    double top = r->positive > 0 ? (double)r->ideal[0] : 0.0;
    size_t k = depth_of(metric);
    return ratio(exponential_dcg(r->grades, smaller(k, r->retrieved), top),
                 exponential_dcg(r->ideal, smaller(k, r->positive), top));
}

/* ---- rank-biased precision (Moffat and Zobel, TOIS 2008) ------------------------------------- */
/* The smallest and the largest gain that a document of this query could have, 0 among them: unjudged ones have it. */
static void range_of_gains(const judged_ranking *r, const tandem_metric *metric, double *low, double *high)
{
    double gain;
    int32_t top = r->judged > 0 ? r->ideal[0] : 0;
    while (top > 0 && has_gain(metric, top, &gain)) {
        top--;
    }
    *low = 0.0;
    *high = (double)top;
    for (size_t i = 0; i < metric->gain_count; i++) {
        *low = fmin(*low, metric->gains[i].gain);
        *high = fmax(*high, metric->gains[i].gain);
    }
}

static double persistence(const tandem_metric *metric)
{
    return metric->number_count > 0 ? metric->numbers[0] : 0.9;
}

static double rank_biased_precision(const judged_ranking *r, const tandem_metric *metric)
{
    double low, high, sum = 0.0, weight = 1.0, p = persistence(metric);
    range_of_gains(r, metric, &low, &high);
    bool scaled = low < 0.0 || high > 1.0;
    for (size_t i = 0; i < r->retrieved; i++) {
        if (r->grades[i] >= 0) {
            double gain = gain_of(metric, r->grades[i]);
            sum += weight * (scaled ? (gain - low) / (high - low) : gain);
        }
        weight *= p;
    }
    return (1.0 - p) * sum;
}

/* What unjudged documents could add. */
static double rank_biased_residual(const judged_ranking *r, const tandem_metric *metric)
{
    double sum = 0.0, weight = 1.0, p = persistence(metric);
    for (size_t i = 0; i < r->retrieved; i++) {
        sum += r->grades[i] < 0 ? weight : 0.0;
        weight *= p;
    }
    return r->unjudged_retrieved > 0 ? weight + (1.0 - p) * sum : 0.0;
}

/* ---- the table, in trec_eval's order, then what trec_eval has not ------------------------------ */
#define RANKS "5,10,15,20,30,100,200,500,1000"
#define TENTHS "0,0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9,1"
#define IN_ALL (SET_ALL | SET_UNRANKED | SET_OFFICIAL)
#define IN_RANKED (SET_ALL | SET_OFFICIAL)
#define IN_SET (SET_ALL | SET_UNRANKED)

const measure measures[] = {
    {"runid", "runid", {NULL}, PARAMETERS_NONE, NULL, IN_ALL, TANDEM_METRIC_RUN_NAME, NULL, "the run's name"},
    {"num_q", "num_q", {NULL}, PARAMETERS_NONE, NULL, IN_ALL, TANDEM_METRIC_QUERIES, queries, "number of queries"},
    {"num_ret", "num_ret", {NULL}, PARAMETERS_NONE, NULL, IN_ALL, TANDEM_METRIC_SUM, retrieved,
     "number of retrieved documents"},
    {"num_rel", "num_rel", {NULL}, PARAMETERS_NONE, NULL, IN_ALL, TANDEM_METRIC_SUM, relevant,
     "number of relevant documents"},
    {"num_rel_ret", "num_rel_ret", {NULL}, PARAMETERS_NONE, NULL, IN_ALL, TANDEM_METRIC_SUM, relevant_retrieved,
     "number of relevant documents that were retrieved"},
    {"map", "map", {NULL}, PARAMETERS_NONE, NULL, IN_RANKED, TANDEM_METRIC_MEAN, average_precision,
     "mean of the precision at each relevant document, over all relevant documents"},
    {"gm_map", "gm_map", {NULL}, PARAMETERS_NONE, NULL, IN_RANKED, TANDEM_METRIC_GEOMETRIC, average_precision,
     "map with the geometric mean over queries"},
    {"rprec", "Rprec", {NULL}, PARAMETERS_NONE, NULL, IN_RANKED, TANDEM_METRIC_MEAN, r_precision,
     "precision at the number of relevant documents"},
    {"bpref", "bpref", {NULL}, PARAMETERS_NONE, NULL, IN_RANKED, TANDEM_METRIC_MEAN, binary_preference,
     "share of judged nonrelevant documents that are not above a relevant one"},
    {"mrr", "recip_rank", {NULL}, PARAMETERS_NONE, NULL, IN_RANKED, TANDEM_METRIC_MEAN, reciprocal_rank,
     "1 / rank of the first relevant document"},
    {"iprec", "iprec_at_recall", {NULL}, PARAMETERS_SHARES, TENTHS, IN_RANKED, TANDEM_METRIC_MEAN, precision_at_recall,
     "largest precision at any rank with at least the share X of the relevant documents"},
    {"precision", "P", {NULL}, PARAMETERS_CUTOFFS, RANKS, IN_RANKED, TANDEM_METRIC_MEAN, precision,
     "share of the top K that is relevant"},
    {"relstring", "relstring", {NULL}, PARAMETERS_FIXED, "10", SET_ALL, TANDEM_METRIC_RELEVANCE, NULL,
     "grades of the top results as a text"},
    {"recall", "recall", {NULL}, PARAMETERS_CUTOFFS, RANKS, SET_ALL, TANDEM_METRIC_MEAN, recall,
     "share of the relevant documents that are in the top K"},
    {"infAP", "infAP", {NULL}, PARAMETERS_NONE, NULL, SET_ALL, TANDEM_METRIC_MEAN, inferred_average_precision,
     "map inferred from a judged sample of the pool"},
    {"gm_bpref", "gm_bpref", {NULL}, PARAMETERS_NONE, NULL, SET_ALL, TANDEM_METRIC_GEOMETRIC, binary_preference,
     "bpref with the geometric mean over queries"},
    {"rprec_mult", "Rprec_mult", {NULL}, PARAMETERS_SHARES, "0.2,0.4,0.6,0.8,1,1.2,1.4,1.6,1.8,2", SET_ALL,
     TANDEM_METRIC_MEAN, r_precision_at_multiple, "precision at X times the number of relevant documents"},
    {"utility", "utility", {NULL}, PARAMETERS_FIXED, "1,-1,0,0", IN_SET, TANDEM_METRIC_MEAN, utility,
     "weighted sum over relevant or not, retrieved or not"},
    {"11pt_avg", "11pt_avg", {NULL}, PARAMETERS_NUMBERS, TENTHS, SET_ALL, TANDEM_METRIC_MEAN, mean_precision_at_recall,
     "mean of iprec over 11 shares"},
    {"binG", "binG", {NULL}, PARAMETERS_NONE, NULL, SET_ALL, TANDEM_METRIC_MEAN, binary_gain,
     "mean over relevant documents of 1 / log2(2 + nonrelevant ones above)"},
    {"G", "G", {NULL}, PARAMETERS_GAINS, NULL, SET_ALL, TANDEM_METRIC_MEAN, normalized_gain,
     "gains discounted by the distance to the ideal ranking, over the ideal sum"},
    {"dcg", "dcg", {NULL}, PARAMETERS_GAINS, NULL, 0, TANDEM_METRIC_MEAN, dcg, "sum of gain / log2(rank + 1)"},
    {"ideal_dcg", "ideal_dcg", {NULL}, PARAMETERS_GAINS, NULL, 0, TANDEM_METRIC_MEAN, ideal_dcg,
     "dcg of the ideal ranking"},
    {"ndcg", "ndcg", {NULL}, PARAMETERS_GAINS, NULL, SET_ALL, TANDEM_METRIC_MEAN, ndcg, "dcg over ideal_dcg"},
    {"ndcg_rel", "ndcg_rel", {NULL}, PARAMETERS_GAINS, NULL, SET_ALL, TANDEM_METRIC_MEAN, ndcg_at_relevant,
     "mean of ndcg at each relevant document"},
    {"Rndcg", "Rndcg", {NULL}, PARAMETERS_GAINS, NULL, SET_ALL, TANDEM_METRIC_MEAN, ndcg_at_levels,
     "mean of ndcg at the ranks where the ideal gain falls"},
    {"ndcg", "ndcg_cut", {NULL}, PARAMETERS_CUTOFFS, RANKS, SET_ALL, TANDEM_METRIC_MEAN, ndcg,
     "discounted cumulative gain, grade / log2(rank + 1), of the top K over that of the ideal ranking"},
    {"map", "map_cut", {NULL}, PARAMETERS_CUTOFFS, RANKS, SET_ALL, TANDEM_METRIC_MEAN, average_precision,
     "map of the top K, over all relevant documents"},
    {"recall_cap", "relative_P", {"r_cap"}, PARAMETERS_CUTOFFS, RANKS, SET_ALL, TANDEM_METRIC_MEAN, capped_recall,
     "relevant documents in the top K over the most that could be there"},
    {"success", "success", {"hit", "hit_rate"}, PARAMETERS_CUTOFFS, "1,5,10", SET_ALL, TANDEM_METRIC_MEAN, success,
     "1 when a relevant document is in the top K"},
    {"set_P", "set_P", {NULL}, PARAMETERS_NONE, NULL, IN_SET, TANDEM_METRIC_MEAN, set_precision,
     "share of the retrieved documents that is relevant"},
    {"set_relative_P", "set_relative_P", {NULL}, PARAMETERS_NONE, NULL, IN_SET, TANDEM_METRIC_MEAN,
     set_relative_precision, "relevant documents retrieved over the most that could be"},
    {"set_recall", "set_recall", {NULL}, PARAMETERS_NONE, NULL, IN_SET, TANDEM_METRIC_MEAN, set_recall,
     "share of the relevant documents that were retrieved"},
    {"set_map", "set_map", {NULL}, PARAMETERS_NONE, NULL, IN_SET, TANDEM_METRIC_MEAN, set_average_precision,
     "set_P times set_recall"},
    {"set_F", "set_F", {NULL}, PARAMETERS_FIXED, "1", IN_SET, TANDEM_METRIC_MEAN, set_f,
     "weighted harmonic mean of set_P and set_recall"},
    {"num_nonrel_judged_ret", "num_nonrel_judged_ret", {NULL}, PARAMETERS_NONE, NULL, SET_ALL, TANDEM_METRIC_SUM,
     nonrelevant_judged_retrieved, "number of retrieved documents that were judged not relevant"},
    {"yaap", "yaap", {NULL}, PARAMETERS_NONE, NULL, 0, TANDEM_METRIC_MEAN, yaap, "smoothed log odds of map"},
    {"rbp", "rbp", {NULL}, PARAMETERS_PERSISTENCE, NULL, SET_ALL, TANDEM_METRIC_MEAN, rank_biased_precision,
     "rank-biased precision: gains weighted by (1 - p) p^(rank - 1), p = 0.9"},
    {"rbp_resid", "rbp_resid", {NULL}, PARAMETERS_PERSISTENCE, NULL, SET_ALL, TANDEM_METRIC_MEAN, rank_biased_residual,
     "what unjudged documents could add to rbp"},
    {"unjudged", "unj", {NULL}, PARAMETERS_CUTOFFS, "5,10,20", SET_ALL, TANDEM_METRIC_MEAN, unjudged,
     "unjudged documents in the top K over K"},
    {"mrr", NULL, {"recip_rank"}, PARAMETERS_CUTOFFS, NULL, 0, TANDEM_METRIC_MEAN, reciprocal_rank,
     "mrr of the top K"},
    {"judged", NULL, {NULL}, PARAMETERS_CUTOFFS, NULL, 0, TANDEM_METRIC_MEAN, judged,
     "share of the top K that has a judgment"},
    {"ndcg_exp", NULL, {NULL}, PARAMETERS_NONE, NULL, 0, TANDEM_METRIC_MEAN, exponential_ndcg,
     "ndcg with gains 2^grade - 1"},
    {"ndcg_exp", NULL, {NULL}, PARAMETERS_CUTOFFS, NULL, 0, TANDEM_METRIC_MEAN, exponential_ndcg,
     "ndcg@K with gains 2^grade - 1"},
};

const size_t measure_count = sizeof measures / sizeof *measures;

double metric_value(const tandem_metric *metric, const judged_ranking *r)
{
    const measure *row = &measures[metric->kind];
    return row->value ? row->value(r, metric) : 0.0;
}

double tandem_metric_summarize(const tandem_metric *metric, const double *values, size_t count)
{
    const double least = 0.00001; /* trec_eval's: the geometric mean of a set with a 0 would be 0 */
    double sum = 0.0;
    for (size_t i = 0; i < count; i++) {
        sum += metric->summary == TANDEM_METRIC_GEOMETRIC ? log(fmax(values[i], least)) : values[i];
    }
    switch (metric->summary) {
    case TANDEM_METRIC_MEAN: return ratio(sum, (double)count);
    case TANDEM_METRIC_GEOMETRIC: return exp(ratio(sum, (double)count));
    case TANDEM_METRIC_SUM:
    case TANDEM_METRIC_QUERIES: return sum;
    case TANDEM_METRIC_RELEVANCE:
    case TANDEM_METRIC_RUN_NAME: break;
    }
    return 0.0;
}
