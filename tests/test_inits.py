"""Every scheme against the formulas of its paper or documentation, and the coupling of schemes."""
import argparse
import math
import subprocess
import sys
from functools import partial

import pytest
import torch
from torch import nn

import data
import inits
import models
from conftest import ROOT

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
        assert math.isclose(*inits.INITS[scheme].stds([w]), std, rel_tol=1e-12)
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


SMALL = {"fc": (1, 28, 28), "conv4": (3, 8, 8)}
EVERY = [(net, scheme) for net in SMALL for scheme in inits.INITS]
STANDARD = {"xavier_normal": nn.init.xavier_normal_, "xavier_uniform": nn.init.xavier_uniform_,
            "kaiming_normal": partial(nn.init.kaiming_normal_, mode="fan_in", nonlinearity="relu"),
            "kaiming_uniform": partial(nn.init.kaiming_uniform_, mode="fan_in", nonlinearity="relu")}
CUT = 0.87962566103423978  # of TensorFlow's VarianceScaling: the std of a standard normal within [-2, 2]


def pictures(net, n=600):
    """(n, C, H, W), a std a pixel and channel; constant: fc's last 100 pixels, conv4's last channel."""
    channels, height, width = SMALL[net]
    spread = torch.rand(height * width, generator=data.rng("spread")) + 0.1
    spread[-100:] *= channels > 1
    spread = spread.view(height, width) * torch.tensor([1, 2, 0])[:channels].view(-1, 1, 1)
    return spread * torch.randn(n, channels, height, width, generator=data.rng("pixels")) - 0.4242


def fresh(net, scheme, seed=0, dtype=torch.float32):
    """The small network and {layer: weight} by the scheme."""
    model = models.build(net, SMALL[net]).to(dtype)
    layers = models.layers(model)
    inits.init_(layers, scheme, data.rng(seed, "init"), model, pictures(net))
    assert not any(layer.bias.any() for layer in layers.values())
    return model, {name: layer.weight.detach() for name, layer in layers.items()}


def double_factorial(m):
    return math.factorial(2 * m) / (2 ** m * math.factorial(m))


def cut_moment(m):
    """E x ** 2m of a standard normal within [-2, 2], by parts."""
    edge = 2 * math.exp(-2) / math.sqrt(2 * math.pi) / math.erf(math.sqrt(2))
    return 1 if m == 0 else (2 * m - 1) * cut_moment(m - 1) - 2 ** (2 * m - 1) * edge


def sphere(n):
    """E x ** 2m of a coordinate of a random point on the sphere of radius sqrt(n) in n dimensions."""
    return lambda m: double_factorial(m) * n ** m / math.prod(n + 2 * i for i in range(m))


# of unit variance: E x ** 2m, the bound of |x|, P(X < x)
LAWS = {
    "sign": (lambda m: 1, 1, None),
    "arcsine": (lambda m: math.comb(2 * m, m) / 2 ** m, 2 ** 0.5,
                lambda x: 0.5 + torch.asin(x / 2 ** 0.5) / math.pi),
    "uniform": (lambda m: 3 ** m / (2 * m + 1), 3 ** 0.5, lambda x: 0.5 + x / 12 ** 0.5),
    "trunc2": (lambda m: cut_moment(m) / cut_moment(1) ** m, 2 / CUT,
               lambda x: 0.5 + torch.erf(x * CUT / 2 ** 0.5) / math.erf(2 ** 0.5) / 2),
    "normal": (double_factorial, None, lambda x: 0.5 + torch.erf(x / 2 ** 0.5) / 2),
    "laplace": (lambda m: math.factorial(2 * m) / 2 ** m, None,
                lambda x: 0.5 - x.sign() * torch.expm1(-2 ** 0.5 * x.abs()) / 2),
    "t4": (None, None, lambda x: 0.5 + 0.75 * x * (2 + x ** 2) ** -0.5 * (1 - x ** 2 / (6 + 3 * x ** 2))),
}
LAW_OF = {**{f"shape_{shape}": shape for shape in LAWS}, **{name: name.split("_")[1] for name in STANDARD},
          "truncated_glorot": "trunc2", "torch_default": "uniform", "layer_balanced": "normal"}
KURTOSIS = {"sign": 1, "arcsine": 1.5, "uniform": 1.8, "trunc2": 2.37, "normal": 3, "laplace": 6}


