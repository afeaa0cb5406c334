"""The files of docs/formats.md against h5py, NumPy, tokenizers and libzstd itself."""
import ctypes
import ctypes.util
import json
import os
import subprocess
import sys
import tempfile
import zipfile

try:
    import h5py
    import numpy as np
    from tokenizers import Tokenizer
except ImportError as missing:
    print("skipped:", missing)
    sys.exit(77)

PROBE = os.path.join(os.environ["TANDEM_BUILD"], "tests/probe_formats")
SHARED = os.environ["TANDEM_SHARED"]


def probe(*arguments):
    subprocess.run([PROBE, *arguments], check=True, env={**os.environ, "TANDEM_CACHE": "off"})


def refused(*arguments):
    done = subprocess.run([PROBE, *arguments], capture_output=True, text=True)
    assert done.returncode == 1, done
    return done.stderr


# ---- embeddings --------------------------------------------------------------------
def check_vectors():
    vectors = np.random.default_rng(3).standard_normal((1000, 37), dtype=np.float32)
    np.save("a.npy", vectors)
    probe("copy", "a.npy", "b.h5")
    with h5py.File("b.h5") as file:
        array = file["embeddings"]
        assert array.dtype == np.float32 and array.chunks is None
        assert np.array_equal(array[:], vectors)
        assert list(file["ids"].asstr()) == [str(i) for i in range(1000)]
        assert h5py.check_string_dtype(file["ids"].dtype).encoding == "utf-8"
        expected = {"key": b"0000000000000001" b"0000000000000002", "weights": "w", "tokenizer": "t", "prompt": "café: ",
                    "pooling": "mean", "max_length": 256, "normalized": 1, "count": 1000, "complete": 1}
        assert dict(array.attrs) == expected, dict(array.attrs)
        # Contiguous: the rows can be mapped at the offset that HDF5 gives.
        mapped = np.memmap("b.h5", np.float32, "r", array.id.get_offset(), vectors.shape)
        assert np.array_equal(mapped, vectors)
    probe("copy", "b.h5", "c.npy")
    assert np.array_equal(np.load("c.npy", allow_pickle=False), vectors)
    with open("c.npy", "rb") as file:
        assert np.lib.format.read_magic(file) == (1, 0)
        np.lib.format.read_array_header_1_0(file)
        assert file.tell() % 64 == 0
    for count, dim in ((0, 5), (1, 1)):
        np.save("small.npy", np.zeros((count, dim), np.float32))
        probe("copy", "small.npy", "small.h5")
        with h5py.File("small.h5") as file:
            assert file["embeddings"].shape == (count, dim)
        probe("copy", "small.h5", "again.npy")
        assert np.load("again.npy").shape == (count, dim)


def check_foreign_vectors():
    vectors = np.random.default_rng(4).standard_normal((100, 8), dtype=np.float32)
    for options in ({}, {"chunks": (7, 8)}):
        with h5py.File("d.h5", "w") as file:
            file.create_dataset("embeddings", data=vectors, **options)
            file["ids"] = [f"id{i}" for i in range(100)]
        probe("copy", "d.h5", "e.npy")
        assert np.array_equal(np.load("e.npy"), vectors)
    for name, dtype in (("f8", np.float64), ("f2", np.float16)):
        with h5py.File(f"{name}.h5", "w") as file:
            file["embeddings"] = vectors.astype(dtype)
        assert "expected float32" in refused("copy", f"{name}.h5", "no.npy")
        np.save(f"{name}.npy", vectors.astype(dtype))
        assert "expected float32" in refused("copy", f"{name}.npy", "no.npy")
    with h5py.File("gzip.h5", "w") as file:
        file.create_dataset("embeddings", data=vectors, compression="gzip")
    assert "filter 1;" in refused("copy", "gzip.h5", "no.npy")
    np.save("fortran.npy", np.asfortranarray(vectors))
    assert "fortran_order" in refused("copy", "fortran.npy", "no.npy")
    np.savez("zip.npz", vectors)
    os.rename("zip.npz", "zip.npy")
    assert "not a .npy file" in refused("copy", "zip.npy", "no.npy")
    for version in ((2, 0), (3, 0)):
        with open("version.npy", "wb") as file:
            np.lib.format.write_array(file, vectors, version=version)
        probe("copy", "version.npy", "e.npy")
        assert np.array_equal(np.load("e.npy"), vectors)


