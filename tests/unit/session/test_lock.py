"""Two daemons never share a data directory."""

from __future__ import annotations

from pathlib import Path

import pytest

from arbora.errors import Conflict, StorageFailed
from arbora.lock import lock_directory


def test_the_second_is_told_and_may_come_when_the_first_has_gone(tmp_path: Path) -> None:
    directory = tmp_path / "hub"
    with lock_directory(directory):
        with pytest.raises(Conflict, match="another process runs"), lock_directory(directory):
            raise AssertionError("both hold it")
    with lock_directory(directory):
        assert directory.stat().st_mode & 0o777 == 0o700


def test_a_directory_that_can_not_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageFailed, match="can't be used"), lock_directory(tmp_path / "file" / "hub"):
        raise AssertionError("it was made")
