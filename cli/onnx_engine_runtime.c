/* onnx_engine_runtime.c - ONNX Runtime by its C interface.
 *
 * The interface is a table of functions that only grows at its end, so that places in it hold for every version:
 * numbers below are those of OrtApi in onnxruntime_c_api.h. Objects are opaque; a status that is not NULL
 * is a failure. */
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "cli/onnx_engine.h"
#include "tandem/memory.h"

typedef void (*any_function)(void);

typedef struct {
    const any_function *(*get_api)(uint32_t version);
    const char *(*get_version)(void);
} api_base;

typedef struct {
    const api_base *base;
    const char *(*get_error_message)(const void *status);
    void *(*create_env)(int level, const char *id, void **out);
    void *(*create_session)(const void *env, const char *path, const void *options, void **out);
    void *(*run)(void *session, const void *options, const char *const *input_names, const void *const *inputs,
                 size_t input_count, const char *const *output_names, size_t output_count, void **outputs);
    void *(*create_session_options)(void **out);
    void *(*disable_cpu_arena)(void *options);
    void *(*set_threads)(void *options, int count);
    void *(*create_tensor)(const void *memory, void *data, size_t bytes, const int64_t *shape, size_t dims, int type,
                           void **out);
    void *(*get_data)(void *value, void **out);
    void *(*get_element_count)(const void *shape, size_t *out);
    void *(*get_shape)(const void *value, void **out);
    void *(*create_cpu_memory)(int allocator, int type, void **out);
    void (*release_env)(void *env);
    void (*release_status)(void *status);
    void (*release_memory)(void *memory);
    void (*release_session)(void *session);
    void (*release_value)(void *value);
    void (*release_shape)(void *shape);
    void (*release_options)(void *options);
} ort_api;

static const struct {
    size_t index, offset;
} table[] = {
    {2, offsetof(ort_api, get_error_message)},       {3, offsetof(ort_api, create_env)},
    {7, offsetof(ort_api, create_session)},          {9, offsetof(ort_api, run)},
    {10, offsetof(ort_api, create_session_options)}, {19, offsetof(ort_api, disable_cpu_arena)},
    {24, offsetof(ort_api, set_threads)},            {49, offsetof(ort_api, create_tensor)},
    {51, offsetof(ort_api, get_data)},               {64, offsetof(ort_api, get_element_count)},
    {65, offsetof(ort_api, get_shape)},              {69, offsetof(ort_api, create_cpu_memory)},
    {92, offsetof(ort_api, release_env)},            {93, offsetof(ort_api, release_status)},
    {94, offsetof(ort_api, release_memory)},         {95, offsetof(ort_api, release_session)},
    {96, offsetof(ort_api, release_value)},          {99, offsetof(ort_api, release_shape)},
    {100, offsetof(ort_api, release_options)},
};

enum { LOG_ERRORS = 3, DEVICE_ALLOCATOR = 0, DEFAULT_MEMORY = 0, TYPE_INT64 = 7 };

typedef struct {
    const ort_api *api;
    void *env, *session, *memory;
} state;

static int check(const ort_api *api, void *status)
{
    if (status == NULL) {
        return TANDEM_OK;
    }
    int rc = tandem_error("%s", api->get_error_message(status));
    api->release_status(status);
    return rc;
}

static void *load(void *library)
{
    const api_base *(*get_base)(void);
    void *symbol = dlsym(library, "OrtGetApiBase");
    memcpy(&get_base, &symbol, sizeof get_base);
    ort_api *api = tandem_alloc(1, sizeof *api);
    if (api == NULL) {
        return NULL;
    }
    api->base = get_base();
    const any_function *functions = api->base->get_api(1);
    if (functions == NULL) {
        free(api);
        tandem_error("ONNX Runtime %s does not speak version 1 of its own interface", get_base()->get_version());
        return NULL;
    }
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        memcpy((char *)api + table[i].offset, &functions[table[i].index], sizeof(any_function));
    }
    return api;
}

static const char *name(void *api, char *text, size_t size)
{
    snprintf(text, size, "ONNX Runtime %s", ((const ort_api *)api)->base->get_version());
    return text;
}

static void close_state(void *given)
{
    state *s = given;
    if (s == NULL) {
        return;
    }
    if (s->session) {
        s->api->release_session(s->session);
    }
    if (s->memory) {
        s->api->release_memory(s->memory);
    }
    if (s->env) {
        s->api->release_env(s->env);
    }
    free(s);
}

static int open_state(void **out, void *given, const char *path, int threads)
{
    const ort_api *api = given;
    void *options = NULL;
    state *s = *out = tandem_alloc(1, sizeof *s);
    if (s == NULL) {
        return TANDEM_ERROR;
    }
    s->api = api;
    int rc = check(api, api->create_env(LOG_ERRORS, "tandem", &s->env));
    rc = rc < 0 ? rc : check(api, api->create_session_options(&options));
    rc = rc < 0 ? rc : check(api, api->set_threads(options, threads));
    rc = rc < 0 ? rc : check(api, api->disable_cpu_arena(options)); /* it keeps what every new shape took */
    rc = rc < 0 ? rc : check(api, api->create_session(s->env, path, options, &s->session));
    rc = rc < 0 ? rc : check(api, api->create_cpu_memory(DEVICE_ALLOCATOR, DEFAULT_MEMORY, &s->memory));
    if (options) {
        api->release_options(options);
    }
    return rc;
}

static int copy_output(const ort_api *api, void *value, const char *output, float *out, size_t floats)
{
    void *shape = NULL, *data = NULL;
    size_t count = 0;
    int rc = check(api, api->get_shape(value, &shape));
    rc = rc < 0 ? rc : check(api, api->get_element_count(shape, &count));
    if (shape) {
        api->release_shape(shape);
    }
    if (rc == TANDEM_OK && count != floats) {
        rc = tandem_error("output %s has %zu numbers, expected %zu", output, count, floats);
    }
    rc = rc < 0 ? rc : check(api, api->get_data(value, &data));
    if (rc == TANDEM_OK) {
        memcpy(out, data, floats * sizeof *out);
    }
    return rc;
}

static int run(void *given, const onnx_input *inputs, size_t count, const char *output, float *out, size_t floats)
{
    const state *s = given;
    const ort_api *api = s->api;
    const char *names[ONNX_MAX_INPUTS];
    void *values[ONNX_MAX_INPUTS] = {NULL}, *result = NULL;
    int rc = TANDEM_OK;
    for (size_t i = 0; i < count && rc == TANDEM_OK; i++) {
        size_t numbers = (size_t)(inputs[i].shape[0] * (inputs[i].dims == 2 ? inputs[i].shape[1] : 1));
        names[i] = inputs[i].name;
        rc = check(api, api->create_tensor(s->memory, inputs[i].data, numbers * sizeof(int64_t), inputs[i].shape,
                                           inputs[i].dims, TYPE_INT64, &values[i]));
    }
    rc = rc < 0 ? rc
                : check(api, api->run(s->session, NULL, names, (const void *const *)values, count, &output, 1, &result));
    rc = rc < 0 ? rc : copy_output(api, result, output, out, floats);
    for (size_t i = 0; i < count; i++) {
        if (values[i]) {
            api->release_value(values[i]);
        }
    }
    if (result) {
        api->release_value(result);
    }
    return rc;
}

const onnx_backend onnx_backend_runtime = {
    .symbol = "OrtGetApiBase", .load = load, .name = name, .open = open_state, .run = run, .close = close_state};
