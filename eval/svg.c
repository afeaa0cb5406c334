/* svg.c - charts as inline SVG; colours come from the page's style sheet, so that both themes hold for them. */
#include <math.h>

#include "eval/html.h"

/* The plot inside the drawing; the rest is for ticks and labels. */
enum { LEFT = 46, TOP = 10, RIGHT = 350, BOTTOM = 190 };

static double x_of(const chart *c, double value)
{
    return LEFT + (value - c->x.low) / (c->x.high - c->x.low) * (RIGHT - LEFT);
}

static double y_of(const chart *c, double value)
{
    return BOTTOM - (value - c->y.low) / (c->y.high - c->y.low) * (BOTTOM - TOP);
}

/* ---- axes ---------------------------------------------------------------------------------------- */
/* 1, 2 or 5 times a power of ten, so that about five steps span the axis. */
static double step_of(const chart_axis *axis)
{
    double rough = (axis->high - axis->low) / 5, power = pow(10, floor(log10(rough))), lead = rough / power;
    return power * (lead < 1.5 ? 1 : lead < 3.5 ? 2 : lead < 7.5 ? 5 : 10);
}

/* As many digits as tell two ticks apart; %g where that would be long. */
static void print_tick(html *page, double value, double step)
{
    int digits = step < 1 ? (int)ceil(-log10(step) - 1e-9) : 0;
    value = fabs(value) < step / 2 ? 0 : value; /* no -0 */
    if (digits > 4 || fabs(value) >= 1e6) {
        html_printf(page, "%.2g", value);
    } else {
        html_printf(page, "%.*f", digits, value);
    }
}

static void put_y_axis(const chart *c)
{
    html *page = c->page;
    double step = step_of(&c->y);
    for (double value = ceil(c->y.low / step - 1e-9) * step; value <= c->y.high + step * 1e-9; value += step) {
        double y = y_of(c, value);
        html_printf(page, "<line class=\"grid\" x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\"/>", LEFT, RIGHT, y, y);
        html_printf(page, "<text class=\"end\" x=\"%d\" y=\"%.1f\">", LEFT - 5, y + 4);
        print_tick(page, value, step);
        html_put(page, "</text>");
    }
    html_printf(page, "<text class=\"middle\" transform=\"translate(11 %d) rotate(-90)\">", (TOP + BOTTOM) / 2);
    html_text(page, c->y.label);
    html_put(page, "</text>");
}

static void put_x_axis(const chart *c)
{
    html *page = c->page;
    double step = c->x.names ? 1 : step_of(&c->x), first = c->x.names ? 0.5 : ceil(c->x.low / step - 1e-9) * step;
    for (double value = first; value <= c->x.high + step * 1e-9; value += step) {
        double x = x_of(c, value);
        html_printf(page, "<text class=\"middle\" x=\"%.1f\" y=\"%d\">", x, BOTTOM + 15);
        if (c->x.names) {
            html_text(page, c->x.names[(size_t)value]);
        } else {
            print_tick(page, value, step);
        }
        html_put(page, "</text>");
    }
    html_printf(page, "<line class=\"axis\" x1=\"%d\" x2=\"%d\" y1=\"%d\" y2=\"%d\"/>", LEFT, RIGHT, BOTTOM, BOTTOM);
    html_printf(page, "<text class=\"middle\" x=\"%d\" y=\"%d\">", (LEFT + RIGHT) / 2, CHART_HEIGHT - 8);
    html_text(page, c->x.label);
    html_put(page, "</text>");
}

static void widen(chart_axis *axis)
{
    if (!(axis->high > axis->low)) {
        double room = axis->low != 0 ? fabs(axis->low) / 10 : 1;
        axis->low -= room;
        axis->high += room;
    }
}

/* ---- drawing ------------------------------------------------------------------------------------ */
chart chart_begin(html *page, const char *caption, const char *label, chart_axis x, chart_axis y)
{
    chart c = {page, x, y};
    widen(&c.x);
    widen(&c.y);
    html_put(page, "<figure><figcaption>");
    html_text(page, caption);
    html_printf(page, "</figcaption>\n<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"", CHART_WIDTH,
                CHART_HEIGHT);
    html_text(page, label);
    html_put(page, "\">");
    put_y_axis(&c);
    put_x_axis(&c);
    html_put(page, "\n");
    return c;
}

void chart_line(chart *c, const double *x, const double *y, size_t count, const char *style)
{
    html_printf(c->page, "<path class=\"%s\" d=\"", style);
    char command = 'M';
    for (size_t i = 0; i < count; i++) {
        if (isfinite(x[i]) && isfinite(y[i])) {
            html_printf(c->page, "%c%.1f %.1f", command, x_of(c, x[i]), y_of(c, y[i]));
            command = 'L';
        }
    }
    html_put(c->page, "\"/>\n");
}

void chart_point(chart *c, double x, double y, double radius, const char *style)
{
    html_printf(c->page, "<g><circle class=\"%s\" cx=\"%.1f\" cy=\"%.1f\" r=\"%.1f\"/><title>", style, x_of(c, x),
                y_of(c, y), radius);
}

void chart_bar(chart *c, double x_low, double x_high, double y, const char *style)
{
    double left = x_of(c, x_low), top = y_of(c, y);
    html_printf(c->page, "<g><rect class=\"%s\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/><title>", style,
                left, top, x_of(c, x_high) - left, BOTTOM - top);
}

void chart_mark_end(chart *c)
{
    html_put(c->page, "</title></g>\n");
}

void chart_end(chart *c)
{
    html_put(c->page, "</svg>\n");
}
