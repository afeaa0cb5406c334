#!/usr/bin/env bats
# tandem report: on an output of `tandem run` made by hand, with texts that would break a careless page.

bats_require_minimum_version 1.5.0

setup_file() {
    cd "$BATS_FILE_TMPDIR"
    python3 - <<'END'
import json, os, random
rng = random.Random(1)
for folder in ("data/qrels", "out/runs", "out/models/bi-encoder", "out/mined"):
    os.makedirs(folder)
evil = "</script><script>alert(1)</script><img src=x onerror=alert(1)> & \"double\" 'single' <!-- </style></title></svg>"
with open("data/corpus.jsonl", "w") as out:
    for i in range(40):
        print(json.dumps({"_id": f"d{i}", "title": evil if i % 3 == 0 else "", "text": f"document {i} \u0001\u0085 {evil}"}), file=out)
with open("data/queries.jsonl", "w") as out, open("data/qrels/test.tsv", "w") as qrels:
    for i in range(30):
        print(json.dumps({"_id": f"q{i}", "text": f"query {'long ' * i}{evil}"}), file=out)
        for j in range(1 + i % 4):
            print(f"q{i}\td{(i + j) % 40}\t1", file=qrels)
names = ["BM25", "<i>zero</i>&shot", "reranked"]
for name, file, strength in zip(names, ("a", "b", "c"), (1, 2, 4)):
    with open(f"out/runs/{file}.run", "w") as out:
        for i in range(30):
            for d in rng.sample(range(40), 20):
                near = (d - i) % 40 < 1 + i % 4
                print(f"q{i} Q0 d{d} 0 {rng.random() + strength * near * 0.3:.6f} r", file=out)
systems = [{"name": name, "run": f"runs/{file}.run", "metrics": {"ndcg@10": {} if i == 0 else {"against": {"system": names[i - 1]}}}}
           for i, (name, file) in enumerate(zip(names, "abc"))]
json.dump({"dataset": "data", "split": "test", "seed": 13, "cpu": evil, "systems": systems}, open("out/results.json", "w"))
with open("out/models/bi-encoder/metrics.jsonl", "w") as out:
    print(json.dumps({"event": "start", "seed": 13}), file=out)
    for step in range(1, 1001):
        loss = None if step == 7 else 2 / step + rng.random()
        print(json.dumps({"event": "step", "step": step, "loss": loss, "learning_rate": 1e-5 * step, "tokens": 100, "seconds": 0.5}), file=out)
        if step % 250 == 0:
            print(json.dumps({"event": "dev", "step": step, "ndcg@10": step / 2000, "seconds": 1}), file=out)
with open("groups.jsonl", "w") as out:
    for i in range(10):
        print(json.dumps({"query_id": f"q{i}", "query": "x", "positives": [{"id": "d0", "text": evil, "score": 0.5}],
                          "negatives": [{"id": f"d{j}", "text": f"n {j}", "score": 0.4 - j / 100} for j in range(1, 4)]}), file=out)
END
    zstd -q groups.jsonl -o out/mined/bi-encoder.jsonl.zst
    "$TANDEM" report out -o page.html
}

setup() {
    cd "$BATS_FILE_TMPDIR"
}

@test "the page is well-formed, escaped, accessible and loads nothing" {
    python3 "$BATS_TEST_DIRNAME/check_report.py" page.html > text
    grep -qF "</script><script>alert(1)</script><img src=x onerror=alert(1)> & \"double\" 'single' <!-- </style></title></svg>" text
    grep -q 'reranked against <i>zero</i>&shot' text
    run ! grep -P '\x01' page.html
}

@test "its numbers are those of tandem eval" {
    "$TANDEM" eval data/qrels/test.tsv out/runs/b.run out/runs/c.run -m ndcg@10,map --compare --json > eval.json
    "$TANDEM" report out -m ndcg@10,map -o numbers.html
    python3 - <<'END'
import json
page = open("numbers.html").read()
runs = json.load(open("eval.json"))["runs"]
for run in runs:
    for metric in run["metrics"].values():
        assert "<td>%.4f<small>%.4f–%.4f</small></td>" % (metric["mean"], metric["low"], metric["high"]) in page
for metric in runs[1]["metrics"].values():
    d = metric["difference"]
    assert "<td>%+.4f<small>%+.4f to %+.4f</small></td>" % (d["mean"], d["low"], d["high"]) in page
    assert "<td>%d / %d / %d</td>" % (d["wins"], d["ties"], d["losses"]) in page
END
}