def lam(units, beta):
    """k ** -beta for k = 1 .. units, over their rms."""
    powers = [k ** -beta for k in range(1, units + 1)]
    return torch.tensor(powers, dtype=torch.float64) / math.sqrt(sum(p * p for p in powers) / units)


def spreads(net, model, everywhere):
    """{layer: std of each input over their rms, shaped to multiply its weight}, of the finished network."""
    x, found = pictures(net), {}
    for name, module in model.named_children():
        if name in models.layers(model):
            columns = x.detach().double().transpose(0, 1).flatten(1)
            std = (columns - columns.mean(1, keepdim=True)).pow(2).mean(1).sqrt()
            std[columns.amin(1) == columns.amax(1)] = 0
            factor = std / math.sqrt((std * std).sum() / len(std))
            found[name] = factor.view(1, -1, 1, 1) if x.dim() == 4 else factor.view(1, -1)
            if not everywhere:
                break
            x = x[:512]
        x = module(x)
    return found


LIT = ["xavier_normal_lit", "xavier_uniform_lit", "kaiming_normal_lit", "kaiming_uniform_lit"]


def bright(net):
    """1 for the inputs (fc) or channels that are not constant in `pictures`, else 0."""
    found = torch.ones(784 if net == "fc" else 3)
    found[-100 if net == "fc" else -1:] = 0
    return found


def pattern(net, scheme, model, weights):
    """{layer: squared factors of its independent draws}, up to the order of units."""
    squares = {name: torch.ones(1) for name in weights}
    if scheme.startswith("input_aware"):
        squares.update({name: row ** 2 for name, row in spreads(net, model, scheme.endswith("all")).items()})
    if scheme.endswith("_lit"):
        name = next(iter(weights))
        squares[name] = bright(net).view(1, -1, *[1] * (weights[name].dim() - 2))
    if scheme.startswith("asymmetric"):
        one, hidden = torch.ones(1).double(), list(weights.values())[:-1]
        sides = [one, *(lam(len(w), int(scheme[-2:]) / 100) for w in hidden), one]
        squares = {name: torch.outer(a, b) for name, a, b in zip(weights, sides, sides[1:])}
    if scheme == "delta_orthogonal":
        tap = torch.zeros(3, 3).index_put((torch.tensor(1), torch.tensor(1)), torch.tensor(9.0))
        squares = {name: tap if w.dim() == 4 else torch.ones(1) for name, w in weights.items()}
    return squares


def moment_of(scheme, w):
    """m -> E x ** 2m of the scheme's independent draws at unit variance."""
    if scheme.startswith("sparse"):
        return lambda m: double_factorial(m) / (1 - int(scheme[-2:]) / 100) ** (m - 1)
    if "orthogonal" in scheme:  # a unit vector of the longer side
        return sphere(w.size(0) if "delta" in scheme and w.dim() == 4 else max(w.size(0), w[0].numel()))
    return LAWS[LAW_OF.get(scheme.removesuffix("_lit"), "normal")][0]


def theory(scheme, weights):
    """{layer: std of its draws}, before the factors of `pattern`."""
    stds = {name: documented_std("kaiming" if scheme.startswith("kaiming") else "xavier", w)
            for name, w in weights.items()}
    if scheme == "torch_default":
        return {name: 1 / math.sqrt(3 * w[0].numel()) for name, w in weights.items()}
    if scheme == "layer_balanced":
        return dict.fromkeys(stds, math.exp(sum(map(math.log, stds.values())) / len(stds)))
    return stds


