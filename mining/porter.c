/* porter.c - Porter's stemmer: five steps, each a table of suffixes. */
#include "mining/porter.h"

#include <stdbool.h>
#include <string.h>

/* `length` is that of the whole word; a stem is the word up to some length. */
typedef struct {
    char *text;
    size_t length;
} word;

static bool is_consonant(const char *text, size_t i)
{
    switch (text[i]) {
    case 'a':
    case 'e':
    case 'i':
    case 'o':
    case 'u':
        return false;
    case 'y':
        return i == 0 || !is_consonant(text, i - 1);
    default:
        return true;
    }
}

/* The paper's m: how often a vowel is followed by a consonant in the first `length`
 * letters, [C](VC)^m[V]. */
static size_t measure(const char *text, size_t length)
{
    size_t m = 0;
    bool vowel_before = false;
    for (size_t i = 0; i < length; i++) {
        bool consonant = text[i] == 'y' ? i == 0 || vowel_before : is_consonant(text, i);
        m += consonant && vowel_before;
        vowel_before = !consonant;
    }
    return m;
}

static bool has_vowel(const char *text, size_t length) { /* *v* */
    for (size_t i = 0; i < length; i++) {
        if (!is_consonant(text, i)) {
            return true;
        }
    }
    return false;
}

static bool ends_double_consonant(const char *text, size_t length) { /* *d */
    return length >= 2 && text[length - 1] == text[length - 2] && is_consonant(text, length - 1);
}

static bool ends_cvc(const char *text, size_t length) { /* *o: the last one not w, x or y */
    if (length < 3 || !is_consonant(text, length - 1) || is_consonant(text, length - 2) ||
        !is_consonant(text, length - 3)) {
        return false;
    }
    char last = text[length - 1];
    return last != 'w' && last != 'x' && last != 'y';
}

/* True, with the length of the stem before it, when the word ends in `suffix`. */
static bool ends(const word *w, const char *suffix, size_t *stem)
{
    size_t length = strlen(suffix);
    if (length > w->length || memcmp(w->text + w->length - length, suffix, length) != 0) {
        return false;
    }
    *stem = w->length - length;
    return true;
}

typedef struct {
    const char *suffix, *replacement;
} rule;

/* The first rule whose suffix fits decides; it applies when the stem's measure is
 * above `above`. Every replacement is shorter than or as long as its suffix. */
static void apply(word *w, const rule *rules, size_t count, size_t above)
{
    for (size_t i = 0; i < count; i++) {
        size_t stem;
        if (ends(w, rules[i].suffix, &stem)) {
            if (measure(w->text, stem) > above) {
                size_t length = strlen(rules[i].replacement);
                memcpy(w->text + stem, rules[i].replacement, length);
                w->length = stem + length;
            }
            return;
        }
    }
}

#define COUNT(rules) (sizeof(rules) / sizeof *(rules))

static void plurals(word *w) { /* step 1a */
    size_t stem;
    if (ends(w, "sses", &stem) || ends(w, "ies", &stem)) {
        w->length -= 2;
    } else if (!ends(w, "ss", &stem) && ends(w, "s", &stem)) {
        w->length = stem;
    }
}

static void past_and_gerund(word *w) { /* step 1b */
    size_t stem;
    if (ends(w, "eed", &stem)) {
        if (measure(w->text, stem) > 0) {
            w->length--;
        }
        return;
    }
    if (!(ends(w, "ed", &stem) || ends(w, "ing", &stem)) || !has_vowel(w->text, stem)) {
        return;
    }
    w->length = stem;
    size_t unused;
    if (ends(w, "at", &unused) || ends(w, "bl", &unused) || ends(w, "iz", &unused)) {
        w->text[w->length++] = 'e';
    } else if (ends_double_consonant(w->text, stem)) {
        w->length -= strchr("lsz", w->text[stem - 1]) == NULL;
    } else if (measure(w->text, stem) == 1 && ends_cvc(w->text, stem)) {
        w->text[w->length++] = 'e';
    }
}

static void final_y(word *w) { /* step 1c */
    size_t stem;
    if (ends(w, "y", &stem) && has_vowel(w->text, stem)) {
        w->text[stem] = 'i';
    }
}

static void double_suffixes(word *w) { /* step 2 */
    static const rule rules[] = {
        {"ational", "ate"}, {"tional", "tion"}, {"enci", "ence"},   {"anci", "ance"},   {"izer", "ize"},
        {"bli", "ble"},     {"alli", "al"},     {"entli", "ent"},   {"eli", "e"},       {"ousli", "ous"},
        {"ization", "ize"}, {"ation", "ate"},   {"ator", "ate"},    {"alism", "al"},    {"iveness", "ive"},
        {"fulness", "ful"}, {"ousness", "ous"}, {"aliti", "al"},    {"iviti", "ive"},   {"biliti", "ble"},
        {"logi", "log"},
    };
    apply(w, rules, COUNT(rules), 0);
}

static void simple_suffixes(word *w) { /* step 3 */
    static const rule rules[] = {
        {"icate", "ic"}, {"ative", ""}, {"alize", "al"}, {"iciti", "ic"}, {"ical", "ic"}, {"ful", ""}, {"ness", ""},
    };
    apply(w, rules, COUNT(rules), 0);
}

static void remaining_suffixes(word *w) { /* step 4 */
    static const rule rules[] = {
        {"al", ""},   {"ance", ""}, {"ence", ""}, {"er", ""},   {"ic", ""}, {"able", ""}, {"ible", ""},
        {"ant", ""},  {"ement", ""}, {"ment", ""}, {"ent", ""}, {"ou", ""}, {"ism", ""},  {"ate", ""},
        {"iti", ""},  {"ous", ""},  {"ive", ""},  {"ize", ""},
    };
    size_t stem;
    if (ends(w, "ion", &stem)) { /* only after s or t, which belong to the measured stem */
        if (stem > 0 && strchr("st", w->text[stem - 1]) && measure(w->text, stem) > 1) {
            w->length = stem;
        }
        return;
    }
    apply(w, rules, COUNT(rules), 1);
}

static void tidy(word *w) { /* step 5 */
    size_t stem;
    if (ends(w, "e", &stem)) {
        size_t m = measure(w->text, stem);
        if (m > 1 || (m == 1 && !ends_cvc(w->text, stem))) {
            w->length = stem;
        }
    }
    if (ends(w, "ll", &stem) && measure(w->text, w->length) > 1) {
        w->length--;
    }
}

size_t tandem_porter_stem(char *text, size_t length)
{
    word w = {text, length};
    if (length > 2) {
        plurals(&w);
        past_and_gerund(&w);
        final_y(&w);
        double_suffixes(&w);
        simple_suffixes(&w);
        remaining_suffixes(&w);
        tidy(&w);
    }
    return w.length;
}
