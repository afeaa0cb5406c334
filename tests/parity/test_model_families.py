"""Every encoder family against transformers: small random checkpoints of several configurations each; hidden
states, pooled vectors, logits and every gradient, of tandem's packed batch and of transformers' padded one."""

import os
import shutil
import sys
import tempfile

from tiny_models import (WORDS, check, compare_files, edit_json, expect, expect_loads, failures, load_file, np, pack, randomize, run, save, torch,
                         transformers, PROBE)

torch.manual_seed(3)
SHARED = os.environ.get("TANDEM_SHARED", "../shared")

# Relative to the largest number of the reference: float32 sums of a few hundred terms in
# another order, through a few layers and back.
TOLERANCE = 1e-4
# A gradient below this share of the largest is rounding alone (a softmax does not see a shift of
# its scores, so that the keys' biases have no gradient) and is compared with the largest.
NOISE = 1e-4

VOCAB = len(WORDS) + 9


def sizes(hidden, heads, intermediate, layers, positions, **more):
    return dict(vocab_size=VOCAB, hidden_size=hidden, num_attention_heads=heads, intermediate_size=intermediate, num_hidden_layers=layers,
                max_position_embeddings=positions, initializer_range=0.2, **{"pad_token_id": 0} | more)


def distil(hidden, heads, intermediate, layers, positions, **more):
    return dict(vocab_size=VOCAB, dim=hidden, n_heads=heads, hidden_dim=intermediate, n_layers=layers, max_position_embeddings=positions,
                initializer_range=0.2, **more)


FULL, LOCAL = "full_attention", "sliding_attention"
# Heads of 8, 16, 4, 64 and 7 numbers; odd lengths; one and two types; each value of each setting that a
# family varies.
CONFIGS = {
    "bert": [
        sizes(32, 4, 64, 2, 40, type_vocab_size=2),
        sizes(48, 3, 100, 3, 33, type_vocab_size=1, hidden_act="gelu_new", layer_norm_eps=1e-5),
        sizes(21, 3, 30, 2, 17, type_vocab_size=3, hidden_act="relu"),
        sizes(64, 1, 128, 2, 64, hidden_act="silu"),
    ],
    "roberta": [
        sizes(32, 4, 64, 2, 42, type_vocab_size=1, pad_token_id=1, layer_norm_eps=1e-5),
        sizes(20, 5, 36, 2, 35, type_vocab_size=2, pad_token_id=0, hidden_act="relu"),
        sizes(21, 3, 30, 3, 40, type_vocab_size=1, pad_token_id=5),
    ],
    "xlm-roberta": [
        sizes(48, 3, 100, 2, 66, type_vocab_size=1, pad_token_id=1, layer_norm_eps=1e-5),
    ],
    "camembert": [
        sizes(32, 2, 48, 2, 34, type_vocab_size=1, pad_token_id=1, hidden_act="gelu_new"),
    ],
    "distilbert": [
        distil(32, 4, 64, 2, 40),
        distil(21, 3, 30, 3, 33, activation="relu", sinusoidal_pos_embds=True),
        distil(64, 1, 128, 2, 64),
    ],
    "mpnet": [
        sizes(32, 4, 64, 2, 42, pad_token_id=1, layer_norm_eps=1e-5),
        sizes(21, 3, 30, 3, 202, pad_token_id=1, hidden_act="relu"),  # distances in every bucket, and beyond the last
        sizes(48, 3, 100, 2, 19, pad_token_id=1),
    ],
    "electra": [
        sizes(32, 4, 64, 2, 40, embedding_size=20, type_vocab_size=2),
        sizes(21, 3, 30, 2, 33, embedding_size=64, type_vocab_size=1, hidden_act="relu"),
        sizes(48, 3, 100, 2, 64, embedding_size=48),  # no projection
    ],
    "modernbert": [
        sizes(32, 2, 48, 4, 60, local_attention=8),
        sizes(24, 4, 40, 5, 50, local_attention=7, norm_bias=True, attention_bias=True, mlp_bias=True, classifier_bias=True,
              classifier_pooling="mean", classifier_activation="silu", hidden_activation="relu", norm_eps=1e-3,
              layer_types=[LOCAL, FULL, LOCAL, LOCAL, FULL],
              rope_parameters={FULL: {"rope_type": "default", "rope_theta": 500.0}, LOCAL: {"rope_type": "default", "rope_theta": 20.0}}),
        sizes(64, 1, 96, 3, 40, local_attention=128, attention_bias=True, classifier_activation="tanh"),
        sizes(28, 2, 30, 4, 33, local_attention=2, mlp_bias=True, classifier_pooling="mean", hidden_activation="silu"),
    ],
}


def pad_of(config):
    return config.pad_token_id


def length_limit(config):
    """MPNet and RoBERTa count positions from the padding's number on."""
    offset = {"mpnet": 2, "roberta": pad_of(config) + 1, "xlm-roberta": pad_of(config) + 1, "camembert": pad_of(config) + 1}
    return config.max_position_embeddings - offset.get(config.model_type, 0)


