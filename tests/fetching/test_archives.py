"""Files come out of archives as bytes, and hostile archives are refused whole."""

from __future__ import annotations

import shutil
import stat
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from lynxbench.errors import UntrustedInput
from lynxbench.fetching import archives
from lynxbench.fetching.archives import read_member, read_members
from tests.fetching.packages import deb, tar, wheel

FILES = {"a/one.txt": b"one", "a/two.bin": bytes(range(256)), "b/three.txt": b""}


@pytest.mark.parametrize("kind", ["whl", "deb", "tar.gz"])
def test_wanted_members_come_as_they_are(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"x.{kind}"
    if kind == "whl":
        path = wheel(tmp_path, "x", FILES)
    elif kind == "deb":
        deb(path, tar({f"./{name}": content for name, content in FILES.items()}))
    else:
        path.write_bytes(tar(FILES, mode="w:gz"))
    assert read_members(path, lambda name: name.endswith(".txt")) == {"a/one.txt": b"one", "b/three.txt": b""}
    assert read_member(path, "a/two.bin") == FILES["a/two.bin"]
    with pytest.raises(UntrustedInput, match=r"it has no a/four"):
        read_member(path, "a/four")


def test_dpkg_writes_what_we_read(tmp_path: Path) -> None:
    """Debian's own tool, in every compression that it knows."""
    if shutil.which("dpkg-deb") is None:
        assert read_member(deb(tmp_path / "x.deb", tar({"./f": b"1"})), "f") == b"1"
        return
    root = tmp_path / "root"
    (root / "DEBIAN").mkdir(parents=True)
    (root / "DEBIAN" / "control").write_text(
        "Package: x\nVersion: 1\nArchitecture: all\nMaintainer: a <a@b.c>\nDescription: d\n"
    )
    (root / "usr").mkdir()
    (root / "usr" / "f.txt").write_bytes(b"content" * 1000)
    for compression in ("xz", "gzip", "none", "zstd"):
        path = tmp_path / f"{compression}.deb"
        made = subprocess.run(
            ["dpkg-deb", "--root-owner-group", f"-Z{compression}", "--build", str(root), str(path)],
            capture_output=True,
            check=False,
        )
        if made.returncode == 0:  # an older dpkg knows no zstd
            assert read_member(path, "usr/f.txt") == b"content" * 1000


def _zip(tmp_path: Path, write: Callable[[zipfile.ZipFile], None]) -> Path:
    path = tmp_path / "bad.whl"
    with zipfile.ZipFile(path, "w") as opened:
        opened.writestr("fine.txt", b"fine")
        write(opened)
    return path


@pytest.mark.parametrize("name", ["/etc/passwd", "../up.txt", "a/../../up.txt", "c:/x.txt", "a\\..\\up.txt"])
def test_a_name_that_leads_elsewhere(name: str, tmp_path: Path) -> None:
    path = _zip(tmp_path, lambda opened: opened.writestr(name, b"x"))
    package = deb(tmp_path / "bad.deb", tar({"./fine.txt": b"fine", name: b"x"}))
    for bad in (path, package):
        with pytest.raises(UntrustedInput, match="a name in it leads elsewhere"):
            read_members(bad, lambda member: True)


def test_links(tmp_path: Path) -> None:
    def link(opened: zipfile.ZipFile) -> None:
        entry = zipfile.ZipInfo("link.txt")
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16
        opened.writestr(entry, "/etc/passwd")

    for bad in (_zip(tmp_path, link), deb(tmp_path / "bad.deb", tar({}, ("./link.txt", "/etc/passwd")))):
        with pytest.raises(UntrustedInput, match=r"link.txt is a link"):
            read_members(bad, lambda member: member.endswith(".txt"))
    # Debian packages have links of their own, which nobody asked for.
    linked = deb(tmp_path / "good.deb", tar({"./fine.txt": b"fine"}, ("./doc", "elsewhere")))
    assert read_members(linked, lambda member: member.endswith(".txt")) == {"fine.txt": b"fine"}


def test_a_member_that_is_there_twice(tmp_path: Path) -> None:
    bad = deb(tmp_path / "bad.deb", tar({"./fine.txt": b"1", "fine.txt": b"2"}))
    with pytest.raises(UntrustedInput, match=r"fine.txt is there twice"):
        read_members(bad, lambda member: True)


def test_more_than_may_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MOST_BYTES", 1 << 20)
    bomb = tmp_path / "bomb.whl"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("zeros", bytes(3 << 20))
    with pytest.raises(UntrustedInput, match="more than 1 MB"):
        read_members(bomb, lambda member: True)
    assert read_members(bomb, lambda member: False) == {}


@pytest.mark.parametrize("kind", ["whl", "deb", "tar.xz"])
def test_damage(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"bad.{kind}"
    good = wheel(tmp_path, "x", FILES) if kind == "whl" else deb(tmp_path / "good.deb", tar(FILES))
    whole = tar(FILES) if kind == "tar.xz" else good.read_bytes()
    for cut in (0, 20, len(whole) // 2, len(whole) - (60 if kind != "tar.xz" else 200)):
        path.write_bytes(whole[:cut])
        with pytest.raises(UntrustedInput, match="nothing of it was used"):
            read_members(path, lambda member: True)
