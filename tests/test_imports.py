"""Importing any module of the project does nothing: no thread, no process, no socket, no file, no log handler."""

import subprocess
import sys
from pathlib import Path

WATCH = """
import importlib, logging, pkgutil, sys, threading
for third_party in ("faust", "faust.channels", "faust.stores.memory", "faust.stores.rocksdb", "faust.tables.manager",
                    "faust.transport.drivers.aiokafka",
                    "kafka", "aiokafka", "onnxruntime", "fsspec", "safetensors", "rocksdict", "typer", "rich",
                    "torch", "onnx", "onnxscript", "polars", "pydantic_settings", "orjson", "numpy"):
    importlib.import_module(third_party)        # what these do on import is not ours
threads = set(threading.enumerate())
did = []
def audit(event, args):
    if event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+"):
        did.append((event, args[0]))
    elif event in ("socket.connect", "socket.bind", "subprocess.Popen", "os.mkdir", "os.remove", "os.fork"):
        did.append((event, args))
sys.addaudithook(audit)
names = []
for package in ("schemas", "stream", "meta"):
    root = importlib.import_module(package)
    names += [module.name for module in pkgutil.walk_packages(root.__path__, f"{package}.")]
for name in names:
    importlib.import_module(name)
did += [("thread", thread.name) for thread in set(threading.enumerate()) - threads]
did += [("log handler", handler) for handler in logging.getLogger().handlers]
print(len(names), did)
"""


def test_importing_every_module_does_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-B", "-c", WATCH], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    count, _, did = done.stdout.strip().partition(" ")
    assert int(count) > 80
    assert did == "[]"
    assert list(tmp_path.iterdir()) == []
