"""Every loss and its gradients against sentence-transformers (where it has the loss) or torch, on random inputs, ties,
extreme values, one row alone and lists of unequal size."""
import os
import pathlib
import subprocess
import sys
import tempfile
import types

try:
    import torch
    import torch.nn.functional as F
    from safetensors.torch import load_file, save_file
    from sentence_transformers.cross_encoder import losses as cross_losses
    from sentence_transformers.sentence_transformer import losses
    from sentence_transformers.sentence_transformer.losses import batch_hard_triplet
    from sentence_transformers.sentence_transformer.losses.contrastive import SiameseDistanceMetric
    from sentence_transformers.sentence_transformer.losses.triplet import TripletDistanceMetric
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

PROBE = pathlib.Path(os.environ["TANDEM_BUILD"]) / "tests/probe_losses"
# Largest difference over largest value: float32 on both sides, sums of at most some thousand terms in another order.
TOLERANCE = 2e-5
torch.manual_seed(3)
checked = set()


def ask(*words):
    probe.stdin.write(" ".join(map(str, words)) + "\n")
    probe.stdin.flush()
    return probe.stdout.readline().rstrip()


def tandem(kind, inputs, settings):
    save_file({k: v.detach().float().contiguous() for k, v in inputs.items()}, f"{folder}/in.safetensors")
    answer = ask(kind, f"{folder}/in.safetensors", f"{folder}/out.safetensors",
                 *(f"{k}={v}" for k, v in settings.items()))
    assert answer == "ok", answer
    return load_file(f"{folder}/out.safetensors")


def compare(label, found, loss, leaves, tolerance=TOLERANCE):
    if loss.requires_grad:
        loss.backward()
    expected = {"loss": loss.detach().reshape(1)}
    expected |= {f"gradient_{i}": torch.zeros_like(leaf) if leaf.grad is None else leaf.grad for i,
                 leaf in enumerate(leaves)}
    assert set(found) == set(expected), (set(found), set(expected))
    differences = []
    for name, value in expected.items():
        scale = value.abs().max().item()
        difference = (found[name] - value).abs().max().item() / (scale if scale > 1e-6 else 1.0)
        differences.append(f"{difference:.1e}")
        assert difference <= tolerance, f"{label}: {name}: {difference} > {tolerance}: {found[name]} {value}"
    print(f"{label:72s} {loss.item():12.6f}  {' '.join(differences)}")


def spelled(settings):
    return " ".join(f"{k.removeprefix('loss.')}={v}" for k, v in settings.items() if k != "loss.name")


# ---- bi-encoder ------------------------------------------------------------------------------------------------------
class Batch:
    """n queries, their positives, and `negatives` more documents each, column by column as sentence-transformers has
    them; `like`: a draw of values."""

    def __init__(self, n, negatives, dim, like=torch.randn):
        self.n, self.k, self.dim = n, negatives, dim
        self.queries = like(n, dim).requires_grad_()
        self.documents = like(n * (1 + negatives), dim).requires_grad_()
        self.leaves = [self.queries, self.documents]
        self.extra = {}

    def columns(self):
        return [self.queries, *(self.documents[self.n * k : self.n * (k + 1)] for k in range(1 + self.k))]

    def pairs(self):
        return [self.queries.repeat(1 + self.k, 1), self.documents]

    def check(self, name, loss, tolerance=TOLERANCE, **settings):
        checked.add(name)
        inputs = {"queries": self.queries, "documents": self.documents,
                  "owner": torch.arange(self.n).repeat(1 + self.k)}
        settings = {"loss.name": name} | {f"loss.{k.replace('__', '.')}": v for k, v in settings.items()}
        found = tandem("bi", inputs | self.extra, settings)
        compare(f"{name} {self.n} x {1 + self.k} x {self.dim} {spelled(settings)}", found, loss, self.leaves, tolerance)
        for leaf in self.leaves:
            leaf.grad = None


def from_embeddings(loss, batch, labels=None):
    return loss.compute_loss_from_embeddings(batch.columns(), labels)


SHAPES = ((1, 0, 5), (2, 0, 4), (1, 3, 8), (16, 2, 64), (40, 1, 384))


def small_integers(*shape):
    """Many exact ties; cosines and distances of them are computed without rounding that could tell equals apart."""
    return torch.randint(-1, 2, shape).float() + torch.nn.functional.one_hot(torch.tensor(0), shape[-1]).float() * 4


