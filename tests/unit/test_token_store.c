/* Token ids of many texts: made, cached, read back. */
#include "folder.h"

#include <dirent.h>
#include <fcntl.h>
#include <hdf5.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tandem/cache.h"
#include "tandem/machine.h"
#include "tandem/token_store.h"

enum { TEXTS = 1000 };

static const tandem_hash KEY = {7, 8};

static tandem_tokenizer *tokenizer;
static tandem_text texts[TEXTS];

/* Words a, b, c and ab, and [UNK]: ids that a reader can follow. */
static const char TOKENIZER[] =
    "{\"version\": \"1.0\", \"truncation\": null, \"padding\": null, \"added_tokens\": [], "
    "\"normalizer\": {\"type\": \"BertNormalizer\", \"clean_text\": true, \"handle_chinese_chars\": true, "
    "\"strip_accents\": null, \"lowercase\": true}, \"pre_tokenizer\": {\"type\": \"BertPreTokenizer\"}, "
    "\"post_processor\": null, \"decoder\": null, \"model\": {\"type\": \"WordPiece\", \"unk_token\": \"[UNK]\", "
    "\"continuing_subword_prefix\": \"##\", \"max_input_chars_per_word\": 100, "
    "\"vocab\": {\"[UNK]\": 0, \"a\": 1, \"b\": 2, \"c\": 3, \"ab\": 4, \"##c\": 5}}}";

static int set_up(void **state)
{
    if (make_folder(state) != 0 || setenv("TANDEM_CACHE", in_folder("cache"), 1) != 0) {
        return -1;
    }
    put_file("tokenizer.json", TOKENIZER);
    if (tandem_tokenizer_load(&tokenizer, in_folder("tokenizer.json")) < 0) {
        fprintf(stderr, "%s\n", tandem_error_message());
        return -1;
    }
    for (size_t i = 0; i < TEXTS; i++) { /* text i is i % 7 times "a b", then "abc" if i is odd */
        char text[64] = "";
        size_t used = 0;
        for (size_t j = 0; j < i % 7; j++) {
            used += (size_t)snprintf(text + used, sizeof text - used, "a b ");
        }
        used += (size_t)snprintf(text + used, sizeof text - used, "%s", i % 2 ? "abc" : "");
        texts[i] = (tandem_text){NULL, strdup(text), used};
    }
    return 0;
}

static int tear_down(void **state)
{
    for (size_t i = 0; i < TEXTS; i++) {
        free((void *)(uintptr_t)texts[i].text);
    }
    tandem_tokenizer_free(tokenizer);
    return remove_folder(state);
}

static void assert_ids(tandem_bare bare, size_t count, size_t kept, const uint32_t *expected)
{
    assert_int_equal(bare.count, count);
    assert_memory_equal(bare.ids, expected, kept * sizeof *expected);
}

static void check_all(const tandem_token_store *store)
{
    uint64_t total = 0;
    assert_int_equal(tandem_token_store_count(store), TEXTS);
    for (size_t i = 0; i < TEXTS; i++) {
        uint32_t expected[16];
        size_t count = 0;
        for (size_t j = 0; j < i % 7; j++) {
            expected[count++] = 1;
            expected[count++] = 2;
        }
        if (i % 2) {
            expected[count++] = 4;
            expected[count++] = 5;
        }
        assert_ids(tandem_token_store_get(store, i), count, count, expected);
        total += count;
    }
    assert_int_equal(tandem_token_store_total(store), total);
}

/* Counts the files in `directory` and the folders in it; the path of the last one goes to `path`. */
static size_t find_files(const char *directory, char *path, size_t size)
{
    size_t found = 0;
    DIR *entries = opendir(directory);
    for (struct dirent *entry; entries && (entry = readdir(entries));) {
        char at[512];
        struct stat status;
        snprintf(at, sizeof at, "%s/%s", directory, entry->d_name);
        if (entry->d_name[0] == '.' || stat(at, &status) != 0) {
            continue;
        }
        if (S_ISDIR(status.st_mode)) {
            found += find_files(at, path, size);
        } else {
            snprintf(path, size, "%s", at);
            found++;
        }
    }
    if (entries) {
        closedir(entries);
    }
    return found;
}

