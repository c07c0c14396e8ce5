"""The one parent of a container's processes: starts the main one, writes its log, forwards signals, reports.

It runs in its own session and outlives the node agent. Nothing starts before the agent has written down who
the shim is: it says hello on its control socket (the kernel adds its pid) and waits for the answer. When the
main process ends, everything below it is killed. Imports are few and small: every container waits for them.
"""

import marshal
import os
import select
import signal
import time

# `typing` and what belongs to it would double the start-up time of every container.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

CONTROL = 0
CHUNK_BYTES = 65536
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
START_FAILED = 128
RETRY_S = 0.1
# Passed on to the main process. The first process of a PID namespace gets only the signals that it handles.
FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)


class Log:
    """Lines of the form `TIME STREAM TAG TEXT` (tag P: the line goes on); a full file is put aside.

    Nothing that happens to the file ends the shim, and with it the database: lines are lost, or the file grows on.
    """

    def __init__(self, path: str, limit_bytes: int) -> None:
        self._path = path
        self._limit = limit_bytes
        try:
            self._file = self._opened(path)
            self._size = os.fstat(self._file).st_size
        except OSError as problem:
            self._file, self._size = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC), 0
            _say(f"{path} cannot be opened, its lines are lost for now: {problem}")

    def _opened(self, path: str) -> int:
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def _put_aside(self) -> None:
        """The old file is let go last: whatever fails, there is one to write to."""
        self._size = 0  # also where it fails: asked again after as much, not at every line
        try:
            new = self._opened(self._path + ".new")
        except OSError:
            return
        try:
            if os.path.exists(self._path):  # noqa: PTH110 - pathlib is too slow to import
                os.replace(self._path, self._path + ".1")  # noqa: PTH105
            os.replace(self._path + ".new", self._path)  # noqa: PTH105
        except OSError:
            os.close(new)
            return
        os.dup2(new, self._file, inheritable=False)
        os.close(new)

    def write(self, stream: bytes, data: bytes) -> None:
        """Write `data` of one read; a cut line is marked as such."""
        if self._size >= self._limit:
            self._put_aside()
        now = time.time_ns()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now // 10**9)) + f".{now % 10**9:09d}Z"
        head = stamp.encode() + b" " + stream
        lines = data.split(b"\n")
        text = b"".join(head + b" F " + line + b"\n" for line in lines[:-1])
        if lines[-1]:
            text += head + b" P " + lines[-1] + b"\n"
        # A full disk must not stop the database's supervisor: the line is lost, the container lives.
        try:
            self._size += os.write(self._file, text)
        except OSError:
            self._size += len(text)


def _say(text: str) -> None:
    """For whoever looks into shim.err, if there is room."""
    try:
        os.write(2, text.encode() + b"\n")
    except OSError:
        return


