/* tokenizer_vocab.c - BERT's older form of a tokenizer: vocab.txt, one token a line, its
 * id the number of the line. */
#include <stdlib.h>
#include <string.h>

#include "data/tokenizer_parts.h"
#include "data/unicode.h"
#include "tandem/file.h"
#include "tandem/json.h"
#include "tandem/memory.h"

typedef struct {
    tandem_arena *arena;    /* the text of the tokens */
    tandem_strmap *indices; /* token -> its entry */
    tandem_vocab_entry *entries;
    size_t count, capacity;
} vocab_list;

/* Length of the line without the white space at its end. */
static size_t trimmed(const char *line, size_t length)
{
    while (length > 0) {
        uint32_t c;
        size_t size = tandem_unicode_decode_before(line, length, &c);
        if (!(tandem_unicode_find(c)->flags & TANDEM_UNICODE_SPACE)) {
            break;
        }
        length -= size;
    }
    return length;
}

/* A token that comes again keeps its last id. */
static int add_line(vocab_list *list, const char *line, size_t length, uint32_t id)
{
    size_t size = trimmed(line, length), existing = 0;
    const char *text = tandem_arena_strndup(list->arena, line, size);
    if (!text) {
        return TANDEM_ERROR;
    }
    int added = tandem_strmap_add(list->indices, text, size, list->count, &existing);
    TANDEM_TRY(added);
    if (added == 0) {
        list->entries[existing].id = id;
        return TANDEM_OK;
    }
    void *entries = list->entries;
    int rc = tandem_grow(&entries, &list->capacity, list->count + 1, sizeof *list->entries);
    list->entries = entries;
    TANDEM_TRY(rc);
    list->entries[list->count++] = (tandem_vocab_entry){.text = text, .length = size, .id = id};
    return TANDEM_OK;
}

static int read_lines(vocab_list *list, const char *path)
{
    tandem_lines *lines = NULL;
    TANDEM_TRY(tandem_lines_open(&lines, path));
    int rc;
    char *line;
    size_t length;
    for (uint32_t id = 0; (rc = tandem_lines_next(lines, &line, &length)) == 1; id++) {
        if (id >= INT32_MAX - 1 || tandem_utf8_invalid(line, length) < length) {
            rc = tandem_error("%s:%zu: %s", path, tandem_lines_number(lines),
                              id >= INT32_MAX - 1 ? "too many tokens" : "invalid UTF-8");
            break;
        }
        TANDEM_TRY_GOTO(rc, done, add_line(list, line, length, id));
    }
done:
    tandem_lines_close(lines);
    return rc;
}

/* What transformers makes of a BERT tokenizer's settings, and its defaults. */
static int read_rules(tandem_bert_rules *rules, const char *directory)
{
    rules->clean_text = rules->ideographs = rules->lowercase = rules->strip_accents = true;
    char *path = tandem_path_join(directory, "tokenizer_config.json");
    if (!path) {
        return TANDEM_ERROR;
    }
    struct cJSON *config = NULL;
    int rc = tandem_json_read(&config, path);
    if (rc == TANDEM_OK) {
        TANDEM_TRY_GOTO(rc, done, tandem_json_get_bool_or(config, "do_lower_case", path, &rules->lowercase));
        rules->strip_accents = rules->lowercase; /* what null means */
        TANDEM_TRY_GOTO(rc, done, tandem_json_get_bool_or(config, "strip_accents", path, &rules->strip_accents));
        rc = tandem_json_get_bool_or(config, "tokenize_chinese_chars", path, &rules->ideographs);
    }
done:
    tandem_json_free(config);
    free(path);
    return rc == TANDEM_NOT_FOUND ? TANDEM_OK : rc;
}

/* [CLS] and [SEP] are needed, the others taken where the vocabulary has them. */
static int add_specials(tandem_tokenizer *tokenizer, const char *source)
{
    static const char *const names[] = {"[CLS]", "[SEP]", "[UNK]", "[PAD]", "[MASK]"};
    const tandem_added_token flags = {0};
    uint32_t ids[5];
    for (size_t i = 0; i < 5; i++) {
        ids[i] = tandem_wordpiece_find(tokenizer->model.wordpiece, names[i], strlen(names[i]));
        if (ids[i] != TANDEM_NO_TOKEN) {
            TANDEM_TRY(tandem_tokenizer_add_token(tokenizer, names[i], &flags, source, &ids[i]));
        } else if (i < 2) {
            return tandem_error("%s: the vocabulary has no %s", source, names[i]);
        }
    }
    tokenizer->pad_id = ids[3] == TANDEM_NO_TOKEN ? 0 : ids[3];
    return tandem_post_processor_set_bert(&tokenizer->processor, ids[0], ids[1]);
}

static int fill(tandem_tokenizer *tokenizer, vocab_list *list, const char *directory, const char *vocab_path)
{
    const tandem_wordpiece_settings settings = {.unk = "[UNK]", .prefix = "##", .max_chars = 100};
    tandem_bert_rules rules = {0};
    TANDEM_TRY(read_rules(&rules, directory));
    TANDEM_TRY(tandem_pre_tokenizers_add_bert(&tokenizer->pre_tokenizers, tokenizer->hasher));
    TANDEM_TRY(tandem_normalizers_add_bert(&tokenizer->normalizers, rules, tokenizer->hasher));
    TANDEM_TRY(read_lines(list, vocab_path));
    TANDEM_TRY(tandem_wordpiece_from(&tokenizer->model.wordpiece, list->entries, list->count, &settings, vocab_path));
    tandem_wordpiece_hash(tokenizer->model.wordpiece, tokenizer->hasher);
    TANDEM_TRY(add_specials(tokenizer, vocab_path));
    return tandem_tokenizer_finish(tokenizer, vocab_path);
}

int tandem_tokenizer_read_vocab(tandem_tokenizer **out, const char *directory, const char *vocab_path)
{
    vocab_list list = {.arena = tandem_arena_new(), .indices = tandem_strmap_new(32768)};
    tandem_tokenizer *tokenizer = tandem_tokenizer_new(vocab_path);
    int rc = tokenizer && list.arena && list.indices ? fill(tokenizer, &list, directory, vocab_path) : TANDEM_ERROR;
    tandem_strmap_free(list.indices);
    tandem_arena_free(list.arena);
    free(list.entries);
    if (rc < 0) {
        tandem_tokenizer_free(tokenizer);
        return rc;
    }
    *out = tokenizer;
    return TANDEM_OK;
}
