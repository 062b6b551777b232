"""Scores against finite differences and plain loops; masks, rewinds and controls by their exact counts."""
import pytest
import torch
import torch.nn.functional as F

import pruners

from conftest import steps_of

import data as datasets
import inits
import models
import prune
import train

SHAPES = {"fc": (1, 4, 4), "conv2": (3, 8, 8), "conv4": (3, 8, 8)}
AFTER = [name for name, row in pruners.PRUNERS.items() if row.when == "after"]
BEFORE = [name for name, row in pruners.PRUNERS.items() if row.when == "before"]


def config(**settings):
    return {"net": "fc", "init": "xavier_normal", "pruner": "magnitude", "seed": 0, "scope": "layer",
            "rewind": 0, "epochs": None, "steps": 40, "looks": 1, "batch": 60, "lr": 1.2e-3,
            "precision": "fp32", "rate_conv": 0.1, "rate_fc": 0.2, "rate_out": 0.1, **settings}


def images(net, dtype=torch.float32, n=240):
    g = torch.Generator().manual_seed(0)
    x, y = torch.randn(n, *SHAPES[net], generator=g).to(dtype), torch.arange(n) % 10
    return datasets.Data(x, y, x, y, x, y, "none", 0)


def drawn(net, init="xavier_normal", key="init", dtype=torch.float32, seed=0):
    """Initial weights; in float64 the draws themselves have 53 bits."""
    model = models.build(net, SHAPES[net]).to(dtype)
    inits.init_(models.layers(model), init, datasets.rng(seed, key))
    return {name: tensor.detach() for name, tensor in model.state_dict().items()}


def noisy(state, key, spread=0.05):
    """Weights and biases as some training might leave them."""
    g = datasets.rng("noise", key)
    return {name: t + spread * torch.randn(t.shape, generator=g, dtype=t.dtype) for name, t in state.items()}


def masked(state, masks):
    return {name: t * masks.get(name.removesuffix(".weight"), 1) for name, t in state.items()}


def counts(masks):
    return {name: int(mask.sum()) for name, mask in masks.items()}


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


def inside(new, old):
    return not any((new[name] & ~old[name]).any() for name in new)


def outputs(net, state, x):
    model = models.build(net, SHAPES[net]).to(x)
    model.load_state_dict(state)
    with torch.no_grad():
        return model(x)


def score(name, net, state, **settings):
    data, masks = images(net, state["out.weight"].dtype), models.dense_masks(state)
    return pruners.PRUNERS[name].score(state, state, masks, config(net=net, **settings), data, 1)


def decide(settings, state, masks, level, w0=None):
    data = images(settings["net"], state["out.weight"].dtype)
    return pruners.next_masks(masks, state, w0 or drawn(settings["net"]), settings, data, level)


@pytest.fixture
def few_rounds(net, monkeypatch):
    """SynFlow in ten rounds on the larger nets, to be quick."""
    if net != "fc":
        monkeypatch.setitem(pruners.PRUNERS, "synflow", pruners.PRUNERS["synflow"]._replace(rounds=10))


# ---- scores

def loss_and_gradient(net, state, x, y, cool):
    """(loss, squared norm of its gradient at the weights), by one plain backward pass."""
    model = models.build(net, SHAPES[net]).to(x)
    model.load_state_dict(state)
    loss = F.cross_entropy(model(x) / cool, y)
    loss.backward()
    gradient = [layer.weight.grad for layer in models.layers(model).values()]
    return loss.item(), sum(part.square().sum().item() for part in gradient)


@pytest.mark.parametrize("net", ["fc", "conv2"])
@pytest.mark.parametrize("name, cool, which", [("snip", 1, 0), ("grasp", 200, 1)])
def test_snip_and_grasp_are_finite_differences(net, name, cool, which):
    """The change of the loss, or of half the gradient's squared norm, as a weight is scaled by 1 +- h, so
    small that no ReLU turns."""
    state, data, h = noisy(drawn(net, dtype=torch.float64), 0), images(net, torch.float64), 1e-7
    x, y = pruners.scoring_batch(config(), data)
    scores = score(name, net, state)
    for layer, values in scores.items():
        top = values.abs().max()
        for i in torch.randperm(values.numel(), generator=datasets.rng("where", layer))[:3].tolist():
            ends = []
            for factor in (1 + h, 1 - h):
                moved = {**state, f"{layer}.weight": state[f"{layer}.weight"].clone()}
                moved[f"{layer}.weight"].view(-1)[i] *= factor
                ends.append(loss_and_gradient(net, moved, x, y, cool)[which])
            plain = (ends[0] - ends[1]) / (2 * h) / (1, 2)[which]
            plain = abs(plain) if name == "snip" else plain
            assert abs(plain - values.flatten()[i]) < 1e-4 * top


