"""Several devices and several processes.

`layout` places tables and windows on devices, `backend` makes settings before JAX starts,
`processes` starts a run of several processes, and `agreement` keeps them in step.
"""
