#include "tandem/safetensors.h"

#include <cjson/cJSON.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "tandem/file.h"
#include "tandem/json.h"
#include "tandem/memory.h"

#define HEADER_LIMIT 100000000u /* bytes of JSON; the limit of the format's own reader */
#define INTEGER_LIMIT 9007199254740992.0 /* 2^53: below it a double holds every integer */

static const struct {
    const char *name;
    size_t bytes;
} dtypes[] = {
    [TANDEM_DTYPE_F64] = {"F64", 8}, [TANDEM_DTYPE_F32] = {"F32", 4}, [TANDEM_DTYPE_F16] = {"F16", 2},
    [TANDEM_DTYPE_BF16] = {"BF16", 2}, [TANDEM_DTYPE_I64] = {"I64", 8}, [TANDEM_DTYPE_I32] = {"I32", 4},
    [TANDEM_DTYPE_I16] = {"I16", 2}, [TANDEM_DTYPE_I8] = {"I8", 1}, [TANDEM_DTYPE_U64] = {"U64", 8},
    [TANDEM_DTYPE_U32] = {"U32", 4}, [TANDEM_DTYPE_U16] = {"U16", 2}, [TANDEM_DTYPE_U8] = {"U8", 1},
    [TANDEM_DTYPE_BOOL] = {"BOOL", 1},
};

struct tandem_safetensors {
    char *path;
    tandem_map map;
    cJSON *header; /* names are borrowed from it */
    tandem_safetensor *tensors; /* [count], in offset order */
    size_t count;
    tandem_strmap *by_name;
};

/* ---- reading -------------------------------------------------------------------- */

static uint64_t load_u64(const unsigned char *bytes)
{
    uint64_t value = 0;
    for (int i = 7; i >= 0; i--) {
        value = value << 8 | bytes[i];
    }
    return value;
}

static int refuse_pickle(const char *path)
{
    return tandem_error("%s: a pickle can run any program when it is read, and is refused; convert it with: python -c \"import sys, torch, "
                        "safetensors.torch as s; w = torch.load(sys.argv[1], map_location='cpu', weights_only=True); "
                        "s.save_file({k: v.contiguous().clone() for k, v in w.items()}, sys.argv[2], {'format': 'pt'})\" %s model.safetensors",
                        path, path);
}

/* torch.save writes a zip archive (PyTorch 1.6 and later) or a bare pickle of protocol
 * 2 to 5; a safetensors file has '{' at byte 8. */
static bool is_pickle(const unsigned char *data, size_t size)
{
    bool zip = size > 8 && memcmp(data, "PK\3\4", 4) == 0;
    bool bare = size > 8 && data[0] == 0x80 && data[1] >= 2 && data[1] <= 5;
    return (zip || bare) && data[8] != '{';
}

/* JSON has more ways to write a number than a reader of sizes should accept, and cJSON
 * takes some that JSON does not have. Outside strings a header holds punctuation, blanks
 * and plain decimal integers; anything else is refused here, so that no two readers can
 * understand one file in two ways. */
static int check_header_text(const char *path, const unsigned char *text, size_t length)
{
    bool quoted = false;
    for (size_t i = 0; i < length; i++) {
        unsigned char c = text[i];
        if (quoted) {
            if (c < ' ') {
                return tandem_error("%s: header byte %zu: a control character in a string", path, 8 + i);
            }
            i += c == '\\';
            quoted = c != '"';
        } else if (c == '"') {
            quoted = true;
        } else if (c >= '0' && c <= '9') {
            size_t start = i;
            while (i + 1 < length && text[i + 1] >= '0' && text[i + 1] <= '9') {
                i++;
            }
            if (i > start && c == '0') {
                return tandem_error("%s: header byte %zu: a number begins with 0", path, 8 + start);
            }
        } else if (c == '\0' || strchr("{}[]:, \t\n\r", c) == NULL) {
            return tandem_error("%s: header byte %zu: expected a string, an integer, an object or an array", path, 8 + i);
        }
    }
    return 0;
}

