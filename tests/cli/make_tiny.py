"""make_tiny.py FOLDER: a two-layer random BERT in FOLDER/model, one with a classifier in FOLDER/cross and a small
dataset in FOLDER/data, for tests that need a model that trains in milliseconds. Python's own library alone; the same bytes every time."""
import json
import pathlib
import random
import struct
import sys

HIDDEN, LAYERS, INTERMEDIATE, POSITIONS, TOPICS, WORDS = 32, 2, 64, 64, 80, 4
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
VOCAB = SPECIAL + [f"t{topic}w{word}" for topic in range(TOPICS) for word in range(WORDS)]
rng = random.Random(1)


def weights():
    """(name, shape) of every weight of a BertModel."""
    yield "embeddings.word_embeddings.weight", [len(VOCAB), HIDDEN]
    yield "embeddings.position_embeddings.weight", [POSITIONS, HIDDEN]
    yield "embeddings.token_type_embeddings.weight", [2, HIDDEN]
    yield from norm("embeddings.LayerNorm")
    for i in range(LAYERS):
        layer = f"encoder.layer.{i}"
        for part in ("query", "key", "value"):
            yield from linear(f"{layer}.attention.self.{part}", HIDDEN, HIDDEN)
        yield from linear(f"{layer}.attention.output.dense", HIDDEN, HIDDEN)
        yield from norm(f"{layer}.attention.output.LayerNorm")
        yield from linear(f"{layer}.intermediate.dense", INTERMEDIATE, HIDDEN)
        yield from linear(f"{layer}.output.dense", HIDDEN, INTERMEDIATE)
        yield from norm(f"{layer}.output.LayerNorm")
    yield from linear("pooler.dense", HIDDEN, HIDDEN)


def linear(name, rows, columns):
    return [(f"{name}.weight", [rows, columns]), (f"{name}.bias", [rows])]


def norm(name):
    return [(f"{name}.weight", [HIDDEN]), (f"{name}.bias", [HIDDEN])]


def values(name, shape):
    count = shape[0] * (shape[1] if len(shape) > 1 else 1)
    if name.endswith("LayerNorm.weight"):
        return [1.0] * count
    return [rng.gauss(0, 0.1) for _ in range(count)]


def write_model(folder, head=()):
    folder.mkdir(parents=True)
    header, data = {}, b""
    for name, shape in (*weights(), *head):
        begin = len(data)
        numbers = values(name, shape)
        data += struct.pack(f"<{len(numbers)}f", *numbers)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [begin, len(data)]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)
    config = {"architectures": ["BertForSequenceClassification" if head else "BertModel"], "id2label": {"0": "LABEL_0"},
              "model_type": "bert", "hidden_size": HIDDEN, "num_hidden_layers": LAYERS,
              "num_attention_heads": 4, "intermediate_size": INTERMEDIATE, "vocab_size": len(VOCAB),
              "max_position_embeddings": POSITIONS, "type_vocab_size": 2, "hidden_act": "gelu", "layer_norm_eps": 1e-12,
              "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1, "initializer_range": 0.02, "pad_token_id": 0,
              "position_embedding_type": "absolute"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer()))


def tokenizer():
    def special(name, kind):
        return {"SpecialToken": {"id": name, "type_id": kind}}

    added = [{"id": i, "content": name, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
              "special": True} for i, name in enumerate(SPECIAL)]
    single = [special("[CLS]", 0), {"Sequence": {"id": "A", "type_id": 0}}, special("[SEP]", 0)]
    template = {"type": "TemplateProcessing", "single": single,
                "pair": single + [{"Sequence": {"id": "B", "type_id": 1}}, special("[SEP]", 1)],
                "special_tokens": {name: {"id": name, "ids": [SPECIAL.index(name)], "tokens": [name]} for name in ("[CLS]", "[SEP]")}}
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added,
            "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None,
                           "lowercase": True},
            "pre_tokenizer": {"type": "BertPreTokenizer"}, "post_processor": template,
            "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
            "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                      "max_input_chars_per_word": 100, "vocab": {word: i for i, word in enumerate(VOCAB)}}}


def text(topic, length):
    """Mostly words of the topic, some of any."""
    return " ".join(f"t{topic if rng.random() < 0.7 else rng.randrange(TOPICS)}w{rng.randrange(WORDS)}" for _ in range(length))


def write_dataset(folder, documents, queries):
    """A query is answered by the documents of its topic."""
    corpus = [{"_id": f"d{i}", "title": "", "text": text(i % TOPICS, rng.randint(5, 30))} for i in range(documents)]
    (folder / "qrels").mkdir(parents=True)
    lines = {"train": [], "dev": []}
    asked = []
    for i in range(queries):
        asked.append({"_id": f"q{i}", "text": text(i % TOPICS, rng.randint(3, 8))})
        relevant = range(i % TOPICS, documents, TOPICS)
        lines["dev" if i % 4 == 3 else "train"] += [f"q{i}\td{d}\t1" for d in relevant]
    for name, rows in (("corpus", corpus), ("queries", asked)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for split, rows in lines.items():
        (folder / f"qrels/{split}.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(f"{row}\n" for row in rows))


out = pathlib.Path(sys.argv[1])
write_model(out / "model")
write_dataset(out / "data", 240, 160)
write_model(out / "cross", linear("classifier", 1, HIDDEN))
