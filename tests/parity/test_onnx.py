"""Exports against their own source: onnxruntime within 1e-4 of PyTorch, for every family and what follows its encoder,
batches of one and many, lengths 1 to the limit; fp16 and int8 within what they round; the same through OpenVINO, by `export
--check`; transformers.js uses the directory as it is."""
import copy
import importlib.util
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

from tiny_models import np, randomize, save, sentence, torch, transformers, write_lines
from test_model_families import CONFIGS, VOCAB, length_limit

try:
    import onnx
    import onnxruntime
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Dense, LayerNorm, Normalize, Pooling, Transformer
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

TANDEM = os.environ["TANDEM"]
SOURCE = pathlib.Path(os.environ["TANDEM_SOURCE"])
BASE = SOURCE / ".venv/all-MiniLM-L6-v2"
# Both engines compute in float32; through six layers their sums differ in order only.
TOLERANCE = 1e-4
# Of the largest number. fp16 keeps 11 bits of what each of a few dozen operations gives.
TOLERANCE_FP16 = 1e-2
# The same of int8, beside PyTorch that rounds as the graph does: what is left are numbers so near the middle of two steps that the
# order of a sum decides, each by 1/255 of its range (seen: .02 in some families, 4e-7 where there are none). Weights of 7 bits: the
# sums of 8 saturate on CPUs without VNNI.
TOLERANCE_INT8 = 5e-2
INT8 = ("--dtype", "fp32,fp16,int8", "--weight-bits", "7")
DTYPES = {"fp32": "model.onnx", "fp16": "model_fp16.onnx", "int8": "model_quantized.onnx"}
PROBE_ONNX = os.path.join(os.environ["TANDEM_BUILD"], "tests", "probe_onnx")
torch.manual_seed(7)
worst = {}


def export(model, out, *options):
    """Sessions of the graphs in `out`/onnx, by dtype."""
    subprocess.run([TANDEM, "-q", "export", "--model", str(model), "-o", str(out), *options], check=True)
    return sessions(out)


def sessions(out):
    found = {}
    for dtype, name in DTYPES.items():
        path = str(out / "onnx" / name)
        if os.path.exists(path):
            onnx.checker.check_model(path, full_check=True)
            found[dtype] = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return found


def library(package, pattern):
    """A shared library of an installed package; None where there is none."""
    spec = importlib.util.find_spec(package)
    found = sorted(pathlib.Path(spec.origin).parent.glob(pattern)) if spec else []
    return str(found[0]) if found else None


def openvino():
    return library("openvino", "libs/libopenvino_c.so*")


