/* fuzz_vectors.c - any bytes as a .npy and as a .fbin file: an error, or a shape that the bytes hold. */
#include <stdlib.h>

#include "data/vectors_forms.h"
#include "fuzz.h"

const tandem_fuzz_seed tandem_fuzz_seeds[] = {
    TANDEM_FUZZ_SEED("\x93NUMPY\x01\x00\x3d\x00{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2), }  \n12345678"),
    TANDEM_FUZZ_SEED("\x93NUMPY\x02\x00\x3d\x00\x00\x00{'descr': '<f4', 'fortran_order': False, 'shape': (2, 1,), } \n12345678"),
    TANDEM_FUZZ_SEED("\x02\x00\x00\x00\x01\x00\x00\x00" "12345678"),
    {NULL, 0},
};

static void parse(tandem_vectors_parse_fn *form, const uint8_t *data, size_t size)
{
    size_t count = 0, dim = 0, begin = 0;
    if (form(data, size, "input", &count, &dim, &begin) == 0) {
        if (begin > size || (dim > 0 && count > size / dim) || count * dim * sizeof(float) != size - begin) {
            abort();
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    parse(tandem_npy_parse, data, size);
    parse(tandem_fbin_parse, data, size);
    return 0;
}