/* The path of the only entry of the cache, in a static buffer; "" when there is none. */
static const char *cache_entry(void)
{
    static char path[512];
    path[0] = '\0';
    assert_true(find_files(in_folder("cache"), path, sizeof path) <= 1);
    return path;
}

static size_t cache_entries(void)
{
    char path[512];
    return find_files(in_folder("cache"), path, sizeof path);
}

static void making_and_cache(void **state)
{
    (void)state;
    tandem_token_store *store = NULL;
    tandem_dir_remove(in_folder("cache"));
    for (int round = 0; round < 2; round++) { /* made, then from the cache */
        assert_int_equal(tandem_token_store_make(&store, tokenizer, texts, TEXTS, NULL, 0), 0);
        check_all(store);
        tandem_token_store_free(store);
        assert_true(*cache_entry());
    }
    /* A damaged entry is made anew, and is sound afterwards. */
    const char *entry = cache_entry();
    assert_int_equal(tandem_file_write(entry, "damaged", 7), 0);
    assert_int_equal(tandem_token_store_make(&store, tokenizer, texts, TEXTS, NULL, 0), 0);
    check_all(store);
    tandem_token_store_free(store);
    assert_true(H5Fis_hdf5(entry) > 0);
    /* An entry that does not change shows that it is read: other ids under the same key. */
    hid_t file = H5Fopen(entry, H5F_ACC_RDWR, H5P_DEFAULT), ids = H5Dopen2(file, "ids", H5P_DEFAULT);
    uint32_t all[16384];
    assert_true(H5Dread(ids, H5T_NATIVE_UINT32, H5S_ALL, H5S_ALL, H5P_DEFAULT, all) >= 0);
    all[0] = 3;
    assert_true(H5Dwrite(ids, H5T_NATIVE_UINT32, H5S_ALL, H5S_ALL, H5P_DEFAULT, all) >= 0);
    H5Dclose(ids);
    H5Fclose(file);
    assert_int_equal(tandem_token_store_make(&store, tokenizer, texts, TEXTS, NULL, 0), 0);
    assert_int_equal(tandem_token_store_get(store, 1).ids[0], 3);
    tandem_token_store_free(store);
}

/* Texts, prompt and limit are part of the key. */
static void prompt_and_limit(void **state)
{
    (void)state;
    tandem_token_store *store = NULL;
    const uint32_t prompted[] = {3, 1, 2, 4, 5}, limited[] = {1, 2, 1};
    tandem_dir_remove(in_folder("cache"));
    assert_int_equal(tandem_token_store_make(&store, tokenizer, texts, TEXTS, "c ", 0), 0);
    assert_ids(tandem_token_store_get(store, 1), 5, 5, prompted);
    tandem_token_store_free(store);
    assert_int_equal(tandem_token_store_make(&store, tokenizer, texts, TEXTS, NULL, 3), 0);
    assert_int_equal(tandem_token_store_limit(store), 3);
    assert_ids(tandem_token_store_get(store, 4), 8, 3, limited); /* the count is that of all tokens */
    assert_int_equal(tandem_token_store_write(store, in_folder("limited.h5"), KEY), 0);
    tandem_token_store *read = NULL;
    assert_int_equal(tandem_token_store_read(&read, in_folder("limited.h5"), KEY), 0);
    assert_int_equal(tandem_token_store_limit(read), 3);
    assert_int_equal(tandem_token_store_total(read), tandem_token_store_total(store));
    assert_ids(tandem_token_store_get(read, 4), 8, 3, limited);
    tandem_token_store_free(read);
    tandem_token_store_free(store);
    assert_int_equal(tandem_token_store_make(&store, tokenizer, texts, TEXTS, NULL, 0), 0);
    check_all(store); /* not what the limit left in the cache */
    tandem_token_store_free(store);
}

