"""The repository and report/ on the path; without the packages of report/requirements.txt no test is run."""
import json
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "report")]
collect_ignore_glob = [] if all(map(find_spec, ("scipy", "jinja2", "pptx"))) else ["test_*.py"]


@pytest.fixture
def nine_pixels(tmp_path, monkeypatch):
    """mnist of nine pixels; in how many of 10,000 images each is active."""
    active = [0, 9, 10, 99, 100, 5000, 0, 9, 5000]
    (tmp_path / "pixels.json").write_text(json.dumps({"mnist": {"images": 10000, "lit": active}}))
    monkeypatch.setattr("mechanism.PIXELS", tmp_path / "pixels.json")
    return active