# ---- token store ---------------------------------------------------------------------
def decompress(frame, size):
    """With libzstd, as hdf5plugin does; h5py itself has no zstd filter."""
    zstd = ctypes.CDLL(ctypes.util.find_library("zstd"))
    zstd.ZSTD_decompress.restype = ctypes.c_size_t
    out = ctypes.create_string_buffer(size)
    got = zstd.ZSTD_decompress(out, ctypes.c_size_t(size), frame, ctypes.c_size_t(len(frame)))
    assert got == size, (got, size)
    return out.raw


def read_zstd(array):
    properties = array.id.get_create_plist()
    assert properties.get_nfilters() == 1
    assert properties.get_filter(0)[0] == 32015
    assert list(properties.get_filter(0)[2]) == [1]
    parts = []
    for begin in range(0, array.shape[0], array.chunks[0]):
        mask, frame = array.id.read_direct_chunk((begin,) + (0,) * (array.ndim - 1))
        assert mask == 0
        size = int(np.prod(array.chunks)) * array.dtype.itemsize
        chunk = np.frombuffer(decompress(frame, size), array.dtype).reshape(array.chunks)
        parts.append(chunk[:array.shape[0] - begin])
    return np.concatenate(parts)


class Hash128(ctypes.Structure):
    _fields_ = [("low", ctypes.c_uint64), ("high", ctypes.c_uint64)]


def hash128(text):
    """XXH3-128 by libxxhash: high half, low half."""
    xxhash = ctypes.CDLL(ctypes.util.find_library("xxhash"))
    xxhash.XXH3_128bits.restype = Hash128
    data = text.encode()
    value = xxhash.XXH3_128bits(data, ctypes.c_size_t(len(data)))
    return [value.high, value.low]


def check_tokens(model, corpus):
    probe("tokens", model, corpus, "tokens.h5")
    tokenizer = Tokenizer.from_file(os.path.join(model, "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    with open(corpus, encoding="utf-8") as file:
        lines = [json.loads(line) for line in file]
    texts = [(line.get("title", "") + " " + line["text"]).strip() for line in lines]
    encoded = [encoding.ids for encoding in tokenizer.encode_batch(texts, add_special_tokens=False)]
    with h5py.File("tokens.h5") as file:
        assert file["ids"].dtype == np.uint16 and file["offsets"].dtype == np.uint64
        ids, offsets, totals, hashes = (read_zstd(file[name]) for name in ("ids", "offsets", "totals", "hashes"))
        attributes = dict(file.attrs)
    assert offsets.tolist() == np.concatenate([[0], np.cumsum([len(row) for row in encoded])]).tolist()
    assert totals.tolist() == [len(row) for row in encoded]
    assert np.array_equal(ids, np.concatenate(encoded))
    assert hashes.tolist() == [hash128(text) for text in texts]
    assert len(attributes.pop("tokenizer")) == 32
    assert attributes == {"key": b"0000000000000003" b"0000000000000004", "vocab": tokenizer.get_vocab_size(), "limit": 0,
                          "count": len(texts), "complete": 1}, attributes
    return len(ids)


def check_lengths(model, folder):
    """`tandem data check --model` against the lengths that tokenizers gives."""
    tokenizer = Tokenizer.from_file(os.path.join(model, "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    printed = subprocess.run([os.environ["TANDEM"], "data", "check", folder, "--model", model, "--max-length", "256", "--json"],
                             check=True, capture_output=True, text=True).stdout
    lengths = json.loads(printed)["lengths"]
    with open(f"{folder}/corpus.jsonl", encoding="utf-8") as file:
        lines = [json.loads(line) for line in file]
    texts = [(line["title"] + " " + line["text"]).strip() for line in lines]
    counts = np.array([len(encoding.ids) for encoding in tokenizer.encode_batch(texts)])
    expected = np.percentile(counts, [0, 5, 25, 50, 75, 95, 99, 100], method="inverted_cdf").astype(int).tolist()
    assert lengths["documents"] == {"quantiles": expected, "truncated": int((counts > 256).sum())}, (lengths, expected)


def main():
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        check_vectors()
        check_foreign_vectors()
        model = os.path.join(SHARED, "fixtures/tokenizers/all-MiniLM-L6-v2")
        archive = os.path.join(SHARED, "data/beir-scifact/scifact.zip")
        if not os.path.exists(os.path.join(model, "tokenizer.json")) or not os.path.exists(archive):
            print("token store and lengths: no data to check with")
            return
        with zipfile.ZipFile(archive) as packed:
            packed.extractall(".")
        print(check_tokens(model, "scifact/corpus.jsonl"), "token ids are equal")
        check_lengths(model, "scifact")


if __name__ == "__main__":
    SHARED = os.path.abspath(SHARED)
    main()
