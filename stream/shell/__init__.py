"""The shell around the core: the Faust app, batch delivery, recovery, producing."""
