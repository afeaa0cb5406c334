/* probe_unicode form NFC|NFD|NFKC|NFKD IN OUT
 * probe_unicode precompiled CHARSMAP.base64 IN OUT
 * probe_unicode literal|regex PATTERN IN OUT
 * probe_unicode whitespace - IN OUT
 *
 * IN holds texts, each a u32 of its bytes and those. OUT gets for each a u32 and as many pairs of u32:
 * code points with their change, or begin and end of matches in bytes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/precompiled.h"
#include "data/split_pattern.h"
#include "tandem/file.h"
#include "tandem/memory.h"

static const char *const forms[] = {"NFC", "NFD", "NFKC", "NFKD"}; /* as the enum has them */

typedef struct {
    const char *kind, *argument;
    tandem_precompiled *map;
    tandem_pattern *pattern;
    uint32_t *chars;
    size_t capacity;
    tandem_changes changes;
    tandem_buffer out;
} probe;

static int put(probe *p, size_t value)
{
    uint32_t small = (uint32_t)value;
    return tandem_buffer_append(&p->out, &small, sizeof small);
}

static int normalize(probe *p, const char *text, size_t length)
{
    size_t count = 0;
    void *chars = p->chars;
    int rc = tandem_grow(&chars, &p->capacity, length + 1, sizeof *p->chars);
    p->chars = chars;
    TANDEM_TRY(rc);
    for (size_t at = 0; at < length; count++) {
        at += tandem_unicode_decode(text + at, length - at, &p->chars[count]);
    }
    if (p->map) {
        TANDEM_TRY(tandem_precompiled_apply(p->map, p->chars, count, &p->changes));
    } else {
        unsigned form = 0;
        while (strcmp(forms[form], p->argument) != 0) {
            form++;
        }
        TANDEM_TRY(tandem_normal_form_apply((tandem_normal_form)form, p->chars, count, &p->changes));
    }
    TANDEM_TRY(put(p, p->changes.count));
    return tandem_buffer_append(&p->out, p->changes.items, p->changes.count * sizeof *p->changes.items);
}

static int match(probe *p, const char *text, size_t length)
{
    size_t place = p->out.length, at = 0;
    uint32_t count = 0;
    int rc = 1;
    tandem_match found = {0};
    TANDEM_TRY(put(p, 0));
    while (rc > 0) {
        if (p->pattern) {
            TANDEM_TRY(rc = tandem_pattern_next(p->pattern, text, length, &found));
        } else {
            found.end = tandem_split_whitespace(text, length, &at);
            found.begin = at;
            at = found.end;
            rc = found.begin < length;
        }
        if (rc > 0) {
            TANDEM_TRY(put(p, found.begin));
            TANDEM_TRY(put(p, found.end));
            count++;
        }
    }
    memcpy(p->out.data + place, &count, sizeof count);
    return TANDEM_OK;
}

static int start(probe *p)
{
    if (strcmp(p->kind, "precompiled") == 0) {
        char *base64;
        size_t length;
        TANDEM_TRY(tandem_file_read(&base64, &length, p->argument));
        int rc = tandem_precompiled_new(&p->map, base64, length, p->argument);
        free(base64);
        return rc;
    }
    bool regex = strcmp(p->kind, "regex") == 0;
    return regex || strcmp(p->kind, "literal") == 0
               ? tandem_pattern_new(&p->pattern, p->argument, strlen(p->argument), regex, "argument")
               : TANDEM_OK;
}

static int run(probe *p, const char *in, const char *out)
{
    char *data;
    size_t size;
    TANDEM_TRY(start(p));
    TANDEM_TRY(tandem_file_read(&data, &size, in));
    bool normalizes = p->map || strcmp(p->kind, "form") == 0;
    int rc = TANDEM_OK;
    for (size_t at = 0; at < size && rc >= 0;) {
        uint32_t length;
        memcpy(&length, data + at, sizeof length);
        rc = normalizes ? normalize(p, data + at + 4, length) : match(p, data + at + 4, length);
        at += 4 + length;
    }
    free(data);
    TANDEM_TRY(rc);
    return tandem_file_write(out, p->out.data, p->out.length);
}

int main(int argc, char **argv)
{
    probe p = {0};
    if (argc == 5) {
        p.kind = argv[1];
        p.argument = argv[2];
    }
    int rc = argc == 5 ? run(&p, argv[3], argv[4]) : tandem_error("usage: probe_unicode KIND ARGUMENT IN OUT");
    if (rc < 0) {
        fprintf(stderr, "%s\n", tandem_error_message());
    }
    tandem_precompiled_free(p.map);
    tandem_pattern_free(p.pattern);
    tandem_changes_free(&p.changes);
    tandem_buffer_free(&p.out);
    free(p.chars);
    return rc < 0;
}
