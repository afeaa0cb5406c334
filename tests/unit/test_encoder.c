/* The encoder on tiny random models, one a family: every gradient by finite differences,
 * dropout, batches and errors. */
#include "tiny_encoder.h"

/* Whether parameter `i` is of a padding token's rows (id 1, position 1), which stay as
 * they are. */
static bool is_frozen(const model *m, variant v, size_t i)
{
    const tandem_place tables[] = {m->spec.word_embedding, m->spec.position_embedding};
    for (int t = 0; v.pad_positions && t < 2; t++) {
        size_t row = (size_t)(tables[t] + m->spec.embedding_size);
        if (i >= row && i < row + (size_t)m->spec.embedding_size) {
            return true;
        }
    }
    return false;
}

/* Central differences along random directions within blocks of 48 parameters. */
static void check_gradients_on(tandem_device device, const char *name, variant v, tandem_dropout dropout,
                               tandem_pooling pooling)
{
    model m = model_make_on(v, device);
    float *parameters = tandem_encoder_parameters(m.encoder), *gradients = tandem_encoder_gradients(m.encoder);
    assert_int_equal((uintptr_t)gradients % 64, 0);
    tandem_grad_enable(1);
    run_loss(&m, dropout, pooling, true);
    tandem_grad_enable(0);
    assert_ptr_equal(gradients_in(&m), gradients);
    tandem_random random = tandem_random_stream(4, "directions", 0);
    double norm = 0;
    for (size_t i = 0; i < m.floats; i++) {
        norm = fmax(norm, fabs((double)gradients[i]));
    }
    assert_true(norm > 0.1);
    for (size_t first = 0; first < m.floats; first += 48) {
        enum { BLOCK = 48 };
        size_t count = m.floats - first < BLOCK ? m.floats - first : BLOCK;
        float keep[BLOCK], step[BLOCK];
        double loss[2], expected = 0;
        for (size_t i = 0; i < count; i++) {
            keep[i] = parameters[first + i];
            step[i] = tandem_random_below(&random, 2) ? 0x1p-10f : -0x1p-10f;
            if (is_frozen(&m, v, first + i)) {
                assert_true(gradients[first + i] == 0);
                step[i] = 0;
            }
            /* The steps as float addition makes them. */
            expected += (double)gradients[first + i] * ((double)(keep[i] + step[i]) - (double)(keep[i] - step[i]));
        }
        for (int side = 0; side < 2; side++) {
            for (size_t i = 0; i < count; i++) {
                parameters[first + i] = side == 0 ? keep[i] + step[i] : keep[i] - step[i];
            }
            loss[side] = run_loss(&m, dropout, pooling, false);
        }
        memcpy(parameters + first, keep, count * sizeof *keep);
        /* The forward's rounding, 1e-7 of a hundred outputs of size 1, moves the loss
         * by some 1e-6; the third-order error is of the same size. Ten times that is
         * allowed, where the mean movement is 6e-3. */
        if (!(fabs(loss[0] - loss[1] - expected) < 2e-5 + 1e-3 * fabs(expected))) {
            fail_msg("%s on %s, activation %d, pooling %d, parameters from %zu: the loss moved by %.7f, the gradient says %.7f", name, tandem_device_name(device), v.activation, pooling, first, loss[0] - loss[1], expected);
        }
    }
    tandem_encoder_free(m.encoder);
}

static void check_gradients(const char *name, variant v, tandem_dropout dropout, tandem_pooling pooling)
{
    check_gradients_on(TANDEM_DEVICE_CPU, name, v, dropout, pooling);
    check_gradients_on(TANDEM_DEVICE_LIBTORCH, name, v, dropout, pooling);
}

