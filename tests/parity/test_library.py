"""libtandem through ctypes (docs/examples/embed.py), in a process that uses torch itself: the vectors and scores of
sentence-transformers, one thread or eight, and torch's settings as they were."""
import os
import pathlib
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

try:
    import numpy as np
    import torch
    from sentence_transformers import CrossEncoder, SentenceTransformer
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

SOURCE = pathlib.Path(os.environ["TANDEM_SOURCE"])
LIBRARY = str(pathlib.Path(os.environ["TANDEM_BUILD"]) / "libtandem.so.0")
BASE = SOURCE / ".venv/all-MiniLM-L6-v2"
sys.path.insert(0, str(SOURCE / "docs/examples"))
from embed import Session  # noqa: E402

TEXTS = ["what is lift", "", "Überraschung: 漢字 and \x00 a NUL", "the wing of a bird " * 90, "drag", "heat flows over a plate"] + [
    f"{subject} {verb} {thing}" for subject in ("a glacier", "the tide", "rye bread") for verb in ("carves", "moves") for thing in ("stone", "sand")]
# Both compute in float32; through six layers their sums differ in order only.
TOLERANCE = 1e-5


def settings():
    return torch.get_num_threads(), torch.are_deterministic_algorithms_enabled(), torch.is_grad_enabled()


def check(what, ours, theirs):
    difference = np.abs(np.asarray(ours) - theirs).max()
    print(f"{what}: {difference:.1e}")
    assert difference <= TOLERANCE, what


def embeddings():
    theirs = SentenceTransformer(str(BASE), device="cpu").encode(TEXTS)
    before = settings()
    model = Session(str(BASE), LIBRARY, threads=1)
    ours = model.embed(TEXTS)
    check("embeddings", ours, theirs)
    with ThreadPoolExecutor(8) as pool:
        again = list(pool.map(lambda _: model.embed(TEXTS), range(8)))
    assert all(vectors == ours for vectors in again), "eight threads give something else than one"
    assert settings() == before, (settings(), before)
    check("cut to 100 numbers", Session(str(BASE), LIBRARY, width=100).embed(TEXTS), theirs[:, :100])


def scores(work):
    subprocess.run([sys.executable, str(SOURCE / "tests/cli/make_tiny.py"), work], check=True)
    pairs = [("t1w1 t1w2", f"t{i}w1 t{i}w2 t1w1") for i in range(9)]
    theirs = CrossEncoder(f"{work}/cross", device="cpu").predict(pairs, activation_fn=torch.nn.Identity())
    check("scores", Session(f"{work}/cross", LIBRARY).score(pairs), theirs)


def main():
    if not BASE.exists():
        print("skipped: all-MiniLM-L6-v2 is missing")
        sys.exit(77)
    embeddings()
    with tempfile.TemporaryDirectory() as work:
        scores(work)


main()
