"""Independent tasks of a benchmark: in sequence, or spread by Ray in any order.

What a task finds out it keeps in the folder of all runs. So Ray's part is to have everything kept;
the benchmark then goes through its tasks in sequence as always, and finds them done.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

from ipo_dspy.errors import IPOError
from ipo_dspy.features import cluster
from ipo_dspy.terminal.options import LOCAL, EncoderOptions
from ipo_dspy.terminal.output import remark

K = TypeVar("K", bound=Hashable)
_R = TypeVar("_R")

RETRIES = 2
"""How often a task is done again whose process died."""
_OURS = "IPO_DSPY_"
"""What the environment says to this package; workers may have been started with another one."""


class Sweep(Generic[K]):
    """Tasks; those that are spread fail alone.

    Args:
        options: say who does the tasks: `backend` and `address`.

    Attributes:
        problems: why tasks failed, by their key.
    """

    def __init__(self, options: EncoderOptions) -> None:
        self.problems: dict[K, str] = {}
        self._backend = options.backend
        self._address = options.address

    def spread(self, do: Callable[[K], object], keys: Sequence[K]) -> None:
        """Have all tasks done side by side, where Ray is to do them; otherwise nothing happens.

        Args:
            do: does a task and keeps its outcome; is pickled, and runs in other processes, whose
                machines see the same files.
            keys: of the tasks.

        Raises:
            ArgumentError: Ray is not installed, or there is no cluster at the address.
        """
        if self._backend == LOCAL:
            return
        ray = cluster.connect(self._address)
        import torch

        # A local cluster has more logical CPUs than there are.
        cpus = int(ray.cluster_resources()["CPU"] / cluster.count("CPU"))
        task = ray.remote(num_cpus=max(1, cpus), max_retries=RETRIES, max_calls=0)(_done)
        ours = {name: value for name, value in os.environ.items() if name.startswith(_OURS)}
        sent = ray.put(do)
        waiting = {task.remote(sent, key, ours, torch.get_num_threads()): key for key in keys}
        for number in range(1, len(keys) + 1):
            [finished], _ = ray.wait(list(waiting), num_returns=1)
            key = waiting.pop(finished)
            try:
                problem = ray.get(finished)
            except ray.exceptions.RayError as error:
                problem = f"its process ended: {' '.join(str(error).split())[:500]}"
            said = "done" if problem is None else problem
            remark(f"{number} of {len(keys)}, {_named(key)}: {said}")
            if problem is not None:
                self.problems[key] = problem

    def attempt(self, key: K, make: Callable[[], _R]) -> _R | None:
        """Do a task, or find it done; None where it fails among spread ones.

        In sequence an error ends the benchmark, which goes on there: a model that cannot be used
        is found out before hours are spent on the rest.
        """
        if self._backend == LOCAL:
            return make()
        try:
            return None if key in self.problems else make()
        except IPOError as error:
            self.problems[key] = str(error)
            return None


def _done(
    do: Callable[[K], object], key: K, environment: dict[str, str], threads: int
) -> str | None:
    """Do a task in a process of Ray; give why it failed.

    With as many threads as in sequence, sums are added up in the same order.
    """
    import torch

    for name in [name for name in os.environ if name.startswith(_OURS)]:
        del os.environ[name]
    os.environ.update(environment)
    torch.set_num_threads(threads)
    try:
        do(key)
    except IPOError as error:
        return str(error)
    except Exception as error:  # noqa: BLE001 - a row says why, and the others go on
        return f"{type(error).__name__}: {error}"
    return None


def _named(key: object) -> str:
    return ", ".join(map(str, key)) if isinstance(key, tuple) else str(key)
