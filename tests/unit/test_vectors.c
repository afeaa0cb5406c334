/* Embeddings on disk: HDF5, .npy and .fbin, well-formed and hostile; ids of rows. */
#include "folder.h"

#include <hdf5.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tandem/vectors.h"

static float values[] = {1.0f, -2.5f, 3.0e-20f, 4.0f, 5.0f, 6.0f};
static const tandem_text ids[] = {{"d1", NULL, 0}, {"\xc3\xa9", NULL, 0}, {"a longer id", NULL, 0}};
static const tandem_vectors_origin origin = {
    .key = {1, 2}, .weights = "w", .tokenizer = "t", .prompt = "query: ", .pooling = "mean", .max_length = 256, .normalized = true};

static tandem_vectors matrix(size_t count, size_t dim)
{
    return (tandem_vectors){.count = count, .dim = dim, .data = values};
}

static void expect(const char *path, const tandem_hash *key, size_t count, size_t dim)
{
    tandem_vectors read;
    assert_int_equal(tandem_vectors_read(&read, path, key), 0);
    assert_int_equal(read.count, count);
    assert_int_equal(read.dim, dim);
    assert_memory_equal(read.data, values, count * dim * sizeof(float));
    tandem_vectors_free(&read);
    assert_null(read.data);
}

static void round_trip(void **state)
{
    (void)state;
    tandem_vectors vectors = matrix(3, 2);
    assert_int_equal(tandem_vectors_write(in_folder("a.h5"), &vectors, ids, &origin), 0);
    expect(in_folder("a.h5"), NULL, 3, 2);
    expect(in_folder("a.h5"), &origin.key, 3, 2);
    assert_int_equal(tandem_vectors_write(in_folder("a.npy"), &vectors, NULL, &origin), 0);
    expect(in_folder("a.npy"), NULL, 3, 2);
    assert_int_equal(tandem_vectors_write(in_folder("a.fbin"), &vectors, NULL, NULL), 0);
    expect(in_folder("a.fbin"), NULL, 3, 2);
    vectors = matrix(0, 2);
    assert_int_equal(tandem_vectors_write(in_folder("a.fbin"), &vectors, NULL, NULL), 0);
    expect(in_folder("a.fbin"), NULL, 0, 2);
    assert_int_equal(tandem_vectors_write(in_folder("a.h5"), &vectors, ids, NULL), 0); /* replaces */
    expect(in_folder("a.h5"), NULL, 0, 2);
    assert_int_equal(tandem_vectors_write(in_folder("a.npy"), &vectors, NULL, NULL), 0);
    expect(in_folder("a.npy"), NULL, 0, 2);
    assert_int_equal(tandem_vectors_write(in_folder("a.bin"), &vectors, NULL, NULL), TANDEM_USAGE);
    assert_message("a.bin: expected a name that ends in .h5, .npy or .fbin");
    assert_int_equal(tandem_vectors_read(&vectors, in_folder("a.h5.zst"), NULL), TANDEM_USAGE);
    assert_int_equal(tandem_vectors_read(&vectors, in_folder("none.h5"), NULL), TANDEM_NOT_FOUND);
    assert_int_equal(tandem_vectors_read(&vectors, in_folder("none.npy"), NULL), TANDEM_NOT_FOUND);
    assert_int_equal(tandem_vectors_read(&vectors, in_folder("none.fbin"), NULL), TANDEM_NOT_FOUND);
}

/* A cache must never give the vectors of another model. */
static void another_key(void **state)
{
    (void)state;
    tandem_vectors vectors = matrix(3, 2), read;
    tandem_hash other = {1, 3};
    assert_int_equal(tandem_vectors_write(in_folder("k.h5"), &vectors, ids, &origin), 0);
    assert_int_equal(tandem_vectors_read(&read, in_folder("k.h5"), &other), TANDEM_NOT_FOUND);
    assert_message("k.h5: expected key 00000000000000010000000000000003, found 00000000000000010000000000000002");
    assert_int_equal(tandem_vectors_write(in_folder("k.h5"), &vectors, ids, NULL), 0);
    assert_int_equal(tandem_vectors_read(&read, in_folder("k.h5"), &other), TANDEM_NOT_FOUND);
    assert_message("k.h5: no attribute \"key\"");
}

/* An entry of the cache is mapped, and stays what it was when another takes its name; one that was cut short
 * is an error. */
