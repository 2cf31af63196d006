"""Processes whose imports are done before they begin: each is forked from one that has imported torch and no more.

A test that kills a process, or reads what it wrote to its own standard error, needs a process; it does not need the
seconds in which Python reads torch and transformers again. `Warm.run` and `Warm.start` are to a command of askmask,
or to a piece of Python, what `subprocess.run` and `subprocess.Popen` are to a program.
"""

import contextlib
import functools
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback

from tests.conftest import ROOT

COMMAND = "from askmask.cli import main; main()"
LONG = 600.0  # seconds; a busy machine is no failure


class Process:
    """A child of the warm process. Its streams are text files; a return code below zero is a signal's."""

    def __init__(self, pid: int, streams: list[int], ended: int):
        self.pid, self._ended, self.returncode = pid, ended, None
        self.stdin = open(streams[0], "w", encoding="utf-8")
        self.stdout = open(streams[1], encoding="utf-8")
        self.stderr = open(streams[2], encoding="utf-8")

    def poll(self) -> int | None:
        return self._told(0)

    def wait(self, timeout: float = LONG) -> int:
        if self._told(timeout) is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout)
        return self.returncode

    def _told(self, seconds: float) -> int | None:
        if self.returncode is None and select.select([self._ended], [], [], seconds)[0]:
            self.returncode = os.waitstatus_to_exitcode(int(os.read(self._ended, 32)))
            os.close(self._ended)
        return self.returncode

    def communicate(self, text: str = "", timeout: float = LONG) -> tuple[str, str]:
        """Give it its last input, and return all that it writes to stdout and stderr."""
        read: list[str] = ["", ""]

        def drain(at: int, stream) -> None:
            read[at] = stream.read()

        threads = [
            threading.Thread(target=drain, args=pair, daemon=True)
            for pair in enumerate((self.stdout, self.stderr))
        ]
        for thread in threads:
            thread.start()
        try:
            self.stdin.write(text)
            self.stdin.close()
        except BrokenPipeError:  # it ended without reading
            pass
        try:
            self.wait(timeout)
        except subprocess.TimeoutExpired:
            self.send_signal(signal.SIGKILL)
            raise
        for thread in threads:
            thread.join()
        self.stdout.close(), self.stderr.close()
        return read[0], read[1]

    def send_signal(self, how: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, how)


class Warm:
    """The process that imports `modules` and forks the others."""

    def __init__(self, *modules: str):
        self._door, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        code = f"from tests.warm import serve; serve({theirs.fileno()}, {modules!r})"
        self._server = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, pass_fds=[theirs.fileno()])
        theirs.close()
        self._started: list[Process] = []

    def close(self) -> None:
        for process in self._started:  # what a failed test left running would be waited for without end
            process.send_signal(signal.SIGKILL)
        self._door.close()
        try:
            self._server.wait(5)
        except (
            subprocess.TimeoutExpired
        ):  # a process forked here since (a worker of a loader) holds the door open
            self._server.kill()
            self._server.wait()

    def start(self, *words, code: str = COMMAND, cwd=None, env: dict | None = None) -> Process:
        """Start `code` with the words as its arguments, by default `askmask WORDS`."""
        pipes = [os.pipe() for _ in range(4)]
        (its_in, to_it), (from_it, its_out), (errors, its_errors), (ended, ending) = pipes
        asked = {
            "code": code,
            "argv": ["askmask", *map(str, words)],
            "cwd": str(cwd or os.getcwd()),
            "env": os.environ | (env or {}),
        }
        theirs = [its_in, its_out, its_errors, ending]
        socket.send_fds(self._door, [json.dumps(asked).encode()], theirs)
        for fd in theirs:
            os.close(fd)
        process = Process(int(self._door.recv(32)), [to_it, from_it, errors], ended)
        self._started.append(process)
        return process

    def run(self, *words, text: str = "", timeout: float = LONG, **more) -> subprocess.CompletedProcess:
        """Like `start`, and wait for its end."""
        process = self.start(*words, **more)
        out, err = process.communicate(text, timeout)
        return subprocess.CompletedProcess(words, process.returncode, out, err)


# What a command with a network needs; huggingface_hub comes with transformers and reads its settings when imported.
NEEDED = ("torch", "torch._dynamo", "transformers.models.qwen2_5_vl.modeling_qwen2_5_vl")
NEEDED += (
    "transformers.models.sam2.modeling_sam2",
    "askmask.cli.app",
    "askmask.training.run",
    "askmask.serving.run",
)


@functools.cache
def shared() -> Warm:
    """The warm process of this test process."""
    return Warm(*NEEDED)


def run(*words, **more) -> subprocess.CompletedProcess:
    """Run `askmask WORDS`, or the Python of `code`, to its end."""
    return shared().run(*words, **more)


def start(*words, **more) -> Process:
    """Start it."""
    return shared().start(*words, **more)


def close() -> None:
    """End the warm process, if there is one."""
    if shared.cache_info().currsize:
        shared().close()
        shared.cache_clear()


def until(done, process=None, *, seconds: float = LONG):
    """Wait until `done()` is true and return it; fail if the process ends before or the time is up."""
    end = time.monotonic() + seconds
    while not (found := done()):
        assert process is None or process.poll() is None, f"it ended early: {process.returncode}"
        assert time.monotonic() < end, f"not within {seconds:.0f} s"
        time.sleep(0.01)
    return found


def serve(fd: int, modules: tuple[str, ...]) -> None:
    """Import the modules, then fork a child for each message until the door closes."""
    import gc
    import importlib

    gc.disable()
    for name in modules:
        with contextlib.suppress(ImportError):  # of an extra that is not installed
            importlib.import_module(name)
    gc.freeze()  # a child that looked for garbage among all this would copy it besides
    gc.enable()
    door = socket.socket(fileno=fd)
    while True:
        data, fds, *_ = socket.recv_fds(door, 1 << 20, 4)
        if not data:
            break
        sys.stdout.flush(), sys.stderr.flush()
        if os.fork() == 0:
            _keep(door, fds, json.loads(data))
        for one in fds:
            os.close(one)
        while _reaped():
            pass
    while _reaped(wait=True):
        pass


def _reaped(wait: bool = False) -> bool:
    try:
        return os.waitpid(-1, 0 if wait else os.WNOHANG)[0] > 0
    except ChildProcessError:
        return False


def _keep(door: socket.socket, fds: list[int], asked: dict) -> None:
    """Fork the child itself, and tell how it ended: a server that waited could not fork the next."""
    *streams, ending = fds
    pid = os.fork()
    if pid == 0:
        _become(streams, asked)
    door.send(str(pid).encode())
    door.close()
    for one in streams:
        os.close(one)
    os.write(ending, str(os.waitpid(pid, 0)[1]).encode())
    os._exit(0)


def _become(streams: list[int], asked: dict) -> None:
    """Be the process that was asked for, to its end."""
    for number, fd in enumerate(streams):
        os.dup2(fd, number)
    os.closerange(3, 4096)
    os.environ.clear()
    os.environ.update(asked["env"])
    os.chdir(asked["cwd"])
    sys.argv = asked["argv"]
    sys.stdin = open(0, encoding="utf-8", closefd=False)
    signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # tests in the background of a shell inherit none
    status = 0
    try:
        exec(compile(asked["code"], "<test>", "exec"), {"__name__": "__main__"})
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        if isinstance(stop.code, str):
            print(stop.code, file=sys.stderr)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    except BaseException:
        traceback.print_exc()
        status = 1
    import atexit

    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush(), sys.stderr.flush()
    os._exit(status)
