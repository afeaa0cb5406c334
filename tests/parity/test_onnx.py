"""Exports against their own source: onnxruntime within 1e-4 of PyTorch, for every family and what follows its encoder,
batches of one and many, lengths 1 to the limit; transformers.js uses the directory as it is."""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

from tiny_models import np, randomize, save, torch, transformers
from test_model_families import CONFIGS, VOCAB, length_limit

try:
    import onnx
    import onnxruntime
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Dense, LayerNorm, Normalize, Pooling, Transformer
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

TANDEM = os.environ["TANDEM"]
SOURCE = pathlib.Path(os.environ["TANDEM_SOURCE"])
BASE = SOURCE / ".venv/all-MiniLM-L6-v2"
# Both engines compute in float32; through six layers their sums differ in order only.
TOLERANCE = 1e-4
torch.manual_seed(7)
worst = {}


def export(model, out):
    subprocess.run([TANDEM, "-q", "export", "--model", str(model), "-o", str(out)], check=True)
    onnx.checker.check_model(str(out / "onnx/model.onnx"), full_check=True)
    return onnxruntime.InferenceSession(str(out / "onnx/model.onnx"), providers=["CPUExecutionProvider"])


def batches(vocab, limit, types):
    """Random ids, that of padding among them: batches of one and many, lengths 1, 2, odd, the limit, and ragged ones padded."""
    random = np.random.default_rng(3)
    for count, length in ((1, 1), (1, 2), (1, limit), (3, min(17, limit)), (8, min(33, limit)), (2, limit)):
        ids = random.integers(0, vocab, (count, length))
        mask = np.ones((count, length), np.int64)
        for row in range(1, count):
            mask[row, max(1, length * row // count):] = 0
        kinds = np.zeros_like(mask)
        if types > 1:
            kinds[:, length // 2:] = 1
        yield ids.astype(np.int64), mask, kinds


def check(name, difference):
    assert difference <= TOLERANCE, f"{name}: {difference} > {TOLERANCE}"
    worst[name] = max(worst.get(name, 0.0), float(difference))


def inputs_of(session, ids, mask, kinds):
    given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": kinds}
    return {i.name: given[i.name] for i in session.get_inputs() if i.name in given}


def torch_inputs(named):
    return {name: torch.tensor(value) for name, value in named.items()}


# ---- every family ---------------------------------------------------------------------------------


def family_directory(work, name, settings, loader, **more):
    config = transformers.AutoConfig.for_model(name, **settings, **more)
    model = randomize(loader.from_config(config, attn_implementation="eager"))
    return config, model, pathlib.Path(save(model, config.max_position_embeddings, str(work / "model")))


def family(work, name, settings):
    label = f"{name}: hidden states and mean"
    config, model, directory = family_directory(work, name, settings, transformers.AutoModel)
    session = export(directory, work / "bi")
    assert [o.name for o in session.get_outputs()] == ["last_hidden_state", "sentence_embedding"]
    assert [i.shape for i in session.get_inputs()] == [["batch_size", "sequence_length"]] * len(session.get_inputs())
    assert len(session.get_inputs()) == (3 if name in ("bert", "electra") else 2)
    for ids, mask, kinds in batches(VOCAB, length_limit(config), getattr(config, "type_vocab_size", 1)):
        named = inputs_of(session, ids, mask, kinds)
        hidden, embedding = session.run(None, named)
        with torch.no_grad():
            expected = model(**torch_inputs(named)).last_hidden_state.numpy()
        attended = mask[..., None] > 0
        check(label, np.abs((hidden - expected) * attended).max())
        check(label, np.abs(embedding - (expected * attended).sum(1) / attended.sum(1)).max())


def family_classifier(work, name, settings, labels):
    config, model, directory = family_directory(work, name, settings, transformers.AutoModelForSequenceClassification, num_labels=labels)
    session = export(directory, work / f"cross{labels}")
    assert [o.name for o in session.get_outputs()] == ["logits", "scores"]
    for ids, mask, kinds in batches(VOCAB, length_limit(config), getattr(config, "type_vocab_size", 1)):
        named = inputs_of(session, ids, mask, kinds)
        with torch.no_grad():
            expected = model(**torch_inputs(named)).logits.numpy()
        logits, scores = session.run(None, named)
        assert logits.shape == expected.shape
        check(f"{name}: logits", np.abs(logits - expected).max())
        # As sentence-transformers scores: a sigmoid for one label, nothing for many.
        check(f"{name}: scores", np.abs(scores - (1 / (1 + np.exp(-expected)) if labels == 1 else expected)).max())


# ---- what follows the encoder -----------------------------------------------------------------------


def sentence_models(work):
    """Modules after the encoder, and how many tokens of a prompt pooling leaves out."""
    def encoder():
        config = transformers.AutoConfig.for_model("bert", **CONFIGS["bert"][0])
        return Transformer(save(randomize(transformers.AutoModel.from_config(config)), 40, str(work / "encoder")))

    for mode in Pooling.POOLING_MODES:
        yield f"{mode} pooling", [encoder(), Pooling(32, mode)], 0
        yield f"{mode} pooling without the prompt", [encoder(), Pooling(32, mode, include_prompt=False)], 3
    yield "joined poolings", [encoder(), Pooling(32, ("max", "cls", "mean")), Normalize()], 0
    dense = [randomize(Dense(64, 24)), randomize(LayerNorm(24)), randomize(Dense(24, 40, bias=False, activation_function=torch.nn.GELU()))]
    yield "Dense, LayerNorm, Dense, Normalize", [encoder(), Pooling(32, ("cls", "lasttoken")), *dense, Normalize()], 0


def sentence_model(work, name, modules, prompt):
    reference = SentenceTransformer(modules=modules, device="cpu").eval()
    reference.truncate_dim = 20 if "Dense" in name else None
    reference.save(str(work / "st"))
    session = export(work / "st", work / "out")
    assert session.get_outputs()[1].shape == ["batch_size", reference.get_embedding_dimension()]
    for ids, mask, kinds in batches(VOCAB, 40, 2):
        if ids.shape[1] <= prompt:
            continue
        mask[:, : prompt + 1] = 1  # something to pool is left
        named = inputs_of(session, ids, mask, kinds)
        with torch.no_grad():
            features = torch_inputs(named) | ({"prompt_length": prompt} if prompt else {})
            expected = reference(features)["sentence_embedding"][:, : reference.truncate_dim].numpy()
        option = {"prompt_length": np.array([prompt])} if prompt else {}
        check(name, np.abs(session.run(["sentence_embedding"], named | option)[0] - expected).max())


# ---- the real model -------------------------------------------------------------------------------------

TEXTS = ["A man is eating food.", "tokens, punctuation -- and Ünïcödé", "x", "within " * 200, "beyond " * 400]


def real_model(work):
    """The exported directory of the real model in onnxruntime, sentence-transformers and transformers.js."""
    out = work / "real"
    session = export(BASE, out)
    reference = SentenceTransformer(str(BASE), device="cpu")
    expected = reference.encode(TEXTS)
    named = {k: v.numpy() for k, v in reference.tokenize(TEXTS).items() if isinstance(v, torch.Tensor)}
    named = {i.name: named[i.name] for i in session.get_inputs()}
    check("all-MiniLM-L6-v2", np.abs(session.run(["sentence_embedding"], named)[0] - expected).max())
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


def in_folder(function, *arguments):
    folder = pathlib.Path(tempfile.mkdtemp())
    try:
        function(folder, *arguments)
    finally:
        shutil.rmtree(folder)


def main():
    for name in CONFIGS:
        for settings in CONFIGS[name]:
            in_folder(family, name, settings)
            for labels in (1, 3):
                in_folder(family_classifier, name, settings, labels)
    with tempfile.TemporaryDirectory() as folder:
        for name, modules, prompt in sentence_models(pathlib.Path(folder)):
            in_folder(sentence_model, name, modules, prompt)
    if BASE.exists():
        in_folder(real_model)
    else:
        print("skipped: no base model")
    for name, difference in worst.items():
        print(f"{name}: largest difference {difference:.2e}")
    print("ok")


if __name__ == "__main__":
    main()
