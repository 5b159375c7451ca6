"""One program on several hosts (`--distributed`): how a process joins and leaves the others."""

import os
import re
import sys
import time

from inspose_jax.errors import UserError

VARIABLES = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
STATUS = re.compile(  # the prefix of the runtime's errors
    "(CANCELLED|UNKNOWN|INVALID_ARGUMENT|DEADLINE_EXCEEDED|NOT_FOUND|ALREADY_EXISTS|PERMISSION_DENIED|"
    "RESOURCE_EXHAUSTED|FAILED_PRECONDITION|ABORTED|OUT_OF_RANGE|UNIMPLEMENTED|INTERNAL|UNAVAILABLE|DATA_LOSS): "
)
LESS_MEMORY = {  # how to use less memory, by command
    "train": "use a smaller --config.schedule.batch-size, split the batch with --config.schedule.accumulate, or "
    "use smaller images; another program may be using the device's memory too",
    "eval": "use smaller images with --config.data.test-short-side, or set JAX_PLATFORMS=cpu; another program "
    "may be using the device's memory too",
    "": "use smaller images, or set JAX_PLATFORMS=cpu; another program may be using the device's memory too",
}
LOST_AFTER = 30  # seconds without a heartbeat after which a process counts as lost
LEAVE_AFTER = 60  # seconds that a finished process waits for the others to finish


def is_joined() -> bool:
    """Whether this is one of several processes."""
    return "jax" in sys.modules and sys.modules["jax"].distributed.is_initialized()


def exit_now(code: int) -> None:
    """Exit at once, since a regular exit would wait for the other processes, which may be waiting for this one."""
    import jax

    sys.stdout.flush()
    if jax.process_index() == 0:  # the coordinator stays a moment, so that the others can report their errors
        time.sleep(2)
    os._exit(code)


def runtime_fault(error: Exception, command: str) -> str:
    """The fault and the remedy for an error of JAX's runtime; empty for any other error."""
    # Some runtime errors are raised as ValueError; all begin with the name of a status, such as UNAVAILABLE.
    if "jax" not in sys.modules or not STATUS.match(str(error)):
        return ""
    import jax

    if "RESOURCE_EXHAUSTED" in str(error):
        return f"the device is out of memory ({first_line(error)}); {LESS_MEMORY.get(command, LESS_MEMORY[''])}"
    if jax.process_count() > 1:
        return (
            f"process {jax.process_index()} of {jax.process_count()}: another process of this run has ended "
            f"({first_line(error)}); what was saved is intact. Start all processes again (a training with --resume)"
        )
    return ""


def first_line(error: Exception) -> str:
    """The first line of an error message, which may be a screen of text, cut to 200 characters."""
    return str(error).splitlines()[0][:200]


def join() -> None:
    """Connect to the other processes of this run; must be called before anything else uses JAX.

    Cloud TPU, SLURM, Open MPI and Kubernetes tell JAX about the processes; elsewhere the three `VARIABLES` do.  Raises
    UserError if nothing describes the processes, or the description is invalid.  If the others do not connect within 5
    minutes, JAX ends the program.
    """
    import jax
    from jax.experimental import multihost_utils

    address, number, process = (os.environ.get(name, "") for name in VARIABLES)
    is_configured = bool(address or number or process)
    host, _, port = address.rpartition(":")
    is_whole = host and all(text.isdecimal() for text in (port, number, process)) and int(process) < int(number)
    if is_configured and not is_whole:
        found = ", ".join(f"{name}={os.environ.get(name, '')}" for name in VARIABLES)
        raise UserError(
            f"--distributed: {found} do not describe a run; set all three: host:port of process 0, the number of "
            f"processes, and the number of this process, from 0"
        )
    jax.config.update("jax_enable_preemption_service", False)  # it would intercept SIGTERM
    try:
        jax.distributed.initialize(
            num_processes=int(number) if is_configured else None,
            process_id=int(process) if is_configured else None,
            heartbeat_timeout_seconds=LOST_AFTER,
            shutdown_timeout_seconds=LEAVE_AFTER,
        )
    except (ValueError, TypeError) as error:
        raise UserError(
            f"--distributed: no other process is known ({error}); set {', '.join(VARIABLES)}, or leave it out"
        ) from None
    except jax.errors.JaxRuntimeError as error:
        raise UserError(f"--distributed: the processes cannot connect to each other ({first_line(error)})") from None
    # CPUs connect at their first common operation and wait for it only 30 seconds, so connect now.
    multihost_utils.sync_global_devices("join")
