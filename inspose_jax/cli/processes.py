"""One program on several hosts: how a process learns of the others (`--distributed`)."""

import os

VARIABLES = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
LOST_AFTER = 30  # seconds without a sign of life, after which a process counts as gone
LEAVE_AFTER = 60  # seconds that one that is done waits for the others to be


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
        raise ValueError(
            f"--distributed: {found} do not describe a run; set all three: host:port of process 0, the number of "
            f"processes, and which this one is, from 0"
        )
    try:
        jax.distributed.initialize(
            num_processes=int(number) if told else None,
            process_id=int(process) if told else None,
            heartbeat_timeout_seconds=LOST_AFTER,
            shutdown_timeout_seconds=LEAVE_AFTER,
        )
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"--distributed: nothing tells about other processes ({error}); set {', '.join(VARIABLES)}, or leave it out"
        ) from None
    # CPUs connect at their first common step, for which they wait 30 seconds only: let it be now.
    multihost_utils.sync_global_devices("join")
