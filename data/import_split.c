/* import_split.c - which judgments belong to which split. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/import_private.h"
#include "tandem/random.h"

static int compare_numbers(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

/* ---- one link for a pair ------------------------------------------------------------------------ */
/* Brings together what concerns one query and document in one split: judgments, the highest
 * grade first, then negatives. */
static int by_pair(const void *a, const void *b)
{
    const import_link *x = a, *y = b;
    int order = compare_numbers(x->query, y->query);
    order = order ? order : compare_numbers(x->split, y->split);
    order = order ? order : compare_numbers(x->document, y->document);
    order = order ? order : x->negative - y->negative;
    order = order ? order : (x->grade < y->grade) - (x->grade > y->grade);
    return order ? order : compare_numbers(x->order, y->order);
}

static int by_order(const void *a, const void *b)
{
    const import_link *x = a, *y = b;
    int order = compare_numbers(x->query, y->query);
    return order ? order : compare_numbers(x->order, y->order);
}

static void sort_links(import_sink *sink, int (*compare)(const void *, const void *))
{
    if (sink->link_count > 0) {
        qsort(sink->links, sink->link_count, sizeof *sink->links, compare);
    }
}

int tandem_import_unite_links(import_sink *sink)
{
    size_t kept = 0;
    sort_links(sink, by_pair);
    for (size_t i = 0; i < sink->link_count; i++) {
        const import_link *link = &sink->links[i], *last = kept > 0 ? &sink->links[kept - 1] : NULL;
        bool same =
            last && last->query == link->query && last->split == link->split && last->document == link->document;
        if (same && last->negative == link->negative) {
            sink->report->repeated += !link->negative;
        } else if (!same || last->grade < 1) { /* what is relevant is no negative */
            sink->links[kept++] = *link;
        }
    }
    sink->link_count = kept;
    sort_links(sink, by_order);
    return TANDEM_OK;
}

/* ---- texts that are the same ------------------------------------------------------------------------ */
typedef struct {
    uint64_t content;
    uint32_t member; /* what has it: a text, or a split */
} content_of;

static int by_content(const void *a, const void *b)
{
    const content_of *x = a, *y = b;
    int order = compare_numbers(x->content, y->content);
    return order ? order : compare_numbers(x->member, y->member);
}

static void sort_contents(content_of *contents, size_t count)
{
    if (count > 0) {
        qsort(contents, count, sizeof *contents, by_content);
    }
}

static int count_same_documents(import_sink *sink)
{
    const import_side *side = &sink->documents;
    tandem_paged_array table = {.folder = sink->directory}; /* open addressing by content, 0 where empty */
    size_t size = side->slot_mask + 1;
    TANDEM_TRY(tandem_paged_array_reserve(&table, size * sizeof(uint64_t)));
    uint64_t *contents = table.data;
    for (size_t i = 0; i < side->count; i++) {
        uint64_t content = tandem_import_entry(side, i)->content;
        size_t slot = (size_t)content & (size - 1);
        while (contents[slot] != 0 && contents[slot] != content) {
            slot = (slot + 1) & (size - 1);
        }
        sink->report->twins += content != 0 && contents[slot] == content;
        contents[slot] = content != 0 ? content : contents[slot];
    }
    tandem_paged_array_free(&table);
    return TANDEM_OK;
}

/* Query texts with judgments in more than one split. */
static int count_shared_queries(import_sink *sink)
{
    content_of *contents = tandem_alloc(sink->link_count, sizeof *contents);
    size_t count = 0;
    uint64_t counted = 0; /* no text has this content */
    if (!contents) {
        return TANDEM_ERROR;
    }
    for (size_t i = 0; i < sink->link_count; i++) {
        const import_link *link = &sink->links[i];
        if (!link->negative) {
            contents[count++] = (content_of){tandem_import_entry(&sink->queries, link->query)->content, link->split};
        }
    }
    sort_contents(contents, count);
    for (size_t i = 1; i < count; i++) {
        bool shared = contents[i].content == contents[i - 1].content && contents[i].member != contents[i - 1].member;
        if (shared && contents[i].content != counted) {
            counted = contents[i].content;
            sink->report->shared_queries++;
        }
    }
    free(contents);
    return TANDEM_OK;
}

