"""Whatever the text and the pre-tokeniser, the fast encoder gives the tokenizer's ids."""

import importlib.util
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from midfill.tokenizer.fast import FastEncoder

_SPEC = importlib.util.spec_from_file_location(
    "unit_fast_encoder", Path(__file__).parents[1] / "unit" / "test_fast_encoder.py"
)
assert _SPEC is not None
assert _SPEC.loader is not None
unit = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(unit)

AWKWARD = " \n\r\t\x0b\x85\u2028\u2003\u3000'\"_-.:~sStTlLreve9０½Ⅷ१〇aZéÉüÿſßÄ中国ก가ǅʰ́🦙\u200d\ufeff\x00"
TEXT = (
    st.text(max_size=80)
    | st.text(AWKWARD, max_size=80)
    | st.lists(
        st.sampled_from(
            ["return", " self", "'ll", "'S", "\n\n", "    ", "  ", "(x)", "==", "12", " ü", "中文"]
        ),
        max_size=30,
    ).map("".join)
)


@pytest.fixture(scope="module", params=unit.CUT)
def encoder(request, tmp_path_factory) -> FastEncoder:
    return FastEncoder(unit.trained(tmp_path_factory.mktemp("bpe"), request.param))


@settings(max_examples=300, deadline=None)
@given(st.lists(TEXT, max_size=4))
def test_ids_are_equal(encoder: FastEncoder, texts: list[str]):
    for text, ids in zip(texts, encoder.encode_batch(texts), strict=True):
        assert ids.tolist() == encoder.tokenizer.encode(text)
