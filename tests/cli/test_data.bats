#!/usr/bin/env bats
# tandem data check: what it prints, and when it fails.

setup() {
    cd "$BATS_TEST_TMPDIR"
    mkdir -p good/qrels
    printf '%s\n' '{"_id": "d1", "title": "Tides", "text": "rise and fall"}' '{"_id": "d2", "text": "moons"}' > good/corpus.jsonl
    printf '%s\n' '{"_id": "q1", "text": "what rises?"}' > good/queries.jsonl
    printf 'query-id\tcorpus-id\tscore\nq1\td1\t1\nq1\td2\t0\n' > good/qrels/test.tsv
}

# A tokenizer that knows five words.
put_tokenizer() {
    mkdir -p model
    cat > model/tokenizer.json <<'JSON'
{"version": "1.0", "truncation": null, "padding": null, "added_tokens": [
  {"id": 0, "content": "[CLS]", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true},
  {"id": 1, "content": "[SEP]", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true}],
 "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null, "lowercase": true},
 "pre_tokenizer": {"type": "BertPreTokenizer"},
 "post_processor": {"type": "TemplateProcessing",
  "single": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "[SEP]", "type_id": 0}}],
  "pair": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "[SEP]", "type_id": 0}},
           {"Sequence": {"id": "B", "type_id": 1}}, {"SpecialToken": {"id": "[SEP]", "type_id": 1}}],
  "special_tokens": {"[CLS]": {"id": "[CLS]", "ids": [0], "tokens": ["[CLS]"]}, "[SEP]": {"id": "[SEP]", "ids": [1], "tokens": ["[SEP]"]}}},
 "decoder": null,
 "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
  "vocab": {"[CLS]": 0, "[SEP]": 1, "[UNK]": 2, "rise": 3, "##s": 4, "and": 5, "fall": 6, "what": 7}}}
JSON
}