def test_grasp_keeps_what_its_loss_would_take_gradient_from():
    """|g| without the tenth that it removes first is above that without a random tenth, or its best."""
    state, data = drawn("fc", dtype=torch.float64), images("fc", torch.float64)
    x, y = pruners.scoring_batch(config(), data)
    scores, dense, norm = score("grasp", "fc", state), models.dense_masks(state), {}
    kept = {layer: round(0.9 * mask.numel()) for layer, mask in dense.items()}
    for how, sign in (("kept", 1), ("reversed", -1), ("random", 0)):
        ranks = {layer: sign * values if sign else torch.rand(values.shape, generator=datasets.rng(layer))
                 for layer, values in scores.items()}
        masks = pruners.keep_largest(ranks, dense, kept, "global")
        norm[how] = loss_and_gradient("fc", masked(state, masks), x, y, pruners.GRASP_TEMPERATURE)[1]
    assert norm["kept"] > norm["random"] > norm["reversed"]


@pytest.mark.parametrize("net", SHAPES)
def test_synflow_is_conserved_from_layer_to_layer(net):
    """Every layer's scores sum to R, the summed outputs of the absolute weights: Tanaka et al. 2020."""
    state = noisy(drawn(net, dtype=torch.float64), 1)
    sums = torch.stack([values.sum() for values in score("synflow", net, state).values()])
    positive = {name: t.abs() if name.endswith("weight") else 0 * t for name, t in state.items()}
    total = outputs(net, positive, torch.ones(1, *SHAPES[net], dtype=torch.float64)).sum()
    assert ((sums - total).abs() < 1e-10 * total).all()


@pytest.mark.parametrize("scope", prune.SCOPES)
@pytest.mark.parametrize("net, shape", [("fc", "normal"), ("fc", "uniform"), ("conv2", "normal")])
def test_synflow_masks_of_xavier_and_kaiming_are_the_same(net, shape, scope, few_rounds):
    masks = []
    for rule in ("xavier", "kaiming"):
        w0 = drawn(net, f"{rule}_{shape}", dtype=torch.float64)
        settings = config(net=net, pruner="synflow", scope=scope)
        masks.append(decide(settings, w0, models.dense_masks(w0), 12, w0))
    assert same(*masks)
    if scope == "global":
        assert counts(masks[0]) != pruners.kept_counts(masks[0], config(), 12)  # it is not a rule of counts


@pytest.mark.parametrize("scope", prune.SCOPES)
@pytest.mark.parametrize("name", ["snip", "synflow"])
@pytest.mark.parametrize("net", ["fc", "conv2"])
def test_balanced_layers_change_neither_masks_nor_outputs(net, name, scope, few_rounds):
    """Layers times a_l with product 1: powers of two leave every bit, in float32; all layers of one standard
    deviation leave the masks, in float64."""
    for dtype, equal in ((torch.float32, torch.equal), (torch.float64, torch.allclose)):
        w0 = drawn(net, dtype=dtype)
        layers = models.weights_of(w0)
        if dtype == torch.float32:
            half = len(layers) // 2
            factors = [2.0 ** k for k in range(half, 0, -1)] + [1.0] * (len(layers) % 2)
            factors += [2.0 ** -k for k in range(1, half + 1)]
        else:
            log = torch.stack([w.std().log() for w in layers.values()])
            factors = (log.mean() - log).exp().tolist()
        balanced = {**w0, **{f"{layer}.weight": w * a for (layer, w), a in zip(layers.items(), factors)}}
        x = images(net, dtype).x_train
        assert equal(outputs(net, w0, x), outputs(net, balanced, x))
        settings = config(net=net, pruner=name, scope=scope)
        assert same(*[decide(settings, w, models.dense_masks(w), 10, w) for w in (w0, balanced)])


