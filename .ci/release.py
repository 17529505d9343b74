"""Builds a release into dist/ and proves that it is whole: `make release`.

.ci/release.py [TOOL]: TOOL is the pinned twine. Without it, what is built is compared
but not installed. Nothing is tagged and nothing is uploaded.

1. Refuses a tree with changes, and a version that the changelog does not know.
2. Builds from the commit, and once more from the source archive that came out: every
   byte must be the same. Their contents must be what git knows, without the fixtures
   that only tests read.
3. Installs the locked packages and the wheel into a new environment, and runs them.
4. Writes SHA256SUMS.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from hashlib import sha256
from pathlib import Path
from zipfile import ZipFile

ROOT = Path(__file__).resolve().parent.parent
DIST = ROOT / "dist"

FRESH = {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8"}
"""The environment of what is installed: nothing of the developer's."""


def run(*command: str | Path, cwd: Path = ROOT, **environ: str) -> str:
    """Run *command* to its end; its output. Ends the release where it fails."""
    done = subprocess.run(  # noqa: S603 - our own commands
        [str(part) for part in command],
        cwd=cwd,
        env={**os.environ, **environ},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))}:\n{done.stdout}{done.stderr}")
    return done.stdout


def version() -> str:
    """The one place that knows it."""
    text = (ROOT / "bridge" / "__init__.py").read_text(encoding="utf-8")
    (found,) = re.findall(r'^__version__ = "(.+)"$', text, re.MULTILINE)
    return str(found)


def refuse(number: str) -> None:
    """End where this tree is no release of version *number*."""
    changed = run("git", "status", "--porcelain").splitlines()
    if changed:
        raise SystemExit(f"commit first, or remove: {', '.join(changed)}")
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    if not re.search(
        rf"^## \[{re.escape(number)}\] - \d{{4}}-\d\d-\d\d$", text, re.MULTILINE
    ):
        wanted = f"## [{number}] - YEAR-MONTH-DAY"
        raise SystemExit(f"CHANGELOG.md has no section {wanted!r}; write it first")


def unpacked(archive: Path, folder: Path) -> Path:
    """Unpack a tar *archive* into *folder*; the one folder that it holds."""
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    (inner,) = folder.iterdir()
    return inner


def built(source: Path, folder: Path) -> dict[str, Path]:
    """Build both files of *source* into *folder*; by name."""
    when = run("git", "log", "-1", "--format=%ct").strip()
    build = (sys.executable, "-m", "hatchling", "build", "--directory", folder)
    run(*build, cwd=source, SOURCE_DATE_EPOCH=when)
    return {path.name: path for path in sorted(folder.iterdir())}


def for_tests_alone(name: str) -> bool:
    """Whether a file of the packages is a fixture that `send` cannot deliver."""
    *folders, file = name.split("/")
    sample = "__" in file and not file.startswith("read.")
    return "fixtures" in folders and (file.endswith(".facts.json") or not sample)


def compare(number: str, files: dict[str, Path]) -> None:
    """End where an archive holds more or less than it should."""
    known = set(run("git", "ls-files").splitlines())
    product = {name for name in known if name.startswith(("bridge/", "workers/"))}
    info = ("METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE")
    wanted = {
        ".whl": {name for name in product if not for_tests_alone(name)}
        | {f"vitally_bridge-{number}.dist-info/{name}" for name in info},
        ".gz": {f"vitally_bridge-{number}/{name}" for name in {*known, "PKG-INFO"}},
    }
    for name, path in files.items():
        if path.suffix == ".whl":
            with ZipFile(path) as archive:
                held = set(archive.namelist())
        else:
            with tarfile.open(path) as tar:
                held = set(tar.getnames())
        more, less = held - wanted[path.suffix], wanted[path.suffix] - held
        if more or less:
            some = f"too much: {sorted(more)[:5]}; missing: {sorted(less)[:5]}"
            raise SystemExit(f"{name}: {some}")
        print(f"  {name}: {len(held)} files, {path.stat().st_size:,} bytes")  # noqa: T201


def install(number: str, wheel: Path, tool: str, folder: Path) -> None:
    """Install the lock and the *wheel* into new environments in *folder*, and run them."""
    bins = {}
    for name, what in {
        "checks": [tool],
        "bridge": ["--require-hashes", "--no-deps", "-r", "requirements-demo.txt"],
    }.items():
        run(sys.executable, "-m", "venv", folder / name)
        bins[name] = folder / name / "bin"
        run(bins[name] / "python", "-m", "pip", "install", "--quiet", *what)
    run(bins["checks"] / "twine", "check", "--strict", *wheel.parent.iterdir())
    pip = (bins["bridge"] / "python", "-m", "pip")
    run(*pip, "install", "--quiet", "--no-index", "--no-deps", wheel)
    run(*pip, "check")
    empty = folder / "empty"
    empty.mkdir()
    for words, expected in (
        (["--version"], f"vitally-bridge {number}\n"),
        (["send", "stripe", "--help"], "Usage:"),
        (["demo", "--exit"], ""),
    ):
        clean = ("env", "-i", *(f"{name}={text}" for name, text in FRESH.items()))
        said = run(*clean, bins["bridge"] / "vitally-bridge", *words, cwd=empty)
        if expected not in said:
            raise SystemExit(f"vitally-bridge {' '.join(words)} said:\n{said}")
        print(f"  vitally-bridge {' '.join(words)}: well")  # noqa: T201


def main(tool: str = "") -> None:
    """Build, compare, install, and say what comes next."""
    number = version()
    refuse(number)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        commit = folder / "commit.tar"
        run("git", "archive", "--prefix", "tree/", "--output", commit, "HEAD")
        print(f"building {number}, twice ...")  # noqa: T201
        files = built(unpacked(commit, folder / "tree"), folder / "first")
        (source,) = (path for path in files.values() if path.suffix == ".gz")
        tree = unpacked(source, folder / "source")
        (tree / "PKG-INFO").unlink()  # made anew; a second one would be added
        again = built(tree, folder / "second")
        for path in files.values():
            if path.read_bytes() != again[path.name].read_bytes():
                raise SystemExit(f"{path.name}: built again, it is another file")
        compare(number, files)
        if tool:
            print("installing it into a new environment ...")  # noqa: T201
            (wheel,) = (path for path in files.values() if path.suffix == ".whl")
            install(number, wheel, tool, folder)
        shutil.rmtree(DIST, ignore_errors=True)
        shutil.copytree(folder / "first", DIST)
    sums = (f"{sha256((DIST / n).read_bytes()).hexdigest()}  {n}\n" for n in files)
    (DIST / "SHA256SUMS").write_text("".join(sums), encoding="ascii")
    print(  # noqa: T201
        f"dist/ holds version {number}, with SHA256SUMS. Nothing is published; next:",
        f"git tag --sign v{number} --message 'vitally-bridge {number}'",
        f"git push origin v{number}",
        "twine upload dist/*.whl dist/*.tar.gz",
        f"docker build --file deploy/Dockerfile --tag vitally-bridge:{number} .",
        sep="\n  ",
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
