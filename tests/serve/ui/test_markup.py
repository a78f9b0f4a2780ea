from __future__ import annotations

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("gradio")  # the package's __init__ builds on it

from mllm_iqa.serve.ui.markup import escaped, prose


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert not attrs
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def parsed(html: str) -> Tags:
    parser = Tags()
    parser.feed(html)
    parser.close()
    return parser


@given(st.text())
def test_no_text_becomes_markup(text: str) -> None:
    safe = escaped(text)
    assert not set("<>\"'{}$`") & set(safe)
    assert parsed(safe).tags == set()


@given(st.text(alphabet=st.characters(exclude_categories=["C"], exclude_characters="\u2028\u2029")))
def test_printable_text_survives(text: str) -> None:
    assert parsed(escaped(text)).text == text


@given(st.text())
def test_prose_makes_only_its_own_tags(text: str) -> None:
    assert parsed(prose(text)).tags <= {"p", "br", "ul", "li", "strong", "code"}


def test_direction_marks_are_shown() -> None:
    assert escaped("photo\u202egpj.exe") == "photo\N{REPLACEMENT CHARACTER}gpj.exe"


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("one\ntwo\n\nthree", "<p>one<br>two</p><p>three</p>"),
        ("Found:\n- blur\n* noise", "<p>Found:</p><ul><li>blur</li><li>noise</li></ul>"),
        ("## Verdict\nIt is **blurred**.", "<p><strong>Verdict</strong></p><p>It is <strong>blurred</strong>.</p>"),
        ("see `a<b`", "<p>see &#96;a&lt;b&#96;</p>"),
        ("see `mos`", "<p>see <code>mos</code></p>"),
        ("[x](javascript:alert(1))", "<p>[x](javascript:alert(1))</p>"),
        ("", ""),
    ],
)
def test_prose(text: str, html: str) -> None:
    assert prose(text) == html