def mnrl():
    for shape in SHAPES:
        batch = Batch(*shape)
        batch.check("mnrl", from_embeddings(losses.MultipleNegativesRankingLoss(None), batch))
    batch = Batch(12, 2, 16)
    choices = [["doc_to_query"], ["query_to_query", "doc_to_doc"], ["query_to_query", "doc_to_query", "doc_to_doc"]]
    for chosen, partition in zip([*choices, choices[0]], ["joint", "joint", "joint", "per_direction"]):
        loss = losses.MultipleNegativesRankingLoss(None, scale=7.0, directions=("query_to_doc", *chosen),
                                                   partition_mode=partition)
        settings = {f"directions__{name}": "true" for name in chosen}
        batch.check("mnrl", from_embeddings(loss, batch), scale=7, partition=partition, **settings)
    for mode, strength in ("in_batch_negatives", 9.0), ("hard_negatives", 5.0), ("all_negatives", 5.0):
        loss = losses.MultipleNegativesRankingLoss(None, hardness_mode=mode, hardness_strength=strength)
        batch.check("mnrl", from_embeddings(loss, batch), hardness__mode=mode, hardness__strength=strength)
    loss = losses.MultipleNegativesRankingLoss(None, scale=1.0, similarity_fct=lambda a, b: a @ b.T)
    batch.check("mnrl", from_embeddings(loss, batch), scale=1, similarity="dot")
    extreme = Batch(6, 1, 8, lambda *shape: 1e4 * torch.randn(*shape))
    extreme.check("mnrl", from_embeddings(losses.MultipleNegativesRankingLoss(None, scale=1000.0), extreme), scale=1000)
    ties = Batch(6, 1, 8, small_integers)
    ties.check("mnrl", from_embeddings(losses.MultipleNegativesRankingLoss(None), ties))


def learnable_scale():
    batch = Batch(8, 1, 16)
    scale = torch.tensor([13.0], requires_grad=True)
    scores = F.normalize(batch.queries) @ F.normalize(batch.documents).T
    batch.leaves.append(scale)
    batch.extra["scale"] = scale
    batch.check("mnrl", F.cross_entropy(scale * scores, torch.arange(8)))
    batch = Batch(8, 0, 16)
    labels = torch.rand(8)
    batch.leaves.append(scale)
    batch.extra = {"scale": scale, "scores": labels}
    for name, theirs in ("cosent", losses.CoSENTLoss), ("angle", losses.AnglELoss):
        scale.grad = None
        batch.check(name, theirs(None, scale=scale).compute_loss_from_embeddings(batch.pairs(), labels))
    guide = torch.randn(8, 16)  # of the queries and of the documents: none is above the own pair's cosine of 1
    batch.extra |= {"teacher_queries": guide, "teacher_documents": guide.clone()}
    own = torch.eye(8, dtype=torch.bool)
    sides = [F.normalize(side) for side in (batch.queries, batch.documents)]
    others = [(scale * (side @ side.T)).masked_fill(own, -torch.inf) for side in sides]
    logits = torch.cat([scale * (sides[0] @ sides[1].T), *others], dim=1)
    scale.grad = None
    batch.check("gist", F.cross_entropy(logits, torch.arange(8)), teacher="guide", gist__margin=-0.5)


def masked_mnrl():
    """What is no negative of what, as torch users write it: -inf before the softmax."""
    n, m = 14, 35
    batch = Batch(n, 0, 8)
    batch.documents = torch.randn(m, 8, requires_grad=True)
    batch.leaves = [batch.queries, batch.documents]
    owner = torch.cat([torch.arange(n), torch.randint(0, n, (m - n,))])
    known = torch.rand(n, m) < 0.15
    known[:, :n].fill_diagonal_(False)
    knows = known[:, :n]
    batch.extra = {"known": known, "owner": owner}
    for chosen in (), ("doc_to_query",), ("query_to_query", "doc_to_query", "doc_to_doc"):
        q, d = F.normalize(batch.queries), F.normalize(batch.documents)
        blocks = {
            "query_to_doc": (q @ d.T, known),
            "query_to_query": (q @ q.T, torch.eye(n, dtype=torch.bool) | knows | knows.T),
            "doc_to_query": (d[:n] @ q.T, knows.T),
            "doc_to_doc": (d[:n] @ d.T, known | (owner[None] == torch.arange(n)[:, None])),
        }
        scores = [similarity.masked_fill(mask, -torch.inf) for name, (similarity, mask) in blocks.items()
                  if name in ("query_to_doc", *chosen)]
        loss = F.cross_entropy(20 * torch.cat(scores, 1), torch.arange(n))
        batch.check("mnrl", loss, **{f"directions__{name}": "true" for name in chosen})