/* Few texts and TANDEM_CACHE=off leave nothing on disk. */
static void no_cache(void **state)
{
    (void)state;
    tandem_token_store *store = NULL;
    tandem_dir_remove(in_folder("cache"));
    assert_int_equal(tandem_token_store_make(&store, tokenizer, texts, 63, NULL, 0), 0);
    assert_int_equal(tandem_token_store_count(store), 63);
    tandem_token_store_free(store);
    assert_int_equal(tandem_token_store_make(&store, tokenizer, texts, 0, NULL, 0), 0);
    assert_int_equal(tandem_token_store_total(store), 0);
    tandem_token_store_free(store);
    setenv("TANDEM_CACHE", "off", 1);
    assert_int_equal(tandem_token_store_make(&store, tokenizer, texts, TEXTS, NULL, 0), 0);
    check_all(store);
    tandem_token_store_free(store);
    setenv("TANDEM_CACHE", in_folder("cache"), 1);
    assert_string_equal(cache_entry(), "");
}

/* ---- what other entries know ------------------------------------------------------------- */
/* `count` texts that differ: the binary digits of first, first + 1 ... in words. */
static tandem_text *number_texts(size_t first, size_t count)
{
    tandem_text *out = malloc(count * sizeof *out);
    for (size_t i = 0; i < count; i++) {
        char text[256] = "";
        size_t used = 0;
        for (size_t digits = first + i + 2; digits > 1; digits /= 2) {
            used += (size_t)snprintf(text + used, sizeof text - used, "%s", digits % 2 ? "ab " : "abc ");
        }
        out[i] = (tandem_text){NULL, strdup(text), used};
    }
    return out;
}

static void free_texts(tandem_text *items, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free((void *)(uintptr_t)items[i].text);
    }
    free(items);
}

/* Makes a store of the texts through the cache, of which `tokenized` must be new, and compares it with one made
 * without. */
static void make_and_compare(const tandem_text *items, size_t count, const char *prompt, size_t limit, size_t tokenized)
{
    tandem_token_store *store = NULL, *plain = NULL;
    assert_int_equal(tandem_token_store_make(&store, tokenizer, items, count, prompt, limit), 0);
    setenv("TANDEM_CACHE", "off", 1);
    assert_int_equal(tandem_token_store_make(&plain, tokenizer, items, count, prompt, limit), 0);
    setenv("TANDEM_CACHE", in_folder("cache"), 1);
    assert_int_equal(tandem_token_store_tokenized(plain), count);
    assert_int_equal(tandem_token_store_tokenized(store), tokenized);
    assert_int_equal(tandem_token_store_count(store), count);
    assert_int_equal(tandem_token_store_total(store), tandem_token_store_total(plain));
    for (size_t i = 0; i < count; i++) {
        tandem_bare a = tandem_token_store_get(store, i), b = tandem_token_store_get(plain, i);
        size_t kept = limit > 0 && limit < b.count ? limit : b.count;
        assert_ids(a, b.count, kept, b.ids);
    }
    tandem_token_store_free(store);
    tandem_token_store_free(plain);
}

/* Sends stderr to a file, until release_stderr() gives what came there (to be freed). */
static int catch_stderr(void)
{
    int before = dup(2), file = open(in_folder("stderr"), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0600);
    assert_true(before >= 0 && file >= 0 && dup2(file, 2) == 2);
    close(file);
    return before;
}

static char *release_stderr(int before)
{
    char *said;
    size_t size;
    dup2(before, 2);
    close(before);
    assert_int_equal(tandem_file_read(&said, &size, in_folder("stderr")), 0);
    return said;
}

/* Only what is new is tokenized, wherever in the list it is. */
static void grown_corpus(void **state)
{
    (void)state;
    enum { COUNT = 10000 };
    tandem_text *all = number_texts(0, COUNT);
    tandem_dir_remove(in_folder("cache"));
    make_and_compare(all, 9000, NULL, 0, 9000);
    make_and_compare(all, COUNT, NULL, 0, 1000);    /* appended */
    make_and_compare(all, COUNT, NULL, 0, 0);       /* its own entry */
    make_and_compare(all + 500, 9000, NULL, 0, 0);  /* cut at both ends */
    for (size_t i = 0; i < COUNT / 2; i++) {        /* reversed, and a few edited */
        tandem_text swapped = all[i];
        all[i] = all[COUNT - 1 - i];
        all[COUNT - 1 - i] = swapped;
    }
    tandem_text kept[3] = {all[0], all[5000], all[COUNT - 1]};
    all[0] = all[COUNT - 1] = (tandem_text){NULL, "c c", 3}; /* the same twice: both are tokenized */
    all[5000] = (tandem_text){NULL, "", 0};
    make_and_compare(all, COUNT, NULL, 0, 3);
    make_and_compare(all, COUNT - 1, NULL, 0, 0); /* a text without tokens is known too */
    /* Another prompt or limit is another family. */
    make_and_compare(all, 100, "c ", 0, 100);
    make_and_compare(all, 100, NULL, 3, 100);
    make_and_compare(all, 101, NULL, 3, 1);
    /* A large entry is not read for the sake of a few texts. */
    make_and_compare(all + 4990, 64, NULL, 0, 64);
    all[0] = kept[0];
    all[5000] = kept[1];
    all[COUNT - 1] = kept[2];
    free_texts(all, COUNT);
}

