"""The command line: dispatches to a command, and reports errors that a user can fix in one line with exit code 2.

Any other error is a bug and prints its traceback; INSPOSE_TRACEBACK=1 prints the traceback of every error.

Each command is a file that parses its arguments and wires the parts together, but computes nothing itself.  Nothing
heavy is imported before a command has parsed its arguments, so that `--help` answers at once.
"""

import importlib
import inspect
import io
import logging
import os
import sys
import traceback
import warnings
from typing import Any

from inspose_jax import versions
from inspose_jax.cli import compilation_cache, distributed
from inspose_jax.errors import Note, UserError, did_you_mean

COMMANDS = {
    "demo": ("demo", "train, evaluate and show a small model; needs no data and no GPU"),
    "train": ("train", "train a recipe on drawn people or annotated images"),
    "eval": ("evaluate", "compute COCO's statistics of a checkpoint on annotated images"),
    "predict": ("predict", "find people in images and videos, draw them, write their joints"),
    "report": ("report", "show a run on one HTML page: curves, throughput, configuration, people found"),
    "import-torch": ("import_torch", "make a checkpoint of PyTorch's weights, such as the paper's authors released"),
    "export-torch": ("export_torch", "write a checkpoint for PyTorch: a file of weights, or a folder for a model hub"),
    "export-onnx": ("export_onnx", "write a model as an ONNX graph, with a file that finds people by numpy alone"),
    "sweep": ("sweep", "train and evaluate every row of a table, with several seeds, and write the table"),
    "data": ("data", "draw, show, check, measure, import and build datasets, find their shapes"),
}


def main(arguments: list[str] | None = None) -> None:
    """Run the command in `arguments` (by default the process's).

    Exits with 2 on a user error and with 130 on Ctrl-C; any other exception is a bug and propagates.
    """
    if arguments is None:
        arguments = sys.argv[1:]
        silence_background_errors()
        configure_opencv()
    for stream in (sys.stdout, sys.stderr):  # a terminal may be unable to show a file name
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage())
        return
    if arguments[0] == "--version":
        print(versions.OURS)
        return
    fault, code = "", 2
    try:
        if "" in arguments:
            raise UserError("one of the arguments is empty; is a shell variable unset?")
        if arguments[0] not in COMMANDS:
            hint = did_you_mean(arguments[0], COMMANDS, f"the commands are {', '.join(COMMANDS)}")
            raise UserError(f"{arguments[0]}: no such command; {hint}")
        warnings.showwarning = show_warning
        compilation_cache.turn_on()
        importlib.import_module(f"inspose_jax.cli.{COMMANDS[arguments[0]][0]}").run(arguments[1:])
        sys.stdout.flush()
    except BrokenPipeError:  # the reader closed the pipe, as in `inspose data check .. | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        line = one_line(error, arguments[0])
        if not line and not distributed.is_joined():
            raise
        if not line or os.environ.get("INSPOSE_TRACEBACK") == "1":
            traceback.print_exc()
        fault, code = (f"error: {line}", 2) if line else ("stopped by a bug; see the traceback above", 1)
    except KeyboardInterrupt:
        fault, code = "stopped", 130
    if fault:  # printed only now, when the error's frames are released and their resources closed
        print(f"inspose: {fault}", file=sys.stderr, flush=True)
        if distributed.is_joined():
            distributed.exit_now(code)
        sys.exit(code)


def show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    """Print a warning or a note as one line, without its location in the code."""
    print(f"inspose: {'note' if issubclass(category, Note) else 'warning'}: {message}", file=sys.stderr)


def silence_background_errors() -> None:
    """Silence what the threads that read and write checkpoints print about a failure that is raised anyway.

    It would be a screen of text for each array, after the one line that already says everything.
    """
    for library in ("absl", "asyncio"):
        logging.getLogger(library).setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", "coroutine .* was never awaited")
    show = sys.unraisablehook

    def show_others(event: Any) -> None:
        if not inspect.iscoroutine(event.object) and "Event loop is closed" not in str(event.exc_value):
            show(event)

    sys.unraisablehook = show_others


def configure_opencv() -> None:
    """Set the environment variables that OpenCV reads on its first import, unless the user has set them.

    Our own errors already report unreadable files, so OpenCV and FFmpeg stay silent.  Several threads already read
    images, and each of them would otherwise start more.
    """
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    os.environ.setdefault("OPENCV_FOR_THREADS_NUM", "1")


def one_line(error: Exception, command: str) -> str:
    """The fault and its remedy on one line, for an error that a user can fix; empty for any other error."""
    if isinstance(error, UserError):
        return " ".join(str(error).split())
    if isinstance(error, OSError) and error.strerror:  # the system's message, such as "Permission denied"
        place = f"{error.filename}: " if error.filename else ""
        return f"{place}{error.strerror}; check the path, its permissions and the free space"
    if isinstance(error, MemoryError):
        return "out of memory; use smaller images, or fewer at a time"
    return distributed.runtime_fault(error, command)


def usage() -> str:
    """The text that `inspose --help` prints."""
    lines = [f"  {name:12} {what}" for name, (_, what) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: inspose COMMAND ...   find every person in an image, and their joints, in a single pass",
            "",
            *lines,
            "",
            "`inspose COMMAND --help` lists a command's options; start with `inspose demo`.",
        ]
    )
