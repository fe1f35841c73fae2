"""What stands in for a processor system on boards that have none: a serial line and a memory."""
