"""Which version is served can be decided on a machine without the libraries of the training."""

import subprocess
import sys


def test_a_decision_imports_neither_torch_nor_polars():
    script = "import sys, meta.refresh.decision; print({'torch', 'polars', 'onnx'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("set()\n", "")
