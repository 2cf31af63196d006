"""Other tools' own code reads what askmask writes and speaks: which of them are installed, and what came of it.

    pip install pycocotools label-studio-sdk 'cvat-sdk[masks]' datumaro labelme ultralytics fiftyone supervision shapely
    pip install x-anylabeling-cvhub termcolor importlib_metadata json_repair qimage2ndarray
    python benchmarks/other_tools.py --out results/other_tools.json

Runs the tests that need them in this environment, and writes versions, what passed and what was skipped.
"""

from __future__ import annotations

import argparse
import json
import platform
import shlex
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).parents[1]
TOOLS = (
    "pycocotools", "label-studio-sdk", "cvat-sdk", "datumaro", "labelme", "ultralytics", "fiftyone", "shapely",
    "supervision", "matplotlib", "openai", "x-anylabeling-cvhub",
)  # fmt: skip
TESTS = (
    "tests/formats/test_other_tools.py",
    "tests/formats/test_convert.py::test_geojson_is_valid_to_shapely",
    "tests/serving/test_protocols.py",
    "tests/test_show.py",
)


def version(tool: str) -> str | None:
    """Return which version of a package is installed, None for none."""
    try:
        return metadata.version(tool)
    except metadata.PackageNotFoundError:
        return None


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            f"--junitxml={report}",
            *TESTS,
        ]
        code = subprocess.run(command, cwd=ROOT).returncode
        cases = list(ElementTree.parse(report).iter("testcase"))
    skipped = {
        case.get("name"): case.find("skipped").get("message")
        for case in cases
        if case.find("skipped") is not None
    }
    failed = [
        case.get("name")
        for case in cases
        if case.find("failure") is not None or case.find("error") is not None
    ]
    result = {
        "command": shlex.join(["python", "benchmarks/other_tools.py", *sys.argv[1:]]),
        "python": platform.python_version(),
        "versions": {tool: version(tool) for tool in TOOLS},
        "passed": len(cases) - len(skipped) - len(failed),
        "failed": failed,
        "skipped": skipped,
    }
    print(json.dumps(result, indent=1))
    if given.out:
        given.out.write_text(json.dumps(result, indent=1) + "\n")
    sys.exit(code)


if __name__ == "__main__":
    main()
