/* probe_losses: computes losses as lines of standard input ask for them, each
 *   bi|cross IN OUT [KEY=VALUE...]
 * one loss over the tensors of the safetensors file IN (float32); writes the loss and the gradients of
 * its inputs to OUT and answers "ok", or why not. KEY is a setting of `tandem train`. IN has
 *   bi: queries, documents, owner; known [n, m], scores, classes, teacher_queries,
 *       teacher_documents, scale where there is one
 *   cross: logits, labels, starts; offsets where there are any */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tandem/safetensors.h"
#include "tandem/train.h"
#include "train/losses.h"

static const tandem_safetensors *input;

/* NULL where the file has no such tensor. The program is small: it frees nothing. */
static float *read(const char *name, size_t *count)
{
    const tandem_safetensor *tensor = tandem_safetensors_find(input, name);
    float *values = tensor != NULL ? malloc((tensor->elements + 1) * sizeof *values) : NULL;

    if (values != NULL && tandem_safetensor_read_f32(tensor, values) < 0) {
        fprintf(stderr, "probe_losses: %s: %s\n", name, tandem_error_message());
        exit(1);
    }
    *count = values != NULL ? tensor->elements : 0;
    return values;
}

static int tensor_of(tandem_tensor **out, const char *name)
{
    const tandem_safetensor *tensor = tandem_safetensors_find(input, name);
    size_t count;
    float *values = read(name, &count);

    *out = NULL;
    return values != NULL ? tandem_tensor_from(out, values, tensor->shape, tensor->dims) : TANDEM_OK;
}

/* The mask as lists of columns. */
static void set_known(tandem_bi_candidates *c)
{
    size_t cells, used = 0;
    const float *mask = read("known", &cells);

    if (mask == NULL) {
        return;
    }
    size_t *starts = calloc(c->n + 1, sizeof *starts);
    uint32_t *known = calloc(cells, sizeof *known);

    for (size_t i = 0; i < c->n; i++) {
        for (size_t j = 0; j < c->m; j++) {
            if (mask[i * c->m + j] != 0.0F) {
                known[used++] = (uint32_t)j;
            }
        }
        starts[i + 1] = used;
    }
    c->known_starts = starts;
    c->known = known;
}

static int bi(double *loss, tandem_tensor *gradients[3], const tandem_loss_settings *settings)
{
    tandem_tensor *queries, *documents, *teacher_queries, *teacher_documents, *scale = NULL;
    size_t count, labelled;
    float *owners = read("owner", &count), *classes = read("classes", &labelled);
    uint32_t *owner = calloc(count, sizeof *owner);
    int64_t *class = calloc(labelled + 1, sizeof *class);

    for (size_t j = 0; j < count; j++) {
        owner[j] = (uint32_t)owners[j];
    }
    for (size_t i = 0; i < labelled; i++) {
        class[i] = (int64_t)classes[i];
    }
    TANDEM_TRY(tensor_of(&queries, "queries"));
    TANDEM_TRY(tensor_of(&documents, "documents"));
    TANDEM_TRY(tensor_of(&teacher_queries, "teacher_queries"));
    TANDEM_TRY(tensor_of(&teacher_documents, "teacher_documents"));
    TANDEM_TRY(tensor_of(&scale, "scale"));
    if (scale != NULL) {
        TANDEM_TRY(tandem_op_leaf(&scale, scale));
    }
    tandem_bi_candidates c = {
        .n = (size_t)tandem_tensor_size(queries, 0), .m = count, .owner = owner, .scores = read("scores", &count),
        .classes = labelled > 0 ? class : NULL, .teacher_queries = teacher_queries, .teacher_documents = teacher_documents,
        .scale = scale, .settings = settings, .scratch = tandem_arena_new(),
    };
    set_known(&c);
    TANDEM_TRY(tandem_bi_loss_run(loss, &gradients[0], &gradients[1], queries, documents, &c));
    return scale != NULL ? tandem_tensor_grad(&gradients[2], scale) : TANDEM_OK;
}

