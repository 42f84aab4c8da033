"""What is under way when a demo ends: no child and no folder is left, whoever was in the middle of it."""

import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from gatewayz_demo.errors import Abandoned
from gatewayz_demo.work import Work

from tests.support.waiting import wait_until

# Tells its id, and leaves a grandchild as promtool or apt may.
SLOW = ["/bin/sh", "-c", "echo $$ >pid; sleep 600 & wait"]


def exists(pid: Path) -> bool:
    return Path("/proc", pid.read_text().strip()).exists()


def test_a_command_gives_its_output_and_code(tmp_path: Path) -> None:
    done = Work().run(["/bin/sh", "-c", "pwd; echo $X >&2; exit 3"], env={"X": "y"}, cwd=tmp_path)

    assert (done.returncode, done.stdout, done.stderr) == (3, f"{tmp_path}\n", "y\n")


def test_a_command_that_does_not_exist_is_an_os_error() -> None:
    with pytest.raises(FileNotFoundError):
        Work().run(["/nowhere/at/all"])


def test_a_command_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        Work().run(SLOW, cwd=tmp_path, timeout=0.5)
    wait_until(lambda: not exists(tmp_path / "pid"))


def test_abandoned_work_leaves_no_child_and_no_folder(tmp_path: Path) -> None:
    work = Work()

    def begin() -> None:
        with work.scratch(tmp_path) as scratch:
            (scratch / "half.om").write_text("# TYPE x gauge\n")
            work.run(SLOW, cwd=tmp_path)

    with ThreadPoolExecutor() as pool:
        begun = pool.submit(begin)
        wait_until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().endswith("\n"))
        work.abandon()

        assert [path.name for path in tmp_path.iterdir()] == ["pid"]
        assert isinstance(begun.exception(60), Abandoned)
        assert not exists(tmp_path / "pid")


@pytest.mark.parametrize(
    "begin",
    [
        lambda work, folder: work.run(["touch", str(folder / "x")]),
        lambda work, folder: work.scratch(folder).__enter__(),
    ],
    ids=["command", "folder"],
)
def test_nothing_begins_afterwards(tmp_path: Path, begin: Callable[[Work, Path], object]) -> None:
    with Work() as work:
        pass

    with pytest.raises(Abandoned):
        begin(work, tmp_path)
    assert list(tmp_path.iterdir()) == []


PARENT = f"from gatewayz_demo.work import Work; Work().run({SLOW})"


def test_no_child_outlives_a_parent_that_is_killed(tmp_path: Path) -> None:
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", PARENT], cwd=tmp_path, env=env) as parent:
        pid = tmp_path / "pid"
        wait_until(lambda: pid.exists() and pid.read_text().endswith("\n"))
        parent.kill()

    wait_until(lambda: not exists(pid))