class Guided(losses.CachedGISTEmbedLoss):
    """Its loss of given embeddings, without models."""

    def __init__(self, **settings):
        torch.nn.Module.__init__(self)
        defaults = {"temperature": 0.01, "margin_strategy": "absolute", "margin": 0.0, "contrast_anchors": True,
                    "contrast_positives": True}
        vars(self).update(defaults | settings, gather_across_devices=False, mini_batch_size=7, show_progress_bar=False)
        self.similarity_fct, self.cross_entropy_loss = torch.nn.CosineSimilarity(dim=-1), torch.nn.CrossEntropyLoss()


def gist():
    for shape in (1, 0, 4), (9, 0, 8), (16, 2, 32):
        batch = Batch(*shape)
        # The guide likes the positives, as guides do, and takes some of the other texts for positives as well.
        guide_queries = torch.randn(shape[0], 24)
        guide_documents = torch.cat([guide_queries + torch.randn(shape[0], 24), torch.randn(shape[0] * shape[1], 24)])
        batch.extra = {"teacher_queries": guide_queries, "teacher_documents": guide_documents}
        guides = [guide_queries, *guide_documents.split(shape[0])]
        for settings in ({}, {"margin": 0.3}, {"margin_strategy": "relative", "margin": 0.5, "temperature": 0.05},
                         {"contrast_anchors": False}, {"contrast_positives": False, "temperature": 0.1}):
            loss = Guided(**settings).calculate_loss([[c] for c in batch.columns()], [[g] for g in guides])
            words = {f"gist__{k}": str(v).lower() for k, v in settings.items()}
            batch.check("gist", loss, **words)


def distillation():
    for shape in (1, 1, 5), (1, 3, 8), (16, 4, 32):
        n, k, _ = shape
        batch = Batch(*shape)
        scores = 3 * torch.randn(n, 1 + k)
        batch.extra = {"scores": scores.T.reshape(-1)}
        batch.check("margin_mse", from_embeddings(losses.MarginMSELoss(None), batch, scores))
        cosine = losses.MarginMSELoss(None, similarity_fct=F.cosine_similarity)
        batch.check("margin_mse", from_embeddings(cosine, batch, scores), similarity="cosine")
        for temperature in 1.0, 2.5:
            loss = losses.DistillKLDivLoss(None, temperature=temperature)
            batch.check("distill_kl", from_embeddings(loss, batch, scores), temperature=temperature)
        batch.extra = {"scores": (100 * scores).T.reshape(-1)}  # a teacher that is sure
        batch.check("distill_kl", from_embeddings(losses.DistillKLDivLoss(None), batch, 100 * scores))


class EmbedDistill(losses.EmbedDistillLoss):
    def __init__(self, metric):
        torch.nn.Module.__init__(self)
        self.distance_metric, self.projection = metric, None


def embed_distill():
    for shape in (1, 0, 4), (8, 2, 16):
        for metric in "cosine", "mse", "l2":
            batch = Batch(*shape)
            teachers = [torch.randn(shape[0], shape[2]) for _ in range(2 + shape[1])]
            batch.extra = {"teacher_queries": teachers[0], "teacher_documents": torch.cat(teachers[1:])}
            batch.check("embed_distill", from_embeddings(EmbedDistill(metric), batch, teachers), distill=metric)


def labelled_pairs():
    metrics = {"cosine": SiameseDistanceMetric.COSINE_DISTANCE, "euclidean": SiameseDistanceMetric.EUCLIDEAN,
               "manhattan": SiameseDistanceMetric.MANHATTAN}
    for shape in SHAPES:
        batch = Batch(*shape)
        pairs = batch.pairs()
        count = len(batch.documents)
        graded = torch.randint(0, 4, (count,)) / 3  # with ties
        binary = torch.cat([torch.ones(batch.n), torch.zeros(count - batch.n)])
        batch.extra = {"scores": graded}
        for name, loss in ("cosent", losses.CoSENTLoss(None)), ("angle", losses.AnglELoss(None)):
            batch.check(name, loss.compute_loss_from_embeddings(pairs, graded))
            batch.check(name, loss.compute_loss_from_embeddings(pairs, binary), labels="binary")
        batch.check("cosent", losses.CoSENTLoss(None, scale=500.0).compute_loss_from_embeddings(pairs, graded),
                    scale=500)
        batch.check("cosine_similarity", losses.CosineSimilarityLoss(None).compute_loss_from_embeddings(pairs, graded))
        for name, metric in metrics.items():
            for margin in 0.5, 20.0:
                contrastive = losses.ContrastiveLoss(None, distance_metric=metric, margin=margin)
                online = losses.OnlineContrastiveLoss(None, distance_metric=metric, margin=margin)
                settings = {"contrastive__distance": name, "contrastive__margin": margin}
                batch.check("contrastive", contrastive.compute_loss_from_embeddings(pairs, graded), **settings)
                batch.check("online_contrastive", online.compute_loss_from_embeddings(pairs, binary), labels="binary",
                            **settings)


