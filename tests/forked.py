"""Programs in processes of their own, forked from one that has loaded everything and done nothing: no second import."""

import gc
import multiprocessing
import os
import sys
import tempfile
from pathlib import Path
from subprocess import CompletedProcess

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(
    [
        *("dip_lightning.cli.main", "dip_lightning.cli.summary_table", "dip_lightning.fitting.fit"),
        *("dip_lightning.workflows.resume", "torch._dynamo", "tensorboard.summary.writer.event_file_writer"),
        *("matplotlib.backends.backend_agg", "matplotlib.figure", "skimage.data", "skimage.exposure", "tifffile"),
    ]
)


def run_forked(
    program: str, *arguments: str, cwd: Path, seconds: float = 120, **environment: str
) -> CompletedProcess[str]:
    """Run ``python -c program arguments`` in a folder.

    Args:
        program: Python; it ends as any program does, with an exit code or by a signal.
        arguments: From ``sys.argv[1]`` on.
        cwd: Where it runs.
        seconds: After which it is killed.
        environment: Variables beside those of this process at the first call.
    """
    with tempfile.TemporaryDirectory() as folder:
        told = [Path(folder) / name for name in ("out", "err")]
        process = PROCESSES.Process(target=_run, args=(program, arguments, cwd, told, environment))
        process.start()
        process.join(seconds)
        if process.exitcode is None:
            process.kill()
            process.join()
        out, err = (path.read_text() if path.exists() else "" for path in told)
        assert process.exitcode is not None
        return CompletedProcess(["-c", *arguments], process.exitcode, out, err)


def _run(program: str, arguments: tuple[str, ...], cwd: Path, told: list[Path], environment: dict[str, str]) -> None:
    gc.freeze()
    for descriptor, path in enumerate(told, 1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), descriptor)
    os.chdir(cwd)
    os.environ.update(environment)
    tempfile.tempdir = None
    sys.argv = ["-c", *arguments]
    exec(program, {"__name__": "__main__"})
