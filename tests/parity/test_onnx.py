"""Exports against their own source: onnxruntime within 1e-4 of PyTorch, batches of one and many, lengths 1 to
the limit; transformers.js uses the directory as it is."""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

try:
    import numpy as np
    import onnx
    import onnxruntime
    import torch
    import transformers
    from sentence_transformers import SentenceTransformer
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

TANDEM = os.environ["TANDEM"]
SOURCE = pathlib.Path(os.environ["TANDEM_SOURCE"])
BASE = SOURCE / ".venv/all-MiniLM-L6-v2"
# Both engines compute in float32; through six layers their sums differ in order only.
TOLERANCE = 1e-4
torch.manual_seed(7)


def export(model, out):
    subprocess.run([TANDEM, "export", "--model", str(model), "-o", str(out)], check=True)
    onnx.checker.check_model(str(out / "onnx/model.onnx"))
    return onnxruntime.InferenceSession(str(out / "onnx/model.onnx"), providers=["CPUExecutionProvider"])


def batches(vocab, limit, types):
    """Random ids: batches of one and many, lengths 1, 2, odd, the limit, and ragged ones padded."""
    random = np.random.default_rng(3)
    for count, length in ((1, 1), (1, 2), (1, limit), (3, 17), (8, 33), (2, limit)):
        ids = random.integers(5, vocab, (count, length))
        mask = np.ones((count, length), np.int64)
        for row in range(1, count):
            mask[row, max(1, length * row // count):] = 0
        kinds = np.zeros_like(mask)
        if types > 1:
            kinds[:, length // 2:] = 1
        yield ids.astype(np.int64), mask, kinds


def feed(ids, mask, kinds):
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": kinds}


def check(name, difference):
    print(f"{name}: largest difference {difference:.2e}")
    assert difference <= TOLERANCE, f"{name}: {difference} > {TOLERANCE}"


def pooled(hidden, mask, mode):
    """sentence-transformers' pooling modes, by their definitions."""
    m = mask[..., None].astype(np.float64)
    hidden = hidden.astype(np.float64)
    if mode == "cls":
        return hidden[:, 0]
    if mode == "max":
        return np.where(m > 0, hidden, -np.inf).max(1)
    if mode == "lasttoken":
        return hidden[np.arange(len(hidden)), mask.sum(1) - 1]
    if mode == "weightedmean_tokens":
        w = m * np.arange(1, mask.shape[1] + 1)[None, :, None]
        return (hidden * w).sum(1) / w.sum(1)
    total = (hidden * m).sum(1)
    return total / (np.sqrt(m.sum(1)) if mode == "mean_sqrt_len_tokens" else m.sum(1))


def bi_encoder(directory, work, mode, normalize):
    session = export(directory, work / f"onnx-{directory.name}-{mode}")
    reference = transformers.AutoModel.from_pretrained(directory).eval()
    config = reference.config
    assert [o.name for o in session.get_outputs()] == ["last_hidden_state", "sentence_embedding"]
    assert [i.shape for i in session.get_inputs()] == [["batch_size", "sequence_length"]] * 3
    worst = 0.0
    for ids, mask, kinds in batches(config.vocab_size, config.max_position_embeddings, config.type_vocab_size):
        hidden, embedding = session.run(None, feed(ids, mask, kinds))
        with torch.no_grad():
            expected = reference(input_ids=torch.tensor(ids), attention_mask=torch.tensor(mask), token_type_ids=torch.tensor(kinds)).last_hidden_state.numpy()
        attended = mask[..., None] > 0
        worst = max(worst, np.abs((hidden - expected) * attended).max())
        vectors = pooled(expected, mask, mode)
        if normalize:
            vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        worst = max(worst, np.abs(embedding - vectors).max())
    check(f"{directory.name} {mode}", worst)


def tiny(work, name, classify, **settings):
    """A small random BERT with the tokenizer of the real one."""
    config = transformers.BertConfig(hidden_size=48, num_hidden_layers=2, num_attention_heads=3, intermediate_size=80,
                                     max_position_embeddings=64, initializer_range=0.3, **settings)
    cls = transformers.BertForSequenceClassification if classify else transformers.BertModel
    directory = work / name
    cls(config).eval().save_pretrained(directory)
    for file in ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json"):
        shutil.copy(BASE / file, directory / file)
    return directory


MODES = ["cls", "max", "mean_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken"]


def pooling_directory(work, mode):
    directory = tiny(work, f"tiny-{mode}", False)
    names = ["cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken"]
    key = {"cls": "cls_token", "max": "max_tokens"}.get(mode, mode)
    (directory / "1_Pooling").mkdir()
    (directory / "1_Pooling/config.json").write_text(json.dumps(
        {"word_embedding_dimension": 48, "include_prompt": True, **{f"pooling_mode_{n}": n == key for n in names}}))
    (directory / "modules.json").write_text(json.dumps([
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}]))
    return directory


def cross_encoder(work, labels):
    directory = tiny(work, f"cross-{labels}", True, num_labels=labels)
    session = export(directory, work / f"onnx-cross-{labels}")
    reference = transformers.AutoModelForSequenceClassification.from_pretrained(directory).eval()
    assert [o.name for o in session.get_outputs()] == ["logits"]
    worst = 0.0
    for ids, mask, kinds in batches(reference.config.vocab_size, 64, 2):
        with torch.no_grad():
            expected = reference(input_ids=torch.tensor(ids), attention_mask=torch.tensor(mask), token_type_ids=torch.tensor(kinds)).logits.numpy()
        (logits,) = session.run(None, feed(ids, mask, kinds))
        assert logits.shape == expected.shape
        worst = max(worst, np.abs(logits - expected).max())
    check(f"cross-encoder, {labels} labels", worst)


TEXTS = ["A man is eating food.", "tokens, punctuation -- and Ünïcödé", "x", "within " * 200, "beyond " * 400]


def whole_directory(work):
    """The exported directory of the real model in sentence-transformers and transformers.js."""
    out = work / f"onnx-{BASE.name}-mean_tokens"
    expected = SentenceTransformer(str(BASE), device="cpu").encode(TEXTS)
    again = SentenceTransformer(str(out), device="cpu").encode(TEXTS)
    check("the directory in sentence-transformers", np.abs(expected - again).max())
    js = SOURCE / ".venv/js/node_modules/@huggingface/transformers"
    if not js.exists():
        print("skipped: transformers.js is not installed")
        return
    script = SOURCE / "tests/js/embed.mjs"
    env = dict(os.environ, TRANSFORMERS_JS=str(js), MODEL=str(out))
    answer = subprocess.run(["node", str(script)], input=json.dumps(TEXTS), env=env, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    vectors = np.array(json.loads(answer.stdout)["embeddings"])
    # transformers.js cuts a text over the limit after adding special tokens, and so drops
    # [SEP] where tokenizers keeps it: it is compared on the texts within the limit.
    check("transformers.js, feature-extraction with its own pooling", np.abs(vectors - expected)[:-1].max())


with tempfile.TemporaryDirectory() as folder:
    work = pathlib.Path(folder)
    if BASE.exists():
        bi_encoder(BASE, work, "mean_tokens", True)
        whole_directory(work)
        for mode in MODES:
            bi_encoder(pooling_directory(work, mode), work, mode, False)
        for labels in (1, 3):
            cross_encoder(work, labels)
    else:
        print("skipped: no base model")
        sys.exit(77)
print("ok")