def mixed_labels_of_online_contrastive():
    batch = Batch(20, 1, 6)
    labels = torch.randint(0, 2, (40,)).float()
    batch.extra = {"scores": labels}
    for one_sided in labels, torch.ones(40), torch.zeros(40):
        batch.extra = {"scores": one_sided}
        loss = losses.OnlineContrastiveLoss(None).compute_loss_from_embeddings(batch.pairs(), one_sided)
        batch.check("online_contrastive", loss)


def triplets():
    metrics = {"cosine": TripletDistanceMetric.COSINE, "euclidean": TripletDistanceMetric.EUCLIDEAN,
               "manhattan": TripletDistanceMetric.MANHATTAN}
    for shape in (1, 1, 4), (16, 1, 32):
        batch = Batch(*shape)
        for name, metric in metrics.items():
            for margin in 0.1, 5.0:
                loss = losses.TripletLoss(None, distance_metric=metric, triplet_margin=margin)
                batch.check("triplet", from_embeddings(loss, batch), triplet__distance=name, triplet__margin=margin)


def batch_triplets():
    metrics = {"cosine": batch_hard_triplet.BatchHardTripletLossDistanceFunction.cosine_distance,
               "euclidean": batch_hard_triplet.BatchHardTripletLossDistanceFunction.euclidean_distance}
    names = {"batch_all_triplet": losses.BatchAllTripletLoss, "batch_hard_triplet": losses.BatchHardTripletLoss,
             "batch_semi_hard_triplet": losses.BatchSemiHardTripletLoss}
    for n, classes in (2, 2), (10, 4), (10, 1), (10, 100):
        batch = Batch(n, 1, 12)
        labels = torch.randint(0, classes, (3 * n,)) if classes < 100 else torch.arange(3 * n)
        batch.extra = {"classes": labels}
        theirs = lambda loss: loss.compute_loss_from_embeddings([torch.cat([batch.queries, batch.documents])], labels)
        for distance, metric in metrics.items():
            for margin in 0.2, 5.0:
                for name, kind in names.items():
                    loss = theirs(kind(None, distance_metric=metric, margin=margin))
                    # They compute distances from dot products, with a relative error of 1e-7 |x|^2 / d^2.
                    batch.check(name, loss, 1e-4, triplet__distance=distance, triplet__margin=margin)
            loss = theirs(losses.BatchHardSoftMarginTripletLoss(None, distance_metric=metric))
            batch.check("batch_hard_soft_margin_triplet", loss, 1e-4, triplet__distance=distance)


def matryoshka():
    """The losses as they are, of vectors cut and normalized."""
    dims, weights = (24, 16, 5), (1.0, 0.5, 2.0)
    batch = Batch(10, 1, 24)
    teachers = torch.randn(10, 24), torch.randn(20, 24)

    def total(loss):
        whole = 0
        for dim, weight in zip(dims, weights):
            whole = whole + weight * loss([F.normalize(c[:, :dim]) for c in batch.columns()], dim)
        return whole

    settings = {"matryoshka__dims": ",".join(map(str, dims)), "matryoshka__weights": ",".join(map(str, weights))}
    ranking = losses.MultipleNegativesRankingLoss(None)
    batch.check("mnrl", total(lambda c, _: ranking.compute_loss_from_embeddings(c, None)), **settings)
    triplet = losses.TripletLoss(None, triplet_margin=1.0)
    batch.check("triplet", total(lambda c, _: triplet.compute_loss_from_embeddings(c, None)), triplet__margin=1,
                **settings)
    batch.extra = {"teacher_queries": teachers[0], "teacher_documents": teachers[1]}
    cut = lambda dim: [t[:, :dim] for t in (teachers[0], *teachers[1].split(10))]
    batch.check("embed_distill", total(lambda c, dim: EmbedDistill("mse").compute_loss_from_embeddings(c, cut(dim))),
                distill="mse", **settings)