def _prctl(option: int, value: int) -> None:
    import ctypes  # here: 4 ms that only the ways without a PID namespace pay

    ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def _limit_descriptors(soft: int) -> None:
    """The agent has raised its own limit, which is not for programs that walk over all that they might have open."""
    import resource  # here: in the child, which becomes another program

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _become(spec: "dict[str, Any]", out: int, err: int) -> None:
    """In the child: own session, own folder, own user, then the program."""
    os.setsid()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(out, 1)
    os.dup2(err, 2)
    os.closerange(3, 256)
    if (descriptors := spec.get("descriptors")) is not None:
        _limit_descriptors(descriptors)
    if (user := spec.get("user")) is not None:
        os.setgroups(user["groups"])
        os.setgid(user["gid"])
        os.setuid(user["uid"])
    if not spec["namespace"]:
        # After setuid, which would undo it. In a namespace the kernel does this for everybody below the shim.
        _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    os.umask(0o077)
    os.chdir(spec["folder"])
    for number in (*FORWARDED, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.execvpe(spec["argv"][0], spec["argv"], spec["env"])  # noqa: S606 - argv, no shell wanted


def _start(spec: "dict[str, Any]") -> tuple[int, int, int]:
    """The main process's pid and the reading ends of its two streams."""
    out_read, out_write = os.pipe()
    err_read, err_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            _become(spec, out_write, err_write)
        except BaseException as problem:  # noqa: BLE001 - a forked child must never return into the parent's code
            os.write(2, f"cannot start {spec['argv'][0]!r}: {problem}\n".encode())
        os._exit(START_FAILED)
    os.close(out_write)
    os.close(err_write)
    for descriptor in (out_read, err_read):
        os.set_blocking(descriptor, False)
    return pid, out_read, err_read


def _reap(main: int) -> int | None:
    """Collect every dead child; the wait status of the main process if it was among them."""
    result = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return result
        if pid == 0:
            return result
        if pid == main:
            result = status


def _drain(log: Log, descriptor: int, stream: bytes) -> bool:
    """Copy what is there, up to 1 MiB at a time; False when the stream has ended."""
    for _ in range(16):
        try:
            data = os.read(descriptor, CHUNK_BYTES)
        except BlockingIOError:
            return True
        if not data:
            return False
        log.write(stream, data)
    return True


def _empty(wake: int) -> None:
    try:
        os.read(wake, 512)
    except BlockingIOError:
        return


def _kill_all_below() -> None:
    """Kill and collect every descendant; that waitpid knows no more is the proof."""
    from howdah.local.node.processes import descendants  # here: most containers never need it

    while True:
        try:
            found = descendants([os.getpid()])
        except OSError:  # the machine has no descriptor or memory at this moment
            time.sleep(RETRY_S)
            continue
        for pid in found:
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:  # gone, or of another user: it is waited for, and the fence looks for it again
                continue
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def _write_exit(path: str, status: int) -> None:
    """The exit record, over the blanks that the agent has left for it: a full disk does not make a success a failure.

    One that is cut short is no JSON, and believed by nobody.
    """
    code = os.waitstatus_to_exitcode(status)
    shown, number = (code, 0) if code >= 0 else (128 - code, -code)
    text = f'{{"exitCode": {shown}, "signal": {number}, "finished": {time.time()}}}'.encode()
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        while text:
            text = text[os.write(descriptor, text) :]
    except OSError as problem:
        _say(f"{path} cannot be written, the end counts as a kill: {problem}")


def _listen() -> tuple[int, list[int]]:
    """A descriptor that wakes us at every signal, and the list that signals to be forwarded are put into."""
    wake_read, wake_write = os.pipe()
    for descriptor in (wake_read, wake_write):
        os.set_blocking(descriptor, False)
    signal.set_wakeup_fd(wake_write)
    pending: list[int] = []
    for number in FORWARDED:
        signal.signal(number, lambda received, _frame: pending.append(received))
    signal.signal(signal.SIGCHLD, lambda _received, _frame: None)
    return wake_read, pending


def _forward(main: int, number: int) -> None:
    try:
        os.kill(main, number)
    except OSError:  # it took another user's identity: no reason to end it
        return


def _supervise(spec: "dict[str, Any]", wake: int, pending: list[int]) -> int:
    """The main process's wait status."""
    log = Log(spec["log"], spec["logLimitBytes"])
    main, out, err = _start(spec)
    streams = {out: b"stdout", err: b"stderr"}
    poll = select.poll()
    for descriptor in (wake, out, err):
        poll.register(descriptor, select.POLLIN)
    status = None
    while status is None:
        for descriptor, _ in poll.poll(10_000):
            if descriptor == wake:
                _empty(wake)
            elif not _drain(log, descriptor, streams[descriptor]):
                poll.unregister(descriptor)
        status = _reap(main)
        while pending and status is None:
            _forward(main, pending.pop(0))
    for descriptor, stream in ((out, b"stdout"), (err, b"stderr")):
        _drain(log, descriptor, stream)
    return status


def _spec() -> "dict[str, Any]":
    """What to run, from the agent; it comes only after the agent has written down who we are."""
    received = b""
    while data := os.read(CONTROL, CHUNK_BYTES):
        received += data
    if not received:
        raise SystemExit(0)
    spec: dict[str, Any] = marshal.loads(received)  # noqa: S302 - from our parent, over a private socket
    return spec


def main() -> None:
    """Stdin is the control socket: a greeting goes out, the spec of `containers.start` and its end come in."""
    wake, pending = _listen()
    os.write(CONTROL, b"hello")
    # An agent that dies before it has written down who we are must find nothing running.
    spec = _spec()
    os.dup2(os.open(os.devnull, os.O_RDONLY), CONTROL)
    if not spec["namespace"]:
        _prctl(PR_SET_CHILD_SUBREAPER, 1)
    status = _supervise(spec, wake, pending)
    if not spec["namespace"]:
        _kill_all_below()
    # In a PID namespace our own end kills the rest, and nobody believes the record before our end.
    _write_exit(spec["exit"], status)


if __name__ == "__main__":
    main()
