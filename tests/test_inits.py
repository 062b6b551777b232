"""Every scheme against the formulas of its paper or documentation, and the coupling of schemes."""
import argparse
import math
import re
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

import data
import inits
import models

SMALL = {"fc": (1, 28, 28), "conv4": (3, 8, 8)}
EVERY = [(net, scheme) for net in SMALL for scheme in inits.INITS]
STANDARD = {"xavier_normal": nn.init.xavier_normal_, "xavier_uniform": nn.init.xavier_uniform_,
            "kaiming_normal": partial(nn.init.kaiming_normal_, mode="fan_in", nonlinearity="relu"),
            "kaiming_uniform": partial(nn.init.kaiming_uniform_, mode="fan_in", nonlinearity="relu")}
ZERO_RARE = [name for name in inits.INITS if name.endswith("_lit")]
CUT = 0.87962566103423978  # of TensorFlow's VarianceScaling: the std of a standard normal within [-2, 2]


def documented_std(scheme, w):
    """As torch.nn.init documents them, with fans counted one by one."""
    fan_in = sum(1 for _ in w[0].flatten())
    if scheme == "torch_default":
        return 1 / math.sqrt(3 * fan_in)
    fan_out = 0 if scheme.startswith("kaiming") else w.numel() // w.size(1)
    return math.sqrt(2 / (fan_in + fan_out))


def test_describe_counts_every_weight():
    layers = models.layers(models.build("fc", (1, 28, 28)))
    for name, row in inits.describe(layers).items():
        counts, edges = np.histogram(layers[name].weight.detach(), 64)
        assert (row["min"], row["max"]) == (edges[0], edges[-1]) and sum(row["hist"]) == counts.sum()
        assert np.abs(np.cumsum(row["hist"] - counts)).max() <= 2  # a weight on an edge falls either way


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


# of unit variance: the bound of |x|, P(X < x)
LAWS = {
    "sign": (1, None),
    "arcsine": (2 ** 0.5, lambda x: 0.5 + torch.asin(x / 2 ** 0.5) / math.pi),
    "uniform": (3 ** 0.5, lambda x: 0.5 + x / 12 ** 0.5),
    "trunc2": (2 / CUT, lambda x: 0.5 + torch.erf(x * CUT / 2 ** 0.5) / math.erf(2 ** 0.5) / 2),
    "normal": (None, lambda x: 0.5 + torch.erf(x / 2 ** 0.5) / 2),
    "laplace": (None, lambda x: 0.5 - x.sign() * torch.expm1(-2 ** 0.5 * x.abs()) / 2),
    "t4": (None, lambda x: 0.5 + 0.75 * x * (2 + x ** 2) ** -0.5 * (1 - x ** 2 / (6 + 3 * x ** 2))),
}
LAW_OF = {**{f"shape_{shape}": shape for shape in LAWS}, **{name: name.split("_")[1] for name in STANDARD},
          "truncated_glorot": "trunc2", "torch_default": "uniform", "layer_balanced": "normal"}


@pytest.mark.parametrize("net,scheme", [pair for pair in EVERY if inits.INITS[pair[1]].stds])
def test_the_root_mean_square_is_what_the_row_says(net, scheme):
    """Within four standard errors of the longest tails, sparse_90's; of a scheme *_lit, where it is not 0."""
    _, weights = fresh(net, scheme)
    for w, std in zip(weights.values(), inits.INITS[scheme].stds(list(weights.values()))):
        squares = w[w != 0].double() ** 2 if scheme in ZERO_RARE else w.double() ** 2
        assert squares.mean().sqrt() / std == pytest.approx(1, abs=11 / math.sqrt(w.numel()))


@pytest.mark.parametrize("shape", LAWS)
def test_a_shape_has_the_moments_that_its_row_names(shape):
    """Mean 0, variance 1 and the kurtosis, over a million quantiles."""
    x = inits.quantile((torch.arange(10 ** 6, dtype=torch.float64) + 0.5) / 10 ** 6, shape)
    kurtosis = re.search(r"kurtosis ([\d.]+)", inits.SHAPES[shape][1])
    assert abs(x.mean()) < 1e-9 and x.square().mean() == pytest.approx(1, abs=0.002)
    assert (shape == "t4") == (kurtosis is None)
    assert shape == "t4" or x.pow(4).mean() == pytest.approx(float(kurtosis[1]), abs=0.01)


