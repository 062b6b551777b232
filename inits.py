"""Initialization schemes by name, one row each; biases are zero.

    python inits.py --net conv                              what each is; fans, std and range of its layers
    python inits.py --init xavier_normal@0.5 orthogonal     only these

A name may carry a gain that multiplies every weight: kaiming_uniform@2. Only input_aware, input_aware_all and
the schemes in _lit look at data: at training images, never at labels.
Fans are PyTorch's: fan_in = inputs of a unit, fan_out = units fed by an input, times the kernel's area.
"""
import argparse
import math
from functools import partial
from itertools import pairwise
from statistics import geometric_mean
from typing import Callable, NamedTuple

import torch
from torch import nn

EPS = 2.0 ** -25  # u keeps this distance from 0 and 1, so that every quantile is finite
TRUNCATED = (1 - (8 / math.pi) ** 0.5 * math.exp(-2) / math.erf(2 ** 0.5)) ** 0.5  # std of N(0, 1) cut at 2
RARE = 0.001  # a pixel that is active in a smaller share of the images is rarely active
IMAGES = 512  # that input_aware_all sends through the network


def fans(weight: torch.Tensor) -> tuple[int, int]:
    """(fan_in, fan_out) of a Linear's (out, in) or a Conv2d's (out, in, h, w) weight."""
    area = weight[0, 0].numel()
    return weight.size(1) * area, weight.size(0) * area


def xavier_std(weight: torch.Tensor) -> float:
    """sqrt(2 / (fan_in + fan_out)): Glorot & Bengio 2010, eq. 16."""
    return (2 / sum(fans(weight))) ** 0.5


def kaiming_std(weight: torch.Tensor) -> float:
    """sqrt(2 / fan_in), the gain of ReLU: He et al. 2015, eq. 10."""
    return (2 / fans(weight)[0]) ** 0.5


def t4_quantile(c: torch.Tensor) -> torch.Tensor:
    """The quantile at 0.5 + c of Student's t with 4 degrees of freedom, divided by its standard deviation
    sqrt(2). Shaw 2006 has cos(a / 3) / cos(a) - 1 with sin(a) = 2 c; here it is written as a product, so that
    nothing cancels near 0."""
    a, cos = torch.asin(2 * c), ((1 - 2 * c) * (1 + 2 * c)).sqrt()
    return 2 * c.sign() * (torch.sin(2 * a / 3) * torch.sin(a / 3) / cos).sqrt()


# quantile at 0.5 + c, of zero mean and unit variance; what it is; reference
SHAPES = {
    "sign": (torch.sign, "random signs, kurtosis 1", "Ramanujan 2020"),
    "arcsine": (lambda c: 2 ** 0.5 * torch.sin(math.pi * c), "arcsine, kurtosis 1.5", "this study"),
    "uniform": (lambda c: 12 ** 0.5 * c, "uniform, kurtosis 1.8", "Glorot 2010"),
    "trunc2": (lambda c: 2 ** 0.5 * torch.erfinv(2 * math.erf(2 ** 0.5) * c) / TRUNCATED,
               "normal cut at 2 sigma, kurtosis 2.37", "Glorot 2010"),
    "normal": (lambda c: 2 ** 0.5 * torch.erfinv(2 * c), "normal, kurtosis 3", "Glorot 2010"),
    "laplace": (lambda c: -c.sign() * torch.log1p(-2 * c.abs()) / 2 ** 0.5, "Laplace, kurtosis 6",
                "this study"),
    "t4": (t4_quantile, "Student's t, 4 degrees of freedom, infinite kurtosis", "Shaw 2006"),
}


def quantile(u: torch.Tensor, shape: str) -> torch.Tensor:
    """Draws from the distribution `shape`, of zero mean and unit variance, for u uniform in [0, 1), float64.
    They increase with u."""
    return SHAPES[shape][0](u.clamp(EPS, 1 - EPS) - 0.5)


