"""`mllm-iqa score --engine ray`: the parts of a large run, shared out over the workers of a Ray cluster.

A part is the unit of work. Ray Data hands lists of pictures to a pool of actors, each of which loaded the model once
and writes its parts straight into the run's folder. So a part is also the unit of going on: rows of one that is there
are taken over for every picture that has not changed. The folder and the pictures must be reachable from every machine
under the same path.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from itertools import islice
from time import monotonic
from typing import Any

from mllm_iqa.assistant import Assistant
from mllm_iqa.containers import Cell, Item, Span
from mllm_iqa.errors import ConfigError, IqaError
from mllm_iqa.large_run import finished, part_format, rows_of, settings_of
from mllm_iqa.run_folder import PartFormat, claimed, read_part, write_part
from mllm_iqa.score_command import checked_inputs, load, progress
from mllm_iqa.score_options import ScoreOptions
from mllm_iqa.tally import Tally
from mllm_iqa.terminal import error_line

# Read by Ray when it is first imported. Usage statistics would be sent over the network.
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
# Its C++ parts would write warnings about Ray Data's own doings between our lines.
os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")


@dataclass(frozen=True, slots=True)
class Cluster:
    """Where the work is done.

    Attributes:
        stage: engine inside every worker, "transformers" or "vllm".
        workers: copies of the model.
        gpus_per_worker: accelerators of each copy; 0 = a CPU.
        address: of a running cluster, "host:port", "ray://host:port" or "auto"; None = one started here, on loopback,
            which ends with the run.
    """

    stage: str
    workers: int
    gpus_per_worker: float
    address: str | None


def score(arguments: Sequence[str], options: ScoreOptions, cluster: Cluster) -> int:
    """Score into the folder `options.run` on a Ray cluster.

    Returns:
        0 when every picture was scored or failures are allowed, else 1; also 1 when a worker broke down for good on
        the way: finished parts stay.

    Raises:
        IqaError: before anything was scored: no such picture, an unusable folder, a run of other settings, no cluster.
    """
    if options.run is None:
        raise ConfigError("--engine ray needs --run, a folder that every worker can write to")
    if options.reference is not None:
        raise ConfigError("--reference goes with a single picture, which needs no cluster; leave --engine ray out")
    if options.rubrics:
        raise ConfigError("--rubric and --engine ray do not go together")
    format = part_format(options)
    inputs = checked_inputs(arguments, options)
    device = options.device if options.device != "auto" else ("cuda" if cluster.gpus_per_worker else "cpu")
    run_folder = options.run
    options = replace(options, engine=cluster.stage, device=device, run=run_folder.absolute())
    settings = settings_of(inputs, options, engine=cluster.stage, device=device)
    with claimed(run_folder, settings, format) as run, progress(inputs.total, options) as advance:
        tally, started, parts = Tally(), monotonic(), 0
        try:
            for parts, counts in enumerate(_counts(inputs, options, format, cluster), 1):  # noqa: B007
                tally.add(counts)
                for _ in range(counts["scored"] + counts["failed"]):
                    advance()
        except IqaError as error:
            if tally.total == 0:
                raise
            print(error_line(f"after {tally.total} of {inputs.total} pictures: {error}"), file=sys.stderr)
            print(f"finished parts are in {run.folder}; the same command goes on from here", file=sys.stderr)
            return 1
        return finished(run, parts, tally, options, monotonic() - started)


def _counts(
    inputs: Iterable[Item], options: ScoreOptions, format: PartFormat, cluster: Cluster
) -> Iterator[dict[str, Any]]:
    """What each part's `Tally` counted, in the order in which the parts are finished."""
    with connected(cluster):
        import ray
        from ray.data import ActorPoolStrategy, DataContext
        from ray.exceptions import RayError

        logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # what fails comes back as an exception
        context = DataContext.get_current()
        context.enable_progress_bars = False
        context.execution_options.preserve_order = False
        pool = ActorPoolStrategy(size=cluster.workers)
        work = ray.data.from_items(list(_work(inputs, options.rows_per_part)))
        done = work.map(
            PartScorer,  # type: ignore[arg-type]  # Ray makes one of it in every actor
            fn_constructor_args=(options, format),
            compute=pool,
            num_cpus=1,
            num_gpus=cluster.gpus_per_worker or None,
        )
        try:
            for row in done.iter_rows():
                if row["error"]:
                    raise IqaError(row["error"])
                yield json.loads(row["counts"])
        except RayError as error:
            raise IqaError(f"a worker failed: {_reason(error)}") from error


