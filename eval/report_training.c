/* report_training.c - curves of a training, from its metrics.jsonl. */
#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "eval/report.h"
#include "tandem/file.h"
#include "tandem/json.h"

enum { POINTS = 300 }; /* of a curve that is drawn: more than a chart has pixels to show */

typedef struct {
    double *x, *y;
    size_t count, capacity_x, capacity_y;
} series;

typedef struct {
    series loss, rate, dev;
    char dev_metric[64];
    double seconds, tokens;
} training_log;

static int add(series *s, double x, double y)
{
    void *xs = s->x, *ys = s->y;
    TANDEM_TRY(tandem_grow(&xs, &s->capacity_x, s->count + 1, sizeof *s->x));
    s->x = xs;
    TANDEM_TRY(tandem_grow(&ys, &s->capacity_y, s->count + 1, sizeof *s->y));
    s->y = ys;
    s->x[s->count] = x;
    s->y[s->count++] = y;
    return TANDEM_OK;
}

static void log_free(training_log *log)
{
    series *all[] = {&log->loss, &log->rate, &log->dev};
    for (size_t i = 0; i < 3; i++) {
        free(all[i]->x);
        free(all[i]->y);
    }
}

/* ---- reading ---------------------------------------------------------------------------------------- */
static double number_of(const cJSON *object, const char *key)
{
    const cJSON *member = tandem_json_member(object, key);
    return cJSON_IsNumber(member) ? member->valuedouble : (double)NAN;
}

static int take_step(training_log *log, const cJSON *line)
{
    double step = number_of(line, "step"), seconds = number_of(line, "seconds"), tokens = number_of(line, "tokens");
    log->seconds += isfinite(seconds) ? seconds : 0;
    log->tokens += isfinite(tokens) ? tokens : 0;
    TANDEM_TRY(add(&log->loss, step, number_of(line, "loss")));
    return add(&log->rate, step, number_of(line, "learning_rate"));
}

/* Its metric is the member that has a name of its own. */
static int take_dev(training_log *log, const cJSON *line)
{
    static const char *const known[] = {"event", "step", "seconds", "epoch"};
    const cJSON *member;
    cJSON_ArrayForEach(member, line)
    {
        bool own = cJSON_IsNumber(member);
        for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
            own = own && strcmp(member->string, known[i]) != 0;
        }
        if (own) {
            snprintf(log->dev_metric, sizeof log->dev_metric, "%s", member->string);
            return add(&log->dev, number_of(line, "step"), member->valuedouble);
        }
    }
    return TANDEM_OK;
}

static int take_line(training_log *log, const char *text, size_t length, const char *source)
{
    cJSON *line = NULL;
    const char *event = NULL;
    TANDEM_TRY(tandem_json_parse(&line, text, length, source));
    int rc = tandem_json_get_string(line, "event", source, &event);
    if (rc >= 0 && strcmp(event, "step") == 0) {
        rc = take_step(log, line);
    } else if (rc >= 0 && strcmp(event, "dev") == 0) {
        rc = take_dev(log, line);
    }
    tandem_json_free(line);
    return rc;
}

static int read_log(training_log *log, const char *path)
{
    tandem_lines *lines;
    tandem_buffer source = TANDEM_BUFFER_INIT;
    char *line;
    size_t length;
    TANDEM_TRY(tandem_lines_open(&lines, path));
    int rc;
    while ((rc = tandem_lines_next(lines, &line, &length)) > 0) {
        tandem_buffer_clear(&source);
        rc = tandem_buffer_printf(&source, "%s:%zu", path, tandem_lines_number(lines));
        rc = rc < 0 ? rc : take_line(log, line, length, source.data);
        if (rc < 0) {
            break;
        }
    }
    tandem_buffer_free(&source);
    tandem_lines_close(lines);
    return rc;
}

/* ---- drawing ------------------------------------------------------------------------------------------- */
/* Means of runs of steps, at most POINTS of them; values that are not finite are left out. */
static void shrink(series *s)
{
    size_t width = s->count / POINTS + 1, kept = 0;
    for (size_t at = 0; at < s->count; at += width) {
        double x = 0, y = 0;
        size_t used = 0;
        for (size_t i = at; i < at + width && i < s->count; i++) {
            if (isfinite(s->x[i]) && isfinite(s->y[i])) {
                x += s->x[i];
                y += s->y[i];
                used++;
            }
        }
        if (used > 0) {
            s->x[kept] = x / (double)used;
            s->y[kept++] = y / (double)used;
        }
    }
    s->count = kept;
}

