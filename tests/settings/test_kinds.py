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


# One value for all settings: to think of it takes more work than to read it.
@settings(max_examples=200)
@given(raw=ANYTHING)
def test_what_cannot_be_read_is_refused_with_what_would_be_right(raw: Any) -> None:
    for name, setting in SETTINGS.items():
        try:
            value = setting.kind.read(raw, Path("/base"))
            if setting.check is not None:
                setting.check(value)
        except ValueError as error:
            assert str(error), name
            continue
        except Exception as error:
            raise AssertionError(f"{name} = {raw!r} was neither read nor refused") from error
        assert value is not None or setting.kind.optional, name
        # What was accepted once is accepted as it is.
        assert setting.kind.read(value, Path("/base")) == value, name


def test_a_pattern_that_python_will_read_in_another_way_is_refused() -> None:
    with pytest.raises(ValueError, match="nested set"):
        SETTINGS["FRONTEND_PATHS"].kind.read(["[[a]"], Path("/base"))
