"""The `dreamgym` command: one word a stage."""

from __future__ import annotations

import argparse
import sys


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit status."""
    parser = argparse.ArgumentParser(prog="dreamgym", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    p = commands.add_parser("collect", help="play real games and keep them")
    p.add_argument("task")
    p.add_argument("--episodes", type=int, default=10_000)
    p.add_argument("--out", default=None)
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--processes", type=int, default=0)
    args = parser.parse_args(argv)
    if args.command == "collect":
        from dreamgym.training.collect import Args, collect

        out = args.out or f"data/{args.task}"
        print(collect(Args(args.task, args.episodes, args.seed), out, args.processes), "frames")
    return 0


if __name__ == "__main__":
    sys.exit(main())
