"""Tokenizers for the parity tests: those of ../shared, in the form of tokenizer.json where they
come in another, and made ones of the kinds that models use. Each is a function of a folder to
write in, and gives (directory for tandem, tokenizers.Tokenizer of the same)."""
import base64
import functools
import json
import shutil
import struct
import zipfile

from tokenizers import AddedToken, BertWordPieceTokenizer, Regex, Tokenizer, models, normalizers, pre_tokenizers
from tokenizers import processors as post, trainers
from tokenizer_oracle import ASSIGNED, FIXTURES, pieces, real_texts

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|"
          r"\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
CLIP = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


def special(content, **flags):
    return AddedToken(content, **{"special": True, "normalized": False, **flags})


def specials(*contents):
    return [special(content) for content in contents]


def chance_tokens(rng, contents, normalize):
    """Some of the contents as added tokens, with flags by chance. `normalize` is the tokenizer's."""
    added, seen = [], set()
    for content in rng.sample(contents, rng.randint(1, 12)):
        flags = {key: rng.random() < 0.4 for key in ("single_word", "lstrip", "rstrip", "normalized")}
        pattern = normalize(content) if flags["normalized"] else content
        # What cannot be told apart or matches nothing is refused; a token that takes the spaces
        # another begins with makes the library fail.
        if pattern and (pattern, flags["normalized"]) not in seen and not (content[0] == " " and flags["lstrip"]):
            seen.add((pattern, flags["normalized"]))
            added.append(AddedToken(content, special=rng.random() < 0.5, **flags))
    return added


def saved(folder, name, oracle):
    """Writes the tokenizer and reads it back, as both sides then do."""
    (folder / name).mkdir()
    oracle.save(str(folder / name / "tokenizer.json"))
    return folder / name, Tokenizer.from_file(str(folder / name / "tokenizer.json"))


def truncated(folder, name, model, oracle, max_length, stride=0, strategy="longest_first", direction="right"):
    """A directory with the same tokenizer and a truncation, which `oracle` is given, too."""
    oracle.enable_truncation(max_length, stride=stride, strategy=strategy, direction=direction)
    whole = json.loads((model / "tokenizer.json").read_text())
    whole["truncation"] = {"max_length": max_length, "stride": stride, "direction": direction.capitalize(),
                           "strategy": strategy.title().replace("_", "")}
    (folder / name).mkdir()
    (folder / name / "tokenizer.json").write_text(json.dumps(whole))
    return folder / name


def template(single, pair, *tokens, oracle):
    ids = [(token, oracle.token_to_id(token)) for token in tokens]
    return post.TemplateProcessing(single=single, pair=pair, special_tokens=ids)


# ---- those of ../shared -----------------------------------------------------------------------
def from_json(name):
    path = FIXTURES / name
    return lambda folder: (path, Tokenizer.from_file(str(path / "tokenizer.json")))


def from_vocab(name):
    def build(folder):
        model = folder / name
        model.mkdir()
        shutil.copyfile(FIXTURES / name / "vocab.txt", model / "vocab.txt")
        (model / "tokenizer_config.json").write_text('{"do_lower_case": false}')
        rules = dict(lowercase=False, strip_accents=False)
        return model, BertWordPieceTokenizer(str(model / "vocab.txt"), **rules)._tokenizer
    return build


def charsmap():
    """The rules nmt_nfkc of SentencePiece, as T5 and XLM-RoBERTa have them."""
    normalizer = json.loads((FIXTURES / "t5-small" / "tokenizer.json").read_text())["normalizer"]
    return normalizers.Precompiled(base64.b64decode(normalizer["precompiled_charsmap"]))