@pytest.mark.parametrize("net,scheme", [pair for pair in EVERY if pair[1] in LAW_OF])
def test_bounds_and_distribution(net, scheme):
    """xavier_normal and shape_normal are both N(0, std), and so on: Kolmogorov's test at P(> 2.4) = 2e-5."""
    (bound, cumulative), (_, weights) = LAWS[LAW_OF[scheme]], fresh(net, scheme)
    stds = [documented_std(scheme, w) for w in weights.values()]
    if scheme == "layer_balanced":  # the geometric mean of Xavier's
        stds = [math.prod(stds) ** (1 / len(stds))] * len(stds)
    assert list(inits.INITS[scheme].stds(list(weights.values()))) == pytest.approx(stds, rel=1e-12)
    for (name, w), std in zip(weights.items(), stds):
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


@pytest.mark.parametrize("shape", [shape for shape in LAWS if shape != "sign"])
def test_quantile_inverts_the_distribution(shape):
    tail = torch.logspace(-7, -1, 500, dtype=torch.float64)
    middle = 0.5 + torch.tensor([-0.3, -0.1, 0.1, 0.3, -1e-9, 1e-9], dtype=torch.float64)
    u = torch.cat([tail, 1 - tail, middle])
    x = inits.quantile(u, shape)
    torch.testing.assert_close(LAWS[shape][1](x), u, rtol=0, atol=1e-9)  # asin is steep at its ends
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
    layers, generator = models.layers(models.build(net, models.PAPER[net]["shape"])), data.rng(0, "init")
    inits.init_(layers, scheme, data.rng(0, "init"))
    weights = [layer.weight.detach() for layer in layers.values()]
    assert all(torch.equal(w, STANDARD[scheme](torch.empty_like(w), generator=generator)) for w in weights)
    found = (weights[0].flatten()[0], weights[-1].flatten()[-1], sum(w.double().abs().sum() for w in weights))
    assert [float(number) for number in found] == pytest.approx(PINS[net, scheme], rel=2e-7)


def test_torch_default_is_what_layers_do():
    for build in (partial(nn.Linear, 30, 20), partial(nn.Conv2d, 5, 7, 3)):
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
    whole, half, tenth = (fresh(net, name)[1] for name in ("xavier_normal", "sparse_50", "sparse_90"))
    for name, w in whole.items():
        for found, zeros in ((half[name], 0.5), (tenth[name], 0.9)):
            kept, n = found != 0, w.numel()
            torch.testing.assert_close(found[kept], w[kept] / math.sqrt(1 - zeros))
            assert abs(kept.sum() - n * (1 - zeros)) < 4 * math.sqrt(n * zeros * (1 - zeros))
        assert not (tenth[name] != 0)[half[name] == 0].any()


@pytest.mark.parametrize("net", SMALL)
def test_balanced_layers_compute_the_same(net):
    """Homogeneity: the stds meet, each layer is a multiple of xavier_normal's, the logits are the same."""
    (plain, before), (balanced, after) = fresh(net, "xavier_normal"), fresh(net, "layer_balanced")
    factors = [(after[name].norm() / w.norm()).item() for name, w in before.items()]
    stds = [documented_std("xavier", w) * factor for w, factor in zip(before.values(), factors)]
    assert math.isclose(math.prod(factors), 1, rel_tol=1e-5) and max(stds) / min(stds) < 1 + 1e-5
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
    x, first = pictures(net), next(iter(weights.values()))
    for name, module in model.named_children():
        if name in weights:
            columns = x.detach().double().transpose(0, 1).flatten(1)
            std = (columns - columns.mean(1, keepdim=True)).pow(2).mean(1).sqrt()
            std[columns.amin(1) == columns.amax(1)] = 0
            factor = (std / math.sqrt((std * std).sum() / len(std))).view(1, -1, *[1] * (x.dim() - 2))
            expected = plain[name] * (factor if weights[name] is first or scheme.endswith("all") else 1)
            torch.testing.assert_close(weights[name], expected.float(), rtol=1e-4, atol=1e-9)
            x = x[:512]
        x = module(x)
    constant = first[:, -100:] if net == "fc" else first[:, 2]
    assert not constant.any() and (first != 0).sum() == first.numel() - constant.numel()


@pytest.mark.parametrize("scheme", ZERO_RARE)
def test_rare_inputs_start_at_0_and_all_else_is_the_base(scheme):
    """Of 3,000 images 0, 2, 3 (0.1%) and all but 1 raise a pixel, by a lot or a little. A channel that is
    constant starts at 0 too."""
    base, counts = scheme.removesuffix("_lit"), [0, 2, 3, 2999] * 196
    for low in (0.0, -0.4242):
        images = torch.full((3000, 784), low)
        for pixel, n in enumerate(counts):
            images[:n, pixel] += 1e-3 if pixel % 8 < 4 else 2.0
        model = models.build("fc", SMALL["fc"])
        inits.init_(models.layers(model), scheme, data.rng(0, "init"), model, images.view(-1, 1, 28, 28))
        _, expected = fresh("fc", base)
        expected["fc1"][:, [n < 3 for n in counts]] = 0
        assert all(torch.equal(layer.weight, expected[name]) for name, layer in models.layers(model).items())
    (_, found), (_, expected) = fresh("conv4", scheme), fresh("conv4", base)
    assert expected["conv1"][:, 2].all()
    expected["conv1"][:, 2] = 0
    assert all(torch.equal(found[name], w) for name, w in expected.items())


