"""The names of videos and images."""

import pytest

from mlcmr.data.ids import IMAGE_ENDINGS, VIDEO_ENDINGS
from mlcmr.search.media_types import TYPES, is_named_as_media


@pytest.mark.parametrize("ending", sorted(IMAGE_ENDINGS | VIDEO_ENDINGS | TYPES.keys()))
def test_every_file_that_is_extracted_is_named_as_media(ending, tmp_path):
    assert is_named_as_media(tmp_path / f"a{ending}")
    assert is_named_as_media(tmp_path / f"a.b{ending.upper()}")


@pytest.mark.parametrize("name", ["passwd", "a.txt", "a.mp4.txt", ".mp4", "mp4"])
def test_other_files_are_not(name, tmp_path):
    assert not is_named_as_media(tmp_path / name)
    (tmp_path / "link.mp4").symlink_to(tmp_path / name)
    assert not is_named_as_media(tmp_path / "link.mp4")
