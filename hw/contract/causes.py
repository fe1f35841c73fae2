"""Why a run ended early, and why the array stands still."""

import enum

__all__ = ["CommandFault", "ErrorCause", "Stall"]


class ErrorCause(enum.IntEnum):
    """Why a run ended early."""

    NONE = 0
    #: A descriptor's words do not sum up to the constant.
    CHECKSUM = 1
    #: A descriptor has an unknown opcode.
    OPCODE = 2
    #: The program ended without an END.
    LENGTH = 3
    #: A read or write was answered with SLVERR or DECERR.
    READ = 4
    WRITE = 5
    #: START while a program was running; that program goes on.
    BUSY = 6
    #: A transfer went outside the window; nothing of it outside was put on a bus.
    WINDOW = 7


class CommandFault(enum.IntEnum):
    """Why a command stream was refused; the numbers are those of :class:`ErrorCause`."""

    NONE = ErrorCause.NONE
    CHECKSUM = ErrorCause.CHECKSUM
    OPCODE = ErrorCause.OPCODE
    #: The program's last descriptor was not an END.
    LENGTH = ErrorCause.LENGTH


class Stall(enum.IntEnum):
    """Why the array takes no step, and the number of the bit that says so."""

    #: The next command waits for loads, or cannot be fetched before a load leaves its queue.
    LOAD = 0
    #: The next command waits for stores; after the last command, the stores that are left.
    STORE = 1
    #: No command has been fetched.
    FETCH = 2
    #: Results are not drained yet: those of earlier groups, or those that the next command reads.
    DRAIN = 3
    #: A command works out its first positions, or the run's last results are on their way.
    OTHER = 4