static void test_encoder_gradients(void **state)
{
    (void)state;
    const tandem_dropout dropout = {.train = true, .seed = 17, .step = 4};
    variant v = bert;
    check_gradients("bert", v, no_dropout, TANDEM_POOL_MEAN);
    check_gradients("bert", v, dropout, TANDEM_POOL_MEAN_SQRT_LEN);
    check_gradients("bert", v, no_dropout, TANDEM_POOL_LAST);
    check_gradients("bert", v, dropout, TANDEM_POOL_MAX);
    v.activation = TANDEM_ACTIVATION_GELU_TANH;
    check_gradients("bert", v, no_dropout, TANDEM_POOL_WEIGHTED_MEAN);
    v.activation = TANDEM_ACTIVATION_SILU;
    check_gradients("bert", v, dropout, TANDEM_POOL_CLS);
}

static void test_family_gradients(void **state)
{
    (void)state;
    const tandem_dropout dropout = {.train = true, .seed = 17, .step = 4, .first_row = 1000, .first_sequence = 20};
    variant v;
    check_gradients("roberta", roberta, dropout, TANDEM_POOL_CLS);
    check_gradients("distilbert", distilbert, no_dropout, TANDEM_POOL_MEAN);
    check_gradients("mpnet", mpnet, no_dropout, TANDEM_POOL_MEAN);
    check_gradients("mpnet", mpnet, dropout, TANDEM_POOL_MEAN);
    check_gradients("electra", electra, dropout, TANDEM_POOL_MEAN);
    check_gradients("modernbert", modernbert, no_dropout, TANDEM_POOL_MEAN);
    check_gradients("modernbert", modernbert, dropout, TANDEM_POOL_MEAN);
    v = modernbert;
    v.no_biases = false;
    v.relative = true;
    v.activation = TANDEM_ACTIVATION_SILU;
    check_gradients("modernbert with biases", v, dropout, TANDEM_POOL_CLS);
    v = bert;
    v.modules = true;
    check_gradients("bert with modules", v, dropout, TANDEM_POOL_MEAN);
    v.inner_dropout = 0.3;
    check_gradients("bert with inner dropout", v, dropout, TANDEM_POOL_MEAN);
}

/* Two runs of one step give the same bits, in every family. */
static void test_family_determinism(void **state)
{
    (void)state;
    const variant families[] = {mpnet, electra, modernbert};
    const tandem_dropout dropout = {.train = true, .seed = 1, .step = 2};
    for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
        model m = model_make(families[i]);
        float *gradients = tandem_encoder_gradients(m.encoder), *once = malloc(m.floats * sizeof *once);
        tandem_grad_enable(1);
        run_loss(&m, dropout, TANDEM_POOL_MEAN, true);
        memcpy(once, gradients, m.floats * sizeof *once);
        memset(gradients, 0, m.floats * sizeof *gradients);
        run_loss(&m, dropout, TANDEM_POOL_MEAN, true);
        assert_memory_equal(gradients, once, m.floats * sizeof *once);
        tandem_grad_enable(0);
        free(once);
        tandem_encoder_free(m.encoder);
    }
}

/* The gradients of one step with dropout, in `out` [floats]. */
static double gradients_of(model *m, float *out)
{
    const tandem_dropout dropout = {.train = true, .seed = 1, .step = 2};
    assert_non_null(tandem_encoder_gradients(m->encoder));
    ok(tandem_encoder_zero_gradients(m->encoder));
    tandem_grad_enable(1);
    double loss = run_loss(m, dropout, TANDEM_POOL_MEAN, true);
    tandem_grad_enable(0);
    memcpy(out, gradients_in(m), m->floats * sizeof *out);
    return loss;
}

/* A layer run again gives the same bits, and what is frozen gets no gradient while the rest gets the same one;
 * in every family and both precisions, by kernels and by operations. */
