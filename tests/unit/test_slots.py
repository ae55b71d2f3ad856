"""Rows are found by their texts as in a `dict`, whatever their hashes are."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import stream.core.slots as slots_module
from stream.core.slots import Slots

HASHES = {
    "as they are": hash,
    "few": lambda text: len(text) % 3,
    "of one bucket": lambda text: hash(text) << 24,
}
texts = st.text("abc", max_size=3)
steps = st.lists(st.tuples(st.booleans(), st.lists(texts, unique=True, max_size=12)), max_size=20)


@pytest.mark.parametrize("of", HASHES)
@given(steps)
def test_what_was_added_and_not_removed_is_found(of: str, taken: list) -> None:
    def hashes(asked: list[str]) -> np.ndarray:
        found = [HASHES[of](text) % 2**62 for text in asked]
        return np.maximum(np.array(found, dtype=np.int64), 1)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slots_module, "_hashes", hashes)
        held: list[str] = []
        slots, known = Slots(held, room=4), dict[str, int]()
        for adds, some in taken:
            if adds:
                new = [text for text in some if text not in known]
                rows = range(len(held), len(held) + len(new))
                held += new
                slots.add(rows)
                known |= zip(new, rows, strict=True)
            else:
                gone = [text for text in some if text in known]
                slots.remove([known.pop(text) for text in gone])
            asked = [*held, "", "abcabc"]
            assert slots.find(asked) == [known.get(text, -1) for text in asked]
            assert len(slots) == len(known)


def test_many_are_found_beyond_the_room_that_was_set_aside() -> None:
    held = [f"text {i}" for i in range(100_000)]
    slots = Slots(held, room=1_000)
    for first in range(0, len(held), 7_000):
        slots.add(range(first, min(first + 7_000, len(held))))
    assert slots.find(held) == list(range(len(held)))
    assert slots.find(["text", "text 100000"]) == [-1, -1]
    slots.remove(range(0, len(held), 2))
    assert slots.find(held[:4]) == [-1, 1, -1, 3]
    with pytest.raises(KeyError):
        slots.remove([0])