static void mapped(void **state)
{
    (void)state;
    tandem_vectors vectors = matrix(3, 2), read, shorter = matrix(1, 2);
    struct stat status;
    assert_int_equal(tandem_vectors_write(in_folder("m.h5"), &vectors, ids, &origin), 0);
    assert_int_equal(tandem_vectors_read(&read, in_folder("m.h5"), &origin.key), 0);
    assert_non_null(read.map.data);
    assert_int_equal(tandem_vectors_write(in_folder("m.h5"), &shorter, ids, &origin), 0);
    assert_memory_equal(read.data, values, 6 * sizeof(float));
    tandem_vectors_free(&read);
    assert_null(read.map.data);
    expect(in_folder("m.h5"), &origin.key, 1, 2);
    assert_int_equal(tandem_vectors_write(in_folder("m.h5"), &vectors, ids, &origin), 0);
    assert_int_equal(stat(in_folder("m.h5"), &status), 0);
    for (off_t left = status.st_size - 1; left >= 0; left--) { /* whatever part of it is there */
        assert_int_equal(truncate(in_folder("m.h5"), left), 0);
        if (tandem_vectors_read(&read, in_folder("m.h5"), &origin.key) == 0) {
            assert_memory_equal(read.data, values, 6 * sizeof(float));
            tandem_vectors_free(&read);
        }
    }
}

/* ---- .npy ----------------------------------------------------------------------------- */
static void npy_bytes(void **state)
{
    (void)state;
    tandem_vectors vectors = matrix(3, 2);
    char *data;
    size_t size;
    assert_int_equal(tandem_vectors_write(in_folder("b.npy"), &vectors, NULL, NULL), 0);
    assert_int_equal(tandem_file_read(&data, &size, in_folder("b.npy")), 0);
    assert_int_equal(size, 128 + sizeof values); /* a header of 128: a multiple of 64 */
    assert_memory_equal(data, "\x93NUMPY\x01\x00\x76\x00{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), }  ", 70);
    assert_int_equal(data[127], '\n');
    assert_memory_equal(data + 128, values, sizeof values);
    free(data);
}

/* Writes a .npy of this version with this dictionary and `floats` floats. */
static const char *put_npy(char version, const char *dictionary, size_t floats)
{
    unsigned char bytes[512] = "\x93NUMPY";
    size_t length = strlen(dictionary), prefix = version == 1 ? 10 : 12;
    bytes[6] = (unsigned char)version;
    bytes[8] = (unsigned char)length;
    memcpy(bytes + prefix, dictionary, length);
    memcpy(bytes + prefix + length, values, floats * sizeof(float));
    assert_int_equal(tandem_file_write(in_folder("c.npy"), bytes, prefix + length + floats * sizeof(float)), 0);
    return in_folder("c.npy");
}

static void npy_refuse(char version, const char *dictionary, size_t floats, const char *message)
{
    tandem_vectors read;
    assert_fails(tandem_vectors_read(&read, put_npy(version, dictionary, floats), NULL), message);
    assert_null(read.data);
}

static void npy_forms(void **state)
{
    (void)state;
    expect(put_npy(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), }\n", 6), NULL, 3, 2);
    expect(put_npy(2, "{\"shape\":(2,3,),\"fortran_order\":False,\"descr\":\"<f4\"}   \n", 6), NULL, 2, 3);
    expect(put_npy(3, "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 6)}", 6), NULL, 1, 6);
    const char *keys = "c.npy: expected a header with 'descr', 'fortran_order' and 'shape' alone";
    npy_refuse(1, "{'descr': '<f8', 'fortran_order': False, 'shape': (3, 1), }\n", 6, "c.npy: expected float32 ('descr': '<f4')");
    npy_refuse(1, "{'descr': '>f4', 'fortran_order': False, 'shape': (3, 2), }\n", 6, "c.npy: expected float32 ('descr': '<f4')");
    npy_refuse(1, "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (3, 2), }\n", 6, "c.npy: expected float32 ('descr': '<f4')");
    npy_refuse(1, "{'descr': '<f4', 'fortran_order': True, 'shape': (3, 2), }\n", 6,
               "c.npy: expected rows one after the other ('fortran_order': False)");
    npy_refuse(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (6,), }\n", 6, "c.npy: expected two dimensions ('shape': (rows, columns))");
    npy_refuse(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2, 3), }\n", 6, "c.npy: expected two dimensions ('shape': (rows, columns))");
    npy_refuse(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (-3, 2), }\n", 6, "c.npy: expected two dimensions ('shape': (rows, columns))");
    npy_refuse(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999, 2), }\n", 6,
               "c.npy: expected two dimensions ('shape': (rows, columns))");
    npy_refuse(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296), }\n", 6,
               "c.npy: a shape of (4294967296, 4294967296) overflows");
    npy_refuse(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000, 2), }\n", 6,
               "c.npy: expected 8000000000 bytes of data for a shape of (1000000000, 2), found 24");
    npy_refuse(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), }\n", 6, "c.npy: expected 16 bytes of data for a shape of (2, 2), found 24");
    npy_refuse(1, "{'descr': '<f4', 'fortran_order': False}\n", 6, keys);
    npy_refuse(1, "{'descr': '<f4', 'descr': '<f4', 'shape': (3, 2), }\n", 6, keys);
    npy_refuse(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2)", 6, keys);
    npy_refuse(1, "{'descr': '<f4' 'fortran_order': False, 'shape': (3, 2)}", 6, keys);
    npy_refuse(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2)} x", 6, keys);
    npy_refuse(4, "{}", 0, "c.npy: .npy version 4.0; 1.0, 2.0 and 3.0 are read");
}

