"""One training step with losses that read more of the groups than positives and negatives: scores, several positives, a
teacher, documents of other groups. The loss and the norm of the gradient against sentence-transformers' losses of
its own embeddings, and transformers' logits."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

try:
    import torch
    import torch.nn.functional as F
    import transformers
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer import losses
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

PROBE = pathlib.Path(os.environ["TANDEM_BUILD"]) / "tests/probe_train_step"
BASE = pathlib.Path(os.environ["TANDEM_SOURCE"]) / ".venv/all-MiniLM-L6-v2"
# float32 on both sides, through six layers, with sums in another order.
TOLERANCE = 1e-4
LIMIT = 24
torch.manual_seed(7)

# (query, [(positive, score)...], [(negative, score)...]); the first query has two positives.
GROUPS = [
    ("red flowers", [("a rose is red", 1.0), ("poppies are red in June", 0.75)],
     [("the sky is blue", 0.25), ("grass is green", 0.0)]),
    ("blue things", [("the sea looks blue", 1.0)], [("snow is white", 0.25), ("coal is black", 0.5)]),
    ("what is cold", [("ice is cold", 0.75)], [("fire is hot", 0.0), ("tea is warm at first", 0.25)]),
    ("loud animals", [("lions roar", 1.0)], [("fish are silent", 0.0), ("cats are quiet at night", 0.5)]),
]


def write_groups(path):
    with open(path, "w") as file:
        for i, (query, positives, negatives) in enumerate(GROUPS):
            sides = [[{"id": t, "text": t, "score": score} for t, score in side] for side in (positives, negatives)]
            file.write(json.dumps({"query_id": f"q{i}", "query": query, "positives": sides[0],
                                   "negatives": sides[1]}) + "\n")


def tandem(kind, model, folder, *settings):
    command = [PROBE, kind, model, f"{folder}/groups.jsonl", f"{folder}/out", f"max_length={LIMIT}", "data.negatives=2",
               *settings]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def compare(label, figures, loss, model):
    model.zero_grad()
    loss.backward()
    norm = torch.stack([p.grad.double().norm() for p in model.parameters() if p.grad is not None]).norm().item()
    print(f"{label:40s} loss {figures['loss']:.6f}, theirs {loss.item():.6f}; "
          f"norm {figures['norm']:.6f}, theirs {norm:.6f}")
    assert abs(figures["loss"] - loss.item()) <= TOLERANCE * abs(loss.item()), label
    assert abs(figures["norm"] - norm) <= TOLERANCE * norm, label


# ---- bi-encoder: rows are positives; documents are all positives, then all negatives ---------------------------------
ROWS = [(query, positive, negatives) for query, positives, negatives in GROUPS for positive in positives]
QUERIES = [query for query, _, _ in ROWS]
DOCUMENTS = [positive for _, positive, _ in ROWS] + [n for _, _, negatives in ROWS for n in negatives]
OWNER = torch.tensor([*range(len(ROWS)), *(i for i, row in enumerate(ROWS) for _ in row[2])])
SCORES = torch.tensor([score for _, score in DOCUMENTS])
# The first two rows have one query, which is one class with both positives; each text is a class of its own otherwise.
TEXTS = [text for text, _ in DOCUMENTS]
CLASSES = torch.tensor([0, 0, 1, 2, 3, 0, 0, 1, 2, 3, *(10 + TEXTS.index(text) for text in TEXTS[len(ROWS) :])])


def embed(model, texts):
    return model(model.tokenize(texts))["sentence_embedding"]


def columns(queries, documents):
    """As many negatives for each row here: [queries, positives, first negatives, second negatives]."""
    n = len(ROWS)
    return [queries, documents[:n], documents[n::2], documents[n + 1 :: 2]]


class EmbedDistill(losses.EmbedDistillLoss):
    def __init__(self):
        torch.nn.Module.__init__(self)
        self.distance_metric, self.projection = "mse", None


def gist(queries, documents, guide_queries, guide_documents):
    """Only the mask is new here; it is as in CachedGISTEmbedLoss, without texts that are known positives of the row."""
    n = len(ROWS)
    sides = F.normalize(queries), F.normalize(documents)
    guides = F.normalize(guide_queries), F.normalize(guide_documents)
    threshold = (guides[0] * guides[1][:n]).sum(1, keepdim=True)
    same = torch.eye(n, dtype=torch.bool)
    same[:2, :2] = True
    known = torch.cat([same & ~torch.eye(n, dtype=torch.bool), torch.zeros(n, len(TEXTS) - n, dtype=torch.bool)], 1)
    protected = torch.cat([torch.eye(n, dtype=torch.bool), torch.zeros(n, len(TEXTS) - n, dtype=torch.bool)], 1)
    blocks = [
        (sides[0] @ sides[1].T, known | ((guides[0] @ guides[1].T > threshold) & ~protected)),
        (sides[0] @ sides[0].T, same | (guides[0] @ guides[0].T > threshold)),
        (sides[1][:n] @ sides[1][:n].T, same | (guides[1][:n] @ guides[1][:n].T > threshold)),
    ]
    return F.cross_entropy(torch.cat([s.masked_fill(m, -torch.inf) for s, m in blocks], 1) / 0.1, torch.arange(n))


def bi_encoder(folder):
    model, teacher = (SentenceTransformer(str(BASE), device="cpu").eval() for _ in range(2))
    model.max_seq_length = teacher.max_seq_length = LIMIT
    with torch.no_grad():
        for parameter in teacher.parameters():
            parameter += 0.02 * torch.randn_like(parameter)
        teacher.save(str(folder / "teacher"))
        guide = [embed(teacher, texts) for texts in (QUERIES, TEXTS)]

    def check(name, loss, *settings):
        queries, documents = embed(model, QUERIES), embed(model, TEXTS)
        compare(f"{name} {' '.join(settings)}".replace(str(folder), ""),
                tandem("bi", BASE, folder, f"loss.name={name}", *settings), loss(queries, documents), model)

    matrix = torch.stack(columns(QUERIES, SCORES)[1:], 1)
    margin_mse, kl = losses.MarginMSELoss(None), losses.DistillKLDivLoss(None, temperature=0.1)
    hard = losses.BatchHardTripletLoss(None, margin=0.5)
    check("margin_mse", lambda q, d: margin_mse.compute_loss_from_embeddings(columns(q, d), matrix))
    check("margin_mse", lambda q, d: margin_mse.compute_loss_from_embeddings(columns(q, d), 0.05 * matrix),
          "loss.teacher_scale=0.05")
    check("distill_kl", lambda q, d: kl.compute_loss_from_embeddings(columns(q, d), 2 * matrix),
          "loss.temperature=0.1", "loss.teacher_scale=2")
    check("distill_kl", lambda q, d: kl.compute_loss_from_embeddings(columns(q, d), matrix), "loss.temperature=0.1")
    kinds = {"cosent": losses.CoSENTLoss, "angle": losses.AnglELoss, "contrastive": losses.ContrastiveLoss}
    for name, kind in kinds.items():
        check(name, lambda q, d: kind(None).compute_loss_from_embeddings([q[OWNER], d], SCORES))
    binary = (torch.arange(len(TEXTS)) < len(ROWS)).float()
    check("cosent", lambda q, d: losses.CoSENTLoss(None).compute_loss_from_embeddings([q[OWNER], d], binary),
          "loss.labels=binary")
    check("batch_hard_triplet", lambda q, d: hard.compute_loss_from_embeddings([torch.cat([q, d])], CLASSES),
          "loss.triplet.margin=0.5")
    check("embed_distill", lambda q, d: EmbedDistill().compute_loss_from_embeddings(columns(q, d), columns(*guide)),
          "loss.distill=mse", f"loss.teacher={folder}/teacher")
    check("gist", lambda q, d: gist(q, d, *guide), "loss.gist.temperature=0.1", f"loss.teacher={folder}/teacher")


# ---- cross-encoder ---------------------------------------------------------------------------------------------------
def logits(model, tokenizer, lists):
    """One tensor a list of (query, text)."""
    pairs = [pair for one in lists for pair in one]
    features = tokenizer([q for q, _ in pairs], [t for _, t in pairs], padding=True, truncation="longest_first",
                         max_length=LIMIT, return_tensors="pt")
    return model(**features).logits[:, 0].split([len(one) for one in lists])


def cross_encoder(folder):
    path = folder / "cross"
    model = transformers.AutoModelForSequenceClassification.from_pretrained(str(BASE), num_labels=1).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(str(BASE))
    torch.nn.init.normal_(model.classifier.weight, std=0.2)  # logits away from 0
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)

    def check(name, lists, loss, *settings):
        for label, parts in ("", ()), (" in parts", ("forward_tokens=64",)):
            one = tandem("cross", path, folder, f"loss.name={name}", *settings, *parts)
            texts = [[(query, text) for text, _ in candidates] for query, candidates in lists]
            scores = [torch.tensor([score for _, score in candidates]) for _, candidates in lists]
            compare(f"{name}{label} {' '.join(settings)}", one, loss(logits(model, tokenizer, texts), scores), model)

    def ranknet(x, y):
        pairs = [(a[i] - a[j]) for a, b in zip(x, y) for i in range(len(a)) for j in range(len(a)) if b[i] > b[j]]
        return F.softplus(-torch.stack(pairs)).mean()

    lists = [(query, positives + negatives) for query, positives, negatives in GROUPS]
    rows = [(query, [positive, *negatives]) for query, positive, negatives in ROWS]
    graded = "loss.labels=scores"
    check("list_net", lists, lambda x, y: torch.stack([F.cross_entropy(a, b.softmax(0)) for a, b in zip(x, y)]).mean(),
          graded)
    check("lambda", lists, ranknet, graded, "loss.lambda.weighting=none", "loss.lambda.log=natural")
    check("pairwise", rows, ranknet, graded)
    check("mse", rows, lambda x, y: F.mse_loss(torch.cat(x), torch.cat(y)))
    check("margin_mse", rows, lambda x, y: F.mse_loss(torch.cat([a[0] - a[1:] for a in x]),
                                                      torch.cat([b[0] - b[1:] for b in y])))
    # More negatives than there are: all of the other rows but positives of the row's query.
    others = [(query, [*own, *(text for other, texts in rows for text in texts if other != query)])
              for query, own in rows]
    others[0][1].extend(rows[1][1][1:])  # the same query's other row has the same two negatives
    others[1][1].extend(rows[0][1][1:])
    check("mnrl", others, lambda x, _: -torch.stack([(10 * a.sigmoid()).log_softmax(0)[0] for a in x]).mean(),
          "loss.in_batch_negatives=100")


if not (BASE / "model.safetensors").exists():
    print(f"skipped: no {BASE}; scripts/setup.sh installs it")
    sys.exit(77)
with tempfile.TemporaryDirectory() as temporary:
    write_groups(f"{temporary}/groups.jsonl")
    bi_encoder(pathlib.Path(temporary))
    cross_encoder(pathlib.Path(temporary))
