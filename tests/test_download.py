"""The download stage, against package indexes, servers and mirrors made on the spot."""

import base64
import gzip
import hashlib
import io
import os
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from stages import download
from stages.core.base import params
from stages.core.base.errors import InputError

REPOSITORY = Path(__file__).parent.parent
WHEEL = "birds-1.0-py3-none-any.whl"
SDIST = "birds-1.0.tar.gz"
CLOSED = "http://127.0.0.1:9"  # the discard port, where nothing answers


class Site:
    """A web server over ``folder``.

    ``requests`` counts the paths asked for, ``credentials`` collects what they were asked with, and ``failures`` holds
    for a path the names of the methods below that answer its first requests.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.requests: Counter[str] = Counter()
        self.credentials: set[str | None] = set()
        self.failures: dict[str, list[str]] = {}
        site = self

        class Handler(SimpleHTTPRequestHandler):
            def __init__(self, *arguments: Any) -> None:
                super().__init__(*arguments, directory=str(folder))

            def do_GET(self) -> None:
                site.requests[self.path] += 1
                site.credentials.add(self.headers["Authorization"])
                waiting = site.failures.get(self.path)
                if waiting:
                    getattr(self, waiting.pop(0))()
                else:
                    super().do_GET()

            def overloaded(self) -> None:
                self.send_error(503)

            def broken_off(self) -> None:
                self.send_response(200)
                self.send_header("Content-Length", "1000")
                self.end_headers()
                self.wfile.write(b"half")

            def broken_off_late(self) -> None:
                self.send_response(200)
                self.send_header("Content-Length", str(1 << 18))
                self.end_headers()
                self.wfile.write(bytes(1 << 17))

            def endless(self) -> None:
                self.send_response(200)
                self.end_headers()
                try:
                    while True:
                        self.wfile.write(bytes(1 << 16))
                except OSError:
                    pass

            def moved(self) -> None:
                self.send_response(302)
                self.send_header("Location", "/elsewhere" + self.path)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def put(self, path: str, content: bytes) -> None:
        """Serve ``content`` at ``path``."""
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)

    def publish(self, file: str, content: bytes, attributes: str = "") -> None:
        """Offer ``content`` as a file of the package birds in the index at ``<url>/simple/``."""
        self.put(f"files/{file}", content)
        self.put("simple/birds/index.html", f'<a href="../../files/{file}" {attributes}>{file}</a>'.encode())


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    (tmp_path / "site").mkdir()
    site = Site(tmp_path / "site")
    yield site
    site.server.shutdown()
    site.server.server_close()


@pytest.fixture(autouse=True)
def project(tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project as the working folder, pip set up with the site's index, and no waiting between attempts."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.delenv("DATA_MIRROR", raising=False)
    monkeypatch.setattr(download, "WAITS", (0.0, 0.0))
    set_pip(monkeypatch, f"{site.url}/simple/")
    return folder


def set_pip(monkeypatch: pytest.MonkeyPatch, *indexes: str) -> None:
    """Stand in for ``pip config list``, which the tests of the entry point ask in earnest."""
    settings = download.parse_pip_settings(
        f"global.index-url={indexes[0]!r}\nglobal.extra-index-url={' '.join(indexes[1:])!r}"
    )
    monkeypatch.setattr(download, "pip_settings", lambda: settings)


def write_params(**sources: dict[str, Any]) -> None:
    values = {"datasets": {"animals": {"sources": sources, "prepare": {}}}, "generated": {}, "experiments": {}}
    Path("params.yaml").write_text(yaml.safe_dump(values))


def fetch(monkeypatch: pytest.MonkeyPatch, **sources: dict[str, Any]) -> dict[str, bytes]:
    """Download the dataset animals with these sources; gives path and content of each file in its folder."""
    write_params(**sources)
    params.load.cache_clear()
    monkeypatch.setattr(sys, "argv", ["download", "animals"])
    download.main()
    return files(Path("data/raw/animals"))


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def wheel(*members: tuple[str | zipfile.ZipInfo, str]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members:
            archive.writestr(name, text)
    return content.getvalue()


def sdist(*members: tuple[str, str | bytes]) -> bytes:
    """A tar.gz; the content is text, or the type of a member that is no plain file and points to /etc/passwd."""
    content = io.BytesIO()
    # No time in gzip's header: it would stand in a test's name, which all of pytest-xdist's workers must share.
    with (
        gzip.GzipFile(fileobj=content, mode="wb", mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as archive,
    ):
        for name, text in members:
            info = tarfile.TarInfo(name)
            if isinstance(text, bytes):
                info.type, info.linkname = text, "/etc/passwd"
                archive.addfile(info)
            else:
                info.size = len(text.encode())
                archive.addfile(info, io.BytesIO(text.encode()))
    return content.getvalue()


def package(file: str, content: bytes, **changes: Any) -> dict[str, Any]:
    """The settings of a package's file with this content."""
    declared = {
        "package": "birds",
        "version": "1.0",
        "file": file,
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
        "members": ["birds/*"],
        "largest": 100,
    }
    return declared | changes