# ---- cross-encoder ---------------------------------------------------------------------------------------------------
class GivenLogits(torch.nn.Module):
    """Stands for a cross-encoder: gives the logits that are due, whatever it is asked."""

    num_labels, device = 1, torch.device("cpu")

    def preprocess(self, pairs, **_):
        return {"places": torch.tensor([place for _, place in pairs])}

    def forward(self, features):
        return {"scores": self.logits[features["places"]].reshape(-1, 1)}


class Lists:
    def __init__(self, sizes, spread=5.0, graded=True, offsets=True):
        self.sizes = sizes
        self.starts = torch.tensor([0, *torch.tensor(sizes).cumsum(0).tolist()])
        n = int(self.starts[-1])
        self.labels = torch.randint(0, 4, (n,)).float() if graded else torch.zeros(n)
        self.labels[self.starts[:-1]] = 4.0 if graded else 1.0  # the first is the best
        self.logits = (spread * torch.randn(n, 1)).requires_grad_()
        self.offsets = torch.randn(n) if offsets else torch.zeros(n)

    def groups(self):
        return list(zip(self.starts[:-1].tolist(), self.starts[1:].tolist()))

    def listwise(self, kind, **options):
        """sentence-transformers' loss; the documents of a query are the places of their logits."""
        model = GivenLogits()
        model.logits = self.logits[:, 0] + self.offsets
        loss = kind(model, **options)
        documents = [list(range(a, b)) for a, b in self.groups()]
        return loss([["q"] * len(documents), documents], [self.labels[a:b] for a, b in self.groups()])

    def check(self, name, loss, **settings):
        checked.add(name)
        inputs = {"logits": self.logits, "labels": self.labels, "offsets": self.offsets, "starts": self.starts}
        settings = {"loss.name": name} | {f"loss.{k.replace('__', '.')}": v for k, v in settings.items()}
        compare(f"{name} {self.sizes} {spelled(settings)}", tandem("cross", inputs, settings), loss, [self.logits])
        self.logits.grad = None

    def x(self):
        return self.logits[:, 0] + self.offsets


SIZES = ([5, 2, 9, 3], [1], [2], [30] * 4, [1, 40])
WEIGHTINGS = {"ndcg2pp": cross_losses.NDCGLoss2PPScheme(), "ndcg2": cross_losses.NDCGLoss2Scheme(),
              "ndcg1": cross_losses.NDCGLoss1Scheme(),
              "rank": cross_losses.LambdaRankScheme(), "none": cross_losses.NoWeightingScheme()}


def better_pairs(lists, k=None):
    """How many pairs, and how many of them with a rank within k."""
    every = within = 0
    for a, b in lists.groups():
        order = lists.x()[a:b].argsort(descending=True, stable=True)
        better = lists.labels[a:b][order][:, None] > lists.labels[a:b][order]
        every += int(better.sum())
        within += int(better[:k].sum() + better[k:, :k].sum()) if k else 0
    return every, within


def listwise():
    for sizes in SIZES:
        for spread in 1.0, 30.0:
            lists = Lists(sizes, spread)
            lists.check("list_net", lists.listwise(cross_losses.ListNetLoss))
            for alpha in 1.0, 0.3:
                lists.check("adr_mse", lists.listwise(cross_losses.ADRMSELoss, alpha=alpha), alpha=alpha)
            for name, kind in ("list_mle", cross_losses.ListMLELoss), ("p_list_mle", cross_losses.PListMLELoss):
                ranked = Lists(sizes, spread)
                # No ties, whose order torch leaves open.
                ranked.labels = ranked.labels + torch.rand(len(ranked.labels)) / 2
                ranked.check(name, ranked.listwise(kind, respect_input_order=False))
                ranked.labels = torch.ones(len(ranked.labels))
                ranked.check(name, ranked.listwise(kind))
            for name, scheme in WEIGHTINGS.items():
                lists.check("lambda", lists.listwise(cross_losses.LambdaLoss, weighting_scheme=scheme),
                            lambda__weighting=name)
            lists.check("lambda", lists.listwise(cross_losses.LambdaLoss, sigma=0.5, reduction_log="natural"),
                        lambda__sigma=0.5, lambda__log="natural")
            every, within = better_pairs(lists, 3)
            if every > 0:
                loss = lists.listwise(cross_losses.LambdaLoss, weighting_scheme=WEIGHTINGS["rank"], k=3)
                lists.check("lambda", loss * within / every, lambda__weighting="rank", lambda__k=3)
    binary = Lists([6, 4, 9], graded=False)
    binary.check("lambda", binary.listwise(cross_losses.LambdaLoss))
    tied = Lists([6, 4])
    tied.logits = torch.zeros(10, 1, requires_grad=True)
    tied.offsets = torch.zeros(10)
    tied.check("lambda", tied.listwise(cross_losses.LambdaLoss))
    large = Lists([7])
    large.labels = large.labels * 20
    large.check("lambda", large.listwise(cross_losses.LambdaLoss, weighting_scheme=WEIGHTINGS["ndcg2"]),
                lambda__weighting="ndcg2")


