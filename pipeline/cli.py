"""The commands. Exit status: 0 success, 1 a run that failed, 2 a mistake in the call or the
configuration."""

import argparse
import json
import os
import sys

from pipeline.parser import parser


def main(argv: list[str] | None = None) -> int:
    from pipeline.build_config import ConfigError
    from pipeline.executor import StageError, Terminated, stop_on_sigterm

    args = parser().parse_args(argv)
    stop_on_sigterm()
    try:
        result = args.command(args)
    except ConfigError as error:
        return _fail(args, error, 2)
    except (StageError, ValueError) as error:
        return _fail(args, error, 1)
    except BrokenPipeError:  # a reader like `head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        return _fail(args, what, 1)
    except KeyboardInterrupt as error:
        status = 143 if isinstance(error, Terminated) else 130
        return _fail(args, "interrupted; the same command goes on where it stopped", status)
    if args.json:
        print(json.dumps({"ok": True, **result}, sort_keys=True))
    return 0


def _fail(args: argparse.Namespace, error: object, status: int) -> int:
    for line in str(error).splitlines():
        print(f"corpusmill: {line}", file=sys.stderr)
    if args.json:
        print(json.dumps({"ok": False, "error": str(error)}))
    return status


if __name__ == "__main__":
    sys.exit(main())
