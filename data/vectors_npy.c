/* vectors_npy.c - NumPy's .npy. */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "data/vectors_forms.h"
#include "tandem/memory.h"

static const char MAGIC[] = "\x93NUMPY";
enum { MAGIC_LENGTH = 6, PREFIX = 10 /* magic, version and length of version 1 */, ALIGNMENT = 64 };

/* ---- writing ------------------------------------------------------------------------- */
int tandem_npy_header(char header[TANDEM_VECTORS_HEADER], size_t *length, size_t count, size_t dim)
{
    int used = snprintf(header + PREFIX, TANDEM_VECTORS_HEADER - PREFIX,
                        "{'descr': '<f4', 'fortran_order': False, 'shape': (%zu, %zu), }", count, dim);
    size_t text = PREFIX + (size_t)used, padded = (text + 1 + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    memset(header + text, ' ', padded - text);
    header[padded - 1] = '\n';
    memcpy(header, MAGIC, MAGIC_LENGTH);
    header[6] = 1;
    header[7] = 0;
    header[8] = (char)((padded - PREFIX) & 0xFF);
    header[9] = (char)((padded - PREFIX) >> 8);
    *length = padded;
    return TANDEM_OK;
}

/* ---- reading -------------------------------------------------------------------------- */
/* A cursor over the header's text, which is no C string. */
typedef struct {
    const char *at, *end;
} cursor;

static void skip_spaces(cursor *c)
{
    while (c->at < c->end && strchr(" \t\r\n", *c->at) && *c->at) {
        c->at++;
    }
}

/* Takes `word` when it comes next, after spaces. */
static bool take(cursor *c, const char *word)
{
    size_t length = strlen(word);
    skip_spaces(c);
    if ((size_t)(c->end - c->at) < length || memcmp(c->at, word, length) != 0) {
        return false;
    }
    c->at += length;
    return true;
}

static bool take_string(cursor *c, const char *word)
{
    cursor before = *c;
    bool single = take(c, "'");
    if ((single || take(c, "\"")) && take(c, word) && take(c, single ? "'" : "\"")) {
        return true;
    }
    *c = before;
    return false;
}

static bool take_size(cursor *c, size_t *out)
{
    skip_spaces(c);
    const char *begin = c->at;
    size_t value = 0;
    while (c->at < c->end && *c->at >= '0' && *c->at <= '9') {
        if (!tandem_size_mul(&value, value, 10) || !tandem_size_add(&value, value, (size_t)(*c->at - '0'))) {
            return false;
        }
        c->at++;
    }
    *out = value;
    return c->at > begin;
}

/* "(n, d)" or "(n, d,)". */
static bool take_shape(cursor *c, size_t *count, size_t *dim)
{
    if (!take(c, "(") || !take_size(c, count) || !take(c, ",") || !take_size(c, dim)) {
        return false;
    }
    (void)take(c, ",");
    return take(c, ")");
}

static int parse_dictionary(cursor c, const char *path, size_t *count, size_t *dim)
{
    bool descr = false, order = false, shape = false;
    bool open = take(&c, "{");
    while (open && !take(&c, "}")) {
        if (!descr && take_string(&c, "descr") && take(&c, ":")) {
            if (!take_string(&c, "<f4")) {
                return tandem_error("%s: expected float32 ('descr': '<f4')", path);
            }
            descr = true;
        } else if (!order && take_string(&c, "fortran_order") && take(&c, ":")) {
            if (!take(&c, "False")) {
                return tandem_error("%s: expected rows one after the other ('fortran_order': False)", path);
            }
            order = true;
        } else if (!shape && take_string(&c, "shape") && take(&c, ":")) {
            if (!take_shape(&c, count, dim)) {
                return tandem_error("%s: expected two dimensions ('shape': (rows, columns))", path);
            }
            shape = true;
        } else {
            open = false;
        }
        if (!take(&c, ",") && !(c.at < c.end && *c.at == '}')) {
            open = false;
        }
    }
    skip_spaces(&c);
    if (!open || !descr || !order || !shape || c.at != c.end) {
        return tandem_error("%s: expected a header with 'descr', 'fortran_order' and 'shape' alone", path);
    }
    return TANDEM_OK;
}

int tandem_npy_parse(const unsigned char *data, size_t size, const char *path, size_t *count, size_t *dim,
                     size_t *begin)
{
    if (size < PREFIX || memcmp(data, MAGIC, MAGIC_LENGTH) != 0) {
        return tandem_error("%s: not a .npy file", path);
    }
    unsigned version = data[6];
    size_t prefix = version == 1 ? PREFIX : PREFIX + 2;
    if (version < 1 || version > 3 || data[7] != 0) {
        return tandem_error("%s: .npy version %u.%u; 1.0, 2.0 and 3.0 are read", path, version, (unsigned)data[7]);
    }
    size_t header = 0;
    for (size_t i = prefix; i > 8 && size >= prefix; i--) {
        header = header << 8 | data[i - 1];
    }
    if (size < prefix || header > size - prefix) {
        return tandem_error("%s: the header of %zu bytes reaches beyond the end of the file", path, header);
    }
    const char *text = (const char *)data + prefix;
    TANDEM_TRY(parse_dictionary((cursor){text, text + header}, path, count, dim));
    *begin = prefix + header;
    return tandem_vectors_flat_check(path, size, *count, *dim, *begin);
}
