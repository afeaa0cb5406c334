/* pipeline_prompt.c - answers to typed queries. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/pipeline.h"
#include "tandem/bm25.h"
#include "tandem/file.h"
#include "tandem/machine.h"

enum { SNIPPET = 200 }; /* bytes */

typedef struct {
    const pipeline *p;
    bool json;
    pipeline_answer answer;
    tandem_buffer out;
} prompt;

static double total_ms(const pipeline_answer *answer)
{
    double seconds = 0;
    for (size_t i = 0; i < answer->count; i++) {
        seconds += answer->seconds[i];
    }
    return 1000 * seconds;
}

static int find_snippet(tandem_text *out, const prompt *w, const tandem_text *query, const char *id)
{
    const tandem_texts *corpus = &w->p->dataset->corpus;
    size_t index = 0, start, length;
    (void)tandem_strmap_find(corpus->by_id, id, strlen(id), &index);
    const tandem_text *text = &corpus->items[index];
    TANDEM_TRY(tandem_snippet(&start, &length, text, query, SNIPPET,
                              (tandem_analyzer)w->p->settings.retrieve.analyzer));
    *out = (tandem_text){id, text->text + start, length};
    return TANDEM_OK;
}

/* On one line: control characters are blanks. */
static int put_line(tandem_buffer *out, const tandem_text *text)
{
    size_t from = out->length;
    TANDEM_TRY(tandem_buffer_append(out, text->text, text->length));
    for (size_t i = from; i < out->length; i++) {
        out->data[i] = (unsigned char)out->data[i] < ' ' || out->data[i] == 0x7F ? ' ' : out->data[i];
    }
    return tandem_buffer_puts(out, "\n");
}

static int answer_text(prompt *w, const tandem_text *query, const tandem_ranking *ranking, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        tandem_text snippet;
        TANDEM_TRY(find_snippet(&snippet, w, query, ranking->results[i].document_id));
        TANDEM_TRY(tandem_buffer_printf(&w->out, "%3zu  %9.4f  %s\n     ", i + 1, ranking->results[i].score,
                                        snippet.id));
        TANDEM_TRY(put_line(&w->out, &snippet));
    }
    TANDEM_TRY(tandem_buffer_printf(&w->out, "%zu documents, %.1f ms:", count, total_ms(&w->answer)));
    for (size_t i = 0; i < w->answer.count; i++) {
        TANDEM_TRY(tandem_buffer_printf(&w->out, "%s %s %.1f", i > 0 ? "," : "", pipeline_stage_name(w->p, i),
                                        1000 * w->answer.seconds[i]));
    }
    return tandem_buffer_puts(&w->out, "\n\n");
}

static int answer_json(prompt *w, const tandem_text *query, const tandem_ranking *ranking, size_t count)
{
    TANDEM_TRY(tandem_buffer_puts(&w->out, "{\"query\":"));
    TANDEM_TRY(tandem_buffer_json_string(&w->out, query->text, query->length));
    TANDEM_TRY(tandem_buffer_puts(&w->out, ",\"results\":["));
    for (size_t i = 0; i < count; i++) {
        tandem_text snippet;
        TANDEM_TRY(find_snippet(&snippet, w, query, ranking->results[i].document_id));
        TANDEM_TRY(tandem_buffer_puts(&w->out, i > 0 ? ",{\"id\":" : "{\"id\":"));
        TANDEM_TRY(tandem_buffer_json_string(&w->out, snippet.id, strlen(snippet.id)));
        TANDEM_TRY(tandem_buffer_printf(&w->out, ",\"score\":%.9g,\"snippet\":", ranking->results[i].score));
        TANDEM_TRY(tandem_buffer_json_string(&w->out, snippet.text, snippet.length));
        TANDEM_TRY(tandem_buffer_puts(&w->out, "}"));
    }
    TANDEM_TRY(tandem_buffer_printf(&w->out, "],\"ms\":{\"total\":%.3f", total_ms(&w->answer)));
    for (size_t i = 0; i < w->answer.count; i++) {
        const char *name = pipeline_stage_name(w->p, i);
        TANDEM_TRY(tandem_buffer_puts(&w->out, ","));
        TANDEM_TRY(tandem_buffer_json_string(&w->out, name, strlen(name)));
        TANDEM_TRY(tandem_buffer_printf(&w->out, ":%.3f", 1000 * w->answer.seconds[i]));
    }
    return tandem_buffer_puts(&w->out, "}}\n");
}

static int answer_line(prompt *w, const char *line, size_t length)
{
    const tandem_text query = {"prompt", line, length};
    TANDEM_TRY(pipeline_ask(&w->answer, w->p, &query));
    const tandem_ranking *ranking = tandem_run_ranking(w->answer.runs[w->answer.count - 1], 0);
    size_t cut = (size_t)w->p->settings.cut, count = ranking->count < cut ? ranking->count : cut;
    tandem_buffer_clear(&w->out);
    TANDEM_TRY(w->json ? answer_json(w, &query, ranking, count) : answer_text(w, &query, ranking, count));
    fputs(w->out.data, stdout);
    return TANDEM_OK;
}

static bool is_blank(const char *line)
{
    return line[strspn(line, " \t")] == '\0';
}

int pipeline_prompt(const pipeline *p, bool json)
{
    prompt w = {.p = p, .json = json};
    tandem_lines *lines = NULL;
    char *line;
    size_t length;
    bool terminal = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) && !json;
    int rc = pipeline_answer_new(&w.answer, p);
    TANDEM_TRY_GOTO(rc, done, rc);
    TANDEM_TRY_GOTO(rc, done, tandem_lines_open(&lines, "-"));
    do {
        if (terminal) {
            fputs("> ", stdout);
        }
        fflush(stdout);
        rc = tandem_lines_next(lines, &line, &length);
        if (rc == 1 && !is_blank(line)) {
            int failed = tandem_utf8_invalid(line, length) < length ? tandem_error("the query is no UTF-8")
                                                                    : answer_line(&w, line, length);
            rc = failed < 0 ? failed : rc;
        }
    } while (rc == 1);
done:
    tandem_lines_close(lines);
    pipeline_answer_free(&w.answer);
    tandem_buffer_free(&w.out);
    return rc;
}