@pytest.mark.parametrize("net,scheme", [pair for pair in EVERY if pair[1] != "shape_t4"])
def test_mean_variance_and_kurtosis(net, scheme):
    """Within four standard errors, those of sums of independent draws (delta method for the kurtosis)."""
    model, weights = fresh(net, scheme)
    stds, squares = theory(scheme, weights), pattern(net, scheme, model, weights)
    for (name, w), promised in zip(weights.items(), inits.INITS[scheme].stds(list(weights.values()))):
        x, n, moment = w.double() / stds[name], w.numel(), moment_of(scheme, w)
        p1, p2, p3, p4 = (squares[name].double().pow(m).mean().item() for m in (1, 2, 3, 4))
        m2, m3, m4 = (moment(m) for m in (2, 3, 4))
        k = m2 * p2 / p1 ** 2
        told = promised * math.sqrt(p1) if scheme.endswith("_lit") else promised  # of those that are not 0
        assert math.isclose(told, stds[name] * math.sqrt(p1), rel_tol=1e-9)
        assert abs(x.mean()) < 4 * math.sqrt(p1 / n)
        error = 0 if "orthogonal" in scheme else p2 * (m2 - 1) / n  # 0: the sum of squares is fixed
        assert abs(x.pow(2).mean() / p1 - 1) < 4 * math.sqrt(error) / p1 + 1e-5
        error = (p4 * (m4 - m2 ** 2) / p1 ** 4 - 4 * k * p3 * (m3 - m2) / p1 ** 3
                 + 4 * k ** 2 * p2 * (m2 - 1) / p1 ** 2) / n
        assert abs(x.pow(4).mean() / x.pow(2).mean() ** 2 - k) < 4 * math.sqrt(max(error, 0)) + 1e-5, name


def test_kurtosis_table():
    for shape, value in KURTOSIS.items():
        assert abs(LAWS[shape][0](2) - value) < 0.005
    assert moment_of("sparse_50", None)(2) == 6 and math.isclose(moment_of("sparse_90", None)(2), 30)


@pytest.mark.parametrize("net,scheme", [pair for pair in EVERY if pair[1] in LAW_OF])
def test_bounds_and_distribution(net, scheme):
    """xavier_normal and shape_normal are both N(0, std), and so on: Kolmogorov's test at P(> 2.4) = 2e-5."""
    _, bound, cumulative = LAWS[LAW_OF[scheme]]
    _, weights = fresh(net, scheme)
    for (name, w), std in zip(weights.items(), theory(scheme, weights).values()):
        x, n = (w.double() / std).flatten().sort().values, w.numel()
        if bound:
            assert x.abs().max() < bound * (1 + 1e-6) and x.abs().max() > bound * (1 - 100 / n)
        else:
            assert x.abs().max() > 2.5
        if cumulative:
            expected = (torch.arange(n) + 0.5) / n
            distance = (cumulative(x.clamp(-(bound or 1e9), bound or 1e9)) - expected).abs().max()
            assert distance * math.sqrt(n) < 2.4, name
        else:
            assert ((x.abs() - 1).abs() < 1e-6).all() and abs((x > 0).sum() - n / 2) < 4 * math.sqrt(n) / 2


@pytest.mark.parametrize("net", SMALL)
def test_t4_has_the_mean_magnitude_of_student(net):
    """E|T| = var|T| = 1 for four degrees; with no fourth moment a variance has no standard error."""
    _, weights = fresh(net, "shape_t4")
    for w, std in zip(weights.values(), theory("shape_t4", weights).values()):
        x = w.double() / std * math.sqrt(2)
        assert abs(x.abs().mean() - 1) < 4 / math.sqrt(w.numel())
        assert abs(x.mean()) < 4 * math.sqrt(2 / w.numel())


@pytest.mark.parametrize("shape", [shape for shape in LAWS if shape != "sign"])
def test_quantile_inverts_the_distribution(shape):
    """An exact check of mean, variance and kurtosis, whose laws are those of LAWS."""
    tail = torch.logspace(-7, -1, 500, dtype=torch.float64)
    middle = 0.5 + torch.tensor([-0.3, -0.1, 0.1, 0.3, -1e-9, 1e-9], dtype=torch.float64)
    u = torch.cat([tail, 1 - tail, middle])
    x = inits.quantile(u, shape)
    torch.testing.assert_close(LAWS[shape][2](x), u, rtol=0, atol=1e-9)  # asin is steep at its ends
    torch.testing.assert_close(x[-1], -x[-2], rtol=1e-6, atol=0)
    assert torch.isfinite(inits.quantile(torch.tensor([0.0, 1.0]).double(), shape)).all()


@pytest.mark.parametrize("net", SMALL)
def test_shapes_share_signs_and_ranks(net):
    """In float64, where no two differ by rounding alone; float32 draws are the same numbers rounded."""
    drawn = {shape: fresh(net, f"shape_{shape}", 1, torch.float64)[1] for shape in LAWS}
    for name, uniform in drawn["uniform"].items():
        ranks = uniform.abs().flatten().argsort()
        for shape in LAWS:
            assert torch.equal(drawn[shape][name].sign(), uniform.sign())
            magnitudes = drawn[shape][name].abs().flatten()[ranks]
            assert (magnitudes.diff() >= 0).all() and (shape == "sign" or (magnitudes.diff() > 0).all())
    _, rounded = fresh(net, "shape_t4", 1)
    assert all(torch.equal(w, drawn["t4"][name].float()) for name, w in rounded.items())


