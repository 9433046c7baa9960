"""Raw bytes and arrays are two forms of the same tensor."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway_core.errors import InvalidInput
from slipway_core.tensors import DATATYPES, datatype_of, decode_tensor, encode_tensor, numpy_dtype


@pytest.mark.parametrize("datatype", [d for d in DATATYPES if d != "BYTES"])
def test_every_numeric_datatype_survives_the_wire(datatype: str) -> None:
    array = np.array([[0, 1], [1, 0]]).astype(numpy_dtype(datatype))
    assert datatype_of(array) == datatype
    back = decode_tensor(encode_tensor(array), datatype, (2, 2))
    assert back.dtype == array.dtype
    assert np.array_equal(back, array)


@given(st.lists(st.binary(max_size=40), max_size=20))
def test_every_bytes_tensor_survives_the_wire(elements: list[bytes]) -> None:
    array = np.empty(len(elements), dtype=np.object_)
    array[:] = elements
    assert decode_tensor(encode_tensor(array), "BYTES", (len(elements),)).tolist() == elements


def test_text_is_sent_as_utf8() -> None:
    assert encode_tensor(np.array(["ä"])) == b"\x02\x00\x00\x00\xc3\xa4"


@given(st.binary(max_size=64), st.integers(0, 8))
def test_no_bytes_make_the_decoder_fail_otherwise_than_by_its_own_error(raw: bytes, count: int) -> None:
    with contextlib.suppress(InvalidInput):
        assert decode_tensor(raw, "BYTES", (count,)).shape == (count,)


@pytest.mark.parametrize(
    ("raw", "count", "message"),
    [
        (b"\x01", 1, "a BYTES tensor is cut off inside an element's length"),
        (b"\x05\x00\x00\x00ab", 1, "a BYTES element claims 5 bytes where 2 are left"),
        (b"\x01\x00\x00\x00a", 2, "a BYTES tensor of 2 elements holds 1"),
    ],
)
def test_a_broken_bytes_tensor_is_refused(raw: bytes, count: int, message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        decode_tensor(raw, "BYTES", (count,))
    assert str(caught.value) == message


def test_bytes_that_do_not_fill_the_shape_are_refused() -> None:
    with pytest.raises(InvalidInput, match=r"7 bytes do not fill a FP32 tensor of shape \[2\] \(8 bytes\)"):
        decode_tensor(b"1234567", "FP32", (2,))


def test_a_dtype_without_a_datatype_is_refused() -> None:
    with pytest.raises(InvalidInput, match="complex128 has no Triton datatype"):
        datatype_of(np.zeros(1, dtype=np.complex128))