@test "it shows what the output holds: curves, margins, examples" {
    python3 "$BATS_TEST_DIRNAME/check_report.py" page.html > text
    grep -q '1000 steps in 500 s, 200 tokens/s' text
    grep -q 'ndcg@10 on dev: best 0.5000 at step 1000' text
    # margins of 0.11, 0.12, 0.13, ten each
    grep -q '30 negatives of 10 queries (0 without any). Margin: median 0.12, 5 % below 0.11, 95 % below 0.13; 0 negatives' text
    grep -q 'Of 73 relevant documents' text # 1 + i % 4 of 30 queries
    grep -qE 'relevant, rank ([0-9]+|none) → ([0-9]+|none):' text
    grep -q 'first after, not judged relevant:' text
    rm -rf bare && mkdir bare && cp -r out/runs out/results.json bare
    "$TANDEM" report bare -o bare.html
    run ! grep -qE 'id="(training|mined)"' bare.html
}

@test "runs alone make a page too, with ids where there are no texts" {
    "$TANDEM" report --qrels data/qrels/test.tsv --run out/runs/a.run --run out/runs/c.run --run out/runs/a.run -o - > runs.html
    python3 "$BATS_TEST_DIRNAME/check_report.py" runs.html > text
    grep -q 'c.run against a.run' text
    grep -q 'a.run does not differ significantly from a.run' text # no query differs
    run ! grep -q characters text
    "$TANDEM" report out --run out/runs/a.run -o more.html
    grep -q '<h2 id="pair-3">a.run against BM25</h2>' more.html
}

@test "one query is enough" {
    head -2 data/qrels/test.tsv > one.tsv
    "$TANDEM" report --qrels one.tsv --run out/runs/a.run --run out/runs/c.run --dataset data -o one.html 2> /dev/null
    python3 "$BATS_TEST_DIRNAME/check_report.py" one.html > text
    run ! grep -qiE 'nan|inf[^o]' text
}

@test "the same input gives the same bytes" {
    "$TANDEM" report out -o - | cmp - page.html
}

@test "what is missing or broken is named" {
    run -1 "$TANDEM" report data -o x.html
    [[ "$output" == *"data/results.json: no such file"* ]]
    rm -rf moved && cp -r out moved
    sed -i 's/"dataset": "data"/"dataset": "gone"/' moved/results.json
    run -1 "$TANDEM" report moved -o x.html
    [[ "$output" == *"gone"*"--dataset says where it is now"* ]]
    "$TANDEM" report moved --dataset data -o moved.html
    echo '{"event": 7}' >> moved/models/bi-encoder/metrics.jsonl
    run -1 "$TANDEM" report moved --dataset data -o x.html
    [[ "$output" == *"moved/models/bi-encoder/metrics.jsonl:1006"* ]]
    run -2 "$TANDEM" report -o x.html
    run -2 "$TANDEM" report --run out/runs/a.run -o x.html
    run -2 "$TANDEM" report out -m ncdg -o x.html
    [ ! -e x.html ]
}

# console PAGE: what a browser logs while it loads the page
console() {
    timeout 300 "$browser" --headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run --allow-file-access-from-files \
        --user-data-dir="$BATS_FILE_TMPDIR/browser" --virtual-time-budget=2000 --enable-logging=stderr --v=0 --dump-dom \
        "file://$BATS_FILE_TMPDIR/$1" 2> log > dom
    grep CONSOLE log || true
}

@test "a browser loads it without a word, and it fits a width of 380 pixels" {
    browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome) || skip "no Chromium"
    sed 's/<details>/<details open>/' page.html > open.html
    # The page in a frame of a phone's width; the frame's own scripts are ours. A script in the page would be refused
    # with a message: the second page shows that messages are seen.
    for page in open refused; do
        cat > "frame-$page.html" <<END
<!DOCTYPE html><iframe width="380" height="800" src="$page.html" onload="document.body.dataset.width =
this.contentDocument.documentElement.scrollWidth"></iframe>
END
    done
    sed 's/<main>/<main><script>1<\/script>/' open.html > refused.html
    [ -z "$(console frame-open.html)" ]
    width=$(grep -oE 'data-width="[0-9]+"' dom | grep -oE '[0-9]+')
    [ "$width" -ge 360 ] && [ "$width" -le 380 ]
    [ -n "$(console frame-refused.html)" ]
}