def xlm_roberta(folder):
    """As transformers converts it; the scores are those of the dictionary."""
    with zipfile.ZipFile(FIXTURES / "xlm-roberta-base" / "pos.dict.utf8.zip") as archive:
        lines = archive.read("pos.dict.utf8").decode().rstrip("\n").split("\n")
    vocab = [("<s>", 0.0)] + [(token, float(score)) for token, _, score in (line.split("\t") for line in lines)]
    oracle = Tokenizer(models.Unigram(vocab, unk_id=3, byte_fallback=False))
    oracle.normalizer = charsmap()
    oracle.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    oracle.add_special_tokens(specials("<s>", "<pad>", "</s>", "<unk>") + [special("<mask>", lstrip=True)])
    oracle.post_processor = template("<s> $A </s>", "<s> $A </s> </s> $B </s>", "<s>", "</s>", oracle=oracle)
    return saved(folder, "xlm-roberta-base", oracle)


def varint(data, at):
    value = shift = 0
    while True:
        value |= (data[at] & 0x7F) << shift
        shift, at = shift + 7, at + 1
        if data[at - 1] < 0x80:
            return value, at


def fields(data):
    """(number, value) of a protobuf message's fields; floats as their four bytes."""
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        if key & 7 == 0:
            value, at = varint(data, at)
        else:
            size, at = (4, at) if key & 7 == 5 else varint(data, at)
            value, at = data[at:at + size], at + size
        yield key >> 3, value


def xlnet(folder):
    """As transformers converts it (XLNetConverter)."""
    vocab, rules = [], None
    for number, value in fields((FIXTURES / "xlnet-base-cased" / "spiece.model").read_bytes()):
        if number == 1:  # a piece: text, score
            piece = dict(fields(value))
            vocab.append((piece[1].decode(), struct.unpack("<f", piece[2])[0]))
        elif number == 3:  # the normalizer
            rules = dict(fields(value))[2]
    oracle = Tokenizer(models.Unigram(vocab, unk_id=0, byte_fallback=False))
    oracle.normalizer = normalizers.Sequence([
        normalizers.Replace("``", '"'), normalizers.Replace("''", '"'), normalizers.NFKD(), normalizers.StripAccents(),
        normalizers.Precompiled(rules), normalizers.Replace(Regex(" {2,}"), " ")])
    oracle.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    tokens = specials("<s>", "</s>", "<unk>", "<sep>", "<pad>", "<cls>", "<eop>", "<eod>")
    oracle.add_special_tokens(tokens + [special("<mask>", lstrip=True)])
    oracle.post_processor = template("$A:0 <sep>:0 <cls>:2", "$A:0 <sep>:0 $B:1 <sep>:1 <cls>:2", "<sep>", "<cls>",
                                     oracle=oracle)
    return saved(folder, "xlnet-base-cased", oracle)


REAL = {
    "all-MiniLM-L6-v2": from_json("all-MiniLM-L6-v2"),
    "bert-base-uncased": from_json("bert-base-uncased"),
    "ms-marco-MiniLM-cross-encoder": from_json("ms-marco-MiniLM-cross-encoder"),
    "bert-base-cased": from_vocab("bert-base-cased"),
    "bert-base-multilingual-cased": from_vocab("bert-base-multilingual-cased"),
    "roberta-base": from_json("roberta-base"),
    "t5-small": from_json("t5-small"),
    "xlm-roberta-base": xlm_roberta,
    "xlnet-base-cased": xlnet,
}
REAL = {name: build for name, build in REAL.items() if (FIXTURES / name).is_dir()}


# ---- trained on real text -----------------------------------------------------------------------
@functools.cache
def sample():
    return pieces(real_texts()[0][:3000])[:20000]