@pytest.mark.parametrize("net,scheme", EVERY)
def test_a_gain_is_an_exact_multiple_and_a_key_is_a_draw(net, scheme):
    _, plain = fresh(net, scheme)
    for gain in (0.5, 3.7):
        _, again = fresh(net, f"{scheme}@{gain}")
        assert all(torch.equal(again[name], w * gain) for name, w in plain.items())
    _, other = fresh(net, scheme, seed=1)
    assert not any(torch.equal(other[name], w) for name, w in plain.items())
    layers = models.layers(models.build(net, SMALL[net]))
    if inits.INITS[scheme].data:
        with pytest.raises(ValueError, match=f"{scheme} looks at data: give init_ the model and its"):
            inits.init_(layers, scheme, data.rng(0, "init"))
    else:
        inits.init_(layers, scheme, data.rng(0, "init"))
        assert all(torch.equal(layers[name].weight, w) for name, w in plain.items())


PINS = {  # first weight of the first layer, last of the last, sum of all magnitudes: results rest on them
    ("fc", "xavier_normal"): (0.045156524, -0.023057468, 9862.95264),
    ("fc", "xavier_uniform"): (0.020768145, 0.053993117, 10712.07),
    ("fc", "kaiming_normal"): (0.05309787, -0.024182878, 11547.6031),
    ("fc", "kaiming_uniform"): (0.024420487, 0.056628458, 12542.0382),
    ("conv4", "xavier_normal"): (0.060544748, 0.097601958, 35956.3223),
    ("conv4", "xavier_uniform"): (0.027845414, -0.052408073, 39031.8296),
    ("conv4", "kaiming_normal"): (0.28612334, 0.099489987, 41414.2165),
    ("conv4", "kaiming_uniform"): (0.13159229, -0.053421866, 44967.6055),
}


@pytest.mark.parametrize("net,scheme", PINS)
def test_the_standard_four_stay_what_they_are(net, scheme):
    """torch.nn.init's own, bit for bit, and on this key these numbers (other processors round otherwise)."""
    weights, generator = [w for w, _ in draw(net, scheme).values()], data.rng(0, "init")
    assert all(torch.equal(w, STANDARD[scheme](torch.empty_like(w), generator=generator)) for w in weights)
    found = (weights[0].flatten()[0], weights[-1].flatten()[-1], sum(w.double().abs().sum() for w in weights))
    for value, pin in zip(found, PINS[net, scheme]):
        assert math.isclose(value, pin, rel_tol=2e-7)


@pytest.mark.parametrize("build", [partial(nn.Linear, 30, 20), partial(nn.Conv2d, 5, 7, 3)])
def test_torch_default_is_what_layers_do(build):
    torch.manual_seed(5)
    layer, other = build(), build()
    inits.init_({"layer": other}, "torch_default", torch.Generator().manual_seed(5))
    assert torch.equal(layer.weight, other.weight) and not other.bias.any()