/* No prefix of a file is a file. */
static void npy_cut(void **state)
{
    (void)state;
    char *data;
    size_t size;
    tandem_vectors vectors = matrix(3, 2), read;
    assert_int_equal(tandem_vectors_write(in_folder("d.npy"), &vectors, NULL, NULL), 0);
    assert_int_equal(tandem_file_read(&data, &size, in_folder("d.npy")), 0);
    for (size_t length = 0; length < size; length++) {
        assert_int_equal(tandem_file_write(in_folder("cut.npy"), data, length), 0);
        assert_int_equal(tandem_vectors_read(&read, in_folder("cut.npy"), NULL), TANDEM_ERROR);
    }
    free(data);
}

/* ---- .fbin -------------------------------------------------------------------------------- */
static void fbin_refuse(const void *bytes, size_t size, const char *message)
{
    tandem_vectors read;
    assert_int_equal(tandem_file_write(in_folder("f.fbin"), bytes, size), 0);
    assert_fails(tandem_vectors_read(&read, in_folder("f.fbin"), NULL), message);
    assert_null(read.data);
}

static void fbin_forms(void **state)
{
    (void)state;
    uint32_t bytes[8] = {3, 2};
    memcpy(bytes + 2, values, sizeof values);
    char *data;
    size_t size;
    tandem_vectors vectors = matrix(3, 2);
    assert_int_equal(tandem_vectors_write(in_folder("f.fbin"), &vectors, NULL, NULL), 0);
    assert_int_equal(tandem_file_read(&data, &size, in_folder("f.fbin")), 0);
    assert_int_equal(size, sizeof bytes);
    assert_memory_equal(data, bytes, size);
    free(data);
    for (size_t length = 0; length < 8; length++) {
        char message[64];
        snprintf(message, sizeof message, "f.fbin: expected a header of 8 bytes, found %zu", length);
        fbin_refuse(bytes, length, message);
    }
    fbin_refuse(bytes, sizeof bytes - 1, "f.fbin: expected 24 bytes of data for a shape of (3, 2), found 23");
    bytes[0] = 2;
    fbin_refuse(bytes, sizeof bytes, "f.fbin: expected 16 bytes of data for a shape of (2, 2), found 24");
    bytes[0] = bytes[1] = UINT32_MAX;
    fbin_refuse(bytes, sizeof bytes, "f.fbin: a shape of (4294967295, 4294967295) overflows");
    vectors = matrix((size_t)INT32_MAX + 1, 0);
    assert_fails(tandem_vectors_write(in_folder("g.fbin"), &vectors, NULL, NULL), "g.fbin: 2147483648 rows of 0 floats are too many");
}

/* ---- ids ---------------------------------------------------------------------------------- */
static void expect_ids(const char *path, const char *list, const char *first, const char *second, const char *third)
{
    tandem_arena *arena = tandem_arena_new();
    tandem_text *read;
    assert_non_null(arena);
    assert_int_equal(tandem_vectors_ids(&read, arena, path, list, 3), 0);
    assert_string_equal(read[0].id, first);
    assert_string_equal(read[1].id, second);
    assert_string_equal(read[2].id, third);
    free(read);
    tandem_arena_free(arena);
}

