"""LeNet-300-100 and Conv-2/4/6 with the settings of their paper, and what can be read off a pruned one.

    python models.py        every network's layers and weight counts

Frankle & Carbin, "The Lottery Ticket Hypothesis", ICLR 2019 (arXiv 1803.03635), Figure 2.
"""
import functools
import math
import warnings
from collections import OrderedDict

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

# convolutions (output channels, 3x3, "pool" = 2x2 max), then hidden fully connected layers (units)
NETS = {
    "fc": ((), (300, 100)),
    "conv2": ((64, 64, "pool"), (256, 256)),
    "conv4": ((64, 64, "pool", 128, 128, "pool"), (256, 256)),
    "conv6": ((64, 64, "pool", 128, 128, "pool", 256, 256, "pool"), (256, 256)),
}
ALIASES = {"conv": "conv6"}

# its Figure 2: data set and (C, H, W), Adam's rate, iterations a level, share of the weights pruned a round
PAPER = {
    "fc": {"data": "mnist", "shape": (1, 28, 28), "lr": 1.2e-3, "steps": 50000,
           "rates": {"conv": 0.0, "fc": 0.2, "out": 0.1}},
    "conv2": {"data": "cifar10", "shape": (3, 32, 32), "lr": 2e-4, "steps": 20000,
              "rates": {"conv": 0.1, "fc": 0.2, "out": 0.1}},
    "conv4": {"data": "cifar10", "shape": (3, 32, 32), "lr": 3e-4, "steps": 25000,
              "rates": {"conv": 0.1, "fc": 0.2, "out": 0.1}},
    "conv6": {"data": "cifar10", "shape": (3, 32, 32), "lr": 3e-4, "steps": 30000,
              "rates": {"conv": 0.15, "fc": 0.2, "out": 0.1}},
}
BATCH = 60


def least_side(net):
    """The least height and width of an image of which a network's poolings leave something."""
    return 2 ** NETS[net][0].count("pool")


def build(net, shape, classes=10):
    """A fresh network of NETS with modules conv1.., fc1.., out, for images of shape (C, H, W): (N, C, H, W)
    to logits (N, classes). Its weights are PyTorch's defaults until inits.init_ fills them."""
    (channels, height, width), (convs, units) = shape, NETS[net]
    modules, n = OrderedDict(), 0
    for item in convs:
        if item == "pool":
            modules[f"pool{n}"] = nn.MaxPool2d(2)
            modules.move_to_end(f"conv{n}_relu")  # max and ReLU commute; after the pool it does a quarter
            height, width = height // 2, width // 2
            continue
        n += 1
        modules[f"conv{n}"] = nn.Conv2d(channels, item, 3, padding=1)
        modules[f"conv{n}_relu"] = nn.ReLU()
        channels = item
    modules["flatten"] = nn.Flatten()
    fan_in = channels * height * width
    for n, item in enumerate(units, 1):
        modules[f"fc{n}"], modules[f"fc{n}_relu"] = nn.Linear(fan_in, item), nn.ReLU()
        fan_in = item
    modules["out"] = nn.Linear(fan_in, classes)
    return nn.Sequential(modules)


def layers(model):
    """{name: Linear or Conv2d}, input to output: what is initialised and, but for the biases, pruned."""
    return {name: m for name, m in model.named_modules() if isinstance(m, (nn.Linear, nn.Conv2d))}


def kind(layer):
    """'conv3' -> 'conv', 'fc1' -> 'fc', 'out' -> 'out': the key of a layer's pruning rate."""
    return layer.rstrip("0123456789")


warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta")
torch.sparse.check_sparse_tensor_invariants.disable()  # the default; said, it is not warned of


class SparseProduct(torch.autograd.Function):
    """x (N, in) by the transpose of the CSR matrix (out, in) of `values`; only these get a gradient."""

    @staticmethod
    def forward(ctx, x, values, rows, columns):
        weight = torch.sparse_csr_tensor(rows, columns, values, (len(rows) - 1, x.size(1)))
        across = x.t().contiguous()  # both products would make this copy, each for itself
        ctx.save_for_backward(across, weight)
        return (weight @ across).t()

    @staticmethod
    def backward(ctx, gradient):
        across, weight = ctx.saved_tensors
        return None, torch.sparse.sampled_addmm(weight, gradient.t(), across.t(), beta=0).values(), None, None


