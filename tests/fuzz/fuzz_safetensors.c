/* Safetensors files. What opens must have tensors that cover its data without hole or
 * overlap, with names that find them, and readable floats. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz.h"
#include "tandem/safetensors.h"

const tandem_fuzz_seed tandem_fuzz_seeds[] = {
    TANDEM_FUZZ_SEED("\x38\0\0\0\0\0\0\0{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}  abcd"),
    TANDEM_FUZZ_SEED("\xc0\0\0\0\0\0\0\0{\"__metadata__\":{\"format\":\"pt\"},\"h\":{\"dtype\":\"F16\",\"shape\":[1,2],\"data_offsets\":[0,4]},"
                     "\"b\":{\"dtype\":\"BF16\",\"shape\":[0],\"data_offsets\":[4,4]},\"i\":{\"dtype\":\"I8\",\"shape\":[],\"data_offsets\":[4,5]}}"),
    {NULL, 0},
};

/* The library reads paths: the input becomes a file in memory. */
static int make_file(const uint8_t *data, size_t size, char *path, size_t room)
{
    int fd = memfd_create("fuzz", 0);
    if (fd < 0 || (size > 0 && write(fd, data, size) != (ssize_t)size)) {
        abort();
    }
    snprintf(path, room, "/proc/self/fd/%d", fd);
    return fd;
}

static void check(const tandem_safetensors *file)
{
    const unsigned char *expected = NULL;
    for (size_t i = 0; i < tandem_safetensors_count(file); i++) {
        const tandem_safetensor *tensor = tandem_safetensors_at(file, i);
        if ((expected != NULL && tensor->data != expected) || tandem_safetensors_find(file, tensor->name) != tensor) {
            abort();
        }
        expected = tensor->data + tensor->bytes;
        float *values = malloc(tensor->elements > 0 ? tensor->elements * sizeof *values : 1);
        if (values == NULL) {
            abort();
        }
        (void)tandem_safetensor_read_f32(tensor, values);
        free(values);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[64];
    int fd = make_file(data, size, path, sizeof path);
    tandem_safetensors *file;
    if (tandem_safetensors_open(&file, path) == 0) {
        check(file);
        tandem_safetensors_close(file);
    }
    close(fd);
    return 0;
}