static void refuse_ids(const char *path, const char *list, size_t count, const char *message)
{
    tandem_arena *arena = tandem_arena_new();
    tandem_text *read;
    assert_fails(tandem_vectors_ids(&read, arena, path, list, count), message);
    assert_null(read);
    tandem_arena_free(arena);
}

static void ids_of_rows(void **state)
{
    (void)state;
    tandem_vectors vectors = matrix(3, 2);
    assert_int_equal(tandem_vectors_write(in_folder("i.h5"), &vectors, ids, &origin), 0);
    assert_int_equal(tandem_vectors_write(in_folder("n.h5"), &vectors, NULL, NULL), 0);
    expect_ids(in_folder("i.h5"), NULL, "d1", "\xc3\xa9", "a longer id");
    expect_ids(in_folder("n.h5"), NULL, "0", "1", "2");
    expect_ids("none.npy", NULL, "0", "1", "2");
    expect_ids(in_folder("i.h5"), put_file("list", "x\ny z\r\n\xc3\xa9"), "x", "y z", "\xc3\xa9");
    refuse_ids(in_folder("i.h5"), NULL, 2, "i.h5: /ids: expected 2 strings of fixed length; ids can also be given as a list");
    refuse_ids("a.npy", put_file("list", "x\ny\n"), 3, "list: expected 3 ids, one a row, found 2");
    refuse_ids("a.npy", put_file("list", "x\ny\nz\n\n"), 3, "list: expected 3 ids, one a row, found 4");
    refuse_ids("a.npy", put_file("list", "x\ny\nx\n"), 3, "list: rows 0 and 2 have one id, \"x\"");
    refuse_ids("a.npy", put_file("list", "x\n\nz\n"), 3, "list: the id of row 1 is empty");
    refuse_ids("a.npy", put_file("list", "x\ny\n\xff\n"), 3, "list: the id of row 2 is no UTF-8");
}

