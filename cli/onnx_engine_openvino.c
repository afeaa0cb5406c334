/* onnx_engine_openvino.c - OpenVINO by its C interface (openvino/c/openvino.h). Objects are opaque; a status
 * other than 0 is a failure. The numbers of element types differ between its versions: they
 * are asked of the graph's own inputs. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/onnx_engine.h"
#include "tandem/memory.h"

typedef struct {
    int64_t rank;
    int64_t *dims;
} ov_shape;

typedef struct {
    const char *build, *description;
} ov_version;

typedef struct {
    int (*get_version)(ov_version *version);
    void (*free_version)(ov_version *version);
    const char *(*last_error)(void);
    int (*create_core)(void **out);
    void (*free_core)(void *core);
    int (*read_model)(const void *core, const char *path, const char *weights, void **out);
    void (*free_model)(void *model);
    int (*compile)(const void *core, const void *model, const char *device, size_t property_words, void **out, ...);
    void (*free_compiled)(void *compiled);
    int (*input_by_name)(const void *compiled, const char *name, void **port);
    int (*port_type)(const void *port, int *type);
    void (*free_port)(void *port);
    int (*create_request)(const void *compiled, void **out);
    void (*free_request)(void *request);
    int (*set_tensor)(void *request, const char *name, const void *tensor);
    int (*get_tensor)(const void *request, const char *name, void **tensor);
    int (*infer)(void *request);
    int (*create_tensor)(int type, ov_shape shape, void *data, void **out);
    int (*tensor_size)(const void *tensor, size_t *numbers);
    int (*tensor_data)(const void *tensor, void **data);
    void (*free_tensor)(void *tensor);
} ov_api;

static const struct {
    const char *symbol;
    size_t offset;
} table[] = {
    {"ov_get_openvino_version", offsetof(ov_api, get_version)},
    {"ov_version_free", offsetof(ov_api, free_version)},
    {"ov_get_last_err_msg", offsetof(ov_api, last_error)},
    {"ov_core_create", offsetof(ov_api, create_core)},
    {"ov_core_free", offsetof(ov_api, free_core)},
    {"ov_core_read_model", offsetof(ov_api, read_model)},
    {"ov_model_free", offsetof(ov_api, free_model)},
    {"ov_core_compile_model", offsetof(ov_api, compile)},
    {"ov_compiled_model_free", offsetof(ov_api, free_compiled)},
    {"ov_compiled_model_input_by_name", offsetof(ov_api, input_by_name)},
    {"ov_port_get_element_type", offsetof(ov_api, port_type)},
    {"ov_output_const_port_free", offsetof(ov_api, free_port)},
    {"ov_compiled_model_create_infer_request", offsetof(ov_api, create_request)},
    {"ov_infer_request_free", offsetof(ov_api, free_request)},
    {"ov_infer_request_set_tensor", offsetof(ov_api, set_tensor)},
    {"ov_infer_request_get_tensor", offsetof(ov_api, get_tensor)},
    {"ov_infer_request_infer", offsetof(ov_api, infer)},
    {"ov_tensor_create_from_host_ptr", offsetof(ov_api, create_tensor)},
    {"ov_tensor_get_size", offsetof(ov_api, tensor_size)},
    {"ov_tensor_data", offsetof(ov_api, tensor_data)},
    {"ov_tensor_free", offsetof(ov_api, free_tensor)},
};

typedef struct {
    const ov_api *api;
    void *core, *compiled, *request;
    int type_int64;
} state;

static int check(const ov_api *api, int status)
{
    return status == 0 ? TANDEM_OK : tandem_error("%s (status %d)", api->last_error(), status);
}

static void *load(void *library)
{
    ov_api *api = tandem_alloc(1, sizeof *api);
    for (size_t i = 0; api != NULL && i < sizeof table / sizeof *table; i++) {
        void *symbol = dlsym(library, table[i].symbol);
        if (symbol == NULL) {
            tandem_error("this version of OpenVINO has no %s: one from 2023.1 on is needed", table[i].symbol);
            free(api);
            return NULL;
        }
        memcpy((char *)api + table[i].offset, &symbol, sizeof symbol);
    }
    return api;
}

static const char *name(void *given, char *text, size_t size)
{
    const ov_api *api = given;
    ov_version version = {0};
    if (check(api, api->get_version(&version)) < 0) {
        return NULL;
    }
    snprintf(text, size, "OpenVINO %.40s", version.build);
    api->free_version(&version);
    return text;
}

static void close_state(void *given)
{
    state *s = given;
    if (s == NULL) {
        return;
    }
    if (s->request) {
        s->api->free_request(s->request);
    }
    if (s->compiled) {
        s->api->free_compiled(s->compiled);
    }
    if (s->core) {
        s->api->free_core(s->core);
    }
    free(s);
}

/* float32 throughout: on a CPU with bf16 the default would round. */
static int compile(state *s, const char *path, int threads)
{
    const ov_api *api = s->api;
    void *model = NULL, *port = NULL;
    char count[16];
    snprintf(count, sizeof count, "%d", threads);
    TANDEM_TRY(check(api, api->read_model(s->core, path, NULL, &model)));
    int rc = check(api, api->compile(s->core, model, "CPU", 4, &s->compiled, "INFERENCE_PRECISION_HINT", "f32",
                                     "INFERENCE_NUM_THREADS", count));
    api->free_model(model);
    rc = rc < 0 ? rc : check(api, api->input_by_name(s->compiled, "input_ids", &port));
    rc = rc < 0 ? rc : check(api, api->port_type(port, &s->type_int64));
    if (port) {
        api->free_port(port);
    }
    return rc < 0 ? rc : check(api, api->create_request(s->compiled, &s->request));
}