class SparseLinear(nn.Module):
    """A Linear at the network's input as its surviving weights alone, `values` in the order of its mask."""

    def __init__(self, linear, mask):
        super().__init__()
        pattern = mask.float().to_sparse_csr()
        self.mask, self.rows, self.columns = mask, pattern.crow_indices(), pattern.col_indices()
        self.values, self.bias = nn.Parameter(linear.weight.detach()[mask]), linear.bias

    def forward(self, x):
        return SparseProduct.apply(x, self.values, self.rows, self.columns) + self.bias

    def dense(self):
        linear = nn.Linear(self.mask.size(1), self.mask.size(0))
        weight = torch.zeros(self.mask.shape).masked_scatter(self.mask, self.values.detach())
        linear.weight = nn.Parameter(weight)
        linear.bias = self.bias
        return linear


def sparsify(model, masks, few=0.15):
    """Make a Linear at the input a SparseLinear where that is faster: on a CPU, with few weights left."""
    name, layer = next(iter(layers(model).items()))
    on_cpu = layer.weight.device.type == "cpu"
    if isinstance(layer, nn.Linear) and on_cpu and masks[name].float().mean() < few:
        setattr(model, name, SparseLinear(layer, masks[name]))


def densify(model):
    """Undo sparsify."""
    for name, layer in list(model.named_children()):
        if isinstance(layer, SparseLinear):
            setattr(model, name, layer.dense())


# What a level tells about why weights survive: `record` makes the "diagnostics" of metrics.json.
#
# w0 and trained are {parameter name: tensor}: the scheme's own initial values, whatever the level restarted
# from, and the state at its end. masks is {layer: bool tensor}, what the level was trained under.
# `candidates` is what these masks were chosen from: those of the level before for an iterative pruner, ones
# for one that goes from dense to each density at once, None at level 0. `auroc` is about that choice: which
# candidates are in `masks`. All else is about what is in `masks`, out of the whole layer. NaN, null in JSON:
# undefined.

PROBE = 512  # training images, the first ones, on which signal and gradient are measured


def ranks(w):
    """Ranks 1 to n of |w| (n,), equal values sharing the mean of theirs, NaN where w is: (n,) float64."""
    bits = w.abs().view(torch.int32)  # they sort as floats >= 0 do, and integers sort several times faster
    values, order = bits.sort()
    _, group, ties = values.unique_consecutive(return_inverse=True, return_counts=True)
    shared = torch.empty_like(w, dtype=torch.float64)
    shared[order] = (ties.cumsum(0) - (ties.double() - 1) / 2)[group]
    return shared.masked_fill_(w.isnan(), math.nan)


def spearman(a, b):
    """Rank correlation of |a| (n,) and |b| (n,), in [-1, 1]; NaN for n < 3, or if either is constant."""
    return torch.corrcoef(torch.stack([ranks(a), ranks(b)]))[0, 1] if len(a) > 2 else math.nan


def auroc(w, survives):
    """P(|w| of a survivor > |w| of another), ties counted half, of w (n,) and survives (n,) bool, in [0, 1]:
    Mann-Whitney's U over its maximum (Hanley & McNeil 1982). 0.5: |w| had no say. NaN: a class is empty."""
    n = int(survives.sum())
    return (ranks(w)[survives].sum() - n * (n + 1) / 2) / (n * (len(w) - n))


def energy(w0, mask):
    """(R, eps): R = sum of w0^2 over survivors / over all, eps = (R - d) / (R_max - d) at density d, where
    R_max is R of as many of the largest |w0|. eps 0: survival ignored |w0|; 1: |w0| alone decided it. NaN
    where R_max = d but for rounding: at d = 0, at d = 1, and for weights of one magnitude."""
    square, kept = w0.double().square().flatten(), int(mask.sum())
    density, total = kept / len(square), square.sum()
    retained = square[mask.flatten()].sum() / total
    room = square.topk(kept, sorted=False).values.sum() / total - density
    return retained, (retained - density) / room if room > 1e-9 else math.nan


def weights(w0, trained, mask, candidates):
    """Of one layer's tensors, over survivors: the rms of w0 and of the move, rho their ratio, what |w0| tells
    of |trained| and of survival, the share of equal signs (-1, 0 or 1)."""
    a, b = w0[mask], trained[mask]
    rms_w0, rms_move = (x.double().square().mean().sqrt() for x in (a, b - a))
    retained, eps = energy(w0, mask)
    return {"density": mask.double().mean(), "rms_w0": rms_w0, "rms_move": rms_move, "rho": rms_w0 / rms_move,
            "spearman": spearman(a, b),
            "auroc": math.nan if candidates is None else auroc(w0[candidates], mask[candidates]),
            "retained_energy": retained, "eps": eps,
            "sign_agreement": (a.sign() == b.sign()).double().masked_fill_(b.isnan(), math.nan).mean()}