static void check_less_work(tandem_device device, variant v, tandem_precision precision)
{
    model m = model_make_on(v, device);
    float *whole = malloc(m.floats * sizeof *whole), *other = malloc(m.floats * sizeof *other);
    assert_int_equal(tandem_encoder_set_precision(m.encoder, precision), 0);
    double loss = gradients_of(&m, whole);
    for (int checkpointing = 0; checkpointing < 2; checkpointing++) {
        tandem_encoder_set_checkpointing(m.encoder, checkpointing);
        for (int64_t frozen = -1; frozen <= LAYERS; frozen++) {
            tandem_encoder_freeze(m.encoder, frozen);
            assert_true(gradients_of(&m, other) == loss);
            size_t begin = (size_t)(frozen < 0 ? 0 : frozen < LAYERS ? m.layers[frozen].qkv_weight : m.layers_end);
            for (size_t i = 0; i < begin; i++) {
                assert_true(other[i] == 0);
            }
            assert_memory_equal(other + begin, whole + begin, (m.floats - begin) * sizeof *other);
        }
    }
    free(whole);
    free(other);
    tandem_encoder_free(m.encoder);
}

static void test_checkpointing_and_freezing(void **state)
{
    (void)state;
    const variant families[] = {bert, roberta, distilbert, mpnet, electra, modernbert};
    for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
        check_less_work(TANDEM_DEVICE_CPU, families[i], TANDEM_FP32);
        check_less_work(TANDEM_DEVICE_CPU, families[i], TANDEM_BF16);
        check_less_work(TANDEM_DEVICE_LIBTORCH, families[i], TANDEM_FP32);
        check_less_work(TANDEM_DEVICE_LIBTORCH, families[i], TANDEM_BF16);
    }
}

/* Backward adds into the arena; with zeros it starts again, bit for bit. */
static void test_gradients_accumulate(void **state)
{
    (void)state;
    model m = model_make(bert);
    float *gradients = tandem_encoder_gradients(m.encoder), *once = malloc(m.floats * sizeof *once);
    tandem_grad_enable(1);
    const tandem_dropout dropout = {.train = true, .seed = 1, .step = 2};
    run_loss(&m, dropout, TANDEM_POOL_MEAN, true);
    memcpy(once, gradients, m.floats * sizeof *once);
    run_loss(&m, dropout, TANDEM_POOL_MEAN, true);
    for (size_t i = 0; i < m.floats; i++) {
        /* g + g is exact; only a parameter used by several rows sums in another order. */
        assert_true(fabsf(gradients[i] - 2 * once[i]) <= 1e-5f * fmaxf(1, fabsf(once[i])));
    }
    memset(gradients, 0, m.floats * sizeof *gradients);
    run_loss(&m, dropout, TANDEM_POOL_MEAN, true);
    assert_memory_equal(gradients, once, m.floats * sizeof *once);
    assert_ptr_equal(tandem_encoder_gradients(m.encoder), gradients);
    free(once);
    tandem_encoder_free(m.encoder);
}

/* A second backward through one forward is an error and not a wrong sum. */
static void test_backward_twice(void **state)
{
    (void)state;
    model m = model_make(bert);
    assert_non_null(tandem_encoder_gradients(m.encoder));
    tandem_grad_enable(1);
    tandem_tensor *hidden, *loss;
    ok(tandem_encoder_forward(&hidden, m.encoder, &some_batch, no_dropout));
    ok(tandem_op_sum(&loss, hidden));
    ok(tandem_backward(loss));
    ok(tandem_op_sum(&loss, hidden));
    refused(tandem_backward(loss), "twice");
    tandem_encoder_free(m.encoder);
    double value; /* a graph may outlive its encoder */
    ok(tandem_tensor_item(loss, &value));
    assert_true(isfinite(value));
}

static void read_pooled(model *m, const tandem_batch *batch, tandem_dropout dropout, tandem_pooling pooling, float *out)
{
    tandem_tensor *hidden, *pooled;
    ok(tandem_scope_begin());
    ok(tandem_encoder_forward(&hidden, m->encoder, batch, dropout));
    ok(tandem_encoder_pool(&pooled, hidden, batch, pooling));
    assert_int_equal(tandem_tensor_size(pooled, 0), batch->count);
    assert_int_equal(tandem_tensor_size(pooled, 1), HIDDEN);
    ok(tandem_tensor_read(pooled, out));
    tandem_scope_end();
}

