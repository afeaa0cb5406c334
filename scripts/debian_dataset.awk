# Debian's package index -> a BEIR folder. Reads Translation-en files, then Packages
# files (as `apt-get update` leaves them); -v out=DIR -v documents=N -v train=N -v dev=N -v test=N.
# Query: a package's synopsis. Document: its long description. The package's own name is
# removed from both, so that the task is meaning and not string matching.

function hash(text,    i, h) { # a small fixed hash: the same selection on every machine
    h = 7
    for (i = 1; i <= length(text); i++) h = (h * 31 + ord[substr(text, i, 1)]) % 1000003
    return (h * 7919 + 12345) % 1000003
}
function squeezed(word) { # letters and digits alone
    word = tolower(word)
    gsub(/[^a-z0-9]/, "", word)
    return word
}
function json(text) {
    gsub(/\\/, "&&", text)
    gsub(/"/, "\\\"", text)
    gsub(/[\001-\037]/, " ", text)
    return "\"" text "\""
}
# `text` without the words that are the package's or its source's name, with or without
# the usual prefix or suffix of a binary package.
function without_names(text, package, source,    names, n, i, words, kept, bare) {
    delete names
    names[squeezed(package)]; names[squeezed(source)]
    bare = package
    sub(/^(lib|python3?-|ruby-|golang-|node-|r-cran-|php-|fonts-)/, "", bare)
    sub(/(-perl|-java|-utils|-tools|-bin|[0-9.]+)$/, "", bare)
    if (length(squeezed(bare)) > 2) names[squeezed(bare)]
    n = split(text, words, /[ \t]+/)
    kept = ""
    for (i = 1; i <= n; i++)
        if (words[i] != "" && !(squeezed(words[i]) != "" && squeezed(words[i]) in names))
            kept = kept (kept == "" ? "" : " ") words[i]
    return kept
}

BEGIN {
    for (i = 1; i < 256; i++) ord[sprintf("%c", i)] = i
}

# ---- Translation-en: md5 -> synopsis and long description ---------------------------
FILENAME ~ /Translation-en$/ {
    if ($0 ~ /^Description-md5: /) { md5 = substr($0, 18); next }
    if ($0 ~ /^Description-en: /) { synopsis[md5] = substr($0, 17); in_text = 1; next }
    if (in_text && $0 ~ /^ /) {
        line = substr($0, 2)
        if (line == ".") line = ""
        long_text[md5] = long_text[md5] (long_text[md5] == "" ? "" : " ") line
        next
    }
    in_text = 0
    next
}

# ---- Packages: which descriptions become documents -------------------------------------
/^Package: /         { package = substr($0, 10); source = package }
/^Source: /          { source = $2 }
/^Description-md5: / { md5 = substr($0, 18) }
/^$/ {
    if (package != "" && !(package in seen)) {
        seen[package]
        consider(package, source, md5)
    }
    package = ""
}
function consider(package, source, md5,    text, title, key, n, words) {
    # Families: development files, documentation, debugging symbols, data, translations.
    if (package ~ /(-dev|-doc|-docs|-dbg|-dbgsym|-data|-common|-examples|-l10n(-.*)?|-locales|-source|-headers.*|-modules.*)$/) return
    if (source ~ /^(linux|linux-signed.*|gcc-.*|llvm-.*|texlive-.*|libreoffice|hunspell|task-.*|tasksel|.*-dict.*)$/) return
    text = long_text[md5]; title = synopsis[md5]
    if (text == "" || title ~ /transitional|dummy|metapackage|meta-package|meta package/ || text ~ /[Tt]ransitional|[Mm]eta-?package|dummy package/) return
    gsub(/[ \t]+/, " ", text)
    text = without_names(text, package, source)
    title = without_names(title, package, source)
    n = split(title, words, " ")
    if (n < 3 || length(text) < 160) return
    # Siblings share their opening, their synopsis or their source: one of each stays.
    key = tolower(substr(text, 1, 60))
    if (key in openings || tolower(title) in titles || source in sources) return
    openings[key]; titles[tolower(title)]; sources[source]
    count++
    names[count] = package
    source_of[count] = source
    text_of[count] = text
    title_of[count] = title
}

END {
    # The order of a hash of the source package decides who is in and in which split.
    for (i = 1; i <= count; i++) bucket[hash(source_of[i])] = bucket[hash(source_of[i])] " " i
    for (h = 0; h < 1000003 && chosen < documents; h++) {
        if (!(h in bucket)) continue
        n = split(bucket[h], items, " ")
        for (j = 1; j <= n && chosen < documents; j++) {
            i = items[j]
            chosen++
            print "{\"_id\":" json(names[i]) ",\"title\":\"\",\"text\":" json(text_of[i]) "}" > (out "/corpus.jsonl")
            split_name = chosen <= test ? "test" : chosen <= test + dev ? "dev" : chosen <= test + dev + train ? "train" : ""
            if (split_name == "") continue
            print "{\"_id\":" json("q-" names[i]) ",\"text\":" json(title_of[i]) "}" > (out "/queries.jsonl")
            if (!(split_name in started)) print "query-id\tcorpus-id\tscore" > (out "/qrels/" split_name ".tsv")
            started[split_name]
            print "q-" names[i] "\t" names[i] "\t1" > (out "/qrels/" split_name ".tsv")
        }
    }
    if (chosen < test + dev + train) {
        print "only " chosen + 0 " usable package descriptions, " test + dev + train " are needed" > "/dev/stderr"
        exit 1
    }
}