int tandem_import_count_twins(import_sink *sink)
{
    TANDEM_TRY(count_same_documents(sink));
    return count_shared_queries(sink);
}

/* ---- families -------------------------------------------------------------------------------------- */
/* Queries, and with by_document also their documents, as nodes of a forest: node i is query i,
 * node queries + i document i. */
typedef struct {
    import_sink *sink;
    uint8_t train;
    bool by_document;
    size_t queries, nodes;
    uint32_t *parent; /* [nodes]; NONE: not in the split */
    uint8_t *split;   /* [nodes] of a root: 1 + where its family goes, 0: train */
    struct family {
        uint64_t rank; /* the smallest hash of its units */
        uint32_t root;
        uint32_t units;
    } *families; /* sorted by rank */
    size_t family_count, units; /* a unit is what the user counts: a query or a document */
} forest;

static uint32_t find_root(forest *all, uint32_t node)
{
    while (all->parent[node] != node) {
        all->parent[node] = all->parent[all->parent[node]]; /* halves the path for the next time */
        node = all->parent[node];
    }
    return node;
}

static void unite(forest *all, uint32_t a, uint32_t b)
{
    a = find_root(all, a);
    b = find_root(all, b);
    all->parent[a < b ? b : a] = a < b ? a : b;
}

static void add_node(forest *all, uint32_t node)
{
    if (all->parent[node] == TANDEM_IMPORT_NONE) {
        all->parent[node] = node;
    }
}

static uint64_t node_content(const forest *all, size_t node)
{
    const import_sink *sink = all->sink;
    return node < all->queries ? tandem_import_entry(&sink->queries, node)->content
                               : tandem_import_entry(&sink->documents, node - all->queries)->content;
}

/* Nodes first .. end with the same text are of one family. */
static int unite_same_texts(forest *all, size_t first, size_t end)
{
    content_of *contents = tandem_alloc(end - first, sizeof *contents);
    size_t count = 0;
    if (!contents) {
        return TANDEM_ERROR;
    }
    for (size_t i = first; i < end; i++) {
        if (all->parent[i] != TANDEM_IMPORT_NONE) {
            contents[count++] = (content_of){node_content(all, i), (uint32_t)i};
        }
    }
    sort_contents(contents, count);
    for (size_t i = 1; i < count; i++) {
        if (contents[i].content == contents[i - 1].content) {
            unite(all, contents[i].member, contents[i - 1].member);
        }
    }
    free(contents);
    return TANDEM_OK;
}

static int build_forest(forest *all)
{
    import_sink *sink = all->sink;
    all->queries = sink->queries.count;
    all->nodes = all->queries + (all->by_document ? sink->documents.count : 0);
    if (all->nodes >= TANDEM_IMPORT_NONE) {
        return tandem_error("more than %u queries and documents", TANDEM_IMPORT_NONE);
    }
    all->parent = tandem_alloc(all->nodes, sizeof *all->parent);
    all->split = tandem_alloc(all->nodes, sizeof *all->split);
    if (!all->parent || !all->split) {
        return TANDEM_ERROR;
    }
    memset(all->parent, 0xFF, all->nodes * sizeof *all->parent); /* NONE */
    for (size_t i = 0; i < sink->link_count; i++) {
        const import_link *link = &sink->links[i];
        if (link->split != all->train || link->negative || link->grade < 1) {
            continue;
        }
        add_node(all, link->query);
        if (all->by_document) {
            uint32_t document = (uint32_t)all->queries + link->document;
            add_node(all, document);
            unite(all, link->query, document);
        }
    }
    TANDEM_TRY(unite_same_texts(all, 0, all->queries));
    return unite_same_texts(all, all->queries, all->nodes);
}

static int by_rank(const void *a, const void *b)
{
    const struct family *x = a, *y = b;
    int order = compare_numbers(x->rank, y->rank);
    return order ? order : compare_numbers(x->root, y->root);
}