def trained(pre_tokenizer, size, normalizer=None, **options):
    """(vocabulary, merges) of a small BPE model."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizer
    if normalizer:
        tokenizer.normalizer = normalizer
    tokenizer.train_from_iterator(sample(), trainers.BpeTrainer(vocab_size=size, show_progress=False, **options))
    model = json.loads(tokenizer.to_str())["model"]
    return model["vocab"], [tuple(merge) for merge in model["merges"]]


def bytes_of(*before):
    """ByteLevel that splits nothing, after these."""
    return pre_tokenizers.Sequence([*before, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


@functools.cache
def byte_level_bpe():
    return trained(pre_tokenizers.ByteLevel(add_prefix_space=False), 3000,
                   initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()))


def modern_bert(folder):
    vocab, merges = byte_level_bpe()
    oracle = Tokenizer(models.BPE(vocab, merges))
    oracle.normalizer = normalizers.NFC()
    oracle.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=True)
    oracle.add_tokens([AddedToken(" " * n, normalized=True) for n in range(24, 1, -1)])
    oracle.add_special_tokens(specials("[CLS]", "[SEP]", "[PAD]", "[UNK]") + [special("[MASK]", lstrip=True)])
    oracle.post_processor = template("[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1", "[CLS]", "[SEP]", oracle=oracle)
    return saved(folder, "modern-bert", oracle)


def llama(folder):
    """The whole text is one word; bytes stand for what the vocabulary lacks."""
    pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    vocab, merges = trained(pre_tokenizer, 3000, limit_alphabet=90)
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *vocab]
    oracle = Tokenizer(models.BPE({t: i for i, t in enumerate(tokens)}, merges, unk_token="<unk>", fuse_unk=True,
                                  byte_fallback=True))
    oracle.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    oracle.add_special_tokens(specials("<unk>", "<s>", "</s>"))
    oracle.post_processor = template("<s> $A", "<s> $A <s>:1 $B:1", "<s>", oracle=oracle)
    return saved(folder, "llama", oracle)


def llama3(folder):
    vocab, merges = byte_level_bpe()
    oracle = Tokenizer(models.BPE(vocab, merges, ignore_merges=True))
    oracle.pre_tokenizer = bytes_of(pre_tokenizers.Split(Regex(LLAMA3), "isolated"))
    oracle.add_special_tokens(specials("<|begin|>", "<|endoftext|>"))
    oracle.post_processor = post.Sequence([post.ByteLevel(trim_offsets=False), template(
        "<|begin|> $A", "<|begin|> $A <|begin|>:1 $B:1", "<|begin|>", oracle=oracle)])
    return saved(folder, "llama3", oracle)


def qwen2(folder):
    vocab, merges = byte_level_bpe()
    oracle = Tokenizer(models.BPE(vocab, merges))
    oracle.normalizer = normalizers.NFC()
    oracle.pre_tokenizer = bytes_of(pre_tokenizers.Split(Regex(QWEN2), "isolated"))
    oracle.add_special_tokens([special("<|endoftext|>")])
    oracle.post_processor = post.ByteLevel(add_prefix_space=False, trim_offsets=False)
    return saved(folder, "qwen2", oracle)


def clip(folder):
    normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "),
                                       normalizers.Lowercase()])
    pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(CLIP), "removed", invert=True),
                                             pre_tokenizers.ByteLevel(add_prefix_space=False)])
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab, merges = trained(pre_tokenizer, 3000, normalizer, initial_alphabet=alphabet, end_of_word_suffix="</w>")
    for token in [c + "</w>" for c in alphabet] + ["<|startoftext|>", "<|endoftext|>"]:
        vocab.setdefault(token, len(vocab))
    oracle = Tokenizer(models.BPE(vocab, merges, unk_token="<|endoftext|>", end_of_word_suffix="</w>", fuse_unk=False))
    oracle.normalizer, oracle.pre_tokenizer = normalizer, pre_tokenizer
    oracle.add_special_tokens([special("<|startoftext|>", normalized=True), special("<|endoftext|>")])
    ends = [(t, oracle.token_to_id(t)) for t in ("<|endoftext|>", "<|startoftext|>")]
    oracle.post_processor = post.RobertaProcessing(*ends, trim_offsets=False, add_prefix_space=False)
    return saved(folder, "clip", oracle)


def falcon(folder):
    vocab, merges = byte_level_bpe()
    oracle = Tokenizer(models.BPE(vocab, merges))
    oracle.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Punctuation("contiguous"), pre_tokenizers.ByteLevel(add_prefix_space=False),
        pre_tokenizers.Digits(individual_digits=False), pre_tokenizers.Split(Regex("[0-9][0-9][0-9]"), "isolated")])
    oracle.add_special_tokens([special("<|endoftext|>", normalized=True, single_word=True)])
    return saved(folder, "falcon", oracle)


def roberta_processing(name, **options):
    """RoBERTa with the two flags of its post-processor and the prefix space in all ways."""
    def build(folder):
        vocab, merges = byte_level_bpe()
        oracle = Tokenizer(models.BPE(vocab, merges))
        oracle.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=options["add_prefix_space"])
        oracle.add_special_tokens(specials("<s>", "</s>") + [special("<mask>", lstrip=True, rstrip=True)])
        ends = [(t, oracle.token_to_id(t)) for t in ("</s>", "<s>")]
        oracle.post_processor = post.RobertaProcessing(*ends, **options)
        return saved(folder, name, oracle)
    return build


def word_level(folder):
    split = pre_tokenizers.Whitespace()
    words = [word for text in sample()[:3000] for word, _ in split.pre_tokenize_str(text.lower())]
    vocab = {word: i for i, word in enumerate(dict.fromkeys(["[UNK]", "[CLS]", "[SEP]", *words]))}
    oracle = Tokenizer(models.WordLevel(vocab, unk_token="[UNK]"))
    oracle.normalizer = normalizers.Sequence([normalizers.NFD(), normalizers.Lowercase(), normalizers.StripAccents()])
    oracle.pre_tokenizer = split
    oracle.add_special_tokens(specials("[UNK]", "[CLS]", "[SEP]"))
    oracle.post_processor = post.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    return saved(folder, "word-level", oracle)


def unigram(name, **metaspace):
    """A Unigram of many scripts' letters and some words, with bytes for the rest."""
    def build(folder):
        words = {word for text in sample()[:2000] for word in text.split()}
        tokens = ["<unk>", "<s>", *(f"<0x{byte:02X}>" for byte in range(256)), "\u2581", *ASSIGNED[:3000], "--", "...",
                  *sorted("\u2581" + word for word in words)[::3], *sorted(word[:4] for word in words)[::5]]
        vocab = [(token, -2.0 - (7919 * i % 10007) / 1000.7) for i, token in enumerate(dict.fromkeys(tokens))]
        oracle = Tokenizer(models.Unigram(vocab, unk_id=0, byte_fallback=True))
        oracle.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Strip(),
                                                  normalizers.Replace(Regex(" {2,}"), " ")])
        oracle.pre_tokenizer = pre_tokenizers.Metaspace(**metaspace)
        oracle.add_special_tokens([special("<s>"), special("<mask>", lstrip=True)])
        return saved(folder, name, oracle)
    return build


