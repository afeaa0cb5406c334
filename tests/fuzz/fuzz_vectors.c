/* fuzz_vectors.c - any bytes as a .npy file: an error, or a shape that the bytes hold. */
#include <stdlib.h>

#include "data/vectors_npy.h"
#include "fuzz.h"

const tandem_fuzz_seed tandem_fuzz_seeds[] = {
    TANDEM_FUZZ_SEED("\x93NUMPY\x01\x00\x3d\x00{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2), }  \n12345678"),
    TANDEM_FUZZ_SEED("\x93NUMPY\x02\x00\x3d\x00\x00\x00{'descr': '<f4', 'fortran_order': False, 'shape': (2, 1,), } \n12345678"),
    {NULL, 0},
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t count = 0, dim = 0, begin = 0;
    if (tandem_npy_parse(data, size, "input", &count, &dim, &begin) == 0) {
        if (begin > size || (dim > 0 && count > size / dim) || count * dim * sizeof(float) != size - begin) {
            abort();
        }
    }
    return 0;
}
