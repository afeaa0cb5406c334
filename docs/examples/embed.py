"""Embeddings and scores in Python through ctypes, with nothing but libtandem.

    model = Session("my-model")                        # libtandem.so.0 from where the loader finds it
    vectors = model.embed(["what is lift"], "query")   # a list of lists of floats
    scores = Session("my-cross-encoder").score([("what is lift", "a force on a wing")])

A session may be used by many threads at the same time: ctypes lets go of Python's lock during a call."""
import ctypes
import json
import os
import sys


class Options(ctypes.Structure):
    """tandem_session_options"""
    _fields_ = [("size", ctypes.c_size_t), ("threads", ctypes.c_size_t), ("max_length", ctypes.c_size_t),
                ("width", ctypes.c_size_t), ("precision", ctypes.c_char_p)]


class Utf8(ctypes.Structure):
    """tandem_utf8; of Python's bytes, which must live as long."""
    _fields_ = [("text", ctypes.c_char_p), ("length", ctypes.c_size_t)]


class Pair(ctypes.Structure):
    """tandem_utf8_pair"""
    _fields_ = [("query", Utf8), ("document", Utf8)]


def load(path):
    library = ctypes.CDLL(path)
    session, size, floats = ctypes.c_void_p, ctypes.c_size_t, ctypes.POINTER(ctypes.c_float)
    for name, result, arguments in (
            ("tandem_error_message", ctypes.c_char_p, []),
            ("tandem_session_open", ctypes.c_int, [ctypes.POINTER(session), ctypes.c_char_p, ctypes.POINTER(Options)]),
            ("tandem_session_close", None, [session]),
            ("tandem_session_scores_pairs", ctypes.c_int, [session]),
            ("tandem_session_width", size, [session]),
            ("tandem_session_embed", ctypes.c_int, [session, ctypes.POINTER(Utf8), size, ctypes.c_char_p, floats, size]),
            ("tandem_session_score", ctypes.c_int, [session, ctypes.POINTER(Pair), size, floats, size])):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


class Session:
    def __init__(self, directory, library=os.environ.get("LIBTANDEM", "libtandem.so.0"), precision="fp32", **options):
        self.library, self.session = load(library), ctypes.c_void_p()
        known = Options(ctypes.sizeof(Options), precision=precision.encode(), **options)
        self.check(self.library.tandem_session_open(ctypes.byref(self.session), os.fsencode(directory), ctypes.byref(known)))
        self.width = self.library.tandem_session_width(self.session)

    def __del__(self):
        if getattr(self, "session", None):
            self.library.tandem_session_close(self.session)

    def check(self, code):
        if code < 0:
            raise RuntimeError(self.library.tandem_error_message().decode(errors="replace"))

    def rows(self, function, items, *more):
        out = (ctypes.c_float * (len(items) * self.width))()
        self.check(function(self.session, items, len(items), *more, out, len(out)))
        return [out[i * self.width:(i + 1) * self.width] for i in range(len(items))]

    def embed(self, texts, prompt=None):
        data = [text.encode() for text in texts]
        items = (Utf8 * len(data))(*[Utf8(text, len(text)) for text in data])
        return self.rows(self.library.tandem_session_embed, items, None if prompt is None else prompt.encode())

    def score(self, pairs):
        data = [(query.encode(), document.encode()) for query, document in pairs]
        items = (Pair * len(data))(*[Pair(Utf8(q, len(q)), Utf8(d, len(d))) for q, d in data])
        return [row[0] if self.width == 1 else row for row in self.rows(self.library.tandem_session_score, items)]


if __name__ == "__main__":  # embed.py MODEL < LINES: a JSON array of each line's numbers
    for vector in Session(sys.argv[1]).embed(sys.stdin.read().splitlines()):
        print(json.dumps(vector))
