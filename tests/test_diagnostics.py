"""The diagnostics of a level, each against something slower and plainer."""
import itertools
import json
import math
import statistics
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

import diagnostics
import models
from diagnostics import to_json as value  # plain numbers, None for what is undefined


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def plain_ranks(w):
    """The rank of each |w|, by comparing it with every other."""
    w = [abs(x) for x in w]
    return [1 + sum(y < x for y in w) + (sum(y == x for y in w) - 1) / 2 for x in w]


def plain_spearman(a, b):
    a, b = plain_ranks(a), plain_ranks(b)
    return statistics.correlation(a, b) if len(a) > 2 and len(set(a)) > 1 and len(set(b)) > 1 else None


def plain_auroc(w, survives):
    kept = [abs(x) for x, s in zip(w, survives) if s]
    pruned = [abs(x) for x, s in zip(w, survives) if not s]
    wins = sum((x > y) + (x == y) / 2 for x in kept for y in pruned)
    return wins / (len(kept) * len(pruned)) if kept and pruned else None


def plain_energy(w0, survives):
    """R and eps, the most that so many weights can hold found by sorting."""
    squares = [x * x for x in w0]
    kept = [square for square, s in zip(squares, survives) if s]
    best, total, d = sorted(squares)[len(squares) - len(kept):], math.fsum(squares), len(kept) / len(squares)
    if total == 0:
        return None, None
    share, most = math.fsum(kept) / total, math.fsum(best) / total
    return share, (share - d) / (most - d) if not math.isclose(most, d) else None


DRAWS = {"distinct": lambda n, g: torch.randn(n, generator=g),
         "tied": lambda n, g: (2 * torch.randn(n, generator=g)).round() / 4,
         "one magnitude": lambda n, g: torch.randn(n, generator=g).sign() / 3,
         "zeros": lambda n, g: torch.zeros(n) * torch.randn(n, generator=g)}  # of both signs


@pytest.mark.parametrize("draw", DRAWS)
@pytest.mark.parametrize("n", [1, 2, 3, 4, 11, 150])
def test_ranks_correlation_auroc_and_energy_by_double_loops(draw, n):
    g = generator(n)
    a, b = DRAWS[draw](n, g), DRAWS["tied"](n, g)
    assert diagnostics.ranks(a).tolist() == plain_ranks(a.tolist())
    for other in (b, a, -a):
        plain = plain_spearman(a.tolist(), other.tolist())
        assert value(diagnostics.spearman(a, other)) == pytest.approx(plain, abs=1e-9)
    for share in (0.0, 0.3, 0.9, 1.0):
        survives = torch.rand(n, generator=g) < share
        plain = [x.tolist() for x in (a, survives)]
        found = diagnostics.auroc(a, survives), *diagnostics.retained_energy(a, survives)
        assert [*map(value, found)] == pytest.approx([plain_auroc(*plain), *plain_energy(*plain)], abs=1e-9)


def made_layer(g, *shape, density):
    """(w0, trained, candidates, mask) of a made-up layer, ties and zeros among them."""
    w0 = (8 * torch.randn(shape, generator=g)).round() / 8
    trained = w0 + (4 * torch.randn(shape, generator=g)).round() / 8
    candidates = torch.rand(shape, generator=g) < 0.8
    return w0, trained, candidates, candidates & (torch.rand(shape, generator=g) < density)


@pytest.mark.parametrize("shape, density",
                         [((9, 12), 0.6), ((4, 3, 3, 3), 0.3), ((5, 6), 0.0), ((5, 6), 1.0)])