static int cross(double *loss, tandem_tensor *gradients[3], const tandem_loss_settings *settings)
{
    size_t count, groups;
    float *labels = read("labels", &count), *offsets = read("offsets", &count), *bounds = read("starts", &groups);
    size_t *starts = calloc(groups, sizeof *starts);
    tandem_tensor *logits = NULL, *scalar = NULL;

    for (size_t i = 0; i < groups; i++) {
        starts[i] = (size_t)bounds[i];
    }
    tandem_candidates c = {groups - 1, starts, labels, offsets, settings, tandem_arena_new()};

    TANDEM_TRY(tensor_of(&logits, "logits"));
    TANDEM_TRY(tandem_op_leaf(&logits, logits));
    TANDEM_TRY(tandem_cross_loss_at((size_t)settings->name)->compute(&scalar, logits, &c));
    TANDEM_TRY(tandem_tensor_item(scalar, loss));
    TANDEM_TRY(tandem_backward(scalar));
    return tandem_tensor_grad(&gradients[0], logits);
}

static int write(const char *path, double loss, tandem_tensor *const gradients[3])
{
    static const char *const names[] = {"gradient_0", "gradient_1", "gradient_2"};
    tandem_safetensor_out out[4];
    float narrow = (float)loss;
    size_t used = 0;

    out[used++] = (tandem_safetensor_out){.name = "loss", .dims = 1, .shape = {1}, .data = &narrow};
    for (size_t i = 0; i < 3; i++) {
        if (gradients[i] == NULL) {
            continue;
        }
        int64_t elements = 1;
        int dims = tandem_tensor_dims(gradients[i]);

        out[used] = (tandem_safetensor_out){.name = names[i], .dims = dims};
        for (int d = 0; d < dims; d++) {
            out[used].shape[d] = tandem_tensor_size(gradients[i], d);
            elements *= out[used].shape[d];
        }
        float *values = malloc((size_t)elements * sizeof *values);
        TANDEM_TRY(tandem_tensor_read(gradients[i], values));
        out[used++].data = values;
    }
    return tandem_safetensors_write(path, out, used);
}

/* One line; the words are cut at single blanks. */
static int answer(char *line)
{
    tandem_safetensors *file = NULL;
    tandem_train_config config = {0};
    tandem_tensor *gradients[3] = {NULL, NULL, NULL};
    char *words[32], *rest = line;
    size_t count = 0, rows = 0;
    double loss = 0.0;

    for (char *word; count < 32 && (word = strsep(&rest, " ")) != NULL; count++) {
        words[count] = word;
    }
    if (count < 3) {
        return tandem_error("expected bi|cross IN OUT [KEY=VALUE...]");
    }
    bool is_cross = strcmp(words[0], "cross") == 0;
    const tandem_setting *table = tandem_train_settings(is_cross, &rows);

    TANDEM_TRY(tandem_settings_init(&config, table, rows));
    for (size_t i = 3; i < count; i++) {
        TANDEM_TRY(tandem_settings_set(&config, table, rows, words[i]));
    }
    TANDEM_TRY(tandem_safetensors_open(&file, words[1]));
    input = file;
    TANDEM_TRY((is_cross ? cross : bi)(&loss, gradients, &config.loss));
    return write(words[2], loss, gradients);
}

int main(void)
{
    char line[4096];

    if (tandem_torch_init() < 0) {
        fprintf(stderr, "%s\n", tandem_error_message());
        return 1;
    }
    tandem_grad_enable(1);
    while (fgets(line, sizeof line, stdin) != NULL && tandem_scope_begin() == 0) {
        line[strcspn(line, "\n")] = '\0';
        int rc = answer(line);
        tandem_scope_end();
        printf("%s\n", rc < 0 ? tandem_error_message() : "ok");
        fflush(stdout);
    }
    return 0;
}
