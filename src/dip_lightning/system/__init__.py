"""The machine and the process that a fit runs in: signals, memory, versions, loggers that cannot write."""
