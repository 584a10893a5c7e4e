"""The example of docs/devices.md prints what the page says."""
import contextlib
import io
import textwrap
from pathlib import Path

import pytest

pytest.importorskip("ringflow._core")

import ringflow as rf

PAGE = Path(__file__).resolve().parents[2] / "docs" / "devices.md"


def blocks():
    """The code, and what it prints."""
    before, after = PAGE.read_text().split("<!-- printed by the lines above -->")
    code = before[before.rindex("    x = rf.placeholder"):]
    printed = after.split("\n\n")[1]
    return textwrap.dedent(code), textwrap.dedent(printed).strip()


def test_the_example_prints_what_the_page_says():
    code, printed = blocks()
    assert "_Send" in printed
    out = io.StringIO()
    with rf.Graph().as_default(), contextlib.redirect_stdout(out):
        exec(code, {"rf": rf})
    assert out.getvalue().strip() == printed
