"""Runs the parity scripts for the tests: each in a fork of this process, which has imported the heavy libraries once.

A test connects to the Unix socket of this process (its path is printed first) and sends one line of JSON: the script,
its arguments, and the files for standard output and standard error. The answer is one line: the exit status. The process
ends when its standard input ends, that is, with the tests.
"""

import importlib
import json
import os
import runpy
import select
import signal
import socket
import sys
import tempfile
import traceback

# Imported when the first script that names them is run.
HEAVY = ["torch", "torchvision", "segmentation_models_pytorch", "timm", "transformers", "scipy.stats", "cv2", "albumentations"]
FOLDER = os.path.dirname(os.path.abspath(__file__))


def preload(script: str) -> None:
    text = open(script).read()
    for name in HEAVY:
        if f"import {name}" in text or f"from {name}" in text:
            importlib.import_module(name)


def redirect(fd: int, path: str) -> None:
    target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(target, fd)
    os.close(target)


def execute(request: dict) -> int:
    """The exit status of the script, as the interpreter would give it."""
    redirect(1, request["stdout"])
    redirect(2, request["stderr"])
    sys.argv = [request["script"], *request["arguments"]]
    sys.path.insert(0, os.path.dirname(request["script"]))
    try:
        runpy.run_path(request["script"], run_name="__main__")
        return 0
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def serve(connection: socket.socket, listener: socket.socket) -> None:
    request = json.loads(connection.makefile().readline())
    preload(request["script"])
    if os.fork() == 0:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        listener.close()
        status = execute(request)
        connection.sendall(f"{status}\n".encode())
        os._exit(status)


def main() -> None:
    # Children that have ended are removed by the system.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
        path = os.path.join(folder, "socket")
        listener.bind(path)
        listener.listen(64)
        print(path, flush=True)
        while True:
            ready, _, _ = select.select([listener, sys.stdin], [], [])
            if sys.stdin in ready and not sys.stdin.readline():
                return
            if listener in ready:
                with listener.accept()[0] as connection:
                    serve(connection, listener)


if __name__ == "__main__":
    main()