def test_a_layers_weights_by_loops(shape, density):
    """The AUROC is among the candidates alone, the energy is of the whole layer."""
    w0, trained, candidates, mask = made_layer(generator(2), *shape, density=density)
    row = value(diagnostics.weight_stats(w0, trained, mask, candidates))
    cells = list(zip(*(t.flatten().tolist() for t in (w0, trained, candidates, mask))))
    kept = [(a, b) for a, b, _, m in cells if m]
    mean = [statistics.fmean(x) if kept else None for x in
            ([a * a for a, _ in kept], [(b - a) ** 2 for a, b in kept],
             [(a > 0) - (a < 0) == (b > 0) - (b < 0) for a, b in kept])]
    rms = [x and math.sqrt(x) for x in mean[:2]]
    share, eps = plain_energy(*zip(*[(a, m) for a, _, _, m in cells]))
    expected = {"density": len(kept) / len(cells), "rms_w0": rms[0], "rms_move": rms[1],
                "rho": rms[0] / rms[1] if kept else None, "sign_agreement": mean[2],
                "spearman": plain_spearman([a for a, _ in kept], [b for _, b in kept]),
                "auroc": plain_auroc(*zip(*[(a, m) for a, _, c, m in cells if c])),
                "retained_energy": share, "eps": eps}
    assert row == pytest.approx(expected, abs=1e-7)
    assert value(diagnostics.weight_stats(w0, trained, mask, None)) == {**row, "auroc": None}


def test_what_is_undefined_is_null():
    w0, trained, candidates, mask = made_layer(generator(4), 6, 7, density=0.5)
    trained[mask] = torch.where(torch.arange(int(mask.sum())) == 2, math.nan, trained[mask])
    row = value(diagnostics.weight_stats(w0, trained, mask, candidates))
    assert [key for key in row if row[key] is None] == ["rms_move", "rho", "spearman", "sign_agreement"]
    assert value({"a": {"b": torch.tensor(3), "c": -math.inf}, "d": 1e300}) == {
        "a": {"b": 3, "c": None}, "d": 1e300}


@pytest.mark.parametrize("widths", [(4, 3, 3, 2), (5, 4, 2), (2, 4, 3, 2), (6, 3)])
@pytest.mark.parametrize("density", [0.0, 0.1, 0.2, 0.4, 1.0])
def test_paths_by_walking_all_of_them(widths, density):
    """Of 1 to 9 weights from unit to unit, where there are any."""
    for seed in range(8):
        g, used = generator(seed), set()
        counts = [torch.randint(1, 10, pair, generator=g).double() * (torch.rand(pair, generator=g) < density)
                  for pair in zip(widths[1:], widths)]
        for path in itertools.product(*map(range, widths)):
            steps = [(layer, b, a) for layer, (a, b) in enumerate(zip(path, path[1:]))]
            if all(counts[layer][b, a] for layer, b, a in steps):
                used.update(steps)
        assert diagnostics.weights_on_paths(counts) == sum(counts[layer][b, a] for layer, b, a in used)


@pytest.mark.parametrize("net, shape", [("fc", (1, 4, 4)), ("conv2", (3, 4, 4))])
def test_signal_and_gradient_by_their_pieces(net, shape):
    """In float64 on 20 images at once, with biases that are not 0."""
    torch.manual_seed(2)
    model, g = models.build(net, shape).double(), generator(2)
    layers, x, y = models.layers(model), torch.randn(20, *shape, dtype=torch.float64), torch.arange(20) % 10
    masks = {name: torch.rand(layer.weight.shape, generator=g) < 0.3 for name, layer in layers.items()}
    for name, layer in layers.items():
        layer.weight.data *= masks[name]
    h, expected = x, {}
    for name, layer in layers.items():
        if "conv" in name:
            h = F.conv2d(h, layer.weight, layer.bias, padding=1)
        else:
            h = h.reshape(20, -1) @ layer.weight.T + layer.bias
        if name != "out":
            h = h.clamp_min(0)
            if name == "conv2":
                h = h.unflatten(3, (2, 2)).unflatten(2, (2, 2)).amax((3, 5))  # the pool
            expected[name] = pytest.approx(h.square().mean().item())
    loss = (h.logsumexp(1) - h[range(20), y]).mean()
    gradients = torch.autograd.grad(loss, [layer.weight for layer in layers.values()])
    square = sum(gradient[masks[name]].square().sum().item() for name, gradient in zip(masks, gradients))
    assert value(diagnostics.signal_stats(model, masks, x, y, chunk=8)) == {
        "signal": expected, "logit_std": pytest.approx(statistics.stdev(h.flatten().tolist())),
        "gradient_norm": pytest.approx(math.sqrt(square))}


