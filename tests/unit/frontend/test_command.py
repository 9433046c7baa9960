"""``python -m slipway_frontend``: wrong settings are one line, and the help names every setting."""

from __future__ import annotations

from pathlib import Path

import pytest

from slipway_frontend import Settings
from slipway_frontend.__main__ import main


@pytest.mark.parametrize(
    ("arguments", "environment", "code", "message"),
    [
        (
            ["--port", "eighty"],
            {},
            2,
            "SLIPWAY_HTTP_PORT = 'eighty' is not valid: Input should be a valid integer, "
            "unable to parse string as an integer",
        ),
        ([], {"SLIPWAY_DEADLINE_S": "0"}, 2, "SLIPWAY_DEADLINE_S = '0' is not valid: Input should be greater than 0"),
        (
            [],
            {"SLIPWAY_MAX_BINARY_BYTES": "600000000"},
            2,
            "SLIPWAY_MAX_HELD_BYTES = 536870912 is not valid: it must be at least SLIPWAY_MAX_BINARY_BYTES, 600000000",
        ),
        (
            ["--triton", "http://localhost:8000"],
            {},
            1,
            "'http://localhost:8000' is no address of a Triton's gRPC port; give host:port, such as 127.0.0.1:8001",
        ),
    ],
)
def test_a_wrong_setting_is_one_clear_line(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    environment: dict[str, str],
    code: int,
    message: str,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert main(arguments) == code
    assert capsys.readouterr() == ("", f"slipway frontend: {message}\n")


def test_help_names_every_setting_and_its_default(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    for name, field in Settings.model_fields.items():
        assert f"SLIPWAY_{name.upper()} " in shown
        assert f"(default: {field.default})" in shown


def test_the_page_of_settings_is_the_one_that_the_frontend_writes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--settings-page"]) == 0
    written = (Path(__file__).parents[3] / "docs" / "settings.md").read_text(encoding="utf-8")
    assert capsys.readouterr().out == written, "python -m slipway_frontend --settings-page > docs/settings.md"
    for name, field in Settings.model_fields.items():
        (row,) = [line for line in written.splitlines() if f"`SLIPWAY_{name.upper()}`" in line]
        assert f"| `{field.default}` | {field.description} |" in row


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_TRITON_GRPC", "triton:9001")
    assert Settings().triton_grpc == "triton:9001"
    assert Settings(triton_grpc="other:1").triton_grpc == "other:1"
    assert Settings().host == "127.0.0.1"
