/* html.h - private to eval/: a page that is written piece by piece, and charts in it. */
#ifndef TANDEM_EVAL_HTML_H
#define TANDEM_EVAL_HTML_H

#include <stdbool.h>
#include <stddef.h>

#include "tandem/error.h"
#include "tandem/memory.h"

/* The first failure stays in `rc`, and nothing is written after it: callers look once, at the end. */
typedef struct {
    tandem_buffer text;
    int rc;
} html;

void html_put(html *page, const char *markup);
void html_printf(html *page, const char *format, ...)
    TANDEM_PRINTF(2, 3); /* markup and numbers; no text of the user's */
/* Any bytes as text or inside a quoted attribute: markup escaped, what is no UTF-8 and control characters
 * as U+FFFD. */
void html_text(html *page, const char *text);
/* The first `limit` characters of it; an ellipsis where more follow. */
void html_excerpt(html *page, const char *text, size_t limit);

/* ---- charts (svg.c) ---------------------------------------------------------------------------- */
enum { CHART_WIDTH = 360, CHART_HEIGHT = 230 }; /* user units: a phone's width, so that letters stay readable */

typedef struct {
    double low, high;
    const char *label;
    const char *const *names; /* of categories at 0.5, 1.5 ...; NULL: numbers */
} chart_axis;

typedef struct {
    html *page;
    chart_axis x, y;
} chart;

/* Opens <figure> with its caption; what follows up to chart_end is drawn in the plot. An axis whose ends are
 * equal is widened. `label` is what a screen reader says in place of the drawing. */
chart chart_begin(html *page, const char *caption, const char *label, chart_axis x, chart_axis y);
/* `style` is a class of the page's style sheet. Points with a value that is not finite are left out. */
void chart_line(chart *c, const double *x, const double *y, size_t count, const char *style);
/* Opens a mark whose tooltip the caller writes; chart_mark_end closes it. */
void chart_point(chart *c, double x, double y, double radius, const char *style);
void chart_bar(chart *c, double x_low, double x_high, double y, const char *style); /* from the foot up to y */
void chart_mark_end(chart *c);
void chart_end(chart *c); /* closes <svg>; the caller may add, then closes </figure> */

#endif
