"""The diagnostics of a level, each against something slower and plainer."""
import itertools
import json
import math
import statistics
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import diagnostics

import runs

import models

NORMAL = statistics.NormalDist()


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def value(x):
    """A result as a plain number, None for what is undefined."""
    return diagnostics.to_json(x)


def plain_ranks(w):
    """The rank of each |w|, by comparing it with every other."""
    w = [abs(x) for x in w]
    return [1 + sum(y < x for y in w) + (sum(y == x for y in w) - 1) / 2 for x in w]


def plain_spearman(a, b):
    a, b = plain_ranks(a), plain_ranks(b)
    return statistics.correlation(a, b) if len(a) > 2 and len(set(a)) > 1 and len(set(b)) > 1 else None


def plain_auroc(w, survives):
    alive = [abs(x) for x, s in zip(w, survives) if s]
    dead = [abs(x) for x, s in zip(w, survives) if not s]
    wins = sum((x > y) + (x == y) / 2 for x in alive for y in dead)
    return wins / (len(alive) * len(dead)) if alive and dead else None


def plain_energy(w0, mask):
    """R and eps, the best density's worth found by sorting."""
    squares = [x * x for x in w0.flatten().tolist()]
    kept = [s for s, m in zip(squares, mask.flatten().tolist()) if m]
    best, total, d = sorted(squares)[len(squares) - len(kept):], math.fsum(squares), len(kept) / len(squares)
    share, most = math.fsum(kept) / total, math.fsum(best) / total
    return share, (share - d) / (most - d) if not math.isclose(most, d) else None


def close(found, expected, tolerance=1e-9):
    return found is None if expected is None else found == pytest.approx(expected, abs=tolerance)


DRAWS = {"distinct": lambda n, g: torch.randn(n, generator=g),
         "tied": lambda n, g: (2 * torch.randn(n, generator=g)).round() / 4,
         "one magnitude": lambda n, g: torch.randn(n, generator=g).sign() / 3,
         "zeros": lambda n, g: torch.zeros(n) * torch.randn(n, generator=g)}  # of both signs


@pytest.mark.parametrize("draw", DRAWS)
@pytest.mark.parametrize("n", [1, 2, 3, 4, 11, 150])
def test_ranks_correlation_and_auroc_by_double_loops(draw, n):
    g = generator(n)
    a, b = DRAWS[draw](n, g), DRAWS["tied"](n, g)
    assert diagnostics.ranks(a).tolist() == plain_ranks(a.tolist())
    for other in (b, a, -a):
        assert close(value(diagnostics.spearman(a, other)), plain_spearman(a.tolist(), other.tolist()))
    for share in (0.0, 0.3, 1.0):
        survives = torch.rand(n, generator=g) < share
        assert close(value(diagnostics.auroc(a, survives)), plain_auroc(a.tolist(), survives.tolist()))


def test_known_ranks():
    w = torch.tensor([3.0, -1.0, 1.0, 0.0, -7.0, 1.0])
    assert diagnostics.ranks(w).tolist() == [5, 3, 3, 1, 6, 3]
    up = torch.arange(1.0, 9)
    assert value(diagnostics.spearman(up, up.exp())) == 1 and value(diagnostics.spearman(up, 1 / up)) == -1
    assert value(diagnostics.auroc(up, up > 3)) == 1 and value(diagnostics.auroc(up, up < 3)) == 0
    assert value(diagnostics.auroc(torch.ones(9), torch.arange(9) < 4)) == 0.5
    assert diagnostics.ranks(torch.tensor([2.0, math.nan, 1.0])).isnan().tolist() == [False, True, False]


def test_a_layer_of_many_weights_is_ranked_exactly():
    """Integers 0 to 999, each 400 times and shuffled: the ranks are known, and no sum of them is rounded."""
    w = torch.arange(1000.0).repeat(400)[torch.randperm(400_000, generator=generator())]
    assert torch.equal(diagnostics.ranks(w), 400 * w.double() + 200.5)
    assert value(diagnostics.spearman(torch.full_like(w, 0.1), w)) is None
    assert value(diagnostics.auroc(w, w >= 250)) == 1


@pytest.mark.parametrize("draw", ["distinct", "tied", "one magnitude"])
@pytest.mark.parametrize("kept", [0, 1, 7, 59, 60])
def test_energy_by_sorting(draw, kept):
    g = generator(3)
    w0, mask = DRAWS[draw](60, g).view(4, 15), (torch.randperm(60, generator=g) < kept).view(4, 15)
    for found, expected in zip(diagnostics.retained_energy(w0, mask), plain_energy(w0, mask)):
        assert close(value(found), expected)


