"""The threshold store: its arithmetic, its concurrency, its file and its commands."""

from __future__ import annotations

import asyncio
import itertools
import json
import multiprocessing
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from langgraph.store.base import BaseStore, GetOp, InvalidNamespaceError, PutOp, SearchItem
from langgraph.store.memory import InMemoryStore

from forethought.cli.thresholds import thresholds
from forethought.errors import ConfigError, StoreError
from forethought.stores import (
    SqliteStore,
    SqliteThresholdStore,
    ThresholdKey,
    ThresholdStore,
    data_folder,
    default_store,
)

KEY = ThresholdKey(draft="qwen2.5-0.5b", target="qwen2.5-1.5b", evaluator="judge", task="math")
CODE = ThresholdKey(draft="qwen2.5-0.5b", target="qwen2.5-1.5b", evaluator="judge", task="code")
ROOT = ("forethought", "thresholds")

runs = itertools.count()


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FORETHOUGHT_DATA", str(tmp_path / "data"))
    return tmp_path / "data" / "thresholds.sqlite"


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, file: Path) -> Iterator[ThresholdStore]:
    if request.param == "memory":
        yield ThresholdStore()
    else:
        with default_store() as opened:
            yield opened


def observe(store: ThresholdStore, *values: float, key: ThresholdKey = KEY, depth: int = 1) -> None:
    for value in values:
        store.observe(key, thresholds={depth: value}, observation_id=f"run-{next(runs)}")


