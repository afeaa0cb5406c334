"""What the machine can do at most, and the matrix products of an encoder alone: what the shares of the table are shares of.

Peaks are of all threads at once: float32 multiply-adds in registers, and reading and copying of memory far beyond the
caches. Products are libtorch's, of the weights of the model's layers with as many tokens as encode and a training
step take at once, and nothing else."""

import json

from side import Row, Worker, in_turns, median

FORWARD_TOKENS = 4096  # in a batch of encode, and in a part of a cross-encoder's step
STEP_TOKENS = 16384  # at most in a bi-encoder's step before it is cut into parts


def shape_of(context):
    """The model's layers, hidden size and intermediate size."""
    config = json.loads((context.needed(context.model, "model") / "config.json").read_text())
    return [config[name] for name in ("num_hidden_layers", "hidden_size", "intermediate_size")]


def weights_of(products, hidden, intermediate):
    """In the first `products`, layer by layer: query, key and value as one; attention's output; up; down."""
    sizes = (3 * hidden * hidden, hidden * hidden, hidden * intermediate, hidden * intermediate)
    return sum(sizes[i % 4] for i in range(products))


class Limits(Worker):
    """bench_limits, for the model's shape. With `one_token` pooling reads one token of a text, and the last layer needs no
    product of all of them (model/torch/single_query.hpp)."""

    def __init__(self, context, threads=None, one_token=False):
        super().__init__([context.build / "bench/bench_limits", threads or context.threads])
        layers, *sizes = shape_of(context)
        self.shape, self.lines = [4 * (layers - one_token), *sizes], peaks(context)
        self.weights = weights_of(*self.shape)

    def peak(self, name):
        return self(self.lines[name])["rate"]

    def products(self, what, tokens, batch):
        """The products of a "forward" pass of so many tokens, or of a "training" step: {"wall", "rate"}, and the peak rate
        of multiply-adds."""
        line = " ".join(map(str, [what, round(tokens), min(round(tokens), batch), *self.shape]))
        return self(line) | {"peak": self.peak("fma")}

    def roofline(self, tokens):
        """The least time of a forward pass of so few tokens that the weights are read once: the longer of reading them
        and doing the products' arithmetic (Williams et al. 2009, Roofline)."""
        return {"wall": max(4 * self.weights / self.peak("read"), 2 * self.weights * tokens / self.peak("fma"))}

    def arithmetic(self, part, what, tokens, seconds, peak):
        """A row: the operations of the products of so many tokens in that time, beside the peak. A training step has three
        products where a forward pass has one: three times its tokens."""
        rate = 2 * self.weights * tokens / seconds
        return Row(part, f"{what}, products' arithmetic", "GFLOP/s", rate / 1e9, limit="multiply-adds", share=rate / peak)


def peaks(context):
    """Lines that ask for the peaks."""
    megabytes = context.size(512, 256, 1)
    return {"fma": f"fma {context.size(200, 100, 1)}", "read": f"read {megabytes}", "copy": f"copy {megabytes}"}


def rows(context):
    tokens = context.size(FORWARD_TOKENS, 1024, 64)
    for threads in sorted({1, context.threads}):
        with Limits(context, threads) as limits:
            sides = {name: lambda line=line: limits(line) for name, line in limits.lines.items()}
            sides |= {what: lambda what=what: limits.products(what, tokens, tokens) for what in ("forward", "training")}
            turns = in_turns(sides, context.rounds)
        rate = {name: median(results, "rate") / 1e9 for name, results in turns.items()}
        name = f"{threads} thread{'s' * (threads > 1)}"
        yield Row("limits", f"multiply-adds in float32 ({turns['fma'][0]['isa']}), {name}", "GFLOP/s", rate["fma"])
        yield Row("limits", f"reading memory, {name}", "GB/s", rate["read"])
        yield Row("limits", f"copying memory, {name}", "GB/s", rate["copy"])
        for what, of in (("forward", "a forward pass"), ("training", "a training step")):
            yield Row("limits", f"products of {of}, {tokens:,} tokens, {name}", "GFLOP/s", rate[what],
                      limit="multiply-adds", share=rate[what] / rate["fma"])
