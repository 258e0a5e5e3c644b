"""A Ray cluster: one that is there, or one of our own that ends with this process."""

from __future__ import annotations

import atexit
import logging
import os
import secrets
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import ModuleType

from ipo_dspy.errors import ArgumentError

ADDRESS = "RAY_ADDRESS"
"""Names the environment variable with the address of a cluster, as Ray itself does."""
FEWEST_CPUS = 4
"""Logical CPUs of a local cluster; with two, what Ray does beside the work can stall it."""
OBJECT_STORE_BYTES = 512 * 2**20
"""Memory of a local cluster for what goes to and fro."""
_PREFIX = "ipo-dspy-ray-"
_SKIPPED = "RAY_DEDUP_LOGS_SKIP_REGEX"
_WORKER_DIED = "A worker died or was killed"
"""What Ray would write to standard output, among the results, at every death; we say it shorter."""
_local: dict[str, str | None] = {}
"""The folder of the local cluster and what the environment said before; empty without one."""


def ray_module() -> ModuleType:
    """Import Ray.

    Raises:
        ArgumentError: it is not installed.
    """
    os.environ.setdefault(_SKIPPED, _WORKER_DIED)  # Ray looks at it once.
    try:
        import ray
    except ImportError as error:
        raise ArgumentError(
            f"The backend 'ray' needs Ray ({error}); install it: pip install 'ipo-dspy[ray]'"
        ) from error
    module: ModuleType = ray
    return module


def connect(address: str | None = None) -> ModuleType:
    """Connect this process with a cluster, unless it is connected already; give Ray.

    Args:
        address: of the cluster, such as `10.0.0.1:6379`, `ray://10.0.0.1:10001` or `auto`; None
            takes what the environment says, or else starts a local one.

    Raises:
        ArgumentError: Ray is not installed, or there is no cluster at the address.
    """
    ray = ray_module()
    if ray.is_initialized():
        return ray
    there = address or os.environ.get(ADDRESS)
    quiet = {"logging_level": logging.ERROR, "log_to_driver": False}
    if there:
        try:
            ray.init(address=there, **quiet)
        except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
            raise ArgumentError(
                f"No Ray cluster can be used at {there!r} ({error}); check the address, or leave "
                "it out for a cluster on this machine"
            ) from error
        return ray
    _start(ray, quiet)
    return ray


def stop() -> None:
    """End a cluster that `connect` started on this machine, and remove its files."""
    if not _local:
        return
    folder, before = Path(_local.pop("") or ""), dict(_local)
    _local.clear()
    atexit.unregister(stop)
    ray_module().shutdown()
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    shutil.rmtree(folder, ignore_errors=True)


def local_folder() -> Path | None:
    """The folder of a cluster that `connect` started on this machine."""
    return Path(_local[""] or "") if _local else None


def is_local() -> bool:
    """Whether `connect` started a cluster on this machine."""
    return bool(_local)


def count(resource: str) -> int:
    """How much of a resource the cluster has, such as `CPU`; this machine's own where it is local.

    Logical CPUs of a local cluster are more than there are.
    """
    if is_local() and resource == "CPU":
        return usable_cpus()
    return int(ray_module().cluster_resources().get(resource, 0))


def usable_cpus() -> int:
    """How many CPUs this process may use; a container often has fewer than the machine."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _start(ray: ModuleType, options: Mapping[str, object]) -> None:
    remove_left_behind()
    environment = {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_BACKEND_LOG_LEVEL": "fatal",
        # Ray's workers would wait for everything else on this machine, and somebody waits for them.
        "RAY_worker_niceness": "0",
    }
    if not {"RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & os.environ.keys():
        # A token of its own, so that Ray writes none into the person's home folder.
        environment["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    _local.update({name: os.environ.get(name) for name in environment})
    os.environ.update(environment)
    _local[""] = folder = tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=_root())
    # Before Ray's own, which would find its files gone.
    atexit.register(stop)
    try:
        ray.init(
            address="local",
            num_cpus=max(FEWEST_CPUS, usable_cpus() + 2),
            include_dashboard=False,
            object_store_memory=OBJECT_STORE_BYTES,
            _temp_dir=folder,
            **options,
        )
    except BaseException:
        stop()
        raise


def remove_left_behind() -> None:
    """Remove folders of local clusters whose process was killed."""
    for folder in _root().glob(f"{_PREFIX}*"):
        process = folder.name.removeprefix(_PREFIX).partition("-")[0]
        with suppress(ValueError, OSError):
            if not _runs(int(process)):
                shutil.rmtree(folder, ignore_errors=True)


def _root() -> Path:
    """Where folders of clusters lie: sockets in them may have names of about a hundred letters."""
    short = Path("/tmp")  # nosec B108 # as Ray itself does; within it, mkdtemp chooses
    return short if os.access(short, os.W_OK) else Path(tempfile.gettempdir())


def _runs(process: int) -> bool:
    if os.name == "nt":
        return True  # Signal 0 would end it there.
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