@test "a sound dataset: statistics, exit 0" {
    run "$TANDEM" data check good
    [ "$status" -eq 0 ]
    [ "$output" = "               count     min      5%     25%     50%     75%     95%     99%     max  (bytes)
documents          2       5       5       5       5      19      19      19      19
queries            1      11      11      11      11      11      11      11      11
split test: 1 queries, 2 judgments, 1 of them relevant
0 errors, 0 warnings" ]
}

@test "problems by line, exit 1" {
    printf '%s\n' '{"_id": "d1", "text": "again"}' '{"_id": "d3"' >> good/corpus.jsonl
    printf 'q1\td9\t1\nq1\td1\tx\n' >> good/qrels/test.tsv
    run "$TANDEM" data check good
    [ "$status" -eq 1 ]
    [ "${lines[0]}" = 'corpus.jsonl:3: error: duplicate _id "d1" (first on line 1)' ]
    [[ "${lines[1]}" == 'corpus.jsonl:4: error: at byte '*': invalid JSON'* ]]
    [ "${lines[2]}" = 'qrels/test.tsv:4: error: document "d9" is not in corpus.jsonl' ]
    [ "${lines[3]}" = 'qrels/test.tsv:5: error: expected an integer grade, found "x"' ]
    [[ "$output" == *"4 errors, 0 warnings"* ]]
    [[ "$output" == *"tandem: good: 4 errors" ]]
    "$TANDEM" data check good 2> err > out || true
    [ "$(cat err)" = "tandem: good: 4 errors" ]
}

@test "zstd files are read, and a cut one is told" {
    zstd -q --rm good/corpus.jsonl
    zstd -q --rm good/qrels/test.tsv
    run "$TANDEM" data check good
    [ "$status" -eq 0 ]
    head -c 20 good/corpus.jsonl.zst > cut
    mv cut good/corpus.jsonl.zst
    run "$TANDEM" data check good
    [ "$status" -eq 1 ]
    [[ "${lines[0]}" == "corpus.jsonl: error: "* ]]
}

@test "lengths in tokens, and truncation at the limit asked for" {
    put_tokenizer
    run "$TANDEM" data check good --model model --max-length 5
    [ "$status" -eq 0 ]
    # [CLS] [UNK] rise and fall [SEP]; [CLS] [UNK] [SEP]; [CLS] what rise ##s [UNK] [SEP]
    [ "${lines[1]}" = "documents          2       3       3       3       3       6       6       6       6" ]
    [ "${lines[2]}" = "queries            1       6       6       6       6       6       6       6       6" ]
    [ "${lines[3]}" = "longer than 5 tokens: 1 documents (50.0 %), 1 queries (100.0 %)" ]
}

@test "the limit comes from the model's files" {
    put_tokenizer
    run "$TANDEM" data check good --model model
    [[ "$output" != *"longer than"* ]]
    echo '{"max_position_embeddings": 7}' > model/config.json
    run "$TANDEM" data check good --model model
    [[ "$output" == *"longer than 7 tokens: 0 documents"* ]]
    echo '{"max_seq_length": 4, "do_lower_case": false}' > model/sentence_bert_config.json
    run "$TANDEM" data check good --model model
    [[ "$output" == *"longer than 4 tokens: 1 documents"* ]]
    [ "$status" -eq 0 ]
}

@test "--json prints one object with the same facts" {
    echo '{"_id": "d 3", "text": "\u0022"}' >> good/corpus.jsonl
    "$TANDEM" data check good --json > out
    "$TANDEM_PYTHON" - <<'PYTHON'
import json
report = json.load(open("out"))
assert report["dataset"] == "good"
assert (report["errors"], report["warnings"], report["documents"], report["queries"]) == (0, 1, 3, 1)
assert report["lengths"]["unit"] == "bytes"
assert report["lengths"]["documents"]["quantiles"] == [1, 1, 1, 5, 19, 19, 19, 19]
assert report["splits"] == [{"name": "test", "queries": 1, "judgments": 2, "relevant": 1}]
assert report["counts"] == {"space-in-id": 1}
assert report["problems"] == [{"file": "corpus.jsonl", "line": 3, "level": "warning", "code": "space-in-id",
                               "message": '_id "d 3" holds white space, which TREC run files cannot hold'}]
PYTHON
}

@test "--json: a problem of a whole file has no line" {
    rm -r good/qrels
    "$TANDEM" data check good --json > out
    "$TANDEM_PYTHON" - <<'PYTHON'
import json
report = json.load(open("out"))
assert report["problems"] == [{"file": "qrels", "line": None, "level": "warning", "code": "no-split",
                               "message": "no split: no file qrels/NAME.tsv"}]
PYTHON
}

@test "--strict takes warnings for errors" {
    echo '{"_id": "q2", "text": "RISE  and fall?"}' >> good/queries.jsonl
    run "$TANDEM" data check good
    [ "$status" -eq 0 ]
    [ "${lines[0]}" = 'queries.jsonl:2: warning: _id "q2" is judged in no split' ]
    run "$TANDEM" data check good --strict
    [ "$status" -eq 1 ]
    [ "${lines[0]}" = 'queries.jsonl:2: error: _id "q2" is judged in no split' ]
    [[ "$output" == *"1 error, 0 warnings"* ]]
    [[ "$output" == *"tandem: good: 1 error" ]]
    run "$TANDEM" data check good --strict --json
    [ "$status" -eq 1 ]
    [[ "$output" == *'"errors": 1, "warnings": 0'* ]]
    [[ "$output" == *'"level": "error", "code": "unjudged-query"'* ]]
    sed -i '$d' good/queries.jsonl
    run "$TANDEM" data check good --strict
    [ "$status" -eq 0 ]
}

@test "of each kind a hundred problems are listed, one a line" {
    for i in $(seq 130); do echo "{\"_id\": \"e\\n$i\", \"text\": \"\"}"; done >> good/corpus.jsonl
    run "$TANDEM" data check good
    [ "$status" -eq 1 ]
    [ "${lines[0]}" = 'corpus.jsonl:3: warning: _id "e\x0A1" holds white space, which TREC run files cannot hold' ]
    [ "${lines[1]}" = 'corpus.jsonl:3: error: _id "e\x0A1" has an empty text' ]
    [ "$(grep -c '^corpus.jsonl:[0-9]*: ' <<< "$output")" -eq 200 ]
    [ "${lines[200]}" = "... and 30 more of empty-text" ]
    [ "${lines[201]}" = "... and 30 more of space-in-id" ]
    [[ "$output" == *"130 errors, 130 warnings"* ]]
    "$TANDEM" data check good --json > out || true
    "$TANDEM_PYTHON" -c 'import json; report = json.load(open("out")); assert report["counts"] == {"empty-text": 130, "space-in-id": 130} and len(report["problems"]) == 200'
}

@test "wrong usage is exit 2, a missing folder exit 1" {
    run "$TANDEM" data check good --max-length 5
    [ "$status" -eq 2 ]
    [ "$output" = "tandem: --max-length counts tokens: it needs --model" ]
    run "$TANDEM" data check
    [ "$status" -eq 2 ]
    run "$TANDEM" data check nowhere
    [ "$status" -eq 1 ]
    [[ "$output" == "tandem: nowhere: no such directory"* ]]
}

@test "data cloze makes groups that a seed decides" {
    mkdir -p data
    for d in $(seq 9); do
        printf '{"_id": "d%s", "text": "The king of land %s had one child. She went to the well of wood %s. There sat a frog with crown %s. He asked her for a kiss %s times."}\n' $d $d $d $d $d
    done >data/corpus.jsonl
    echo '{"_id": "q", "text": "unused"}' >data/queries.jsonl
    TANDEM_CACHE=off "$TANDEM" data cloze data --groups 5 -o a.jsonl
    TANDEM_CACHE=off "$TANDEM" data cloze data --groups 5 -o b.jsonl --threads 1
    TANDEM_CACHE=off "$TANDEM" data cloze data --groups 5 --seed 14 -o c.jsonl
    [ "$(wc -l <a.jsonl)" -eq 5 ]
    cmp a.jsonl b.jsonl
    ! cmp -s a.jsonl c.jsonl
    run "$TANDEM" data cloze data --keep 2 -o d.jsonl
    [ "$status" -eq 2 ]
    [[ "$output" == *"--keep"* ]]
}
