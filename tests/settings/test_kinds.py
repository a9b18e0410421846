"""Whatever is written as a setting is read, or refused in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from duck.settings.schema import SETTINGS

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.text(alphabet='0123456789.eEkKmMgGbBsdh[]{}",:/ ', max_size=20),
    st.binary(max_size=4),
)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=4,
)


@pytest.mark.parametrize("name", list(SETTINGS))
@settings(max_examples=25)
@given(raw=ANYTHING)
def test_what_cannot_be_read_is_refused_with_what_would_be_right(name: str, raw: Any) -> None:
    setting = SETTINGS[name]
    try:
        value = setting.kind.read(raw, Path("/base"))
        if setting.check is not None:
            setting.check(value)
    except ValueError as error:
        assert str(error)
        return
    assert value is not None or setting.kind.optional
    # What was accepted once is accepted as it is.
    assert setting.kind.read(value, Path("/base")) == value


def test_a_pattern_that_python_will_read_in_another_way_is_refused() -> None:
    with pytest.raises(ValueError, match="nested set"):
        SETTINGS["FRONTEND_PATHS"].kind.read(["[[a]"], Path("/base"))