/* ---- HDF5 -------------------------------------------------------------------------------- */
/* Makes folder/hostile.h5 with the help of `fill`, and expects this message. */
static void h5_refuse(void (*fill)(hid_t file), const char *message)
{
    tandem_vectors read;
    hid_t file = H5Fcreate(in_folder("hostile.h5"), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    fill(file);
    assert_true(H5Fclose(file) >= 0);
    assert_fails(tandem_vectors_read(&read, in_folder("hostile.h5"), NULL), message);
    assert_null(read.data);
}

/* /name of this type and shape; written with `values` unless `data` is false. */
static void put_array(hid_t file, const char *name, hid_t type, int dims, const hsize_t *shape, hid_t properties, bool data)
{
    hid_t space = H5Screate_simple(dims, shape, NULL);
    hid_t array = H5Dcreate2(file, name, type, space, H5P_DEFAULT, properties, H5P_DEFAULT);
    assert_true(array >= 0);
    if (data) {
        assert_true(H5Dwrite(array, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0);
    }
    H5Dclose(array);
    H5Sclose(space);
}

static const hsize_t SHAPE[] = {3, 2};

static void fill_nothing(hid_t file)
{
    (void)file;
}

static void fill_double(hid_t file)
{
    put_array(file, "embeddings", H5T_IEEE_F64LE, 2, SHAPE, H5P_DEFAULT, true);
}

static void fill_integers(hid_t file)
{
    put_array(file, "embeddings", H5T_STD_I32LE, 2, SHAPE, H5P_DEFAULT, true);
}

static void fill_one_dimension(hid_t file)
{
    put_array(file, "embeddings", H5T_IEEE_F32LE, 1, SHAPE, H5P_DEFAULT, true);
}

static void fill_unwritten(hid_t file)
{
    put_array(file, "embeddings", H5T_IEEE_F32LE, 2, SHAPE, H5P_DEFAULT, false);
}

static void fill_huge(hid_t file)
{
    const hsize_t shape[] = {UINT64_C(1) << 40, 1024}, chunk[] = {1, 1024};
    hid_t properties = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_chunk(properties, 2, chunk);
    put_array(file, "embeddings", H5T_IEEE_F32LE, 2, shape, properties, false);
    H5Pclose(properties);
}

static void fill_missing_chunk(hid_t file)
{
    const hsize_t chunk[] = {1, 2};
    hid_t properties = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_chunk(properties, 2, chunk);
    put_array(file, "embeddings", H5T_IEEE_F32LE, 2, SHAPE, properties, false);
    H5Pclose(properties);
}

static void fill_deflate(hid_t file)
{
    hid_t properties = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_chunk(properties, 2, SHAPE);
    H5Pset_deflate(properties, 1);
    put_array(file, "embeddings", H5T_IEEE_F32LE, 2, SHAPE, properties, true);
    H5Pclose(properties);
}

static void fill_external(hid_t file)
{
    hid_t properties = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_external(properties, "/etc/passwd", 0, 24);
    put_array(file, "embeddings", H5T_IEEE_F32LE, 2, SHAPE, properties, false);
    H5Pclose(properties);
}

static void fill_virtual(hid_t file)
{
    hid_t properties = H5Pcreate(H5P_DATASET_CREATE);
    hid_t space = H5Screate_simple(2, SHAPE, NULL);
    H5Pset_virtual(properties, space, "/etc/passwd", "x", space);
    put_array(file, "embeddings", H5T_IEEE_F32LE, 2, SHAPE, properties, false);
    H5Sclose(space);
    H5Pclose(properties);
}

static void fill_external_link(hid_t file)
{
    H5Lcreate_external("/etc/passwd", "x", file, "embeddings", H5P_DEFAULT, H5P_DEFAULT);
}

static void fill_group(hid_t file)
{
    H5Gclose(H5Gcreate2(file, "embeddings", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
}

static void fill_few_ids(hid_t file)
{
    const hsize_t two = 2;
    hid_t type = H5Tcopy(H5T_C_S1), space = H5Screate_simple(1, &two, NULL);
    H5Tset_size(type, 4);
    put_array(file, "embeddings", H5T_IEEE_F32LE, 2, SHAPE, H5P_DEFAULT, true);
    H5Dclose(H5Dcreate2(file, "ids", type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
    H5Sclose(space);
    H5Tclose(type);
}

static void fill_counts(hid_t file, unsigned complete, unsigned count)
{
    const char *names[] = {"complete", "count"};
    put_array(file, "embeddings", H5T_IEEE_F32LE, 2, SHAPE, H5P_DEFAULT, true);
    hid_t array = H5Dopen2(file, "embeddings", H5P_DEFAULT), space = H5Screate(H5S_SCALAR);
    for (size_t i = 0; i < 2; i++) {
        hid_t attribute = H5Acreate2(array, names[i], H5T_STD_U32LE, space, H5P_DEFAULT, H5P_DEFAULT);
        H5Awrite(attribute, H5T_NATIVE_UINT, i == 0 ? &complete : &count);
        H5Aclose(attribute);
    }
    H5Sclose(space);
    H5Dclose(array);
}

static void fill_incomplete(hid_t file)
{
    fill_counts(file, 0, 3);
}

static void fill_other_count(hid_t file)
{
    fill_counts(file, 1, 4);
}

static void h5_hostile(void **state)
{
    (void)state;
    h5_refuse(fill_nothing, "hostile.h5: no array /embeddings");
    h5_refuse(fill_double, "hostile.h5: /embeddings: expected float32");
    h5_refuse(fill_integers, "hostile.h5: /embeddings: expected float32");
    h5_refuse(fill_one_dimension, "hostile.h5: /embeddings: expected 2 dimensions, found 1");
    h5_refuse(fill_unwritten, "hostile.h5: /embeddings: expected 6 elements in the file, found 0 bytes");
    h5_refuse(fill_huge, "hostile.h5: /embeddings: 1125899906842624 elements are more than the memory of this machine holds");
    h5_refuse(fill_missing_chunk, "hostile.h5: /embeddings: expected 3 chunks, found 0");
    h5_refuse(fill_deflate, "hostile.h5: /embeddings: compressed with filter 1; only zstd (32015) or none is read");
    h5_refuse(fill_external, "hostile.h5: /embeddings: stored in another file, which is refused");
    h5_refuse(fill_virtual, "hostile.h5: /embeddings: stored in another file, which is refused");
    h5_refuse(fill_external_link, "hostile.h5: /embeddings: a soft or external link, which is refused");
    h5_refuse(fill_few_ids, "hostile.h5: /ids: expected 3 strings, one a row, found 2 of HDF5 class 3");
    h5_refuse(fill_incomplete, "hostile.h5: not complete");
    h5_refuse(fill_other_count, "hostile.h5: expected 4 rows (attribute \"count\"), found 3");
    tandem_vectors read;
    hid_t file = H5Fcreate(in_folder("group.h5"), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    fill_group(file);
    H5Fclose(file);
    assert_int_equal(tandem_vectors_read(&read, in_folder("group.h5"), NULL), TANDEM_ERROR);
    assert_non_null(strstr(tandem_error_message(), "/embeddings: expected an array"));
    assert_fails(tandem_vectors_read(&read, put_file("text.h5", "no HDF5"), NULL), "text.h5: not an HDF5 file");
}

/* Ids as other tools write them: of this type, with or without data. */
static const char *put_ids(hid_t type, const void *data)
{
    const hsize_t three = 3;
    hid_t file = H5Fcreate(in_folder("ids.h5"), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT), space = H5Screate_simple(1, &three, NULL);
    hid_t array = H5Dcreate2(file, "ids", type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    assert_true(array >= 0 && (!data || H5Dwrite(array, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) >= 0));
    H5Dclose(array);
    H5Sclose(space);
    H5Fclose(file);
    return in_folder("ids.h5");
}

static void h5_ids(void **state)
{
    (void)state;
    const char *expected = "ids.h5: /ids: expected 3 strings of fixed length; ids can also be given as a list";
    const char *const strings[] = {"a", "b", "c"};
    const int numbers[] = {1, 2, 3};
    hid_t type = H5Tcopy(H5T_C_S1);
    H5Tset_size(type, 4);
    expect_ids(put_ids(type, "a\0\0\0bcd\0\xc3\xa9\0\0"), NULL, "a", "bcd", "\xc3\xa9");
    H5Tset_strpad(type, H5T_STR_SPACEPAD); /* Fortran's */
    expect_ids(put_ids(type, "a   bcdee f "), NULL, "a", "bcde", "e f");
    H5Tset_strpad(type, H5T_STR_NULLPAD);
    refuse_ids(put_ids(type, "a\0\0\0bcdea\0\0\0"), NULL, 3, "ids.h5: rows 0 and 2 have one id, \"a\"");
    refuse_ids(put_ids(type, "abcd\0\0\0\0abce"), NULL, 3, "ids.h5: the id of row 1 is empty");
    refuse_ids(put_ids(type, NULL), NULL, 3, "ids.h5: /ids: expected 3 elements in the file, found 0 bytes");
    H5Tset_size(type, H5T_VARIABLE);
    refuse_ids(put_ids(type, strings), NULL, 3, expected);
    refuse_ids(put_ids(H5T_NATIVE_INT, numbers), NULL, 3, expected);
    H5Tclose(type);
}

/* Files of other tools need no attributes; uncompressed chunks are read. */
static void h5_foreign(void **state)
{
    (void)state;
    const hsize_t chunk[] = {2, 2};
    hid_t properties = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_chunk(properties, 2, chunk);
    hid_t file = H5Fcreate(in_folder("chunked.h5"), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    put_array(file, "embeddings", H5T_IEEE_F32LE, 2, SHAPE, properties, true);
    H5Fclose(file);
    H5Pclose(properties);
    expect(in_folder("chunked.h5"), NULL, 3, 2);
}

/* No prefix of a file is a file. */
static void h5_damaged(void **state)
{
    (void)state;
    char *data;
    size_t size;
    tandem_vectors vectors = matrix(3, 2), read;
    assert_int_equal(tandem_vectors_write(in_folder("e.h5"), &vectors, ids, &origin), 0);
    assert_int_equal(tandem_file_read(&data, &size, in_folder("e.h5")), 0);
    for (size_t length = 0; length < size; length += 97) {
        assert_int_equal(tandem_file_write(in_folder("cut.h5"), data, length), 0);
        assert_int_equal(tandem_vectors_read(&read, in_folder("cut.h5"), NULL), TANDEM_ERROR);
    }
    free(data);
}

int main(void)
{
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip), cmocka_unit_test(another_key), cmocka_unit_test(mapped),
        cmocka_unit_test(npy_bytes),  cmocka_unit_test(npy_forms),   cmocka_unit_test(npy_cut),
        cmocka_unit_test(fbin_forms), cmocka_unit_test(ids_of_rows), cmocka_unit_test(h5_ids),
        cmocka_unit_test(h5_hostile), cmocka_unit_test(h5_foreign),  cmocka_unit_test(h5_damaged),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
