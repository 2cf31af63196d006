"""The pages that tell mini's scores tell those in results/mini."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_pages_say_what_the_results_say():
    checked = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "mini_card.py", "--check"], capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stderr
