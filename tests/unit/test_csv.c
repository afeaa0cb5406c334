/* Rows of fields: RFC 4180 and plain tabs. */
#include "folder.h"

#include "data/csv.h"

/* Appends the rows of a file to `out` as [a|b] with line numbers: "1[a|b]3[c|d]". */
static int read_all(const char *path, char separator, bool quotes, char *out, size_t room)
{
    tandem_csv *csv = NULL;
    const char *const *fields;
    size_t count, used = 0;
    int rc = tandem_csv_open(&csv, path, separator, quotes);
    while (rc >= 0 && (rc = tandem_csv_next(csv, &fields, &count)) == 1) {
        used += (size_t)snprintf(out + used, room - used, "%zu[", tandem_csv_line(csv));
        for (size_t i = 0; i < count; i++) {
            used += (size_t)snprintf(out + used, room - used, "%s%s", i > 0 ? "|" : "", fields[i]);
        }
        used += (size_t)snprintf(out + used, room - used, "]");
    }
    out[used] = '\0';
    tandem_csv_close(csv);
    return rc;
}

static void assert_rows(const char *text, char separator, bool quotes, const char *expected)
{
    char out[512];
    assert_int_equal(read_all(put_file("rows", text), separator, quotes, out, sizeof out), 0);
    assert_string_equal(out, expected);
}

/* RFC 4180, section 2, rule by rule. */
static void rfc_4180(void **state)
{
    (void)state;
    assert_rows("aaa,bbb,ccc\r\nzzz,yyy,xxx\r\n", ',', true, "1[aaa|bbb|ccc]2[zzz|yyy|xxx]");       /* 1 */
    assert_rows("aaa,bbb,ccc\nzzz,yyy,xxx", ',', true, "1[aaa|bbb|ccc]2[zzz|yyy|xxx]");            /* 2 */
    assert_rows(" a , b\n", ',', true, "1[ a | b]");                                               /* 4: blanks count */
    assert_rows("\"aaa\",\"bbb\",ccc\n", ',', true, "1[aaa|bbb|ccc]");                             /* 5 */
    assert_rows("\"aaa\",\"b \r\nbb\",\"c,c\"\nzzz,yyy,xxx\n", ',', true, "1[aaa|b \nbb|c,c]3[zzz|yyy|xxx]"); /* 6 */
    assert_rows("\"aaa\",\"b\"\"bb\",\"\"\"\"\n", ',', true, "1[aaa|b\"bb|\"]");                   /* 7 */
}

static void details(void **state)
{
    (void)state;
    assert_rows("", ',', true, "");
    assert_rows("\n\na\n\n", ',', true, "3[a]"); /* empty lines are no rows */
    assert_rows(",\n\"\",\"\"\na,", ',', true, "1[|]2[|]3[a|]");
    assert_rows("\"\n\n\"\n", ',', true, "1[\n\n]"); /* but belong to a field */
    assert_rows("\xEF\xBB\xBF\"a\",b\n", ',', true, "1[a|b]"); /* a byte order mark, as Excel writes it */
    assert_rows("a\"b\"\"c,d\"\n", ',', true, "1[a\"b\"\"c|d\"]"); /* as Python's csv reads it */
    assert_rows("\"a\tb\"\tc\n", '\t', true, "1[a\tb|c]");
    assert_rows("\"a\t\"b\"\"\t\n", '\t', false, "1[\"a|\"b\"\"|]"); /* TSV knows no quotes */
}

static void malformed(void **state)
{
    (void)state;
    char out[512];
    assert_fails(read_all(put_file("a.csv", "a,b\n\"c\"d,e\n"), ',', true, out, sizeof out),
                 "a.csv:2: field 1: expected its end after the closing quotation mark, found \"d,e\"");
    assert_fails(read_all(put_file("b.csv", "a,b\nc,\"d\ne\nf\n"), ',', true, out, sizeof out),
                 "b.csv:2: the quoted field that begins here is not closed");
    assert_fails(read_all(put_file("c.csv", "a\n\"b\n\xFF\"\n"), ',', true, out, sizeof out),
                 "c.csv:3: at byte 1: invalid UTF-8 (iconv converts other encodings)");
    const char nul[] = "a\tb\0c\n";
    assert_int_equal(tandem_file_write(in_folder("d.tsv"), nul, sizeof nul - 1), 0);
    assert_fails(read_all(in_folder("d.tsv"), '\t', false, out, sizeof out), "d.tsv:1: at byte 4: a NUL byte");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rfc_4180),
        cmocka_unit_test(details),
        cmocka_unit_test(malformed),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
