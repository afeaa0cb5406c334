/* onnx_engine.c - finds an engine's library, and hands graphs to it. */
#include "cli/onnx_engine.h"

#include <dlfcn.h>
#include <stdlib.h>

#include "tandem/machine.h"
#include "tandem/memory.h"

struct onnx_engine {
    void *library, *api;
    const onnx_backend *backend;
    char name[64];
};

struct onnx_session {
    const onnx_backend *backend;
    void *state;
};

/* ---- the library ------------------------------------------------------------------------------- */

static int use_library(onnx_engine *engine, const char *path)
{
    static const onnx_backend *const backends[] = {&onnx_backend_runtime, &onnx_backend_openvino};
    engine->library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (engine->library == NULL) {
        return tandem_error_code(TANDEM_NOT_FOUND, "%s", dlerror());
    }
    for (size_t i = 0; i < sizeof backends / sizeof *backends; i++) {
        if (dlsym(engine->library, backends[i]->symbol) != NULL) {
            engine->backend = backends[i];
            engine->api = backends[i]->load(engine->library);
            return engine->api ? TANDEM_OK : TANDEM_ERROR;
        }
    }
    return tandem_error("%s: neither ONNX Runtime's C library nor OpenVINO's", path);
}

static int find_library(onnx_engine *engine)
{
    static const char *const names[] = {"libonnxruntime.so.1", "libonnxruntime.so", "libopenvino_c.so",
#ifdef TANDEM_ONNX_ENGINE
                                        TANDEM_ONNX_ENGINE
#endif
    };
    const char *named = getenv("TANDEM_ONNX_ENGINE");
    if (named != NULL && named[0] != '\0') {
        int rc = use_library(engine, named);
        return rc < 0 ? tandem_error_context(TANDEM_ERROR, "TANDEM_ONNX_ENGINE") : rc;
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        int rc = use_library(engine, names[i]);
        if (rc != TANDEM_NOT_FOUND) {
            return rc;
        }
    }
    return tandem_error_code(TANDEM_NOT_FOUND,
                             "no engine to run the graph: neither libonnxruntime.so nor libopenvino_c.so was found where "
                             "libraries are looked for or by the build; the environment variable TANDEM_ONNX_ENGINE "
                             "names one (PyPI's onnxruntime has it in onnxruntime/capi, openvino in openvino/libs)");
}

int onnx_engine_open(onnx_engine **out)
{
    onnx_engine *engine = *out = tandem_alloc(1, sizeof *engine);
    int rc = engine ? find_library(engine) : TANDEM_ERROR;
    if (rc == TANDEM_OK && engine->backend->name(engine->api, engine->name, sizeof engine->name) == NULL) {
        rc = TANDEM_ERROR;
    }
    if (rc < 0) {
        onnx_engine_close(engine);
        *out = NULL;
    }
    return rc;
}

/* The library stays loaded: both keep threads that outlive their last object. */
void onnx_engine_close(onnx_engine *engine)
{
    if (engine) {
        free(engine->api);
        free(engine);
    }
}

const char *onnx_engine_name(const onnx_engine *engine)
{
    return engine->name;
}

/* ---- graphs ---------------------------------------------------------------------------------------- */

int onnx_session_open(onnx_session **out, const onnx_engine *engine, const char *path)
{
    onnx_session *session = *out = tandem_alloc(1, sizeof *session);
    if (session == NULL) {
        return TANDEM_ERROR;
    }
    session->backend = engine->backend;
    int rc = engine->backend->open(&session->state, engine->api, path, (int)tandem_machine_threads());
    if (rc < 0) {
        onnx_session_close(session);
        *out = NULL;
        return tandem_error_context(rc, "%s: %s", engine->name, path);
    }
    return rc;
}

void onnx_session_close(onnx_session *session)
{
    if (session) {
        session->backend->close(session->state);
        free(session);
    }
}

int onnx_session_run(onnx_session *session, const onnx_input *inputs, size_t count, const char *output, float *out,
                     size_t floats)
{
    return session->backend->run(session->state, inputs, count, output, out, floats);
}