/* Ids for one list from several entries, one of which is damaged: that is told, removed, and made up for. */
static void several_sources(void **state)
{
    (void)state;
    enum { COUNT = 900 };
    char damaged[512];
    tandem_text *all = number_texts(0, COUNT);
    tandem_dir_remove(in_folder("cache"));
    make_and_compare(all, 300, NULL, 0, 300);
    snprintf(damaged, sizeof damaged, "%s", cache_entry());
    make_and_compare(all + 300, 300, NULL, 0, 300);
    make_and_compare(all, COUNT, NULL, 0, 300);
    assert_int_equal(cache_entries(), 3);
    char family[512];
    snprintf(family, sizeof family, "%.*s", (int)(strrchr(damaged, '/') - damaged), damaged);
    tandem_dir_remove(family);
    make_and_compare(all, 300, NULL, 0, 300);
    make_and_compare(all + 300, 300, NULL, 0, 300);
    assert_int_equal(tandem_file_write(damaged, "damaged", 7), 0);
    int before = catch_stderr();
    make_and_compare(all, COUNT, NULL, 0, 600);
    char *said = release_stderr(before);
    assert_non_null(strstr(said, "the cache entry is damaged and removed: "));
    free(said);
    assert_false(tandem_file_exists(damaged));
    assert_int_equal(cache_entries(), 2);
    free_texts(all, COUNT);
}

/* A folder keeps the 16 entries used last; what a killed writer left goes after a day. */
static void old_entries(void **state)
{
    (void)state;
    enum { COUNT = 64 };
    char first[512], left[600];
    tandem_text *all = number_texts(0, 20 * COUNT);
    tandem_dir_remove(in_folder("cache"));
    make_and_compare(all, COUNT, NULL, 0, COUNT);
    snprintf(first, sizeof first, "%s", cache_entry());
    snprintf(left, sizeof left, "%.*s/.x.h5.tmp-1-1", (int)(strrchr(first, '/') - first), first);
    const struct timespec long_ago[2] = {{1, 0}, {1, 0}};
    for (size_t i = 1; i < 20; i++) {
        assert_int_equal(tandem_file_write(left, "half", 4), 0);
        if (i % 2) { /* of now: its writer may be alive */
            assert_int_equal(utimensat(AT_FDCWD, left, long_ago, 0), 0);
        }
        make_and_compare(all + i * COUNT, COUNT, NULL, 0, COUNT);
        assert_int_equal(tandem_file_exists(left), i % 2 == 0);
        assert_int_equal(cache_entries(), i < 15 ? i + 1 : 16);
        make_and_compare(all, COUNT, NULL, 0, 0); /* in use, so it stays */
    }
    assert_true(tandem_file_exists(first));
    free_texts(all, 20 * COUNT);
}

