"""Processes of executed pages begin warm: as copies of one that has imported everything already.

A page starts a dozen commands and a kernel, and each would import PyTorch and the command line
anew, which takes longer than what it does. So the build starts one process, which imports all
that pages use and then waits. ``nbqnn`` and the kernel's ``python`` of the pages are a small client
that asks it for a fork: a process of its own, with the client's arguments, folder, variables and
files. What it computes is what a fresh one would.
"""

import gc
import json
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from sphinx.application import Sphinx

__all__ = ["Warm", "serve", "setup"]

#: What the pages use and what takes long to import.
_IMPORTED = (
    *("IPython", "zmq", "numpy", "sklearn.datasets", "torch", "lightning", "tensorboard"),
    *("onnx", "qonnx.core.modelwrapper"),
    *("scripts.cli", "scripts.report.build", "scripts.exploration", "scripts.quantizing"),
    *("nbqnn_train.learn.training", "nbqnn_train.learn.trained", "nbqnn_train.quantize"),
    *("nbqnn_train.qonnx.importer", "hw.compiler", "hw.rtl.generate", "hw.synth.yosys"),
    *("sim.simulate", "sim.traces"),
)
#: Runs with nothing but the standard library. Arguments: address; "nbqnn", or nothing for Python.
_CLIENT = """\
#!{python} -ISE
import json, os, signal, socket, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
server = socket.socket(socket.AF_UNIX)
server.connect({address!r})
asked = json.dumps([{program!r}, sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
server.sendall(len(asked).to_bytes(4, "big") + asked)
socket.send_fds(server, [b"f"], [0, 1, 2])
code = server.recv(1)
sys.exit(code[0] if code else 1)
"""


class Warm:
    """The waiting process, and the folder with its clients. Close it in the end.

    path : the folder with ``nbqnn``, for the front of ``PATH``. jupyter : the folder with a kernel
    called "python3", for ``JUPYTER_PATH``.
    """

    def __init__(self):
        self._folder = TemporaryDirectory()
        folder = Path(self._folder.name)
        address = str(folder / "socket")
        self.path, self.jupyter = folder / "bin", folder / "jupyter"
        kernel = self.jupyter / "kernels" / "python3"
        self.path.mkdir()
        kernel.mkdir(parents=True)
        for name, program in ((self.path / "nbqnn", "nbqnn"), (folder / "python", "python")):
            text = _CLIENT.format(python=sys.executable, address=address, program=program)
            name.write_text(text, encoding="utf-8")
            name.chmod(0o755)
        arguments = [str(folder / "python"), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        described = {"argv": arguments, "display_name": "Python 3", "language": "python"}
        (kernel / "kernel.json").write_text(json.dumps(described), encoding="utf-8")
        # It ends with this process, whatever ends that: its standard input ends then.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "extensions.warm", address],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path[:2])},
        )
        if self._process.stdout.readline() != b"ready\n":
            raise RuntimeError("the process that waits for pages has ended")

    def close(self) -> None:
        """Ends it."""
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
        self._folder.cleanup()


def serve(address: str) -> None:
    """Imports, then forks a process for each client until standard input ends."""
    for name in _IMPORTED:
        __import__(name)
    # Forks look for garbage seldom, and never among what was imported: that would copy its memory.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 10)
    # A fork has one thread: what the others held would be held for ever. So onnxruntime, which
    # starts one when it is imported, is not among them.
    assert len(list(Path("/proc/self/task").iterdir())) == 1
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(address)
    listening.listen()
    print("ready", flush=True)
    waiting = selectors.DefaultSelector()
    waiting.register(sys.stdin, selectors.EVENT_READ)
    waiting.register(listening, selectors.EVENT_READ)
    while True:
        for key, _ in waiting.select():
            if key.fileobj is sys.stdin:
                return
            if key.fileobj is listening:
                client = listening.accept()[0]
                pid = _fork(client)
                # The number of a process, by which it ends, or by which its client does.
                waiting.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, client))
                waiting.register(client, selectors.EVENT_READ, (pid, None))
            elif key.data[1] is None:  # a client that is gone, and waits no more
                os.kill(key.data[0], signal.SIGKILL)
                waiting.unregister(key.fileobj)
            else:
                pid, client = key.data
                code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                with suppress(KeyError):
                    waiting.unregister(client)
                with suppress(OSError):
                    client.sendall(bytes([code if code >= 0 else 128 - code]))
                client.close()
                waiting.unregister(key.fileobj)
                os.close(key.fileobj)


def _fork(client: socket.socket) -> int:
    """The number of a new process that does what the client asks for."""
    length = int.from_bytes(client.recv(4, socket.MSG_WAITALL), "big")
    program, arguments, folder, variables = json.loads(client.recv(length, socket.MSG_WAITALL))
    files = socket.recv_fds(client, 1, 3)[1]
    pid = os.fork()
    if pid:
        for one in files:
            os.close(one)
        return pid
    code = 1
    try:
        for number, one in enumerate(files):
            os.dup2(one, number)
        # What others hold would stay open for as long as this process lives.
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        sys.stdin, sys.stdout, sys.stderr = os.fdopen(0), os.fdopen(1, "w"), os.fdopen(2, "w")
        os.environ.clear()
        os.environ.update(variables)
        os.chdir(folder)
        code = _run(program, arguments)
    except SystemExit as ending:
        code = ending.code if isinstance(ending.code, int) else 0 if ending.code is None else 1
    except BaseException:
        traceback.print_exc()
    finally:
        for one in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                one.flush()
        os._exit(code)


def _run(program: str, arguments: list[str]) -> int:
    """The exit code of ``nbqnn``, or of ``python -m MODULE``."""
    if program == "nbqnn":
        from scripts.cli import main

        # Plain tables of this width, not those of a terminal: a kernel says that it is one.
        for name in [name for name in os.environ if "COLOR" in name]:
            del os.environ[name]
        os.environ.update(COLUMNS="100", TERM="dumb")
        sys.argv = [program, *arguments]
        return main(arguments)
    sys.argv = arguments[1:]
    sys.path.insert(0, "")
    runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    return 0


def _begin(app: Sphinx) -> None:
    """Before the first page, if pages are executed."""
    if app.config.nb_execution_mode == "off":
        return
    app.nbqnn_warm = warm = Warm()
    os.environ["PATH"] = os.pathsep.join((str(warm.path), os.environ["PATH"]))
    os.environ["JUPYTER_PATH"] = str(warm.jupyter)


def _end(app: Sphinx, exception: Exception | None) -> None:
    if hasattr(app, "nbqnn_warm"):
        app.nbqnn_warm.close()


def setup(app: Sphinx) -> dict:
    """Called by Sphinx."""
    app.connect("builder-inited", _begin)
    app.connect("build-finished", _end)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


if __name__ == "__main__":
    serve(sys.argv[1])
