"""One training step against sentence-transformers (bi-encoder) and transformers (cross-encoder): the loss, every
gradient by name, and the weights after one update."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

try:
    import torch
    import transformers
    from safetensors.torch import load_file
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

PROBE = pathlib.Path(os.environ["TANDEM_BUILD"]) / "tests/probe_train_step"
BASE = pathlib.Path(os.environ["TANDEM_SOURCE"]) / ".venv/all-MiniLM-L6-v2"
# Largest difference over largest value, of a tensor. Both sides compute in float32; the sums
# over tokens, heads and sequences differ in order only.
TOLERANCE = 1e-4
# A tensor whose gradients are all below this share of the largest gradient is compared with that one: adding a
# constant to every key changes no attention weight, so that the exact gradient of a key bias is 0 and
# what both sides find is rounding.
NOISE = 1e-6
LIMIT = 48
torch.manual_seed(5)

ROWS = [
    ("how do vaccines work", "A vaccine shows the immune system a harmless part of a germ, so that it can answer faster the "
     "next time.", ["Antibiotics kill bacteria; they do nothing against viruses.", "Fever is a rise of body temperature."]),
    ("why is the sky blue", "Air scatters short waves of light more than long ones.",
     ["The sea is salty since rivers carry minerals into it, and only water leaves it again by evaporation.", "Blue paint "
      "was once made from lapis lazuli."]),
    ("what is a hash table", "A hash table finds a value by its key in constant time on average: a function of the key says in "
     "which bucket to look, and collisions are resolved by chains or by probing the buckets that follow, up to a load factor "
     "beyond which the table grows.", ["A balanced tree keeps its keys in order.", "A kitchen table seats six."]),
    ("boiling point of water at altitude", "Water boils at a lower temperature where the air is thinner.",
     ["Ice floats on water.", "The summit is 4,810 m high."]),
]


# More tokens than the gradient of a weight sums at once (TANDEM_FLOAT_DEPTH).
MANY = [tuple([f"{start} {text}" for text in part] if isinstance(part, list) else f"{start} {part}" for part in row)
        for start in ("As was said before,", "In other words:", "Nobody doubts it, and yet", "To begin with", "Here is what we know:")
        for row in ROWS]


def write_groups(path, rows):
    with open(path, "w") as file:
        for i, (query, positive, negatives) in enumerate(rows):
            passages = [{"id": f"n{i}{k}", "text": text} for k, text in enumerate(negatives)]
            file.write(json.dumps({"query_id": f"q{i}", "query": query, "positives": [{"id": f"p{i}", "text": positive}],
                                   "negatives": passages}) + "\n")


def tandem(kind, model, folder, *settings, rows=ROWS):
    """The figures, gradients and updated weights of tandem's step."""
    write_groups(f"{folder}/groups.jsonl", rows)
    command = [str(PROBE), kind, str(model), f"{folder}/groups.jsonl", f"{folder}/out", f"max_length={LIMIT}",
               "data.negatives=2", *settings]
    figures = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return figures, load_file(f"{folder}/out.gradients.safetensors"), load_file(f"{folder}/out.weights.safetensors")


def compare_gradients(label, found, expected):
    largest = max(value.abs().max().item() for value in expected.values())
    worst = 0.0
    for name, value in expected.items():
        scale = value.abs().max().item()
        scale = largest if scale < NOISE * largest else scale
        difference = (found[name] - value).abs().max().item() / scale
        worst = max(worst, difference)
        assert difference <= TOLERANCE, f"{label}: {name}: {difference:.2e} > {TOLERANCE}"
    print(f"{label}: {len(expected)} gradients, largest difference {worst:.1e}")


def compare_whole(label, found, expected):
    """All gradients as one vector. In one tensor alone the two ranking losses, which see differences of logits only, may
    cancel to little more than rounding."""
    difference = sum(((found[n] - v).double() ** 2).sum().item() for n, v in expected.items()) ** 0.5
    difference /= sum((v.double() ** 2).sum().item() for v in expected.values()) ** 0.5
    print(f"{label}: difference of the gradients {difference:.1e} of their norm")
    assert difference <= TOLERANCE, f"{label}: {difference}"


def compare_loss(label, figures, loss):
    difference = abs(figures["loss"] - loss) / abs(loss)
    print(f"{label}: loss {figures['loss']:.6f}, theirs {loss:.6f}")
    assert difference <= TOLERANCE, f"{label}: {difference}"