def test_constant_inputs_by_loops():
    x = torch.randint(0, 2, (6, 1, 4, 4), generator=generator(7)).float()
    x[:, 0, 1] = -0.424
    expected = [len(set(column)) == 1 for column in x.flatten(1).T.tolist()]
    for _ in range(2):  # another data set of one process is not mistaken for the first
        assert diagnostics.constant_inputs(x).tolist() == expected and any(expected) and not all(expected)
        assert diagnostics.constant_inputs(torch.zeros(3, 1, 4, 4)).all()


def made_level(net, shape, candidates_density, density):
    """The arguments of `of_level` for a made-up level, all masks ones if both densities are 1."""
    torch.manual_seed(8)
    g, model = generator(8), models.build(net, shape)
    w0 = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    trained = {name: w + 0.05 * torch.randn(w.shape, generator=g) for name, w in w0.items()}
    weights = {name: module.weight for name, module in models.layers(model).items()}
    candidates = {name: torch.rand(w.shape, generator=g) < candidates_density for name, w in weights.items()}
    masks = {name: candidates[name] & (torch.rand(w.shape, generator=g) < density)
             for name, w in weights.items()}
    for name, w in weights.items():
        w.data *= masks[name]
    x = torch.randn(40, *shape, generator=g)
    x[:, :, 0] = 0.5
    return w0, candidates, trained, masks, model, SimpleNamespace(x_train=x, y_train=torch.arange(40) % 10)


@pytest.mark.parametrize("net, shape", [("fc", (1, 6, 6)), ("conv2", (3, 4, 4))])
def test_record_of_a_level(net, shape):
    w0, candidates, trained, masks, model, data = made_level(net, shape, 0.3, 0.05)
    masks["out"][3], masks["fc1"][:, 8:12] = False, False  # conv2's third channel has these columns
    found = diagnostics.of_level(w0, candidates, trained, masks, model, data)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    size, kept = (sum(count(mask) for mask in masks.values()) for count in (torch.numel, torch.sum))
    for name, after in zip(masks, [*list(masks)[1:], None]):
        mask, key = masks[name], f"{name}.weight"
        area = masks[after].size(1) // len(mask) if after else 1
        fan_in, d = [int(row.sum()) for row in mask], mask.sum().item() / mask.numel()
        chance = math.sqrt((1 - d) / (d * mask[0].numel()))
        assert found["layers"][name] == {
            **value(diagnostics.weight_stats(w0[key], trained[key], mask, candidates[name])),
            "fan_in_spread": pytest.approx(statistics.stdev(fan_in) / statistics.mean(fan_in) / chance),
            "no_way_in": sum(not row.any() for row in mask),
            "no_way_out": after and sum(not masks[after][:, unit * area:(unit + 1) * area].any()
                                        for unit in range(len(mask)))}
    assert found["least_class_inputs"] == 0 and found["layers"]["out"]["no_way_in"] >= 1
    on_paths = diagnostics.weights_on_paths(diagnostics.unit_connectivity(masks)).item()
    assert found["effective_density"] == on_paths / size and 0 < on_paths < kept
    first = masks["fc1"]
    assert found["dark_share"] == (
        pytest.approx(int(first[:, :6].sum()) / int(first.sum())) if net == "fc" else None)
    model.zero_grad()
    signal = value(diagnostics.signal_stats(model, masks, data.x_train, data.y_train))
    assert {key: found[key] for key in signal} == signal


def test_record_of_level_0():
    w0, _, trained, masks, model, data = made_level("fc", (1, 6, 6), 1.0, 1.0)
    found = diagnostics.of_level(w0, None, trained, masks, model, data)
    for row in found["layers"].values():
        assert {key for key in row if row[key] is None} - {"no_way_out"} == {"auroc", "eps", "fan_in_spread"}
        assert row["density"] == row["retained_energy"] == 1 and row["no_way_in"] == 0
    assert found["effective_density"] == 1 and found["least_class_inputs"] == 100