@pytest.mark.parametrize("shape", [(20, 30), (30, 20), (64, 3, 3, 3), (32, 64, 3, 3), (12, 12, 5, 5)])
def test_orthogonal(shape):
    """Orthonormal rows or columns up to one scale; delta: centre taps alone, where the columns can be so."""
    layer = nn.Linear(*shape[::-1]) if len(shape) == 2 else nn.Conv2d(shape[1], *shape[::2])
    for scheme in ("orthogonal", "delta_orthogonal"):
        inits.init_({"layer": layer}, scheme, data.rng(2, "init"))
        w = layer.weight.detach().double()
        matrix = w.flatten(1)
        if scheme == "delta_orthogonal" and w.dim() == 4 and w.size(0) >= w.size(1):
            matrix = w[:, :, shape[2] // 2, shape[3] // 2]
        assert matrix.all() and (w != 0).sum() == matrix.numel()
        products = matrix @ matrix.T if matrix.size(0) <= matrix.size(1) else matrix.T @ matrix
        scale = documented_std("xavier", w) ** 2 * w.numel() / len(products)
        torch.testing.assert_close(products / scale, torch.eye(len(products)).double(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("net", SMALL)
def test_sparse_keeps_a_share_of_xavier_normal(net):
    drawn = {scheme: fresh(net, scheme)[1] for scheme in ("xavier_normal", "sparse_50", "sparse_90")}
    for name, w in drawn["xavier_normal"].items():
        for scheme, zeros in (("sparse_50", 0.5), ("sparse_90", 0.9)):
            kept = drawn[scheme][name] != 0
            torch.testing.assert_close(drawn[scheme][name][kept], w[kept] / math.sqrt(1 - zeros))
            n = w.numel()
            assert abs(kept.sum() - n * (1 - zeros)) < 4 * math.sqrt(n * zeros * (1 - zeros))
        assert not (drawn["sparse_90"][name] != 0)[drawn["sparse_50"][name] == 0].any()


@pytest.mark.parametrize("net", SMALL)
def test_balanced_layers_compute_the_same(net):
    """Homogeneity: the stds meet, each layer is a multiple of xavier_normal's, the logits are the same."""
    (plain, before), (balanced, after) = fresh(net, "xavier_normal"), fresh(net, "layer_balanced")
    factors = [(after[name].norm() / w.norm()).item() for name, w in before.items()]
    assert math.isclose(math.prod(factors), 1, rel_tol=1e-5)
    stds = [documented_std("xavier", w) * factor for w, factor in zip(before.values(), factors)]
    assert max(stds) / min(stds) < 1 + 1e-5
    for (name, w), factor in zip(before.items(), factors):
        torch.testing.assert_close(after[name], w * factor, rtol=1e-5, atol=0)
    x = pictures(net, 50).double()
    expected, logits = plain.double()(x), balanced.double()(x)
    assert (logits - expected).abs().max() < 1e-5 * expected.abs().max()


@pytest.mark.parametrize("net", SMALL)
@pytest.mark.parametrize("scheme", ["input_aware", "input_aware_all"])
def test_input_aware_is_xavier_by_the_spread_of_inputs(net, scheme):
    """Every column against a plain std: of all 600 images at the first layer, of the first 512 further on."""
    (model, weights), (_, plain) = fresh(net, scheme), fresh(net, "xavier_normal")
    factors = spreads(net, model, everywhere=scheme.endswith("all"))
    for name, w in weights.items():
        factor = factors.get(name, torch.ones(1))
        assert math.isclose(factor.pow(2).mean(), 1, rel_tol=1e-6)  # the layer's variance is kept
        torch.testing.assert_close(w, (plain[name] * factor).float(), rtol=1e-4, atol=1e-9)
    first = next(iter(weights.values()))
    constant = first[:, -100:] if net == "fc" else first[:, 2]
    assert not constant.any() and (first != 0).sum() == first.numel() - constant.numel()
    assert len(factors) == (len(weights) if scheme.endswith("all") else 1)


@pytest.mark.parametrize("low", [0.0, -0.4242])
@pytest.mark.parametrize("scheme", LIT)
def test_lit_is_its_base_but_0_on_pixels_that_few_images_light(scheme, low):
    """Of 3,000 images 0, 2, 3 (0.1%) and all but 1 light a pixel, by a lot or a little."""
    counts = [0, 2, 3, 2999] * 196
    images = torch.full((3000, 784), low)
    for pixel, n in enumerate(counts):
        images[:n, pixel] += 1e-3 if pixel % 8 < 4 else 2.0
    model, plain = models.build("fc", SMALL["fc"]), draw("fc", scheme.removesuffix("_lit"))
    inits.init_(models.layers(model), scheme, data.rng(0, "init"), model, images.view(-1, 1, 28, 28))
    found = {name: layer.weight.detach() for name, layer in models.layers(model).items()}
    expected = {name: w.clone() for name, (w, _) in plain.items()}
    expected["fc1"][:, [n < 3 for n in counts]] = 0
    assert all(torch.equal(found[name], w) for name, w in expected.items())


@pytest.mark.parametrize("scheme", LIT)
def test_lit_of_photographs_is_its_base(scheme):
    """A channel that is not constant is lit."""
    (_, found), (_, plain) = fresh("conv4", scheme), fresh("conv4", scheme.removesuffix("_lit"))
    assert not found["conv1"][:, 2].any() and plain["conv1"][:, 2].all()
    plain["conv1"][:, 2] = 0
    assert all(torch.equal(found[name], w) for name, w in plain.items())


@pytest.mark.parametrize("net", SMALL)
@pytest.mark.parametrize("beta", [0.25, 0.5])
def test_asymmetric_units_count_lam_times(net, beta):
    """lam falls as k ** -beta, in random order; xavier_normal's units times lam give the same logits."""
    (plain, before), (scaled, after) = fresh(net, "xavier_normal"), fresh(net, f"asymmetric_{100 * beta:.0f}")
    x, incoming = pictures(net, 50).double(), torch.ones(SMALL[net][0]).double()
    for name, module in plain.double().named_children():
        x = module(x)
        if name in before:  # (out, units before, places or kernel of each)
            ratio = (after[name].double() / before[name].double()).view(len(after[name]), len(incoming), -1)
            units = ratio[:, 0, 0] ** 2 / incoming[0]
            expected = torch.outer(units.sqrt(), incoming.sqrt())[:, :, None].expand_as(ratio)
            torch.testing.assert_close(ratio, expected, rtol=1e-5, atol=0)
            ordered = lam(len(units), beta) if name != "out" else torch.ones(10).double()
            torch.testing.assert_close(units.sort(descending=True).values, ordered, rtol=1e-5, atol=0)
            assert math.isclose(units.pow(2).mean(), 1, rel_tol=1e-5)
            assert torch.allclose(units, ordered) == (name == "out")
            x, incoming = x * units.view(1, -1, *[1] * (x.dim() - 2)), units
    logits = scaled.double()(pictures(net, 50).double())
    assert (logits - x).abs().max() < 1e-5 * x.abs().max()


SPELLINGS = {"sparse_50": "sparse_50", "xavier_normal@1": "xavier_normal", "sparse_90@1.0": "sparse_90",
             "xavier_normal@0.50": "xavier_normal@0.5", "xavier_normal@.5": "xavier_normal@0.5",
             "xavier_normal@5e-1": "xavier_normal@0.5", "kaiming_uniform@2.00": "kaiming_uniform@2",
             "shape_t4@1e1": "shape_t4@10", "torch_default@0.1": "torch_default@0.1"}


@pytest.mark.parametrize("text", SPELLINGS)
def test_scheme_has_one_spelling(text):
    parser = argparse.ArgumentParser()
    parser.add_argument("--init", nargs="+", type=inits.init_arg)
    assert parser.parse_args(["--init", text, "orthogonal"]).init == [SPELLINGS[text], "orthogonal"]
    assert inits.init_arg(SPELLINGS[text]) == SPELLINGS[text]


@pytest.mark.parametrize("text", ["glorot", "", "@2", "glorot@2", "xavier_normal ", "Xavier_normal"])
def test_an_unknown_scheme_lists_the_choices(text):
    with pytest.raises(argparse.ArgumentTypeError) as error:
        inits.init_arg(text)
    said = str(error.value)
    assert said.startswith(f"invalid choice: {text!r}") and "\n" not in said
    assert all(name in said for name in inits.INITS)


@pytest.mark.parametrize("gain", ["", "x", "0", "-1", "nan", "inf", "1e999", "1e300", "1@2"])
def test_a_gain_has_bounds(gain):
    with pytest.raises(argparse.ArgumentTypeError, match=r"^'orthogonal@.*': a gain is in \[1e-06, 1e\+06\]"):
        inits.init_arg(f"orthogonal@{gain}")


def test_the_script_shows_every_scheme():
    done = subprocess.run([sys.executable, ROOT / "inits.py", "--net", "fc"], capture_output=True, text=True)
    lines = [line.split() for line in done.stdout.splitlines()]
    for name, row in inits.INITS.items():
        looks = "yes" if row.data else "no"
        assert [line[1:4:2] + line[-1:] for line in lines if line[:1] == [name]] == [
            [layer, fan_out, looks] for layer, fan_out in (("fc1", "300"), ("fc2", "100"), ("out", "10"))]
        assert f"| `{name}` | {row.about} | {row.reference} | {looks} |" in done.stdout
    assert [name for name, row in inits.INITS.items() if row.data] == [
        "input_aware", "input_aware_all", *LIT]