static const tandem_precision precisions[] = {TANDEM_FP32, TANDEM_BF16, TANDEM_INT8};

/* A text's embedding is its own to the bit, whatever the batch; type_ids NULL is all zeros. */
static void test_batch_composition(void **state)
{
    (void)state;
    model m = model_make(bert);
    float all[COUNT * HIDDEN], one[HIDDEN];
    for (size_t p = 0; p < 3; p++) {
        ok(tandem_encoder_set_precision(m.encoder, precisions[p]));
        read_pooled(&m, &some_batch, no_dropout, TANDEM_POOL_MEAN, all);
        for (size_t s = 0; s < COUNT; s++) {
            int32_t first = some_offsets[s], offsets[] = {0, some_offsets[s + 1] - first};
            tandem_batch alone = {1, (size_t)offsets[1], some_ids + first, some_types + first, offsets};
            read_pooled(&m, &alone, no_dropout, TANDEM_POOL_MEAN, one);
            assert_memory_equal(one, all + s * HIDDEN, sizeof one);
        }
    }
    ok(tandem_encoder_set_precision(m.encoder, TANDEM_FP32));
    const int32_t zeros[TOTAL] = {0};
    tandem_batch typed = some_batch, untyped = some_batch;
    float other[COUNT * HIDDEN];
    typed.type_ids = zeros;
    untyped.type_ids = NULL;
    read_pooled(&m, &typed, no_dropout, TANDEM_POOL_MEAN, all);
    read_pooled(&m, &untyped, no_dropout, TANDEM_POOL_MEAN, other);
    assert_memory_equal(all, other, sizeof all);
    tandem_encoder_free(m.encoder);
}

static double cosine(const float *a, const float *b, size_t count)
{
    double ab = 0, aa = 0, bb = 0;
    for (size_t i = 0; i < count; i++) {
        ab += (double)a[i] * (double)b[i];
        aa += (double)a[i] * (double)a[i];
        bb += (double)b[i] * (double)b[i];
    }
    return ab / sqrt(aa * bb);
}

static void read_hidden(model *m, bool recorded, float *out)
{
    tandem_tensor *hidden;
    ok(tandem_scope_begin());
    tandem_grad_enable(recorded);
    ok(tandem_encoder_forward(&hidden, m->encoder, &some_batch, no_dropout));
    tandem_grad_enable(0);
    ok(tandem_tensor_read(hidden, out));
    tandem_scope_end();
}

/* A forward that keeps nothing for gradients goes another way, to the same place; int8 has this way alone. */
static void check_reading(variant v)
{
    model m = model_make(v);
    assert_non_null(tandem_encoder_gradients(m.encoder));
    float kept[TOTAL * HIDDEN], read[TOTAL * HIDDEN], whole[COUNT * HIDDEN], picked[COUNT * HIDDEN];
    tandem_tensor *pooled;
    /* Sums in another order differ by about 2^-24 an operation, through two layers; in bf16 such a difference may round a
     * factor the other way, by 2^-8 of it. */
    const double tolerances[] = {2e-6, 2e-2};
    for (size_t p = 0; p < 2; p++) {
        ok(tandem_encoder_set_precision(m.encoder, precisions[p]));
        read_hidden(&m, true, kept);
        read_hidden(&m, false, read);
        for (int i = 0; i < TOTAL * HIDDEN; i++) {
            assert_true(fabs((double)kept[i] - (double)read[i]) <= tolerances[p] * fmax(1, fabs((double)kept[i])));
        }
    }
    ok(tandem_encoder_set_precision(m.encoder, TANDEM_FP32));
    read_hidden(&m, false, kept);
    ok(tandem_encoder_set_precision(m.encoder, TANDEM_INT8));
    read_hidden(&m, false, read);
    double near = cosine(kept, read, TOTAL * HIDDEN);
    assert_true(near > 0.999 && near < 1); /* rounding to 1/255 of a range is off by 0.001 of it, on average */
    for (tandem_pooling pooling = TANDEM_POOL_CLS; pooling <= TANDEM_POOL_LAST; pooling++) {
        read_pooled(&m, &some_batch, no_dropout, pooling, whole);
        ok(tandem_encoder_forward_pooled(&pooled, m.encoder, &some_batch, pooling, no_dropout));
        ok(tandem_tensor_read(pooled, picked));
        assert_memory_equal(whole, picked, sizeof whole);
    }
    tandem_grad_enable(1);
    refused(tandem_encoder_forward(&pooled, m.encoder, &some_batch, no_dropout), "no gradients");
    tandem_grad_enable(0);
    tandem_encoder_free(m.encoder);
}

