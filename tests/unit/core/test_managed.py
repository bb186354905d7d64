"""The header of our files: whose they are, and whether somebody changed them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shiftboss.core.managed import Seal, read_seal, seal


@pytest.mark.parametrize("comment", [";", "#"])
def test_a_sealed_text_begins_with_a_comment_and_keeps_its_body(comment: str) -> None:
    text = seal("body\n", "my-app/queue_1", comment=comment)

    header, _, body = text.partition("\n")
    assert header.startswith(f"{comment} Managed by shiftboss for my-app/queue_1, sha256 ")
    assert "change it with shiftboss" in header
    assert body == "body\n"
    assert read_seal(text) == Seal("my-app/queue_1", intact=True)


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_every_body_is_intact_as_it_was_sealed(body: str) -> None:
    assert read_seal(seal(body, "myapp", comment="#")) == Seal("myapp", intact=True)


@given(st.text(min_size=1, max_size=30, alphabet="ab\n "), st.data())
def test_every_change_below_the_header_is_seen(body: str, data: st.DataObject) -> None:
    text = seal(body, "myapp", comment=";")
    start = text.index("\n") + 1
    at = data.draw(st.integers(start, len(text)))
    changed = text[:at] + data.draw(st.sampled_from("xyz")) + text[at:]

    assert read_seal(changed) == Seal("myapp", intact=False)
    assert read_seal(text[:at] + text[at + 1 :]) == Seal("myapp", intact=at == len(text))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[program:x]\n",
        " ; Managed by shiftboss for myapp, sha256 0123456789abcdef: \n",
        "; Managed by shiftboss for ../etc, sha256 0123456789abcdef: \n",
        "; Managed by shiftboss for MyApp, sha256 0123456789abcdef: \n",
        "; Managed by shiftboss for myapp, sha256 0123: \n",
        "; Managed by shiftboss for myapp, sha256 0123456789abcdef: no line end",
        "\n; Managed by shiftboss for myapp, sha256 0123456789abcdef: not the first line\n",
    ],
)
def test_what_has_no_header_of_ours_is_not_ours(text: str) -> None:
    assert read_seal(text) is None
