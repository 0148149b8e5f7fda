# `just` lists the recipes. `just setup` comes first.

python := ".venv/bin/python"

# list the recipes
default:
    @just --list

# create the environment with everything that development needs
setup:
    python3 -m venv .venv
    .venv/bin/pip install -q -e '.[dev]'

# run a bridge with an embedded development broker
dev *args:
    .venv/bin/push-bridge dev {{args}}

# every check and every test; arguments go to pytest
test *args:
    {{python}} -m tests {{args}}

# the tests that need no broker and no browser
fast *args:
    {{python}} -m tests fast {{args}}

# the tests that start a real Kafka
kafka *args:
    {{python}} -m tests kafka {{args}}

# the tests of whole systems: processes, proxies, browsers
journey *args:
    {{python}} -m tests journey {{args}}

# plant known bugs, one at a time: the tests must fail
mutants *text:
    {{python}} -m tests mutants {{text}}

# ruff and mypy
lint:
    {{python}} -m ruff format --check .
    {{python}} -m ruff check .
    {{python}} -m mypy

# format the code
format:
    {{python}} -m ruff format .
    {{python}} -m ruff check --fix .

# measure a running bridge, e.g. `just bench fanout --url http://127.0.0.1:8080`
bench *args:
    .venv/bin/push-bridge bench {{args}}
