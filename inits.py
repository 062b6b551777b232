"""Initialization schemes by name, one row each; biases are zero.

    python inits.py --net conv   every layer's fan-in, fan-out, theoretical and measured std, for every scheme

Fans are PyTorch's: fan_in = inputs of a unit, fan_out = units fed by an input, times the kernel's area.
"""
import argparse
from functools import partial

import torch
from torch import nn


def fans(weight):
    """(fan_in, fan_out) of a Linear (out, in) or Conv2d (out, in, h, w) weight."""
    area = weight[0, 0].numel()
    return weight.size(1) * area, weight.size(0) * area


def xavier_std(weight):
    """sqrt(2 / (fan_in + fan_out)): Glorot & Bengio 2010, eq. 16."""
    return (2 / sum(fans(weight))) ** 0.5


def kaiming_std(weight):
    """sqrt(2 / fan_in), the gain of ReLU: He et al. 2015, eq. 10."""
    return (2 / fans(weight)[0]) ** 0.5


# name: (fill(weight, generator=...) in place, std(weight) in theory)
INITS = {
    "xavier_normal": (nn.init.xavier_normal_, xavier_std),
    "xavier_uniform": (nn.init.xavier_uniform_, xavier_std),
    "kaiming_normal": (partial(nn.init.kaiming_normal_, nonlinearity="relu"), kaiming_std),
    "kaiming_uniform": (partial(nn.init.kaiming_uniform_, nonlinearity="relu"), kaiming_std),
}


@torch.no_grad()
def init_(layers, name, generator):
    """Fill the weights of `layers` ({name: module}, on CPU) by the scheme `name`, from one stream in order.

    Schemes that draw by the same functions get the same draws from the same key: Xavier and Kaiming of one
    shape are multiples of each other, layer by layer.
    """
    fill, _ = INITS[name]
    for layer in layers.values():
        fill(layer.weight, generator=generator)
        layer.bias.zero_()


def describe(layers, bins=64):
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


if __name__ == "__main__":  # the only part that needs the networks
    import data
    import models

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--net", default="fc", choices=[*models.NETS, *models.ALIASES])
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    net = models.ALIASES.get(args.net, args.net)
    network = models.layers(models.build(net, models.PAPER[net]["shape"]))
    print("scheme            layer   fan in fan out      std measured      min      max")
    for name, (_, std) in INITS.items():
        init_(network, name, data.rng(args.seed, "init"))
        for layer, row in describe(network).items():
            print(f"{name:17s} {layer:6s} {row['fan_in']:7d} {row['fan_out']:7d}"
                  f" {std(network[layer].weight):8.5f} {row['std']:8.5f} {row['min']:8.4f} {row['max']:8.4f}")