static void test_reading(void **state)
{
    (void)state;
    const variant families[] = {bert, roberta, distilbert, mpnet, electra, modernbert};
    for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
        check_reading(families[i]);
    }
}

/* One seed and step give one result; another step, another; evaluation, none at all. */
static void test_dropout(void **state)
{
    (void)state;
    model m = model_make(bert);
    float a[COUNT * HIDDEN], b[COUNT * HIDDEN];
    read_pooled(&m, &some_batch, (tandem_dropout){.train = true, .seed = 1, .step = 1}, TANDEM_POOL_MEAN, a);
    read_pooled(&m, &some_batch, (tandem_dropout){.train = true, .seed = 1, .step = 1}, TANDEM_POOL_MEAN, b);
    assert_memory_equal(a, b, sizeof a);
    read_pooled(&m, &some_batch, (tandem_dropout){.train = true, .seed = 1, .step = 2}, TANDEM_POOL_MEAN, b);
    assert_memory_not_equal(a, b, sizeof a);
    read_pooled(&m, &some_batch, (tandem_dropout){.train = true, .seed = 2, .step = 1}, TANDEM_POOL_MEAN, b);
    assert_memory_not_equal(a, b, sizeof a);
    read_pooled(&m, &some_batch, (tandem_dropout){.train = false, .seed = 1, .step = 1}, TANDEM_POOL_MEAN, a);
    read_pooled(&m, &some_batch, no_dropout, TANDEM_POOL_MEAN, b);
    assert_memory_equal(a, b, sizeof a);
    tandem_encoder_free(m.encoder);
}

/* A batch cut in two draws the masks of the whole, in hidden states and head. */
static void test_dropout_of_parts(void **state)
{
    (void)state;
    const variant families[] = {roberta, modernbert};
    for (size_t f = 0; f < 2; f++) {
        model m = model_make(families[f]);
        float whole[TOTAL * HIDDEN], part[TOTAL * HIDDEN], logits[COUNT * LABELS], part_logits[COUNT * LABELS];
        tandem_dropout dropout = {.train = true, .seed = 5, .step = 6};
        tandem_tensor *hidden, *out;
        ok(tandem_encoder_forward(&hidden, m.encoder, &some_batch, dropout));
        classify(&out, &m, hidden, &some_batch, dropout);
        ok(tandem_tensor_read(hidden, whole));
        ok(tandem_tensor_read(out, logits));
        enum { CUT = 2 };
        int32_t second[COUNT + 1 - CUT], first_row = some_offsets[CUT];
        for (int s = CUT; s <= COUNT; s++) {
            second[s - CUT] = some_offsets[s] - first_row;
        }
        const tandem_batch parts[] = {{CUT, (size_t)first_row, some_ids, some_types, some_offsets},
                                      {COUNT - CUT, (size_t)(TOTAL - first_row), some_ids + first_row, some_types + first_row, second}};
        for (int i = 0; i < 2; i++) {
            dropout.first_row = i == 0 ? 0 : (uint64_t)first_row;
            dropout.first_sequence = i == 0 ? 0 : CUT;
            ok(tandem_encoder_forward(&hidden, m.encoder, &parts[i], dropout));
            classify(&out, &m, hidden, &parts[i], dropout);
            ok(tandem_tensor_read(hidden, part + dropout.first_row * HIDDEN));
            ok(tandem_tensor_read(out, part_logits + dropout.first_sequence * LABELS));
        }
        /* Matrix products may sum in another order; another mask moves values by tenths. */
        for (int i = 0; i < TOTAL * HIDDEN; i++) {
            assert_true(fabsf(whole[i] - part[i]) < 1e-5f);
        }
        for (int i = 0; i < COUNT * LABELS; i++) {
            assert_true(fabsf(logits[i] - part_logits[i]) < 1e-5f);
        }
        tandem_encoder_free(m.encoder);
    }
}

