"""Scores against finite differences and plain loops; masks, rewinds and controls by their exact counts."""
import pytest
import torch
import torch.nn.functional as F

import data as datasets
import inits
import models
import prune
import pruners
from test_prune import SHAPES, config, images, same


def drawn(net, init="xavier_normal", key="init", dtype=torch.float32):
    """Initial weights; in float64 the draws themselves have 53 bits."""
    model = models.build(net, SHAPES[net]).to(dtype)
    inits.init_(models.layers(model), init, datasets.rng(0, key))
    return {name: tensor.detach() for name, tensor in model.state_dict().items()}


def noisy(state, key):
    """Weights and biases as some training might leave them."""
    g = datasets.rng("noise", key)
    return {name: t + 0.05 * torch.randn(t.shape, generator=g, dtype=t.dtype) for name, t in state.items()}


def masked(state, masks):
    return {name: t * masks.get(name.removesuffix(".weight"), 1) for name, t in state.items()}


def counts(masks):
    return {name: int(mask.sum()) for name, mask in masks.items()}


def nested(new, old):
    return not any((new[name] & ~old[name]).any() for name in new)


def network(net, state):
    model = models.build(net, SHAPES[net]).to(state["out.weight"].dtype)
    model.load_state_dict(state)
    return model


def score(name, net, state):
    data, masks = images(net, state["out.weight"].dtype), models.dense_masks(state)
    return pruners.PRUNERS[name].score(state, state, masks, config(net), data, 1)


def decide(settings, state, level, masks=None, w0=None):
    """The masks of a level, from dense ones and of the initial values if not said otherwise."""
    data = images(settings["net"], state["out.weight"].dtype)
    return pruners.next_masks(masks or models.dense_masks(state), state, w0 or state, settings, data, level)


@pytest.mark.parametrize("net", ["fc", "conv2"])
@pytest.mark.parametrize("name, temperature, which", [("snip", 1, 0), ("grasp", 200, 1)])
def test_snip_and_grasp_are_finite_differences(net, name, temperature, which):
    """The change of the loss, or of half the gradient's squared norm, as a weight is scaled by 1 +- h, so
    small that no ReLU turns."""
    state, data, h = noisy(drawn(net, dtype=torch.float64), 0), images(net, torch.float64), 1e-7
    x, y = pruners.scoring_batch(config(), data)
    for layer, values in score(name, net, state).items():
        for i in torch.randperm(values.numel(), generator=datasets.rng("where", layer))[:3].tolist():
            ends = []
            for factor in (1 + h, 1 - h):
                moved = {**state, f"{layer}.weight": state[f"{layer}.weight"].clone()}
                moved[f"{layer}.weight"].view(-1)[i] *= factor
                model = network(net, moved)
                loss = F.cross_entropy(model(x) / temperature, y)
                loss.backward()
                square = sum(each.weight.grad.square().sum().item() for each in models.layers(model).values())
                ends.append((loss.item(), square)[which])
            plain = (ends[0] - ends[1]) / (2 * h) / (1, 2)[which]
            plain = abs(plain) if name == "snip" else plain
            assert abs(plain - values.flatten()[i]) < 1e-4 * values.abs().max()


@pytest.mark.parametrize("net", SHAPES)
def test_synflow_is_conserved_from_layer_to_layer(net):
    """Every layer's scores sum to R, the summed outputs of the absolute weights: Tanaka et al. 2020."""
    def summed(state):
        return network(net, state)(torch.ones(1, *SHAPES[net], dtype=torch.float64)).sum()
    state = noisy(drawn(net, dtype=torch.float64), 1)
    scores = score("synflow", net, state)
    sums = torch.stack([values.sum() for values in scores.values()])
    positive = {name: t.abs() if name.endswith("weight") else 0 * t for name, t in state.items()}
    total = summed(positive)
    assert ((sums - total).abs() < 1e-10 * total).all()
    for name, values in scores.items():     # R falls by a weight's score as the weight goes to 0
        for i in (0, int(values.argmax())):
            less = positive[f"{name}.weight"].clone()
            less.view(-1)[i] *= 1 - 1e-6
            lost = (total - summed({**positive, f"{name}.weight": less})) / 1e-6
            assert lost.item() == pytest.approx(values.flatten()[i].item(), rel=1e-4, abs=1e-9 * total.item())


@pytest.mark.parametrize("scope", prune.SCOPES)
def test_synflow_passes_are_a_plain_loop(scope):
    w0, settings = drawn("fc"), config(pruner="synflow", scope=scope, rate_fc=0.3)
    dense = plain = models.dense_masks(w0)
    size = {name: mask.numel() for name, mask in plain.items()}
    density = {"fc1": 0.7 ** 8, "fc2": 0.7 ** 8, "out": 0.9 ** 8}
    for r in range(1, 101):
        kept = {name: round(size[name] * density[name] ** (r / 100)) for name in size}
        scores = pruners.synflow(masked(w0, plain), None, dense, settings, images("fc"), None)
        plain = pruners.keep_largest(scores, plain, kept, scope, 0)
    assert same(decide(settings, w0, 8), plain)


