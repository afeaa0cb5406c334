/* onnx_engine.h - running an ONNX graph through a production engine, which is loaded at run time: ONNX Runtime
 * or OpenVINO, by their C interfaces. */
#ifndef TANDEM_CLI_ONNX_ENGINE_H
#define TANDEM_CLI_ONNX_ENGINE_H

#include <stddef.h>
#include <stdint.h>

#include "tandem/error.h"

/* A shared library that holds an engine, and its name and version. */
typedef struct onnx_engine onnx_engine;
/* A graph that it has loaded. */
typedef struct onnx_session onnx_session;

/* Loads the library that the environment variable TANDEM_ONNX_ENGINE names; else libonnxruntime.so or
 * libopenvino_c.so as the loader finds them; else the one that the build found. TANDEM_NOT_FOUND, with
 * a message that says what was looked for, when there is none. */
int onnx_engine_open(onnx_engine **out);
void onnx_engine_close(onnx_engine *engine); /* NULL is fine */
const char *onnx_engine_name(const onnx_engine *engine); /* "ONNX Runtime 1.31.1"; borrowed */

int onnx_session_open(onnx_session **out, const onnx_engine *engine, const char *path);
void onnx_session_close(onnx_session *session); /* NULL is fine */

/* An input, int64 [shape[0]] or [shape[0], shape[1]]. */
typedef struct {
    const char *name;
    int64_t *data; /* not written */
    int64_t shape[2];
    size_t dims;
} onnx_input;

/* Runs the graph and copies its float32 output of that name, which must hold `floats` numbers. */
int onnx_session_run(onnx_session *session, const onnx_input *inputs, size_t count, const char *output, float *out,
                     size_t floats);

/* ---- for the engines ------------------------------------------------------------------------- */
enum { ONNX_MAX_INPUTS = 4 };

typedef struct {
    const char *symbol; /* that only its library has */
    /* `api` is what it calls, made once; NULL with the message set where a function is missing. */
    void *(*load)(void *library);
    const char *(*name)(void *api, char *text, size_t size);
    int (*open)(void **state, void *api, const char *path, int threads);
    int (*run)(void *state, const onnx_input *inputs, size_t count, const char *output, float *out, size_t floats);
    void (*close)(void *state);
} onnx_backend;

extern const onnx_backend onnx_backend_runtime, onnx_backend_openvino;

#endif