/* ---- several processes ---------------------------------------------------------------------- */
/* What each process does: overlapping lists, one after the other, compared with what is made without the cache. */
static int write_as_process(size_t number)
{
    tandem_text *all = number_texts(0, 3000);
    for (size_t round = 0; round < 8; round++) {
        size_t first = 100 * ((number + round) % 4), count = 1000 + 200 * round;
        tandem_token_store *store = NULL, *plain = NULL;
        setenv("TANDEM_CACHE", in_folder("cache"), 1);
        int rc = tandem_token_store_make(&store, tokenizer, all + first, count, NULL, 0);
        setenv("TANDEM_CACHE", "off", 1);
        if (rc < 0 || tandem_token_store_make(&plain, tokenizer, all + first, count, NULL, 0) < 0) {
            fprintf(stderr, "%s\n", tandem_error_message());
            return 1;
        }
        for (size_t i = 0; i < count; i++) {
            tandem_bare a = tandem_token_store_get(store, i), b = tandem_token_store_get(plain, i);
            if (a.count != b.count || memcmp(a.ids, b.ids, a.count * sizeof *a.ids) != 0) {
                fprintf(stderr, "process %zu, round %zu: text %zu differs\n", number, round, i);
                return 1;
            }
        }
        tandem_token_store_free(store);
        tandem_token_store_free(plain);
    }
    free_texts(all, 3000);
    return 0;
}

/* Started anew rather than forked: threads that OpenMP has made do not outlive a fork. */
static pid_t start_process(const char *number)
{
    pid_t process = fork();
    if (process == 0) {
        execl("/proc/self/exe", "test_token_store", folder, number, (char *)NULL);
        _exit(127);
    }
    return process;
}

