"""`python -m tests.chaos`: stories of chaos by seed, each with its figures and its breaches."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import time

from tests.chaos.story import tell


def main() -> int:
    """Run the stories; return 1 if a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=2.0, help="of faults in each story")
    parser.add_argument("--seed", type=int, default=2026, help="of the first story")
    parser.add_argument("--stories", type=int, default=1, help="one seed after another")
    options = parser.parse_args()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # that a broker is away is no news
    is_broken = False
    for seed in range(options.seed, options.seed + options.stories):
        began = time.monotonic()
        report = asyncio.run(tell(seed, options.minutes * 60))
        is_broken |= bool(report.breaches)
        _print(f"{report} took={time.monotonic() - began:.0f}s breaches={len(report.breaches)}")
        if report.breaches:
            _print("\n".join([*report.breaches[:100], report.details]))
    return int(is_broken)


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
