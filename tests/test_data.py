"""data.py against plainer code, wrong files and poor machines."""
import gzip
import hashlib
import itertools
import multiprocessing
import os
import pickle
import shutil
import struct
import subprocess
import sys
import tarfile
import tempfile
import types
import urllib.request
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch

import data
from conftest import ROOT, content

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


def refusal(name, root):
    """The one sentence with which load refuses, leaving the folder as it was."""
    before = sorted(os.listdir(root)) if root.is_dir() else None
    with pytest.raises(SystemExit) as refused:
        data.load(name, root)
    assert isinstance(refused.value.code, str) and "\n" not in refused.value.code.strip()
    assert before == (sorted(os.listdir(root)) if root.is_dir() else None)
    return refused.value.code


def test_no_two_keys_of_a_big_study_share_a_seed():
    keys = [(seed, "init") for seed in range(100)] + [("validation", name) for name in data.DATASETS]
    keys += [(seed, "order", level, epoch) for seed in range(20) for level in range(29) for epoch in range(5)]
    keys += [(seed, "random-scores", level) for seed in range(100) for level in range(31)]
    keys += [("glyphs", channels, part) for channels in (1, 3) for part in range(50)]
    first, again = ([data.rng(*key).initial_seed() for key in keys] for _ in range(2))
    assert first == again and len(set(first)) == len(keys) and max(first) < 2 ** 32