static int read_header(tandem_safetensors *file)
{
    const char *path = file->path;
    if (is_pickle(file->map.data, file->map.size)) {
        return refuse_pickle(path);
    }
    if (file->map.size < 8) {
        return tandem_error("%s: %zu bytes; a safetensors file has at least 8", path, file->map.size);
    }
    uint64_t length = load_u64(file->map.data);
    if (length > HEADER_LIMIT) {
        return tandem_error("%s: the header claims %" PRIu64 " bytes, more than the format allows (%u): not a safetensors file", path, length, HEADER_LIMIT);
    }
    if (length > file->map.size - 8) {
        return tandem_error("%s: truncated: the header claims %" PRIu64 " bytes, the file has %zu after its length", path, length, file->map.size - 8);
    }
    const unsigned char *text = file->map.data + 8;
    if (length == 0 || text[0] != '{') {
        return tandem_error("%s: header byte 8: expected '{'", path);
    }
    size_t end = (size_t)length;
    while (end > 0 && text[end - 1] == ' ') {
        end--;
    }
    TANDEM_TRY(check_header_text(path, text, end));
    return tandem_json_parse(&file->header, (const char *)text, end, path);
}

static int read_dtype(const tandem_safetensors *file, const cJSON *entry, tandem_dtype *out)
{
    const char *name;
    TANDEM_TRY(tandem_json_get_string(entry, "dtype", file->path, &name));
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++) {
        if (strcmp(name, dtypes[i].name) == 0) {
            *out = (tandem_dtype)i;
            return 0;
        }
    }
    return tandem_error("%s: tensor \"%s\": dtype \"%s\" is not supported", file->path, entry->string, name);
}

/* Reads an array of at most `limit` integers; check_header_text has seen their digits. */
static int read_integers(const tandem_safetensors *file, const cJSON *entry, const char *key, size_t limit, int64_t *out, size_t *count)
{
    const cJSON *array = tandem_json_member(entry, key);
    if (!cJSON_IsArray(array)) {
        return tandem_error("%s: tensor \"%s\": %s must be an array", file->path, entry->string, key);
    }
    size_t n = 0;
    for (const cJSON *item = array->child; item != NULL; item = item->next) {
        if (n == limit) {
            return tandem_error("%s: tensor \"%s\": %s has more than %zu numbers", file->path, entry->string, key, limit);
        }
        if (!cJSON_IsNumber(item) || item->valuedouble < 0 || item->valuedouble >= INTEGER_LIMIT) {
            return tandem_error("%s: tensor \"%s\": %s must hold integers below 2^53", file->path, entry->string, key);
        }
        out[n++] = (int64_t)item->valuedouble;
    }
    *count = n;
    return 0;
}

static int read_tensor(const tandem_safetensors *file, const cJSON *entry, tandem_safetensor *out)
{
    if (!cJSON_IsObject(entry)) {
        return tandem_error("%s: tensor \"%s\": expected an object", file->path, entry->string);
    }
    out->name = entry->string;
    TANDEM_TRY(read_dtype(file, entry, &out->dtype));
    size_t dims = 0, ends = 0;
    int64_t range[2] = {0, 0};
    TANDEM_TRY(read_integers(file, entry, "shape", TANDEM_MAX_DIMS, out->shape, &dims));
    TANDEM_TRY(read_integers(file, entry, "data_offsets", 2, range, &ends));
    out->dims = (int)dims;
    size_t available = file->map.size - (size_t)(load_u64(file->map.data) + 8);
    if (ends != 2 || range[1] < range[0] || (uint64_t)range[1] > available) {
        return tandem_error("%s: tensor \"%s\": data_offsets must be [begin, end] within the %zu bytes of data: the file is truncated or damaged",
                            file->path, out->name, available);
    }
    size_t elements = 1, bytes = 0;
    bool fits = true;
    for (size_t i = 0; i < dims; i++) {
        fits = fits && tandem_size_mul(&elements, elements, (size_t)out->shape[i]);
    }
    fits = fits && tandem_size_mul(&bytes, elements, dtypes[out->dtype].bytes);
    if (!fits || bytes != (size_t)(range[1] - range[0])) {
        return tandem_error("%s: tensor \"%s\": its shape needs %zu bytes, data_offsets give %" PRId64, file->path, out->name,
                            fits ? bytes : SIZE_MAX, range[1] - range[0]);
    }
    out->elements = elements;
    out->bytes = bytes;
    out->data = file->map.data + (file->map.size - available) + range[0];
    return 0;
}

static int compare_offsets(const void *left, const void *right)
{
    const tandem_safetensor *a = left, *b = right;
    if (a->data != b->data) {
        return a->data < b->data ? -1 : 1;
    }
    return (a->bytes > b->bytes) - (a->bytes < b->bytes); /* an empty one first */
}

