/* Training groups: building, and JSONL. */
#include "folder.h"

#include <math.h>

#include "tandem/groups.h"

static void add(tandem_groups *groups, bool positive, const char *id, const char *text, float score)
{
    assert_int_equal(tandem_groups_add(groups, positive, id, text, strlen(text), score), 0);
}

static tandem_groups *make_two(void)
{
    tandem_groups *groups = NULL;
    assert_int_equal(tandem_groups_new(&groups), 0);
    assert_int_equal(tandem_groups_begin(groups, "q1", "tides", 5), 0);
    add(groups, false, "n1", "hardest", 0.1f); /* passages may come in any order of kind */
    add(groups, true, "p1", "the \"moon\"\n", NAN);
    add(groups, false, "n2", "easier", -3.0e-7f);
    assert_int_equal(tandem_groups_begin(groups, "q2", "\xc3\xa9t\xc3\xa9", 5), 0);
    add(groups, true, "p2", "hardest", NAN);
    add(groups, true, "p3", "tides", 16777216.0f);
    assert_int_equal(tandem_groups_finish(groups), 0);
    return groups;
}

static void check_two(const tandem_groups *groups)
{
    assert_int_equal(groups->count, 2);
    const tandem_group *first = &groups->items[0], *second = &groups->items[1];
    assert_string_equal(first->query_id, "q1");
    assert_int_equal(first->positive_count, 1);
    assert_int_equal(first->negative_count, 2);
    assert_string_equal(groups->texts[first->positives[0].text].text, "the \"moon\"\n");
    assert_true(isnan(first->positives[0].score));
    assert_string_equal(first->negatives[0].id, "n1");
    assert_true(first->negatives[0].score == 0.1f); /* nine digits bring every float back */
    assert_true(first->negatives[1].score == -3.0e-7f);
    assert_int_equal(second->positive_count, 2);
    assert_int_equal(second->negative_count, 0);
    assert_true(second->positives[1].score == 16777216.0f);
    /* Equal bytes, equal index: across groups, and between a query and a passage. */
    assert_int_equal(first->negatives[0].text, second->positives[0].text);
    assert_int_equal(first->query, second->positives[1].text);
    assert_int_equal(groups->text_count, 5);
}

static void round_trip(void **state)
{
    (void)state;
    const char *names[] = {"groups.jsonl", "groups.jsonl.zst"};
    tandem_groups *groups = make_two();
    check_two(groups);
    for (size_t i = 0; i < 2; i++) {
        tandem_groups *read = NULL;
        assert_int_equal(tandem_groups_write(groups, in_folder(names[i])), 0);
        assert_int_equal(tandem_groups_read(&read, in_folder(names[i])), 0);
        check_two(read);
        tandem_groups_free(read);
    }
    tandem_groups_free(groups);
    char *text;
    size_t size;
    assert_int_equal(tandem_file_read(&text, &size, in_folder("groups.jsonl")), 0);
    assert_string_equal(text, "{\"query_id\": \"q1\", \"query\": \"tides\", \"positives\": [{\"id\": \"p1\", \"text\": \"the \\\"moon\\\"\\n\"}], "
                              "\"negatives\": [{\"id\": \"n1\", \"text\": \"hardest\", \"score\": 0.100000001}, "
                              "{\"id\": \"n2\", \"text\": \"easier\", \"score\": -3.00000011e-07}]}\n"
                              "{\"query_id\": \"q2\", \"query\": \"\xc3\xa9t\xc3\xa9\", \"positives\": [{\"id\": \"p2\", \"text\": \"hardest\"}, "
                              "{\"id\": \"p3\", \"text\": \"tides\", \"score\": 16777216}], \"negatives\": []}\n");
    free(text);
}

/* Ids may be integers, scores null, negatives and other keys left out. */
static void lenient(void **state)
{
    (void)state;
    tandem_groups *groups = NULL;
    const char *text = "\n{\"query_id\": 7, \"query\": \"q\", \"positives\": [{\"id\": 8, \"text\": \"t\", \"score\": null, \"title\": 1}]}\n";
    assert_int_equal(tandem_groups_read(&groups, put_file("lenient.jsonl", text)), 0);
    assert_string_equal(groups->items[0].query_id, "7");
    assert_string_equal(groups->items[0].positives[0].id, "8");
    assert_true(isnan(groups->items[0].positives[0].score));
    assert_int_equal(groups->items[0].negative_count, 0);
    tandem_groups_free(groups);
}

