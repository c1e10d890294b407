"""Broken JSON, as shops ship it."""

from __future__ import annotations

import time

import pytest

from crawlers.extraction.mending import mend


@pytest.mark.parametrize(
    "text",
    [
        '{"a": "b", "c": ["1"]}',
        '<!-- {"a": "b", "c": ["1"]} -->',
        '//<![CDATA[\n{"a": "b", "c": ["1"]}\n//]]>',
        '//<![CDATA[ {"a": "b", "c": ["1"]}//]]>',
        '/*<![CDATA[*/ {"a": "b", "c": ["1"]} /*]]>*/',
        '{"a": "b", "c": ["1",],}',
        '{"a": "b" "c": ["1"]}',
        '{"a": "b", // why\n "c": /* here */ ["1"]};',
        "{'a': 'b', c: ['1']}",
        '{"a": "b", "c": ["1"',
        '{"a": "b", "c": ["1"}',
        '{"a": "b", "c": ["1"]}}',
        "{&quot;a&quot;: &quot;b&quot;, &quot;c&quot;: [&quot;1&quot;]}",
        '\ufeff{"a": "b", "c": [1]}',
    ],
)
def test_broken_json_says_what_its_author_meant(text):
    assert mend(text) == [{"a": "b", "c": ["1"]}]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a": "line\none\ttwo"}', "line\none\ttwo"),
        ('{"a": "15" screen"}', '15" screen'),
        ('{"a": "it\\"s \\u00e9\\ud83d\\ude00 \\x"}', 'it"s é😀 x'),
        ('{"a": 0123}', "0123"),
        ('{"a": "http://x.test/y"}', "http://x.test/y"),
        ('{"a": undefined}', None),
        ('{"a": true}', True),
    ],
)
def test_value_survives(text, expected):
    assert mend(text)[0]["a"] == expected


def test_concatenated_objects_come_one_after_the_other():
    assert mend('{"a": "1"}{"a": "2"},\n{"a": "3"}') == [{"a": "1"}, {"a": "2"}, {"a": "3"}]


@pytest.mark.parametrize(
    "text",
    [
        "[" * 200_000,
        '{"a":' * 100_000,
        '"' * 200_000,
        "/*" * 200_000,
        "\\" * 200_000 + '"',
        "}" * 200_000,
        '{"' * 99_999,
    ],
)
def test_nonsense_is_read_in_linear_time(text):
    start = time.perf_counter()
    mend(text)
    assert time.perf_counter() - start < 2
