/* torch_module.c - loads the module that holds libtorch and sets the pointers of shim.h. */
#define TANDEM_SHIM(type, name) type(*name)
#include "model/torch/shim.h"

#include <dlfcn.h>
#include <pthread.h>
#include <string.h>

#include "model/torch/host.h"

/* Every function of shim.h but tandem_torch_init, without the prefix "tandem_". */
#define SLOT(name) {"tandem_" #name, &tandem_##name}
static const struct {
    const char *name;
    void *pointer;
} slots[] = {
    SLOT(torch_own), SLOT(torch_set_team), SLOT(torch_version), SLOT(torch_gpus), SLOT(scope_begin), SLOT(scope_end), SLOT(tensor_free),
    SLOT(scope_keep), SLOT(grad_enable), SLOT(tensor_from), SLOT(tensor_from_int64), SLOT(tensor_from_bool),
    SLOT(tensor_dims), SLOT(tensor_size), SLOT(tensor_read), SLOT(tensor_item), SLOT(op_matmul), SLOT(op_add),
    SLOT(op_sub), SLOT(op_mul), SLOT(op_div), SLOT(op_scale), SLOT(op_shift), SLOT(op_exp), SLOT(op_log),
    SLOT(op_sigmoid), SLOT(op_softplus), SLOT(op_relu), SLOT(op_abs), SLOT(op_softmax), SLOT(op_log_softmax),
    SLOT(op_logsumexp), SLOT(op_sum), SLOT(op_mean), SLOT(op_sum_dim), SLOT(op_norm), SLOT(op_logcumsumexp),
    SLOT(op_distances), SLOT(op_greater), SLOT(op_normalize), SLOT(op_cat), SLOT(op_narrow), SLOT(op_index_select),
    SLOT(op_reshape), SLOT(op_transpose), SLOT(op_masked_fill), SLOT(op_cross_entropy), SLOT(op_detach),
    SLOT(op_leaf), SLOT(tensor_grad), SLOT(backward), SLOT(backward_with), SLOT(encoder_new), SLOT(encoder_free),
    SLOT(encoder_parameters), SLOT(encoder_gradients), SLOT(encoder_set_precision), SLOT(encoder_parameters_changed),
    SLOT(encoder_device), SLOT(encoder_fetch_parameters), SLOT(encoder_fetch_gradients), SLOT(encoder_zero_gradients),
    SLOT(encoder_gradient_norm), SLOT(encoder_fetch_moments), SLOT(encoder_send_moments), SLOT(encoder_update),
    SLOT(encoder_freeze), SLOT(encoder_set_checkpointing), SLOT(encoder_forward), SLOT(encoder_forward_pooled), SLOT(encoder_pool),
    SLOT(encoder_modules), SLOT(encoder_classify), SLOT(rotary_table), SLOT(relative_buckets), SLOT(sgemm_nt),
};

static const tandem_torch_host host = {
    .error = tandem_error,
    .machine_threads = tandem_machine_threads,
    .machine_has_bf16 = tandem_machine_has_bf16,
    .kernels_best = tandem_kernels_best,
    .mask_make = tandem_mask_make,
    .attention_workspace = tandem_attention_workspace,
};

/* A function's address as dlsym gives it, a `void *`, which ISO C cannot convert (POSIX can). */
static int set_pointer(void *pointer, void *module, const char *name)
{
    void *function = dlsym(module, name);
    if (!function) {
        return tandem_error("%s", dlerror());
    }
    memcpy(pointer, &function, sizeof function);
    return TANDEM_OK;
}

static int load(void)
{
    /* Where the RUNPATH says. Lazily: of the 43,000 functions that libtorch's libraries take from each other a
     * model needs few, and finding all takes .05 s. The module itself is linked with -z now, so that a libtorch
     * without what tandem calls is refused here. */
    void *module = dlopen(TANDEM_TORCH_MODULE_NAME, RTLD_LAZY | RTLD_LOCAL);
    if (!module) {
        return tandem_error("libtorch cannot be loaded: %s", dlerror());
    }
    void (*start)(const tandem_torch_host *) = NULL;
    TANDEM_TRY(set_pointer(&start, module, "tandem_torch_start"));
    for (size_t i = 0; i < sizeof slots / sizeof *slots; i++) {
        TANDEM_TRY(set_pointer(slots[i].pointer, module, slots[i].name));
    }
    start(&host);
    return TANDEM_OK;
}

int tandem_torch_init(void)
{
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    static bool loaded, own;
    pthread_mutex_lock(&mutex);
    int rc = loaded ? TANDEM_OK : load();
    loaded = rc == TANDEM_OK;
    if (loaded && !own && !tandem_machine_is_guest()) {
        rc = tandem_torch_own();
        own = rc == TANDEM_OK;
    }
    pthread_mutex_unlock(&mutex);
    return rc;
}
