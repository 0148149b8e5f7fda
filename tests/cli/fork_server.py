"""Commands without the second that Python needs to import them: forks of one process that has.

    FORK_SERVER.run(["who"], cwd=folder, environment={}, stdin=b"")

Rule: each command is a process of its own, with its own folder, environment, streams and exit code.
What depends on the start of Python itself, such as a terminal, needs a real `python -m bridge`.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[2]
MAX_REQUEST_BYTES: Final = 1 << 20
STREAMS: Final = 3


class ForkServer:
    """Starts its process with the first command; it ends with this one."""

    def __init__(self) -> None:
        self._control: socket.socket | None = None

    def run(
        self,
        arguments: list[str],
        *,
        cwd: Path,
        environment: dict[str, str],
        stdin: bytes,
        timeout_seconds: float,
    ) -> tuple[int, bytes, bytes]:
        """Run a command to its end; return its exit code, stdout and stderr.

        A command that does not end in time is killed.
        """
        ours, theirs = socket.socketpair()
        with ours, contextlib.ExitStack() as stack:
            streams = [stack.enter_context(tempfile.TemporaryFile()) for _ in range(STREAMS)]
            streams[0].write(stdin)
            streams[0].seek(0)
            request = {"arguments": arguments, "cwd": str(cwd), "environment": environment}
            with theirs:
                files = [theirs.fileno(), *(stream.fileno() for stream in streams)]
                socket.send_fds(self._started(), [json.dumps(request).encode()], files)
            ours.settimeout(timeout_seconds)
            answers = stack.enter_context(ours.makefile())
            pid = int(answers.readline())
            try:
                code = int(answers.readline())
            except TimeoutError:
                os.kill(pid, signal.SIGKILL)
                raise
            outputs = []
            for stream in streams[1:]:
                stream.seek(0)
                outputs.append(stream.read())
            return code, outputs[0], outputs[1]

    def _started(self) -> socket.socket:
        if self._control is None:
            self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs:
                process = subprocess.Popen(
                    [sys.executable, "-m", "tests.cli.fork_server", str(theirs.fileno())],
                    cwd=ROOT,
                    env={k: v for k, v in os.environ.items() if not k.startswith("BRIDGE_")},
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                )
            atexit.register(process.wait)
            atexit.register(self._control.close)  # called first; the process ends by it
        return self._control


FORK_SERVER: Final = ForkServer()


def _serve(control: socket.socket) -> bool:
    """Fork for each request; return True in each fork, once it is set up, and False at the end."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the watchers
    while True:
        message, files, _, _ = socket.recv_fds(control, MAX_REQUEST_BYTES, STREAMS + 1)
        if not message:
            return False
        if os.fork() == 0:
            control.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            return _watch(json.loads(message), files)
        for file in files:
            os.close(file)


def _watch(request: dict[str, Any], files: list[int]) -> bool:
    """Fork the command and send its process id and its exit code; return in the command only."""
    answer_file, *streams = files
    if pid := os.fork():
        with socket.socket(fileno=answer_file) as answers:
            answers.sendall(b"%d\n" % pid)
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            answers.sendall(b"%d\n" % code)
        os._exit(0)
    for number, file in enumerate(streams):
        os.dup2(file, number)
    for file in files:
        os.close(file)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv = ["bridge", *request["arguments"]]
    return True


if __name__ == "__main__":
    import bridge.app.instance
    import bridge.bench.runner
    import bridge.kafka.client.embedded  # noqa: F401 - commands import these when they run
    from bridge.cli import main

    if _serve(socket.socket(fileno=int(sys.argv[1]))):
        main()
