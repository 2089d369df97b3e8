"""Kafka as commands, the demo and the tests use it: short timeouts, readable errors, canonical files in and out."""
