"""One program on several hosts: how a process learns of the others (`--distributed`)."""

import os
import re
import sys
import time

from inspose_jax.errors import UserError

VARIABLES = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
STATUS = re.compile(  # how the runtime's errors begin
    "(CANCELLED|UNKNOWN|INVALID_ARGUMENT|DEADLINE_EXCEEDED|NOT_FOUND|ALREADY_EXISTS|PERMISSION_DENIED|"
    "RESOURCE_EXHAUSTED|FAILED_PRECONDITION|ABORTED|OUT_OF_RANGE|UNIMPLEMENTED|INTERNAL|UNAVAILABLE|DATA_LOSS): "
)
LESS_MEMORY = {  # what needs less, by command
    "train": "take a smaller --config.schedule.batch-size, work it off in parts with --config.schedule.accumulate, or "
    "take smaller pictures; another program on the device may hold the memory too",
    "eval": "take smaller pictures with --config.data.test-short-side, or JAX_PLATFORMS=cpu; another program on the "
    "device may hold the memory too",
    "": "make the pictures smaller, or set JAX_PLATFORMS=cpu; another program on the device may hold the memory too",
}
LOST_AFTER = 30  # seconds without a sign of life, after which a process counts as gone
LEAVE_AFTER = 60  # seconds that one that is done waits for the others to be


def is_joined() -> bool:
    """Whether this is one of several processes."""
    return "jax" in sys.modules and sys.modules["jax"].distributed.is_initialized()


def leave(code: int) -> None:
    """End this process at once: an orderly end would wait for the others, which may wait for this one."""
    import jax

    sys.stdout.flush()
    if jax.process_index() == 0:  # where the others ask about each other: let them say what they have to say
        time.sleep(2)
    os._exit(code)


def runtime_fault(error: Exception, command: str) -> str:
    """What jax's runtime raised in a command, in words that say what to do; empty for an error of another kind."""
    # Some of its errors come as ValueError; all begin with the name of a status, such as UNAVAILABLE.
    if "jax" not in sys.modules or not STATUS.match(str(error)):
        return ""
    import jax

    if "RESOURCE_EXHAUSTED" in str(error):
        return f"the device is out of memory ({first_line(error)}); {LESS_MEMORY.get(command, LESS_MEMORY[''])}"
    if jax.process_count() > 1:
        return (
            f"process {jax.process_index()} of {jax.process_count()}: another process of this run is gone "
            f"({first_line(error)}); what was saved stays, start all of them again (a training with --resume)"
        )
    return ""


def first_line(error: Exception) -> str:
    """The beginning of what may be a screen of text."""
    return str(error).splitlines()[0][:200]


def join() -> None:
    """Meet the other processes of this run; before anything else touches jax.

    Cloud TPU, SLURM, Open MPI and Kubernetes tell jax about them; elsewhere the three variables do.  ValueError where
    nothing does, or what is told makes no sense.  Where the others do not come within 5 minutes, jax ends the program.
    """
    import jax
    from jax.experimental import multihost_utils

    address, number, process = (os.environ.get(name, "") for name in VARIABLES)
    told = bool(address or number or process)
    host, _, port = address.rpartition(":")
    is_whole = host and all(text.isdecimal() for text in (port, number, process)) and int(process) < int(number)
    if told and not is_whole:
        found = ", ".join(f"{name}={os.environ.get(name, '')}" for name in VARIABLES)
        raise UserError(
            f"--distributed: {found} do not describe a run; set all three: host:port of process 0, the number of "
            f"processes, and which this one is, from 0"
        )
    jax.config.update("jax_enable_preemption_service", False)  # it would take SIGTERM for itself
    try:
        jax.distributed.initialize(
            num_processes=int(number) if told else None,
            process_id=int(process) if told else None,
            heartbeat_timeout_seconds=LOST_AFTER,
            shutdown_timeout_seconds=LEAVE_AFTER,
        )
    except (ValueError, TypeError) as error:
        raise UserError(
            f"--distributed: nothing tells about other processes ({error}); set {', '.join(VARIABLES)}, or leave it out"
        ) from None
    except jax.errors.JaxRuntimeError as error:
        raise UserError(f"--distributed: the processes cannot meet ({first_line(error)})") from None
    # CPUs connect at their first common step, for which they wait 30 seconds only: let it be now.
    multihost_utils.sync_global_devices("join")