def _work(inputs: Iterable[Item], rows_per_part: int) -> Iterator[dict[str, Any]]:
    """One row for each part: its number and its pictures, as JSON; paths no longer depend on the current folder."""
    stream = iter(inputs)
    index = 0
    while items := [replace(item, path=os.path.abspath(item.path)) for item in islice(stream, rows_per_part)]:
        yield {"index": index, "items": json.dumps([_packed(item) for item in items])}
        index += 1


class PartScorer:
    """The actor: one model, scoring one part after the other."""

    def __init__(self, options: ScoreOptions, format: PartFormat) -> None:
        self.options = options
        self.format = format
        self.assistant: Assistant | None = None  # until the first part, where its errors can be told

    def __call__(self, work: dict[str, Any]) -> dict[str, str]:
        """Write a part, unless it is there with the same pictures.

        Returns:
            `counts`: what its `Tally` counted, as JSON; `error`: what kept the model from working, empty if nothing
            did. An exception would come back as Ray's own, with ours as text inside.
        """
        try:
            return {"counts": json.dumps(self._write_part(work).to_dict()), "error": ""}
        except IqaError as error:
            return {"counts": "", "error": str(error)}

    def _write_part(self, work: dict[str, Any]) -> Tally:
        if self.assistant is None:
            self.assistant = load(self.options)
        assert self.options.run is not None
        index = int(work["index"])
        items = [_unpacked(fields) for fields in json.loads(work["items"])]
        before = read_part(self.options.run, index, self.format)
        known = {row["sha256"]: row for row in before if row["error"] is None}
        tally = Tally()
        rows = list(rows_of(self.assistant, items, self.options, self.format, known=known.get, tally=tally))
        if rows != before:
            write_part(self.options.run, index, rows, self.format)
        return tally


@contextmanager
def connected(cluster: Cluster) -> Iterator[None]:
    """Ray, running: the cluster at the address, the one this process is connected to, or one of its own.

    Raises:
        ConfigError: it cannot be reached, or does not start.
    """
    if cluster.address is None:
        # Read when Ray is first imported, on every system: its ports listen for this machine alone.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    import ray

    if ray.is_initialized():
        yield
        return
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    try:
        if cluster.address is None:
            cpus = max(cluster.workers, os.cpu_count() or 1)
            # "local": never one that happens to run here. The dashboard would be a web server.
            ray.init("local", num_cpus=cpus, include_dashboard=False, **quiet)
        else:
            ray.init(address=cluster.address, **quiet)
    except (ConnectionError, RuntimeError, ValueError) as error:
        where = f"the cluster at {cluster.address} cannot be reached" if cluster.address else "Ray does not start here"
        raise ConfigError(f"{where}: {' '.join(str(error).split())[:300]}") from error
    try:
        yield
    finally:
        ray.shutdown()


def _reason(error: Exception) -> str:
    """The last line of what Ray tells that names an exception."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    named = [line for line in lines if re.match(r"[\w.]+(Error|Exception): ", line)]
    return (named or lines)[-1][:300]


def _packed(item: Item) -> list[Any]:
    place = item.place
    where = None if place is None else [type(place).__name__, *asdict(place).values()]
    return [item.name, item.path, where, item.fault]


def _unpacked(fields: list[Any]) -> Item:
    name, path, where, fault = fields
    kinds: dict[str, type[Span] | type[Cell]] = {"Span": Span, "Cell": Cell}
    return Item(name, path, None if where is None else kinds[where[0]](*where[1:]), fault)