def pairwise():
    """RankNet is LambdaLoss without weights; sentence-transformers takes the logarithm to base 2."""
    for sizes in [5, 2, 9, 3], [2]:
        for graded in True, False:
            lists = Lists(sizes, graded=graded)
            lists.check("pairwise", lists.listwise(cross_losses.RankNetLoss, reduction_log="natural"))
            lists.check("pairwise", lists.listwise(cross_losses.RankNetLoss) * torch.log(torch.tensor(2.0)))


def pointwise():
    for sizes in [1], [5, 2, 9, 3]:
        lists = Lists(sizes, spread=20.0)
        lists.check("mse", F.mse_loss(lists.x(), lists.labels))
        lists.labels = lists.labels / 4
        lists.check("bce", F.binary_cross_entropy_with_logits(lists.x(), lists.labels))
        lists.check("bce", F.binary_cross_entropy_with_logits(lists.x(), lists.labels, pos_weight=torch.tensor(4.0)),
                    pos_weight=4)
        classes = Lists(sizes)
        classes.logits = torch.randn(len(classes.labels), 5, requires_grad=True)
        classes.check("cross_entropy", F.cross_entropy(classes.logits, classes.labels.long()))


def grouped():
    """One positive and some negatives: their losses have as many columns for every row, ours need not."""
    for sizes in [2], [5, 2, 9, 3]:
        lists = Lists(sizes)
        rows = [lists.x()[a:b] for a, b in lists.groups()]
        first = torch.tensor([0])
        lists.check("softmax", torch.stack([F.cross_entropy(r[None], first) for r in rows]).mean())
        lists.check("mnrl", torch.stack([F.cross_entropy(10 * r[None].sigmoid(), first) for r in rows]).mean())
        targets = torch.cat([lists.labels[a] - lists.labels[a + 1 : b] for a, b in lists.groups()])
        lists.check("margin_mse", F.mse_loss(torch.cat([r[0] - r[1:] for r in rows]), targets))
    even = Lists([4] * 6)
    columns = list(even.x().reshape(6, 4).T)
    theirs = types.SimpleNamespace(activation_fn=torch.nn.Sigmoid(), scale=10.0,
                                   cross_entropy_loss=torch.nn.CrossEntropyLoss())
    even.check("mnrl", cross_losses.MultipleNegativesRankingLoss.calculate_loss(theirs, columns, 6))
    model = GivenLogits()
    model.logits = even.x()
    places = torch.arange(24).reshape(6, 4).T.tolist()
    even.check("margin_mse", cross_losses.MarginMSELoss(model)([["q"] * 6, *places], even.labels.reshape(6, 4)))


# CrossEncoder losses ask for a CrossEncoder; what they use of it is what GivenLogits has.
for module in "margin_mse", "multiple_negatives_ranking":
    sys.modules[f"sentence_transformers.cross_encoder.losses.{module}"].CrossEncoder = GivenLogits
pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
with tempfile.TemporaryDirectory() as folder, subprocess.Popen([PROBE], **pipes) as probe:
    for case in (mnrl, learnable_scale, masked_mnrl, gist, distillation, embed_distill, labelled_pairs,
                 mixed_labels_of_online_contrastive, triplets, batch_triplets, matryoshka, listwise, pairwise, pointwise,
                 grouped):
        case()
    for kind in "bi", "cross":  # nothing is left out: the message lists the names of the table
        names = set(ask(kind, "in", "out", "loss.name=?").split("expected one of ")[1].split(";")[0].split(", "))
        assert names <= checked, names - checked