/* Ranks come from the keys of the units alone, so that the order of the input does not matter. */
static int list_families(forest *all, uint64_t seed)
{
    size_t first = all->by_document ? all->queries : 0;
    const import_entry *entries = tandem_import_entry(all->by_document ? &all->sink->documents : &all->sink->queries, 0);
    uint32_t *number = tandem_alloc(all->nodes, sizeof *number); /* of the root's family, from 1 */
    all->families = tandem_alloc(all->nodes - first, sizeof *all->families);
    if (!number || !all->families) {
        free(number);
        return TANDEM_ERROR;
    }
    for (size_t i = first; i < all->nodes; i++) {
        if (all->parent[i] == TANDEM_IMPORT_NONE) {
            continue;
        }
        uint32_t root = find_root(all, (uint32_t)i);
        tandem_random stream = tandem_random_stream(seed, "hold-out", entries[i - first].key.low);
        uint64_t rank = tandem_random_next(&stream);
        if (number[root] == 0) {
            all->families[all->family_count++] = (struct family){rank, root, 0};
            number[root] = (uint32_t)all->family_count;
        }
        struct family *family = &all->families[number[root] - 1];
        family->rank = rank < family->rank ? rank : family->rank;
        family->units++;
        all->units++;
    }
    free(number);
    if (all->family_count > 0) {
        qsort(all->families, all->family_count, sizeof *all->families, by_rank);
    }
    return TANDEM_OK;
}

/* ---- hold-outs ------------------------------------------------------------------------------------------ */
/* Gives families to a split, in order and as long as they fit. */
static int deal(forest *all, const char *name, double wanted)
{
    uint8_t split = 0;
    if (wanted <= 0) {
        return TANDEM_OK;
    }
    TANDEM_TRY(tandem_sink_split(all->sink, name, &split));
    for (size_t i = 0; i < all->sink->link_count; i++) {
        if (all->sink->links[i].split == split) {
            return tandem_error_code(TANDEM_USAGE, "--%s: the input has a split \"%s\" of its own", name, name);
        }
    }
    double target = wanted < 1 ? nearbyint(wanted * (double)all->units) : wanted, left = target;
    for (size_t i = 0; i < all->family_count; i++) {
        struct family *family = &all->families[i];
        if (all->split[family->root] == 0 && (double)family->units <= left) {
            all->split[family->root] = (uint8_t)(split + 1);
            left -= family->units;
        }
    }
    const char *unit = all->by_document ? "documents" : "queries";
    if (target < 1 || left >= target || target > (double)all->units) {
        return tandem_error("--%s: %.15g of %zu %s with judgments in \"train\" cannot be held out", name, wanted,
                            all->units, unit);
    }
    return TANDEM_OK;
}

/* Where the family of a node goes; 0: it stays in train. */
static uint8_t split_of(forest *all, size_t node)
{
    return all->parent[node] == TANDEM_IMPORT_NONE ? 0 : all->split[find_root(all, (uint32_t)node)];
}

static void move_links(forest *all)
{
    import_sink *sink = all->sink;
    size_t kept = 0;
    for (size_t i = 0; i < sink->link_count; i++) {
        import_link link = sink->links[i];
        uint8_t split = link.split == all->train ? split_of(all, link.query) : 0;
        link.split = split > 0 ? (uint8_t)(split - 1) : link.split;
        /* Trained away from, a held-out document would be no fair test. */
        bool withheld = all->by_document && link.negative && link.split == all->train &&
                        split_of(all, all->queries + link.document) > 0;
        sink->report->withheld += withheld;
        if (!withheld) {
            sink->links[kept++] = link;
        }
    }
    sink->link_count = kept;
}

static int hold_out(forest *all, const tandem_import_options *options)
{
    TANDEM_TRY(tandem_sink_split(all->sink, "train", &all->train));
    TANDEM_TRY(build_forest(all));
    TANDEM_TRY(list_families(all, options->seed));
    if (options->dev + options->test > (double)all->units && (options->dev >= 1 || options->test >= 1)) {
        return tandem_error("--dev and --test take more than the %zu %s with judgments in \"train\"", all->units,
                            all->by_document ? "documents" : "queries");
    }
    TANDEM_TRY(deal(all, "test", options->test));
    TANDEM_TRY(deal(all, "dev", options->dev));
    move_links(all);
    return TANDEM_OK;
}

int tandem_import_hold_out(import_sink *sink)
{
    const tandem_import_options *options = sink->options;
    forest all = {.sink = sink, .by_document = options->by_document};
    if (options->dev <= 0 && options->test <= 0) {
        return TANDEM_OK;
    }
    int rc = hold_out(&all, options);
    free(all.parent);
    free(all.split);
    free(all.families);
    return rc;
}
