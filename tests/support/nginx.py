"""A real nginx: named by NGINX_BIN, installed, or unpacked from the distribution's package."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from gatewayz_demo import fetch
from gatewayz_demo.errors import FetchFailed
from gatewayz_demo.work import Work

from tests.support.waiting import wait_until


def find_nginx() -> str:
    """The path of the binary; the test is skipped where there is none."""
    known = os.environ.get("NGINX_BIN") or shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if known:
        return known
    tree = fetch.create_cache_folder() / "tests/nginx"
    tree.parent.mkdir(exist_ok=True)
    with fetch.lock(tree.with_suffix(".lock")):
        try:
            if not tree.exists():
                fetch.create_folder(tree, lambda into: fetch.Packages(os.environ).unpack(("nginx",), into), Work())
        except FetchFailed as exc:
            pytest.skip(f"needs nginx: {exc}")
    return str(tree / "usr/sbin/nginx")


@contextmanager
def running(configuration: str, folder: Path, port: int) -> Iterator[str]:
    """The URL of an nginx with some text inside its `http` block."""
    file = folder / "nginx.conf"
    places = "".join(
        f"{name}_temp_path {folder}/{name}; " for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    file.write_text(
        f"daemon off; pid {folder}/pid; worker_processes 1; error_log {folder}/error.log; events {{}}\n"
        f"http {{ access_log off; {places}\n{configuration}\n}}\n"
    )
    command = [find_nginx(), "-p", str(folder), "-c", str(file), "-e", f"{folder}/error.log"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            wait_until(lambda: process.poll() is not None or (folder / "pid").is_file())
            assert process.poll() is None, process.stderr and process.stderr.read()
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
