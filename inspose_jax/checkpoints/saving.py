"""Write the checkpoints of a run in the background, complete or not at all."""

import contextlib
import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from inspose_jax import config_json, paths, provenance
from inspose_jax.checkpoints import seals
from inspose_jax.checkpoints.folder import UNFINISHED, remove_unfinished, steps, tidy
from inspose_jax.checkpoints.system_errors import reason
from inspose_jax.config import Config
from inspose_jax.errors import NotWritten

KEPT = 2  # the newest, and the one before it in case the newest is lost
FILE_SIZE = 2**23  # bytes; orbax keeps in memory what is not yet in a file, and would fill one up to 2 GB


class Checkpoints:
    """The newest `kept` checkpoints of one run, in `folder`; a context manager that waits for the last save.

    The run starts or resumes at step `start`.  Finished checkpoints of later steps were unreadable or will be written
    again, so they are renamed rather than deleted.  The only finished checkpoints that are ever deleted are those
    that are older than the newest `kept`.
    Raises NotWritten, an OSError, if a checkpoint cannot be written; earlier checkpoints stay intact and no partial
    one remains.
    """

    def __init__(self, folder: Path, start: int, kept: int = KEPT):
        self.folder, self.kept = paths.absolute(folder), kept
        self.manager: ocp.CheckpointManager | None = None  # created by the first save
        self.writing: int | None = None  # the step that is being written
        tidy(self.folder, start)

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        if self.manager is None:
            return
        if kind is None:
            self.finish()
        elif jax.process_count() == 1:  # among several processes, this would wait for one that has already died
            # The user should see the error that ended the run, not that its last save failed too.
            with contextlib.suppress(OSError):
                self.finish()
        else:
            return
        self.manager.close()

    def holds(self, step: int) -> bool:
        """Whether there is a finished checkpoint of a step."""
        return step in steps(self.folder)

    def save(self, step: int, state: Any, config: Config, recipe: dict[str, str] | None = None, **more: Any) -> None:
        """Write `state`, a pytree of arrays, in the background.

        Arrays of jax may be donated as soon as this returns; those of numpy must stay unchanged until `finish`.
        `recipe` is `Method.recipe`; `more` is saved as JSON beside the config.
        """
        self.finish()
        self.check_space(step, state)
        about = {
            "config": config_json.to_dict(config),
            "recipe": recipe,
            "step": step,
            "written_by": provenance.about(),
            **more,
        }
        # A process that is alone copies every array from one of its devices.  Orbax would divide each over all devices
        # that hold it, which takes longer; with several processes this divides the writing among them.
        named = dict(state._asdict())  # so that a checkpoint can be read without our types
        arrays = on_host(named) if jax.process_count() == 1 else named
        items = ocp.args.Composite(
            state=ocp.args.PyTreeSave(arrays, ocdbt_target_data_file_size=FILE_SIZE), about=ocp.args.JsonSave(about)
        )
        self.writing = step
        with self.as_not_written():
            if self.manager is None:
                sealing = ocp.AsyncOptions(post_finalization_callback=self.seal)
                # Processes synchronise on barriers by name; the prefix lets two folders be written at the same time.
                apart = ocp.options.MultiprocessingOptions(barrier_sync_key_prefix=self.folder.name)
                options = ocp.CheckpointManagerOptions(
                    max_to_keep=self.kept, create=True, async_options=sealing, multiprocessing_options=apart
                )
                handlers = {"state": state_handler(), "about": ocp.JsonCheckpointHandler()}
                self.manager = ocp.CheckpointManager(self.folder, options=options, item_handlers=handlers)
            written = self.manager.save(step, args=items)
        assert written, f"{self.folder}: step {step} or a later one is saved already"

    def check_space(self, step: int, state: Any) -> None:
        """Raise NotWritten, before anything is written, if the disk lacks the space for the whole checkpoint."""
        needed = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
        present = next(folder for folder in (self.folder, *self.folder.parents) if folder.exists())
        free = shutil.disk_usage(present).free
        if free < needed:
            raise NotWritten(
                f"{self.folder}: step {step} needs {needed / 1e6:.1f} MB, of which {free / 1e6:.1f} MB are free; what "
                f"was saved before is intact. Free some space, and continue with --resume"
            )

    def finish(self) -> None:
        """Wait until the last save is on disk."""
        if self.manager is not None and self.writing is not None:
            with self.as_not_written():
                self.manager.wait_until_finished()
            self.writing = None

    def seal(self) -> None:
        """Write the checksums of the saved files; orbax calls this before it renames the folder to its final name."""
        for unfinished in self.folder.glob(f"{self.writing}{UNFINISHED}*"):
            seals.write(unfinished)

    @contextlib.contextmanager
    def as_not_written(self) -> Any:
        """Turn any error while writing into NotWritten, which says what is left, and remove the partial checkpoint."""
        try:
            yield
        except Exception as error:  # orbax raises many types of exception
            step, self.writing = self.writing, None
            remove_unfinished(self.folder)
            raise NotWritten(
                f"{self.folder}: step {step} could not be saved ({reason(error)}); what was saved before is intact. "
                f"Remove the cause, and continue with --resume"
            ) from error


def on_host(state: Any) -> Any:
    """The arrays of a state as numpy's; those of a CPU are copied, since numpy's would share the device's memory."""

    def own(array: Any, fetched: Any) -> np.ndarray:
        is_shared = isinstance(array, jax.Array) and all(device.platform == "cpu" for device in array.devices())
        return np.array(fetched) if is_shared else np.asarray(fetched)

    return jax.tree.map(own, state, jax.device_get(state))


def state_handler() -> ocp.PyTreeCheckpointHandler:
    """What writes a state; unlike orbax's own it does not copy the arrays of numpy, which would double the memory."""
    arrays = ocp.type_handlers.get_type_handler(jax.Array)
    handlers = (np.ndarray, ocp.type_handlers.NumpyHandler(deepcopy_host_arrays=False)), (jax.Array, arrays)
    return ocp.PyTreeCheckpointHandler(type_handler_registry=ocp.type_handlers.create_type_handler_registry(*handlers))