/* Ranges must cover the data without hole or overlap. */
static int check_cover(const tandem_safetensors *file)
{
    const unsigned char *expected = file->map.data + 8 + load_u64(file->map.data);
    const unsigned char *start = expected;
    for (size_t i = 0; i < file->count; i++) {
        const tandem_safetensor *tensor = &file->tensors[i];
        if (tensor->data != expected) {
            return tandem_error("%s: tensor \"%s\" begins at data byte %zu, expected %zu (the one before it ends there)", file->path, tensor->name,
                                (size_t)(tensor->data - start), (size_t)(expected - start));
        }
        expected += tensor->bytes;
    }
    size_t left = (size_t)(file->map.data + file->map.size - expected);
    if (left > 0) {
        return tandem_error("%s: %zu bytes after the last tensor", file->path, left);
    }
    return 0;
}

static int check_metadata(const tandem_safetensors *file, const cJSON *entry)
{
    if (!cJSON_IsObject(entry)) {
        return tandem_error("%s: __metadata__ must be an object", file->path);
    }
    for (const cJSON *item = entry->child; item != NULL; item = item->next) {
        if (!cJSON_IsString(item)) {
            return tandem_error("%s: __metadata__ must hold strings only (\"%s\")", file->path, item->string);
        }
    }
    return 0;
}

static int read_tensors(tandem_safetensors *file)
{
    size_t members = 0;
    for (const cJSON *entry = file->header->child; entry != NULL; entry = entry->next) {
        members++;
    }
    file->tensors = tandem_alloc(members, sizeof *file->tensors);
    file->by_name = tandem_strmap_new(members);
    if (file->tensors == NULL || file->by_name == NULL) {
        return TANDEM_ERROR;
    }
    for (const cJSON *entry = file->header->child; entry != NULL; entry = entry->next) {
        if (strcmp(entry->string, "__metadata__") == 0) {
            TANDEM_TRY(check_metadata(file, entry));
        } else {
            TANDEM_TRY(read_tensor(file, entry, &file->tensors[file->count]));
            file->count++;
        }
    }
    qsort(file->tensors, file->count, sizeof *file->tensors, compare_offsets);
    TANDEM_TRY(check_cover(file));
    for (size_t i = 0; i < file->count; i++) {
        const char *name = file->tensors[i].name;
        TANDEM_TRY(tandem_strmap_add(file->by_name, name, strlen(name), i, NULL));
    }
    return 0;
}

int tandem_safetensors_open(tandem_safetensors **out, const char *path)
{
    *out = NULL;
    tandem_safetensors *file = tandem_alloc(1, sizeof *file);
    if (file == NULL) {
        return TANDEM_ERROR;
    }
    int rc;
    file->path = tandem_strdup(path);
    if (file->path == NULL) {
        rc = TANDEM_ERROR;
        goto fail;
    }
    TANDEM_TRY_GOTO(rc, fail, tandem_map_open(&file->map, path));
    TANDEM_TRY_GOTO(rc, fail, read_header(file));
    TANDEM_TRY_GOTO(rc, fail, read_tensors(file));
    *out = file;
    return 0;
fail:
    tandem_safetensors_close(file);
    return rc;
}

void tandem_safetensors_close(tandem_safetensors *file)
{
    if (file == NULL) {
        return;
    }
    tandem_strmap_free(file->by_name);
    free(file->tensors);
    tandem_json_free(file->header);
    tandem_map_close(&file->map);
    free(file->path);
    free(file);
}

size_t tandem_safetensors_count(const tandem_safetensors *file)
{
    return file->count;
}

const tandem_safetensor *tandem_safetensors_at(const tandem_safetensors *file, size_t index)
{
    return &file->tensors[index];
}

const tandem_safetensor *tandem_safetensors_find(const tandem_safetensors *file, const char *name)
{
    size_t index;
    return tandem_strmap_find(file->by_name, name, strlen(name), &index) ? &file->tensors[index] : NULL;
}

/* ---- conversion ------------------------------------------------------------------- */

static float float_from_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* IEEE 754 binary16 to binary32; exact for every value. */
static float float_from_half(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000u) << 16;
    uint32_t exponent = (half >> 10) & 31u, mantissa = half & 1023u;
    if (exponent == 0) { /* zero or subnormal: mantissa * 2^-24 */
        float magnitude = (float)mantissa * 0x1p-24f;
        return sign ? -magnitude : magnitude;
    }
    if (exponent == 31) { /* infinity or NaN */
        return float_from_bits(sign | 0x7f800000u | mantissa << 13);
    }
    return float_from_bits(sign | (exponent + 112u) << 23 | mantissa << 13);
}