@contextmanager
def sqlite(path: Path) -> Iterator[Callable[[str], list[Any]]]:
    """A connection of somebody else to the file."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        yield lambda sql: connection.execute(sql).fetchall()


# The running mean


def test_one_observation_is_the_threshold(store: ThresholdStore) -> None:
    observe(store, 0.8)
    assert store.warm_start(KEY) == {1: 0.8}


def test_older_observations_weigh_theta_to_the_power_of_their_age(store: ThresholdStore) -> None:
    observe(store, 0.8, 0.6, 0.7)
    expected = (0.81 * 0.8 + 0.9 * 0.6 + 0.7) / (0.81 + 0.9 + 1)
    assert store.warm_start(KEY)[1] == pytest.approx(expected, abs=1e-15)


def test_after_many_observations_the_update_is_that_of_the_paper() -> None:
    store = ThresholdStore()
    observe(store, *[0.8] * 400)
    store.observe(KEY, thresholds={1: 0.9}, observation_id="next")
    assert store.warm_start(KEY)[1] == pytest.approx(0.9 * 0.8 + 0.1 * 0.9, abs=1e-12)


def test_theta_one_keeps_the_plain_mean() -> None:
    store = ThresholdStore(theta=1)
    observe(store, 0.25, 0.5, 0.75)
    (row,) = store.show()
    assert (row.beta, row.weight, row.count) == (0.5, 3, 3)


def test_all_depths_of_a_run_are_folded_at_once(store: ThresholdStore) -> None:
    assert store.observe(KEY, thresholds={1: 0.8, 2: 0.7}, observation_id="run-1") == 2
    assert store.observe(KEY, thresholds={1: 0.8, 2: 0.7, 3: 0.6}, observation_id="run-1") == 1
    assert store.observe(KEY, thresholds={}, observation_id="run-2") == 0
    assert store.warm_start(KEY) == {1: 0.8, 2: 0.7, 3: 0.6}


def test_a_run_with_one_bad_depth_changes_nothing(store: ThresholdStore) -> None:
    with pytest.raises(ConfigError, match="depth 2 is nan"):
        store.observe(KEY, thresholds={1: 0.8, 2: float("nan")}, observation_id="run-1")
    assert store.show() == []


def test_depths_and_keys_are_kept_apart_and_shown_in_order(store: ThresholdStore) -> None:
    observe(store, 0.3, depth=10)
    observe(store, 0.2, depth=2)
    observe(store, 0.5, key=CODE)
    rows = [(row.key, row.depth, row.beta) for row in store.show()]
    assert rows == [(CODE, 1, 0.5), (KEY, 2, 0.2), (KEY, 10, 0.3)]
    assert store.warm_start(KEY) == {2: 0.2, 10: 0.3}


def test_an_unknown_key_has_no_warm_start(store: ThresholdStore) -> None:
    assert store.warm_start(KEY) == {}
    assert store.show() == []


def test_numpy_scalars_are_stored_as_python_floats(store: ThresholdStore) -> None:
    numpy = pytest.importorskip("numpy")
    store.observe(KEY, thresholds={numpy.int64(1): numpy.float32(0.5)}, observation_id="a")
    json.dumps(store.export())
    assert type(store.warm_start(KEY)[1]) is float


def test_a_repeated_observation_counts_once(store: ThresholdStore) -> None:
    assert store.observe(KEY, thresholds={1: 0.8}, observation_id="run-1")
    assert not store.observe(KEY, thresholds={1: 0.8}, observation_id="run-1")
    assert store.observe(KEY, thresholds={2: 0.8}, observation_id="run-1")
    assert store.observe(CODE, thresholds={1: 0.8}, observation_id="run-1")
    assert [row.count for row in store.show()] == [1, 1, 1]


def test_an_observation_repeated_by_another_writer_counts_once() -> None:
    shared = InMemoryStore()
    assert ThresholdStore(shared).observe(KEY, thresholds={1: 0.8}, observation_id="run-1")
    assert not ThresholdStore(shared).observe(KEY, thresholds={1: 0.8}, observation_id="run-1")


def test_remembered_observations_stay_bounded() -> None:
    shared = InMemoryStore()
    store = ThresholdStore(shared)
    for number in range(200):
        store.observe(KEY, thresholds={1: 0.5}, observation_id=f"run-{number}")
    (item,) = shared.search(ROOT)
    assert len(item.value["depths"]["1"]["recent"]) == 128
    assert not store.observe(KEY, thresholds={1: 0.5}, observation_id="run-72")
    assert store.observe(KEY, thresholds={1: 0.5}, observation_id="run-71")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1e300])
def test_a_threshold_that_is_no_finite_score_is_refused(value: float) -> None:
    with pytest.raises(ConfigError, match="no score"):
        ThresholdStore().observe(KEY, thresholds={1: value}, observation_id="a")


def test_settings_out_of_range_are_refused_with_their_value() -> None:
    for theta in (0, -0.1, 1.1, float("nan")):
        with pytest.raises(ConfigError, match=f"theta is {theta}"):
            ThresholdStore(theta=theta)
    with pytest.raises(ConfigError, match="writer is ' '"):
        ThresholdStore(writer=" ")
    with pytest.raises(ConfigError, match="depth is 0"):
        ThresholdStore().observe(KEY, thresholds={0: 0.5}, observation_id="a")
    with pytest.raises(ConfigError, match="observation_id is ''"):
        ThresholdStore().observe(KEY, thresholds={1: 0.5}, observation_id="")
    with pytest.raises(ConfigError, match="task of a threshold key is ''"):
        ThresholdKey("a", "b", "c", "")
    with pytest.raises(ConfigError, match="not valid Unicode"):
        ThresholdKey("model-\udcff.gguf", "b", "c", "d")


@pytest.mark.parametrize(
    "name", ["a.b", "a-b", "a b", "/x/a.gguf", "langgraph", "模型", "[b]", "."]
)
def test_any_model_name_is_a_key_of_its_own(store: ThresholdStore, name: str) -> None:
    key = ThresholdKey(name, name * 50, "e.f", "t")
    observe(store, 0.5, key=key)
    observe(store, 0.6, key=ThresholdKey("a_b", name * 50, "e.f", "t"))
    assert store.warm_start(key) == {1: 0.5}
    assert key in [row.key for row in store.show()]


def test_no_dict_of_the_store_is_ever_changed_in_place() -> None:
    shared = InMemoryStore()
    store = ThresholdStore(shared)
    observe(store, 0.5)
    (item,) = shared.search(ROOT)
    before = json.dumps(item.value)
    observe(store, 0.6)
    assert json.dumps(item.value) == before


# Several writers


class SmallPages(InMemoryStore):
    """Serves no more than seven items at a time, as a hosted store may."""

    def search(self, namespace_prefix: tuple[str, ...], /, **options: Any) -> list[SearchItem]:
        options["limit"] = min(options["limit"], 7)
        return super().search(namespace_prefix, **options)


@pytest.mark.parametrize("shared", [InMemoryStore(), SmallPages()], ids=["memory", "small pages"])
def test_more_writers_than_a_page_holds_are_all_merged(shared: BaseStore) -> None:
    for number in range(25):
        observe(ThresholdStore(shared, theta=1), number)
    assert len(shared.search(ROOT, limit=1000)) in (7, 25)
    (row,) = ThresholdStore(shared).show()
    assert (row.beta, row.count) == (12, 25)


def test_a_named_writer_goes_on_with_its_own_item() -> None:
    shared = InMemoryStore()
    for _ in range(25):
        observe(ThresholdStore(shared, writer="worker-1"), 0.5)
    assert len(shared.search(ROOT, limit=100)) == 1
    assert ThresholdStore(shared).show()[0].count == 25


def test_the_default_file_does_not_grow_with_the_number_of_runs(file: Path) -> None:
    for _ in range(25):
        with default_store() as store:
            observe(store, 0.5)
    with sqlite(file) as rows:
        assert len(rows("SELECT * FROM items WHERE namespace LIKE 'forethought.thresholds.%'")) == 1


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_eight_threads_lose_no_observation(kind: str, tmp_path: Path) -> None:
    file = SqliteThresholdStore(tmp_path / "file", theta=1)
    store = file if kind == "sqlite" else ThresholdStore(theta=1)

    def work(thread: int) -> None:
        for number in range(25):
            store.observe(KEY, thresholds={1: thread}, observation_id=f"{thread}-{number}")
            store.show()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    (row,) = store.show()
    assert (row.beta, row.count) == (3.5, 200)
    file.close()


def test_eight_runs_over_one_store_of_the_application_lose_no_observation() -> None:
    shared = InMemoryStore()

    def work(thread: int) -> None:
        for number in range(25):
            own = ThresholdStore(shared, theta=1)
            own.observe(KEY, thresholds={1: thread}, observation_id=f"{thread}-{number}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    (row,) = ThresholdStore(shared).show()
    assert (row.beta, row.count) == (3.5, 200)


def observe_in_default_file(path: Path, number: int) -> None:
    with SqliteThresholdStore(path, theta=1) as store:
        for run in range(25):
            store.observe(KEY, thresholds={1: number}, observation_id=f"{number}-{run}")
            store.observe(KEY, thresholds={2: 0.5}, observation_id=f"shared-{run}")


def observe_as_one_writer_each(path: Path, number: int) -> None:
    shared = SqliteStore(path)
    store = ThresholdStore(shared, theta=1)
    for run in range(25):
        store.observe(KEY, thresholds={1: number}, observation_id=f"{number}-{run}")
    shared.close()


@pytest.fixture(scope="module")
def four_processes() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(4, multiprocessing.get_context("spawn")) as pool:
        yield pool


def run_in_each(pool: ProcessPoolExecutor, work: Callable[[Path, int], None], path: Path) -> None:
    for done in [pool.submit(work, path, number) for number in range(4)]:
        done.result(timeout=120)


def test_four_processes_on_a_new_file_lose_no_observation(
    four_processes: ProcessPoolExecutor, tmp_path: Path
) -> None:
    path = tmp_path / "new folder" / "thresholds.sqlite"
    run_in_each(four_processes, observe_in_default_file, path)
    with SqliteThresholdStore(path) as store:
        root, second = store.show()
        assert (root.beta, root.weight, root.count) == (1.5, 100, 100)
        assert second.count == 25  # four processes retried the same runs
        assert len(store.export()["records"]) == 1


def test_four_processes_that_are_one_writer_each_lose_no_observation(
    four_processes: ProcessPoolExecutor, tmp_path: Path
) -> None:
    path = tmp_path / "thresholds.sqlite"
    run_in_each(four_processes, observe_as_one_writer_each, path)
    with SqliteThresholdStore(path) as store:
        (row,) = store.show()
        assert (row.beta, row.weight, row.count) == (1.5, 100, 100)
        assert len(store.export()["records"]) == 4


# Export, import, reset


def test_an_export_brings_everything_back_after_a_reset(store: ThresholdStore) -> None:
    observe(store, 0.8, 0.6)
    observe(store, 0.4, key=CODE, depth=3)
    store.observe(KEY, thresholds={1: 0.7}, observation_id="retried")
    before, document = store.show(), json.loads(json.dumps(store.export()))
    store.reset()
    assert store.show() == []
    assert store.load(document) == 2
    assert store.show() == before
    assert not store.observe(KEY, thresholds={1: 0.7}, observation_id="retried")


def test_to_load_a_document_twice_counts_nothing_twice(store: ThresholdStore) -> None:
    observe(store, 0.5)
    other = ThresholdStore()
    observe(other, 0.7, 0.7, 0.7)
    first = other.export()
    observe(other, 0.7)
    for document in (first, first, other.export(), first):
        store.load(document)
    assert store.show()[0].count == 5
    store.load(store.export())
    other.load(store.export())
    assert [row.count for row in (*store.show(), *other.show())] == [5, 5]


def test_files_of_two_machines_do_not_share_a_writer(tmp_path: Path) -> None:
    with (
        SqliteThresholdStore(tmp_path / "a") as one,
        SqliteThresholdStore(tmp_path / "b") as two,
    ):
        observe(one, 0.5)
        observe(two, 0.7)
        one.load(two.export())
        assert one.show()[0].count == 2


def test_reset_of_one_key_leaves_the_others(store: ThresholdStore) -> None:
    observe(store, 0.5)
    observe(store, 0.6, key=CODE)
    store.reset(KEY)
    assert [row.key for row in store.show()] == [CODE]


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        (["schema"], 2, "thresholds: schema is 2, this version reads 1"),
        (["records"], {}, "records must be a list"),
        (["records", 0], 7, "records.0:"),
        (["records", 0, "schema"], "1", "records.0: schema is '1'"),
        (["records", 0, "draft"], " ", "records.0.draft:"),
        (["records", 0, "writer"], None, "records.0.writer:"),
        (["records", 0, "surplus"], 1, "records.0.surplus:"),
        (["records", 0, "depths", "0"], {}, "records.0.depths.0"),
        (["records", 0, "depths", "1", "total"], float("nan"), "records.0.depths.1.total:"),
        (["records", 0, "depths", "1", "total"], "much", "records.0.depths.1.total:"),
        (["records", 0, "depths", "1", "total"], 1e300, "out of range"),
        (["records", 0, "depths", "1", "weight"], 0, "records.0.depths.1.weight:"),
        (["records", 0, "depths", "1", "weight"], 1e9, "above count"),
        (["records", 0, "depths", "1", "count"], -1, "records.0.depths.1.count:"),
        (["records", 0, "depths", "1", "recent"], "ab", "records.0.depths.1.recent:"),
    ],
)
def test_a_wrong_document_is_refused_whole_and_names_the_field(
    path: list[str | int], value: object, named: str
) -> None:
    source = ThresholdStore()
    observe(source, 0.5)
    document: Any = source.export()
    place = document
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    target = ThresholdStore()
    with pytest.raises(StoreError) as caught:
        target.load(document)
    assert named in str(caught.value)
    assert target.show() == []


@pytest.mark.parametrize("document", [None, [], "text", {}])
def test_what_is_no_document_is_refused(document: object) -> None:
    with pytest.raises(StoreError, match="thresholds: "):
        ThresholdStore().load(document)


# What the store may hold, and the file


def test_a_damaged_record_is_reported_with_its_field_and_reset_removes_it() -> None:
    shared = InMemoryStore()
    store = ThresholdStore(shared)
    observe(store, 0.5)
    (item,) = shared.search(ROOT)
    shared.put(item.namespace, item.key, {**item.value, "depths": {"1": {"total": "?"}}})
    for call in (
        store.show,
        store.export,
        lambda: store.warm_start(KEY),
        lambda: observe(store, 1),
    ):
        with pytest.raises(StoreError, match=r"depths\.1\.total: .*reset"):
            call()
    store.reset(KEY)
    assert store.show() == []


def test_a_record_of_a_newer_version_is_left_alone() -> None:
    shared = InMemoryStore()
    shared.put((*ROOT, KEY.label), "newer", {"schema": 2})
    with pytest.raises(StoreError, match=r"schema is 2.*update forethought"):
        observe(ThresholdStore(shared), 0.5)
    assert shared.search(ROOT)[0].value == {"schema": 2}


def test_the_data_folder_is_the_platforms_unless_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FORETHOUGHT_DATA", raising=False)
    assert data_folder().name == "forethought"
    monkeypatch.setenv("FORETHOUGHT_DATA", "elsewhere")
    assert data_folder() == Path("elsewhere")


def test_thresholds_are_there_when_the_file_is_opened_again(file: Path) -> None:
    with default_store() as store:
        observe(store, 0.5)
    with default_store() as store:
        assert store.warm_start(KEY) == {1: 0.5}
    assert file.is_file()


def test_a_closed_store_says_so(file: Path) -> None:
    store = default_store()
    store.close()
    store.close()
    with pytest.raises(StoreError, match="was closed"):
        store.show()


def test_a_file_of_another_kind_is_refused_and_kept(file: Path) -> None:
    file.parent.mkdir()
    file.write_text("my notes " * 200)
    with pytest.raises(StoreError, match=r"not a database.*move it away"):
        default_store()
    assert file.read_text().startswith("my notes")


def test_a_file_that_was_cut_short_is_refused(file: Path) -> None:
    with default_store() as store:
        for number in range(40):
            observe(store, 0.5, key=ThresholdKey("d", "t", "e", str(number)))
    os.truncate(file, 8192)
    with (
        pytest.raises(StoreError, match=r"thresholds\.sqlite: .*damaged"),
        default_store() as store,
    ):
        store.show()


def test_a_value_that_is_no_json_is_reported_with_its_place(file: Path) -> None:
    with default_store() as store:
        observe(store, 0.5)
        with sqlite(file) as rows:
            rows("UPDATE items SET value = '{' WHERE namespace LIKE 'forethought.thresholds.%'")
        with pytest.raises(StoreError, match="holds no JSON"):
            store.show()


def test_a_file_that_may_not_be_written_can_still_be_read(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with default_store() as store:
        observe(store, 0.5)
    connect = sqlite3.connect

    def read_only(path: Path, **options: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(f"{path.as_uri()}?mode=ro", uri=True, **options)
        return connection

    # root may write any file, so the mode of the file would prove nothing here
    monkeypatch.setattr(sqlite3, "connect", read_only)
    with default_store() as store:
        assert store.warm_start(KEY) == {1: 0.5}
        with pytest.raises(StoreError, match=r"readonly.*FORETHOUGHT_DATA"):
            observe(store, 0.6)
        assert store.warm_start(KEY) == {1: 0.5}


def test_a_data_folder_that_cannot_be_made_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "taken").write_text("")
    monkeypatch.setenv("FORETHOUGHT_DATA", str(tmp_path / "taken"))
    with pytest.raises(StoreError, match=r"cannot make .*FORETHOUGHT_DATA"):
        default_store()
    (tmp_path / "folder" / "thresholds.sqlite").mkdir(parents=True)
    monkeypatch.setenv("FORETHOUGHT_DATA", str(tmp_path / "folder"))
    with pytest.raises(StoreError, match="unable to open"):
        default_store()


def test_a_file_that_another_process_holds_is_reported(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("forethought.stores.sqlite._BUSY_SECONDS", 0.05)
    with default_store() as store, sqlite(file) as rows:
        rows("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match=r"locked.*another process held it"):
            observe(store, 0.5)
        rows("ROLLBACK")
        observe(store, 0.5)
        assert store.warm_start(KEY) == {1: 0.5}


def test_an_error_inside_a_transaction_undoes_it(tmp_path: Path) -> None:
    shared = SqliteStore(tmp_path / "file")

    def put_and_fail() -> None:
        with shared.transaction():
            shared.put(("a",), "k", {"n": 1})
            raise RuntimeError

    with pytest.raises(RuntimeError):
        put_and_fail()
    assert shared.get(("a",), "k") is None
    with pytest.raises(TypeError):
        shared.batch([PutOp(("a",), "k", {"n": 1}), PutOp(("a",), "k", {"n": object()})])
    assert shared.get(("a",), "k") is None
    shared.close()


def test_a_transaction_holds_off_other_threads(tmp_path: Path) -> None:
    shared = SqliteStore(tmp_path / "file")
    seen: list[object] = []
    reader = threading.Thread(target=lambda: seen.append(shared.get(("a",), "k")))
    with shared.transaction():
        reader.start()
        reader.join(0.1)
        assert seen == []
        shared.put(("a",), "k", {"n": 1})
    reader.join()
    assert seen == [shared.get(("a",), "k")]
    shared.close()


def test_the_sqlite_store_answers_like_the_one_in_memory(tmp_path: Path) -> None:
    shared = SqliteStore(tmp_path / "file")
    assert answers(shared) == answers(InMemoryStore())
    shared.close()


def answers(store: BaseStore) -> list[object]:
    for namespace in [("a%", "b"), ("a",), ("a", "b"), ("ab",), ("c", "b")]:
        for number in range(3):
            store.put(namespace, f"k{number}", {"n": number, "in": list(namespace)})
    store.delete(("c", "b"), "k0")
    found = [
        store.search(("a",)),
        store.search(("a",), limit=2, offset=1),
        store.search((), limit=100),
        store.search(("a",), filter={"n": {"$gte": 1}}, limit=3, offset=1),
        store.search(("a",), filter={"n": 2}),
        store.search(("nowhere",)),
    ]
    return [
        [[(item.namespace, item.key, item.value) for item in items] for items in found],
        store.list_namespaces(),
        store.list_namespaces(prefix=("a",), max_depth=1),
        store.list_namespaces(suffix=("b",), limit=2, offset=1),
        store.get(("c", "b"), "k0"),
    ]


def test_the_sqlite_store_keeps_the_time_of_creation(tmp_path: Path) -> None:
    shared = SqliteStore(tmp_path / "file")
    shared.put(("a",), "k", {"n": 1})
    first = shared.get(("a",), "k")
    shared.put(("a",), "k", {"n": 2})
    second = shared.get(("a",), "k")
    assert first is not None
    assert second is not None
    assert first.created_at == second.created_at <= second.updated_at
    shared.close()


def test_the_sqlite_store_serves_asynchronous_callers_and_refuses_dots(tmp_path: Path) -> None:
    shared = SqliteStore(tmp_path / "file")

    async def put_and_get() -> object:
        await shared.aput(("a",), "k", {"n": 1})
        item = await shared.aget(("a",), "k")
        return item and item.value

    assert asyncio.run(put_and_get()) == {"n": 1}
    with pytest.raises(InvalidNamespaceError):
        shared.batch([GetOp(("a.b",), "k")])
    shared.close()


# The commands


def test_show_prints_every_threshold(file: Path) -> None:
    assert "no thresholds yet" in invoke("show")
    with default_store() as store:
        observe(store, 0.8125, depth=2)
        observe(store, 0.5, key=ThresholdKey("[bold]d", "t", "e", "x"))
    shown = invoke("show")
    assert "0.8125" in shown
    assert "[bold]d" in shown


def test_reset_asks_first_and_keeps_the_rest(file: Path) -> None:
    with default_store() as store:
        observe(store, 0.5)
        observe(store, 0.6, key=CODE)
        assert "Forget the thresholds of 1 key?" in invoke("reset", "--task", "math", answer="n")
        assert len(store.show()) == 2
        assert "of 1 key\n" in invoke("reset", "--task", "math", "--draft", KEY.draft, "--yes")
        assert [row.key for row in store.show()] == [CODE]
        assert "of 0 keys" in invoke("reset", "--task", "math", "--yes")
        assert "forgot all" in invoke("reset", answer="y")
        assert store.show() == []


def test_export_and_import_go_through_files_and_pipes(file: Path, tmp_path: Path) -> None:
    with default_store() as store:
        observe(store, 0.5, 0.7)
        before = store.show()
        saved = tmp_path / "saved.json"
        assert invoke("export", str(saved)) == ""
        document = invoke("export", "-")
        assert json.loads(document) == json.loads(saved.read_text()) == store.export()
        for arguments, answer in ((["import", str(saved)], ""), (["import", "-"], document)):
            store.reset()
            assert invoke(*arguments, answer=answer) == "imported 1 record\n"
            assert store.show() == before


@pytest.mark.parametrize("content", ["", "{", "\N{LATIN SMALL LETTER E WITH ACUTE}", "[" * 200_000])
def test_import_of_what_is_no_json_says_so(file: Path, tmp_path: Path, content: str) -> None:
    (tmp_path / "bad.json").write_bytes(content.encode("latin-1"))
    arguments = ["import", str(tmp_path / "bad.json")]
    with pytest.raises(StoreError, match=r"bad\.json: no JSON"):
        CliRunner().invoke(thresholds, arguments, catch_exceptions=False)


def test_a_failed_export_leaves_the_old_file(file: Path, tmp_path: Path) -> None:
    (tmp_path / "saved.json").write_text("old")
    file.parent.mkdir()
    file.write_text("my notes " * 200)
    with pytest.raises(StoreError):
        CliRunner().invoke(
            thresholds, ["export", str(tmp_path / "saved.json")], catch_exceptions=False
        )
    assert (tmp_path / "saved.json").read_text() == "old"


def invoke(*arguments: str, answer: str = "") -> str:
    result = CliRunner().invoke(thresholds, arguments, input=answer, catch_exceptions=False)
    return result.output
