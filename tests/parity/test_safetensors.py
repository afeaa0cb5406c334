"""The safetensors reader against the Python package: every file that both take holds the
same tensors, and tandem takes nothing that the package refuses."""

import json
import os
import random
import struct
import subprocess
import sys
import tempfile

try:
    from safetensors import deserialize
except ImportError:
    sys.exit(77)

SHARED = os.environ.get("TANDEM_SHARED", "../shared")
PROBE = os.path.join(os.environ["TANDEM_BUILD"], "tests", "probe_safetensors")

# What tandem refuses although the package takes it; parts of messages.
STRICTER = (
    "more than 8 numbers",  # the package has no limit of dimensions
    "dtype",  # narrow floats and complex numbers, which no model here has
    "expected a string, an integer",  # true, null or a fraction under a key that nobody reads
    "U+0000",  # in names
    "already in this object",  # the package takes the last of two tensors with one name
    "header byte 8: expected '{'",  # blanks before the header
)


def pack(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header, separators=(",", ":")).encode()
    return struct.pack("<Q", len(text)) + text + data


def entry(dtype, shape, begin, end):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


SAMPLES = [
    pack({}),
    pack({"__metadata__": {"format": "pt"}}),
    pack({"a": entry("F32", [2, 2], 0, 16), "b": entry("BF16", [3], 16, 22)}, bytes(range(22))),
    pack({"z": entry("I64", [1], 8, 16), "a": entry("F64", [], 0, 8), "e": entry("F32", [0, 5], 8, 8)}, bytes(range(16))),
    pack({"\u00e9\"\\ \U0001f600": entry("BOOL", [3], 0, 3)}, b"\0\1\1"),
    pack({"m": entry("U8", [2, 1, 2], 0, 4)} | {"__metadata__": {"a": "b", "c": "d"}}, b"abcd"),
    pack(b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}   ', b"abcd"),
    pack(b'{ "a" :\n{"shape":[ 1 ],\t"data_offsets":[0,4],"dtype":"\\u0046\\u0033\\u0032"}}', b"abcd"),
    pack({f"t{i}": entry("F16", [i], i * (i - 1), i * (i + 1)) for i in range(12)}, bytes(132)),
]

# Numbers, names and shapes that readers have disagreed on.
DOUBTFUL = [
    pack(b'{"a":{"dtype":"F32","shape":[%s],"data_offsets":[0,4]}}' % number, b"abcd")
    for number in (b"01", b"+1", b"1.0", b"1e0", b"-0", b"1,", b"", b"null", b"true", b'"1"', b"[1]", b"1 1", b"0x1", b"18446744073709551617")
] + [
    pack(b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}', b"abcd"),
    pack(b'{"a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}}', b"abcd"),
    pack(b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":7}}', b"abcd"),
    pack(b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4,4]}}', b"abcd"),
    pack(b'{"a":{"dtype":"f32","shape":[1],"data_offsets":[0,4]}}', b"abcd"),
    pack(b'{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}}'),
    pack(b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},}', b"abcd"),
    pack(b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}x', b"abcd"),
    pack(b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}\n', b"abcd"),
    pack(b' {"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}', b"abcd"),
    pack(b'{"a\n":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}', b"abcd"),
    pack(b'{"\\ud800":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}', b"abcd"),
    pack(b'{"\xff":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}', b"abcd"),
    pack(b'{"__metadata__":{"a":1}}'),
    pack(b'{"__metadata__":{"a":"b","a":"b"}}'),
    pack(b'{"__metadata__":[]}'),
    pack({"a": entry("F32", [1], 0, 4), "b": entry("F32", [1], 0, 4)}, b"abcd"),
    pack({"a": entry("F32", [1], 0, 4), "b": entry("F32", [0], 0, 0)}, b"abcd"),
    pack({"a": entry("F32", [1], 0, 4), "b": entry("F32", [0], 2, 2)}, b"abcd"),
    struct.pack("<Q", 100_000_001) + b"{}",
    struct.pack("<Q", 2**64 - 1) + b"{}",
    b"",
    bytes(8),
]


def mutate(rng, data):
    data = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        if not data:
            break
        at = rng.randrange(len(data))
        choice = rng.randrange(4)
        if choice == 0:
            data[at] = rng.randrange(256)
        elif choice == 1:
            data[at] = rng.choice(b'0123456789{}[],:" ')
        elif choice == 2:
            del data[at : at + rng.randint(1, 3)]
        else:
            data[at:at] = bytes([rng.choice(b'0123456789{}[],:" ')])
    if rng.random() < 0.7 and len(data) >= 8:  # an honest length, so that the change is looked at
        end = data.rfind(b"}") + 1
        if end > 8:
            data[:8] = struct.pack("<Q", end - 8)
    return bytes(data)


def cases():
    rng = random.Random(11)
    yield from SAMPLES
    yield from DOUBTFUL
    for sample in SAMPLES:
        for cut in range(len(sample)):
            yield sample[:cut]
        for _ in range(400):
            yield mutate(rng, sample)
    folder = os.path.join(SHARED, "fixtures", "weights", "safetensors-samples")
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
        with open(os.path.join(folder, name), "rb") as file:
            yield file.read()


def read_with_package(data):
    try:
        return {name: [t["dtype"], list(t["shape"]), bytes(t["data"]).hex()] for name, t in deserialize(data)}
    except Exception:
        return None


def main():
    with tempfile.TemporaryDirectory() as folder:
        inputs, paths = list(cases()), []
        for i, data in enumerate(inputs):
            paths.append(os.path.join(folder, f"{i}.safetensors"))
            with open(paths[-1], "wb") as file:
                file.write(data)
        lines = subprocess.run([PROBE], input="\n".join(paths) + "\n", capture_output=True, text=True, check=True).stdout.splitlines()
    assert len(lines) == len(inputs)
    failures, both, stricter = [], 0, 0
    for data, line in zip(inputs, lines):
        ours, theirs = json.loads(line), read_with_package(data)
        if isinstance(ours, dict):
            both += ours == theirs
            if ours != theirs:
                failures.append((data, ours, theirs))
        elif theirs is not None:
            stricter += 1
            if not any(part in ours for part in STRICTER):
                failures.append((data, ours, theirs))
    for data, ours, theirs in failures[:10]:
        print(f"{data!r}\n  tandem:  {ours}\n  package: {theirs}")
    print(f"{len(inputs)} files: {both} read alike, {stricter} refused by tandem alone, {len(failures)} failures")
    assert both > 100, "too few files were read to say anything"
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