/* The mean of a tenth of the curve around each point. */
static int smooth(double **out, const series *s)
{
    size_t reach = s->count / 20;
    double *means = *out = tandem_alloc(s->count, sizeof *means);
    if (!means) {
        return TANDEM_ERROR;
    }
    for (size_t i = 0; i < s->count; i++) {
        size_t low = i > reach ? i - reach : 0, high = i + reach < s->count ? i + reach : s->count - 1;
        for (size_t j = low; j <= high; j++) {
            means[i] += s->y[j] / (double)(high - low + 1);
        }
    }
    return TANDEM_OK;
}

static chart begin(report *r, const series *s, const char *caption, const char *label, bool from_zero)
{
    chart_axis x = {s->x[0], s->x[s->count - 1], "step", NULL}, y = {s->y[0], s->y[0], label, NULL};
    for (size_t i = 0; i < s->count; i++) {
        y.low = fmin(y.low, s->y[i]);
        y.high = fmax(y.high, s->y[i]);
    }
    y.low = from_zero ? fmin(y.low, 0) : y.low;
    return chart_begin(&r->page, caption, caption, x, y);
}

static int put_loss(report *r, const series *s)
{
    double *means;
    TANDEM_TRY(smooth(&means, s));
    char caption[128];
    snprintf(caption, sizeof caption, "Loss: from %.4g to %.4g (mean over a tenth of the training)", means[0],
             means[s->count - 1]);
    chart c = begin(r, s, caption, "loss", true);
    chart_line(&c, s->x, s->y, s->count, "s2 thin");
    chart_line(&c, s->x, means, s->count, "s2");
    chart_end(&c);
    html_put(&r->page, "</figure>\n");
    free(means);
    return TANDEM_OK;
}

static void put_dev(report *r, const series *s, const char *metric)
{
    size_t best = 0;
    for (size_t i = 1; i < s->count; i++) {
        best = s->y[i] > s->y[best] ? i : best;
    }
    char caption[160];
    snprintf(caption, sizeof caption, "%s on dev: best %.4f at step %.0f", metric, s->y[best], s->x[best]);
    chart c = begin(r, s, caption, metric, false);
    chart_line(&c, s->x, s->y, s->count, "s3");
    for (size_t i = 0; i < s->count; i++) {
        chart_point(&c, s->x[i], s->y[i], 3.5, "s3");
        html_printf(&r->page, "step %.0f: %.4f", s->x[i], s->y[i]);
        chart_mark_end(&c);
    }
    chart_end(&c);
    html_put(&r->page, "</figure>\n");
}

static int put_log(report *r, const char *name, training_log *log)
{
    html *page = &r->page;
    size_t steps = log->loss.count;
    shrink(&log->loss);
    shrink(&log->rate);
    shrink(&log->dev);
    if (log->loss.count == 0) {
        return TANDEM_OK;
    }
    html_put(page, "<h3>");
    html_text(page, name);
    html_printf(page, "</h3>\n<p class=\"soft\">%zu steps in %.0f s", steps, log->seconds);
    if (log->seconds > 0 && log->tokens > 0) {
        html_printf(page, ", %.0f tokens/s", log->tokens / log->seconds);
    }
    html_put(page, "</p>\n<div class=\"charts\">\n");
    TANDEM_TRY(put_loss(r, &log->loss));
    if (log->dev.count > 0) {
        put_dev(r, &log->dev, log->dev_metric);
    }
    if (log->rate.count > 0) {
        chart c = begin(r, &log->rate, "Learning rate", "", true);
        chart_line(&c, log->rate.x, log->rate.y, log->rate.count, "s0");
        chart_end(&c);
        html_put(page, "</figure>\n");
    }
    html_put(page, "</div>\n");
    return TANDEM_OK;
}

int report_training(report *r)
{
    int rc = TANDEM_OK;
    if (r->in->log_count > 0) {
        html_put(&r->page, "<section aria-labelledby=\"training\">\n<h2 id=\"training\">Training</h2>\n");
        for (size_t i = 0; rc >= 0 && i < r->in->log_count; i++) {
            training_log log = {0};
            rc = read_log(&log, r->in->logs[i].value);
            rc = rc < 0 ? rc : put_log(r, r->in->logs[i].name, &log);
            log_free(&log);
        }
        html_put(&r->page, "</section>\n");
    }
    return rc;
}
