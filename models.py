"""LeNet-300-100 and Conv-2/4/6, layers by name, with the settings of the paper that made them the usual test bed.

    python models.py        every network's layers and weight counts

Frankle & Carbin, "The Lottery Ticket Hypothesis", ICLR 2019 (arXiv 1803.03635), Figure 2.
"""
from collections import OrderedDict

from torch import nn

# convolutions (output channels, 3x3, "pool" = 2x2 max), then hidden fully connected layers (units)
NETS = {
    "fc": ((), (300, 100)),
    "conv2": ((64, 64, "pool"), (256, 256)),
    "conv4": ((64, 64, "pool", 128, 128, "pool"), (256, 256)),
    "conv6": ((64, 64, "pool", 128, 128, "pool", 256, 256, "pool"), (256, 256)),
}
ALIASES = {"conv": "conv6"}

# Figure 2 of the paper: data set and its (C, H, W), Adam's learning rate, iterations, share of weights pruned a round
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


def build(net, shape, classes=10):
    """A fresh network of NETS for images of shape (C, H, W): modules conv1.., fc1.., out. Maps (N, C, H, W) to logits
    (N, classes). Its weights are PyTorch's defaults until inits.init_ fills them."""
    (channels, height, width), (convs, units) = shape, NETS[net]
    modules, n = OrderedDict(), 0
    for item in convs:
        if item == "pool":
            modules[f"pool{n}"] = nn.MaxPool2d(2)
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


if __name__ == "__main__":
    for net, row in PAPER.items():
        sizes = {name: layer.weight.numel() for name, layer in layers(build(net, row["shape"])).items()}
        print(f"{net}: {sum(sizes.values()):,} weights:", *(f"{name} {size:,}" for name, size in sizes.items()))
