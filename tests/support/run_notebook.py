"""Run a Python file as the only cell of a notebook, in a Jupyter kernel; print what the cell printed."""

import os
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

cell = nbformat.v4.new_code_cell(Path(sys.argv[1]).read_text(encoding="utf-8"))
cell.source = cell.source.replace("asyncio.run(asynchronous())", "pass  # a kernel runs a loop of its own")
notebook = nbformat.v4.new_notebook(cells=[cell])
NotebookClient(notebook, timeout=60, kernel_name="python3").execute(env=dict(os.environ))
print("".join(output.text for output in cell.outputs if output.output_type == "stream" and output.name == "stdout"))