def tail(t):
    """Share of a normal's variance beyond |t| deviations."""
    return 2 * (t * NORMAL.pdf(t) + 1 - NORMAL.cdf(t))


# shape: (quantile of p in (0, 1), kurtosis, R at density d where |w0| alone decides, the same rounded)
SHAPES = {
    "sign": (lambda p: (p - 0.5).sign(), 1.0, lambda d: d, {0.5: 0.5, 0.2: 0.2}),
    "uniform": (lambda p: 2 * p - 1, 1.8, lambda d: 1 - (1 - d) ** 3, {0.5: 0.875, 0.2: 0.488}),
    "normal": (lambda p: torch.special.ndtri(p), 3.0, lambda d: tail(NORMAL.inv_cdf(1 - d / 2)),
               {0.5: 0.929, 0.2: 0.650}),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("d", [0.5, 0.2])
def test_energy_of_the_shapes(shape, d):
    quantile, kurtosis, largest, printed = SHAPES[shape]
    n, g = 200_000, generator(1)
    w0 = quantile((torch.arange(n, dtype=torch.float64) + 0.5) / n).float()[torch.randperm(n, generator=g)]
    kept = round(d * n)
    mask = torch.zeros(n, dtype=torch.bool)
    mask[w0.abs().argsort(descending=True)[:kept]] = True
    share, eps = map(value, diagnostics.retained_energy(w0, mask))
    assert share == pytest.approx(largest(d), abs=1e-4) and round(largest(d), 3) == printed[d]
    assert close(eps, None if shape == "sign" else 1.0)
    share, eps = map(value, diagnostics.retained_energy(w0, torch.randperm(n, generator=g) < kept))
    error = math.sqrt(d * (1 - d) * (kurtosis - 1) / n)  # of a sample without replacement
    assert abs(share - d) <= 4 * error + 1e-12
    assert eps is None if shape == "sign" else abs(eps) <= 4 * error / (largest(d) - d)


def layer(g, *shape, density):
    """(w0, trained, candidates, masks) of a made-up layer, ties and zeros among them."""
    w0 = (8 * torch.randn(shape, generator=g)).round() / 8
    trained = w0 + (4 * torch.randn(shape, generator=g)).round() / 8
    candidates = torch.rand(shape, generator=g) < 0.8
    return w0, trained, candidates, candidates & (torch.rand(shape, generator=g) < density)


@pytest.mark.parametrize("shape, density",
                         [((9, 12), 0.6), ((4, 3, 3, 3), 0.3), ((5, 6), 0.0), ((5, 6), 1.0)])
def test_a_layers_weights_by_loops(shape, density):
    w0, trained, candidates, mask = layer(generator(2), *shape, density=density)
    row = value(diagnostics.weight_stats(w0, trained, mask, candidates))
    cells = list(zip(*(t.flatten().tolist() for t in (w0, trained, candidates, mask))))
    alive = [(a, b) for a, b, _, m in cells if m]
    mean = [statistics.fmean(x) if alive else None for x in
            ([a * a for a, _ in alive], [(b - a) ** 2 for a, b in alive],
             [(a > 0) - (a < 0) == (b > 0) - (b < 0) for a, b in alive])]
    rms = [x and math.sqrt(x) for x in mean[:2]]
    share, eps = plain_energy(w0, mask)
    expected = {"density": len(alive) / len(cells), "rms_w0": rms[0], "rms_move": rms[1],
                "rho": rms[0] / rms[1] if alive else None, "sign_agreement": mean[2],
                "spearman": plain_spearman([a for a, _ in alive], [b for _, b in alive]),
                "auroc": plain_auroc(*zip(*[(a, m) for a, _, c, m in cells if c])),
                "retained_energy": share, "eps": eps}
    assert row.keys() == expected.keys()
    assert all(close(row[key], expected[key], 1e-7) for key in row), (row, expected)
    assert value(diagnostics.weight_stats(w0, trained, mask, None))["auroc"] is None


def test_survival_is_among_the_candidates_alone():
    """Weights dead before, however large, change the energy but not the AUROC of the last choice."""
    w0 = torch.tensor([[9.0, 8.0, 4.0, 3.0, 2.0, 1.0]])
    candidates = torch.tensor([[False, False, True, True, True, True]])
    mask = torch.tensor([[False, False, True, True, False, False]])
    row = value(diagnostics.weight_stats(w0, w0, mask, candidates))
    assert row["auroc"] == 1 and row["retained_energy"] == 25 / 175 and row["eps"] < 0
    assert value(diagnostics.weight_stats(w0, w0, mask, torch.ones_like(mask)))["auroc"] == 0.5


def test_what_is_undefined_is_null():
    w0, trained, candidates, mask = layer(generator(4), 6, 7, density=0.5)
    trained[mask] = torch.where(torch.arange(int(mask.sum())) == 2, math.nan, trained[mask])
    row = value(diagnostics.weight_stats(w0, trained, mask, candidates))
    assert [key for key in row if row[key] is None] == ["rms_move", "rho", "spearman", "sign_agreement"]
    assert value({"a": {"b": torch.tensor(3), "c": -math.inf}, "d": 1e300}) == {
        "a": {"b": 3, "c": None}, "d": 1e300}


def small(g, widths, side, density):
    """Random masks of Linears of these widths; with `side`, the first is a 3x3 convolution and Flatten finds
    side^2 places a channel behind it."""
    shapes = [(b, a) for a, b in zip(widths, widths[1:])]
    if side:
        shapes = [(widths[1], widths[0], 3, 3), (widths[2], widths[1] * side ** 2), *shapes[2:]]
    return {str(i): torch.rand(shape, generator=g) < density for i, shape in enumerate(shapes)}


def plain_links(masks, side):
    """The links by index arithmetic on every single weight: [{(output, input): weights}]."""
    found = []
    for number, mask in enumerate(masks.values()):
        places = side ** 2 if side and number == 1 else 1
        table = {}
        for index in mask.nonzero().tolist():
            key = (index[0], index[1] // places)
            table[key] = table.get(key, 0) + 1
        found.append(table)
    return found


@pytest.mark.parametrize("widths, side", [((4, 3, 3, 2), 0), ((5, 4, 2), 0), ((2, 4, 3, 2), 2), ((6, 3), 0)])
@pytest.mark.parametrize("density", [0.0, 0.1, 0.2, 0.4, 1.0])
def test_paths_by_walking_all_of_them(widths, side, density):
    for seed in range(8):
        masks = small(generator(seed), widths, side, density)
        links, plain = diagnostics.unit_connectivity(masks), plain_links(masks, side)
        used = [set() for _ in plain]
        for path in itertools.product(*map(range, widths)):
            steps = [(b, a) for a, b in zip(path, path[1:])]
            if all(step in table for step, table in zip(steps, plain)):
                for step, link in zip(steps, used):
                    link.add(step)
        assert diagnostics.weights_on_paths(links) == sum(
            table[step] for link, table in zip(used, plain) for step in link)
        for link, table in zip(links, plain):
            assert {tuple(i): int(link[tuple(i)]) for i in link.nonzero().tolist()} == table


@pytest.mark.parametrize("net, shape", [("fc", (1, 4, 4)), ("conv2", (3, 8, 8))])
def test_paths_by_gradients(net, shape):
    """With weights 1 or 0 and inputs 1 all is positive, so a weight has a gradient if it is on a path."""
    model = models.build(net, shape).double()
    layers = models.layers(model)
    g = generator(5)
    masks = {}
    for name, module in layers.items():  # sparse, by unit pairs, so that units die on either side
        few = torch.rand(len(module.weight), module.weight.size(1), generator=g) < 1.2 / module.weight.size(1)
        masks[name] = few.view(*few.shape, *[1] * (module.weight.dim() - 2)).expand(module.weight.shape)
        module.weight.data.copy_(masks[name])
        module.bias.data.zero_()
    model(torch.ones(1, *shape, dtype=torch.float64)).sum().backward()
    expected = sum(int((masks[name] & (module.weight.grad > 0)).sum()) for name, module in layers.items())
    found = diagnostics.weights_on_paths(diagnostics.unit_connectivity(masks))
    assert 0 < found == expected < sum(int(mask.sum()) for mask in masks.values())


def places_of(model, channel, x):
    """Which columns after Flatten move with the bias of one channel of conv1: from two forward passes."""
    flat = nn.Sequential(*itertools.takewhile(lambda module: not isinstance(module, nn.Linear), model))
    before = flat(x)
    model[0].bias.data[channel] += 5
    moved = (flat(x) - before)[0] != 0
    model[0].bias.data[channel] -= 5
    return moved


def test_the_columns_of_a_channel_by_a_forward_pass():
    """A channel none of whose places is read has no way out, and its weights are nothing to the logits."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
                          nn.Linear(4 * 3 * 3, 5), nn.ReLU(), nn.Linear(5, 3)).double()
    x = torch.rand(1, 2, 6, 6, dtype=torch.float64)
    model[0].bias.data.fill_(9)  # every place is above 0
    masks = {"conv1": torch.ones(4, 2, 3, 3, dtype=torch.bool), "fc1": torch.ones(5, 36, dtype=torch.bool),
             "out": torch.ones(3, 5, dtype=torch.bool)}
    masks["fc1"][:, places_of(model, 2, x)] = False
    links = diagnostics.unit_connectivity(masks)
    assert links[1].tolist() == [[9, 9, 0, 9]] * 5
    assert diagnostics.weights_on_paths(links) == 3 * 18 + 5 * 27 + 15
    model[4].weight.data *= masks["fc1"]
    before = model(x)
    model[0].weight.data[2] = 7
    assert torch.equal(model(x), before)
    model[0].weight.data[1] = 7
    assert not torch.equal(model(x), before)


def test_spread_by_the_statistics_module():
    fan_in, full = [3, 5, 0, 9, 4], 12
    d = sum(fan_in) / (5 * full)
    expected = statistics.stdev(fan_in) / statistics.mean(fan_in) / math.sqrt((1 - d) / (d * full))
    assert value(diagnostics.fan_in_cv(torch.tensor(fan_in).double(), full)) == pytest.approx(expected)
    for even in (0, 12):
        assert value(diagnostics.fan_in_cv(torch.full((5,), float(even)).double(), full)) is None


def test_spread_of_chance_is_one():
    """Masks of an exact count, placed by chance: n - 1 in the variance is what makes the mean square 1."""
    g, squares = generator(6), []
    for _ in range(2000):
        mask = (torch.randperm(10 * 50, generator=g) < 100).view(10, 50)
        squares.append(value(diagnostics.fan_in_cv(mask.sum(1).double(), 50)) ** 2)
    error = statistics.stdev(squares) / math.sqrt(2000)
    assert abs(statistics.mean(squares) - 500 / 499) <= 4 * error < 0.06


def masked(net, shape, density, seed):
    """(model at a masked start, masks), in float64, its biases not 0."""
    torch.manual_seed(seed)
    model, g = models.build(net, shape).double(), generator(seed)
    masks = {name: torch.rand(module.weight.shape, generator=g) < density
             for name, module in models.layers(model).items()}
    for name, module in models.layers(model).items():
        module.weight.data *= masks[name]
    return model, masks


def test_signal_of_fc_by_numpy():
    model, masks = masked("fc", (1, 5, 5), 0.5, 1)
    x, y = torch.randn(30, 1, 5, 5, dtype=torch.float64), torch.arange(30) % 10
    found = value(diagnostics.signal_stats(model, masks, x, y, chunk=7))
    h, expected = x.numpy().reshape(30, 25), {}
    for name in masks:
        module = model.get_submodule(name)
        h = h @ module.weight.detach().numpy().T + module.bias.detach().numpy()
        if name != "out":
            h = np.maximum(h, 0)
            expected[name] = pytest.approx((h ** 2).mean())
    assert found["signal"] == expected and found["logit_std"] == pytest.approx(h.std(ddof=1))


def test_signal_of_a_convolution_by_its_pieces():
    model, masks = masked("conv2", (3, 4, 4), 0.5, 2)
    x, y = torch.randn(20, 3, 4, 4, dtype=torch.float64), torch.arange(20) % 10
    found = value(diagnostics.signal_stats(model, masks, x, y, chunk=8))
    one = F.conv2d(x, model.conv1.weight, model.conv1.bias, padding=1).clamp_min(0)
    two = F.conv2d(one, model.conv2.weight, model.conv2.bias, padding=1).clamp_min(0)
    two = two.unflatten(3, (2, 2)).unflatten(2, (2, 2)).amax((3, 5))  # the pool
    assert list(found["signal"]) == ["conv1", "conv2", "fc1", "fc2"]
    assert found["signal"]["conv1"] == pytest.approx(one.square().mean().item())
    assert found["signal"]["conv2"] == pytest.approx(two.square().mean().item())


@torch.no_grad()
def test_gradient_norm_by_differences():
    model, masks = masked("fc", (1, 2, 2), 0.05, 3)
    x, y = torch.randn(12, 1, 2, 2, dtype=torch.float64), torch.arange(12) % 10
    with torch.enable_grad():
        found = value(diagnostics.signal_stats(model, masks, x, y, chunk=5))["gradient_norm"]
    total, step = 0.0, 1e-6
    for name, mask in masks.items():
        weight = model.get_submodule(name).weight
        for index in map(tuple, mask.nonzero().tolist()):
            loss = []
            for sign in (1, -1, 0):
                weight[index] += sign * step
                loss.append(F.cross_entropy(model(x), y).item())
                weight[index] -= sign * step
            total += ((loss[0] - loss[1]) / (2 * step)) ** 2
    assert found == pytest.approx(math.sqrt(total), rel=1e-5) and found > 0


def test_dark_inputs_by_loops():
    x = torch.randint(0, 2, (6, 1, 4, 4), generator=generator(7)).float()
    x[:, 0, 1] = -0.424
    columns = x.flatten(1).T.tolist()
    assert diagnostics.constant_inputs(x).tolist() == [len(set(column)) == 1 for column in columns]
    other = torch.zeros(3, 1, 4, 4)  # another data set of one process is not mistaken for the first
    assert diagnostics.constant_inputs(other).all()
    assert not diagnostics.constant_inputs(x).all() and diagnostics.constant_inputs(x).any()


def level(net, shape, candidates_density, density):
    """The arguments of `record` for a made-up level, all masks ones if density is 1."""
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
    data = SimpleNamespace(x_train=x, y_train=torch.arange(40) % 10)
    return w0, candidates, trained, masks, model, data


@pytest.mark.parametrize("net, shape", [("fc", (1, 6, 6)), ("conv2", (3, 4, 4))])
def test_record_of_a_level(net, shape):
    w0, candidates, trained, masks, model, data = level(net, shape, 0.3, 0.05)
    masks["out"][3] = False
    found = diagnostics.of_level(w0, candidates, trained, masks, model, data)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    names = list(masks)
    for name, after in zip(names, [*names[1:], None]):
        row, mask = found["layers"][name], masks[name]
        own = w0[f"{name}.weight"]
        assert row["density"] == int(mask.sum()) / mask.numel()
        assert close(row["eps"], plain_energy(own, mask)[1], 1e-7)
        assert row["no_way_in"] == sum(not unit.any() for unit in mask)
        area = masks[after].size(1) // len(mask) if after else 1
        assert row["no_way_out"] == (None if after is None else sum(
            not masks[after][:, unit * area:(unit + 1) * area].any() for unit in range(len(mask))))
        counts = [int(unit.sum()) for unit in mask]
        d = sum(counts) / mask.numel()
        expected = statistics.stdev(counts) / statistics.mean(counts) / math.sqrt(
            (1 - d) / (d * mask[0].numel()))
        assert row["fan_in_spread"] == pytest.approx(expected)
    assert found["least_class_inputs"] == 0 and found["layers"]["out"]["no_way_in"] >= 1
    assert 0 < found["effective_density"] < sum(int(m.sum()) for m in masks.values()) / sum(
        m.numel() for m in masks.values())
    first = masks["fc1"]
    assert found["dark_share"] == (pytest.approx(int(first[:, :6].sum()) / int(first.sum()))
                                   if net == "fc" else None)
    assert list(found["signal"]) == names[:-1]


def test_record_of_level_0():
    w0, _, trained, masks, model, data = level("fc", (1, 6, 6), 1.0, 1.0)
    found = diagnostics.of_level(w0, None, trained, masks, model, data)
    for row in found["layers"].values():
        assert {key for key in row if row[key] is None} - {"no_way_out"} == {"auroc", "eps", "fan_in_spread"}
        assert row["density"] == row["retained_energy"] == 1 and row["no_way_in"] == 0
    assert found["effective_density"] == 1 and found["least_class_inputs"] == 100


def test_record_of_magnitude_at_initialization():
    """|w0| decides alone, so every index says so."""
    w0, _, trained, masks, model, data = level("fc", (1, 6, 6), 1.0, 1.0)
    ones = masks
    masks = {name: w0[f"{name}.weight"].abs() > w0[f"{name}.weight"].abs().median() for name in ones}
    found = diagnostics.of_level(w0, ones, w0, masks, model, data)
    for row in found["layers"].values():
        assert row["auroc"] == 1 and row["eps"] == pytest.approx(1) and row["spearman"] == pytest.approx(1)
        assert row["sign_agreement"] == 1 and row["rms_move"] == 0 and row["rho"] is None


@pytest.mark.parametrize("n", [1, 7, 8, 9, 300])
def test_the_bits_of_correct_answers(n):
    correct = torch.rand(n, generator=generator(n)) < 0.5
    bits = runs.pack_bits(correct)
    assert bits.dtype == torch.uint8 and len(bits) == -(-n // 8)
    assert [bool(int(bits[i // 8]) >> (7 - i % 8) & 1) for i in range(n)] == correct.tolist()
    assert np.unpackbits(bits.numpy(), count=n).astype(bool).tolist() == correct.tolist()
    assert runs.pack_bits(torch.tensor([True] + [False] * 7 + [True])).tolist() == [128, 128]
