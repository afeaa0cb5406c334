"""From the start of a process to the embedding of one text, and the memory that takes, beside sentence-transformers."""

import sys

from side import Row, in_turns, median, require, run_program

PEER = """
import sys
from sentence_transformers import SentenceTransformer
print(SentenceTransformer(sys.argv[1], device="cpu").encode("tides rise and fall").shape)
"""


def rows(context):
    require("sentence_transformers")

    model = context.needed(context.model, "model")
    text = context.folder / "text.jsonl"
    text.write_text('{"_id": "1", "text": "tides rise and fall"}\n')
    output = context.folder / "embedding.npy"
    turns = in_turns({
        "tandem": lambda: run_program([context.tandem, "-q", "encode", "--model", model, "-i", text, "-o", output],
                                      TANDEM_CACHE="off"),
        "peer": lambda: run_program([sys.executable, "-c", PEER, model], HF_HUB_OFFLINE="1")}, context.size(context.rounds, 1, 1),
        warm=context.size(1, 0, 0))
    yield Row("start", "to the first embedding", "s", median(turns["tandem"], "wall"), "sentence-transformers",
              median(turns["peer"], "wall"))
    yield Row("start", "peak memory with one text embedded", "MB", median(turns["tandem"], "peak_rss") / 1e6,
              "sentence-transformers", median(turns["peer"], "peak_rss") / 1e6)