/* The file is little-endian and its data may be unaligned; so is memory on every
 * machine that this is built for, as the assertion below makes sure. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "safetensors.c copies little-endian floats as they are");

static int convert(const tandem_safetensor *tensor, float *out)
{
    const unsigned char *data = tensor->data;
    switch (tensor->dtype) {
    case TANDEM_DTYPE_F32:
        if (tensor->bytes > 0) {
            memcpy(out, data, tensor->bytes);
        }
        return 0;
    case TANDEM_DTYPE_F64:
        for (size_t i = 0; i < tensor->elements; i++) {
            double value;
            memcpy(&value, data + 8 * i, sizeof value);
            out[i] = (float)value;
        }
        return 0;
    case TANDEM_DTYPE_F16:
    case TANDEM_DTYPE_BF16:
        for (size_t i = 0; i < tensor->elements; i++) {
            uint16_t value;
            memcpy(&value, data + 2 * i, sizeof value);
            out[i] = tensor->dtype == TANDEM_DTYPE_F16 ? float_from_half(value) : float_from_bits((uint32_t)value << 16);
        }
        return 0;
    default:
        return tandem_error("tensor \"%s\" holds %s, expected F32, F16, BF16 or F64", tensor->name, dtypes[tensor->dtype].name);
    }
}

int tandem_safetensor_read_f32(const tandem_safetensor *tensor, float *out)
{
    int rc = convert(tensor, out);
    tandem_map_release(tensor->data, tensor->bytes); /* else a model is in memory twice while it is read */
    return rc;
}

/* ---- writing ---------------------------------------------------------------------- */

static int build_header(tandem_buffer *header, const tandem_safetensor_out *tensors, size_t count)
{
    TANDEM_TRY(tandem_buffer_puts(header, "{\"__metadata__\":{\"format\":\"pt\"}"));
    size_t offset = 0;
    for (size_t i = 0; i < count; i++) {
        const tandem_safetensor_out *tensor = &tensors[i];
        TANDEM_TRY(tandem_buffer_puts(header, ","));
        TANDEM_TRY(tandem_buffer_json_string(header, tensor->name, strlen(tensor->name)));
        TANDEM_TRY(tandem_buffer_puts(header, ":{\"dtype\":\"F32\",\"shape\":["));
        size_t bytes = sizeof(float);
        for (int d = 0; d < tensor->dims; d++) {
            TANDEM_TRY(tandem_buffer_printf(header, "%s%" PRId64, d > 0 ? "," : "", tensor->shape[d]));
            if (tensor->shape[d] < 0 || !tandem_size_mul(&bytes, bytes, (size_t)tensor->shape[d])) {
                return tandem_error("tensor \"%s\": its shape is negative or too large", tensor->name);
            }
        }
        size_t end;
        if (!tandem_size_add(&end, offset, bytes)) {
            return tandem_error("tensor \"%s\": the file would be too large", tensor->name);
        }
        TANDEM_TRY(tandem_buffer_printf(header, "],\"data_offsets\":[%zu,%zu]}", offset, end));
        offset = end;
    }
    TANDEM_TRY(tandem_buffer_puts(header, "}"));
    while (header->length % 8 != 0) {
        TANDEM_TRY(tandem_buffer_puts(header, " "));
    }
    return 0;
}

static int write_file(tandem_writer *writer, const tandem_buffer *header, const tandem_safetensor_out *tensors, size_t count)
{
    unsigned char length[8];
    for (int i = 0; i < 8; i++) {
        length[i] = (unsigned char)((uint64_t)header->length >> (8 * i));
    }
    TANDEM_TRY(tandem_writer_write(writer, length, sizeof length));
    TANDEM_TRY(tandem_writer_write(writer, header->data, header->length));
    for (size_t i = 0; i < count; i++) {
        size_t bytes = sizeof(float);
        for (int d = 0; d < tensors[i].dims; d++) {
            bytes *= (size_t)tensors[i].shape[d]; /* checked by build_header */
        }
        if (bytes > 0) {
            TANDEM_TRY(tandem_writer_write(writer, tensors[i].data, bytes));
        }
    }
    return 0;
}

int tandem_safetensors_write(const char *path, const tandem_safetensor_out *tensors, size_t count)
{
    tandem_buffer header = TANDEM_BUFFER_INIT;
    tandem_writer *writer = NULL;
    int rc;
    TANDEM_TRY_GOTO(rc, done, build_header(&header, tensors, count));
    TANDEM_TRY_GOTO(rc, done, tandem_writer_open(&writer, path));
    TANDEM_TRY_GOTO(rc, done, write_file(writer, &header, tensors, count));
    rc = tandem_writer_commit(&writer);
done:
    tandem_writer_abort(writer);
    tandem_buffer_free(&header);
    return rc;
}