def test_the_plain_scores():
    w0 = drawn("fc")
    state = noisy(w0, 3)
    for name, formula in {"magnitude": lambda w, v: w.abs(), "movement": lambda w, v: (w - v).abs(),
                          "magnitude_increase": lambda w, v: w.abs() - v.abs()}.items():
        scores = pruners.PRUNERS[name].score(state, w0, None, None, None, None)
        assert list(scores) == ["fc1", "fc2", "out"]
        assert all(torch.equal(scores[k], formula(state[f"{k}.weight"], w0[f"{k}.weight"])) for k in scores)


def test_random_scores_come_from_seed_and_level_alone():
    for name, fresh in {"random": True, "random_init": False}.items():
        masks = {level: decide(config(pruner=name), drawn("fc"), level) for level in (1, 2, 6)}
        assert same(masks[6], decide(config(pruner=name), drawn("fc", "kaiming_uniform"), 6))
        assert not same(masks[6], decide(config(pruner=name, seed=1), drawn("fc"), 6))
        assert (nested(masks[6], masks[2]) and nested(masks[2], masks[1])) != fresh
        assert nested(decide(config(pruner=name), drawn("fc"), 6, masks[1]), masks[1])


def test_the_scored_images_are_ten_of_each_class():
    data = images("fc")
    x, y = pruners.scoring_batch(config(), data)
    assert y.bincount().tolist() == [10] * 10
    rows = [(data.x_train == image).flatten(1).all(1).nonzero().item() for image in x]
    assert len(set(rows)) == 100 and data.y_train[rows].equal(y)
    assert pruners.scoring_batch(config(init="kaiming_normal"), data)[0].equal(x)
    assert not pruners.scoring_batch(config(seed=1), data)[0].equal(x)


@pytest.mark.parametrize("name", pruners.PRUNERS)
def test_a_row_is_complete_and_leaves_its_inputs_alone(name):
    w0 = drawn("conv2")
    state = w0 if pruners.PRUNERS[name].when == "before" else noisy(w0, 4)
    before, masks = {key: tensor.clone() for key, tensor in state.items()}, models.dense_masks(w0)
    scores = pruners.PRUNERS[name].score(state, w0, masks, config("conv2"), images("conv2"), 1)
    assert {k: s.shape for k, s in scores.items()} == {k: w.shape for k, w in models.weights_of(w0).items()}
    assert all(s.isfinite().all() and not s.requires_grad for s in scores.values())
    assert same(state, before) and len(pruners.PRUNERS[name].text) < 90


def alive(masks):
    return {name: mask.flatten(1).any(1) for name, mask in masks.items()}


