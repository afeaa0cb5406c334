"""Hard negatives from the bi-encoder beside sentence-transformers' mine_hard_negatives: both encode queries and documents and
search exactly; tandem is a process from start to end with no cache, the peer has its model loaded."""

import json

from side import Row, answer, in_turns, median, python_worker, require, run_program, timed


def worker(model_path, data_path, threads, limit):
    import torch
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.util import mine_hard_negatives

    torch.set_num_threads(int(threads))
    model = SentenceTransformer(model_path, device="cpu")
    model.max_seq_length = int(limit)
    with open(data_path, encoding="utf-8") as file:
        pairs, texts = json.load(file)

    def mine():
        dataset = Dataset.from_dict({"anchor": [pair[0] for pair in pairs], "positive": [pair[1] for pair in pairs]})
        return mine_hard_negatives(dataset, model, corpus=texts, range_max=20, num_negatives=3, sampling_strategy="top", batch_size=32,
                                   use_faiss=False, verbose=False)

    def measure(_):
        mined, wall = timed(mine)
        return {"wall": wall, "count": len(mined)}

    answer(measure)


def rows(context):
    require("datasets", "sentence_transformers")

    limit = context.size(256, 256, 32)
    pairs = context.pairs()[:context.size(100, 10, 5)]
    texts = list(dict.fromkeys([document for _, document in pairs] + context.texts(context.size(500, 40, 30))))
    data = context.folder / "pairs.json"
    data.write_text(json.dumps([pairs, texts]))
    dataset = context.folder / "dataset"
    write_dataset(dataset, pairs, texts)
    command = [context.tandem, "-q", "mine", "--model", context.needed(context.model, "model"), "--dataset", dataset, "--range", "0:20",
               "--negatives", 3, "--relative-margin", "off", "--max-length", limit, "--threads", context.threads, "-o",
               context.folder / "groups.jsonl"]
    with python_worker("mining", context.model, data, context.threads, limit, HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="true") as peer:
        turns = in_turns({"tandem": lambda: run_program(command, TANDEM_CACHE="off"), "peer": peer}, context.size(5, 1, 1), warm=0)
    yield Row("mine", f"{len(pairs):,} queries, {len(texts):,} documents", "s", median(turns["tandem"], "wall"),
              "sentence-transformers", median(turns["peer"], "wall"))


def write_dataset(folder, pairs, texts):
    (folder / "qrels").mkdir(parents=True)
    place = {text: i for i, text in enumerate(texts)}
    with open(folder / "corpus.jsonl", "w", encoding="utf-8") as file:
        file.writelines(json.dumps({"_id": f"d{i}", "title": "", "text": text}) + "\n" for i, text in enumerate(texts))
    with open(folder / "queries.jsonl", "w", encoding="utf-8") as file:
        file.writelines(json.dumps({"_id": f"q{i}", "text": query}) + "\n" for i, (query, _) in enumerate(pairs))
    judged = "".join(f"q{i}\td{place[document]}\t1\n" for i, (_, document) in enumerate(pairs))
    (folder / "qrels" / "train.tsv").write_text("query-id\tcorpus-id\tscore\n" + judged)
