"""data.py against plainer code, damaged files and poor machines:  python -m pytest tests/test_data.py"""
import itertools
import os
import pickle
import subprocess
import sys
import types
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch

import data

ROOT = Path(data.__file__).parent
REAL = Path(os.environ.get("DATA_DIR", ROOT / "data"))
N, TEST = 5103, 7  # images of the tiny set: 103 are left to train on


def tiny(channels=()):
    """The four arrays of a set whose images are all different: the first bytes of each are its number."""
    number = np.arange(N + TEST)
    images = np.random.default_rng(0).integers(0, 256, (N + TEST, 4, 5, *channels), np.uint8)
    images.reshape(N + TEST, -1)[:, :2] = np.stack([number % 256, number // 256], 1)
    labels = (number % 10).astype(np.uint8)
    return {"x_train": images[:N], "y_train": labels[:N], "x_test": images[N:], "y_test": labels[N:]}


def save(root, arrays, name="mnist"):
    np.savez(root / f"{name}.npz", **arrays)
    return root / f"{name}.npz"


def python(code, *argv, **env):
    """A finished process that ran the code, or a file, in the repository."""
    command = [sys.executable, *(["-c", code] if " " in code else [code]), *map(str, argv)]
    env = {**os.environ, "OMP_NUM_THREADS": "1", **env}
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, env=env)


def refusal(name, root):
    """The one sentence with which load refuses, leaving the folder as it was."""
    before = sorted(os.listdir(root)) if root.is_dir() else None
    with pytest.raises(SystemExit) as refused:
        data.load(name, root)
    assert isinstance(refused.value.code, str) and "\n" not in refused.value.code.strip()
    assert before == (sorted(os.listdir(root)) if root.is_dir() else None)
    return refused.value.code


# ---- random streams and batches

def test_a_key_names_one_stream():
    def draw(*key):
        return torch.rand(8, generator=data.rng(*key)).tolist()
    assert draw(0, "init") == draw(0, "init") != draw(1, "init")
    assert draw(1, "order", 11) != draw(11, "order", 1)


def test_torch_looks_at_32_bits_and_no_two_keys_of_a_big_study_share_them():
    low, high = (torch.Generator().manual_seed(seed) for seed in (5, 5 + 2 ** 32))
    assert torch.equal(torch.rand(4, generator=low), torch.rand(4, generator=high))
    keys = [(seed, "init") for seed in range(100)] + [("validation", name) for name in data.DATASETS]
    keys += [(seed, "order", level, epoch) for seed in range(20) for level in range(29) for epoch in range(5)]
    keys += [(seed, "random-scores", level) for seed in range(100) for level in range(31)]
    keys += [("glyphs", channels, part) for channels in (1, 3) for part in range(50)]
    seeds = {data.rng(*key).initial_seed() for key in keys}
    assert len(seeds) == len(keys) and max(seeds) < 2 ** 32


@pytest.fixture(scope="module")
def numbers():
    """Data whose images and labels are their own row numbers, 103 of them."""
    rows = torch.arange(103)
    return data.Data(rows.float().view(-1, 1, 1, 1), rows, *[rows[:0]] * 4, "numbers.npz", 0)


def plain_rows(seed, step, batch, n):
    epoch, i = divmod(step, n // batch)
    return torch.randperm(n, generator=data.rng(seed, "order", 2, epoch)).tolist()[i * batch:(i + 1) * batch]


@pytest.mark.parametrize("batch", [1, 10, 50, 103])
def test_batches_are_the_plain_loop(numbers, batch):
    got = [y.tolist() for _, y in data.batches(numbers, 3, 2, batch, 0, 25)]
    assert got == [plain_rows(3, step, batch, 103) for step in range(25)]
    assert all(torch.equal(x.flatten(), y.float()) for x, y in data.batches(numbers, 3, 2, batch, 0, 25))


def test_two_calls_are_one(numbers):
    whole = [y.tolist() for _, y in data.batches(numbers, 0, 2, 10, 0, 35)]
    for cut in range(36):
        parts = itertools.chain(*(data.batches(numbers, 0, 2, 10, *span) for span in ((0, cut), (cut, 35))))
        assert [y.tolist() for _, y in parts] == whole


def test_an_epoch_shows_no_image_twice_and_each_has_its_own_order(numbers):
    steps = [y.tolist() for _, y in data.batches(numbers, 0, 2, 10, 0, 20)]
    epochs = [sum(steps[:10], []), sum(steps[10:], [])]
    assert all(len(set(rows)) == 100 for rows in epochs) and epochs[0] != epochs[1]


# ---- a set read from its file

@pytest.mark.parametrize("channels", [(), (3,)])
def test_the_split_keeps_every_image_once_with_its_label(tmp_path, channels):
    arrays = tiny(channels)
    save(tmp_path, arrays)
    got = data.load("mnist", tmp_path, scaling="unit")
    rows = {}
    for split in ("train", "val", "test"):
        values = (getattr(got, f"x_{split}") * 255).round().long().permute(0, 2, 3, 1).flatten(1)
        rows[split] = values[:, 0] + 256 * values[:, 1]
    assert [len(rows[split]) for split in ("train", "val", "test")] == [N - 5000, 5000, TEST]
    assert sorted(rows["train"].tolist() + rows["val"].tolist()) == list(range(N))
    assert rows["test"].tolist() == list(range(N, N + TEST))
    assert all(torch.equal(rows[split] % 10, getattr(got, f"y_{split}")) for split in rows)
    order = torch.randperm(N, generator=data.rng("validation", "mnist"))
    assert torch.equal(torch.cat([rows["val"], rows["train"]]), order)


@pytest.mark.parametrize("channels", [(), (3,)])
def test_pixels_are_standardised_by_the_training_part_alone(tmp_path, channels):
    arrays = tiny(channels)
    save(tmp_path, arrays)
    got = data.load("mnist", tmp_path)
    order = torch.randperm(N, generator=data.rng("validation", "mnist")).numpy()
    train = arrays["x_train"][order]
    pixels = {split: x.reshape(len(x), 4, 5, -1).transpose(0, 3, 1, 2) / 255.0
              for split, x in (("train", train[5000:]), ("val", train[:5000]), ("test", arrays["x_test"]))}
    mean, std = (f(pixels["train"], axis=(0, 2, 3), keepdims=True) for f in (np.mean, np.std))
    for split, x in pixels.items():
        here = getattr(got, f"x_{split}")
        assert here.dtype == torch.float32 and here.is_contiguous() and here.shape == x.shape
        np.testing.assert_allclose(here.numpy(), (x - mean) / std, atol=1e-6)
    unit = data.load("mnist", tmp_path, scaling="unit")
    np.testing.assert_allclose(unit.x_test.numpy(), pixels["test"], atol=1e-7)
    assert unit.x_train.min() == 0 and unit.x_train.max() == 1 and unit.y_val.dtype == torch.int64


def test_a_channel_of_one_colour_becomes_zero(tmp_path):
    arrays = tiny((3,))
    arrays["x_train"][..., 2] = arrays["x_test"][..., 2] = 77
    save(tmp_path, arrays)
    assert data.load("mnist", tmp_path).x_train[:, 2].abs().max() == 0


def test_keras_columns_of_labels_and_other_integers_read_the_same(tmp_path):
    arrays = tiny()
    save(tmp_path, arrays)
    first = data.load("mnist", tmp_path)
    save(tmp_path, {key: a[:, None].astype(np.int32) if key[0] == "y" else a for key, a in arrays.items()})
    assert all(torch.equal(a, b) for a, b in zip(first[:6], data.load("mnist", tmp_path)[:6]))


def test_the_checksum_tells_pixels_apart(tmp_path):
    arrays = tiny()
    np.savez_compressed(tmp_path / "mnist.npz", **arrays)
    compressed = data.load("mnist", tmp_path)
    save(tmp_path, arrays)
    assert data.load("mnist", tmp_path)[6:] == compressed[6:] == ("mnist.npz", compressed.crc32)
    arrays["x_train"][0, 0, 0] ^= 1
    save(tmp_path, arrays)
    assert data.load("mnist", tmp_path).crc32 != compressed.crc32


# ---- files that are not right: what spoils the arrays, or the bytes, and words of the refusal

WRONG_ARRAYS = {
    "no x_train": (lambda a: a.pop("x_train"), "x_train is not a file"),
    "no y_test": (lambda a: a.pop("y_test"), "y_test is not a file"),
    "float images": (lambda a: {"x_train": a["x_train"] / 255}, "x_train must be uint8"),
    "flat images": (lambda a: {"x_test": a["x_test"].reshape(TEST, 20)}, "x_test must be uint8 (N, H, W)"),
    "two channels": (lambda a: {"x_train": a["x_train"].reshape(N, 2, 5, 2)}, "x_train must be uint8"),
    "a number": (lambda a: {"x_train": np.uint8(3)}, "x_train must be uint8"),
    "no test": (lambda a: {"x_test": a["x_test"][:0], "y_test": a["y_test"][:0]}, "x_test must be uint8"),
    "lengths": (lambda a: {"y_train": a["y_train"][1:]}, "y_train must hold one label an image"),
    "one-hot": (lambda a: {"y_test": np.eye(10, dtype=int)[a["y_test"]]}, "y_test must hold one label"),
    "label 10": (lambda a: {"y_train": a["y_train"] + np.uint8(1)}, "y_train must be whole numbers 0 to 9"),
    "label -1": (lambda a: {"y_test": a["y_test"].astype(int) - 8}, "y_test must be whole numbers 0 to 9"),
    "float labels": (lambda a: {"y_test": a["y_test"] / 1}, "y_test must be whole numbers 0 to 9"),
    "text labels": (lambda a: {"y_test": a["y_test"].astype(str)}, "y_test must be whole numbers 0 to 9"),
    "too few": (lambda a: {"x_train": a["x_train"][:5000], "y_train": a["y_train"][:5000]}, "more than 5000"),
    "two sizes": (lambda a: {"x_test": a["x_test"][:, :, 1:]}, "images of one shape"),
}
WRONG_BYTES = {
    "truncated": (lambda b: b[:len(b) // 2], "not a zip file"),
    "lost end": (lambda b: b[:-30], "not a zip file"),
    "empty": (lambda b: b"", "not a zip file"),
    "text": (lambda b: b"404: Not Found\n", "not a zip file"),
    "flipped byte": (lambda b: b[:9999] + bytes([b[9999] ^ 255]) + b[10000:], "Bad CRC-32 for file 'x_train"),
    "lying header": (lambda b: b.replace(b"(5103, 4", b"(9103, 4", 1), "Bad CRC-32 for file 'x_train"),
}


@pytest.mark.parametrize("case", WRONG_ARRAYS)
def test_wrong_arrays_are_refused(tmp_path, case):
    spoil, words = WRONG_ARRAYS[case]
    arrays = tiny()
    changed = spoil(arrays)
    path = save(tmp_path, arrays | changed if isinstance(changed, dict) else arrays)
    message = refusal("mnist", tmp_path)
    assert words in message and str(path) in message


@pytest.mark.parametrize("case", WRONG_BYTES)
def test_damaged_files_are_refused(tmp_path, case):
    spoil, words = WRONG_BYTES[case]
    path = save(tmp_path, tiny())
    path.write_bytes(spoil(path.read_bytes()))
    message = refusal("mnist", tmp_path)
    assert words in message and str(path) in message and "remove it" in message


def test_a_damaged_compressed_file_is_refused(tmp_path):
    path = tmp_path / "mnist.npz"
    np.savez_compressed(path, **tiny())
    content = bytearray(path.read_bytes())
    content[5000:5100] = bytes(100)
    path.write_bytes(content)
    assert "cannot read" in refusal("mnist", tmp_path)


class Bomb:
    def __init__(self, marker):
        self.marker = str(marker)

    def __reduce__(self):
        return os.mkdir, (self.marker,)


def test_a_pickle_inside_is_refused_and_not_run(tmp_path):
    bomb = Bomb(tmp_path / "boom")
    save(tmp_path, {**tiny(), "y_test": np.array([bomb] * TEST, dtype=object)})
    assert "allow_pickle=False" in refusal("mnist", tmp_path)
    (tmp_path / "mnist.npz").write_bytes(pickle.dumps(bomb))
    assert "not a zip file" in refusal("mnist", tmp_path)
    assert os.listdir(tmp_path) == ["mnist.npz"]


def test_a_folder_in_the_files_place_and_a_file_in_the_folders(tmp_path):
    (tmp_path / "mnist.npz").mkdir()
    assert "Is a directory" in refusal("mnist", tmp_path)
    (tmp_path / "file").write_text("x")
    assert "cannot write" in refusal("glyphs", tmp_path / "file")
    assert "cannot write" in refusal("glyphs", tmp_path / "file" / "below")


# ---- machines that lack something

DEAD = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
FULL = """
import resource, signal, sys, numpy, data
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (2 ** 20, 2 ** 20))
data.SOURCES["glyphs"] = lambda *_: dict.fromkeys(data.ARRAYS, numpy.zeros((2 ** 21,), "uint8"))
data.load("glyphs", sys.argv[1])
"""
OTHER_USER = """
import os, sys, data
if os.geteuid() == 0: os.setuid(65534)
for root in sys.argv[1:]:
    try: data.load("mnist", root)
    except SystemExit as refused: print(refused)
"""


def test_no_network(tmp_path):
    done = python("data.py", "--data", "fashion_mnist", "--data-dir", tmp_path, **DEAD, no_proxy="")
    assert done.returncode == 1 and done.stdout == "" and done.stderr.count("\n") == 1
    assert f"copy fashion_mnist.npz into {tmp_path}" in done.stderr and os.listdir(tmp_path) == []


def test_a_full_disk(tmp_path):
    done = python(FULL, tmp_path)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert "cannot write" in done.stderr and "File too large" in done.stderr and os.listdir(tmp_path) == []


def test_no_permission(tmp_path):
    (tmp_path / "locked").mkdir()
    (tmp_path / "locked").chmod(0)
    save(tmp_path, tiny()).chmod(0)
    done = python(OTHER_USER, tmp_path, tmp_path / "locked")
    assert done.returncode == 0 and done.stderr == "" and len(done.stdout.splitlines()) == 2
    assert all("Permission denied" in line for line in done.stdout.splitlines())
    assert os.listdir(tmp_path / "locked") == []


def fake_torchvision(monkeypatch, make):
    monkeypatch.setattr(data, "vision", lambda: types.SimpleNamespace(CIFAR10=make))


FAILURES = [URLError("no route"), RuntimeError("Tried a\nTried b\n"), ImportError(), OSError(28, "No space")]


@pytest.mark.parametrize("error", FAILURES)
def test_a_download_that_fails_leaves_nothing(tmp_path, monkeypatch, error):
    def make(home, train, download):
        Path(home, "half").mkdir()
        raise error
    fake_torchvision(monkeypatch, make)
    assert "copy cifar10.npz into" in refusal("cifar10", tmp_path)


@pytest.mark.parametrize("stands", [True, False])
def test_a_download_is_written_once_and_then_read(tmp_path, monkeypatch, stands):
    arrays, homes = tiny((3,)), []

    def make(home, train, download):
        homes.append(Path(home))
        part = "train" if train else "test"
        return types.SimpleNamespace(data=arrays[f"x_{part}"], targets=arrays[f"y_{part}"].tolist())
    fake_torchvision(monkeypatch, make)
    if stands:
        (tmp_path / "cifar-10-batches-py").mkdir()
    first, again = data.load("cifar10", tmp_path), data.load("cifar10", tmp_path)
    assert len(homes) == 2 and all(torch.equal(a, b) for a, b in zip(first[:6], again[:6]))
    assert (homes[0] == tmp_path) == stands and (tmp_path / "cifar10.npz").exists()
    assert len(os.listdir(tmp_path)) == 1 + stands


def test_torchvision_itself_reads_the_original_files(tmp_path):
    if not (REAL / "MNIST" / "raw").is_dir() or not (REAL / "mnist.npz").exists():
        pytest.skip(f"no MNIST/raw and mnist.npz in {REAL}")
    (tmp_path / "MNIST").symlink_to((REAL / "MNIST").resolve())
    done = python("data.py", "--data", "mnist", "--data-dir", tmp_path, **DEAD)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("mnist.npz") and "train (55000, 1, 28, 28)" in done.stdout
    with np.load(tmp_path / "mnist.npz") as ours, np.load(REAL / "mnist.npz") as theirs:
        assert all(np.array_equal(ours[key], theirs[key]) for key in data.ARRAYS)
        assert {ours[key].dtype for key in data.ARRAYS} == {np.dtype("uint8")}


def test_real_mnist_has_its_well_known_mean():
    if not (REAL / "mnist.npz").exists():
        pytest.skip(f"no mnist.npz in {REAL}")
    got = data.load("mnist", REAL, scaling="unit")
    assert [len(y) for y in got[1:6:2]] == [55000, 5000, 10000]
    everything = torch.cat([got.x_train, got.x_val]).double()
    assert round(everything.mean().item(), 4) == 0.1307 and round(everything.std().item(), 4) == 0.3081
    assert got.y_test[:5].tolist() == [7, 2, 1, 0, 4]


# ---- the stand-in

@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """A folder with both kinds of glyphs, the grey made by two processes at once, and what those printed."""
    root = tmp_path_factory.mktemp("glyphs")
    command = [sys.executable, "data.py", "--data", "glyphs", "--data-dir", str(root)]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    pair = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=env) for _ in range(2)]
    printed = [process.communicate(timeout=120)[0] for process in pair]
    data.load("glyphs", root, colour=True)
    return root, printed


def test_two_processes_at_once_are_harmless(drawn):
    root, (first, second) = drawn
    assert first == second and len(first.splitlines()) == 4
    assert first.startswith("glyphs.npz  crc32") and "train (15000, 1, 28, 28)  mean" in first
    assert sorted(os.listdir(root)) == ["glyphs.npz", "glyphs_colour.npz"]


@pytest.mark.parametrize("name, shape", [("glyphs", (28, 28)), ("glyphs_colour", (32, 32, 3))])
def test_glyphs_are_balanced_and_the_same_every_time(drawn, name, shape):
    style = data.SOURCES[name].keywords
    x, y = data.draw_glyphs(data.glyph_masters(), data.rng("glyphs", style["channels"], 7), style)
    with np.load(drawn[0] / f"{name}.npz") as first:
        assert np.array_equal(first["x_train"][3500:4000], x)
        assert np.array_equal(first["y_train"][3500:4000], y)
        assert first["x_train"].shape == (20000, *shape) and first["x_test"].shape == (2000, *shape)
        assert np.bincount(first["y_train"]).tolist() == [2000] * 10
        assert np.bincount(first["y_test"]).tolist() == [200] * 10
        assert len(np.unique(first["x_test"].reshape(2000, -1), axis=0)) == 2000


def test_colour_is_what_load_is_asked_for(drawn):
    assert data.load("glyphs", drawn[0]).x_train.shape == (15000, 1, 28, 28)
    colour = data.load("glyphs", drawn[0], colour=True)
    assert colour.x_train.shape == (15000, 3, 32, 32) and colour.file == "glyphs_colour.npz"


def test_every_font_has_its_ten_digits():
    masters = data.glyph_masters()
    ink = masters.sum((2, 3))
    assert masters.shape == (len(data.FONTS), 10, 64, 64) and (ink[:, 8] > ink[:, 1]).all()
    assert len(masters.flatten(0, 1).flatten(1).unique(dim=0)) == 10 * len(data.FONTS)


def test_a_glyph_is_where_it_was_put():
    centre = data.uniform(data.rng("test"), -0.2, 0.2, 500, 2)
    along = torch.arange(-31.5, 32) / 32
    spot = torch.exp(-(along[:, None] ** 2 + along ** 2) * 40).expand(1, 10, 64, 64)
    ink = data.warp(spot, torch.zeros(500, dtype=torch.long), centre, 28, data.rng("test"))[:, 0]
    place = (torch.arange(28) + 0.5) / 14 - 1
    found = torch.stack([(ink.sum(way) @ place) / ink.sum((1, 2)) for way in (1, 2)], 1)
    torch.testing.assert_close(found, centre, atol=0.002, rtol=0)


def test_a_glyph_is_labelled_as_what_it_is(drawn):
    got = data.load("glyphs", drawn[0])
    mean = torch.stack([got.x_train[got.y_train == digit].mean(0).flatten() for digit in range(10)])
    nearest = torch.cdist(got.x_test.flatten(1), mean).argmin(1)
    assert (nearest == got.y_test).float().mean() > 0.4  # chance is 0.1
