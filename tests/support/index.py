"""A package index of one folder: what is locked, empty, and a newer release of each."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from zipfile import ZipFile

from tests.support.pythons import Pin, pins

NEWER = "9999.0"


class Index:
    """Wheels without content that ask for what the real ones ask for.

    Made from the metadata of what is installed here; a package of another platform
    asks for nothing.
    """

    def __init__(self, folder: Path, locks: Iterable[Path]) -> None:
        self.wheels = folder / "wheels"
        self.wheels.mkdir(parents=True)
        self.locks = folder / "locks"
        self.locks.mkdir()
        self._hashes: dict[str, str] = {}
        for lock in locks:
            self._offer(pins(lock))
            self._lock(lock)

    @property
    def environ(self) -> dict[str, str]:
        """What makes pip ask nobody else."""
        return {
            "PIP_CONFIG_FILE": "/dev/null",
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(self.wheels),
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        }

    def lock(self, name: str) -> Path:
        """The lock file *name*, with the hashes of the wheels here."""
        return self.locks / name

    def _offer(self, wanted: Sequence[Pin]) -> None:
        for pin in wanted:
            if pin.name not in self._hashes:
                wheel(self.wheels, pin.name, NEWER)
                made = wheel(self.wheels, pin.name, pin.version)
                self._hashes[pin.name] = hashlib.sha256(made.read_bytes()).hexdigest()

    def _lock(self, lock: Path) -> None:
        lines = [_line(pin, self._hashes[pin.name]) for pin in pins(lock)]
        self.lock(lock.name).write_text("".join(lines), encoding="utf-8")


def _line(pin: Pin, sha256: str) -> str:
    extras = f"[{','.join(sorted(pin.extras))}]" if pin.extras else ""
    marker = f" ; {pin.marker}" if pin.marker else ""
    return f"{pin.name}{extras}=={pin.version}{marker} --hash=sha256:{sha256}\n"


def wheel(folder: Path, name: str, version: str) -> Path:
    """Write an empty wheel of *name* that asks for what the installed one asks for."""
    try:
        real = distribution(name)
        asked = real.requires or []
        extras = real.metadata.get_all("Provides-Extra") or []
    except PackageNotFoundError:
        asked, extras = [], []
    spelt = name.replace("-", "_")
    info = f"{spelt}-{version}.dist-info"
    head = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    head += [f"Provides-Extra: {extra}" for extra in extras]
    head += [f"Requires-Dist: {one}" for one in asked]
    tag = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    files = {"METADATA": "\n".join(head) + "\n", "WHEEL": tag, "RECORD": ""}
    path = folder / f"{spelt}-{version}-py3-none-any.whl"
    with ZipFile(path, "w") as archive:
        for file, text in files.items():
            archive.writestr(f"{info}/{file}", text)
    return path
