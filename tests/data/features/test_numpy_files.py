"""NumPy files from strangers: what a header promises is there, or one line says that it is not."""

import io
import struct
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mlcmr.data.features.numpy_files import map_array, open_archive
from mlcmr.errors import CorruptFileError


def header(text: str, version: tuple[int, int] = (1, 0), length: int | None = None) -> bytes:
    width = "<H" if version == (1, 0) else "<I"
    return (
        b"\x93NUMPY"
        + bytes(version)
        + struct.pack(width, len(text) if length is None else length)
        + text.encode()
    )


def described(descr: str, shape: str, values: int, by_column: str = "False") -> bytes:
    return (
        header(f"{{'descr': {descr}, 'fortran_order': {by_column}, 'shape': {shape}, }}\n") + b"\0" * values
    )


def pickled() -> bytes:
    file = io.BytesIO()
    np.save(file, np.array([{}], dtype=object), allow_pickle=True)
    return file.getvalue()


WRONG = {
    "empty": b"",
    "not an array": b"PK nothing",
    "cut magic": b"\x93NUM",
    "huge shape": described("'<f4'", "(1000000000000, 4)", 16),
    "overflow": described("'<f4'", "(4294967296, 4294967296)", 16),
    "astronomic": described("'<f4'", f"({'9' * 5000},)", 16),
    "negative": described("'<f4'", "(-1, -4)", 16),
    "not whole": described("'<f4'", "(1.5,)", 16),
    "of booleans": described("'<f4'", "(True, 'x')", 16),
    "too many dimensions": described("'<f4'", f"({'1, ' * 200})", 4),
    "too few values": described("'<f4'", "(5,)", 16),
    "too many values": described("'<f4'", "(3,)", 16),
    "objects": described("'|O'", "(2,)", 16),
    "objects in a structure": described("[('a', '|O')]", "(2,)", 16),
    "pickled": pickled(),
    "no type": described("'nothing'", "(4,)", 16),
    "huge type": described("'<U1000000000'", "(1,)", 16),
    "recursive type": described("[" * 90 + "]" * 90, "(4,)", 16),
    "deep": header("(" * 9000),
    "deep list": header("[" * 9000),
    "deep minus": header("-" * 9000 + "1"),
    "code": header("__import__('os').system('exit')"),
    "long header": header(" " * 65535),
    "header of 1 GB": header("{}", (2, 0), 1 << 30),
    "header of 4 GB": header("{}", (2, 0), (1 << 32) - 1),
    "cut header": header("{'descr'", (1, 0), 500),
    "other version": header("{'descr': '<f4', 'fortran_order': False, 'shape': (0,), }", (3, 0)),
    "unknown version": header("{'descr': '<f4', 'fortran_order': False, 'shape': (0,), }", (9, 9)),
    "null": header("\0" * 100),
}


@pytest.mark.parametrize("content", WRONG.values(), ids=WRONG)
@pytest.mark.filterwarnings("error")
def test_a_header_is_checked_before_memory_is_taken(content, tmp_path):
    (tmp_path / "x.npy").write_bytes(content)
    with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", content)
    with pytest.raises(
        CorruptFileError, match=r"^[^\n]*x\.npy: cannot be read as NumPy arrays: [^\n]*; save it"
    ) as refused:
        map_array(tmp_path / "x.npy", "save it again")
    assert len(str(refused.value)) < 500
    with (
        pytest.raises(
            CorruptFileError, match=r"^[^\n]*x\.npz: cannot be read as NumPy arrays: [^\n]*; save it"
        ),
        open_archive(tmp_path / "x.npz", "save it again") as opened,
    ):
        opened.read("x")


@given(
    arrays.arrays(
        st.sampled_from(["<f4", ">f8", "<i2", "|b1", "<U3", "|S2", "<f2"]), arrays.array_shapes(min_side=0)
    ),
    st.booleans(),
    st.booleans(),
)
def test_what_numpy_writes_is_read(tmp_path_factory, array, by_column, compressed):
    folder = tmp_path_factory.mktemp("arrays")
    array = np.asfortranarray(array) if by_column else array
    np.save(folder / "x.npy", array)
    (np.savez_compressed if compressed else np.savez)(folder / "x.npz", first=array, second=array[:1])
    np.testing.assert_array_equal(map_array(folder / "x.npy"), array)
    with open_archive(folder / "x.npz") as archive:
        assert archive.names == ["first", "second"]
        np.testing.assert_array_equal(archive.read("first"), array)
        np.testing.assert_array_equal(archive.read("second"), array[:1])


def archived(compression: int = zipfile.ZIP_DEFLATED) -> bytearray:
    file, array = io.BytesIO(), io.BytesIO()
    np.save(array, np.zeros(100, np.float32))
    with zipfile.ZipFile(file, "w", compression) as archive:
        archive.writestr("x.npy", array.getvalue())
    return bytearray(file.getvalue())


def test_an_archive_that_numpy_does_not_write_is_refused(tmp_path):
    encrypted = archived()
    encrypted[6] |= 1
    encrypted[encrypted.index(b"PK\x01\x02") + 8] |= 1
    lying = archived()
    at = lying.index(b"PK\x01\x02")
    lying[at + 24 : at + 28] = struct.pack("<I", 0xFFFFFFF0)
    wrong = {
        "encrypted": (bytes(encrypted), "'x' is encrypted"),
        "lzma": (bytes(archived(zipfile.ZIP_LZMA)), "compressed in a way"),
        "bz2": (bytes(archived(zipfile.ZIP_BZIP2)), "compressed in a way"),
        "lying": (bytes(lying), "would become 4,294,967,280"),
        "cut": (bytes(archived()[:-30]), "not a zip file"),
    }
    for name, (content, says) in wrong.items():
        (tmp_path / f"{name}.npz").write_bytes(content)
        with (
            pytest.raises(CorruptFileError, match=rf"{name}\.npz: cannot be read as NumPy arrays: .*{says}"),
            open_archive(tmp_path / f"{name}.npz") as archive,
        ):
            archive.read("x")


def test_an_archive_that_grows_a_thousandfold_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        content = b"\0" * (100 << 20)
        for number in range(3):
            archive.writestr(f"{number}.npy", content)
    assert (tmp_path / "bomb.npz").stat().st_size < 1_000_000
    with (
        pytest.raises(CorruptFileError, match="would become 314,572,800"),
        open_archive(tmp_path / "bomb.npz"),
    ):
        pass


def test_members_that_share_their_bytes_are_refused(tmp_path):
    content = archived()
    start, end = content.index(b"PK\x01\x02"), content.index(b"PK\x05\x06")
    entry = content[start:end]
    many = b"".join(bytes(entry.replace(b"x.npy", b"%c.npy" % (97 + number))) for number in range(20))
    tail = content[end:]
    tail[8:12] = struct.pack("<HH", 20, 20)
    tail[12:16] = struct.pack("<I", len(many))
    (tmp_path / "x.npz").write_bytes(bytes(content[:start]) + many + bytes(tail))
    with (
        pytest.raises(CorruptFileError, match=r"overlap|differ"),
        open_archive(tmp_path / "x.npz") as archive,
    ):
        archive.read("b")


def test_a_name_that_is_not_there(tmp_path):
    (tmp_path / "x.npz").write_bytes(bytes(archived()))
    with (
        pytest.raises(CorruptFileError, match=r"x\.npz: .*nothing"),
        open_archive(tmp_path / "x.npz") as archive,
    ):
        archive.read("nothing")
