"""Every scheme against the formulas of torch.nn.init's documentation, and the coupling of schemes."""
import math

import pytest
import torch

import data
import inits
import models

NETWORKS = {net: models.PAPER[net]["shape"] for net in models.NETS}


def draw(net, scheme, seed=0):
    layers = models.layers(models.build(net, NETWORKS[net]))
    inits.init_(layers, scheme, data.rng(seed, "init"))
    return {name: (layer.weight.detach(), layer.bias.detach()) for name, layer in layers.items()}


def documented_std(scheme, w):
    """As torch.nn.init documents them, with fans counted one by one."""
    fan_in = sum(1 for _ in w[0].flatten())
    fan_out = w.numel() // w.size(1)
    if scheme.startswith("xavier"):
        return math.sqrt(2 / (fan_in + fan_out))
    return math.sqrt(2) / math.sqrt(fan_in)


@pytest.mark.parametrize("net", NETWORKS)
@pytest.mark.parametrize("scheme", ["xavier_normal", "xavier_uniform", "kaiming_normal", "kaiming_uniform"])
def test_std_bounds_and_shape(net, scheme):
    for name, (w, b) in draw(net, scheme).items():
        std, n = documented_std(scheme, w), w.numel()
        assert math.isclose(inits.INITS[scheme][1](w), std, rel_tol=1e-12)
        kurtosis = 1.8 if scheme.endswith("uniform") else 3.0
        error = math.sqrt((kurtosis - 1) / (4 * n))  # the standard error of a sample's std, over that std
        assert abs(w.double().std().item() / std - 1) < 4 * error
        assert abs(w.double().mean().item()) < 4 * std / math.sqrt(n)
        assert not b.any()
        bound = math.sqrt(3) * std
        if scheme.endswith("uniform"):
            assert w.abs().max() <= bound * (1 + 1e-6) and w.abs().max() > bound * (1 - 20 / n)
        else:
            assert w.abs().max() > bound  # no bounds: 8% of a normal draw lies beyond


@pytest.mark.parametrize("net", NETWORKS)
@pytest.mark.parametrize("shape", ["normal", "uniform"])
def test_xavier_and_kaiming_are_multiples(net, shape):
    xavier, kaiming = draw(net, f"xavier_{shape}", 3), draw(net, f"kaiming_{shape}", 3)
    for (x, _), (k, _) in zip(xavier.values(), kaiming.values()):
        factor = documented_std("kaiming", k) / documented_std("xavier", x)
        torch.testing.assert_close(k.double(), x.double() * factor, rtol=1e-5, atol=1e-8)


def test_a_seed_is_a_draw():
    first, again, other = (draw("fc", "xavier_normal", seed)["fc1"][0] for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_counts_of_the_paper():
    sizes = {net: sum(w.numel() for w, _ in draw(net, "xavier_normal").values()) for net in NETWORKS}
    assert sizes == {"fc": 266200, "conv2": 4300992, "conv4": 2425024, "conv6": 2261184}


def test_describe_counts_every_weight():
    layers = models.layers(models.build("fc", (1, 28, 28)))
    for name, row in inits.describe(layers).items():
        w = layers[name].weight.detach()
        assert sum(row["hist"]) == w.numel() and row["min"] == w.min() and row["max"] == w.max()
        below = int((w <= row["min"] + (row["max"] - row["min"]) / 2).sum())
        assert abs(sum(row["hist"][:32]) - below) <= 2  # a weight on the edge may fall either way
