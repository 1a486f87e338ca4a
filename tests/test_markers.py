"""The markers that follow from fixtures; see tests/conftest.py."""


def test_a_test_of_reference_data_is_marked(request, reference_data):
    assert {marker.name for marker in request.node.iter_markers()} == {"reference_data"}


def test_a_test_of_a_program_is_marked(request, ffmpeg):
    assert {marker.name for marker in request.node.iter_markers()} == {"programs"}


def test_other_tests_are_not_marked(request, tmp_path):
    assert not list(request.node.iter_markers())
