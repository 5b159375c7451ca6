"""From batches to trained parameters.

`step` is the arithmetic (state, batch) -> (state, measurements); `optimizer` how gradients move parameters; `sharding`
puts both on all devices; `loop` drives them and writes what happened.
"""
