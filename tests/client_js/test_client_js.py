"""The JavaScript client: its unit tests, its states, its size, its package, and users' code."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import sys
from typing import TYPE_CHECKING

import pytest

from bridge.client.states import TRANSITIONS
from tests.client_js.npm_project import (
    CLIENT,
    COMPILER_PACKAGES,
    EXAMPLES,
    TESTS_FOLDER,
    compile_files,
    install_packages,
    pack_client,
    run_command,
    run_unit_tests,
)

if TYPE_CHECKING:
    from pathlib import Path

SOURCE = CLIENT / "push-bridge.js"
LIMIT = 4096


@pytest.mark.node
def test_unit_tests_in_node_pass() -> None:
    done = run_unit_tests()
    assert done.returncode == 0, done.stdout[-8000:]


@pytest.mark.node
def test_states_equal_those_of_the_python_client() -> None:
    show = "import { states } from './push-bridge.js'; console.log(JSON.stringify(states))"
    done = run_command("node", "--input-type=module", "--eval", show, cwd=CLIENT)
    assert json.loads(done.stdout) == {
        state: {
            happening.upper().replace(" ", "_"): following
            for happening, following in followings.items()
        }
        for state, followings in TRANSITIONS.items()
    }


def test_it_is_small(capsys: pytest.CaptureFixture[str]) -> None:
    plain = SOURCE.read_bytes()
    zipped = len(gzip.compress(plain, 9, mtime=0))
    with capsys.disabled():
        sys.stdout.write(f"\npush-bridge.js: {len(plain)} bytes, {zipped} gzipped\n")
    assert zipped <= LIMIT


def test_module_has_no_dependencies() -> None:
    told = json.loads((CLIENT / "package.json").read_text())
    assert not {"dependencies", "peerDependencies", "optionalDependencies"} & told.keys()
    assert re.findall(r"\bimport\b|\brequire\b", SOURCE.read_text()) == []


@pytest.mark.npm
def test_package_has_only_the_module_and_its_types() -> None:
    told = pack_client("--dry-run")
    names = {file["path"] for file in told["files"]}
    assert names == {"package.json", "push-bridge.js", "push-bridge.d.ts"}
    assert told["name"] == "push-bridge"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's project, with the package and a compiler."""
    return install_packages(tmp_path_factory.mktemp("project"), *COMPILER_PACKAGES)


@pytest.mark.npm
@pytest.mark.timeout(300)
def test_users_code_compiles_strictly_and_mistakes_do_not(project: Path) -> None:
    shutil.copy(TESTS_FOLDER / "users.ts", project)
    assert compile_files(project, ["users.ts"]) == ""
    # And the compiler does look: a mistake that nobody expects is a complaint.
    (project / "wrong.ts").write_text(
        'import { createClient } from "push-bridge";\ncreateClient(42);\n'
    )
    assert "wrong.ts(2," in compile_files(project, ["wrong.ts"])


@pytest.mark.npm
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", ["listen.mjs", "use-push-bridge.js", "page/page.js"])
def test_examples_are_typed_correctly(project: Path, name: str) -> None:
    file = project / name.rpartition("/")[2]
    shutil.copy(EXAMPLES / name, file)
    assert compile_files(project, [file.name], "--allowJs", "--checkJs") == ""


@pytest.mark.npm
@pytest.mark.timeout(300)
def test_package_is_imported_by_its_name(project: Path) -> None:
    show = "import * as it from 'push-bridge'; console.log(Object.keys(it).sort().join())"
    done = run_command("node", "--input-type=module", "--eval", show, cwd=project)
    assert done.stdout.strip() == "Place,createClient,states"