def links(masks):
    """[surviving weights from unit to unit, (outputs, inputs) float64, a layer each]. A channel is one unit:
    Flatten lays its H * W places side by side, so they are H * W columns of the next layer."""
    units = [next(iter(masks.values())).size(1), *map(len, masks.values())]
    return [mask.reshape(len(mask), n, -1).sum(2).double() for mask, n in zip(masks.values(), units)]


def spread(fan_in, full):
    """Coefficient of variation of fan_in (units,), the survivors of each, over sqrt((1 - d) / (d * full)), a
    binomial's of `full` weights at density d: 1 is chance, more is uneven. NaN at d = 0 and d = 1."""
    mean = fan_in.mean()
    return fan_in.std() / mean / ((1 - mean / full) / mean).sqrt()


def on_paths(links):
    """How many surviving weights lie on a path from an input to an output, over units as `links` has them."""
    reached = [links[0].new_ones(links[0].size(1))]
    for link in links[:-1]:
        reached.append((link @ reached[-1] > 0).double())
    leading, total = links[-1].new_ones(len(links[-1])), 0
    for link, source in zip(reversed(links), reversed(reached)):
        total += leading @ link @ source
        leading = (leading @ link > 0).double()
    return total


def signals(model, masks, x, y, chunk=64):
    """Of a network at its masked start, on images x and labels y: E[h^2] of each hidden layer after its ReLU
    (and pool), the norm of the mean loss's gradient by the surviving weights, the std of all logits. Divided
    by level 0's they are relative to the dense network (Evci 2022). Leaves gradients in the model."""
    squares, logits = 0, []
    for images, labels in zip(x.split(chunk), y.split(chunk)):
        h, square = images, []
        for module in model:
            h = module(h)
            if isinstance(module, torch.nn.ReLU):
                square.append(h.detach().square().mean() * len(h) / len(x))
        (F.cross_entropy(h, labels, reduction="sum") / len(x)).backward()
        squares, logits = squares + torch.stack(square), [*logits, h.detach()]
    gradients = [model.get_submodule(name).weight.grad[mask] for name, mask in masks.items()]
    return {"signal": dict(zip(masks, squares)), "logit_std": torch.cat(logits).std(),
            "gradient_norm": sum(g.double().square().sum() for g in gradients).sqrt()}


@functools.lru_cache(maxsize=1)  # a process has one data set, and a tensor is its own key
def dark(x):
    """Which inputs never change over x (N, C, H, W): (C * H * W,) bool."""
    return x.flatten(1).amin(0) == x.flatten(1).amax(0)


def plain(x):
    """Nested dicts of tensors and numbers as JSON has them; what is not finite is None."""
    if isinstance(x, dict):
        return {key: plain(value) for key, value in x.items()}
    x = x.item() if isinstance(x, torch.Tensor) else x
    return x if math.isfinite(x) else None


def record(w0, candidates, trained, masks, start, data):
    """A level's diagnostics; `start` is its network before training, masked, on the device of `data`."""
    x, (first, *_, last) = data.x_train, masks
    masks = {name: mask.to(x.device) for name, mask in masks.items()}
    counts, layers = links(masks), {}
    for name, count, following in zip(masks, counts, [*counts[1:], None]):
        own = [tensors[f"{name}.weight"].to(x.device) for tensors in (w0, trained)]
        before = None if candidates is None else candidates[name].to(x.device)
        layers[name] = {**weights(*own, masks[name], before),
                        "fan_in_spread": spread(count.sum(1), masks[name][0].numel()),
                        "no_way_in": (count.sum(1) == 0).sum(),
                        "no_way_out": math.nan if following is None else (following.sum(0) == 0).sum()}
    fed = masks[first].sum(0)  # by a pixel, if the first layer is a Linear
    return plain({"layers": layers,
                  "effective_density": on_paths(counts) / sum(mask.numel() for mask in masks.values()),
                  "least_class_inputs": masks[last].sum(1).min(),
                  "dark_share": fed[dark(x)].sum() / fed.sum() if fed.dim() == 1 else math.nan,
                  **signals(start, masks, x[:PROBE], data.y_train[:PROBE])})


def correct_bits(correct):
    """correct (N,) bool as (ceil(N / 8),) uint8 in numpy.packbits's order: the first image is the highest bit
    of the first byte, zeros fill the last. Back: numpy.unpackbits(bits, count=N)."""
    return torch.from_numpy(np.packbits(correct.cpu().numpy()))


if __name__ == "__main__":
    for net, row in PAPER.items():
        sizes = {name: layer.weight.numel() for name, layer in layers(build(net, row["shape"])).items()}
        print(f"{net}: {sum(sizes.values()):,} weights:", *(f"{name} {n:,}" for name, n in sizes.items()))
