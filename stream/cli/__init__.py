"""The command line, one module a command or group of commands; each is imported only when it runs."""