static void refuse(const char *text, const char *message)
{
    tandem_groups *groups = NULL;
    assert_fails(tandem_groups_read(&groups, put_file("g.jsonl", text)), message);
    assert_null(groups);
}

static void malformed(void **state)
{
    (void)state;
    const char *good = "{\"query_id\": \"q\", \"query\": \"x\", \"positives\": [{\"id\": \"p\", \"text\": \"t\"}], \"negatives\": []}\n";
    char text[512];
    snprintf(text, sizeof text, "%s{\"query_id\"\n", good);
    refuse(text, "g.jsonl:2: at byte 11: invalid JSON, or its end is missing");
    snprintf(text, sizeof text, "%s\n{\"query_id\": \"q\", \"query\": \"x\", \"positives\": [], \"negatives\": []}\n", good);
    refuse(text, "g.jsonl:3: \"positives\" is empty");
    refuse("{\"query\": \"x\", \"positives\": []}\n", "g.jsonl:1: \"query_id\" is missing: expected a string");
    refuse("{\"query_id\": \"q\", \"positives\": []}\n", "g.jsonl:1: \"query\" is missing: expected a string");
    refuse("{\"query_id\": \"q\", \"query\": \"x\"}\n", "g.jsonl:1: expected \"positives\" to be an array");
    refuse("{\"query_id\": \"q\", \"query\": \"x\", \"positives\": {}}\n", "g.jsonl:1: expected \"positives\" to be an array");
    refuse("{\"query_id\": \"q\", \"query\": \"x\", \"positives\": [\"t\"]}\n",
           "g.jsonl:1: expected each of \"positives\" to be an object {\"id\", \"text\"}");
    refuse("{\"query_id\": \"q\", \"query\": \"x\", \"positives\": [{\"id\": \"p\"}]}\n", "g.jsonl:1: \"text\" is missing: expected a string");
    refuse("{\"query_id\": \"q\", \"query\": \"x\", \"positives\": [{\"id\": \"p\", \"text\": \"t\", \"score\": \"1\"}]}\n",
           "g.jsonl:1: \"score\": expected a number, found a string");
    refuse("{\"query_id\": \"q\", \"query\": \"x\", \"positives\": [{\"id\": \"p\", \"text\": \"t\", \"score\": 1e300}]}\n",
           "g.jsonl:1: the score of passage \"p\" is infinite");
    refuse("{\"query_id\": \"q\", \"query\": \"x\", \"positives\": [{\"id\": \"p\", \"text\": \"t\"}], \"negatives\": 1}\n",
           "g.jsonl:1: expected \"negatives\" to be an array");
    refuse("", "g.jsonl: no training group");
    /* While building, too. */
    tandem_groups *groups = NULL;
    assert_int_equal(tandem_groups_new(&groups), 0);
    assert_int_equal(tandem_groups_begin(groups, "q", "x", 1), 0);
    assert_fails(tandem_groups_finish(groups), "query \"q\" has no positive");
    tandem_groups_free(groups);
}

static void from_split(void **state)
{
    (void)state;
    put_file("d/corpus.jsonl", "{\"_id\": \"a\", \"text\": \"A\"}\n{\"_id\": \"b\", \"text\": \"B\", \"title\": \"T\"}\n");
    put_file("d/queries.jsonl", "{\"_id\": \"q\", \"text\": \"Q\"}\n");
    put_file("d/qrels/train.tsv", "q\tb\t1\nq\ta\t0\n");
    tandem_dataset *dataset = NULL;
    tandem_split *split = NULL;
    tandem_groups *groups = NULL;
    assert_int_equal(tandem_dataset_open(&dataset, in_folder("d")), 0);
    assert_int_equal(tandem_split_load(&split, dataset, "train"), 0);
    assert_int_equal(tandem_groups_from_split(&groups, dataset, split), 0);
    tandem_split_free(split);
    tandem_dataset_free(dataset); /* groups hold copies */
    assert_int_equal(groups->count, 1);
    assert_string_equal(groups->items[0].query_id, "q");
    assert_int_equal(groups->items[0].positive_count, 1);
    assert_string_equal(groups->items[0].positives[0].id, "b");
    assert_string_equal(groups->texts[groups->items[0].positives[0].text].text, "T B");
    tandem_groups_free(groups);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),
        cmocka_unit_test(lenient),
        cmocka_unit_test(malformed),
        cmocka_unit_test(from_split),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