MADE = {
    "modern-bert": modern_bert, "llama": llama, "llama3": llama3, "qwen2": qwen2, "clip": clip, "falcon": falcon,
    "word-level": word_level,
    "roberta-trim": roberta_processing("roberta-trim", trim_offsets=True, add_prefix_space=True),
    "roberta-whole": roberta_processing("roberta-whole", trim_offsets=False, add_prefix_space=True),
    "unigram-first": unigram("unigram-first", prepend_scheme="first", split=True),
    "unigram-never": unigram("unigram-never", prepend_scheme="never", split=False),
}


# ---- components, seen through a model that hides nothing ----------------------------------------------
def transparent(folder, name, normalizer=None, pre_tokenizer=None):
    """Every byte is a token, another at the end of a word: ids show the normalized text and how
    it is split."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {token: i for i, token in enumerate(alphabet + [c + "</w>" for c in alphabet])}
    oracle = Tokenizer(models.BPE(vocab, [], end_of_word_suffix="</w>"))
    oracle.pre_tokenizer = bytes_of(pre_tokenizer) if pre_tokenizer else bytes_of()
    if normalizer:
        oracle.normalizer = normalizer
    oracle.add_tokens([AddedToken("<s>", special=True, normalized=False), AddedToken("foo", normalized=True)])
    return saved(folder, name, oracle)


def normalizer_kinds():
    n = normalizers
    kinds = {
        "NFC": n.NFC(), "NFD": n.NFD(), "NFKC": n.NFKC(), "NFKD": n.NFKD(), "Nmt": n.Nmt(), "Lowercase": n.Lowercase(),
        "StripAccents": n.StripAccents(), "Strip": n.Strip(), "Strip left": n.Strip(right=False),
        "Strip right": n.Strip(left=False), "Prepend": n.Prepend("\u2581"), "ByteLevel": n.ByteLevel(),
        "Replace": n.Replace("ab", "xyz"), "Replace by nothing": n.Replace("a", ""),
        "Replace spaces": n.Replace(Regex(r"\s+"), " "), "Replace runs": n.Replace(Regex(" {2,}"), "\u2581"),
        "Bert": n.BertNormalizer(lowercase=True),
        "accents": n.Sequence([n.NFD(), n.Lowercase(), n.StripAccents()]),
        "compatible": n.Sequence([n.NFKC(), n.Lowercase(), n.Replace("ss", "\u00DF"), n.NFD(), n.Strip()]),
        "Metaspace": n.Sequence([n.Prepend("\u2581"), n.Replace(" ", "\u2581"), n.NFC()]),
    }
    if "t5-small" in REAL:
        kinds["Precompiled"] = charsmap()
        kinds["Precompiled, then others"] = n.Sequence([n.NFKD(), charsmap(), n.Lowercase(), n.Strip()])
    return kinds


def pre_tokenizer_kinds():
    """All but UnicodeScripts, which is refused by name."""
    p = pre_tokenizers
    behaviors = ("removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous")
    kinds = {
        "Bert": p.BertPreTokenizer(), "Whitespace": p.Whitespace(), "WhitespaceSplit": p.WhitespaceSplit(),
        "ByteLevel": p.ByteLevel(add_prefix_space=True),
        "ByteLevel whole": p.ByteLevel(add_prefix_space=True, use_regex=False), "Digits": p.Digits(),
        "each digit": p.Digits(individual_digits=True), "CharDelimiterSplit": p.CharDelimiterSplit("-"),
        "Split GPT-2": p.Split(Regex(GPT2), "isolated"), "Split Llama 3": p.Split(Regex(LLAMA3), "isolated"),
        "Split Qwen 2": p.Split(Regex(QWEN2), "removed", invert=True),
        "Split CLIP": p.Split(Regex(CLIP), "removed", invert=True),
        "three digits": p.Split(Regex(r"\d{1,3}(?=(\d{3})*\b)"), "isolated"),
        "sequence": p.Sequence([p.WhitespaceSplit(), p.Punctuation(), p.Digits(individual_digits=True)]),
        "Metaspace twice": p.Sequence([p.WhitespaceSplit(), p.Metaspace(), p.Metaspace(prepend_scheme="first")]),
        "FixedLength": p.FixedLength(5),
    }
    for behavior in behaviors:
        kinds[f"Punctuation {behavior}"] = p.Punctuation(behavior)
        for invert in (False, True):
            kinds[f"Split text {behavior} {invert}"] = p.Split("a", behavior, invert=invert)
            kinds[f"Split regex {behavior} {invert}"] = p.Split(Regex(r"[aeiou]+|\s"), behavior, invert=invert)
    for scheme in ("always", "first", "never"):
        for split in (False, True):
            kinds[f"Metaspace {scheme} {split}"] = p.Metaspace(prepend_scheme=scheme, split=split)
    return kinds
