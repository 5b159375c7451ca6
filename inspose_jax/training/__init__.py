"""From batches to trained parameters.

`step` is the arithmetic (state, batch) -> (state, measurements), and `optimizer` is how gradients move parameters;
`sharding` puts both on all devices.  `loop` drives them from the state that `start` provides; a `timetable` says what
is due at which step.  `transfer` starts a run from the parameters of another one.  `log` writes the measurements and
`trace` a profile.  `workdir` prepares the folder of a run, and `interruption` catches the signals that ask a run to
stop.
"""