static int open_state(void **out, void *given, const char *path, int threads)
{
    state *s = *out = tandem_alloc(1, sizeof *s);
    if (s == NULL) {
        return TANDEM_ERROR;
    }
    s->api = given;
    TANDEM_TRY(check(s->api, s->api->create_core(&s->core)));
    return compile(s, path, threads);
}

static int set_input(const state *s, const onnx_input *input)
{
    void *tensor = NULL;
    int64_t dims[2] = {input->shape[0], input->shape[1]};
    const ov_shape shape = {(int64_t)input->dims, dims};
    TANDEM_TRY(check(s->api, s->api->create_tensor(s->type_int64, shape, input->data, &tensor)));
    int rc = check(s->api, s->api->set_tensor(s->request, input->name, tensor));
    s->api->free_tensor(tensor);
    return rc;
}

static int run(void *given, const onnx_input *inputs, size_t count, const char *output, float *out, size_t floats)
{
    const state *s = given;
    void *tensor = NULL, *data = NULL;
    size_t numbers = 0;
    for (size_t i = 0; i < count; i++) {
        TANDEM_TRY(set_input(s, &inputs[i]));
    }
    TANDEM_TRY(check(s->api, s->api->infer(s->request)));
    TANDEM_TRY(check(s->api, s->api->get_tensor(s->request, output, &tensor)));
    int rc = check(s->api, s->api->tensor_size(tensor, &numbers));
    if (rc == TANDEM_OK && numbers != floats) {
        rc = tandem_error("output %s has %zu numbers, expected %zu", output, numbers, floats);
    }
    rc = rc < 0 ? rc : check(s->api, s->api->tensor_data(tensor, &data));
    if (rc == TANDEM_OK) {
        memcpy(out, data, floats * sizeof *out);
    }
    s->api->free_tensor(tensor);
    return rc;
}

const onnx_backend onnx_backend_openvino = {
    .symbol = "ov_core_create", .load = load, .name = name, .open = open_state, .run = run, .close = close_state};
