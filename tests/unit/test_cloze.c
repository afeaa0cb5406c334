/* The inverse cloze task: how texts are cut, and what the groups may and may not hold. */
#include <math.h>

#include "mining/sentences.h"
#include "tandem/cloze.h"
#include "tests/unit/folder.h"

static void expect_sentences(const char *text, const char *expected)
{
    char found[512] = "";
    size_t at = 0, used = 0;
    tandem_sentence sentence;
    while (tandem_sentence_next(&sentence, text, strlen(text), &at)) {
        used += (size_t)snprintf(found + used, sizeof found - used, "%.*s/%u|", (int)sentence.length,
                                 text + sentence.start, (unsigned)sentence.words);
    }
    assert_string_equal(found, expected);
}

static void test_sentences(void **state)
{
    (void)state;
    expect_sentences("", "");
    expect_sentences(" \n\t ", "");
    expect_sentences("One.", "One./1|");
    expect_sentences("No end here", "No end here/3|");
    expect_sentences("One two. Three?\nFour!", "One two./2|Three?/1|Four!/1|");
    expect_sentences("  A  B  ...  C  ", "A  B  .../3|C/1|");
    expect_sentences("'Stop!' cried he. (Yes.) \"No!?\" So", "'Stop!'/1|cried he./2|(Yes.)/1|\"No!?\"/1|So/1|");
    expect_sentences("It is 3.14 or so. x.y", "It is 3.14 or so./5|x.y/1|");
    expect_sentences("\xE2\x80\x9CGo.\xE2\x80\x9D He went.", "\xE2\x80\x9CGo.\xE2\x80\x9D/1|He went./2|");
    expect_sentences("cut\xE2\x80", "cut\xE2\x80/1|");
}

/* Forty documents of six sentences, each with words of its own, one short and one empty. */
static tandem_dataset *corpus(void)
{
    tandem_buffer text = TANDEM_BUFFER_INIT;
    tandem_dataset *dataset = NULL;
    for (int d = 0; d < 40; d++) {
        assert_int_equal(tandem_buffer_printf(&text, "{\"_id\": \"d%d\", \"text\": \"", d), 0);
        for (int s = 0; s < 6; s++) {
            assert_int_equal(tandem_buffer_printf(&text, "The word%d of place%d is near word%d today. ", d, s, d + 1), 0);
        }
        assert_int_equal(tandem_buffer_puts(&text, "\"}\n"), 0);
    }
    assert_int_equal(tandem_buffer_puts(&text, "{\"_id\": \"short\", \"text\": \"Three words here. And three more.\"}\n"), 0);
    put_file("data/corpus.jsonl", text.data);
    put_file("data/queries.jsonl", "{\"_id\": \"q\", \"text\": \"unused\"}\n");
    tandem_buffer_free(&text);
    assert_int_equal(tandem_dataset_open(&dataset, in_folder("data")), 0);
    return dataset;
}

/* The document that "d7#0-3-1" is a passage of. */
static size_t document_of(const char *id)
{
    return strcspn(id, "#");
}

static void test_groups(void **state)
{
    (void)state;
    tandem_dataset *dataset = corpus();
    tandem_cloze_options options = TANDEM_CLOZE_OPTIONS_INIT;
    tandem_groups *groups;
    size_t left_out = 0;
    options.groups = 200;
    options.words = 20;
    assert_int_equal(tandem_cloze_groups(&groups, dataset, &options), 0);
    assert_int_equal(groups->count, 200);
    for (size_t i = 0; i < groups->count; i++) {
        const tandem_group *group = &groups->items[i];
        const char *query = groups->texts[group->query].text, *id = group->positives[0].id;
        assert_int_equal(group->positive_count, 1);
        assert_int_equal(group->negative_count, 7);
        bool without = strchr(strchr(id, '-') + 1, '-') != NULL;
        left_out += without;
        assert_int_equal(strstr(groups->texts[group->positives[0].text].text, query) == NULL, without);
        assert_true(isnan(group->positives[0].score));
        for (size_t n = 0; n < group->negative_count; n++) {
            const char *other = group->negatives[n].id;
            assert_true(document_of(other) != document_of(id) || strncmp(other, id, document_of(id)) != 0);
        }
    }
    /* 160 expected, with a deviation of 5.7. */
    assert_in_range(left_out, 130, 185);
    tandem_groups_free(groups);
    tandem_dataset_free(dataset);
}

/* The first groups do not depend on how many there are; another seed gives others. */
static void test_streams(void **state)
{
    (void)state;
    tandem_dataset *dataset = corpus();
    tandem_cloze_options options = TANDEM_CLOZE_OPTIONS_INIT;
    tandem_groups *few, *many, *other;
    options.groups = 3;
    assert_int_equal(tandem_cloze_groups(&few, dataset, &options), 0);
    options.groups = 30;
    assert_int_equal(tandem_cloze_groups(&many, dataset, &options), 0);
    options.seed = 14;
    assert_int_equal(tandem_cloze_groups(&other, dataset, &options), 0);
    size_t equal = 0;
    for (size_t i = 0; i < 30; i++) {
        const char *id = many->items[i].positives[0].id;
        if (i < 3) {
            assert_string_equal(id, few->items[i].positives[0].id);
            assert_string_equal(many->items[i].negatives[6].id, few->items[i].negatives[6].id);
        }
        equal += strcmp(id, other->items[i].positives[0].id) == 0;
    }
    assert_true(equal < 10);
    tandem_groups_free(few);
    tandem_groups_free(many);
    tandem_groups_free(other);
    tandem_dataset_free(dataset);
}

static void test_what_cannot_be_made(void **state)
{
    (void)state;
    tandem_dataset *dataset;
    tandem_cloze_options options = TANDEM_CLOZE_OPTIONS_INIT;
    tandem_groups *groups;
    put_file("bare/corpus.jsonl", "{\"_id\": \"a\", \"text\": \"Too short.\"}\n{\"_id\": \"b\", \"text\": \"So is this.\"}\n");
    put_file("bare/queries.jsonl", "{\"_id\": \"q\", \"text\": \"unused\"}\n");
    assert_int_equal(tandem_dataset_open(&dataset, in_folder("bare")), 0);
    assert_int_equal(tandem_cloze_groups(&groups, dataset, &options), TANDEM_ERROR);
    assert_null(groups);
    assert_message("bare: no document has 4 sentences, one of them of 6 to 30 words");
    options.keep = 1.5;
    assert_int_equal(tandem_cloze_groups(&groups, dataset, &options), TANDEM_USAGE);
    tandem_dataset_free(dataset);
}

int main(void)
{
    setenv("TANDEM_CACHE", "off", 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sentences), cmocka_unit_test(test_groups), cmocka_unit_test(test_streams),
        cmocka_unit_test(test_what_cannot_be_made),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
