/* probe_train_step bi|cross MODEL GROUPS OUT [KEY=VALUE...]: one training step over all
 * groups in file order: writes OUT.gradients.safetensors and, after one
 * update, OUT.weights.safetensors, both under the parameters' names; prints the loss
 * and the norm of the gradient. KEY is a setting of `tandem train`; "dropout" among
 * them turns dropout on, "libtorch" has the step done by libtorch's operations. `dtype` is fp32 unless it is set. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tandem/groups.h"
#include "tandem/machine.h"
#include "tandem/memory.h"
#include "tandem/safetensors.h"
#include "tandem/train.h"
#include "train/optimizer.h"
#include "train/step.h"

static int dump(const tandem_model *model, const float *arena, const char *prefix, const char *suffix)
{
    size_t count = tandem_model_parameter_count(model);
    tandem_safetensor_out *tensors = calloc(count, sizeof *tensors);
    tandem_buffer path = TANDEM_BUFFER_INIT;

    for (size_t i = 0; i < count; i++) {
        const tandem_parameter *parameter = tandem_model_parameter(model, i);

        tensors[i] = (tandem_safetensor_out){.name = parameter->name, .dims = parameter->dims, .data = arena + parameter->offset};
        memcpy(tensors[i].shape, parameter->shape, sizeof parameter->shape);
    }
    tandem_buffer_printf(&path, "%s.%s.safetensors", prefix, suffix);
    int rc = tandem_safetensors_write(path.data, tensors, count);
    tandem_buffer_free(&path);
    free(tensors);
    return rc;
}

static int step(tandem_model *model, const tandem_examples *examples, const tandem_train_config *config, bool cross,
                bool dropout, const char *out)
{
    const float *weights = tandem_model_parameters(model, NULL), *gradients = tandem_model_gradients(model);
    uint32_t *batch = calloc(examples->count, sizeof *batch);
    tandem_stepper *stepper = NULL;
    tandem_adamw *adamw = NULL;
    tandem_step_figures figures;
    double norm = 0.0;

    for (size_t i = 0; i < examples->count; i++) {
        batch[i] = (uint32_t)i;
    }
    tandem_model_freeze(model, config->freeze);
    tandem_model_set_checkpointing(model, config->activation_checkpointing);
    TANDEM_TRY(tandem_stepper_new(&stepper, model));
    TANDEM_TRY(tandem_adamw_for_model(&adamw, model, config->weight_decay, config->freeze, config->layer_decay));
    TANDEM_TRY((cross ? tandem_step_cross : tandem_step_bi)(&figures, stepper, examples, batch, examples->count,
                                                            &config->loss, (size_t)config->forward_tokens, dropout,
                                                            7, 3));
    TANDEM_TRY(tandem_adamw_norm(&norm, adamw, model));
    TANDEM_TRY(tandem_encoder_fetch_gradients(tandem_model_encoder(model)));
    TANDEM_TRY(dump(model, gradients, out, "gradients"));
    TANDEM_TRY(tandem_adamw_update(adamw, model, config->learning_rate, tandem_clip_scale(norm, config->max_grad_norm)));
    TANDEM_TRY(tandem_adamw_fetch(adamw, model));
    TANDEM_TRY(dump(model, weights, out, "weights"));
    printf("{\"loss\": %.9g, \"norm\": %.9g, \"scale_gradient\": %.9g, \"tokens\": %zu, \"parts\": %zu, \"peak\": %zu}\n",
           figures.loss, norm, figures.scale_gradient, figures.tokens, figures.parts, tandem_machine_peak_rss());
    tandem_adamw_free(adamw);
    tandem_stepper_free(stepper);
    free(batch);
    return TANDEM_OK;
}

static int run(bool cross, char **argv, const tandem_train_config *config, bool dropout)
{
    tandem_model *model = NULL;
    tandem_groups *groups = NULL;
    tandem_examples *examples = NULL;
    tandem_model_options model_options = {.kind = cross ? TANDEM_CROSS_ENCODER : TANDEM_BI_ENCODER, .max_length = (size_t)config->max_length,
                                          .precision = (tandem_precision)config->dtype};
    tandem_examples_options options = tandem_examples_options_for(&config->loss, cross, (size_t)config->data.negatives);

    TANDEM_TRY(tandem_model_load(&model, argv[2], &model_options));
    TANDEM_TRY(tandem_groups_read(&groups, argv[3]));
    if (config->loss.teacher != NULL) {
        TANDEM_TRY(tandem_model_load(&options.teacher, config->loss.teacher, NULL));
    }
    TANDEM_TRY(tandem_examples_new(&examples, groups, model, &options));
    TANDEM_TRY(step(model, examples, config, cross, dropout, argv[4]));
    tandem_examples_free(examples);
    tandem_groups_free(groups);
    tandem_model_free(options.teacher);
    tandem_model_free(model);
    return TANDEM_OK;
}

int main(int argc, char **argv)
{
    tandem_train_config config = {0};
    size_t rows = 0;
    bool dropout = false;

    if (argc < 5) {
        fprintf(stderr, "usage: probe_train_step bi|cross MODEL GROUPS OUT [KEY=VALUE...]\n");
        return 2;
    }
    bool cross = strcmp(argv[1], "cross") == 0;
    const tandem_setting *table = tandem_train_settings(cross, &rows);
    int rc = tandem_settings_init(&config, table, rows);

    config.dtype = TANDEM_FP32;
    for (int i = 5; rc == 0 && i < argc; i++) {
        if (strcmp(argv[i], "dropout") == 0) {
            dropout = true;
        } else if (strcmp(argv[i], "libtorch") == 0) {
            tandem_machine_set_device(TANDEM_DEVICE_LIBTORCH);
        } else {
            rc = tandem_settings_set(&config, table, rows, argv[i]);
        }
    }
    rc = rc < 0 ? rc : run(cross, argv, &config, dropout);
    if (rc < 0) {
        fprintf(stderr, "probe_train_step: %s\n", tandem_error_message());
    }
    tandem_settings_free(&config, table, rows);
    return rc < 0 ? 1 : 0;
}