@pytest.mark.parametrize("batch", [1, 10, 50, 103])
def test_batches_are_the_plain_loop_and_two_calls_are_one(batch):
    """Of 103 images and labels that are their own row numbers; each level has an order of its own."""
    rows = torch.arange(103)
    numbers = data.Data(rows.float().view(-1, 1, 1, 1), rows, *[rows[:0]] * 4, "numbers.npz", 0)
    expected = []
    for epoch, i in (divmod(step, 103 // batch) for step in range(25)):
        order = torch.randperm(103, generator=data.rng(3, "order", 2, epoch)).tolist()
        expected.append(order[i * batch:(i + 1) * batch])
    for cut in range(26):
        parts = list(itertools.chain(*(data.batches(numbers, 3, 2, batch, *span)
                                       for span in ((0, cut), (cut, 25)))))
        assert [y.tolist() for _, y in parts] == expected
        assert all(torch.equal(x.flatten(), y.float()) for x, y in parts)
    assert [y.tolist() for _, y in data.batches(numbers, 3, 1, batch, 0, 25)] != expected


@pytest.mark.parametrize("channels", [(), (3,)])
def test_a_set_is_split_and_standardised_by_the_training_part_alone(tmp_path, channels):
    """Every image once, with its label, against numpy's mean and standard deviation by channel. In colour one
    channel is constant and becomes 0, and labels are int32 columns, as Keras has them."""
    arrays = tiny(channels)
    order = torch.randperm(N, generator=data.rng("validation", "mnist")).numpy()
    y = arrays["y_train"][order]
    y_of = {"train": y[5000:], "val": y[:5000], "test": arrays["y_test"]}
    if channels:
        arrays["x_train"][..., 2] = arrays["x_test"][..., 2] = 77
        arrays |= {key: arrays[key][:, None].astype(np.int32) for key in ("y_train", "y_test")}
    save(tmp_path, arrays)
    x = arrays["x_train"][order]
    x_of = {"train": x[5000:], "val": x[:5000], "test": arrays["x_test"]}
    x_of = {split: x.reshape(len(x), 4, 5, -1).transpose(0, 3, 1, 2) / 255.0 for split, x in x_of.items()}
    mean, std = (f(x_of["train"], axis=(0, 2, 3), keepdims=True) for f in (np.mean, np.std))
    got, unit = (data.load("mnist", tmp_path, scaling=scaling) for scaling in ("standard", "unit"))
    for split, x in x_of.items():
        here, labels = getattr(got, f"x_{split}"), getattr(got, f"y_{split}")
        assert here.dtype == torch.float32 and here.is_contiguous() and labels.dtype == torch.int64
        np.testing.assert_allclose(here.numpy(), (x - mean) / np.where(std < 1e-9, 1, std), atol=1e-6)
        np.testing.assert_allclose(getattr(unit, f"x_{split}").numpy(), x, atol=1e-7)
        assert labels.tolist() == y_of[split].tolist()


def test_the_checksum_tells_pixels_apart(tmp_path):
    arrays = tiny()
    np.savez_compressed(tmp_path / "mnist.npz", **arrays)
    compressed = data.load("mnist", tmp_path)
    save(tmp_path, arrays)
    assert data.load("mnist", tmp_path)[6:] == compressed[6:] == ("mnist.npz", compressed.crc32)
    arrays["x_train"][0, 0, 0] ^= 1
    save(tmp_path, arrays)
    assert data.load("mnist", tmp_path).crc32 != compressed.crc32


WRONG = {  # what test_faults.py, which knows a refusal by its being one sentence, has not, and a case a rule
    "x_test is not a file": lambda a: {"x_test": None},
    "x_train must be uint8": lambda a: {"x_train": a["x_train"].reshape(N, 2, 5, 2)},
    "y_train must hold one label an image": lambda a: {"y_train": np.eye(10, dtype=int)[a["y_train"]]},
    "y_test must be whole numbers 0 to 9": lambda a: {"y_test": a["y_test"].astype(int) - 8},
    "y_train must be whole numbers 0 to 25 for the 26 classes": lambda a: {
        "y_train": 1 + np.arange(N, dtype=np.uint8) % 26},
    "more than one class": lambda a: {"y_train": 0 * a["y_train"], "y_test": 0 * a["y_test"]},
    "more than 5000": lambda a: {"x_train": a["x_train"][:5000], "y_train": a["y_train"][:5000]},
    "images of one shape": lambda a: {"x_test": a["x_test"][:, :, 1:]},
}


@pytest.mark.parametrize("words", WRONG)
def test_wrong_arrays_are_refused_by_the_rule_they_break(tmp_path, words):
    arrays = tiny()
    path = save(tmp_path, {key: a for key, a in (arrays | WRONG[words](arrays)).items() if a is not None})
    message = refusal("mnist", tmp_path)
    assert words in message and str(path) in message


def test_a_folder_in_the_files_place_a_file_in_the_folders_and_a_full_disk(tmp_path, monkeypatch):
    (tmp_path / "mnist.npz").mkdir()
    message = refusal("mnist", tmp_path)
    assert "Is a directory" in message and "remove" not in message
    (tmp_path / "file").write_text("x")
    monkeypatch.setattr(Path, "write_bytes", lambda *_: raise_(OSError(28, "No space left on device")))
    monkeypatch.setitem(data.SOURCES, "glyphs", lambda *_: tiny())
    for place in ("file", "file/below", "."):
        assert "cannot write" in refusal("glyphs", tmp_path / place)


def test_a_file_of_ones_own_is_never_to_be_removed_and_its_absence_is_said(tmp_path, monkeypatch):
    """By one row of SOURCES; without a row that is said."""
    assert "SOURCES" in refusal("own", tmp_path)
    monkeypatch.setitem(data.SOURCES, "own", None)
    absent = refusal("own", tmp_path / "absent")
    assert "No such file" in absent and f"put an npz of {', '.join(data.ARRAYS)} there" in absent
    path = save(tmp_path, tiny() | {"y_test": np.arange(TEST) + 9}, "own")
    wrong = refusal("own", tmp_path)
    path.write_bytes(path.read_bytes()[:-99])
    cut = refusal("own", tmp_path)
    assert "put a right file there" in wrong and "copy it there again" in cut
    assert "remove" not in wrong + cut
    shutil.copy(path, tmp_path / "mnist.npz")
    assert "copy it there again, or remove it" in refusal("mnist", tmp_path)


def raise_(error):
    raise error


@pytest.mark.parametrize("owner, name, act", [
    (np, "load", lambda *_, **__: np.empty(1 << 60, np.uint8)),
    (data, "pixels", lambda *_: torch.empty(1 << 60, dtype=torch.uint8)),
    (data, "pixels", lambda *_: raise_(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate"))),
    (data, "write_npz", lambda *_: raise_(MemoryError()))])
def test_too_little_memory_is_not_the_files_fault(tmp_path, monkeypatch, owner, name, act):
    """As numpy, torch and a GPU say it of a good file, and Python of one that is to be made."""
    if name != "write_npz":
        save(tmp_path, tiny())
    monkeypatch.setattr(owner, name, act)
    message = refusal("mnist", tmp_path)
    assert "choose a machine with more memory" in message and "remove" not in message


OTHER_USER = """
import os, sys, data
if os.geteuid() == 0: os.setuid(65534)
for root in sys.argv[1:]:
    try: data.load("mnist", root)
    except SystemExit as refused: print(refused)
"""


def test_no_permission():
    """As another user, for whom a file, or a folder, is locked."""
    with tempfile.TemporaryDirectory() as name:  # tmp_path is locked as a whole
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "locked").mkdir(mode=0)
        save(folder, tiny()).chmod(0)
        done = subprocess.run([sys.executable, "-c", OTHER_USER, folder, folder / "locked"], cwd=ROOT,
                              capture_output=True, text=True)
        (folder / "locked").chmod(0o755)
        assert os.listdir(folder / "locked") == []
    advice = "(Permission denied): have its owner permit it, or name another --data-dir"
    assert done.stdout.splitlines() == [f"cannot read {folder / 'mnist.npz'} {advice}",
                                        f"cannot write {folder / 'locked' / 'mnist.npz'} {advice}"]
    assert done.stderr == ""


def test_two_processes_that_write_at_once_are_harmless(tmp_path):
    path, fork = tmp_path / "glyphs.npz", multiprocessing.get_context("fork")
    for _ in range(10):
        both = [fork.Process(target=data.write_npz, args=(path, lambda *_: tiny())) for _ in range(2)]
        for act in (fork.Process.start, fork.Process.join):
            list(map(act, both))
        assert [process.exitcode for process in both] == [0, 0] and os.listdir(tmp_path) == ["glyphs.npz"]
        assert np.array_equal(np.load(path)["x_train"], tiny()["x_train"])


@pytest.mark.parametrize("error", [RuntimeError("Tried a\nTried b\n"), ImportError(), OSError(28, "Full")])
def test_a_download_that_fails_leaves_nothing(tmp_path, monkeypatch, error):
    def make(home, train, download):
        Path(home, "half").mkdir()
        raise error
    monkeypatch.setattr(data, "vision", lambda: types.SimpleNamespace(CIFAR10=make))
    assert "copy cifar10.npz or" in refusal("cifar10", tmp_path)


@pytest.mark.parametrize("stands", [True, False])
def test_a_download_is_written_once_and_then_read(tmp_path, monkeypatch, stands):
    arrays, homes = tiny((3,)), []

    def make(home, train, download):
        homes.append(Path(home))
        part = "train" if train else "test"
        return types.SimpleNamespace(data=arrays[f"x_{part}"], targets=arrays[f"y_{part}"].tolist())
    monkeypatch.setattr(data, "vision", lambda: types.SimpleNamespace(CIFAR10=make))
    if stands:
        (tmp_path / "cifar-10-batches-py").mkdir()
    first, again = data.load("cifar10", tmp_path), data.load("cifar10", tmp_path)
    assert len(homes) == 2 and all(torch.equal(a, b) for a, b in zip(first[:6], again[:6]))
    assert homes[0].parent == tmp_path and (tmp_path / "cifar10.npz").exists()
    assert len(os.listdir(tmp_path)) == 1 + stands


def lay_mnist(root, arrays, monkeypatch, kind="MNIST"):
    """MNIST's four archives where torchvision lays them, of which it knows the checksums: the first one."""
    raw, kind = root / kind / "raw", getattr(data.vision(), kind)
    raw.mkdir(parents=True)
    for name, _ in kind.resources:
        part, axis = "train" if name.startswith("train") else "test", "x" if "images" in name else "y"
        array = arrays[f"{axis}_{part}"]
        head = struct.pack(f">{1 + array.ndim}I", 0x800 + array.ndim, *array.shape)
        (raw / name).write_bytes(gzip.compress(head + array.tobytes()))
    monkeypatch.setattr(kind, "resources", [(name, md5(raw / name)) for name, _ in kind.resources])
    return raw / kind.resources[0][0]


def lay_cifar10(root, arrays, monkeypatch):
    """CIFAR-10's archive, of which torchvision knows the checksums."""
    kind, archive = data.vision().CIFAR10, root / "cifar-10-python.tar.gz"
    folder = root / "cifar-10-batches-py"
    folder.mkdir()
    for part, name in (("train", "data_batch_1"), ("test", "test_batch")):
        images = arrays[f"x_{part}"].transpose(0, 3, 1, 2).reshape(-1, 3072)
        (folder / name).write_bytes(pickle.dumps({"data": images, "labels": arrays[f"y_{part}"].tolist()}))
        monkeypatch.setattr(kind, f"{part}_list", [[name, md5(folder / name)]])
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": list("0123456789")}))
    monkeypatch.setattr(kind, "meta", kind.meta | {"md5": md5(folder / "batches.meta")})
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, folder.name)
    shutil.rmtree(folder)
    monkeypatch.setattr(kind, "tgz_md5", md5(archive))
    return archive


def md5(path):
    return hashlib.md5(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("name, lay, shape", [
    ("mnist", lay_mnist, (28, 28)), ("cifar10", lay_cifar10, (32, 32, 3)),
    ("fashion_mnist", lambda *args: lay_mnist(*args, "FashionMNIST"), (28, 28))])
def test_an_archive_that_lies_there_is_read_by_torchvision_itself_and_left_alone(tmp_path, monkeypatch, name,
                                                                                 lay, shape):
    """Without a network, a whole one makes the file and nothing else; one cut short is refused."""
    r, arrays = np.random.default_rng(0), {}
    for part, n in (("train", 50), ("test", 7)):
        arrays[f"x_{part}"] = r.integers(0, 256, (n, *shape), np.uint8)
        arrays[f"y_{part}"] = r.integers(0, 10, n).astype(np.uint8)
    archive = lay(tmp_path, arrays, monkeypatch)
    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: raise_(URLError("no route")))
    whole = content(tmp_path)
    data.write_npz(tmp_path / f"{name}.npz", data.SOURCES[name])
    with np.load(tmp_path / f"{name}.npz") as made:
        assert all(made[key].dtype == np.uint8 and np.array_equal(made[key], arrays[key]) for key in arrays)
    (tmp_path / f"{name}.npz").unlink()
    assert content(tmp_path) == whole
    archive.write_bytes(archive.read_bytes()[:-9])
    cut, says = content(tmp_path), refusal(name, tmp_path)
    assert f"copy {name}.npz or a whole " in says and says.endswith(f" into {tmp_path}")
    assert content(tmp_path) == cut


@pytest.fixture(scope="module")
def glyphs(tmp_path_factory):
    """A folder with both kinds of glyphs."""
    root = tmp_path_factory.mktemp("glyphs")
    for colour in (False, True):
        data.load("glyphs", root, colour=colour)
    return root


def test_the_script_prints_the_splits(glyphs, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["data.py", "--data", "glyphs", "--data-dir", str(glyphs), "--colour"])
    data.main()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4 and lines[0].startswith("glyphs_colour.npz  crc32 ")
    assert lines[1].startswith("train (15000, 3, 32, 32)  mean ")


@pytest.mark.parametrize("classes", [3, 26])
def test_the_classes_are_those_of_the_training_labels(tmp_path, monkeypatch, capsys, classes):
    arrays = tiny() | {"y_train": np.arange(N) % classes, "y_test": np.arange(TEST) % classes}
    path = save(tmp_path, arrays)
    monkeypatch.setattr(sys, "argv", ["data.py", "--data-dir", str(path.parent)])
    data.main()
    counts = [line.split("per class ")[1].split() for line in capsys.readouterr().out.splitlines()[1:]]
    assert [len(split) for split in counts] == [classes] * 3
    assert sum(map(int, counts[2])) == TEST and data.load("mnist", tmp_path).classes == classes


@pytest.mark.parametrize("name, shape", [("glyphs", (28, 28)), ("glyphs_colour", (32, 32, 3))])
def test_glyphs_are_balanced_and_the_same_every_time(glyphs, name, shape):
    style = data.SOURCES[name].keywords
    x, y = data.draw_glyphs(data.glyph_masters(), data.rng("glyphs", style["channels"], 7), style)
    with np.load(glyphs / f"{name}.npz") as first:
        assert np.array_equal(first["x_train"][3500:4000], x)
        assert np.array_equal(first["y_train"][3500:4000], y)
        assert first["x_train"].shape == (20000, *shape) and first["x_test"].shape == (2000, *shape)
        assert np.bincount(first["y_train"]).tolist() == [2000] * 10
        assert np.bincount(first["y_test"]).tolist() == [200] * 10
        assert len(np.unique(first["x_test"].reshape(2000, -1), axis=0)) == 2000


def test_a_glyph_is_labelled_as_what_it_is(glyphs):
    got = data.load("glyphs", glyphs)
    mean = torch.stack([got.x_train[got.y_train == digit].mean(0).flatten() for digit in range(10)])
    nearest = torch.cdist(got.x_test.flatten(1), mean).argmin(1)
    assert (nearest == got.y_test).float().mean() > 0.4  # chance is 0.1
