/* log.c - messages and a progress line on stderr. */
#include "tandem/log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "tandem/memory.h"

/* Seconds: the first line comes after FIRST, then one each REDRAW on a terminal and
 * one each LOGGED elsewhere. */
static const double FIRST = 1.0, REDRAW = 0.1, LOGGED = 30.0;

static tandem_log_level log_level = TANDEM_LOG_INFO;
static pthread_mutex_t stderr_lock = PTHREAD_MUTEX_INITIALIZER;
static bool line_shown; /* a progress line stands on the terminal */

struct tandem_progress {
    char title[64], unit[32]; /* longer ones are cut */
    uint64_t total;
    double begun, shown;
    bool terminal;
};

double tandem_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

void tandem_log_set_level(tandem_log_level level)
{
    log_level = level;
}

static void clear_line(void)
{
    if (line_shown) {
        fputs("\r\033[K", stderr);
        line_shown = false;
    }
}

static void log_line(tandem_log_level level, const char *prefix, const char *format, va_list arguments)
{
    if (level > log_level) {
        return;
    }
    pthread_mutex_lock(&stderr_lock);
    clear_line();
    fputs(prefix, stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    pthread_mutex_unlock(&stderr_lock);
}

void tandem_log_warn(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    log_line(TANDEM_LOG_WARN, "warning: ", format, arguments);
    va_end(arguments);
}

void tandem_log_info(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    log_line(TANDEM_LOG_INFO, "", format, arguments);
    va_end(arguments);
}

void tandem_log_debug(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    log_line(TANDEM_LOG_DEBUG, "debug: ", format, arguments);
    va_end(arguments);
}

/* ---- progress ------------------------------------------------------------------ */
tandem_progress *tandem_progress_new(const char *title, const char *unit, uint64_t total)
{
    tandem_progress *progress = tandem_alloc(1, sizeof *progress);
    if (progress) {
        snprintf(progress->title, sizeof progress->title, "%s", title);
        snprintf(progress->unit, sizeof progress->unit, "%s", unit);
        progress->total = total;
        progress->begun = progress->shown = tandem_seconds();
        progress->terminal = isatty(STDERR_FILENO) == 1;
    }
    return progress;
}

/* 75 s as "1:15", 3700 s as "1:01:40". */
static void format_time(char out[32], double seconds)
{
    uint64_t whole = (uint64_t)(seconds < 0 ? 0 : seconds < 3.6e9 ? seconds + 0.5 : 3.6e9);
    unsigned hours = (unsigned)(whole / 3600), minutes = (unsigned)(whole / 60 % 60);
    if (hours > 0) {
        snprintf(out, 32, "%u:%02u:%02u", hours, minutes, (unsigned)(whole % 60));
    } else {
        snprintf(out, 32, "%u:%02u", minutes, (unsigned)(whole % 60));
    }
}

static void format_line(char *out, size_t size, const tandem_progress *progress, uint64_t done,
                        double elapsed, const char *note)
{
    double rate = (double)done / elapsed;
    int digits = rate < 10 ? 2 : rate < 100 ? 1 : 0;
    const char *comma = note ? ", " : "";
    note = note ? note : "";
    if (progress->total == 0 || done == 0) {
        snprintf(out, size, "%s: %llu %s, %.*f/s%s%s", progress->title, (unsigned long long)done,
                 progress->unit, digits, rate, comma, note);
        return;
    }
    char left[32];
    double rest = progress->total > done ? (double)(progress->total - done) : 0;
    format_time(left, rest / rate);
    snprintf(out, size, "%s: %llu/%llu %s (%.0f%%), %.*f/s, %s left%s%s", progress->title,
             (unsigned long long)done, (unsigned long long)progress->total, progress->unit,
             100.0 * (double)done / (double)progress->total, digits, rate, left, comma, note);
}

/* One terminal line, cut so that it does not wrap. */
static void draw(const char *line)
{
    struct winsize window;
    int width = ioctl(STDERR_FILENO, TIOCGWINSZ, &window) == 0 && window.ws_col > 1 ? window.ws_col - 1 : 79;
    pthread_mutex_lock(&stderr_lock);
    fprintf(stderr, "\r\033[K%.*s", width, line);
    fflush(stderr);
    line_shown = true;
    pthread_mutex_unlock(&stderr_lock);
}

void tandem_progress_update(tandem_progress *progress, uint64_t done, const char *note)
{
    if (!progress || log_level < TANDEM_LOG_INFO) {
        return;
    }
    double now = tandem_seconds();
    double pause = progress->terminal ? REDRAW : LOGGED;
    if (now - progress->begun < FIRST || now - progress->shown < pause) {
        return;
    }
    progress->shown = now;
    char line[512];
    format_line(line, sizeof line, progress, done, now - progress->begun, note);
    if (progress->terminal) {
        draw(line);
    } else {
        tandem_log_info("%s", line);
    }
}

void tandem_progress_free(tandem_progress *progress)
{
    if (!progress) {
        return;
    }
    if (progress->terminal) {
        pthread_mutex_lock(&stderr_lock);
        clear_line();
        fflush(stderr);
        pthread_mutex_unlock(&stderr_lock);
    }
    free(progress);
}
