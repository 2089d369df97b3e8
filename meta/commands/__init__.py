"""Commands of `fewstep` that live in `meta`; found through the entry-point group `fewstep.commands`."""
