"""The refresh loop: history in, a better initialization out, if it is better."""
