/* fuzz_import.c - any bytes as a file to import. The first byte chooses the format and its layout; what
 * is taken must be linked consistently. The texts go to /dev/null. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "data/import_private.h"
#include "fuzz.h"

#define TREC "<DOC><DOCNO> 1 </DOCNO><HEAD>T &amp; U</HEAD><TEXT>a <P>b &#233;</TEXT></DOC>\n" \
             "<top><num> Number: 1\n<title> Topic: a\n<desc> b </top>\n<!-- c --><![CDATA[d]]>"

const tandem_fuzz_seed tandem_fuzz_seeds[] = {
    TANDEM_FUZZ_SEED("a" TREC),
    TANDEM_FUZZ_SEED("b.I 1\n.T\ntitle\n.W\ntext\n.I 2\n.W\nmore\n"),
    TANDEM_FUZZ_SEED("c1\t2\t1\n2\t1\t2\n"),
    TANDEM_FUZZ_SEED("d{\"data\": [{\"title\": \"a_b\", \"paragraphs\": [{\"context\": \"c\", \"qas\": [{\"id\": "
                     "\"q\", \"question\": \"?\", \"is_impossible\": false}]}]}]}"),
    TANDEM_FUZZ_SEED("equery\tpositive\tnegative\nq\tp\tn\nq\tn\tp\n"),
    TANDEM_FUZZ_SEED("fquery,positive,negative\r\n\"q \"\"x\"\"\",p,\"n\nm\"\r\nr,\"p,\",n\n"),
    TANDEM_FUZZ_SEED("g{\"query\": \"q\", \"positive\": [\"p\", {\"text\": \"p2\"}], \"negative\": 3.5}\n"),
    TANDEM_FUZZ_SEED(
        "h[{\"query\": \"q\", \"positive\": \"p\", \"negative\": null}, {\"query\": \"r\", \"positive\": \"p\"}]"),
    TANDEM_FUZZ_SEED(
        "i<a><r query='q'><positive>p</positive><negative>n &lt;</negative><query>s</query></r>\n<r/></a>"),
    {NULL, 0},
};

/* A folder in which both outputs are /dev/null, made once. */
static const char *sink_folder(void)
{
    static char folder[] = "/tmp/tandem-fuzz-XXXXXX", path[64];
    static const char *made;
    static const char *const names[] = {"corpus.jsonl", "queries.jsonl"};
    if (made) {
        return made;
    }
    if (!mkdtemp(folder)) {
        abort();
    }
    for (size_t i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        if (symlink("/dev/null", path) != 0) {
            abort();
        }
    }
    return made = folder;
}

static void remove_folder(void)
{
    tandem_dir_remove(sink_folder());
}

static void check(const import_sink *sink)
{
    for (size_t i = 0; i < sink->link_count; i++) {
        const import_link *link = &sink->links[i];
        if (link->query >= sink->queries.count || link->document >= sink->documents.count ||
            link->split >= sink->split_count || tandem_import_entry(&sink->queries, link->query)->content == 0 ||
            tandem_import_entry(&sink->documents, link->document)->content == 0) {
            abort();
        }
    }
    if (sink->documents.written > sink->documents.count || sink->queries.written > sink->queries.count) {
        abort();
    }
}

static void read_with(const tandem_import_options *options, int (*read)(import_sink *sink))
{
    tandem_import_report report = {0};
    import_sink sink = {.options = options, .directory = sink_folder(), .report = &report};
    if (tandem_sink_open(&sink) == 0 && read(&sink) == 0 && tandem_import_unite_links(&sink) == 0) {
        (void)tandem_import_hold_out(&sink);
        if (tandem_import_count_twins(&sink) != 0) {
            abort();
        }
        check(&sink);
    }
    tandem_sink_close(&sink);
}

static void read_as(unsigned kind, const char *path)
{
    static int (*const readers[])(import_sink * sink) = {tandem_import_trec, tandem_import_smart, tandem_import_msmarco,
                                                         tandem_import_squad};
    static const tandem_table_layout layouts[] = {TANDEM_LAYOUT_TSV, TANDEM_LAYOUT_CSV, TANDEM_LAYOUT_JSONL,
                                                  TANDEM_LAYOUT_JSON, TANDEM_LAYOUT_XML};
    tandem_import_paths paths = {&path, 1};
    tandem_import_options options = {.sources = paths,
                                     .documents = paths,
                                     .queries = paths,
                                     .qrels = paths,
                                     .triples = paths,
                                     .record = "r",
                                     .dev = 0.3,
                                     .test = 0.3,
                                     .by_document = kind % 2 == 0};
    if (kind < 4) {
        options.format = kind == 0   ? TANDEM_IMPORT_TREC
                         : kind == 1 ? TANDEM_IMPORT_SMART
                         : kind == 2 ? TANDEM_IMPORT_MSMARCO
                                     : TANDEM_IMPORT_SQUAD;
        read_with(&options, readers[kind]);
    } else {
        options.format = TANDEM_IMPORT_TRIPLES;
        options.layout = layouts[kind - 4];
        read_with(&options, tandem_import_table);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool registered;
    char path[64];
    if (size == 0) {
        return 0;
    }
    if (!registered) {
        registered = true;
        atexit(remove_folder);
    }
    int file = memfd_create("import", 0);
    if (file < 0 || write(file, data + 1, size - 1) != (ssize_t)(size - 1)) {
        abort();
    }
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    read_as((unsigned)(data[0] + 9 - 'a' % 9) % 9, path);
    close(file);
    return 0;
}
