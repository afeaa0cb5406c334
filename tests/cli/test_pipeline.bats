#!/usr/bin/env bats
# tandem pipeline: its numbers are those of search, rerank and eval; the prompt; what it refuses.

bats_require_minimum_version 1.5.0

setup_file() {
    cd "$BATS_FILE_TMPDIR"
    export TANDEM_CACHE="$PWD/cache"
    python3 "$BATS_TEST_DIRNAME/make_tiny.py" tiny
    cat > cross.json <<'END'
{ "model": "tiny/model", "data": { "groups": "groups.jsonl", "negatives": 3 }, "max_length": 48, "batch_size": 8,
  "epochs": 1, "learning_rate": 1e-3, "loss": { "name": "softmax" } }
END
    "$TANDEM" -q mine --model bm25 --dataset tiny/data --relative-margin off -o groups.jsonl
    "$TANDEM" -q train cross cross.json -o cross
    cat > pipeline.json <<'END'
{ "dataset": "tiny/data", "split": "dev", "max_length": 48, "metrics": "ndcg@10,recall@20",
  "retrieve": { "models": "bm25,tiny/model", "weights": "2,1", "top": 30 },
  "rerank": { "model": "cross", "depth": 20 }, "cut": 5,
  "sweep": { "depths": "5,20,30", "queries": 3 } }
END
}

setup() {
    cd "$BATS_FILE_TMPDIR"
    export TANDEM_CACHE="$PWD/cache"
    here="$BATS_TEST_TMPDIR"
}

pipeline() {
    "$TANDEM" -q pipeline pipeline.json "$@"
}

# value FILE EXPRESSION: of the JSON in the file, j.
value() {
    python3 -c 'import json, sys; j = json.load(open(sys.argv[1])); print(eval(sys.argv[2]))' "$1" "$2"
}

@test "each stage's numbers are those of search, rerank and eval" {
    data=(--dataset tiny/data --max-length 48)
    "$TANDEM" -q search --model bm25 "${data[@]}" --split dev -k 30 -o "$here/bm25.run"
    "$TANDEM" -q search --model bm25 --model tiny/model --weight 2 --weight 1 "${data[@]}" --split dev -k 30 \
        -o "$here/joined.run"
    "$TANDEM" -q rerank --model cross "${data[@]}" --depth 20 --run "$here/joined.run" -o "$here/cross.run"
    pipeline --json -o "$here/final.run" > "$here/report.json"
    [ "$(value "$here/report.json" '[s["name"] for s in j["stages"]]')" = "['bm25', 'model', 'bm25+model', 'cross', 'cut']" ]
    for stage in 0:bm25 2:joined 3:cross 4:final; do
        "$TANDEM" eval tiny/data/qrels/dev.tsv "$here/${stage#*:}.run" -m ndcg@10,recall@20 --json > "$here/eval.json"
        python3 - "$here" "${stage%:*}" <<'END'
import json, sys
here, stage = sys.argv[1], int(sys.argv[2])
ours = json.load(open(f"{here}/report.json"))["stages"][stage]["metrics"]
theirs = json.load(open(f"{here}/eval.json"))["runs"][0]["metrics"]
for name, value in ours.items(): # equal but for how many digits are written
    assert abs(value - theirs[name]["mean"]) < 1e-12, (stage, name, value, theirs)
END
    done
    # The cut is the head of the reranked run, and the run that was written.
    awk '$4 <= 5 {print $1, $3, $4}' "$here/cross.run" > "$here/head"
    cut -d ' ' -f 1,3,4 "$here/final.run" | cmp - "$here/head"
    [ "$(value "$here/report.json" 'j["queries"]')" = 40 ]
    [ "$(value "$here/report.json" 'j["ceiling"]["reranked_recall"] == j["stages"][2]["metrics"]["recall@20"]')" = True ]
    [ "$(value "$here/report.json" 'j["stages"][3]["metrics"]["ndcg@10"] <= j["ceiling"]["ndcg@10"] < 1')" = True ]
    [ "$(value "$here/report.json" 'all(0 < s["latency_ms"]["p50"] <= s["latency_ms"]["p90"] <= s["latency_ms"]["p99"] for s in j["stages"][:4] + [j])')" = True ]
    run pipeline
    [[ "${lines[0]}" == "tiny/data, split dev: 40 queries, one at a time"* ]]
    [[ "$output" == *"no order of these 20 has ndcg@10 above 0."* ]]
}

