"""From batches to trained parameters.

`step` is the arithmetic (state, batch) -> (state, measurements); `optimizer` how gradients move parameters; `sharding`
puts both on all devices; `loop` drives them, from what `start` gives it, at the steps of a `timetable`, and writes what
happened: `log` the measurements, `trace` a profile.  `workdir` is a run's folder, `interruption` a signal to leave.
"""
