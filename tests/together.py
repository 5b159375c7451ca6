"""Several processes of one program on this machine, as on several hosts: started together, ended together."""

import os
import socket
import subprocess
import sys

from inspose_jax.cli.distributed import VARIABLES


def free_port() -> int:
    """A free port of this machine."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def environments(number: int) -> list[dict[str, str]]:
    """Environment variables that tell each of `number` processes of the others; none for a single process."""
    if number == 1:
        return [{}]
    address = f"127.0.0.1:{free_port()}"
    return [dict(zip(VARIABLES, (address, str(number), str(i)), strict=True)) for i in range(number)]


def run_together(arguments: list[str], number: int, seconds: float = 240) -> list[subprocess.CompletedProcess[str]]:
    """`python ARGUMENTS` in `number` processes, connected if there are several; none outlives this call."""
    running = []
    try:
        for more in environments(number):
            environment = {**os.environ, "JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "1", **more}
            pipe, command = subprocess.PIPE, [sys.executable, *arguments]
            running.append(subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True))
        ended = []
        for process in running:
            out, err = process.communicate(timeout=seconds)
            ended.append(subprocess.CompletedProcess(process.args, process.returncode, out, err))
        return ended
    finally:
        for process in running:
            process.kill()
            process.wait()
