/* probe_onnx.c - what tests/parity/test_onnx.py asks of an export that no command shows:
 *
 *   probe_onnx DIR OUT LIMIT   a bi-encoder's graphs of all dtypes, with their weights in a second file where a
 *                              graph takes more than LIMIT bytes
 */
#include <stdio.h>
#include <stdlib.h>

#include "tandem/model.h"
#include "tandem/onnx.h"

static void check(int rc)
{
    if (rc < 0) {
        fprintf(stderr, "probe_onnx: %s\n", tandem_error_message());
        exit(1);
    }
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: probe_onnx DIR OUT LIMIT\n");
        return 2;
    }
    tandem_onnx_options graphs[3];
    for (int i = 0; i < 3; i++) {
        graphs[i] = (tandem_onnx_options){.dtype = (tandem_onnx_dtype)i, .weight_bits = 8, .inline_limit = strtoull(argv[3], NULL, 10)};
    }
    tandem_model *model;
    check(tandem_model_load(&model, argv[1], NULL));
    check(tandem_onnx_export(model, argv[2], graphs, 3, NULL));
    tandem_model_free(model);
    return 0;
}