def compare_update(label, figures, start, gradients, updated, rate, decay):
    """torch's clipping and AdamW, given the same gradients: what is left is the rounding of one update, some
    units in the last place of weights of at most 16 (2^-20 = 1e-6). The first update of AdamW divides each
    gradient by its own size, so that other gradients would turn rounding into the sign of a step."""
    parameters = {name: torch.nn.Parameter(value.clone()) for name, value in start.items()}
    for name, parameter in parameters.items():
        parameter.grad = gradients[name].clone()
    plain = [p for n, p in parameters.items() if n.endswith("bias") or "LayerNorm" in n]
    decayed = [p for n, p in parameters.items() if not (n.endswith("bias") or "LayerNorm" in n)]
    norm = torch.nn.utils.clip_grad_norm_(parameters.values(), 1.0).item()
    assert abs(norm - figures["norm"]) <= 1e-5 * norm, (norm, figures["norm"])
    torch.optim.AdamW([{"params": plain, "weight_decay": 0.0}, {"params": decayed, "weight_decay": decay}], lr=rate).step()
    worst = max((updated[name] - parameter).abs().max().item() for name, parameter in parameters.items())
    moved = max((parameter - start[name]).abs().max().item() for name, parameter in parameters.items())
    print(f"{label}: updated weights, largest difference {worst:.1e} (they moved by {moved:.1e})")
    assert worst <= 1e-6, f"{label}: {worst}"


def bi_features(model, rows):
    return [model.tokenize(column) for column in zip(*((query, positive, *negatives) for query, positive, negatives in rows))]


def cross_loss(model, tokenizer, rows):
    pairs = [(query, text, float(text == positive)) for query, positive, negatives in rows for text in (positive, *negatives)]
    features = tokenizer([p[0] for p in pairs], [p[1] for p in pairs], padding=True, truncation="longest_first",
                         max_length=LIMIT, return_tensors="pt")
    labels = torch.tensor([p[2] for p in pairs])
    return torch.nn.BCEWithLogitsLoss(pos_weight=torch.tensor(2.0))(model(**features).logits[:, 0], labels)


def bi_encoder(model_path, folder):
    rate, decay = 1e-3, 0.1
    figures, gradients, updated = tandem("bi", model_path, folder, f"learning_rate={rate}", f"weight_decay={decay}")
    model = SentenceTransformer(str(model_path), device="cpu")
    model.max_seq_length = LIMIT
    model.eval()
    features = bi_features(model, ROWS)
    loss = MultipleNegativesRankingLoss(model, scale=20.0)(features, None)
    loss.backward()
    named = {name.removeprefix("0.").removeprefix("auto_model.").removeprefix("model."): p for name, p in model.named_parameters()}
    unused = {name for name, p in named.items() if p.grad is None}
    compare_loss("bi-encoder", figures, loss.item())
    compare_gradients("bi-encoder", gradients, {name: p.grad for name, p in named.items() if name not in unused})
    start = load_file(model_path / "model.safetensors")
    used = {name: start[name] for name in named if name not in unused}
    compare_update("bi-encoder", figures, used, gradients, updated, rate, decay)
    label = "bi-encoder, libtorch's operations"
    figures, others, updated = tandem("bi", model_path, folder, f"learning_rate={rate}", f"weight_decay={decay}", "libtorch")
    compare_loss(label, figures, loss.item())
    compare_gradients(label, others, {name: p.grad for name, p in named.items() if name not in unused})
    compare_update(label, figures, used, others, updated, rate, decay)
    learned_scale(model_path, folder, model, features, gradients)
    label = "bi-encoder, many tokens"
    model.zero_grad()
    loss = MultipleNegativesRankingLoss(model, scale=20.0)(bi_features(model, MANY), None)
    loss.backward()
    figures, found, _ = tandem("bi", model_path, folder, rows=MANY)
    assert figures["tokens"] > 1024, figures
    compare_loss(label, figures, loss.item())
    compare_gradients(label, found, {name: p.grad for name, p in named.items() if name not in unused})
    for name in ("mnrl", "cosent", "triplet"):
        settings = (f"loss.name={name}", "loss.labels=binary", "dropout")
        whole, one, _ = tandem("bi", model_path, folder, *settings)
        parts, many, _ = tandem("bi", model_path, folder, *settings, "forward_tokens=64")
        assert whole["parts"] == 1 and parts["parts"] > 3, (whole, parts)
        compare_loss(f"bi-encoder, {name} in parts", parts, whole["loss"])
        compare_whole(f"bi-encoder, {name} in parts", many, one)
    trained_directory(model_path, folder, unused)


