"""bf16 and int8 on all-MiniLM-L6-v2. bf16: as far from float32 as torch's own autocast is, or nearer; in vectors, and in
the gradient of a training step. int8: vectors as far from float32 as torch's from factors rounded in the same way."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

try:
    import numpy as np
    import torch
    from safetensors.torch import load_file
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

TANDEM = os.environ["TANDEM"]
PROBE = pathlib.Path(os.environ["TANDEM_BUILD"]) / "tests/probe_train_step"
BASE = pathlib.Path(os.environ["TANDEM_SOURCE"]) / ".venv/all-MiniLM-L6-v2"
LIMIT = 64
SUBJECTS = ["A vaccine", "The tide", "A hash table", "The blue of the sky", "Boiling water", "A court of appeal", "Rye bread",
            "The price of copper", "A glacier", "Sleep", "An ant colony", "The printing press"]
REASONS = ["is explained by small differences that add up over time.", "was long misunderstood, until someone counted.",
           "depends on pressure, temperature and patience, in this order.", "has a cost that is paid elsewhere and later.",
           "works since most of what could happen never does, and the rest is cheap to check.", "is older than its name."]
TEXTS = [f"{subject} {reason}" for subject in SUBJECTS for reason in REASONS]


def encode(folder, dtype, device="cpu"):
    subprocess.run([TANDEM, "-q", "encode", "--model", str(BASE), "--input", f"{folder}/texts.jsonl", "--dtype", dtype,
                    "--device", device, "-o", f"{folder}/{dtype}.npy"], check=True)
    return np.load(f"{folder}/{dtype}.npy")


def distances(a, b):
    """One less the cosines of rows, in double: those of float32 products and lengths are a per cent of what is measured."""
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a.astype(np.float64), b.astype(np.float64)))
    return 1 - (a * b).sum(1)


def vectors(folder):
    with open(folder / "texts.jsonl", "w") as file:
        file.writelines(json.dumps({"_id": text, "text": text}) + "\n" for text in TEXTS)
    exact, rounded = encode(folder, "fp32"), encode(folder, "bf16")
    model = SentenceTransformer(str(BASE), device="cpu")
    with torch.autocast("cpu", torch.bfloat16):
        theirs = model.encode(TEXTS)
    distance, autocast = distances(exact, rounded), distances(exact, theirs)
    print(f"vectors: worst cosine to fp32 {1 - distance.max():.6f}, autocast's {1 - autocast.max():.6f}")
    assert not (exact == rounded).all(), "bf16 changes nothing: not in use"
    assert distance.max() <= 0.001
    # The same factors are rounded as by autocast, which rounds every product besides.
    assert distance.mean() <= autocast.mean()
    # What a GPU runs: libtorch's operations, and bf16 where autocast has it.
    plain, rounded = encode(folder, "fp32", "libtorch"), encode(folder, "bf16", "libtorch")
    apart, distance = abs(plain - exact).max(), distances(exact, rounded)
    print(f"libtorch's operations: {apart:.1e} from the kernels, bf16 mean distance {distance.mean():.2e}, autocast's {autocast.mean():.2e}")
    assert apart <= 1e-6 and distance.mean() <= 1.25 * autocast.mean()
    integers(folder, exact, model)


def rounding(linear):
    """The forward of a torch.nn.Linear over what int8 makes of its factors: rows in 255 steps over their range with 0, outputs
    in 254 around 0."""
    scale = linear.weight.detach().abs().amax(1, keepdim=True) / 127
    weight = (linear.weight.detach() / scale).round() * scale

    def forward(x):
        least, most = x.amin(-1, keepdim=True).clamp(max=0), x.amax(-1, keepdim=True).clamp(min=0)
        step = (most - least) / 255
        return torch.nn.functional.linear(((x - least) / step).round() * step + least, weight, linear.bias)

    return forward


def integers(folder, exact, model):
    for module in model.modules():
        if isinstance(module, torch.nn.Linear):
            module.forward = rounding(module)
    ours, theirs = distances(exact, encode(folder, "int8")), distances(exact, model.encode(TEXTS))
    print(f"int8: worst cosine to fp32 {1 - ours.max():.6f}, of float32 sums of rounded factors {1 - theirs.max():.6f}")
    assert ours.max() <= 0.01
    # The last bits of float32 move a factor by a step now and then, and after some layers no step is the same: the errors
    # are as great, but others. Their means are of 72 texts, which differ by a fifth of their mean.
    assert 0.8 <= ours.mean() / theirs.mean() <= 1.25, ours.mean() / theirs.mean()


def step(folder, dtype):
    subprocess.run([str(PROBE), "bi", str(BASE), f"{folder}/groups.jsonl", f"{folder}/{dtype}", f"max_length={LIMIT}",
                    "data.negatives=0", f"dtype={dtype}"], check=True, capture_output=True)
    return load_file(f"{folder}/{dtype}.gradients.safetensors")


def distance(found, expected):
    """Norm of the difference of all gradients over the norm of the expected ones."""
    difference = sum(((found[name] - value).double() ** 2).sum().item() for name, value in expected.items())
    return (difference / sum((value.double() ** 2).sum().item() for value in expected.values())) ** 0.5


def gradients(folder):
    pairs = [(TEXTS[i], TEXTS[i + 1]) for i in range(0, len(TEXTS), 2)]
    with open(folder / "groups.jsonl", "w") as file:
        for i, (query, positive) in enumerate(pairs):
            file.write(json.dumps({"query_id": f"q{i}", "query": query, "positives": [{"id": f"p{i}", "text": positive}],
                                   "negatives": []}) + "\n")
    exact, rounded = step(folder, "fp32"), step(folder, "bf16")
    model = SentenceTransformer(str(BASE), device="cpu")
    model.max_seq_length = LIMIT
    model.eval()
    with torch.autocast("cpu", torch.bfloat16):
        columns = [model.tokenize([pair[side] for pair in pairs]) for side in range(2)]
        loss = MultipleNegativesRankingLoss(model, scale=20.0)(columns, None)
    loss.backward()
    named = {name.removeprefix("0.").removeprefix("auto_model.").removeprefix("model."): p.grad
             for name, p in model.named_parameters() if p.grad is not None}
    assert named.keys() == exact.keys(), named.keys() ^ exact.keys()
    ours, theirs = distance(rounded, exact), distance(named, exact)
    print(f"gradients: {ours:.4f} of their norm from fp32's, autocast's {theirs:.4f}")
    assert 0 < ours <= theirs


if not (BASE / "model.safetensors").exists():
    print(f"skipped: no {BASE}; scripts/setup.sh installs it")
    sys.exit(77)
os.environ["TANDEM_CACHE"] = "off"
with tempfile.TemporaryDirectory() as temporary:
    vectors(pathlib.Path(temporary))
    gradients(pathlib.Path(temporary))