@pytest.mark.parametrize("scope", prune.SCOPES)
def test_synflow_rounds_are_a_plain_loop(scope):
    w0, settings = drawn("fc"), config(pruner="synflow", scope=scope, rate_fc=0.3)
    plain = models.dense_masks(w0)
    size = {name: mask.numel() for name, mask in plain.items()}
    density = {"fc1": 0.7 ** 8, "fc2": 0.7 ** 8, "out": 0.9 ** 8}
    for r in range(1, 101):
        fraction = {name: round(size[name] * density[name] ** (r / 100)) for name in size}
        scores = pruners.synflow(masked(w0, plain), None, models.dense_masks(w0), settings, images("fc"), None)
        plain = pruners.keep_largest(scores, plain, fraction, scope)
    assert same(decide(settings, w0, models.dense_masks(w0), 8, w0), plain)
    assert sum(counts(plain).values()) == sum(pruners.kept_counts(plain, settings, 8).values())


def test_the_plain_scores():
    w0 = drawn("fc")
    state = noisy(w0, 3)
    for name, formula in {"magnitude": lambda w, v: w.abs(), "movement": lambda w, v: (w - v).abs(),
                          "magnitude_increase": lambda w, v: w.abs() - v.abs()}.items():
        scores = pruners.PRUNERS[name].score(state, w0, None, None, None, None)
        assert list(scores) == ["fc1", "fc2", "out"]
        assert all(torch.equal(scores[k], formula(state[f"{k}.weight"], w0[f"{k}.weight"])) for k in scores)


def test_random_scores_come_from_seed_and_level_alone():
    one, other = drawn("fc"), drawn("fc", "kaiming_uniform")
    dense = models.dense_masks(one)
    for name, fresh in {"random": True, "random_init": False}.items():
        masks = {level: decide(config(pruner=name), one, dense, level) for level in (1, 2, 6)}
        assert same(masks[6], decide(config(pruner=name), other, dense, 6))
        assert not same(masks[6], decide(config(pruner=name, seed=1), one, dense, 6))
        nested = inside(masks[6], masks[2]) and inside(masks[2], masks[1])
        assert nested != fresh


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
    before = {key: tensor.clone() for key, tensor in state.items()}
    scores = pruners.PRUNERS[name].score(state, w0, models.dense_masks(w0), config(net="conv2"),
                                         images("conv2"), 1)
    assert {k: s.shape for k, s in scores.items()} == {k: w.shape for k, w in models.weights_of(w0).items()}
    assert all(s.isfinite().all() and not s.requires_grad for s in scores.values())
    assert same(state, before) and len(pruners.PRUNERS[name].text) < 90


# ---- counts and nesting

def test_no_number_is_below_every_score():
    scores = {"out": torch.tensor([[-1.0, float("nan"), -torch.inf, float("nan"), -2.0]])}
    masks = {"out": torch.tensor([[True, True, True, True, False]])}
    assert pruners.keep_largest(scores, masks, {"out": 2}, "layer")["out"].tolist() == [[1, 0, 1, 0, 0]]
    assert pruners.keep_largest(scores, masks, {"out": 3}, "layer")["out"].tolist() == [[1, 1, 1, 0, 0]]


@pytest.mark.parametrize("scope", prune.SCOPES)
@pytest.mark.parametrize("name", [name for name in AFTER if name != "filters"])
def test_iterative_masks_are_nested_and_one_shot_ones_as_many(name, scope):
    w0, settings = drawn("fc"), config(pruner=name, scope=scope)
    dense = masks = models.dense_masks(w0)
    for level in range(1, 8):
        last, masks = masks, decide(settings, masked(noisy(w0, level), masks), masks, level, w0)
        shot = decide(settings, noisy(w0, 0), dense, level, w0)
        kept = pruners.kept_counts(dense, settings, level)
        assert inside(masks, last) and (level == 1 or not same(masks, shot))
        if scope == "layer":
            assert counts(masks) == counts(shot) == kept
        assert sum(counts(masks).values()) == sum(counts(shot).values()) == sum(kept.values())