static void concurrent_writers(void **state)
{
    (void)state;
    static const char *const numbers[] = {"0", "1", "2", "3"};
    pid_t processes[4];
    tandem_dir_remove(in_folder("cache"));
    int before = catch_stderr();
    for (size_t i = 0; i < 4; i++) {
        processes[i] = start_process(numbers[i]);
        assert_true(processes[i] > 0);
    }
    for (size_t i = 0; i < 4; i++) {
        int status = -1;
        assert_int_equal(waitpid(processes[i], &status, 0), processes[i]);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    char *said = release_stderr(before);
    assert_string_equal(said, ""); /* nobody met half of an entry */
    free(said);
    tandem_text *all = number_texts(0, 3000);
    /* Whichever process came last, the entry that it left has these texts. */
    make_and_compare(all + 300, 2100, NULL, 0, 0);
    free_texts(all, 3000);
}

/* ---- the file ------------------------------------------------------------------------- */
/* A sound file folder/NAME of the first `count` texts. */
static const char *put_store(const char *name, size_t count)
{
    tandem_token_store *store = NULL;
    assert_int_equal(tandem_token_store_make(&store, tokenizer, texts, count, NULL, 0), 0);
    assert_int_equal(tandem_token_store_write(store, in_folder(name), KEY), 0);
    tandem_token_store_free(store);
    return in_folder(name);
}

static void file_round_trip(void **state)
{
    (void)state;
    tandem_token_store *store = NULL;
    assert_int_equal(tandem_token_store_read(&store, put_store("a.h5", TEXTS), KEY), 0);
    check_all(store);
    /* What was read can be written again. */
    assert_int_equal(tandem_token_store_write(store, in_folder("b.h5"), KEY), 0);
    tandem_token_store_free(store);
    assert_int_equal(tandem_token_store_read(&store, in_folder("b.h5"), KEY), 0);
    check_all(store);
    tandem_token_store_free(store);
    assert_int_equal(tandem_token_store_read(&store, put_store("empty.h5", 1), KEY), 0);
    assert_int_equal(tandem_token_store_get(store, 0).count, 0);
    tandem_token_store_free(store);
    assert_int_equal(tandem_token_store_read(&store, in_folder("a.h5"), (tandem_hash){7, 9}), TANDEM_NOT_FOUND);
    assert_int_equal(tandem_token_store_read(&store, in_folder("none.h5"), KEY), TANDEM_NOT_FOUND);
}

/* Makes folder/bad.h5, a sound file but for one entry of an array, or for one attribute. */
static void spoil(const char *array, size_t index, uint64_t value)
{
    uint64_t all[16384];
    hid_t file = H5Fopen(put_store("bad.h5", TEXTS), H5F_ACC_RDWR, H5P_DEFAULT);
    hid_t id = H5Dopen2(file, array, H5P_DEFAULT);
    assert_true(H5Dread(id, H5T_NATIVE_UINT64, H5S_ALL, H5S_ALL, H5P_DEFAULT, all) >= 0);
    all[index] = value;
    assert_true(H5Dwrite(id, H5T_NATIVE_UINT64, H5S_ALL, H5S_ALL, H5P_DEFAULT, all) >= 0);
    H5Dclose(id);
    H5Fclose(file);
}

static void spoil_attribute(const char *name, uint64_t value)
{
    hid_t file = H5Fopen(put_store("bad.h5", TEXTS), H5F_ACC_RDWR, H5P_DEFAULT);
    hid_t id = H5Aopen(file, name, H5P_DEFAULT);
    assert_true(H5Awrite(id, H5T_NATIVE_UINT64, &value) >= 0);
    H5Aclose(id);
    H5Fclose(file);
}

static void refuse(const char *message)
{
    tandem_token_store *store = NULL;
    assert_fails(tandem_token_store_read(&store, in_folder("bad.h5"), KEY), message);
    assert_null(store);
}

static void hostile_files(void **state)
{
    (void)state;
    tandem_token_store *store = NULL;
    assert_int_equal(tandem_token_store_read(&store, put_store("a.h5", TEXTS), KEY), 0);
    unsigned total = (unsigned)tandem_token_store_total(store);
    tandem_token_store_free(store);
    char message[128];
    spoil("ids", 5, 6);
    refuse("bad.h5: /ids: entry 5: expected an id below 6, found 6");
    spoil("offsets", 0, 1);
    refuse("bad.h5: /offsets: text 0: expected 0 ids, found 1 to 0");
    spoil("offsets", 3, 0);
    refuse("bad.h5: /offsets: text 2: expected 4 ids, found 4 to 0");
    spoil("offsets", TEXTS, UINT64_MAX);
    snprintf(message, sizeof message, "bad.h5: /offsets: text 999: expected 12 ids, found %u to %llu", total - 12,
             (unsigned long long)UINT64_MAX);
    refuse(message);
    spoil("totals", 1, 5);
    refuse("bad.h5: /offsets: text 1: expected 5 ids, found 0 to 4");
    spoil_attribute("complete", 0);
    refuse("bad.h5: not complete");
    spoil_attribute("count", TEXTS + 1);
    refuse("bad.h5: expected 1001 totals and one more offset, found 1000 and 1001");
    spoil_attribute("count", UINT64_MAX); /* count + 1 would be 0 */
    snprintf(message, sizeof message, "bad.h5: expected %llu totals and one more offset, found 1000 and 1001",
             (unsigned long long)UINT64_MAX);
    refuse(message);
}

/* Hashes that are missing, or of another shape. */
static void hostile_hashes(void **state)
{
    (void)state;
    const hsize_t shape[2] = {TEXTS, 3};
    hid_t file = H5Fopen(put_store("bad.h5", TEXTS), H5F_ACC_RDWR, H5P_DEFAULT);
    assert_true(H5Ldelete(file, "hashes", H5P_DEFAULT) >= 0);
    H5Fclose(file);
    refuse("bad.h5: no array /hashes");
    file = H5Fopen(in_folder("bad.h5"), H5F_ACC_RDWR, H5P_DEFAULT);
    hid_t space = H5Screate_simple(2, shape, NULL);
    H5Dclose(H5Dcreate2(file, "hashes", H5T_STD_U64LE, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
    H5Fclose(file);
    refuse("bad.h5: /hashes: expected 2 columns, found 3");
    const hsize_t fewer[2] = {TEXTS - 1, 2};
    file = H5Fopen(put_store("bad.h5", TEXTS), H5F_ACC_RDWR, H5P_DEFAULT);
    assert_true(H5Ldelete(file, "hashes", H5P_DEFAULT) >= 0);
    H5Sset_extent_simple(space, 2, fewer, NULL);
    hid_t hashes = H5Dcreate2(file, "hashes", H5T_STD_U64LE, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    static uint64_t zeros[TEXTS - 1][2];
    assert_true(H5Dwrite(hashes, H5T_NATIVE_UINT64, H5S_ALL, H5S_ALL, H5P_DEFAULT, zeros) >= 0);
    H5Dclose(hashes);
    H5Fclose(file);
    H5Sclose(space);
    refuse("bad.h5: expected 1000 hashes, found 999");
}

/* A chunk that decompresses to another size than its own must not reach libhdf5's buffers. */
static void hostile_chunk(void **state)
{
    (void)state;
    const char *path = put_store("chunk.h5", TEXTS);
    /* zstd frames of no byte, and of 128 KiB of NUL in 10 bytes. */
    const unsigned char empty[] = {0x28, 0xb5, 0x2f, 0xfd, 0x20, 0x00, 0x01, 0x00, 0x00};
    const unsigned char block[] = {0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x58, 0x03, 0x00, 0x10, 0x00};
    const unsigned char *frames[] = {empty, block};
    const size_t sizes[] = {sizeof empty, sizeof block};
    const hsize_t offset = 0;
    for (size_t i = 0; i < 2; i++) {
        tandem_token_store *store = NULL;
        hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT), ids = H5Dopen2(file, "ids", H5P_DEFAULT);
        assert_true(H5Dwrite_chunk(ids, H5P_DEFAULT, 0, &offset, sizes[i], frames[i]) >= 0);
        H5Dclose(ids);
        H5Fclose(file);
        assert_int_equal(tandem_token_store_read(&store, path, KEY), TANDEM_ERROR);
        assert_non_null(strstr(tandem_error_message(), "/ids: cannot be read"));
    }
    /* One that says it went around the filter, yet is not as long as a chunk. */
    hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT), ids = H5Dopen2(file, "ids", H5P_DEFAULT);
    assert_true(H5Dwrite_chunk(ids, H5P_DEFAULT, 1, &offset, sizeof empty, empty) >= 0);
    H5Dclose(ids);
    H5Fclose(file);
    tandem_token_store *store = NULL;
    assert_int_equal(tandem_token_store_read(&store, path, KEY), TANDEM_ERROR);
    assert_non_null(strstr(tandem_error_message(), "/ids: chunk 0: expected"));
}

/* A changed byte of a chunk is found by its checksum. */
static void damaged_chunk(void **state)
{
    (void)state;
    const char *path = put_store("damaged.h5", TEXTS);
    hsize_t offset = 0, size = 0;
    unsigned mask = 0;
    haddr_t address = HADDR_UNDEF;
    hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT), ids = H5Dopen2(file, "ids", H5P_DEFAULT);
    hid_t space = H5Dget_space(ids);
    assert_true(H5Dget_chunk_info(ids, space, 0, &offset, &mask, &address, &size) >= 0);
    H5Sclose(space);
    H5Dclose(ids);
    H5Fclose(file);
    char *data;
    size_t length;
    assert_int_equal(tandem_file_read(&data, &length, path), 0);
    for (hsize_t at = 0; at < size; at++) {
        tandem_token_store *store = NULL;
        data[address + at] ^= 1;
        assert_int_equal(tandem_file_write(path, data, length), 0);
        if (tandem_token_store_read(&store, path, KEY) == 0) {
            check_all(store); /* a bit that nothing depends on */
            tandem_token_store_free(store);
        }
        data[address + at] ^= 1;
    }
    free(data);
}

/* test_token_store FOLDER NUMBER: one of the processes of concurrent_writers. */
static int process_main(const char *shared, const char *number)
{
    snprintf(folder, sizeof folder, "%s", shared);
    if (tandem_tokenizer_load(&tokenizer, in_folder("tokenizer.json")) < 0) {
        fprintf(stderr, "%s\n", tandem_error_message());
        return 1;
    }
    int failed = write_as_process((size_t)strtoul(number, NULL, 10));
    tandem_tokenizer_free(tokenizer);
    return failed;
}

int main(int count, char **arguments)
{
    if (count == 3) {
        return process_main(arguments[1], arguments[2]);
    }
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(making_and_cache), cmocka_unit_test(prompt_and_limit), cmocka_unit_test(no_cache),
        cmocka_unit_test(grown_corpus),     cmocka_unit_test(several_sources),  cmocka_unit_test(old_entries),
        cmocka_unit_test(concurrent_writers), cmocka_unit_test(file_round_trip), cmocka_unit_test(hostile_files),
        cmocka_unit_test(hostile_hashes),   cmocka_unit_test(hostile_chunk),    cmocka_unit_test(damaged_chunk),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
