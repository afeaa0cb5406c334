/* probe_losses NAME IN OUT NUMBER: one loss over the tensors of a safetensors file
 * (float32): mnrl: queries, documents, mask; others: logits, labels, offsets, starts.
 * Writes the loss and the gradients of its inputs. NUMBER is scale or pos_weight. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tandem/safetensors.h"
#include "train/losses.h"

static int failed(void)
{
    fprintf(stderr, "probe_losses: %s\n", tandem_error_message());
    return 1;
}

static float *read(const tandem_safetensors *file, const char *name, size_t *count)
{
    const tandem_safetensor *tensor = tandem_safetensors_find(file, name);
    float *values = tensor ? malloc((tensor->elements + 1) * sizeof *values) : NULL;

    if (values == NULL || tandem_safetensor_read_f32(tensor, values) < 0) {
        fprintf(stderr, "probe_losses: no %s\n", name);
        exit(1);
    }
    *count = tensor->elements;
    return values;
}

static int leaf_of(tandem_tensor **out, const tandem_safetensors *file, const char *name)
{
    size_t count;
    float *values = read(file, name, &count);
    const tandem_safetensor *tensor = tandem_safetensors_find(file, name);
    tandem_tensor *constant = NULL;
    int rc = tandem_tensor_from(&constant, values, tensor->shape, tensor->dims);

    free(values);
    return rc < 0 ? rc : tandem_op_leaf(out, constant);
}

static int mnrl(tandem_tensor **loss, tandem_tensor *leaves[2], const tandem_safetensors *file, double scale)
{
    size_t count;
    float *mask = read(file, "mask", &count);
    bool *masked = calloc(count, sizeof *masked);

    for (size_t i = 0; i < count; i++) {
        masked[i] = mask[i] != 0.0F;
    }
    int rc = leaf_of(&leaves[0], file, "queries");
    rc = rc < 0 ? rc : leaf_of(&leaves[1], file, "documents");
    rc = rc < 0 ? rc : tandem_loss_mnrl(loss, leaves[0], leaves[1], masked, scale);
    free(mask);
    free(masked);
    return rc;
}

static int cross(tandem_tensor **loss, tandem_tensor *leaves[2], const tandem_safetensors *file, const tandem_cross_loss *row,
                 double pos_weight)
{
    size_t count, groups;
    float *labels = read(file, "labels", &count), *offsets = read(file, "offsets", &count), *bounds = read(file, "starts", &groups);
    size_t *starts = calloc(groups, sizeof *starts);

    for (size_t i = 0; i < groups; i++) {
        starts[i] = (size_t)bounds[i];
    }
    tandem_candidates candidates = {groups - 1, starts, labels, offsets, pos_weight};
    int rc = leaf_of(&leaves[0], file, "logits");
    rc = rc < 0 ? rc : row->compute(loss, leaves[0], &candidates);
    free(labels);
    free(offsets);
    free(bounds);
    free(starts);
    return rc;
}

static int write(const char *path, const tandem_tensor *loss, tandem_tensor *const leaves[2])
{
    static const char *const names[] = {"gradient_0", "gradient_1"};
    tandem_safetensor_out out[3];
    size_t used = 0;
    double value = 0.0;

    if (tandem_tensor_item(loss, &value) < 0) {
        return -1;
    }
    float narrow = (float)value;
    out[used++] = (tandem_safetensor_out){.name = "loss", .dims = 1, .shape = {1}, .data = &narrow};
    for (size_t i = 0; i < 2 && leaves[i] != NULL; i++) {
        tandem_tensor *gradient = NULL;
        int64_t elements = 1;
        int dims = tandem_tensor_dims(leaves[i]);

        out[used] = (tandem_safetensor_out){.name = names[i], .dims = dims};
        for (int d = 0; d < dims; d++) {
            out[used].shape[d] = tandem_tensor_size(leaves[i], d);
            elements *= out[used].shape[d];
        }
        float *values = malloc((size_t)elements * sizeof *values);
        if (tandem_tensor_grad(&gradient, leaves[i]) < 0 || tandem_tensor_read(gradient, values) < 0) {
            return -1;
        }
        out[used++].data = values;
    }
    return tandem_safetensors_write(path, out, used);
}

int main(int argc, char **argv)
{
    tandem_safetensors *file = NULL;
    tandem_tensor *loss = NULL, *leaves[2] = {NULL, NULL};
    int rc = -1;

    if (argc != 5) {
        fprintf(stderr, "usage: probe_losses NAME IN OUT NUMBER\n");
        return 2;
    }
    if (tandem_safetensors_open(&file, argv[2]) < 0 || tandem_scope_begin() < 0) {
        return failed();
    }
    tandem_grad_enable(1);
    if (strcmp(argv[1], "mnrl") == 0) {
        rc = mnrl(&loss, leaves, file, strtod(argv[4], NULL));
    }
    for (size_t i = 0; tandem_cross_loss_names[i] != NULL; i++) {
        if (strcmp(argv[1], tandem_cross_loss_names[i]) == 0) {
            rc = cross(&loss, leaves, file, tandem_cross_loss_at(i), strtod(argv[4], NULL));
        }
    }
    if (rc < 0 || tandem_backward(loss) < 0 || write(argv[3], loss, leaves) < 0) {
        return failed();
    }
    tandem_scope_end();
    tandem_safetensors_close(file);
    return 0;
}
