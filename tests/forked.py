"""Programs in processes of their own, forked from one that has loaded everything and done nothing: no second import."""

import gc
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from multiprocessing.context import BaseContext
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(
    [
        *("dip_lightning.cli.main", "dip_lightning.cli.summary_table", "dip_lightning.fitting.fit"),
        *("dip_lightning.workflows.resume", "torch._dynamo", "tensorboard.summary.writer.event_file_writer"),
        *("matplotlib.backends.backend_agg", "matplotlib.figure", "skimage.data", "skimage.exposure", "tifffile"),
    ]
)


def run_forked(
    program: str, *arguments: str, cwd: Path, seconds: float = 300, **environment: str
) -> CompletedProcess[str]:
    """Run ``python -c program arguments`` in a folder.

    Args:
        program: Python; it ends as any program does, with an exit code or by a signal.
        arguments: From ``sys.argv[1]`` on.
        cwd: Where it runs.
        seconds: After which it is killed.
        environment: Variables beside those of this process at the first call.
    """
    return _run(PROCESSES, (program, ("-c", *arguments), cwd, environment), seconds)


def run_script(script: Path, *arguments: str, cwd: Path) -> CompletedProcess[str]:
    """Run ``python script arguments`` in a folder."""
    program = (
        f"import runpy, sys; sys.path.insert(0, {str(script.parent)!r}); runpy.run_path(sys.argv[0], {{}}, '__main__')"
    )
    return _run(PROCESSES, (program, (str(script), *arguments), cwd, {}), 600)


def fork_python(command: Sequence[str], **options: Any) -> CompletedProcess[str]:
    """What stands in for ``subprocess.run([sys.executable, *command])`` in a program that has computed nothing yet.

    Args:
        command: A script or ``-m`` and a module, and arguments.
        options: Not looked at.
    """
    first, *rest = command
    if first == "-m":
        first, *rest = rest
        program = f"import runpy; runpy.run_module({first!r}, run_name='__main__', alter_sys=True)"
    else:
        program = "import runpy, sys; runpy.run_path(sys.argv[0], {}, '__main__')"
    return _run(multiprocessing.get_context("fork"), (program, (first, *rest), Path.cwd(), {}), 600)


def _run(
    context: BaseContext, task: tuple[str, Sequence[str], Path, Mapping[str, str]], seconds: float
) -> CompletedProcess[str]:
    with tempfile.TemporaryDirectory() as folder:
        told = [Path(folder) / name for name in ("out", "err")]
        process = context.Process(target=_be, args=(*task, told))  # type: ignore[attr-defined]
        process.start()
        process.join(seconds)
        if process.exitcode is None:
            process.kill()
            process.join()
        out, err = (path.read_text() if path.exists() else "" for path in told)
        return CompletedProcess(task[1], process.exitcode, out, err)


def _be(program: str, argv: Sequence[str], cwd: Path, environment: Mapping[str, str], told: Sequence[Path]) -> None:
    gc.freeze()
    for descriptor, path in enumerate(told, 1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), descriptor)
    os.chdir(cwd)
    os.environ.update(environment)
    tempfile.tempdir = None
    sys.argv = list(argv)
    exec(program, {"__name__": "__main__"})