def sequences(config, width, rng):
    """Lengths from one token to the limit, every id among them, also that of padding; a gradient for each output."""
    types, limit = getattr(config, "type_vocab_size", 1), length_limit(config)
    lengths = [1, 2, 3, 7, 8, 9, limit // 2, limit - 1, limit, limit, 1]
    return [{"ids": rng.integers(0, VOCAB, n).tolist(), "type_ids": rng.integers(0, types, n).tolist(),
             "gradient": rng.standard_normal(width).astype(np.float32).tolist()} for n in lengths]


def padded(items, config):
    longest = max(len(item["ids"]) for item in items)
    ids = torch.full((len(items), longest), pad_of(config))
    mask, types = torch.zeros_like(ids), torch.zeros_like(ids)
    for row, item in enumerate(items):
        n = len(item["ids"])
        ids[row, :n], types[row, :n], mask[row, :n] = torch.tensor(item["ids"]), torch.tensor(item["type_ids"]), 1
    inputs = {"input_ids": ids, "attention_mask": mask}
    if hasattr(config, "type_vocab_size"):
        inputs["token_type_ids"] = types
    return inputs


def compare_gradients(what, out, model):
    expected = {name: parameter.grad.numpy() for name, parameter in model.named_parameters() if parameter.grad is not None}
    ours = {name.removeprefix("gradient."): value for name, value in out.items() if name.startswith("gradient.")}
    for name, module in model.named_modules():
        # torch gives the row of the padding token no gradient, also where a text holds that token.
        if isinstance(module, torch.nn.Embedding) and module.padding_idx is not None:
            ours[f"{name}.weight"][module.padding_idx] = 0
    expect(f"{what}: a gradient for every weight", ours.keys() == expected.keys(), ours.keys() ^ expected.keys())
    largest = max(float(np.abs(value).max()) for value in expected.values())
    worst = ("", 0.0)
    for name in ours.keys() & expected.keys():
        scale = float(np.abs(expected[name]).max())
        error = float(np.abs(ours[name] - expected[name]).max()) / (scale if scale >= NOISE * largest else largest)
        worst = max(worst, (name, error), key=lambda pair: pair[1] if pair[1] == pair[1] else float("inf"))
    check(f"{what}: {len(expected)} gradients, the worst of {worst[0]}", worst[1], 0, TOLERANCE)


def backward(output, items):
    (output * torch.tensor([item["gradient"] for item in items])).sum().backward()


def test_bi(what, config, folder, rng):
    model = randomize(transformers.AutoModel.from_config(config, attn_implementation="eager"))
    directory = save(model, config.max_position_embeddings, f"{folder}/bi")
    items = sequences(config, config.hidden_size, rng)
    inputs = padded(items, config)
    out = pack("bi", directory, items, folder)
    hidden = model(**inputs).last_hidden_state
    mask = inputs["attention_mask"].bool()
    check(f"{what}: hidden states", out["hidden"], hidden.detach()[mask], TOLERANCE, relative=True)
    pooled = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
    check(f"{what}: mean pooling", out["embeddings"], pooled.detach(), TOLERANCE, relative=True)
    backward(pooled, items)
    compare_gradients(what, out, model)
    run(PROBE, "save", "bi", directory, f"{folder}/bi_saved")
    compare_files(f"{what} saved", f"{directory}/model.safetensors", f"{folder}/bi_saved/model.safetensors")
    expect_loads(f"{what} saved", transformers.AutoModel, f"{folder}/bi_saved")
    test_new_head(what, config, directory, folder, items, inputs)


def test_new_head(what, config, directory, folder, items, inputs):
    run(PROBE, "save", "new", directory, f"{folder}/new")
    model = expect_loads(f"{what}, a new head", transformers.AutoModelForSequenceClassification, f"{folder}/new")
    for item in items:
        item["gradient"] = item["gradient"][:1]
    with torch.no_grad():
        check(f"{what}, a new head: logits", pack("cross", f"{folder}/new", items, folder)["logits"], model(**inputs).logits, TOLERANCE, relative=True)
    encoder, made = load_file(f"{directory}/model.safetensors"), load_file(f"{folder}/new/model.safetensors")
    kept = [name for name in made if any(name.endswith(k) for k in encoder)]
    expect(f"{what}, a new head leaves the encoder as it was",
           all(any(made[name].tobytes() == v.tobytes() for k, v in encoder.items() if name.endswith(k)) for name in kept))
    expect(f"{what}, a new head has one label", model.config.num_labels == 1, model.config.num_labels)


def test_cross(what, config, labels, folder, rng):
    config.num_labels = labels
    model = randomize(transformers.AutoModelForSequenceClassification.from_config(config, attn_implementation="eager"))
    directory = save(model, config.max_position_embeddings, f"{folder}/cross")
    items = sequences(config, labels, rng)
    out = pack("cross", directory, items, folder)
    logits = model(**padded(items, config)).logits
    check(f"{what}: logits, {labels} labels", out["logits"], logits.detach(), TOLERANCE, relative=True)
    backward(logits, items)
    compare_gradients(f"{what}, {labels} labels", out, model)
    run(PROBE, "save", "cross", directory, f"{folder}/cross_saved")
    compare_files(f"{what} saved, {labels} labels", f"{directory}/model.safetensors", f"{folder}/cross_saved/model.safetensors")
    expect_loads(f"{what} saved, {labels} labels", transformers.AutoModelForSequenceClassification, f"{folder}/cross_saved")


def test_masked_language_model(name, config, folder, rng):
    """What families are published as: an encoder under its prefix, a head of pretraining, tied weights."""
    model = randomize(transformers.AutoModelForMaskedLM.from_config(config, attn_implementation="eager"))
    directory = save(model, config.max_position_embeddings, f"{folder}/mlm")
    items = sequences(config, config.hidden_size, rng)
    inputs = padded(items, config)
    encoder = transformers.AutoModel.from_pretrained(directory, attn_implementation="eager").eval()
    with torch.no_grad():
        hidden = encoder(**inputs).last_hidden_state[inputs["attention_mask"].bool()]
    check(f"{name}, pretrained: hidden states", pack("bi", directory, items, folder)["hidden"], hidden, TOLERANCE, relative=True)
    run(PROBE, "save", "new", directory, f"{folder}/mlm_new")
    expect_loads(f"{name}, pretrained, a new head", transformers.AutoModelForSequenceClassification, f"{folder}/mlm_new")
    if name == "modernbert":  # its head of pretraining is the body of its classification head
        before, after = load_file(f"{directory}/model.safetensors"), load_file(f"{folder}/mlm_new/model.safetensors")
        expect("modernbert keeps the body of its head", all(before[k].tobytes() == after[k].tobytes() for k in ("head.dense.weight", "head.norm.weight")))


def test_older_modernbert(folder, rng):
    """The keys that its config.json had before transformers 5."""
    config = transformers.ModernBertConfig(**CONFIGS["modernbert"][0])
    model = randomize(transformers.AutoModel.from_config(config, attn_implementation="eager"))
    directory = save(model, config.max_position_embeddings, f"{folder}/older")
    edit_json(f"{directory}/config.json", "layer_types", "rope_parameters", global_attn_every_n_layers=2, global_rope_theta=300.0,
              local_rope_theta=30.0, position_embedding_type="absolute")
    model = transformers.AutoModel.from_pretrained(directory, attn_implementation="eager").eval()
    items = sequences(config, config.hidden_size, rng)
    inputs = padded(items, config)
    with torch.no_grad():
        hidden = model(**inputs).last_hidden_state[inputs["attention_mask"].bool()]
    check("modernbert, keys of transformers 4", pack("bi", directory, items, folder)["hidden"], hidden, TOLERANCE, relative=True)


def test_fixtures(folder, rng):
    """Checkpoints that were made elsewhere."""
    for name in ("tiny_bert", "tiny_modernbert", "tiny_modernbert_classifier"):
        directory = os.path.join(SHARED, "fixtures", "weights", "jammi-random", name)
        if not os.path.isdir(directory):
            print(f"skipped: no {name}")
            continue
        classifier = name.endswith("classifier")
        loader = transformers.AutoModelForSequenceClassification if classifier else transformers.AutoModel
        model = loader.from_pretrained(directory, attn_implementation="eager").eval()
        vocab = model.config.vocab_size
        items = [{"ids": rng.integers(0, vocab, n).tolist(), "type_ids": [0] * n} for n in (1, 5, 60, 128)]
        out = pack("cross" if classifier else "bi", directory, items, folder)
        with torch.no_grad():
            if classifier:
                expected = torch.cat([model(input_ids=torch.tensor([item["ids"]])).logits for item in items])
            else:
                expected = torch.cat([model(input_ids=torch.tensor([item["ids"]])).last_hidden_state[0] for item in items])
        check(f"fixture {name}", out["logits" if classifier else "hidden"], expected, TOLERANCE, relative=True)


def main():
    rng = np.random.default_rng(4)
    wanted = sys.argv[1:] or [*CONFIGS, "older", "fixtures"]
    for name in wanted:
        for number, settings in enumerate(CONFIGS.get(name, [])):
            folder = tempfile.mkdtemp()
            what = f"{name} {number}"
            test_bi(what, transformers.AutoConfig.for_model(name, **settings), folder, rng)
            for labels in (1, 3):
                test_cross(what, transformers.AutoConfig.for_model(name, **settings), labels, folder, rng)
            shutil.rmtree(folder)
        folder = tempfile.mkdtemp()
        if name in CONFIGS:
            test_masked_language_model(name, transformers.AutoConfig.for_model(name, **CONFIGS[name][0]), folder, rng)
        elif name == "older":
            test_older_modernbert(folder, rng)
        else:
            test_fixtures(folder, rng)
        shutil.rmtree(folder)
    print(f"{len(failures)} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
