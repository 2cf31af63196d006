"""A pickle that would run something is refused before it runs; plain containers load, old ones too."""

import os
import pickle

import pytest

from askmask.errors import DataError
from askmask.formats.plain_pickle import read_plain_pickle


class Attack:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_call_is_refused_and_never_made(tmp_path, protocol):
    trace = tmp_path / "trace"
    (tmp_path / "bad.p").write_bytes(pickle.dumps([{"ref_id": 1}, Attack(trace)], protocol))
    with pytest.raises(DataError, match=r"bad\.p: not a pickle of plain containers.*system"):
        read_plain_pickle(tmp_path / "bad.p")
    assert not trace.exists()
    pickle.loads((tmp_path / "bad.p").read_bytes())
    assert trace.exists(), "the attack must work where it is not refused"


HAND_WRITTEN = {
    "global opcode": b"cos\nsystem\n(S'true'\ntR.",
    "stack global": b"\x80\x04\x8c\x02os\x8c\x06system\x93.",
    "inst": b"(S'true'\nios\nsystem\n.",
    "builtins eval": b"cbuiltins\neval\n(S'1'\ntR.",
    "extension": b"\x80\x02\x82\x01.",
    "persistent id": b"\x80\x02U\x01aQ.",
}


@pytest.mark.parametrize("case", HAND_WRITTEN)
def test_every_way_to_name_a_function_is_closed(tmp_path, case):
    (tmp_path / "bad.p").write_bytes(HAND_WRITTEN[case])
    with pytest.raises(DataError):
        read_plain_pickle(tmp_path / "bad.p")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_containers_load(tmp_path, protocol):
    value = [{"a": [1, 2.5, None, True], "t": ("x", "ü"), "s": "text", "n": -1}]
    (tmp_path / "good.p").write_bytes(pickle.dumps(value, protocol))
    assert read_plain_pickle(tmp_path / "good.p") == value


def test_python_two_text_is_latin_1(tmp_path):
    (tmp_path / "old.p").write_bytes(b"\x80\x02]q\x00U\x05caf\xe9sq\x01a.")
    assert read_plain_pickle(tmp_path / "old.p") == ["cafés"]


@pytest.mark.parametrize("data", [b"", b"junk", pickle.dumps([1, 2, 3])[:-4], b"\x80\x04X\xff\xff\xff\x7f"])
def test_damage_is_told(tmp_path, data):
    (tmp_path / "cut.p").write_bytes(data)
    with pytest.raises(DataError, match=r"cut\.p"):
        read_plain_pickle(tmp_path / "cut.p")
