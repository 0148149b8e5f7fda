"""Dead letters: kept until they are known to be written, within bounds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.config.topics import TopicDefinition
from bridge.coordination import dead_letters as dead_letters_module
from bridge.coordination.dead_letters import DeadLetter, DeadLetterQueue
from bridge.core.protocol.event import InvalidRecord
from bridge.core.protocol.record import UndecodableRecord, UnusableRecord
from bridge.core.protocol.topic_catalogue import NO_TOPICS, TopicCatalogue
from bridge.kafka.client.client import TopicPartition
from tests.core.factories import ConsumerRecord

if TYPE_CHECKING:
    import pytest

T0, T1 = TopicPartition("t", 0), TopicPartition("t", 1)


def dead_letter(
    offset: int,
    partition: TopicPartition = T0,
    value: bytes | None = b"?",
    key: bytes | None = None,
) -> DeadLetter:
    return DeadLetter(partition, offset, key, value, [])


def pending(queue: DeadLetterQueue) -> list[tuple[int, int]]:
    return [(each.partition.number, each.offset) for each in queue.peek(1000)]


def test_a_dead_letter_has_the_record_its_reason_and_its_origin() -> None:
    headers = [("push-time", b"never"), ("x", None)]
    record = ConsumerRecord(7, 0, b"key", b"value", headers)
    queue = DeadLetterQueue(
        TopicCatalogue.from_entries([TopicDefinition(name="public", kafka="in-kafka")])
    )
    queue.add(UnusableRecord("public", 3, record, InvalidRecord("bad_time", "no time")))
    assert queue.count_by_reason == {"bad_time": 1}
    assert queue.peek(9) == [
        DeadLetter(
            *(TopicPartition("in-kafka", 3), 7, b"key", b"value"),
            [
                *headers,
                ("dead-reason", b"bad_time"),
                ("dead-topic", b"in-kafka"),
                ("dead-partition", b"3"),
                ("dead-offset", b"7"),
            ],
        )
    ]


def test_dead_pass_means_counted_only(caplog: pytest.LogCaptureFixture) -> None:
    queue = DeadLetterQueue(TopicCatalogue.from_entries([TopicDefinition(name="t", dead="pass")]))
    record = ConsumerRecord(7, 0, None, b"value", [])
    queue.add(UnusableRecord("t", 0, record, InvalidRecord("bad_route:rooms", "no text")))
    assert queue.count_by_reason == {"bad_route:rooms": 1}
    assert queue.peek(9) == []
    assert "not kept" in caplog.text


def test_what_has_a_dead_reason_never_becomes_a_dead_letter_again() -> None:
    record = ConsumerRecord(7, 0, None, b"value", [("dead-reason", b"bad_json")])
    queue = DeadLetterQueue(NO_TOPICS)
    queue.add(UnusableRecord("t", 0, record, InvalidRecord("bad_json", "no JSON")))
    assert queue.count_by_reason == {"bad_json": 1}
    assert queue.peek(9) == []


def test_the_dead_letter_of_an_undecodable_record_has_its_bytes() -> None:
    record = UndecodableRecord(7, 0, b"raw", "its bytes are no record")
    queue = DeadLetterQueue(NO_TOPICS)
    queue.add(UnusableRecord("t", 0, record, InvalidRecord("bad_record", "no record")))
    (letter,) = queue.peek(9)
    assert (letter.offset, letter.key, letter.value) == (7, None, b"raw")
    assert ("dead-reason", b"bad_record") in letter.headers


def test_dead_letters_are_kept_until_known_to_be_written() -> None:
    queue = DeadLetterQueue(NO_TOPICS)
    for number in range(3):
        queue.keep(dead_letter(number))
        queue.keep(dead_letter(number, T1))
    assert [len(queue.peek(count)) for count in (-1, 0, 4, 99)] == [0, 0, 4, 6]
    queue.mark_written({T0: 2})
    assert pending(queue) == [(1, 0), (1, 1), (0, 2), (1, 2)]
    queue.mark_written({T0: 1, T1: 3, TopicPartition("other", 0): 5})
    assert pending(queue) == [(0, 2)]
    queue.mark_written({T0: 3})
    assert (pending(queue), queue.lost_count) == ([], 0)


def test_a_dead_letter_known_to_be_written_is_not_kept() -> None:
    queue = DeadLetterQueue(NO_TOPICS)
    queue.mark_written({T0: 2})
    queue.mark_written({T0: 1})
    for number in range(4):
        queue.keep(dead_letter(number))
    assert pending(queue) == [(0, 2), (0, 3)]


def test_written_offsets_may_go_back() -> None:
    queue = DeadLetterQueue(NO_TOPICS)
    queue.keep(dead_letter(7))
    queue.set_written_offsets({T0: 1000, T1: 5})
    assert queue.peek(9) == []
    queue.set_written_offsets({T1: 5})  # the topic was recreated
    queue.keep(dead_letter(0))
    queue.keep(dead_letter(4, T1))
    assert pending(queue) == [(0, 0)]


def test_a_dead_letter_of_before_the_start_is_not_counted_or_logged_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    queue = DeadLetterQueue(NO_TOPICS)
    queue.set_earlier_offsets({T0: 3})

    def add(offset: int) -> None:
        record = ConsumerRecord(offset, 0, b"key", b"value", [])
        queue.add(UnusableRecord("t", 0, record, InvalidRecord("bad_command", "no command")))

    add(2)
    assert (queue.count_by_reason, pending(queue), caplog.messages) == ({}, [], [])
    add(3)
    assert (queue.count_by_reason, pending(queue)) == ({"bad_command": 1}, [(0, 3)])
    assert len(caplog.messages) == 1
    queue.set_written_offsets({T0: 4})  # what is written later was counted here
    add(3)
    assert queue.count_by_reason == {"bad_command": 2}
    queue.set_written_offsets({})  # the topic was recreated
    add(0)
    assert queue.count_by_reason == {"bad_command": 3}


def test_memory_is_bounded_and_the_oldest_are_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    size = dead_letter(0, value=b"v" * 1000).size_bytes
    monkeypatch.setattr(dead_letters_module, "MAX_BYTES", 3 * size)
    queue = DeadLetterQueue(NO_TOPICS)
    for number in range(3):
        queue.keep(dead_letter(number, value=b"v" * 1000))
    assert queue.lost_count == 0
    queue.keep(dead_letter(3, value=b"v"))
    assert (pending(queue), queue.lost_count) == ([(0, 1), (0, 2), (0, 3)], 1)
    queue.mark_written({T0: 3})  # makes room
    for number in (4, 5):
        queue.keep(dead_letter(number, value=b"v" * 1000))
    assert (pending(queue), queue.lost_count) == ([(0, 3), (0, 4), (0, 5)], 1)


def test_one_giant_dead_letter_does_not_take_the_place_of_others() -> None:
    queue = DeadLetterQueue(NO_TOPICS)
    giant = b"v" * dead_letters_module.MAX_LETTER_BYTES
    queue.keep(dead_letter(0, value=b"v"))
    queue.keep(dead_letter(1, value=giant))
    queue.keep(dead_letter(2, value=b"", key=giant))
    queue.keep(dead_letter(3, value=giant, key=giant))
    size = b"%d" % len(giant)
    assert queue.peek(9) == [
        dead_letter(0, value=b"v"),
        dead_letter(1, value=None)._replace(headers=[("dead-value-bytes", size)]),
    ]
    assert queue.lost_count == 2


def test_key_and_headers_count_as_bytes() -> None:
    bare = dead_letter(0, value=b"")
    assert bare._replace(key=b"k" * 10).size_bytes == bare.size_bytes + 10
    assert (
        bare._replace(headers=[("name", b"12345"), ("none", None)]).size_bytes
        == bare.size_bytes + 13
    )


def test_the_largest_loses_its_value_and_has_its_length() -> None:
    queue = DeadLetterQueue(NO_TOPICS)
    for number, size in enumerate((10, 5000, 300)):
        queue.keep(dead_letter(number, value=b"v" * size, key=b"k"))
    queue.truncate_largest(queue.peek(3))
    first, second, third = queue.peek(3)
    assert (first.value, third.value) == (b"v" * 10, b"v" * 300)
    assert second == dead_letter(1, value=None, key=b"k")._replace(
        headers=[("dead-value-bytes", b"5000")]
    )


def test_truncation_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dead_letters_module, "MAX_BYTES", 2000)
    queue = DeadLetterQueue(NO_TOPICS)
    queue.keep(dead_letter(0, value=b"v" * 1500))
    queue.truncate_largest(queue.peek(1))
    queue.keep(dead_letter(1, value=b"v" * 1000))
    assert (pending(queue), queue.lost_count) == ([(0, 0), (0, 1)], 0)


def test_a_dead_letter_too_large_without_a_value_is_lost() -> None:
    queue = DeadLetterQueue(NO_TOPICS)
    queue.keep(dead_letter(0, value=b"v" * 500))
    queue.keep(dead_letter(1, value=b"")._replace(headers=[("h", b"h" * 5000)]))
    queue.truncate_largest(queue.peek(2))
    assert pending(queue) == [(0, 0)]
    assert (queue.peek(1)[0].value, queue.lost_count) == (b"v" * 500, 1)


def test_a_dead_letter_is_truncated_once_and_then_lost() -> None:
    queue = DeadLetterQueue(NO_TOPICS)
    queue.keep(dead_letter(0, value=b"v" * 500)._replace(headers=[("h", b"h" * 5000)]))
    queue.truncate_largest(queue.peek(1))
    assert queue.peek(1)[0].value is None
    queue.truncate_largest(queue.peek(1))
    assert (pending(queue), queue.lost_count) == ([], 1)


def test_a_written_dead_letter_is_not_truncated() -> None:
    queue = DeadLetterQueue(NO_TOPICS)
    queue.keep(dead_letter(0, value=b"v" * 500))
    peeked = queue.peek(1)
    queue.mark_written({T0: 1})
    queue.keep(dead_letter(1))
    queue.truncate_largest(peeked)
    assert queue.peek(9) == [dead_letter(1)]
