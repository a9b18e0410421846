"""Fields that are added to answers, or taken out."""

import pytest

from duck.wire.answer_fields import AnswerFields
from duck.wire.head import ResponseHead

HSTS = (b"Strict-Transport-Security", b"max-age=1")


def test_a_field_is_added_where_it_is_not_there_whatever_its_case():
    rules = AnswerFields([HSTS])
    assert rules.apply(ResponseHead(200, [(b"A", b"b")])).fields == [(b"A", b"b"), HSTS]
    own = ResponseHead(200, [(b"strict-transport-security", b"max-age=0")])
    assert rules.apply(own) is own


def test_a_field_is_taken_out_whatever_its_case():
    rules = AnswerFields(removed=[b"strict-transport-security"])
    head = ResponseHead(200, block=b"STRICT-Transport-Security: max-age=1\r\nA: b\r\n", content_length=3)
    changed = rules.apply(head)
    assert changed.block == b"A: b\r\n"
    assert changed.content_length == 3
    assert head.block.startswith(b"STRICT")


def test_a_head_that_many_answers_share_is_not_changed():
    head = ResponseHead(200, [(b"A", b"b")])
    head.is_shared = True
    assert AnswerFields([HSTS]).apply(head) is not head
    assert head.fields == [(b"A", b"b")]


@pytest.mark.parametrize(("rules", "does"), [(AnswerFields(), False), (AnswerFields([HSTS]), True)])
def test_rules_that_do_nothing_say_so(rules, does):
    assert bool(rules) is does
