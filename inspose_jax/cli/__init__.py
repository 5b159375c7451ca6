"""The command line: picks the command and turns a known error into one line and exit code 2.

Each command is a file that parses, wires the parts and computes nothing.  Nothing heavy is imported before a command
has its arguments, so that `--help` answers at once.
"""

import difflib
import importlib
import logging
import sys
import warnings
from typing import Any

import inspose_jax
from inspose_jax.cli import compilation_cache

COMMANDS = {
    "demo": ("demo", "learn, measure and draw people: no data, no GPU"),
    "train": ("train", "train a recipe on drawn people or a COCO folder"),
    "eval": ("evaluate", "the ten COCO keypoint statistics of a checkpoint"),
    "predict": ("predict", "find people in pictures, draw them, write their joints"),
    "data": ("data", "draw a data set, or check one"),
}


def main(arguments: list[str] | None = None) -> None:
    """Run the command in `arguments` (those of the process by default); exits with 2 on a user's error."""
    if arguments is None:
        arguments = sys.argv[1:]
        keep_from_repeating()
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage())
        return
    if arguments[0] == "--version":
        print(inspose_jax.__version__)
        return
    fault = ""
    try:
        if arguments[0] not in COMMANDS:
            near = difflib.get_close_matches(arguments[0], COMMANDS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(COMMANDS)}"
            raise ValueError(f"{arguments[0]}: no such command; {hint}")
        warnings.showwarning = show_warning
        compilation_cache.turn_on()
        importlib.import_module(f"inspose_jax.cli.{COMMANDS[arguments[0]][0]}").run(arguments[1:])
    except (ValueError, OSError, FloatingPointError) as error:
        fault = one_line(error)
    except KeyboardInterrupt:
        sys.exit("inspose: stopped")
    if fault:  # printed only now that the error's frames are gone: with them a progress bar has ended its own line
        print(f"inspose: error: {fault}", file=sys.stderr)
        sys.exit(2)


def show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    """A warning as one line, without the place in the code."""
    print(f"inspose: warning: {message}", file=sys.stderr)


def keep_from_repeating() -> None:
    """Of what failed in reading or writing a checkpoint, keep back what its threads print besides raising it.

    That is a screen of text for each array, and comes after the one line that says it all.
    """
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", "coroutine .* was never awaited")
    show = sys.unraisablehook

    def show_others(event: Any) -> None:
        if "Event loop is closed" not in str(event.exc_value):
            show(event)

    sys.unraisablehook = show_others


def one_line(error: Exception) -> str:
    """What is wrong and the remedy; never empty, since an empty line would look like success."""
    if isinstance(error, OSError) and error.strerror:  # the system's own words, such as "Permission denied"
        place = f"{error.filename}: " if error.filename else ""
        return f"{place}{error.strerror}; check the path, its permissions and the space there"
    return " ".join(str(error).split()) or type(error).__name__


def usage() -> str:
    """What `inspose --help` prints."""
    lines = [f"  {name:8} {what}" for name, (_, what) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: inspose COMMAND ...   find every person in a picture, and their joints, in one look",
            "",
            *lines,
            "",
            "`inspose COMMAND --help` tells more; start with `inspose demo`.",
        ]
    )
