"""`fewstep bench`: the worker beside plain Faust programs and the physical floor, in turn, on one topic."""
