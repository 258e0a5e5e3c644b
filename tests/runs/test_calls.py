import signal
import subprocess
import sys
import threading
import time

import pytest

from ipo_dspy.errors import OutOfTimeError
from ipo_dspy.runs.calls import Calls, call, interruptible, seconds_left, within


@pytest.fixture
def hanging() -> threading.Event:
    """What a call waits for that hangs until the test is over."""
    return threading.Event()


def test_results_come_as_they_are_done() -> None:
    first = threading.Event()
    with Calls[str](2) as calls:
        slow = calls.submit(lambda: (first.wait(10) and "slow") or "")
        quick = calls.submit(lambda: "quick")
        assert calls.wait([slow, quick]) == [quick]
        first.set()
        assert calls.wait([slow])[0].result() == "slow"


def test_no_more_calls_are_out_than_threads() -> None:
    out: list[int] = []
    most: list[int] = []

    def work(number: int) -> None:
        out.append(number)
        most.append(len(out))
        time.sleep(0.002)
        out.remove(number)

    with Calls[None](3) as calls:
        made = [calls.submit(lambda n=n: work(n)) for n in range(12)]
        for future in made:
            future.result(timeout=10)
    assert max(most) <= 3


def test_an_error_is_raised_where_the_result_is_asked_for() -> None:
    with Calls[None](1) as calls:
        future = calls.submit(lambda: [][0])
        calls.wait([future])
        with pytest.raises(IndexError):
            future.result()


@pytest.mark.slow
def test_a_call_that_hangs_is_left_behind_and_those_behind_it_are_never_made(
    hanging: threading.Event,
) -> None:
    made: list[int] = []

    def work(number: int) -> None:
        made.append(number)
        hanging.wait(60)

    with Calls[None](1) as calls:
        for number in range(3):
            calls.submit(lambda n=number: work(n))
        while not made:
            time.sleep(0.001)
    hanging.set()
    time.sleep(0.05)
    assert made == [0]


@pytest.mark.slow
def test_waiting_ends_when_the_time_is_up(hanging: threading.Event) -> None:
    with within(0.05), pytest.raises(OutOfTimeError):
        call(lambda: hanging.wait(60))
    hanging.set()


def test_a_bound_within_a_bound_cannot_be_longer() -> None:
    assert seconds_left() is None
    with within(5.0):
        with within(60.0):
            assert (seconds_left() or 60.0) <= 5.0
        with within(1.0), within(None):
            assert (seconds_left() or 60.0) <= 1.0
    assert seconds_left() is None


def test_the_bound_holds_in_the_threads_too() -> None:
    with within(30.0), Calls[float | None](1) as calls:
        assert calls.submit(seconds_left).result(timeout=10) is not None


@pytest.mark.slow
def test_a_process_ends_though_a_call_hangs() -> None:
    script = (
        "import time\n"
        "from ipo_dspy.runs.calls import Calls\n"
        "with Calls(1) as calls:\n"
        "    calls.submit(lambda: time.sleep(600))\n"
        "    time.sleep(0.1)\n"
        "print('left', flush=True)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert ended.stdout == "left\n"


@pytest.mark.slow
def test_ctrl_c_ends_what_blocks_an_event_loop() -> None:
    script = (
        "import asyncio, os, signal, time\n"
        "from ipo_dspy.runs.calls import interruptible\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "async def work():\n"
        "    before = signal.getsignal(signal.SIGINT)\n"
        "    try:\n"
        "        with interruptible():\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "            time.sleep(600)\n"
        "    finally:\n"
        "        print(signal.getsignal(signal.SIGINT) is before, flush=True)\n"
        "try:\n"
        "    asyncio.run(work())\n"
        "except KeyboardInterrupt:\n"
        "    print('interrupted', flush=True)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert ended.stdout == "True\ninterrupted\n"


def test_a_handler_that_no_event_loop_set_stays() -> None:
    before = signal.getsignal(signal.SIGINT)
    with interruptible():
        assert signal.getsignal(signal.SIGINT) is before
    with Calls[None](1) as calls:
        calls.submit(lambda: interruptible().__enter__()).result(timeout=10)