@pytest.mark.parametrize("scope", prune.SCOPES)
@pytest.mark.parametrize("name", BEFORE)
def test_masks_before_training_are_exact(name, scope):
    w0, settings = drawn("fc"), config(pruner=name, scope=scope)
    levels = [decide(settings, w0, models.dense_masks(w0), level, w0) for level in (2, 11)]
    for level, masks in zip((2, 11), levels):
        kept = pruners.kept_counts(masks, settings, level)
        assert sum(counts(masks).values()) == sum(kept.values())
        assert scope == "global" or counts(masks) == kept
    assert name == "synflow" or inside(levels[1], levels[0])  # one score for all densities


# ---- whole units

def living(masks):
    return {name: mask.flatten(1).any(1) for name, mask in masks.items()}


def stages(net, scope, levels=8):
    """(level, masks, the state restarted from) of filters, iterative, weights and biases ever new."""
    w0, settings = noisy(drawn(net), 0), config(net=net, pruner="filters", scope=scope)
    masks = models.dense_masks(w0)
    for level in range(1, levels + 1):
        masks = decide(settings, masked(noisy(w0, level), masks), masks, level, w0)
        yield level, masks, pruners.without_idle_biases(masked(noisy(w0, level), masks), masks)


@pytest.mark.parametrize("scope", prune.SCOPES)
@pytest.mark.parametrize("net", ["fc", "conv4"])
def test_filters_leave_no_half_removed_unit(net, scope):
    before = None
    for level, masks, state in stages(net, scope):
        names, alive = list(masks), living(masks)
        assert alive["out"].all() and torch.equal(masks["out"].any(0), alive["fc2"])
        inputs = torch.ones(masks[names[0]].size(1), dtype=torch.bool)
        for name, reader in zip(names, names[1:]):
            units = alive[name]
            for unit, row in enumerate(masks[name]):  # all of the living inputs, or none
                assert torch.equal(row.any(), units[unit]) and row[~inputs].sum() == 0
                assert row[inputs].all() == units[unit]
            area = masks[reader].size(1) // len(units)
            inputs = torch.tensor([bool(units[column // area]) for column in range(len(units) * area)])
            assert torch.equal(masks[reader].transpose(0, 1).flatten(1).any(1), inputs)
            assert not state[f"{name}.bias"][~units].any() and state[f"{name}.bias"][units].all()
        assert state["out.bias"].all()
        wanted = {name: max(1, round(len(alive[name]) * (0.9 if "conv" in name else 0.8) ** level))
                  for name in names[:-1]}
        assert sum(int(alive[name].sum()) for name in wanted) == sum(wanted.values())
        assert scope == "global" or {name: int(alive[name].sum()) for name in wanted} == wanted
        assert all(alive[name].any() for name in names)
        assert before is None or inside(masks, before)
        before = masks


@pytest.mark.parametrize("net", ["fc", "conv4"])
def test_a_net_without_units_is_the_net_with_their_activations_at_zero(net):
    """Other weights where the masks are 0, and removed units silenced by hand, give the same outputs."""
    x = images(net, n=20).x_train
    for _, masks, state in list(stages(net, "layer"))[2::5]:
        dense = {**state, **{f"{name}.weight": torch.where(mask, state[f"{name}.weight"], 7.0)
                             for name, mask in masks.items()}}
        model = models.build(net, SHAPES[net])
        model.load_state_dict(dense)
        inputs, names = x, list(masks)
        with torch.no_grad():
            for name, module in model.named_children():
                inputs = module(inputs)
                if name in names[:-1]:
                    units = living(masks)[name].view(1, -1, *[1] * (inputs.dim() - 2))
                    inputs = inputs.masked_fill(~units, 0)
        torch.testing.assert_close(outputs(net, masked(state, masks), x), inputs)


def test_filters_go_by_their_l1_norm():
    state, settings = drawn("fc"), config(pruner="filters")
    masks = decide(settings, state, models.dense_masks(state), 3)
    norms = [row.abs().sum().item() for row in state["fc1.weight"]]
    best = sorted(range(300), key=lambda unit: -norms[unit])[:round(300 * 0.8 ** 3)]
    assert living(masks)["fc1"].nonzero().flatten().tolist() == sorted(best)


def test_units_of_all_layers_compare_by_the_weight():
    """fc1 has 16 inputs a unit and fc2 300: its sums would be the larger, its means are the smaller."""
    state = drawn("fc")
    state["fc1.weight"], state["fc2.weight"] = torch.full((300, 16), 0.2), torch.full((100, 300), -0.1)
    masks = decide(config(pruner="filters", scope="global"), state, models.dense_masks(state), 1)
    assert counts(living(masks)) == {"fc1": 300, "fc2": 20, "out": 10}


def test_a_layer_of_small_weights_keeps_its_best_unit():
    state, settings = drawn("fc"), config(pruner="filters", scope="global")
    state["fc2.weight"] = state["fc2.weight"] * 1e-3
    masks = decide(settings, state, models.dense_masks(state), 5)
    best = state["fc2.weight"].abs().sum(1).argmax()
    assert living(masks)["fc2"].nonzero().flatten().tolist() == [best]
    assert int(living(masks)["fc1"].sum()) == round(300 * 0.8 ** 5) + round(100 * 0.8 ** 5) - 1
    masks = decide(config(pruner="filters"), state, models.dense_masks(state), 40)
    assert counts(living(masks)) == {"fc1": 1, "fc2": 1, "out": 10}


def test_biases_of_removed_units_stay_zero_in_training():
    _, masks, state = list(stages("fc", "layer"))[-1]
    trained, _ = train.train_from(config(), images("fc"), state, masks, *steps_of(1, 0, 8))
    for name in ("fc1", "fc2"):
        dead = ~living(masks)[name]
        assert dead.any() and not trained[f"{name}.bias"][dead].any()
        assert not trained[f"{name}.weight"][dead].any()
        assert (trained[f"{name}.bias"] != state[f"{name}.bias"])[~dead].any()


def test_only_idle_biases_are_cleared():
    state, masks = noisy(drawn("fc"), 5), models.dense_masks(drawn("fc"))
    masks["fc1"][:3], masks["fc2"][:, 1:4], masks["out"][2] = False, False, False  # 0, 1, 2 in, 1, 2, 3 out
    cleared = pruners.without_idle_biases(state, masks)
    assert (cleared["fc1.bias"] == 0).nonzero().flatten().tolist() == [1, 2]
    assert same({**state, "fc1.bias": 0 * state["fc1.bias"]}, {**cleared, "fc1.bias": 0 * state["fc1.bias"]})
    x = images("fc").x_train
    assert torch.equal(outputs("fc", masked(state, masks), x), outputs("fc", masked(cleared, masks), x))


# ---- rewinds and controls

def some_masks(net, density, key=0):
    g, dense = datasets.rng("masks", key), models.dense_masks(drawn(net))
    return {name: torch.rand(mask.shape, generator=g) < density for name, mask in dense.items()}


def test_signs():
    w0 = drawn("conv2")
    w0["conv1.weight"][0, 0] = 0
    start = pruners.REWINDS["signs"](w0, None, None)
    for name, w in w0.items():
        if name.endswith("bias"):
            assert torch.equal(start[name], w)
        else:
            assert torch.equal(start[name].sign(), w.sign())
            zero = [0.0] if name == "conv1.weight" else []
            assert start[name].abs().unique().tolist() == [*zero, w.std().item()]


@pytest.mark.parametrize("net", ["fc", "conv4"])
def test_rescaled_keeps_each_units_norm(net):
    w0 = noisy(drawn(net), 6)
    copy = {name: tensor.clone() for name, tensor in w0.items()}
    assert same(pruners.REWINDS["rescaled"](w0, models.dense_masks(w0), None), w0)  # dense: bit for bit
    for density in (0.5, 0.2):  # the second from w0 again: its norms are w0's, not the first's
        masks = some_masks(net, density)
        start = pruners.REWINDS["rescaled"](w0, masks, None)
        for name, mask in masks.items():
            new, old = start[f"{name}.weight"].flatten(1), w0[f"{name}.weight"].flatten(1)
            left = (old * mask.flatten(1)).norm(dim=1)
            within = pruners.MAX_RESCALE * left >= old.norm(dim=1)  # others are the next test's
            assert within.float().mean() > 0.9
            torch.testing.assert_close(new.norm(dim=1)[within], old.norm(dim=1)[within])
            direction = F.cosine_similarity(new, old * mask.flatten(1))[within]
            torch.testing.assert_close(direction, torch.ones_like(direction))
            assert not new[~mask.flatten(1)].any()
        assert all(torch.equal(start[name], w0[name]) for name in w0 if name.endswith("bias"))
    assert same(w0, copy)


def test_rescaled_at_its_limits():
    w0, masks = drawn("fc"), models.dense_masks(drawn("fc"))
    masks["fc1"][0] = False  # a unit without survivors
    masks["fc1"][1], w0["fc1.weight"][1, 3] = torch.arange(16) == 3, 1e-4  # one that is left far too small
    w0["fc1.weight"][2] = 0  # one of zeros
    start = pruners.REWINDS["rescaled"](w0, masks, None)["fc1.weight"]
    assert not start[0].any() and not start[2].any()
    assert torch.equal(start[1], w0["fc1.weight"][1] * masks["fc1"][1] * pruners.MAX_RESCALE)


def test_none_goes_on():
    last = noisy(drawn("fc"), 7)
    assert pruners.REWINDS["none"](drawn("fc"), None, last) is last


def test_reinit_is_another_draw_of_the_same_scheme():
    key = prune.CONTROLS["reinit"][0]
    for init in ("xavier_normal", "kaiming_uniform"):
        own, other = models.weights_of(drawn("fc", init)), models.weights_of(drawn("fc", init, key))
        for name, w in own.items():
            assert abs(other[name].std() / w.std() - 1) < 0.1
            assert abs(torch.corrcoef(torch.stack([w.flatten(), other[name].flatten()]))[0, 1]) < 0.15
    assert {row[0] for name, row in prune.CONTROLS.items() if name != "reinit"} == {"init"}


def test_shuffle_changes_every_mask_that_can_change_and_keeps_every_count():
    dense = models.dense_masks(drawn("fc"))
    tiny = {"one": torch.eye(2, dtype=torch.bool)[:1], "few": torch.tensor([[True, True, False]])}
    for seed in range(20):  # half of the permutations of two change nothing
        masks = {**some_masks("fc", 0.3, seed), **tiny, "full": dense["out"], "empty": ~dense["out"]}
        new = prune.shuffle(masks, config(seed=seed), 4)
        assert counts(new) == counts(masks)
        assert {name for name in masks if torch.equal(new[name], masks[name])} == {"full", "empty"}
        assert same(new, prune.shuffle(masks, config(seed=seed), 5))
    assert not same(new, prune.shuffle(masks, config(seed=20), 4))


def test_shuffled_masks_are_nested_as_the_masks_are():
    outer = some_masks("fc", 0.5)
    inner = {name: mask & some_masks("fc", 0.5, 1)[name] for name, mask in outer.items()}
    assert inside(prune.shuffle(inner, config(), 2), prune.shuffle(outer, config(), 1))


def test_random_masks_match_each_layer_and_are_fresh():
    masks = some_masks("conv2", 0.2)
    new = [prune.random_mask(masks, config(seed=seed), level) for seed, level in ((0, 1), (0, 2), (1, 1))]
    assert all(counts(n) == counts(masks) for n in new)
    assert not any(torch.equal(a[name], b[name]) for a, b in zip(new, new[1:] + [masks]) for name in masks)
    assert same(new[0], prune.random_mask(masks, config(init="kaiming_uniform"), 1))
    overlap = sum(int((new[0][k] & masks[k]).sum()) for k in masks) / sum(counts(masks).values())
    assert abs(overlap - 0.2) < 0.02  # chance


def test_controls_leave_the_masks_they_are_given_alone():
    masks = some_masks("fc", 0.3)
    copy = {name: mask.clone() for name, mask in masks.items()}
    for _, control, _ in prune.CONTROLS.values():
        control(masks, config(), 3)
        assert same(masks, copy)
    assert all(prune.CONTROLS[name][1](masks, config(), 3) is masks for name in ("none", "reinit"))