def learned_scale(model_path, folder, model, features, gradients):
    """torch's gradient of the logarithm of a scale that is a parameter, in one pass and in parts; the model's gradients
    are those of the fixed scale of 20. With dropout, parts against one pass, for each loss that takes a scale."""
    settings = ("loss.scale_learning_rate=1e-3",)
    log_scale = torch.nn.Parameter(torch.tensor(20.0).log())
    MultipleNegativesRankingLoss(model, scale=log_scale.exp())(features, None).backward()
    for budget in 100000, 64:
        figures, found, _ = tandem("bi", model_path, folder, *settings, f"forward_tokens={budget}")
        assert (figures["parts"] == 1) == (budget > 64), figures
        compare_scale(f"scale, {figures['parts']} parts", figures["scale_gradient"], log_scale.grad.item())
        compare_whole(f"model under a learned scale, {figures['parts']} parts", found, gradients)
    for name in "cosent", "angle", "gist":
        choice = (f"loss.name={name}", "loss.labels=binary", "dropout", *settings)
        choice += (f"loss.teacher={model_path}",) if name == "gist" else ()
        whole, _, _ = tandem("bi", model_path, folder, *choice)
        parts, _, _ = tandem("bi", model_path, folder, *choice, "forward_tokens=64")
        assert whole["parts"] == 1 and parts["parts"] > 3, (whole, parts)
        compare_scale(f"scale of {name} in {parts['parts']} parts", parts["scale_gradient"], whole["scale_gradient"])


def compare_scale(label, found, expected):
    print(f"{label}: gradient {found:.6f}, expected {expected:.6f}")
    assert abs(found - expected) <= TOLERANCE * abs(expected), label


def trained_directory(base, folder, unused):
    """What `tandem train` writes: loads in sentence-transformers, and what has no gradient is as it was,
    also with weight decay."""
    config = {"model": str(base), "data": {"groups": f"{folder}/groups.jsonl"}, "max_length": LIMIT, "batch_size": 2,
              "learning_rate": 1e-3, "weight_decay": 0.1, "epochs": 2}
    (folder / "config.json").write_text(json.dumps(config))
    out = folder / "trained"
    subprocess.run([os.environ["TANDEM"], "-q", "train", "bi", str(folder / "config.json"), "-o", str(out)], check=True)
    before, after = load_file(base / "model.safetensors"), load_file(out / "model.safetensors")
    for name, value in after.items():
        assert torch.equal(value, before[name]) == (name in unused), name
    embeddings = [SentenceTransformer(str(path), device="cpu").encode("how do vaccines work") for path in (base, out)]
    change = abs(embeddings[0] - embeddings[1]).max()
    assert change > 1e-3, change
    print(f"trained directory: {sorted(unused)} untouched, an embedding moved by {change:.2g}")


def cross_encoder(base, folder):
    path = folder / "cross"
    model = transformers.AutoModelForSequenceClassification.from_pretrained(str(base), num_labels=1)
    torch.nn.init.normal_(model.classifier.weight, std=0.2)  # logits away from 0
    tokenizer = transformers.AutoTokenizer.from_pretrained(str(base))
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    rate, decay = 1e-3, 0.1
    settings = ("loss.name=bce", "loss.pos_weight=2", f"learning_rate={rate}", f"weight_decay={decay}")
    figures, gradients, updated = tandem("cross", path, folder, *settings)
    model.eval()
    loss = cross_loss(model, tokenizer, ROWS)
    loss.backward()
    expected = {name: p.grad for name, p in model.named_parameters()}
    compare_loss("cross-encoder", figures, loss.item())
    compare_gradients("cross-encoder", gradients, expected)
    start = load_file(path / "model.safetensors")
    compare_update("cross-encoder", figures, start, gradients, updated, rate, decay)
    label = "cross-encoder, libtorch's operations"
    figures, gradients, updated = tandem("cross", path, folder, *settings, "libtorch")
    compare_loss(label, figures, loss.item())
    compare_gradients(label, gradients, expected)
    compare_update(label, figures, start, gradients, updated, rate, decay)
    label = "cross-encoder, many tokens"
    model.zero_grad()
    loss = cross_loss(model, tokenizer, MANY)
    loss.backward()
    figures, found, _ = tandem("cross", path, folder, *settings, rows=MANY)
    assert figures["tokens"] > 1024, figures
    compare_loss(label, figures, loss.item())
    compare_gradients(label, found, {name: p.grad for name, p in model.named_parameters()})
    for name in ("bce", "pairwise", "softmax"):
        whole, one, _ = tandem("cross", path, folder, f"loss.name={name}")
        parts, many, _ = tandem("cross", path, folder, f"loss.name={name}", "forward_tokens=64")
        compare_loss(f"cross-encoder, {name} in parts", parts, whole["loss"])
        compare_whole(f"cross-encoder, {name} in parts", many, one)


if not (BASE / "model.safetensors").exists():
    print(f"skipped: no {BASE}; scripts/setup.sh installs it")
    sys.exit(77)
with tempfile.TemporaryDirectory() as temporary:
    bi_encoder(BASE, pathlib.Path(temporary))
    cross_encoder(BASE, pathlib.Path(temporary))
