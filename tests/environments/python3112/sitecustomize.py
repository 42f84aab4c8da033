"""Makes a later Python lack what Python 3.11.2, which Debian 12 has, lacks: the filters of `tarfile`."""

import tarfile
from typing import Any

_extract_all = tarfile.TarFile.extractall


def _extract_unfiltered(
    tar: tarfile.TarFile, path: Any = ".", members: Any = None, *, numeric_owner: bool = False
) -> None:
    _extract_all(tar, path, members, numeric_owner=numeric_owner)


tarfile.TarFile.extractall = _extract_unfiltered  # type: ignore[method-assign,assignment]
# By these names programs ask whether there are filters.
del tarfile.data_filter, tarfile.tar_filter