@pytest.mark.parametrize("scope", prune.SCOPES)
@pytest.mark.parametrize("net", ["fc", "conv4"])
def test_filters_leave_no_half_removed_unit(net, scope):
    """Weights and biases are ever new."""
    w0, settings = noisy(drawn(net), 0), config(net, pruner="filters", scope=scope)
    masks = models.dense_masks(w0)
    for level in range(1, 9):
        before, state = masks, noisy(w0, level)
        masks = decide(settings, masked(state, before), level, before, w0)
        state = pruners.without_idle_biases(state, masks)
        left, inputs = alive(masks), torch.ones(1, dtype=torch.bool)
        for name, mask in masks.items():  # all of the inputs that are left, or none
            columns = inputs.repeat_interleave(mask[0].numel() // len(inputs))
            inputs = left[name]
            assert torch.equal(mask.flatten(1), torch.outer(inputs, columns)) and inputs.any()
            assert torch.equal(state[f"{name}.bias"] != 0, inputs)
        wanted = {name: max(1, round(len(units) * (0.9 if "conv" in name else 0.8) ** level))
                  for name, units in left.items() if name != "out"}
        found = {name: int(left[name].sum()) for name in wanted}
        assert left["out"].all() and sum(found.values()) == sum(wanted.values())
        assert scope == "global" or found == wanted
        assert nested(masks, before)


def test_filters_go_by_their_mean_magnitude():
    """Within a layer that ranks as the L1 norm. Between layers fc2's sums would be larger than fc1's of 16
    inputs a unit, its means are smaller. A layer keeps its best unit in any case."""
    state, across = drawn("fc"), config(pruner="filters", scope="global")
    norms = [row.abs().sum().item() for row in state["fc1.weight"]]
    best = sorted(range(300), key=lambda unit: -norms[unit])[:round(300 * 0.8 ** 3)]
    masks = decide(config(pruner="filters"), state, 3)
    assert alive(masks)["fc1"].nonzero().flatten().tolist() == sorted(best)

    even = {**state, "fc1.weight": torch.full((300, 16), 0.2), "fc2.weight": torch.full((100, 300), -0.1)}
    assert counts(alive(decide(across, even, 1))) == {"fc1": 300, "fc2": 20, "out": 10}

    small = {**state, "fc2.weight": state["fc2.weight"] * 1e-3}
    left = alive(decide(across, small, 5))
    assert left["fc2"].nonzero().flatten().tolist() == [small["fc2.weight"].abs().sum(1).argmax()]
    assert int(left["fc1"].sum()) == round(300 * 0.8 ** 5) + round(100 * 0.8 ** 5) - 1
    assert counts(alive(decide(config(pruner="filters"), small, 40))) == {"fc1": 1, "fc2": 1, "out": 10}


def test_only_idle_biases_are_cleared():
    state, masks = noisy(drawn("fc"), 5), models.dense_masks(drawn("fc"))
    masks["fc1"][:3], masks["fc2"][:, 1:4], masks["out"][2] = False, False, False  # 0, 1, 2 in, 1, 2, 3 out
    cleared = pruners.without_idle_biases(state, masks)
    assert (cleared["fc1.bias"] == 0).nonzero().flatten().tolist() == [1, 2]
    assert same({**state, "fc1.bias": cleared["fc1.bias"]}, cleared)


def some_masks(net, density, key=0):
    g, dense = datasets.rng("masks", key), models.dense_masks(drawn(net))
    return {name: torch.rand(mask.shape, generator=g) < density for name, mask in dense.items()}


def test_signs():
    w0 = drawn("conv2")
    w0["conv1.weight"][0, 0] = 0
    start = pruners.REWINDS["signs"].state(w0, None, None)
    for name, w in w0.items():
        expected = w if name.endswith("bias") else w.sign() * w.std()
        torch.testing.assert_close(start[name], expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("net, first", [("fc", "fc1"), ("conv4", "conv1")])
def test_rescaled_keeps_each_units_norm(net, first):
    """From w0 every time: the norms at the second density are w0's, not the first's."""
    w0 = noisy(drawn(net), 6)
    assert same(pruners.REWINDS["rescaled"].state(w0, models.dense_masks(w0), None), w0)  # dense: bit for bit
    w0[f"{first}.weight"][0] = 0
    w0[f"{first}.weight"][1, 0] = 1e-4
    copy = {name: tensor.clone() for name, tensor in w0.items()}
    for density in (0.5, 0.2):
        masks = some_masks(net, density)
        masks[first][1], masks[first][1, 0], masks[first][2] = False, True, False  # too few, none
        start = pruners.REWINDS["rescaled"].state(w0, masks, None)
        for name, mask in masks.items():
            new, old = start[f"{name}.weight"].flatten(1), w0[f"{name}.weight"].flatten(1)
            left = old * mask.flatten(1)
            ratio = (old.norm(dim=1) / left.norm(dim=1)).nan_to_num(1)
            assert (ratio < 10).float().mean() > 0.9 and (ratio > 10).any() == (name == first)
            torch.testing.assert_close(new, left * ratio.clamp(max=10).view(-1, 1))
        assert all(torch.equal(start[name], w0[name]) for name in w0 if name.endswith("bias"))
    assert same(w0, copy)


def test_shuffle_changes_every_mask_that_can_change_and_keeps_every_count():
    """And nested masks stay nested: the permutations of a run are the same at every level."""
    dense = models.dense_masks(drawn("fc"))
    tiny = {"one": torch.eye(2, dtype=torch.bool)[:1], "few": torch.tensor([[True, True, False]])}
    for seed in range(20):  # half of the permutations of two change nothing
        masks = {**some_masks("fc", 0.3, seed), **tiny, "full": dense["out"], "empty": ~dense["out"]}
        new = prune.shuffle(masks, config(seed=seed), 4)
        assert counts(new) == counts(masks)
        assert {name for name in masks if torch.equal(new[name], masks[name])} == {"full", "empty"}
        assert same(new, prune.shuffle(masks, config(seed=seed), 5))
    assert not same(new, prune.shuffle(masks, config(seed=20), 4))
    outer = some_masks("fc", 0.5)
    inner = {name: mask & some_masks("fc", 0.5, 1)[name] for name, mask in outer.items()}
    assert nested(prune.shuffle(inner, config(), 2), prune.shuffle(outer, config(), 1))


def test_random_masks_match_each_layer_and_are_fresh():
    masks = some_masks("conv2", 0.2)
    new = [prune.random_mask(masks, config(seed=seed), level) for seed, level in ((0, 1), (1, 1), (1, 2))]
    assert all(counts(n) == counts(masks) for n in new)
    assert not any(torch.equal(a[name], b[name]) for a, b in zip(new, new[1:] + [masks]) for name in masks)
    assert same(new[0], prune.random_mask(masks, config(init="kaiming_uniform"), 1))
    overlap = sum(int((new[0][k] & masks[k]).sum()) for k in masks) / sum(counts(masks).values())
    assert abs(overlap - 0.2) < 0.02  # chance
    for name, row in prune.CONTROLS.items():  # which leave the masks that they are given alone
        assert (row.change(masks, config(), 3) is masks) == (name in (None, "reinit"))
        assert same(masks, some_masks("conv2", 0.2))