def url(address: str, content: bytes, **changes: Any) -> dict[str, Any]:
    """The settings of a file at a URL with this content."""
    return {"url": address, "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)} | changes


BIRDS = wheel(("birds/data/songs.txt", "tweet"), ("birds/data/code.py", "raise SystemExit"), ("birds-1.0/RECORD", "-"))


def run_entry(dataset: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the entry point as a person does, with pip told about packages by the environment alone."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    pip = {
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_EXTRA_INDEX_URL": "",
        "PIP_FIND_LINKS": "",
        "PYTHONPATH": str(REPOSITORY),
    }
    return subprocess.run(
        [sys.executable, "-m", "stages.download", dataset],
        env={**inherited, **pip, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_entry_point_unpacks_only_the_wanted_members_from_the_index_of_pip(site: Site, project: Path) -> None:
    site.publish(WHEEL, BIRDS)
    write_params(woods=package(WHEEL, BIRDS, members=["birds/*.txt"]))
    missing = (project / "missing").as_uri()
    done = run_entry("animals", PIP_INDEX_URL=f"{site.url}/simple", PIP_EXTRA_INDEX_URL=f"{missing}/a {missing}/b")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        f"animals/woods: fetching {WHEEL}, 0.0 MB",
        "animals/woods: 0.0 MB in 1 file(s)",
    ]
    assert files(project / "data") == {"raw/animals/woods/birds/data/songs.txt": b"tweet"}


def test_entry_point_finds_a_package_in_a_later_index_when_the_first_lacks_it(site: Site, project: Path) -> None:
    site.publish(WHEEL, BIRDS)
    write_params(woods=package(WHEEL, BIRDS))
    local = (project.parent / "site" / "simple").as_uri()
    done = run_entry("animals", PIP_INDEX_URL=f"{site.url}/empty/", PIP_EXTRA_INDEX_URL=local)
    assert (done.returncode, done.stderr) == (0, "")
    assert site.requests == {"/empty/birds/": 1}


def test_entry_point_ends_a_refusal_with_one_sentence_and_leaves_nothing(site: Site, project: Path) -> None:
    site.publish(WHEEL, BIRDS)
    write_params(good=package(WHEEL, BIRDS), woods=package(WHEEL, BIRDS, sha256="0" * 64))
    done = run_entry("animals", PIP_INDEX_URL=f"{site.url}/simple/")
    assert done.returncode == 2
    assert done.stderr == (
        f"error: datasets.animals.sources.woods: {site.url}/files/{WHEEL} has SHA-256 "
        f"{hashlib.sha256(BIRDS).hexdigest()}, but {'0' * 64} is declared\n"
    )
    assert list((project / "data/raw").iterdir()) == []


def test_entry_point_names_the_datasets_there_are(project: Path) -> None:
    write_params(woods=package(WHEEL, BIRDS))
    done = run_entry("animal")
    assert done.returncode == 2
    assert done.stderr == "error: animal is no dataset in params.yaml; did you mean animals? (allowed: animals)\n"


def test_the_stage_does_without_torch() -> None:
    code = "import sys, stages.download; sys.exit('torch' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0


def test_source_distribution_is_unpacked_below_its_leading_folder_and_never_run(
    site: Site, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = project / "ran"
    content = sdist(("birds-1.0/setup.py", f"open({str(ran)!r}, 'w')"), ("birds-1.0/birds/songs.txt", "tweet"))
    site.publish(SDIST, content)
    assert fetch(monkeypatch, woods=package(SDIST, content)) == {"woods/birds/songs.txt": b"tweet"}
    assert not ran.exists()


def test_yanked_files_and_those_of_other_pythons_are_taken(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.publish("birds-1.0-cp27-cp27m-win32.whl", BIRDS, 'data-yanked="bad" data-requires-python="&gt;=99"')
    assert fetch(monkeypatch, woods=package("birds-1.0-cp27-cp27m-win32.whl", BIRDS))


def test_the_old_folder_stays_when_a_download_fails(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.publish(WHEEL, BIRDS)
    before = fetch(monkeypatch, woods=package(WHEEL, BIRDS))
    with pytest.raises(InputError):
        fetch(monkeypatch, other=package(WHEEL, BIRDS), woods=package(WHEEL, BIRDS, members=["cats/*"]))
    assert files(Path("data/raw")) == {f"animals/{path}": content for path, content in before.items()}


def test_a_second_download_replaces_the_first(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.publish(WHEEL, BIRDS)
    fetch(monkeypatch, woods=package(WHEEL, BIRDS))
    assert fetch(monkeypatch, fields=package(WHEEL, BIRDS, members=["*.txt"])) == {
        "fields/birds/data/songs.txt": b"tweet"
    }


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"bytes": len(BIRDS) - 1}, f"{WHEEL} is larger than the declared {len(BIRDS) - 1} bytes"),
        ({"members": ["birds/*", "cats/*"]}, f"{WHEEL} has no member that matches 'cats/*'"),
        ({"largest": 15}, f"{WHEEL}: 'birds/data/code.py' is larger than the declared 15 bytes"),
        (
            {"file": "birds-1.0.tar.gz"},
            "birds-1.0.tar.gz of birds 1.0 is at no place that pip is set up with; asked: {}/simple/",
        ),
        ({"version": "1.1"}, f"{WHEEL} of birds 1.1 is at no place that pip is set up with; asked: {{}}/simple/"),
        (
            {"package": "cats"},
            f"{WHEEL} of cats 1.0 is at no place that pip is set up with; asked: {{}}/simple/ (Failed ",
        ),
        ({"file": "birds-1.0.rpm"}, "birds-1.0.rpm has no ending of an archive that is known here"),
        ({"file": "../birds-1.0.whl"}, "params.yaml: datasets.animals.sources.woods.file is '../birds-1.0.whl', but: "),
        ({"sha256": "abc"}, "params.yaml: datasets.animals.sources.woods.sha256 is 'abc', but: "),
        ({"bytes": "7"}, "params.yaml: datasets.animals.sources.woods.bytes is '7', but: "),
        ({"member": []}, "params.yaml: datasets.animals.sources.woods.member is an unknown key; did you mean members?"),
        ({"url": "http://a/b"}, "params.yaml: datasets.animals.sources.woods."),
    ],
)
def test_a_package_that_is_not_as_declared_is_refused(
    changes: dict[str, Any], sentence: str, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.publish(WHEEL, BIRDS)
    with pytest.raises(InputError) as refusal:
        fetch(monkeypatch, woods=package(WHEEL, BIRDS) | changes)
    assert sentence.format(site.url) in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert files(Path("data")) == {}


def test_a_source_of_neither_kind_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"sources\.woods has none of the keys package, url and folder"):
        fetch(monkeypatch, woods={"pakage": "birds"})


def test_a_source_named_like_a_path_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"sources has the key '\.\./woods', which is no name for a folder"):
        fetch(monkeypatch, **{"../woods": package(WHEEL, BIRDS)})


def linked(name: str) -> zipfile.ZipInfo:
    """A zip entry that is a symbolic link."""
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, 0o120777 << 16
    return info


LEAVES = "is absolute, empty or leaves its folder"
LINK = "is a link or a device"


@pytest.mark.parametrize(
    ("file", "content", "sentence"),
    [
        (WHEEL, wheel(("birds/../../out.txt", "x")), LEAVES),
        (WHEEL, wheel(("/birds/out.txt", "x")), LEAVES),
        (WHEEL, wheel(("birds\\..\\..\\out.txt", "x")), LEAVES),
        (WHEEL, wheel(("birds\\out.txt", "x")), LEAVES),
        (WHEEL, wheel(("C:birds/out.txt", "x")), LEAVES),
        (WHEEL, wheel(("birds/fine.txt", "x"), (linked("birds/out.txt"), "/etc/passwd")), LINK),
        (WHEEL, wheel(("birds/a", "x"), ("birds/./a", "y")), "has the place of another member"),
        (WHEEL, wheel(("birds/a", "x"), ("birds/a/b", "y")), "has the place of another member"),
        (SDIST, sdist(("birds-1.0/birds/../../../out.txt", "x")), LEAVES),
        (SDIST, sdist(("../birds/out.txt", "x")), LEAVES),
        (SDIST, sdist(("/birds/out.txt", "x")), LEAVES),
        (SDIST, sdist(("birds-1.0//birds/out.txt", "x")), LEAVES),
        (SDIST, sdist(("birds-1.0/birds/out.txt", tarfile.SYMTYPE)), LINK),
        (SDIST, sdist(("birds-1.0/birds/out.txt", tarfile.LNKTYPE)), LINK),
        (SDIST, sdist(("birds-1.0/birds/out.txt", tarfile.CHRTYPE)), LINK),
        (SDIST, sdist(("birds-1.0/birds/out.txt", tarfile.FIFOTYPE)), LINK),
        (
            SDIST,
            sdist(("birds-1.0/birds/long.txt", "x" * 101)),
            "'birds-1.0/birds/long.txt' is larger than the declared 100 ",
        ),
        (SDIST, sdist(("birds-1.0/birds/a", "x"))[:-20], f"{SDIST} is a corrupt archive"),
        (SDIST, b"\x1f\x8b no gzip", f"{SDIST} is a corrupt archive"),
        (WHEEL, b"no zip", f"{WHEEL} is a corrupt archive"),
        (
            WHEEL,
            wheel((zipfile.ZipInfo("birds/a"), "tweet")).replace(b"tweet", b"chirp"),
            f"{WHEEL} is a corrupt archive",
        ),
    ],
)
def test_a_harmful_archive_is_refused(
    file: str, content: bytes, sentence: str, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.publish(file, content)
    with pytest.raises(InputError) as refusal:
        fetch(monkeypatch, woods=package(file, content, members=["*birds*"]))
    assert sentence in str(refusal.value)
    assert list(Path("data/raw").iterdir()) == []
    assert not list(tmp_path.rglob("out.txt"))


@pytest.mark.parametrize("path", ["", ".", "./"])
def test_the_folder_itself_is_no_path_inside_it(path: str) -> None:
    with pytest.raises(InputError, match=LEAVES):
        download.inside(path)


def test_a_member_whose_header_lies_about_its_size_is_refused(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    size, lie = (1_000_000).to_bytes(4, "little"), (50).to_bytes(4, "little")
    bomb = wheel(("birds/bomb", "x" * 1_000_000))
    assert bomb.count(size) == 2
    site.publish(WHEEL, bomb.replace(size, lie))
    with pytest.raises(InputError, match="corrupt archive"):
        fetch(monkeypatch, woods=package(WHEEL, bomb.replace(size, lie)))


def test_harmful_members_that_nobody_wants_do_no_harm(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    content = wheel(("birds/a", "x"), ("../cats", "y"), (linked("cats"), "/etc/passwd"), ("big", "z" * 1000))
    site.publish(WHEEL, content)
    assert fetch(monkeypatch, woods=package(WHEEL, content)) == {"woods/birds/a": b"x"}


def test_an_endless_download_is_cut_off(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.failures["/songs.txt"] = ["endless"]
    with pytest.raises(InputError, match=r"songs\.txt is larger than the declared 5 bytes"):
        fetch(monkeypatch, woods=url(f"{site.url}/songs.txt", b"tweet"))


def test_passing_failures_are_tried_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.publish(WHEEL, BIRDS)
    site.failures = {"/simple/birds/": ["overloaded"], f"/files/{WHEEL}": ["broken_off", "overloaded"]}
    assert fetch(monkeypatch, woods=package(WHEEL, BIRDS))
    assert site.requests == {"/simple/birds/": 2, f"/files/{WHEEL}": 3}


def test_a_further_attempt_starts_from_nothing(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.put("songs.txt", b"x")
    site.failures["/songs.txt"] = ["broken_off_late"]
    assert fetch(monkeypatch, woods=url(f"{site.url}/songs.txt", b"x", bytes=1 << 18)) == {"woods/songs.txt": b"x"}


def test_lasting_failures_end_in_one_sentence(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.publish(WHEEL, BIRDS)
    site.failures = {f"/files/{WHEEL}": ["overloaded"] * 9}
    with pytest.raises(InputError, match=rf"{WHEEL} cannot be fetched: Server error '503 .*'$"):
        fetch(monkeypatch, woods=package(WHEEL, BIRDS))
    assert site.requests[f"/files/{WHEEL}"] == 3


def test_an_index_that_does_not_answer_hides_no_other(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.publish(WHEEL, BIRDS)
    set_pip(monkeypatch, f"{CLOSED}/simple/", "nowhere/at/all", f"{site.url}/simple/")
    assert fetch(monkeypatch, woods=package(WHEEL, BIRDS))


def test_an_index_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    set_pip(monkeypatch, f"{CLOSED}/simple/")
    with pytest.raises(InputError, match=rf"asked: {CLOSED}/simple/ \({CLOSED}/simple/: .*refused"):
        fetch(monkeypatch, woods=package(WHEEL, BIRDS))


def test_a_password_in_an_index_serves_its_files_too_and_is_not_shown(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.put(f"files/{WHEEL}", BIRDS)
    site.put("simple/birds/index.html", f'<a href="{site.url}/files/{WHEEL}">{WHEEL}</a>'.encode())
    set_pip(monkeypatch, f"{site.url.replace('://', '://ann:secret@')}/simple/")
    assert fetch(monkeypatch, woods=package(WHEEL, BIRDS))
    assert site.credentials == {f"Basic {base64.b64encode(b'ann:secret').decode()}"}
    for changes in ({"package": "cats"}, {"bytes": 1}):
        with pytest.raises(InputError) as refusal:
            fetch(monkeypatch, woods=package(WHEEL, BIRDS) | changes)
        assert "secret" not in str(refusal.value)


def test_a_url_is_saved_under_its_file_name(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.put("sub/bird songs.txt", b"tweet")
    address = f"{site.url}/sub/bird%20songs.txt?version=1"
    assert fetch(monkeypatch, woods=url(address, b"tweet")) == {"woods/bird songs.txt": b"tweet"}
    assert fetch(monkeypatch, woods=url(address, b"tweet", file="a.txt")) == {"woods/a.txt": b"tweet"}


def test_a_url_that_has_moved_is_followed(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.put("elsewhere/songs.txt", b"tweet")
    site.failures["/songs.txt"] = ["moved"]
    assert fetch(monkeypatch, woods=url(f"{site.url}/songs.txt", b"tweet")) == {"woods/songs.txt": b"tweet"}


@pytest.mark.parametrize(("file", "leading"), [("birds.zip", ""), ("birds.tar.gz", "birds-1.0/")])
def test_an_archive_at_a_url_keeps_its_paths(
    file: str, leading: str, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    make: Callable[..., bytes] = wheel if file.endswith("zip") else sdist
    content = make((f"{leading}birds/a", "x"), ("cats", "y"))
    site.put(file, content)
    source = url(f"{site.url}/{file}", content, members=["*birds/*"], largest=1)
    assert fetch(monkeypatch, woods=source) == {f"woods/{leading}birds/a": b"x"}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"url": "{}/missing.txt"}, "{}/missing.txt cannot be fetched: Client error '404"),
        ({"url": f"{CLOSED}/songs.txt"}, f"{CLOSED}/songs.txt cannot be fetched: "),
        ({"url": "{}/sub/"}, "the URL {}/sub/ ends in no plain file name"),
        ({"url": "file:///etc/passwd"}, "sources.woods.url is 'file:///etc/passwd', but: "),
        ({"sha256": "0" * 64}, f"{{}}/songs.txt has SHA-256 {hashlib.sha256(b'tweet').hexdigest()}, but {'0' * 64} is"),
        ({"bytes": 4}, "{}/songs.txt is larger than the declared 4 bytes"),
        ({"members": ["*"]}, "sources.woods has one of members and largest, but needs both or neither"),
        ({"members": ["*"], "largest": 1}, "songs.txt has no ending of an archive that is known here"),
        ({"mirrors": "x"}, "sources.woods.mirrors is an unknown key; did you mean mirror?"),
    ],
)
def test_a_url_that_is_not_as_declared_is_refused(
    changes: dict[str, Any], sentence: str, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.put("songs.txt", b"tweet")
    changes = {key: value.format(site.url) if key == "url" else value for key, value in changes.items()}
    with pytest.raises(InputError) as refusal:
        fetch(monkeypatch, woods=url(f"{site.url}/songs.txt", b"tweet") | changes)
    assert sentence.format(site.url) in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert site.requests["/missing.txt"] <= 1, "what is not there is asked for once"
    assert files(Path("data")) == {}


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "mirror"
    (folder / "flock").mkdir(parents=True)
    (folder / "flock" / "seq.in").write_bytes(b"tweet")
    (folder / "127.0.0.1" / "sub").mkdir(parents=True)
    (folder / "127.0.0.1" / "sub" / "bird songs.txt").write_bytes(b"tweet")
    monkeypatch.setenv("DATA_MIRROR", str(folder))
    return folder


@pytest.mark.usefixtures("mirror")
def test_the_mirror_is_asked_before_the_url(monkeypatch: pytest.MonkeyPatch) -> None:
    named = url(f"{CLOSED}/songs.txt", b"tweet", mirror="flock/seq.in")
    assert fetch(monkeypatch, woods=named) == {"woods/songs.txt": b"tweet"}
    by_address = url(f"{CLOSED}/sub/bird%20songs.txt", b"tweet")
    assert fetch(monkeypatch, woods=by_address) == {"woods/bird songs.txt": b"tweet"}


@pytest.mark.usefixtures("mirror")
def test_what_the_mirror_lacks_comes_from_the_url(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.put("songs.txt", b"tweet")
    for path in ("flock/missing", "flock"):
        fetch(monkeypatch, woods=url(f"{site.url}/songs.txt", b"tweet", mirror=path))
    assert site.requests["/songs.txt"] == 2


def test_a_wrong_file_in_the_mirror_is_named(site: Site, mirror: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site.put("songs.txt", b"chirp")
    with pytest.raises(InputError, match=f"{mirror}/flock/seq.in has SHA-256 [0-9a-f]+, but [0-9a-f]+ is declared"):
        fetch(monkeypatch, woods=url(f"{site.url}/songs.txt", b"chirp", mirror="flock/seq.in"))
    with pytest.raises(InputError, match=f"{mirror}/flock/seq.in is larger than the declared 4 bytes"):
        fetch(monkeypatch, woods=url(f"{site.url}/songs.txt", b"tree", mirror="flock/seq.in"))


def test_a_path_that_leaves_the_mirror_is_refused(mirror: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (mirror.parent / "songs.txt").write_bytes(b"tweet")
    with pytest.raises(InputError, match=r"the path '\.\./songs\.txt' is absolute, empty or leaves its folder"):
        fetch(monkeypatch, woods=url(f"{CLOSED}/songs.txt", b"tweet", mirror="../songs.txt"))


def test_a_mirror_that_is_no_folder_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATA_MIRROR", "nowhere")
    with pytest.raises(InputError, match="DATA_MIRROR names nowhere, which is no folder"):
        fetch(monkeypatch, woods=url(f"{CLOSED}/songs.txt", b"tweet"))


def folder_of(path: Path, sha256: str = "0" * 64) -> dict[str, Any]:
    return {"folder": str(path), "sha256": sha256}


@pytest.fixture
def songs(tmp_path: Path) -> Path:
    """A folder with two songs, and what a system leaves in folders."""
    folder = tmp_path / "songs"
    (folder / "wren").mkdir(parents=True)
    (folder / "wren" / "dawn.wav").write_bytes(b"tweet")
    (folder / "manifest.csv").write_bytes(b"path,text")
    (folder / ".DS_Store").write_bytes(b"-")
    (folder / ".git").mkdir()
    (folder / ".git" / "config").write_bytes(b"-")
    return folder


def digest_of(*members: tuple[str, bytes]) -> str:
    parts = [name.encode() + b"\0" + hashlib.sha256(content).digest() for name, content in members]
    return hashlib.sha256(b"".join(parts)).hexdigest()


SONGS = digest_of(("manifest.csv", b"path,text"), ("wren/dawn.wav", b"tweet"))


def test_a_folder_is_copied_without_hidden_files(songs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copied = {"woods/manifest.csv": b"path,text", "woods/wren/dawn.wav": b"tweet"}
    assert fetch(monkeypatch, woods=folder_of(songs, SONGS)) == copied
    monkeypatch.setenv("HOME", str(songs.parent))
    assert fetch(monkeypatch, woods=folder_of(Path("~/songs"), SONGS)) == copied


def test_a_changed_folder_is_refused_with_the_checksum_that_it_has(
    songs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match=f"sources.woods: {songs} has SHA-256 {SONGS}, but 0{{64}} is declared"):
        fetch(monkeypatch, woods=folder_of(songs))
    (songs / "wren" / "dawn.wav").rename(songs / "wren" / "dusk.wav")
    with pytest.raises(InputError, match=f"but {SONGS} is declared"):
        fetch(monkeypatch, woods=folder_of(songs, SONGS))
    assert files(Path("data")) == {}


def test_a_folder_with_a_link_or_without_files_is_refused(songs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (songs / "passwd.wav").symlink_to("/etc/passwd")
    with pytest.raises(InputError, match=r"passwd\.wav is a link or a device; only plain files are taken"):
        fetch(monkeypatch, woods=folder_of(songs))
    with pytest.raises(InputError, match=r"nowhere is no folder on this machine"):
        fetch(monkeypatch, woods=folder_of(songs / "nowhere"))
    (songs / "empty").mkdir()
    with pytest.raises(InputError, match="holds no files"):
        fetch(monkeypatch, woods=folder_of(songs / "empty"))
    assert files(Path("data")) == {}


def test_pip_settings_follow_the_precedence_of_pip() -> None:
    settings = download.parse_pip_settings(
        "global.cert='/global.pem'\n"
        "global.index-url='https://global/simple'\n"
        "global.extra-index-url='https://x/simple \\nhttps://y/simple'\n"
        "global.find-links='/here'\n"
        "install.index-url='https://install/simple'\n"
        "freeze.index-url='https://freeze/simple'\n"
        "install.trusted-host='install y:8080'\n"
        "install.find-links='/install'\n"
        ":env:.find-links='/there /everywhere'\n"
        ":env:.cert=''\n"
        ":env:.default-timeout='180'\n"
    )
    assert settings.locations == [
        ("index_urls", "https://install/simple"),
        ("index_urls", "https://x/simple"),
        ("index_urls", "https://y/simple"),
        ("find_links", "/there"),
        ("find_links", "/everywhere"),
    ]
    assert (settings.cert, settings.timeout) == ("/global.pem", 180)
    assert settings.trusted_hosts == ["install", "y:8080"]


def test_pip_without_an_index_means_its_links_alone() -> None:
    settings = download.parse_pip_settings(":env:.no-index='1'\nglobal.find-links='/here'\n")
    assert settings.locations == [("find_links", "/here")]


def test_pip_that_is_told_nothing_means_the_public_index() -> None:
    ((kind, location),) = download.parse_pip_settings("").locations
    assert kind == "index_urls"
    assert location.startswith("https://")
    assert location.endswith("/simple/")


def test_a_folder_of_files_serves_as_find_links(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "links").mkdir()
    (project / "links" / WHEEL).write_bytes(BIRDS)
    settings = download.parse_pip_settings(f"global.no-index='yes'\nglobal.find-links={str(project / 'links')!r}")
    monkeypatch.setattr(download, "pip_settings", lambda: settings)
    assert fetch(monkeypatch, woods=package(WHEEL, BIRDS))


def test_certificates_that_cannot_be_read_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = download.parse_pip_settings("global.cert='/no/such.pem'")
    monkeypatch.setattr(download, "pip_settings", lambda: settings)
    with pytest.raises(
        InputError, match=r"pip's cert \(/no/such\.pem\) or a proxy setting cannot be used: .*No such file"
    ):
        fetch(monkeypatch, woods=package(WHEEL, BIRDS))


def test_a_python_without_pip_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(InputError, match="'/bin/false -m pip config list' fails, so the package index is unknown"):
        download.pip_settings()