/* ---- errors ---------------------------------------------------------------------------------- */

static void test_encoder_refuses_batches(void **state)
{
    (void)state;
    model m = model_make(bert);
    tandem_tensor *out;
    int32_t ids[20] = {1, 2, 3, 4}, types[20] = {0}, offsets[] = {0, 2, 4};
    tandem_batch batch = {2, 4, ids, types, offsets};
    ids[3] = VOCAB;
    refused(tandem_encoder_forward(&out, m.encoder, &batch, no_dropout), "sequence 1, token 1: id 30 is outside the vocabulary of 30");
    ids[3] = -1;
    refused(tandem_encoder_forward(&out, m.encoder, &batch, no_dropout), "id -1");
    ids[3] = 4;
    types[0] = TYPES;
    refused(tandem_encoder_forward(&out, m.encoder, &batch, no_dropout), "sequence 0, token 0: type id 2 is outside the types of 2");
    types[0] = 0;
    offsets[1] = 4;
    refused(tandem_encoder_forward(&out, m.encoder, &batch, no_dropout), "sequence 1 is empty");
    offsets[1] = 9;
    refused(tandem_encoder_forward(&out, m.encoder, &batch, no_dropout), "empty");
    offsets[0] = 1;
    refused(tandem_encoder_forward(&out, m.encoder, &batch, no_dropout), "offsets run from 1 to 4");
    const int32_t longer[] = {0, POSITIONS - 1};
    batch = (tandem_batch){1, POSITIONS - 1, ids, NULL, longer};
    refused(tandem_encoder_forward(&out, m.encoder, &batch, no_dropout), "has 13 tokens; the model has positions for 12");
    batch.count = 0;
    refused(tandem_encoder_forward(&out, m.encoder, &batch, no_dropout), "batch is empty");
    tandem_encoder_free(m.encoder);
    m = model_make(modernbert); /* the same limit without a table of positions */
    batch.count = 1;
    refused(tandem_encoder_forward(&out, m.encoder, &batch, no_dropout), "has 13 tokens; the model has positions for 12");
    tandem_encoder_free(m.encoder);
}