@pytest.mark.parametrize("net", SMALL)
@pytest.mark.parametrize("beta", [0.25, 0.5])
def test_asymmetric_units_count_lam_times(net, beta):
    """lam, k ** -beta over its rms, in random order; xavier_normal's units times lam give the same logits."""
    (plain, before), (scaled, after) = fresh(net, "xavier_normal"), fresh(net, f"asymmetric_{100 * beta:.0f}")
    x, incoming = pictures(net, 50).double(), torch.ones(SMALL[net][0]).double()
    for name, module in plain.double().named_children():
        x = module(x)
        if name in before:  # (out, units before, places or kernel of each)
            ratio = (after[name].double() / before[name].double()).view(len(after[name]), len(incoming), -1)
            units = ratio[:, 0, 0] ** 2 / incoming[0]
            expected = torch.outer(units.sqrt(), incoming.sqrt())[:, :, None].expand_as(ratio)
            torch.testing.assert_close(ratio, expected, rtol=1e-5, atol=0)
            fall = 0 if name == "out" else beta
            powers = torch.tensor([k ** -fall for k in range(1, len(units) + 1)], dtype=torch.float64)
            ordered = powers / powers.square().mean().sqrt()
            torch.testing.assert_close(units.sort(descending=True).values, ordered, rtol=1e-5, atol=0)
            assert torch.allclose(units, ordered) == (name == "out")
            x, incoming = x * units.view(1, -1, *[1] * (x.dim() - 2)), units
    logits = scaled.double()(pictures(net, 50).double())
    assert (logits - x).abs().max() < 1e-5 * x.abs().max()


def test_a_scheme_has_one_spelling_an_unknown_one_lists_the_choices_and_a_gain_has_bounds():
    for text, spelling in {
            "sparse_50": "sparse_50", "xavier_normal@1": "xavier_normal", "sparse_90@1.0": "sparse_90",
            "xavier_normal@0.50": "xavier_normal@0.5", "xavier_normal@.5": "xavier_normal@0.5",
            "xavier_normal@5e-1": "xavier_normal@0.5", "kaiming_uniform@2.00": "kaiming_uniform@2",
            "shape_t4@1e1": "shape_t4@10", "torch_default@0.1": "torch_default@0.1"}.items():
        assert inits.init_arg(text) == inits.init_arg(spelling) == spelling
    for text in ("glorot", "", "@2", "glorot@2", "xavier_normal ", "Xavier_normal"):
        with pytest.raises(argparse.ArgumentTypeError) as error:
            inits.init_arg(text)
        assert repr(text) in str(error.value) and all(name in str(error.value) for name in inits.INITS)
    for gain in ("", "x", "0", "-1", "nan", "inf", "1e999", "1e300", "1@2"):
        with pytest.raises(argparse.ArgumentTypeError, match=r"a gain is in \[1e-06, 1e\+06\]"):
            inits.init_arg(f"orthogonal@{gain}")


WRONG = {  # what is wrong: a fill, the refusal
    "returns": (lambda w, generator: w.clone().normal_(generator=generator), "change the weight in place"),
    "returns more": (lambda w, generator: 2 * w.normal_(generator=generator), "change the weight in place"),
    "does nothing": (lambda w, generator: None, "change every weight in place"),
    "leaves a layer": (lambda w, generator: w.shape[0] == 10 or w.zero_(), "does not fill out with finite"),
    "leaves a weight": (lambda w, generator: w[1:].zero_() is None, "does not fill fc1 with finite"),
    "overflows": (lambda w, generator: w.fill_(math.inf), "finite numbers"),
    "ignores the generator": (lambda w, generator: w.normal_(), "draw from the generator"),
}


@pytest.mark.parametrize("fill, sentence", WRONG.values(), ids=WRONG)
def test_a_scheme_that_is_not_what_it_says_is_refused(monkeypatch, fill, sentence):
    monkeypatch.setitem(inits.INITS, "new", inits.per_layer(fill, "new", "nobody"))
    with pytest.raises(SystemExit, match=sentence):
        fresh("fc", "new")
