import sqlite3
import stat
from contextlib import closing

import pytest

from llmguard.domain.state_file import open_state


def test_a_new_state_file_belongs_to_its_owner_alone(tmp_path):
    path = tmp_path / "state.db"

    with closing(open_state(path, create=True)) as connection:
        connection.execute("CREATE TABLE facts (fact TEXT)")
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}

    assert modes == {"state.db": 0o600, "state.db-wal": 0o600, "state.db-shm": 0o600}


def test_a_state_file_that_others_could_read_is_closed_to_them(tmp_path):
    path = tmp_path / "state.db"
    path.touch(mode=0o644)

    open_state(path, create=True).close()

    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_missing_state_file_is_not_replaced_by_an_empty_one(tmp_path):
    with pytest.raises(sqlite3.OperationalError):
        open_state(tmp_path / "state.db")
    assert not (tmp_path / "state.db").exists()


def test_a_path_with_characters_of_urls_is_taken_literally(tmp_path):
    path = tmp_path / "a ?mode=memory#b%20.db"

    with closing(open_state(path, create=True)) as connection:
        connection.execute("CREATE TABLE facts (fact TEXT)")

    assert path.stat().st_size > 0


def test_a_state_file_that_stays_locked_is_reported_after_the_timeout(tmp_path):
    path = tmp_path / "state.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")  # before WAL, when such a lock keeps everybody out

        with pytest.raises(sqlite3.OperationalError, match="locked"):
            open_state(path, create=True, busy_timeout_seconds=0.05)


def test_a_file_that_is_no_database_is_reported(tmp_path):
    path = tmp_path / "state.db"
    path.write_text("This was never a database, though it has a good name. " * 100)

    with pytest.raises(sqlite3.DatabaseError, match="not a database"):
        open_state(path, create=True)