def shaped(weight, generator, shape):
    """Fill from one uniform draw a weight, the same for every shape: the weights of all shapes have the same
    signs and the same ranks of |w| under one key."""
    u = torch.rand(weight.shape, dtype=torch.float64, generator=generator)
    weight.copy_(xavier_std(weight) * quantile(u, shape))


def truncated_glorot(weight, generator):
    """Fill as TensorFlow 2's glorot_normal does: a normal distribution cut at 2 sigma, with sigma such that
    the standard deviation is Xavier's."""
    sigma = xavier_std(weight) / TRUNCATED
    nn.init.trunc_normal_(weight, std=sigma, a=-2 * sigma, b=2 * sigma, generator=generator)


def orthogonal(weight, generator, delta=False):
    """Fill with orthonormal rows or columns of (out, in * h * w), times what gives the layer Xavier's mean
    square. With `delta` a kernel with out >= in has orthonormal columns at its centre and zeros elsewhere
    (Xiao et al. 2018)."""
    part = weight
    if delta and weight.dim() == 4 and weight.size(0) >= weight.size(1):
        part = weight.zero_()[:, :, weight.size(2) // 2, weight.size(3) // 2]
    squares = min(part.size(0), part[0].numel())  # their sum over an orthonormal part
    nn.init.orthogonal_(part, xavier_std(weight) * (weight.numel() / squares) ** 0.5, generator=generator)


def scale_(weight: torch.Tensor, factors: torch.Tensor, dim: int) -> None:
    """Multiply by a factor for each output unit (dim 0) or input unit (dim 1). Behind Flatten a channel's
    columns share a factor."""
    factors = factors.repeat_interleave(weight.size(dim) // len(factors))
    weight.mul_(factors.view([-1 if d == dim else 1 for d in range(weight.dim())]))


def sparse(layers, generator, *_, zeros):
    """Fill as xavier_normal, set a share `zeros` of the weights to 0 and multiply the others by
    (1 - zeros) ** -0.5. What a larger share leaves is part of what a smaller one leaves."""
    INITS["xavier_normal"].fill(layers, generator)
    for layer in layers.values():
        v = torch.rand(layer.weight.shape, generator=generator)
        layer.weight.masked_fill_(v < zeros, 0).div_((1 - zeros) ** 0.5)


def balanced_stds(weights: list[torch.Tensor]) -> list[float]:
    """The geometric mean of Xavier's standard deviations, for each weight."""
    return [geometric_mean(map(xavier_std, weights))] * len(weights)


def layer_balanced(layers, generator, *_):
    """Fill as xavier_normal, with one standard deviation for all layers. The factors' product is 1, so that
    a network of ReLU and zero biases computes the same function."""
    INITS["xavier_normal"].fill(layers, generator)
    weights = [layer.weight for layer in layers.values()]
    for weight, std in zip(weights, balanced_stds(weights)):
        weight.mul_(std / xavier_std(weight))


def layer_inputs(layers, model, images):
    """(layer, its input) in order, on all images for the first layer and on IMAGES of them behind it."""
    x = images.cpu()
    for module in model:
        if module in layers.values():
            yield module, x
            x = x[:IMAGES]
        x = module(x)


def input_aware(layers, generator, model, images, every=False):
    """Fill as xavier_normal, and multiply the weights of the first layer (with `every` of each, in order) by
    the standard deviation of their input, divided by the root mean square of these over the inputs. Weights
    on a constant input start at 0, and the layer's variance stays Xavier's. Inputs are a Linear's features
    or a Conv2d's channels."""
    INITS["xavier_normal"].fill(layers, generator)
    for module, x in layer_inputs(layers, model, images):
        std = x.std([0, *range(2, x.dim())], correction=0).double()
        scale_(module.weight, std / std.pow(2).mean().sqrt(), 1)
        if not every:
            return


def zero_rare_inputs(layers, generator, model, images, base):
    """Fill as `base`, and set to 0 the first layer's weights on rarely active inputs: those above their least
    value in a share of less than RARE of the images (for a Conv2d's channel, of its pixels)."""
    INITS[base].fill(layers, generator)
    module, x = next(layer_inputs(layers, model, images))
    others = [0, *range(2, x.dim())]
    share = (x > x.amin(others, keepdim=True)).double().mean(others)
    scale_(module.weight, (share >= RARE).to(module.weight), 1)


def node_scales(units: int, beta: float) -> torch.Tensor:
    """lam (units,) float64, decreasing as k ** -beta, with a mean lam ** 2 of 1: Caron et al. 2023."""
    lam = torch.arange(1, units + 1, dtype=torch.float64) ** -beta
    return lam / lam.pow(2).mean().sqrt()


def asymmetric(layers, generator, *_, beta):
    """Fill as xavier_normal, and let hidden units count lam times: sqrt(lam) on their incoming and on their
    outgoing weights, with the units in random order."""
    INITS["xavier_normal"].fill(layers, generator)
    for before, after in pairwise(layers.values()):
        lam = node_scales(before.weight.size(0), beta)
        lam = lam[torch.randperm(len(lam), generator=generator)]
        scale_(before.weight, lam.sqrt(), 0)
        scale_(after.weight, lam.sqrt(), 1)


def asymmetric_stds(weights: list[torch.Tensor], beta: float) -> list[float]:
    """The root of Xavier's variance times the mean lam of the units before and behind each weight."""
    means = [1, *(node_scales(weight.size(0), beta).mean().item() for weight in weights[:-1]), 1]
    return [xavier_std(weight) * (a * b) ** 0.5 for weight, (a, b) in zip(weights, pairwise(means))]


class Scheme(NamedTuple):
    """A row of INITS."""
    fill: Callable  # fill(layers, generator, model, images) fills the weights of {name: module} in place
    about: str
    reference: str
    stds: Callable | None = None  # stds(weights): their root mean squares in theory (in *_lit: of those that
                                  # are not set to 0); None where none is claimed
    data: bool = False            # looks at images; the others ignore model and images


def per_layer(fill: Callable, about: str, reference: str, std: Callable | None = None) -> Scheme:
    """The row of a scheme that fills each layer by itself: fill(weight, generator=...) fills a weight in
    place by the draws of the generator, std(weight) is its standard deviation in theory, if there is one."""
    def fill_all(layers, generator, *_):
        for name, layer in layers.items():
            filled = fill(layer.weight, generator=generator)
            if (isinstance(filled, torch.Tensor) and filled.shape == layer.weight.shape
                    and not torch.equal(filled, layer.weight)):
                raise SystemExit(f"the scheme '{about}' returns other numbers for {name} than it leaves in "
                                 "the weight: let its function change the weight in place")
    return Scheme(fill_all, about, reference, std and partial(map, std))


INITS = {
    "xavier_normal": per_layer(nn.init.xavier_normal_, "normal, std sqrt(2 / (in + out))", "Glorot 2010",
                               xavier_std),
    "xavier_uniform": per_layer(nn.init.xavier_uniform_, "uniform, same std", "Glorot 2010", xavier_std),
    "kaiming_normal": per_layer(partial(nn.init.kaiming_normal_, nonlinearity="relu"),
                                "normal, std sqrt(2 / in)", "He 2015", kaiming_std),
    "kaiming_uniform": per_layer(partial(nn.init.kaiming_uniform_, nonlinearity="relu"),
                                 "uniform, same std", "He 2015", kaiming_std),
    **{f"shape_{shape}": per_layer(partial(shaped, shape=shape), f"Xavier's std, {about}", reference,
                                   xavier_std)
       for shape, (_, about, reference) in SHAPES.items()},
    "orthogonal": per_layer(orthogonal, "orthonormal rows or columns, at Xavier's std", "Saxe 2014",
                            xavier_std),
    "delta_orthogonal": per_layer(partial(orthogonal, delta=True),
                                  "orthogonal at each kernel's centre, else zero", "Xiao 2018", xavier_std),
    "sparse_50": Scheme(partial(sparse, zeros=0.5), "xavier_normal, half of it zero", "Martens 2010",
                        partial(map, xavier_std)),
    "sparse_90": Scheme(partial(sparse, zeros=0.9), "xavier_normal, 90% of it zero", "Martens 2010",
                        partial(map, xavier_std)),
    "truncated_glorot": per_layer(truncated_glorot, "TensorFlow's glorot_normal, cut at 2 sigma",
                                  "Glorot 2010", xavier_std),
    "torch_default": per_layer(partial(nn.init.kaiming_uniform_, a=5 ** 0.5), "uniform, std 1 / sqrt(3 in)",
                               "PyTorch's layers as built", lambda weight: (3 * fans(weight)[0]) ** -0.5),
    "layer_balanced": Scheme(layer_balanced, "xavier_normal at one std in all layers, the function unchanged",
                             "Neyshabur 2015", balanced_stds),
    "input_aware": Scheme(input_aware, "xavier_normal, the first layer's inputs weighted by their std",
                          "this study", partial(map, xavier_std), data=True),
    "input_aware_all": Scheme(partial(input_aware, every=True), "the same in every layer, on a batch",
                              "this study", partial(map, xavier_std), data=True),
    **{f"asymmetric_{100 * beta:.0f}": Scheme(
        partial(asymmetric, beta=beta), f"xavier_normal, units scaled by k ** -{beta}, k = 1, 2, ...",
        "Caron 2023", partial(asymmetric_stds, beta=beta)) for beta in (0.25, 0.5)},
}
INITS |= {f"{base}_lit": Scheme(partial(zero_rare_inputs, base=base),
                                f"{base}, 0 on pixels active in fewer than {100 * RARE:g}% of images",
                                "this study", INITS[base].stds, data=True)
          for base in ("xavier_normal", "xavier_uniform", "kaiming_normal", "kaiming_uniform")}


def parse_gain(text: str) -> tuple[str, float]:
    """'name@2' -> ('name', 2.0), 'name' -> ('name', 1.0)."""
    name, at, gain = text.partition("@")
    return name, float(gain if at else 1)


def init_arg(text: str) -> str:
    """An argparse type: a name of INITS with or without a gain, in its one canonical spelling."""
    name = text.partition("@")[0]
    if name not in INITS:
        raise argparse.ArgumentTypeError(
            f"invalid choice: {text!r} (choose from {', '.join(INITS)}, or with a gain: xavier_normal@0.5)")
    try:
        gain = parse_gain(text)[1]
    except ValueError:
        gain = math.nan
    if not 1e-6 <= gain <= 1e6:
        raise argparse.ArgumentTypeError(f"{text!r}: a gain is in [1e-06, 1e+06], as in {name}@0.5")
    return name if gain == 1 else f"{name}@{gain!r}".removesuffix(".0")


def drawn(row: Scheme, layers: dict[str, nn.Module], generator, model, images) -> dict[str, torch.Tensor]:
    """{layer: its weight} after a fill by `row`. The fill starts from NaN: PyTorch's default weights would
    pass for the scheme's."""
    for layer in layers.values():
        layer.weight.fill_(math.nan)
        layer.bias.zero_()  # before the fill, for what is sent through the network
    row.fill(layers, generator, model, images)
    return {name: layer.weight.clone() for name, layer in layers.items()}


@torch.no_grad()
def init_(layers: dict[str, nn.Module], name: str, generator: torch.Generator,
          model: nn.Sequential | None = None, images: torch.Tensor | None = None) -> None:
    """Fill the weights of `layers` (on the CPU) by the scheme `name`, from one generator in order, and set
    the biases to 0.

    Under one key, schemes that draw by the same functions get the same draws: Xavier and Kaiming of one
    distribution are multiples of each other layer by layer, and the schemes shape_* share signs and ranks.
    Only a scheme that looks at data uses `model`, the network of these layers, and `images`, the training
    images (N, C, H, W) float32 on any device; it raises ValueError without them. A scheme that leaves a
    weight unfilled, or draws other weights a second time, is a SystemExit.
    """
    name, gain = parse_gain(name)
    row, key = INITS[name], generator.get_state()
    if row.data and (model is None or images is None):
        raise ValueError(f"{name} looks at data: give init_ the model and its training images")
    first = drawn(row, layers, generator, model, images)
    generator.set_state(key)
    again = drawn(row, layers, generator, model, images)
    for layer in layers:
        if not first[layer].isfinite().all():
            raise SystemExit(f"the scheme {name} does not fill {layer} with finite numbers: let its function "
                             "change every weight in place")
        if not torch.equal(first[layer], again[layer]):
            raise SystemExit(f"the scheme {name} gives {layer} other weights a second time: let its function "
                             "draw from the generator that it is given")
    for layer in layers.values():
        layer.weight.mul_(gain)


def describe(layers: dict[str, nn.Module], bins: int = 64) -> dict[str, dict]:
    """{layer: {fan_in, fan_out, std, min, max, hist: counts in equal bins from min to max}}, for JSON."""
    table = {}
    for name, layer in layers.items():
        w = layer.weight.detach().float().flatten()
        low, high = w.min().item(), w.max().item()
        counts = torch.histc(w, bins, low, high).int().tolist()
        fan_in, fan_out = fans(layer.weight)
        table[name] = {"fan_in": fan_in, "fan_out": fan_out, "std": w.std().item(), "min": low, "max": high,
                       "hist": counts}
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description="Print every scheme, and the weights that it gives.")
    parser.add_argument("--net", default="fc", choices=[*models.NETS, *models.ALIASES])
    parser.add_argument("--init", nargs="+", type=init_arg, default=list(INITS), metavar="INIT")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    net = models.ALIASES.get(args.net, args.net)
    if models.fault(net):
        parser.error(models.fault(net))
    shape = models.PAPER[net]["shape"]
    model = models.build(net, shape)
    layers = models.layers(model)
    images = torch.randn(100, *shape, generator=data.rng(args.seed, "noise"))
    print("| scheme | what | reference | looks at data |\n|---|---|---|---|")
    for name in dict.fromkeys(parse_gain(text)[0] for text in args.init):
        row = INITS[name]
        print(f"| `{name}` | {row.about} | {row.reference} | {'yes' if row.data else 'no'} |")
    print("\nscheme             layer   fan in fan out      std measured      min      max kurtosis"
          " looks at data (here: noise)")
    for text in args.init:
        init_(layers, text, data.rng(args.seed, "init"), model, images)
        name, gain = parse_gain(text)
        weights = [layer.weight for layer in layers.values()]
        stds = INITS[name].stds(weights) if INITS[name].stds else [None] * len(weights)
        for (layer, row), std in zip(describe(layers).items(), stds):
            theory = "-" if std is None else f"{gain * std:.5f}"
            squares = layers[layer].weight.detach().double() ** 2
            kurtosis = (squares ** 2).mean() / squares.mean() ** 2
            print(f"{text:18s} {layer:6s} {row['fan_in']:7d} {row['fan_out']:7d} {theory:>8}"
                  f" {row['std']:8.5f} {row['min']:8.4f} {row['max']:8.4f} {kurtosis:8.2f}"
                  f" {'yes' if INITS[name].data else 'no'}")


if __name__ == "__main__":  # the only part that needs the networks
    import data
    import models
    import runs

    runs.run_cli(main)
