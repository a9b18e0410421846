"""The bounded memory of what is a pure function of some bytes."""

from duck.wire.memory import Memory


def test_what_is_kept_is_found_again_for_two_generations() -> None:
    memory: Memory[int] = Memory(2, 10)
    memory.keep(b"a", 1)
    memory.keep(b"b", 2)
    assert memory.young == {b"a": 1, b"b": 2}
    memory.keep(b"c", 3)
    assert (memory.young, memory.old) == ({b"c": 3}, {b"a": 1, b"b": 2})


def test_what_is_asked_for_is_young_again_and_the_rest_is_forgotten() -> None:
    memory: Memory[int] = Memory(2, 10)
    for number, key in enumerate((b"a", b"b", b"c")):
        memory.keep(key, number)
    assert memory.recall(b"a") == 0
    memory.keep(b"d", 3)
    assert memory.recall(b"b") is None
    assert memory.recall(b"a") == 0
    assert memory.recall(b"nothing") is None


def test_a_key_that_is_too_long_is_not_kept() -> None:
    memory: Memory[int] = Memory(2, 10)
    memory.keep(b"x" * 11, 1)
    memory.keep(b"x" * 10, 2)
    assert memory.young == {b"x" * 10: 2}
