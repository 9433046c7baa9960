"""``python -m slipway_frontend``: serve with the settings of the environment."""

from __future__ import annotations

import argparse
import sys

from pydantic import ValidationError

from slipway_core.errors import SlipwayError
from slipway_frontend.server import run
from slipway_frontend.settings import Settings, explained, page


def main(arguments: list[str] | None = None) -> int:
    """The exit code: 0 after an orderly end, 1 when it cannot serve, 2 for wrong settings."""
    parser = argparse.ArgumentParser(
        prog="python -m slipway_frontend",
        description="Serve the HTTP gateway to a running Triton.",
        epilog="environment variables:\n" + explained(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--host", help="instead of SLIPWAY_HOST")
    parser.add_argument("--port", dest="http_port", help="instead of SLIPWAY_HTTP_PORT")
    parser.add_argument("--triton", dest="triton_grpc", metavar="HOST:PORT", help="instead of SLIPWAY_TRITON_GRPC")
    parser.add_argument("--settings-page", action="store_true", help="print docs/settings.md and end")
    parsed = vars(parser.parse_args(arguments))
    if parsed.pop("settings_page"):
        sys.stdout.write(page())
        return 0
    given = {key: value for key, value in parsed.items() if value is not None}
    try:
        settings = Settings(**given)
    except ValidationError as e:
        first = e.errors()[0]
        name = "_".join(str(part) for part in first["loc"]).upper()
        return _ended(2, f"SLIPWAY_{name} = {first['input']!r} is not valid: {first['msg']}")
    try:
        run(settings)
    except SlipwayError as e:
        return _ended(1, str(e))
    return 0


def _ended(code: int, message: str) -> int:
    sys.stderr.write(f"slipway frontend: {message}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