def batches(vocab, limit, types):
    """Random ids, that of padding among them: batches of one and many, lengths 1, 2, odd, the limit, and ragged ones padded."""
    random = np.random.default_rng(3)
    for count, length in ((1, 1), (1, 2), (1, limit), (3, min(17, limit)), (8, min(33, limit)), (2, limit)):
        ids = random.integers(0, vocab, (count, length))
        mask = np.ones((count, length), np.int64)
        for row in range(1, count):
            mask[row, max(1, length * row // count):] = 0
        kinds = np.zeros_like(mask)
        if types > 1:
            kinds[:, length // 2:] = 1
        yield ids.astype(np.int64), mask, kinds


def check(name, difference, tolerance=TOLERANCE):
    assert difference <= tolerance, f"{name}: {difference} > {tolerance}"
    worst[name] = max(worst.get(name, 0.0), float(difference))


def check_part(name, found, expected, tolerance):
    """In units of the largest number."""
    check(name, np.abs(found - expected).max() / np.abs(expected).max(), tolerance)


def round_activation(layer, inputs):
    """DynamicQuantizeLinear of a whole tensor, and back."""
    x = inputs[0]
    low, high = min(x.min().item(), 0), max(x.max().item(), 0)
    scale = np.float32(high - low) / np.float32(255)
    zero = np.clip(np.rint(-np.float32(low) / scale), 0, 255)
    return (((x / float(scale)).round() + float(zero)).clamp(0, 255) - float(zero)) * float(scale)


def rounded(model, bits=7):
    """A copy whose encoder computes as int8 does: linear layers with a scale for each output and inputs in 255 steps, word embeddings
    with a scale for each word. Poolers and heads stay as they are."""
    copied = copy.deepcopy(model)
    encoder = copied.base_model
    layers = [module for name, module in encoder.named_modules() if isinstance(module, torch.nn.Linear) and not name.startswith("pooler")]
    for layer in layers:
        layer.register_forward_pre_hook(round_activation)
    for module, highest in [(layer, 2 ** (bits - 1) - 1) for layer in layers] + [(encoder.get_input_embeddings(), 127)]:
        with torch.no_grad():
            scale = module.weight.abs().amax(1, keepdim=True) / highest
            scale[scale == 0] = 1
            module.weight.copy_((module.weight / scale).round() * scale)
    return copied


def inputs_of(session, ids, mask, kinds):
    given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": kinds}
    return {i.name: given[i.name] for i in session.get_inputs() if i.name in given}


def torch_inputs(named):
    return {name: torch.tensor(value) for name, value in named.items()}


# ---- every family ---------------------------------------------------------------------------------


def family_directory(work, name, settings, loader, **more):
    config = transformers.AutoConfig.for_model(name, **settings, **more)
    model = randomize(loader.from_config(config, attn_implementation="eager"))
    return config, model, pathlib.Path(save(model, config.max_position_embeddings, str(work / "model")))


def family(work, name, settings):
    config, model, directory = family_directory(work, name, settings, transformers.AutoModel)
    graphs = export(directory, work / "bi", *INT8)
    session, references = graphs["fp32"], {"fp32": model, "fp16": model, "int8": rounded(model)}
    assert [o.name for o in session.get_outputs()] == ["last_hidden_state", "sentence_embedding"]
    assert [i.shape for i in session.get_inputs()] == [["batch_size", "sequence_length"]] * len(session.get_inputs())
    assert len(session.get_inputs()) == (3 if name in ("bert", "electra") else 2)
    for ids, mask, kinds in batches(VOCAB, length_limit(config), getattr(config, "type_vocab_size", 1)):
        named = inputs_of(session, ids, mask, kinds)
        attended = mask[..., None] > 0
        for dtype, reference in references.items():
            label = f"{name}, {dtype}: hidden states and mean"
            hidden, embedding = graphs[dtype].run(None, named)
            assert hidden.dtype == embedding.dtype == np.float32
            with torch.no_grad():
                expected = reference(**torch_inputs(named)).last_hidden_state.numpy()
            mean = (expected * attended).sum(1) / attended.sum(1)
            if dtype == "fp32":
                check(label, max(np.abs((hidden - expected) * attended).max(), np.abs(embedding - mean).max()))
            else:
                tolerance = TOLERANCE_FP16 if dtype == "fp16" else TOLERANCE_INT8
                check_part(label, hidden * attended, expected * attended, tolerance)
                check_part(label, embedding, mean, tolerance)


def family_classifier(work, name, settings, labels):
    config, model, directory = family_directory(work, name, settings, transformers.AutoModelForSequenceClassification, num_labels=labels)
    graphs = export(directory, work / f"cross{labels}", *INT8)
    session, model8 = graphs["fp32"], rounded(model)
    assert [o.name for o in session.get_outputs()] == ["logits", "scores"]
    for ids, mask, kinds in batches(VOCAB, length_limit(config), getattr(config, "type_vocab_size", 1)):
        named = inputs_of(session, ids, mask, kinds)
        with torch.no_grad():
            expected, expected8 = model(**torch_inputs(named)).logits.numpy(), model8(**torch_inputs(named)).logits.numpy()
        logits, scores = session.run(None, named)
        assert logits.shape == expected.shape
        check(f"{name}: logits", np.abs(logits - expected).max())
        # As sentence-transformers scores: a sigmoid for one label, nothing for many.
        check(f"{name}: scores", np.abs(scores - (1 / (1 + np.exp(-expected)) if labels == 1 else expected)).max())
        check(f"{name}, int8: logits", np.abs(graphs["int8"].run(["logits"], named)[0] - expected8).max(), TOLERANCE_INT8)


def through_openvino(work, name, settings, loader, dtypes):
    """export --check runs the graphs there, and fails where they leave its bounds (1e-4 of fp32)."""
    _, _, directory = family_directory(work, name, settings, loader)
    environment = dict(os.environ, TANDEM_ONNX_ENGINE=openvino())
    done = subprocess.run([TANDEM, "-q", "export", "--model", str(directory), "-o", str(work / "checked"), "--dtype", dtypes, "--check"],
                          env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith("OpenVINO"), done.stdout + done.stderr


def outputs_alone(work):
    """Graphs that give hidden states or vectors alone, and cut; the numbers of bits of weights."""
    _, model, directory = family_directory(work, "bert", CONFIGS["bert"][0], transformers.AutoModel)
    hidden = export(directory, work / "hidden", "--outputs", "hidden")["fp32"]
    vectors = export(directory, work / "vectors", "--outputs", "embedding", "--dimensions", "12")["fp32"]
    assert [o.name for o in hidden.get_outputs()] == ["last_hidden_state"]
    assert [o.name for o in vectors.get_outputs()] == ["sentence_embedding"] and vectors.get_outputs()[0].shape[1] == 12
    assert json.loads((work / "vectors/config_sentence_transformers.json").read_text())["truncate_dim"] == 12
    for ids, mask, kinds in batches(VOCAB, 40, 2):
        named = inputs_of(hidden, ids, mask, kinds)
        with torch.no_grad():
            expected = model(**torch_inputs(named)).last_hidden_state.numpy()
        attended = mask[..., None] > 0
        check("hidden states alone", np.abs((hidden.run(None, named)[0] - expected) * attended).max())
        check("vectors alone", np.abs(vectors.run(None, named)[0] - ((expected * attended).sum(1) / attended.sum(1))[:, :12]).max())
    for bits, highest in ("7", 63), ("8", 127):
        export(directory, work / bits, "--dtype", "int8", "--weight-bits", bits)
        tensors = onnx.load(str(work / bits / "onnx/model_quantized.onnx")).graph.initializer
        layers = [onnx.numpy_helper.to_array(t) for t in tensors if t.data_type == onnx.TensorProto.INT8 and "word" not in t.name]
        assert all((np.abs(t).max(0) == highest).all() for t in layers), bits  # every output of every layer


def static_int8(work):
    """--calibrate takes the ranges of what each linear layer reads from a dataset's texts, one by one."""
    engine = library("onnxruntime", "capi/libonnxruntime.so*")
    if not engine:
        print("skipped: the onnxruntime package has no library of its own")
        return
    _, model, directory = family_directory(work, "bert", CONFIGS["bert"][0], transformers.AutoModel)
    texts = [sentence(np.random.default_rng(i), 3, 20) for i in range(6)]
    (work / "data").mkdir()
    write_lines(work / "data/corpus.jsonl", [{"_id": str(i), "text": text} for i, text in enumerate(texts[:4])])
    write_lines(work / "data/queries.jsonl", [{"_id": str(i), "text": text} for i, text in enumerate(texts[4:])])
    command = [TANDEM, "-q", "export", "--model", directory, "-o", work / "static", "--dtype", "int8", "--calibrate", work / "data"]
    subprocess.run([str(word) for word in command], check=True, env=dict(os.environ, TANDEM_ONNX_ENGINE=engine))
    session = sessions(work / "static")["int8"]

    low, high = {}, {}
    def measure(name):
        def hook(_, inputs):
            low[name], high[name] = min(low.get(name, 0), inputs[0].min().item()), max(high.get(name, 0), inputs[0].max().item())
        return hook
    read_once = [(n, m) for n, m in model.named_modules() if isinstance(m, torch.nn.Linear) and not n.endswith(("key", "value")) and not n.startswith("pooler")]
    for name, module in read_once:
        module.register_forward_pre_hook(measure(name))
    tokenizer = transformers.AutoTokenizer.from_pretrained(str(directory))
    for text in texts:
        with torch.no_grad():
            model(**tokenizer(text, return_tensors="pt"))
    graph = onnx.load(str(work / "static/onnx/model_quantized.onnx")).graph
    constants = {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer}
    nodes = [n for n in graph.node if n.op_type == "QuantizeLinear"]
    assert len(nodes) == len(read_once) and not any(n.op_type == "DynamicQuantizeLinear" for n in graph.node)
    for node, (name, _) in zip(nodes, read_once):
        check("ranges of static int8", abs(constants[node.input[1]] - (high[name] - low[name]) / 255))
        assert constants[node.input[2]].dtype == np.uint8
        assert abs(int(constants[node.input[2]]) + low[name] / constants[node.input[1]]) < 0.51
    for text in texts:
        named = inputs_of(session, *(v.astype(np.int64) for k in ("input_ids", "attention_mask", "token_type_ids") for v in [tokenizer(text, return_tensors="np")[k]]))
        with torch.no_grad():
            expected = model(**torch_inputs(named)).last_hidden_state.numpy()
        # Beside numbers that are not rounded at all: half a step of weights and activations, through all layers (seen: .03).
        check_part("static int8 on the texts of its ranges", session.run(None, named)[0], expected, 0.1)


def external_data(work):
    """Over a limit, weights lie in a second file, as the same numbers."""
    _, _, directory = family_directory(work, "modernbert", CONFIGS["modernbert"][0], transformers.AutoModel)
    graphs = export(directory, work / "inline", "--dtype", "fp32,fp16,int8")
    subprocess.run([PROBE_ONNX, str(directory), str(work / "external"), "20000"], check=True)
    config = json.loads((work / "external/config.json").read_text())
    assert config["transformers.js_config"]["use_external_data_format"] == dict.fromkeys(DTYPES.values(), True)
    assert "transformers.js_config" not in json.loads((work / "inline/config.json").read_text())
    outside = sessions(work / "external")
    for dtype, name in DTYPES.items():
        tensors = onnx.load(str(work / "external/onnx" / name), load_external_data=False).graph.initializer
        entries = [{e.key: e.value for e in t.external_data} for t in tensors if t.data_location == onnx.TensorProto.EXTERNAL]
        assert entries and all(e["location"] == f"{name}_data" and int(e["offset"]) % 4096 == 0 for e in entries)
        assert os.path.getsize(work / "external/onnx" / name) < os.path.getsize(work / "inline/onnx" / name)
        for ids, mask, kinds in batches(VOCAB, 40, 1):
            named = inputs_of(outside[dtype], ids, mask, kinds)
            assert np.array_equal(outside[dtype].run(None, named)[1], graphs[dtype].run(None, named)[1])


# ---- what follows the encoder -----------------------------------------------------------------------


def sentence_models(work):
    """Modules after the encoder, and how many tokens of a prompt pooling leaves out."""
    def encoder():
        config = transformers.AutoConfig.for_model("bert", **CONFIGS["bert"][0])
        return Transformer(save(randomize(transformers.AutoModel.from_config(config)), 40, str(work / "encoder")))

    for mode in Pooling.POOLING_MODES:
        yield f"{mode} pooling", [encoder(), Pooling(32, mode)], 0
        yield f"{mode} pooling without the prompt", [encoder(), Pooling(32, mode, include_prompt=False)], 3
    yield "joined poolings", [encoder(), Pooling(32, ("max", "cls", "mean")), Normalize()], 0
    dense = [randomize(Dense(64, 24)), randomize(LayerNorm(24)), randomize(Dense(24, 40, bias=False, activation_function=torch.nn.GELU()))]
    yield "Dense, LayerNorm, Dense, Normalize", [encoder(), Pooling(32, ("cls", "lasttoken")), *dense, Normalize()], 0


def sentence_model(work, name, modules, prompt):
    reference = SentenceTransformer(modules=modules, device="cpu").eval()
    reference.truncate_dim = 20 if "Dense" in name else None
    reference.save(str(work / "st"))
    session = export(work / "st", work / "out")["fp32"]
    assert session.get_outputs()[1].shape == ["batch_size", reference.get_embedding_dimension()]
    for ids, mask, kinds in batches(VOCAB, 40, 2):
        if ids.shape[1] <= prompt:
            continue
        mask[:, : prompt + 1] = 1  # something to pool is left
        named = inputs_of(session, ids, mask, kinds)
        with torch.no_grad():
            features = torch_inputs(named) | ({"prompt_length": prompt} if prompt else {})
            expected = reference(features)["sentence_embedding"][:, : reference.truncate_dim].numpy()
        option = {"prompt_length": np.array([prompt])} if prompt else {}
        check(name, np.abs(session.run(["sentence_embedding"], named | option)[0] - expected).max())


# ---- the real model -------------------------------------------------------------------------------------

TEXTS = ["A man is eating food.", "tokens, punctuation -- and Ünïcödé", "x", "within " * 200, "beyond " * 400]


def real_model(work):
    """The exported directory of the real model in onnxruntime, sentence-transformers and transformers.js."""
    out = work / "real"
    graphs = export(BASE, out, "--dtype", "fp32,fp16,int8")
    session = graphs["fp32"]
    reference = SentenceTransformer(str(BASE), device="cpu")
    expected = reference.encode(TEXTS)
    named = {k: v.numpy() for k, v in reference.tokenize(TEXTS).items() if isinstance(v, torch.Tensor)}
    named = {i.name: named[i.name] for i in session.get_inputs()}
    check("all-MiniLM-L6-v2", np.abs(session.run(["sentence_embedding"], named)[0] - expected).max())
    again = SentenceTransformer(str(out), device="cpu").encode(TEXTS)
    check("the directory in sentence-transformers", np.abs(expected - again).max())
    # What is lost by rounding, seen: 3e-4 and .02; unit vectors' largest numbers are about .2.
    check("fp16 of all-MiniLM-L6-v2", np.abs(graphs["fp16"].run(["sentence_embedding"], named)[0] - expected).max(), 2e-3)
    check("int8 of all-MiniLM-L6-v2", 1 - (graphs["int8"].run(["sentence_embedding"], named)[0] * expected).sum(1).min(), 0.03)
    # transformers.js takes a text at a time here, and int8's ranges are those of a batch.
    one_by_one = [{k: v[i:i + 1, : named["attention_mask"][i].sum()] for k, v in named.items()} for i in range(len(TEXTS))]
    javascript(out, {name: np.vstack([graphs[dtype].run(["sentence_embedding"], text)[0] for text in one_by_one])
                     for name, dtype in (("fp32", "fp32"), ("fp16", "fp16"), ("q8", "int8"))})


def javascript(out, expected):
    js = SOURCE / ".venv/js/node_modules/@huggingface/transformers"
    if not js.exists():
        print("skipped: transformers.js is not installed")
        return
    script = SOURCE / "tests/js/embed.mjs"
    for dtype, vectors in expected.items():
        env = dict(os.environ, TRANSFORMERS_JS=str(js), MODEL=str(out), DTYPE=dtype)
        answer = subprocess.run(["node", str(script)], input=json.dumps(TEXTS), env=env, capture_output=True, text=True)
        assert answer.returncode == 0, answer.stderr
        found = np.array(json.loads(answer.stdout)["embeddings"])
        # transformers.js cuts a text over the limit after adding special tokens, and so drops
        # [SEP] where tokenizers keeps it: it is compared on the texts within the limit. The two versions of one
        # engine differ in the order of sums, and int8 in the steps that those decide.
        check(f"transformers.js, feature-extraction with its own pooling, {dtype}", np.abs(found - vectors)[:-1].max(),
              {"fp32": TOLERANCE, "fp16": 2e-3, "q8": 0.03}[dtype])


def in_folder(function, *arguments):
    folder = pathlib.Path(tempfile.mkdtemp())
    try:
        function(folder, *arguments)
    finally:
        shutil.rmtree(folder)


def main():
    for name in CONFIGS:
        for settings in CONFIGS[name]:
            in_folder(family, name, settings)
            for labels in (1, 3):
                in_folder(family_classifier, name, settings, labels)
        if openvino():
            loader = transformers.AutoModelForSequenceClassification if name in ("roberta", "mpnet") else transformers.AutoModel
            in_folder(through_openvino, name, CONFIGS[name][0], loader, "fp32,int8" if name == "bert" else "fp32")
    if not openvino():
        print("skipped: OpenVINO is not installed")
    in_folder(outputs_alone)
    in_folder(external_data)
    in_folder(static_int8)
    with tempfile.TemporaryDirectory() as folder:
        for name, modules, prompt in sentence_models(pathlib.Path(folder)):
            in_folder(sentence_model, name, modules, prompt)
    if BASE.exists():
        in_folder(real_model)
    else:
        print("skipped: no base model")
    for name, difference in worst.items():
        print(f"{name}: largest difference {difference:.2e}")
    print("ok")


if __name__ == "__main__":
    main()
