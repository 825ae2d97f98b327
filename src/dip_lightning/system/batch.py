"""What a batch system says of the job that this program runs in."""

import os

__all__ = ["batch_job", "is_requeued"]


def batch_job() -> str | None:
    """Name the job, its task of an array, and that of a step: ``"77"``, ``"77_3"``, ``"77-task1"``; None outside."""
    job = os.environ.get("SLURM_ARRAY_JOB_ID") or os.environ.get("SLURM_JOB_ID")
    if not job:
        return None
    element, rank = os.environ.get("SLURM_ARRAY_TASK_ID"), os.environ.get("SLURM_PROCID", "0")
    return f"{job}{f'_{element}' if element else ''}{'' if rank in ('', '0') else f'-task{rank}'}"


def is_requeued() -> bool:
    """Whether the job runs for a second time, since it was preempted or sent back to the queue."""
    return batch_job() is not None and os.environ.get("SLURM_RESTART_COUNT", "0") not in ("", "0")
