import inspect

import pytest

from mllm_iqa import errors
from mllm_iqa.errors import IqaError

KINDS = [e for _, e in inspect.getmembers(errors, inspect.isclass) if e.__module__ == errors.__name__]


@pytest.mark.parametrize("kind", KINDS, ids=lambda e: e.__name__)
def test_every_error_is_caught_as_iqa_error_and_prints_its_message(kind: type[Exception]) -> None:
    with pytest.raises(IqaError) as caught:
        raise kind("photo.jpg: not an image")
    assert str(caught.value) == "photo.jpg: not an image"


def test_an_iqa_error_hides_no_bug() -> None:
    # The command line prints these without a traceback: a ValueError or KeyError must never be among them.
    assert all(e.__mro__[-3:] == (Exception, BaseException, object) for e in KINDS)
    assert [e for e in KINDS if issubclass(e, ValueError | LookupError | TypeError | OSError | ImportError)] == []