@test "a sweep has every depth, and its front is what nothing beats" {
    pipeline --json --sweep > "$here/report.json"
    python3 - "$here/report.json" <<'END'
import json, sys
report = json.load(open(sys.argv[1]))
points = report["sweep"]
assert [(p["reranker"], p["depth"]) for p in points] == [(None, 0), ("cross", 5), ("cross", 20), ("cross", 30)]
assert points[0]["quality"] == report["stages"][2]["metrics"]["ndcg@10"]
assert points[2]["quality"] == report["stages"][3]["metrics"]["ndcg@10"]
for p in points:
    beaten = any(o["quality"] >= p["quality"] and o["latency_ms"]["p50"] <= p["latency_ms"]["p50"] and o is not p
                 for o in points)
    assert p["front"] != beaten, points
END
    run pipeline --sweep --set sweep.models=cross,cross --set sweep.depths=5
    [ "$(grep -c '^cross  *5 ' <<< "$output")" -eq 2 ]
}

@test "the weight of the stages is fitted on the dev split" {
    pipeline --json --sweep --set split=train --set rerank.dev_split=dev > "$here/report.json"
    "$TANDEM" -q search --model bm25 --model tiny/model --weight 2 --weight 1 --dataset tiny/data --max-length 48 \
        --split dev -k 30 -o "$here/dev.run"
    "$TANDEM" rerank --model cross --dataset tiny/data --max-length 48 --depth 20 --run "$here/dev.run" \
        --dev-run "$here/dev.run" -o "$here/out.run" 2> "$here/log"
    weight=$(sed -n 's/.*, weight \([0-9.]*\) gives.*/\1/p' "$here/log")
    [ "$(value "$here/report.json" 'format(j["weight"], ".2f")')" = "$weight" ]
    [ "$(value "$here/report.json" 'j["sweep"][2]["weight"] == j["weight"]')" = True ]
}

@test "the prompt answers each line with documents, snippets and times" {
    printf '%s\n\n%s\n' "t3w1 t3w2" "t7w0" > "$here/queries"
    pipeline -i --json < "$here/queries" > "$here/answers"
    [ "$(wc -l < "$here/answers")" -eq 2 ]
    python3 - "$here/answers" <<'END'
import json, sys
corpus = {}
for line in open("tiny/data/corpus.jsonl"):
    document = json.loads(line)
    corpus[document["_id"]] = document["text"]
for line, terms in zip(open(sys.argv[1]), (["t3w1", "t3w2"], ["t7w0"])):
    answer = json.loads(line)
    assert answer["query"] == " ".join(terms) and len(answer["results"]) == 5
    scores = [r["score"] for r in answer["results"]]
    assert scores == sorted(scores, reverse=True)
    for r in answer["results"]:
        assert r["snippet"] in corpus[r["id"]] and len(r["snippet"]) <= 200
    assert list(answer["ms"]) == ["total", "bm25", "model", "bm25+model", "cross"]
END
    run pipeline -i --set cut=1 < "$here/queries"
    [[ "$output" == *"  1  "*"1 documents, "*" ms: bm25 "*", cross "* ]]
}

@test "the config is checked, and its page lists every setting" {
    expect() { # STATUS MESSAGE OPTIONS...
        run "-$1" pipeline "${@:3}"
        [[ "$output" == *"$2"* ]]
    }
    expect 2 "rerank.depth is 40, but retrieve.top gives 30" --set rerank.depth=40
    expect 2 "retrieve.weights has 1 numbers for 2 models" --set retrieve.weights=1
    expect 2 "retrieve.weights: expected a number of 0 or more, found \"x\"" --set retrieve.weights=1,x
    expect 2 "retrieve.models: expected names with commas" --set retrieve.models=bm25,
    expect 2 "sweep.depths: expected numbers from 1 to retrieve.top 30, found \"31\"" --sweep --set sweep.depths=31
    expect 2 "did you mean" --set retrieve.modls=bm25
    expect 2 "goes with neither --sweep nor --output" -i --sweep
    expect 1 "no split \"test\"" --set split=test
    expect 1 "no-such-model" --set rerank.model=no-such-model
    echo '{}' > "$here/empty.json"
    run -2 "$TANDEM" pipeline "$here/empty.json"
    [[ "$output" == *'"dataset" is missing'* ]]
    pipeline --json > "$here/report.json"
    value "$here/report.json" \
        '"\n".join(a if not isinstance(v, dict) else "\n".join(f"{a}.{b}" for b in v) for a, v in j["settings"].items())' > "$here/keys"
    sed -n 's/^| `\([a-z_.0-9]*\)` .*/\1/p' "$TANDEM_SOURCE/docs/pipeline.md" | diff - "$here/keys"
}
