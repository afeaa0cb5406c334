/* SGML and XML as tags and texts. */
#include "folder.h"

#include "data/markup.h"

/* The tokens of a text: "<name attributes>", "</name>" and the texts as they come, one after the
 * other. */
static int read_all(const char *path, char *out, size_t room)
{
    tandem_markup *markup = NULL;
    tandem_markup_token token;
    size_t used = 0;
    int rc = tandem_markup_open(&markup, path);
    out[0] = '\0';
    while (rc == 0 && (rc = tandem_markup_next(markup, &token)) == 0 && token.kind != TANDEM_MARKUP_END) {
        const char *blank = token.kind == TANDEM_MARKUP_OPEN && *token.attributes ? " " : "";
        used +=
            token.kind == TANDEM_MARKUP_TEXT
                ? (size_t)snprintf(out + used, room - used, "%.*s", (int)token.length, token.text)
                : (size_t)snprintf(out + used, room - used, "<%s%s%s%s>", token.kind == TANDEM_MARKUP_CLOSE ? "/" : "",
                                   token.text, blank, token.kind == TANDEM_MARKUP_OPEN ? token.attributes : "");
    }
    tandem_markup_close(markup);
    return rc;
}

static void assert_tokens(const char *text, const char *expected)
{
    char out[1024];
    assert_int_equal(read_all(put_file("markup", text), out, sizeof out), 0);
    assert_string_equal(out, expected);
}

static void tags(void **state)
{
    (void)state;
    assert_tokens("", "");
    assert_tokens("<a>x</a>", "<a>x</a>\n");
    assert_tokens("<a\nb='1'\n>x</a >", "<a b='1'\n>x</a>\n");
    assert_tokens("<a/>x<b c=\"/\"/>", "<a></a>x<b c=\"/\"></b>\n");
    assert_tokens("<a href=\"x>y\">z", "<a href=\"x>y\">z\n");
    assert_tokens("one<P>two <F P=105>\nthree", "one<P>two <F P=105>\nthree\n");
    assert_tokens("<?xml version=\"1.0\"?><!DOCTYPE a [<!ELEMENT a (b)>\n]><!-- <b> -- -->x", "x\n");
    assert_tokens("<![CDATA[<b> &amp; ]]]]>", "<b> &amp; ]]\n");
}

/* What is no tag and no known entity is text. */
static void tolerance(void **state)
{
    (void)state;
    assert_tokens("a < b <3 <", "a < b <3 <\n");
    assert_tokens("a <b c <d>e", "a <b c <d>e\n");
    assert_tokens("<never closed", "<never closed\n");
    assert_tokens("AT&T &amp;&lt;&GT;&quot;&apos; &hyph; &unknown; &; &", "AT&T &<>\"' - &unknown; &; &\n");
    assert_tokens("&#233;&#xE9;&#x1F600; &#0; &#xD800; &#x110000; &#-5; &#; &#x;",
                  "\xC3\xA9\xC3\xA9\xF0\x9F\x98\x80 &#0; &#xD800; &#x110000; &#-5; &#; &#x;\n");
}

static void lines(void **state)
{
    (void)state;
    tandem_markup *markup = NULL;
    tandem_markup_token token;
    assert_int_equal(tandem_markup_open(&markup, put_file("lines", "\n<!--\n\n-->\n<a\n>x\n<b>")), 0);
    do {
        assert_int_equal(tandem_markup_next(markup, &token), 0);
    } while (!tandem_markup_is(&token, TANDEM_MARKUP_OPEN, "A"));
    assert_int_equal(token.line, 5);
    do {
        assert_int_equal(tandem_markup_next(markup, &token), 0);
    } while (!tandem_markup_is(&token, TANDEM_MARKUP_OPEN, "b"));
    assert_int_equal(token.line, 7);
    tandem_markup_close(markup);
    char out[64];
    assert_fails(read_all(put_file("open.xml", "a\n<!-- b"), out, sizeof out),
                 "open.xml:2: the comment that begins here is not closed");
    assert_fails(read_all(put_file("open.xml", "<![CDATA[ b"), out, sizeof out),
                 "open.xml:1: the CDATA section that begins here is not closed");
}

static void attributes(void **state)
{
    (void)state;
    size_t length = 0;
    const char *list = "pid = '1' checked qid=\"a b\" Type=x/y";
    assert_memory_equal(tandem_markup_attribute(list, "pid", &length), "1", length);
    assert_int_equal(length, 1);
    assert_memory_equal(tandem_markup_attribute(list, "qid", &length), "a b", 3);
    assert_int_equal(length, 3);
    assert_memory_equal(tandem_markup_attribute(list, "type", &length), "x/y", 3);
    assert_int_equal(length, 3);
    assert_null(tandem_markup_attribute(list, "checked", &length));
    assert_null(tandem_markup_attribute(list, "id", &length));
    assert_null(tandem_markup_attribute("a=\"unclosed", "b", &length));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tags),
        cmocka_unit_test(tolerance),
        cmocka_unit_test(lines),
        cmocka_unit_test(attributes),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
