"""Java for the tests: Kafka's jars, fetched once, and the command lines that run them.

The rule kept here: a cache folder is only ever seen complete. It is filled under another name and
renamed, so that test runs side by side, or one that was stopped half-way, break nothing.
"""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

POM = Path(__file__).with_name("pom.xml")
FETCH_SECONDS = 600

# Short lives: the quick compiler and the plain collector are ready sooner and leave the cores to
# the tests. Performance data would litter the system's temporary folder after every SIGKILL. The
# machine's own warnings (such as that an archive is of another Java) must not look like answers.
JVM_OPTIONS = (
    "-XX:TieredStopAtLevel=1",
    "-XX:+UseSerialGC",
    "-XX:-UsePerfData",
    "-Xshare:auto",
    "-Xlog:disable",
    "-Xlog:all=warning:stderr",
)

# The kernel ends a broker when the *thread* that started it ends. So all are started by one thread
# that lives as long as this program, and not by whichever the caller happens to be on.
_starter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="brokers")


class BrokerError(RuntimeError):
    """A broker, one of its tools, or Maven did not do what was asked."""


@functools.cache
def kafka_jars() -> Path:
    """The folder with the jars that `pom.xml` names; Maven fills it the first time."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "push-bridge-tests"
    folder = cache / f"kafka-{hashlib.sha256(POM.read_bytes()).hexdigest()[:12]}"
    if folder.is_dir():
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix="fetching-") as temporary:
        filled_folder = Path(temporary) / "jars"
        goal = ["dependency:copy-dependencies", f"-DoutputDirectory={filled_folder}"]
        _run_command(["mvn", "--quiet", "--batch-mode", f"--file={POM}", *goal], FETCH_SECONDS)
        try:
            filled_folder.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another test run was quicker, which is as good
                raise
    return folder


def run_tool(main_class: str, *arguments: str, timeout_seconds: float) -> str:
    """Run one of Kafka's command line tools to its end; return what it printed."""
    quiet = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
    return _run_command(
        ["java", *JVM_OPTIONS, *_class_path_options(), quiet, main_class, *arguments],
        timeout_seconds,
    )


def start_broker(
    properties: Path, *, heap: str, log: Path, draft: Path, jmx_port: int = 0
) -> subprocess.Popen[bytes]:
    """Start a broker in the background; it dies with this program, however that ends.

    It tells its metrics at `jmx_port`, unless that is 0.

    `draft` is where a broker that finds no class archive leaves one, if it is stopped in order.
    """
    command = [
        *(
            "setpriv",
            "--pdeathsig",
            "KILL",
            "java",
            f"-Xmx{heap}",
            *JVM_OPTIONS,
            *_class_path_options(draft),
        ),
        f"-Djava.io.tmpdir={properties.parent}",
        *(_jmx_options(jmx_port) if jmx_port else ()),
        "-Dorg.slf4j.simpleLogger.showDateTime=true",
        "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
        *("kafka.Kafka", str(properties)),
    ]
    with log.open("ab") as out:
        return _starter.submit(
            subprocess.Popen[bytes],
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,  # a Ctrl-C is for the tests, which then end their brokers
        ).result()


def _jmx_options(port: int) -> tuple[str, ...]:
    remote = "com.sun.management.jmxremote"
    return (
        "-Djava.rmi.server.hostname=127.0.0.1",
        f"-D{remote}.port={port}",
        f"-D{remote}.rmi.port={port}",
        f"-D{remote}.host=127.0.0.1",
        f"-D{remote}.authenticate=false",
        f"-D{remote}.ssl=false",
    )


def class_archive_path() -> Path:
    """Kafka's classes as the virtual machine keeps them: with it a broker is up in a third."""
    return kafka_jars() / "classes.jsa"


def keep_class_archive(draft: Path) -> None:
    """Take what a broker left at its orderly end as everybody's archive."""
    if draft.exists() and not class_archive_path().exists():
        beside = class_archive_path().with_suffix(f".{os.getpid()}")
        shutil.copy(draft, beside)  # the draft may be on another file system
        beside.rename(class_archive_path())


def _class_path_options(draft: Path | None = None) -> tuple[str, ...]:
    """Where the classes are; with a draft and no archive yet, the order to leave one there."""
    sharing: tuple[str, ...] = ()
    if class_archive_path().exists():
        sharing = (f"-XX:SharedArchiveFile={class_archive_path()}",)
    elif draft:
        sharing = (f"-XX:ArchiveClassesAtExit={draft}",)
    return (*sharing, "-cp", f"{kafka_jars()}/*")


def _run_command(command: list[str], timeout_seconds: float) -> str:
    try:
        completed = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise BrokerError(f"no end after {timeout_seconds:.0f} s: {' '.join(command)}") from error
    if completed.returncode:
        raise BrokerError(f"failed: {' '.join(command)}\n{completed.stdout}{completed.stderr}")
    return completed.stdout
