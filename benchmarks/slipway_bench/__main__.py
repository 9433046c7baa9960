"""``python -m slipway_bench``: show a result file in a person's words."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path


def main() -> int:
    """Print the figures of result files; exit code 1 when one cannot be read or a promise in it was broken."""
    parser = argparse.ArgumentParser(prog="slipway_bench", description="Show benchmark result files.")
    parser.add_argument("results", nargs="+", type=Path, help="files under benchmarks/results/")
    code = 0
    for path in parser.parse_args().results:
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            print(f"{record['benchmark']}: {record['what']} ({record['date']}, commit {record['commit']})")
            for name, value in record["figures"].items():
                print(f"  {name}: {value}")
            for promise, held in record["promises"].items():
                print(f"  {'holds ' if held else 'BROKEN'} {promise}")
                code = code if held else 1
        except (OSError, ValueError, KeyError, TypeError) as e:
            print(f"slipway_bench: {path}: is no readable result file ({e})", file=sys.stderr)
            code = 1
    return code


if __name__ == "__main__":
    sys.exit(main())
