"""Conditions (RFC 9110 §13), ranges (§14) and codings (§12.5.3)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duck.http.dates import render_date
from duck.http.file_rules import IDENTITY, MAX_RANGES, Facts, choose_coding, negotiate, parse_ranges

MODIFIED = 1_700_000_000
SAME = render_date(MODIFIED)
OLDER = render_date(MODIFIED - 1)
NEWER = render_date(MODIFIED + 1)
FACTS = Facts(1000, b'"abc"', MODIFIED)
UNDATED = Facts(1000, b'"abc"', None)

IM, INM, IMS, IUS, IR, R = (
    b"If-Match",
    b"If-None-Match",
    b"If-Modified-Since",
    b"If-Unmodified-Since",
    b"If-Range",
    b"Range",
)


def status(*fields, method=b"GET", facts=FACTS):
    return negotiate(method, fields, facts).status


class TestIfMatch:
    """§13.1.1: strong comparison."""

    @pytest.mark.parametrize("value", [b"*", b'"abc"', b'"x", "abc"', b'"a,b","abc"', b',"abc",'])
    def test_passes_a_file_that_is_named(self, value):
        assert status((IM, value)) == 200

    @pytest.mark.parametrize("value", [b'"x"', b'W/"abc"', b"abc", b"", b'"ABC"', b'"abc', b'*, "x"', b'"x,"abc""x"'])
    def test_fails_for_another_a_weak_or_a_broken_tag(self, value):
        assert status((IM, value)) == 412
        assert status((IM, value), method=b"HEAD") == 412

    def test_may_come_in_several_fields(self):
        assert status((IM, b'"x"'), (b"if-match", b'"abc"')) == 200

    def test_goes_before_if_unmodified_since(self):
        assert status((IM, b'"abc"'), (IUS, OLDER)) == 200
        assert status((IM, b'"x"'), (IUS, NEWER)) == 412


class TestIfUnmodifiedSince:
    """§13.1.4."""

    def test_fails_when_the_file_is_newer(self):
        assert status((IUS, OLDER)) == 412

    @pytest.mark.parametrize("value", [SAME, NEWER, b"soon", b""])
    def test_passes_otherwise(self, value):
        assert status((IUS, value)) == 200

    def test_is_ignored_when_repeated_or_without_a_date_to_compare(self):
        assert status((IUS, OLDER), (IUS, OLDER)) == 200
        assert status((IUS, OLDER), facts=UNDATED) == 200


class TestIfNoneMatch:
    """§13.1.2: weak comparison."""

    @pytest.mark.parametrize("value", [b"*", b'"abc"', b'W/"abc"', b'"x", W/"abc"', b'"x" , "abc"'])
    def test_answers_304_for_the_tag(self, value):
        assert status((INM, value)) == 304
        assert status((INM, value), method=b"HEAD") == 304

    @pytest.mark.parametrize("value", [b'"x"', b"abc", b"", b'w/"x"', b'"abcd"', b'"a", "bc"'])
    def test_answers_200_for_others(self, value):
        assert status((INM, value)) == 200

    def test_goes_before_if_modified_since(self):
        assert status((INM, b'"x"'), (IMS, NEWER)) == 200
        assert status((INM, b'"abc"'), (IMS, OLDER)) == 304

    def test_goes_before_ranges(self):
        assert status((INM, b'"abc"'), (R, b"bytes=0-1")) == 304


class TestIfModifiedSince:
    """§13.1.3."""

    @pytest.mark.parametrize("value", [SAME, NEWER])
    def test_answers_304_for_an_unchanged_file(self, value):
        assert status((IMS, value)) == 304
        assert status((IMS, value), method=b"HEAD") == 304

    @pytest.mark.parametrize("value", [OLDER, b"", b"today", SAME + b"; length=1"])
    def test_answers_200_for_a_newer_file_or_no_date(self, value):
        assert status((IMS, value)) == 200

    def test_is_ignored_when_repeated_or_without_a_date_to_compare(self):
        assert status((IMS, SAME), (IMS, SAME)) == 200
        assert status((IMS, NEWER), facts=UNDATED) == 200


class TestIfRange:
    """§13.1.5: exact, strong."""

    @pytest.mark.parametrize("value", [b'"abc"', SAME])
    def test_keeps_the_range_of_an_unchanged_file(self, value):
        assert status((R, b"bytes=0-1"), (IR, value)) == 206

    @pytest.mark.parametrize("value", [b'"x"', b'W/"abc"', OLDER, NEWER, b"", b"*", b'"abc", "x"', b"abc"])
    def test_sends_the_whole_file_otherwise(self, value):
        assert status((R, b"bytes=0-1"), (IR, value)) == 200
        assert status((R, b"bytes=5000-"), (IR, value)) == 200

    def test_means_nothing_without_a_range_or_twice(self):
        assert status((IR, b'"x"')) == 200
        assert status((R, b"bytes=0-1"), (IR, b'"abc"'), (IR, b'"abc"')) == 200
        assert status((R, b"bytes=0-1"), (IR, SAME), facts=UNDATED) == 200


class TestPrecedence:
    """§13.2.2."""

    def test_412_goes_before_304(self):
        assert status((IM, b'"x"'), (INM, b'"abc"')) == 412
        assert status((IUS, OLDER), (INM, b'"abc"')) == 412

    def test_nothing_asked_is_200(self):
        assert status() == status((b"Accept", b"*/*"), (b"Accept-Encoding", b"gzip")) == 200


class TestRange:
    """§14.1.2, §14.2."""

    @pytest.mark.parametrize(
        ("value", "ranges"),
        [
            (b"bytes=0-0", ((0, 1),)),
            (b"bytes=0-499", ((0, 500),)),
            (b"bytes=500-", ((500, 500),)),
            (b"bytes=-500", ((500, 500),)),
            (b"bytes=-5000", ((0, 1000),)),
            (b"bytes=900-5000", ((900, 100),)),
            (b"BYTES=0-1", ((0, 2),)),
            (b"bytes=0-" + b"9" * 5000, ((0, 1000),)),
            (b"bytes=" + b"0" * 5000 + b"-1", ((0, 2),)),
            (b"bytes=0-0,-1", ((0, 1), (999, 1))),
            (b"bytes= 0-0 ,\t-1 ,, ", ((0, 1), (999, 1))),
            (b"bytes=500-600,0-99", ((500, 101), (0, 100))),
            (b"bytes=0-99,100-199", ((0, 100), (100, 100))),
            (b"bytes=0-0,5000-", ((0, 1),)),
            (b"bytes=1000-", ()),
            (b"bytes=-0", ()),
            (b"bytes=5000-6000,7000-", ()),
            (b"bytes=", None),
            (b"bytes=,", None),
            (b"bytes=-", None),
            (b"bytes=5-1", None),
            (b"bytes=0-1,5-1", None),
            (b"bytes=a-b", None),
            (b"bytes=+0-1", None),
            (b"bytes=0 - 1", None),
            (b"bytes=0-1-2", None),
            (b"bytes=--1", None),
            (b"bytes 0-1", None),
            (b"items=0-1", None),
            (b"bytes=0-10,5-15", None),
            (b"bytes=0-,-1", None),
            (b"bytes=0-0,0-0", None),
            (b"bytes=" + b",".join(b"%d-%d" % (i, i) for i in range(0, 2 * MAX_RANGES, 2)), 32),
            (b"bytes=" + b",".join(b"%d-%d" % (i, i) for i in range(0, 2 * MAX_RANGES + 2, 2)), None),
        ],
    )
    def test_is_read_as(self, value, ranges):
        found = parse_ranges([value], 1000)
        assert found is not None and len(found) == 32 if ranges == 32 else found == ranges

    def test_is_for_get_only(self):
        assert status((R, b"bytes=0-1"), method=b"HEAD") == 200
        assert status((R, b"bytes=5000-"), method=b"HEAD") == 200

    def test_beyond_the_end_is_416(self):
        assert status((R, b"bytes=1000-")) == 416

    def test_twice_is_ignored(self):
        assert status((R, b"bytes=0-1"), (R, b"bytes=3-4")) == 200

    def test_of_an_empty_file_is_the_empty_file(self):
        assert status((R, b"bytes=0-"), facts=Facts(0, b'"e"', None)) == 200
        assert status((R, b"bytes=-1"), facts=Facts(0, b'"e"', None)) == 200

    def test_several_of_a_coded_file_are_ignored_and_one_is_not(self):
        coded = Facts(1000, b'"abc-br"', MODIFIED, max_ranges=1)
        assert status((R, b"bytes=0-1,5-6"), facts=coded) == 200
        assert status((R, b"bytes=0-1"), facts=coded) == 206

    @given(st.lists(st.binary(max_size=40).map(b"bytes=".__add__), max_size=2), st.integers(1, 2**40))
    def test_no_bytes_raise_or_reach_beyond_the_file(self, values, size):
        for offset, count in parse_ranges(values, size) or ():
            assert 0 <= offset < offset + count <= size

    @given(
        st.integers(1, 300),
        st.lists(st.tuples(st.none() | st.integers(0, 400), st.none() | st.integers(0, 400)), min_size=1, max_size=6),
    )
    def test_gives_the_bytes_that_slices_would_give(self, size, specs):
        data = bytes(i % 251 for i in range(size))
        text = b",".join(b"%b-%b" % tuple(b"" if n is None else b"%d" % n for n in spec) for spec in specs)
        valid = all(
            not (first is None and last is None) and (first is None or last is None or first <= last)
            for first, last in specs
        )
        found = parse_ranges([b"bytes=" + text], size)
        if not valid:
            assert found is None
            return
        wanted = []
        for first, last in specs:
            if first is None:
                wanted.append(range(max(0, size - last), size))
            else:
                wanted.append(range(first, size if last is None else min(last + 1, size)))
        wanted = [positions for positions in wanted if positions]
        seen = [position for positions in wanted for position in positions]
        if len(seen) != len(set(seen)):
            assert found is None
        else:
            assert [data[o : o + c] for o, c in found] == [data[p.start : p.stop] for p in wanted]


class TestAcceptEncoding:
    """§12.5.3."""

    SIZES = {IDENTITY: 1000, b"br": 200, b"zstd": 220, b"gzip": 300}

    @pytest.mark.parametrize(
        ("value", "coding"),
        [
            (b"gzip, deflate, br, zstd", b"br"),
            (b"gzip, deflate", b"gzip"),
            (b"gzip, zstd", b"zstd"),
            (b"GZip", b"gzip"),
            (b"x-gzip", b"gzip"),
            (b"br;q=0.5, gzip;q=0.8", b"gzip"),
            (b"br;q=1.0, gzip;q=0.8, *;q=0.1", b"br"),
            (b"br ; q=0.1 , gzip\t;\tq=0.2", b"gzip"),
            (b"*", b"br"),
            (b"*;q=0.5, br;q=0", b"zstd"),
            (b"gzip;q=0", IDENTITY),
            (b"identity", IDENTITY),
            (b"identity;q=1, *;q=0", IDENTITY),
            (b"identity;q=0.5, gzip;q=0.4", IDENTITY),
            (b"identity;q=0.5, gzip;q=0.5", b"gzip"),
            (b"identity;q=0, gzip;q=0.001", b"gzip"),
            (b"gzip;q=0.001", b"gzip"),
            (b"identity;q=0", IDENTITY),
            (b"*;q=0", IDENTITY),
            (b"deflate", IDENTITY),
            (b"", IDENTITY),
            (b"gzip;q=2", IDENTITY),
            (b"gzip;q=0.12345", IDENTITY),
            (b"gzip;level=9", IDENTITY),
            (b"gzip;q=x, br", b"br"),
            (b"gzip br", IDENTITY),
        ],
    )
    def test_chooses(self, value, coding):
        assert choose_coding([value], self.SIZES) == coding

    def test_may_come_in_several_fields_or_in_none(self):
        assert choose_coding([b"gzip;q=0.5", b"zstd"], self.SIZES) == b"zstd"
        assert choose_coding([], self.SIZES) == IDENTITY

    @given(st.lists(st.binary(max_size=40), max_size=3))
    def test_no_bytes_raise(self, values):
        assert choose_coding(values, self.SIZES) in self.SIZES


@given(
    st.sampled_from([b"GET", b"HEAD"]),
    st.lists(
        st.tuples(
            st.sampled_from([IM, INM, IMS, IUS, IR, R]),
            st.sampled_from(
                [b"*", b'"abc"', b'W/"abc"', b'"x"', OLDER, SAME, NEWER, b"bytes=0-1", b"bytes=9999-", b""]
            ),
        ),
        max_size=6,
    ),
)
def test_every_combination_has_one_of_five_answers(method, fields):
    plan = negotiate(method, fields, FACTS)
    assert plan.status in (200, 206, 304, 412, 416)
    assert bool(plan.ranges) == (plan.status == 206)
    if method == b"HEAD":
        assert plan.status in (200, 304, 412)