static void test_encoder_refuses_specs(void **state)
{
    (void)state;
    model m;
    tandem_tensor *out, *hidden;
    model_spec(&m, bert);
    refused(tandem_encoder_new(&m.encoder, &m.spec, m.floats - 16, TANDEM_DEVICE_CPU), "outside the arena");
    m.spec.heads = 5;
    refused(tandem_encoder_new(&m.encoder, &m.spec, m.floats, TANDEM_DEVICE_CPU), "no multiple of 5 heads");
    model_spec(&m, bert);
    m.layers[1].up_bias += 1;
    refused(tandem_encoder_new(&m.encoder, &m.spec, m.floats, TANDEM_DEVICE_CPU), "misaligned");
    model_spec(&m, bert);
    m.layers[0].down_weight = -1;
    refused(tandem_encoder_new(&m.encoder, &m.spec, m.floats, TANDEM_DEVICE_CPU), "lacks");
    model_spec(&m, bert);
    m.spec.down_dropout = 1;
    refused(tandem_encoder_new(&m.encoder, &m.spec, m.floats, TANDEM_DEVICE_CPU), "dropout");
    model_spec(&m, bert);
    m.spec.activation = TANDEM_ACTIVATION_TANH;
    refused(tandem_encoder_new(&m.encoder, &m.spec, m.floats, TANDEM_DEVICE_CPU), "activations");
    model_spec(&m, bert);
    m.layers[1].attention_norm_weight = -1;
    refused(tandem_encoder_new(&m.encoder, &m.spec, m.floats, TANDEM_DEVICE_CPU), "lacks the norm after its attention");
    model_spec(&m, bert);
    m.layers[1].window = -1;
    refused(tandem_encoder_new(&m.encoder, &m.spec, m.floats, TANDEM_DEVICE_CPU), "window of -1");
    model_spec(&m, modernbert);
    m.spec.heads = 8; /* of 3 */
    refused(tandem_encoder_new(&m.encoder, &m.spec, m.floats, TANDEM_DEVICE_CPU), "even head size");
    model_spec(&m, mpnet);
    m.spec.relative_buckets = 6;
    refused(tandem_encoder_new(&m.encoder, &m.spec, m.floats, TANDEM_DEVICE_CPU), "multiple of four buckets");
    model_spec(&m, electra);
    m.spec.projection_weight = -1;
    refused(tandem_encoder_new(&m.encoder, &m.spec, m.floats, TANDEM_DEVICE_CPU), "embeddings of 20 need a projection");
    model_spec(&m, roberta);
    m.spec.position_offset = 0;
    refused(tandem_encoder_new(&m.encoder, &m.spec, m.floats, TANDEM_DEVICE_CPU), "position offset 0");
    variant with_modules = bert;
    with_modules.modules = true;
    model_spec(&m, with_modules);
    m.modules[1].in = m.modules[1].out = 7;
    refused(tandem_encoder_new(&m.encoder, &m.spec, m.floats, TANDEM_DEVICE_CPU), "module 1 takes vectors of 7; the one before it gives 20");
    model_spec(&m, with_modules);
    m.modules[2].out = 7;
    refused(tandem_encoder_new(&m.encoder, &m.spec, m.floats, TANDEM_DEVICE_CPU), "module 2 makes vectors of 7 out of 20");
    model_spec(&m, with_modules);
    m.modules[0].weight = -1;
    refused(tandem_encoder_new(&m.encoder, &m.spec, m.floats, TANDEM_DEVICE_CPU), "module 0 lacks its weight");
    model_spec(&m, bert);
    m.spec.head_weight = m.spec.head_bias = m.spec.classifier_weight = m.spec.classifier_bias = -1;
    m.spec.labels = 0;
    ok(tandem_encoder_new(&m.encoder, &m.spec, m.floats, TANDEM_DEVICE_CPU));
    ok(tandem_encoder_forward(&hidden, m.encoder, &some_batch, no_dropout));
    refused(tandem_encoder_classify(&out, m.encoder, hidden, no_dropout), "no classification head");
    tandem_encoder_free(m.encoder);
    tandem_encoder_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_SCOPE(test_encoder_gradients),
        IN_SCOPE(test_family_gradients),
        IN_SCOPE(test_family_determinism),
        IN_SCOPE(test_checkpointing_and_freezing),
        IN_SCOPE(test_gradients_accumulate),
        IN_SCOPE(test_backward_twice),
        IN_SCOPE(test_batch_composition),
        IN_SCOPE(test_reading),
        IN_SCOPE(test_dropout),
        IN_SCOPE(test_dropout_of_parts),
        IN_SCOPE(test_encoder_refuses_batches),
        IN_SCOPE(test_encoder_refuses_specs),
    };
    return cmocka_run_group_tests(tests, load_libtorch, NULL);
}
