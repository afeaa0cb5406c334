"""Small random checkpoints for the parity tests, and the comparisons that they share."""

import json
import os
import subprocess
import sys
import warnings

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
warnings.simplefilter("ignore")

try:
    import numpy as np
    import sentence_transformers  # noqa: F401
    import torch
    import transformers
    from safetensors.numpy import load_file
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

PROBE = os.path.join(os.environ["TANDEM_BUILD"], "tests", "probe_model")

WORDS = "[PAD] [UNK] [CLS] [SEP] [MASK] a the of in wing bird lift drag flow over heat shock wave plate layer boundary ##s ##ing ##ed is are".split()

failures = []


def report(what, good, found=""):
    print(f"{'ok  ' if good else 'FAIL'} {what}{found}")
    if not good:
        failures.append(what)


def expect(what, good, found=""):
    report(what, good, "" if good else f" {found}")


def check(what, ours, theirs, tolerance, relative=False):
    ours, theirs = np.asarray(ours, dtype=np.float64), np.asarray(theirs, dtype=np.float64)
    if ours.shape != theirs.shape:
        report(what, False, f": shapes {ours.shape} and {theirs.shape}")
        return
    error = np.abs(ours - theirs).max() / (np.abs(theirs).max() if relative else 1.0)
    report(what, bool(error <= tolerance), f": {error:.2e} (at most {tolerance:.0e})")  # false for NaN


def run(*command):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, command))}\nexit {done.returncode}: {done.stderr}")


def write_lines(path, rows):
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def edit_json(path, *drop, **more):
    with open(path, encoding="utf-8") as file:
        content = json.load(file)
    with open(path, "w", encoding="utf-8") as file:
        json.dump({key: value for key, value in content.items() if key not in drop} | more, file)


def make_tokenizer(max_length, types=True):
    tokenizer = Tokenizer(models.WordPiece({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    names = {"unk_token": "[UNK]", "pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=max_length,
        model_input_names=["input_ids", *(["token_type_ids"] if types else []), "attention_mask"], **names)


def randomize(model):
    """Biases and norms start at 0 and 1, which hides what goes wrong with them."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    return model.eval()


def save(model, max_length, folder):
    model.save_pretrained(folder)
    make_tokenizer(max_length, model.config.model_type in ("bert", "electra")).save_pretrained(folder)
    return folder


def sentence(rng, low, high):
    return " ".join(rng.choice(WORDS[5:21], int(rng.integers(low, high))))


def pack(kind, directory, items, folder):
    """One packed batch of all items through tandem."""
    write_lines(f"{folder}/items.jsonl", items)
    run(PROBE, "pack", kind, directory, f"{folder}/items.jsonl", f"{folder}/out.safetensors")
    return load_file(f"{folder}/out.safetensors")


def compare_files(what, left, right):
    a, b = load_file(left), load_file(right)
    expect(f"{what}: the same tensors, byte for byte",
           a.keys() == b.keys() and all(a[k].tobytes() == b[k].tobytes() and a[k].shape == b[k].shape for k in a), a.keys() ^ b.keys())


def expect_loads(what, loader, directory):
    model, info = loader.from_pretrained(directory, output_loading_info=True)
    left = {key: sorted(info[key]) for key in ("missing_keys", "unexpected_keys", "mismatched_keys") if info[key]}
    expect(f"{what} loads with every weight", not left, left)
    return model.eval()
