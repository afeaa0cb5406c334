#!/usr/bin/env bats
# tandem data import: from the command line to a dataset that data check takes.

setup() {
    cd "$BATS_TEST_TMPDIR"
    printf 'query,positive\n"what, exactly, rises?",tides\n"what falls?","stones\nand rain"\n' > pairs.csv
}

@test "pairs become a dataset, and the report goes to stderr" {
    "$TANDEM" data import --from pairs pairs.csv -o out > stdout 2> stderr
    [ ! -s stdout ]
    [ "$(cat stderr)" = "out: 2 documents, 2 queries
split train: 2 queries, 2 judgments" ]
    [ "$(cat out/corpus.jsonl)" = '{"_id": "d1", "title": "", "text": "tides"}
{"_id": "d2", "title": "", "text": "stones\nand rain"}' ]
    [ "$(cat out/qrels/train.tsv)" = "$(printf 'query-id\tcorpus-id\tscore\nq1\td1\t1\nq2\td2\t1')" ]
    run "$TANDEM" data check out
    [ "$status" -eq 0 ]
}

@test "stdin, gzip and --quiet" {
    gzip -k pairs.csv
    "$TANDEM" data import -q --from pairs pairs.csv.gz -o packed 2> stderr
    [ ! -s stderr ]
    "$TANDEM" data import -q --from pairs - --layout csv -o piped < pairs.csv
    diff -r packed piped
}

@test "--json prints the same facts as one object" {
    printf 'q\td\t1\nq\te\t0\n \td\t1\nr\td\t\nr\td\t2\nr\td\t2\n' > l.tsv
    "$TANDEM" data import --json --from labelled test=l.tsv --columns query=1,document=2,label=3 -o out > report 2> stderr
    [ ! -s stderr ]
    "$TANDEM_PYTHON" - <<'PYTHON'
import json
report = json.load(open("report"))
assert report.pop("splits") == [{"name": "test", "queries": 2, "judgments": 2}]
told = {key: value for key, value in report.items() if value}
assert told == {"dataset": "out", "documents": 2, "queries": 2, "joined_documents": 3, "joined_queries": 2, "empty": 1, "lost": 1,
                "unlabelled": 1, "repeated": 1}, told
PYTHON
}

@test "a failed import leaves the dataset that was there, and nothing else" {
    "$TANDEM" data import -q --from pairs pairs.csv -o out
    cp -r out before
    printf 'query,positive\na,b\n"c' > bad.csv
    run "$TANDEM" data import --from pairs bad.csv -o out
    [ "$status" -eq 1 ]
    [ "$output" = "tandem: bad.csv:3: the quoted field that begins here is not closed" ]
    diff -r out before
    [ "$(ls -A)" = "$(printf 'bad.csv\nbefore\nout\npairs.csv')" ]
}

@test "an interrupt leaves nothing behind" {
    seq 100000000 | sed 's/.*/query &\tdocument &/' | "$TANDEM" data import --from pairs - --layout tsv --columns query=1,positive=2 -o out 2> stderr &
    pid=$!
    until [ -s .out.tmp-*/corpus.jsonl ] || [ -s .out.tmp-*/.corpus.jsonl.tmp-* ]; do sleep 0.1; done 2> /dev/null
    kill -TERM $pid
    status=0
    wait $pid || status=$?
    [ "$status" -eq 130 ]
    [ "$(cat stderr)" = "tandem: interrupted: nothing was written" ]
    [ "$(ls -A)" = "$(printf 'pairs.csv\nstderr')" ]
}

@test "wrong usage is exit 2" {
    run "$TANDEM" data import --from paris pairs.csv -o out
    [ "$status" -eq 2 ]
    [ "$output" = 'tandem: --from: unknown format "paris"; did you mean "pairs"?' ]
    run "$TANDEM" data import --from pairs pairs.csv
    [ "$status" -eq 2 ]
    run "$TANDEM" data import --from trec pairs.csv -o out
    [ "$status" -eq 2 ]
    run "$TANDEM" data import --from pairs pairs.csv --separator ab -o out
    [ "$status" -eq 2 ]
    [ "$output" = 'tandem: --separator: expected one character or "tab", found "ab"' ]
    [ ! -e out ]
}

@test "hold-outs follow from seed and texts" {
    seq 100 | sed 's/.*/query &\tdocument &/' > forwards.tsv
    sort -r forwards.tsv > backwards.tsv
    for name in forwards backwards; do
        "$TANDEM" data import -q --from pairs $name.tsv --columns query=1,positive=2 --dev 0.1 --test 20 --seed 7 -o $name
        # the texts of the test queries
        cut -f1 $name/qrels/test.tsv | tail -n +2 | while read -r id; do grep -F "\"$id\"," $name/queries.jsonl; done | sed 's/.*"text"//' | sort > $name.test
        [ "$(tail -n +2 $name/qrels/dev.tsv | wc -l)" -eq 10 ]
        [ "$(wc -l < $name.test)" -eq 20 ]
    done
    diff forwards.test backwards.test
}

# Counts that the data sets' own descriptions give, or that their files show to awk and grep: documents,
# then queries/judgments of each split.
@test "every data set of the development data becomes a sound dataset" {
    [ -d "$TANDEM_SHARED/data" ] || skip "no development data"
    "$TANDEM_SOURCE/scripts/import_datasets.sh" "$TANDEM_SHARED" sets > table
    sed 's/  */ /g' table > found
    cat > expected <<'TABLE'
scifact 5183 documents test 300/339 train 809/919
msmarco 5000 documents test 43/4102
cranfield 1398 documents test 225/1836
cacm 3204 documents test 52/796
fairytaleqa 4095 documents dev 1025/1133 test 1007/1104 train 8548/9503
banking77 77 documents test 3079/3079 train 9999/9999
stsbenchmark 8019 documents dev 262/263 test 309/338 train 1378/1394
TABLE
    while read -r line; do
        grep -qxF "$line" found || { echo "missing: $line"; cat found; false; }
    done < expected
    # Those with hold-outs: documents and all judgments.
    awk '{ sum = 0; for (i = 4; i <= NF; i++) if (split($i, part, "/") == 2) sum += part[2]; print $1, $2, sum }' found > sums
    for line in "squad 2067 10570" "medquad 15817 16359" "covidfaq 67 1447" "tldr 31181 31652" "quora 19407 7585" "nqg 13447 22363"; do
        grep -qxF "$line" sums || { echo "missing: $line"; cat sums; false; }
    done
    [ "$(zstdcat sets/quora/groups.jsonl.zst | wc -l)" -gt 5000 ]
}
