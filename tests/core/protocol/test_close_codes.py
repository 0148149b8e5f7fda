"""Contract 3.4: the code is the advice."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bridge.core.protocol import close_codes
from bridge.core.protocol.close_codes import CLOSE_CODES, CloseCode

PAGE = Path(__file__).parents[3] / "docs" / "protocol.md"
EVERY = [each for each in vars(close_codes).values() if isinstance(each, CloseCode)]


def test_the_catalogue_has_each_code_of_the_contract_once_and_in_order() -> None:
    assert [(each.code, each.reason.partition(":")[0]) for each in CLOSE_CODES] == [
        (4001, "draining"),
        (4002, "slow"),
        (4003, "silent"),
        (4004, "stale"),
        (4005, "expired"),
        (4006, "overloaded"),
        (4500, "unauthenticated"),
        (4501, "forbidden"),
        (4502, "misbehaving"),
        (4504, "disconnected by the backend"),
    ]


def test_the_documentations_table_is_the_catalogue() -> None:
    _, found, section = PAGE.read_text(encoding="utf-8").partition("\n## Closing\n")
    assert found
    table = re.findall(r"^\| (\d+) \| (.+) \|$", section.partition("\n## ")[0], re.MULTILINE)
    assert table == [(str(each.code), each.reason) for each in CLOSE_CODES]


@pytest.mark.parametrize("each", EVERY)
def test_no_close_is_outside_the_catalogue(each: CloseCode) -> None:
    kinds = {(known.code, known.reason.partition(":")[0]) for known in CLOSE_CODES}
    assert (each.code, each.reason.partition(":")[0]) in kinds


@pytest.mark.parametrize("each", EVERY)
def test_40xx_come_back_and_45xx_do_not(each: CloseCode) -> None:
    assert each.should_reconnect == (each.code // 100 == 40)


def test_the_advice_changes_at_4500() -> None:
    assert CloseCode(4499, "").should_reconnect
    assert not CloseCode(4500, "").should_reconnect


@pytest.mark.parametrize("each", EVERY)
def test_nobody_is_told_when_to_come_back_who_should_not(each: CloseCode) -> None:
    assert each.retry_after == 0 or (each.should_reconnect and each.retry_after > 0)


@pytest.mark.parametrize("each", EVERY)
def test_a_reason_fits_into_a_close_frame(each: CloseCode) -> None:
    # RFC 6455, 5.5: a control frame carries 125 bytes, and the code takes two of them.
    assert 0 < len(each.reason.encode()) <= 123
