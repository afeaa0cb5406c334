"""Every loss and its gradients against torch and sentence-transformers, on random inputs."""
import os
import pathlib
import subprocess
import sys
import tempfile

try:
    import torch
    import torch.nn.functional as F
    from safetensors.torch import load_file, save_file
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

PROBE = pathlib.Path(os.environ["TANDEM_BUILD"]) / "tests/probe_losses"
# float32 on both sides, sums of at most some hundred terms in another order.
TOLERANCE = 1e-5
torch.manual_seed(3)


def tandem(name, inputs, number):
    with tempfile.TemporaryDirectory() as folder:
        save_file({k: v.detach().float().contiguous() for k, v in inputs.items()}, f"{folder}/in.safetensors")
        subprocess.run([str(PROBE), name, f"{folder}/in.safetensors", f"{folder}/out.safetensors", str(number)], check=True)
        return load_file(f"{folder}/out.safetensors")


def compare(label, found, loss, leaves):
    loss.backward()
    expected = {"loss": loss.detach().reshape(1)} | {f"gradient_{i}": leaf.grad for i, leaf in enumerate(leaves)}
    assert set(found) == set(expected), (set(found), set(expected))
    for name, value in expected.items():
        difference = ((found[name] - value).abs().max() / value.abs().max()).item()
        print(f"{label:28s} {name:12s} {difference:.1e}")
        assert difference <= TOLERANCE, f"{label}: {name}: {difference} > {TOLERANCE}"


def mnrl(n, negatives, dim, scale):
    queries = torch.randn(n, dim, requires_grad=True)
    documents = torch.randn(n * (1 + negatives), dim, requires_grad=True)
    mask = torch.zeros(n, len(documents))
    found = tandem("mnrl", {"queries": queries, "documents": documents, "mask": mask}, scale)
    columns = [documents[n * k : n * (k + 1)] for k in range(1 + negatives)]
    loss = MultipleNegativesRankingLoss(None, scale=scale).compute_loss_from_embeddings([queries, *columns], None)
    compare(f"mnrl {n} x {1 + negatives}, scale {scale}", found, loss, [queries, documents])


def masked_mnrl():
    """The mask as torch users write it: -inf before the softmax."""
    n, m = 16, 40
    queries, documents = torch.randn(n, 8, requires_grad=True), torch.randn(m, 8, requires_grad=True)
    mask = torch.rand(n, m) < 0.3
    mask[:, :n].fill_diagonal_(False)
    found = tandem("mnrl", {"queries": queries, "documents": documents, "mask": mask}, 20)
    scores = 20 * F.normalize(queries) @ F.normalize(documents).T
    loss = F.cross_entropy(scores.masked_fill(mask, -torch.inf), torch.arange(n))
    compare("mnrl with a mask", found, loss, [queries, documents])


def cross(name, reference, number=1.0):
    sizes = [5, 2, 9, 3]
    starts = torch.tensor([0, *torch.tensor(sizes).cumsum(0).tolist()])
    n = int(starts[-1])
    labels = torch.zeros(n)
    labels[starts[:-1]] = 1
    logits, offsets = (5 * torch.randn(n, 1)).requires_grad_(), torch.randn(n)
    found = tandem(name, {"logits": logits, "labels": labels, "offsets": offsets, "starts": starts}, number)
    groups = list(zip(starts[:-1].tolist(), starts[1:].tolist()))
    compare(f"{name} {number:g}", found, reference(logits[:, 0] + offsets, labels, groups), [logits])


def pairwise(x, labels, groups):
    """RankNet: the better document of a pair as the label of a logistic regression on the difference."""
    pairs = torch.cat([x[a] - x[a + 1 : b] for a, b in groups])
    return F.binary_cross_entropy_with_logits(pairs, torch.ones_like(pairs))


for case in ((2, 0, 4, 20.0), (32, 0, 384, 20.0), (16, 2, 64, 20.0), (7, 1, 16, 1.0)):
    mnrl(*case)
masked_mnrl()
cross("bce", lambda x, y, g: torch.nn.BCEWithLogitsLoss()(x, y))
cross("bce", lambda x, y, g: torch.nn.BCEWithLogitsLoss(pos_weight=torch.tensor(4.0))(x, y), 4.0)
cross("pairwise", pairwise)
cross("softmax", lambda x, y, g: torch.stack([F.cross_entropy(x[a:b][None], torch.tensor([0])) for a, b in g]).mean())
