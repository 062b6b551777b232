"""The repository and report/ on the path; without the packages of report/requirements.txt no test is run."""
import sys
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "report")]
collect_ignore_glob = [] if all(map(find_spec, ("scipy", "jinja2", "pptx"))) else ["test_*.py"]
