"""Stopping without a clean image, and keeping the picture that is handed back."""

from collections.abc import Collection, Mapping, Set
from typing import Any, TypeVar

import pytorch_lightning as pl
import torch
from torch import Tensor

from dip_lightning.callbacks.output_ema import OutputEMA
from dip_lightning.callbacks.picks import Picks
from dip_lightning.checks import check_integer
from dip_lightning.errors import UserError
from dip_lightning.module import DeepImagePrior
from dip_lightning.problems.problem import Problem
from dip_lightning.stopping import ALONE, StoppingRule, choose, disagree, lag_of, patience_after

__all__ = ["Detection"]

Rule = TypeVar("Rule")


class Detection(pl.Callback):
    """Drives the stopping rules, keeps the picture of the best iteration on the device, and ends the fit.

    A rule has settled when its statistic has had no new minimum for a while (``patience``); iterations that diverged
    have no value and do not count. The fit ends when ``agree`` of the rules have settled, or when one that judges the
    output itself has stood alone for three times as long. Whose pick is handed back is told by
    :func:`dip_lightning.stopping.choose`. A rule that needs what a fit does not have, such as σ, or noise that
    neighbours do not share, abstains where there are others. One that the fit has proved wrong does not count where
    enough others are left; where not, it never ends the fit alone, and the later pick is handed back.

    A rule that judges one-pass outputs finds their best iteration; the averaged output trails by its memory, and of it
    the picture 2/(1 − α) iterations later is taken, or of an average whose memory grows, half as many again later.

    Attributes:
        settled: The rules that had settled when the fit ended, by name.
        ended_fit: Whether the rules ended the fit.
        abstained: The rules that could not judge the picture, by name, and what they would have needed.
    """

    def __init__(
        self,
        rules: Mapping[str, StoppingRule | None],
        *,
        agree: int = 1,
        min_iterations: int = 100,
        patience: int | None = None,
        check_every: int | None = None,
    ) -> None:
        """Set the rules and when they have said enough.

        Args:
            rules: The rules by name, None for one that is left out. A name is a column of ``curves.csv``, after
                ``stopping_``.
            agree: How many of them must have settled.
            min_iterations: Minima before this iteration do not count: while a fit warms up there are false ones.
            patience: Iterations without a new minimum after which a rule has settled; None for half as many as it took
                to reach the minimum, but at least 400; of an average whose memory grows 0.3 of them, at least 250. The
                lag of a pick, see above, is always waited for.
            check_every: Iterations between two looks at the picks; None for 1 on a CPU and 25 elsewhere, where a look
                waits for the device.

        Raises:
            UserError: A value is not allowed.
        """
        if not isinstance(rules, Mapping):
            raise UserError(f"stopping.rules of type {type(rules).__name__}", "rules by name", "try {'wmv': ...}")
        self.rules = {name: rule for name, rule in rules.items() if rule is not None}
        for name, rule in self.rules.items():
            if not hasattr(rule, "statistic"):
                raise UserError(f"stopping.rules.{name}={rule}", "a stopping rule, or null for none", "leave it out")
        if not self.rules:
            raise UserError("stopping.rules={}", "at least one rule", "try stopping=wmv, or stopping=none")
        self.agree = check_integer("stopping.agree", agree, 1, len(self.rules), example=1)
        self.min_iterations = check_integer("stopping.min_iterations", min_iterations, 0, example=100)
        if patience is not None:
            check_integer("stopping.patience", patience, 1, example=500)
        self.patience = patience
        if check_every is not None:
            check_integer("stopping.check_every", check_every, 1, example=25)
        self.check_every = check_every
        self._lag: int | None = 0
        self.settled: list[str] = []
        self.ended_fit = False
        self.abstained: dict[str, str] = {}
        self._active: dict[str, StoppingRule] = {}
        self._picks: Picks | None = None

    @property
    def name(self) -> str:
        """The rule's name; for several ``vote``, or ``all`` where every one must have settled."""
        if len(self.rules) == 1:
            return next(iter(self.rules))
        return "all" if self.agree == len(self.rules) else "vote"

    @property
    def is_deceived_by_shared_noise(self) -> bool:
        """Whether a rule votes that cannot tell noise that neighbours share from picture."""
        return any(_is_deceived(rule) for rule in self._active.values())

    @property
    def earliest_end(self) -> int:
        """The number of iterations before which no rule can end the fit."""
        return self.min_iterations + 1 + self._patience_after(self.min_iterations, 0)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: DeepImagePrior) -> None:  # type: ignore[override]
        """Forget an earlier fit, and look at what is handed back: the averaged output trails the one-pass outputs."""
        self.settled, self.ended_fit, self.abstained = [], False, {}
        self._looks_every = self.check_every or (1 if pl_module.device.type == "cpu" else 25)
        averages = [one for one in trainer.callbacks if isinstance(one, OutputEMA)]  # type: ignore[attr-defined]
        self._lag = lag_of(averages[0].alpha) if averages and pl_module.select == "averaged" else 0

    def prepare(self, problem: Problem) -> Problem:
        """Let the rules prepare, each what the one before made of the problem.

        Raises:
            UserError: No rule can judge this picture.
        """
        self._active, self._picks = {}, None
        self._nothing = problem.observation.new_full((), torch.nan)
        deceived = {name for name, rule in self.rules.items() if _is_deceived(rule)}
        if not problem.shares_noise or len(deceived) == len(self.rules):
            deceived = set()
        problem = self._prepare_those(self.rules.keys() - deceived, problem)
        # Where no other can judge it, one that such noise deceives is better than none; the run is unsure then.
        if not self._active:
            problem = self._prepare_those(deceived, problem)
        deceived -= self._active.keys()
        self.abstained |= dict.fromkeys(deceived - self.abstained.keys(), "noise that differs from pixel to pixel")
        if not self._active:
            raise UserError("no stopping rule can judge this picture", "one that can", "try stopping=wmv")
        like = problem.observation.new_zeros((1, *problem.shape))
        self._picks = Picks(like, [self._lag_of(rule) for rule in self._active.values()])
        return problem

    def _prepare_those(self, names: Set[str], problem: Problem) -> Problem:
        for name, rule in self.rules.items():
            if name not in names:
                continue
            try:
                problem = rule.prepare(problem)
            except UserError as error:
                if len(self.rules) == 1:
                    raise
                self.abstained[name] = error.expected
            else:
                self._active[name] = rule
        return problem

    @torch.no_grad()
    def on_train_batch_end(  # type: ignore[override]
        self, trainer: pl.Trainer, pl_module: DeepImagePrior, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Judge this iteration, and look at the picks when it is time."""
        iterate, output = pl_module.iterate, pl_module.output
        values, iteration = [], iterate.iteration
        for name, rule in self._active.items():
            value = rule.statistic(iterate, output)
            if value is not None:
                if iterate.diverged is not None:  # whatever a rule makes of it, the output is none of this fit
                    value = torch.where(iterate.diverged, self._nothing, value)
                pl_module.curves.record(f"stopping_{name}", iteration, value)
            values.append(self._nothing if value is None else value)
        if iteration < self.min_iterations:
            return
        assert self._picks is not None
        self._latest = torch.stack(values)
        self._picks.update(iteration, self._latest, output)
        if (iteration + 1) % self._looks_every == 0:
            self._look(trainer, self._picks, iteration)

    def _look(self, trainer: pl.Trainer, picks: Picks, iteration: int) -> None:
        self.settled, alone = [], False
        rows = torch.stack((picks.minimum, picks.stood, self._refutations()), dim=1).tolist()
        refuted = {name for name, (*_, wrong) in zip(self._active, rows, strict=True) if wrong}
        voting = self._voting(refuted)
        for (name, rule), (minimum, stood, _) in zip(self._active.items(), rows, strict=True):
            patience = self._patience_after(minimum, self._lag_of(rule))
            if name in voting and minimum >= 0 and stood >= patience:
                self.settled.append(name)
                alone |= rule.follows_output and name not in refuted and stood >= ALONE * patience
        alone = alone and self.agree < len(self.rules)
        if alone or len(self.settled) >= min(self.agree, len(voting)):
            self.ended_fit = True
            trainer.should_stop = True

    def _patience_after(self, minimum: int, lag: int | None) -> int:
        return int(patience_after(minimum, self.patience, lag, growing=self._lag is None))

    def _refutations(self) -> Tensor:
        """Whether each rule has been proved wrong by the fit, (R,), on the device."""
        assert self._picks is not None
        no = torch.zeros_like(self._picks.minimum[0])
        found = [rule.is_refuted() if hasattr(rule, "is_refuted") else no for rule in self._active.values()]
        return torch.stack([one.to(no) for one in found])

    def _voting(self, refuted: Collection[str]) -> list[str]:
        """The rules whose word counts, by name: without those proved wrong, if enough others are left."""
        kept = [name for name in self._active if name not in refuted]
        return kept if len(kept) >= min(self.agree, len(self._active)) else list(self._active)

    def refuted(self) -> list[str]:
        """The rules that the fit has proved wrong, by name. Waits for the device."""
        if self._picks is None:
            return []
        return [name for name, wrong in zip(self._active, self._refutations().tolist(), strict=True) if wrong]

    def on_train_end(self, trainer: pl.Trainer, pl_module: DeepImagePrior) -> None:  # type: ignore[override]
        """Mark the detected iteration in the curves."""
        pl_module.curves.erase("detected")  # where an earlier end of this fit had it
        chosen = self.chosen()
        if chosen is not None:
            pl_module.curves.record("detected", chosen[0], torch.ones(()))

    def state_dict(self) -> dict[str, Any]:
        """Return the picks and what the rules remember; see :class:`~dip_lightning.stateful.Stateful`."""
        assert self._picks is not None
        rules = {name: rule.state_dict() for name, rule in self._active.items()}
        return {"rules": rules, "picks": self._picks.state_dict(), "settled": self.settled}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what :meth:`state_dict` returned."""
        assert self._picks is not None
        self._picks.load_state_dict(state_dict["picks"])
        for name, rule in self._active.items():
            rule.load_state_dict(state_dict["rules"][name])
        self.settled = state_dict["settled"]

    def _lag_of(self, rule: StoppingRule) -> int | None:
        """How many iterations a rule's pick trails its minimum, as ``lag_of`` returns it."""
        return 0 if rule.follows_output else self._lag

    def doubt(self) -> str | None:
        """Say in one sentence why the pick should not be trusted; None where nothing speaks against it."""
        refuted = self.refuted()
        voting = self._voting(refuted)
        picks = {name: iteration for name, iteration in self.picks().items() if name in voting}
        told = ", ".join(f"{name} {iteration}" for name, iteration in picks.items())
        if not picks:
            return "The fit was too short for a stopping rule, or diverged; what came last is handed back."
        if not self.ended_fit:
            return f"The fit ended before the stopping rules had settled (best so far: {told})."
        if refuted:
            return f"The noise is weaker than it was taken for, which deceives {', '.join(refuted)} ({told})."
        if disagree(picks.values()):
            return f"The stopping rules disagree ({told})."
        if len(self.settled) < min(self.agree, len(voting)):
            return f"Only {self.settled[0]} had settled ({told})."
        if self.abstained and len(self._active) == 1:
            needs = ", ".join(f"{name} needs {what}" for name, what in self.abstained.items())
            return f"Only {told.split()[0]} could judge the picture; {needs}."
        return None

    def find(self, kind: type[Rule]) -> Rule | None:
        """Return the rule of a kind that judges this picture and has not been proved wrong, or None."""
        refuted = self.refuted()
        return next(
            (rule for name, rule in self._active.items() if isinstance(rule, kind) and name not in refuted), None
        )

    def picks(self) -> dict[str, int]:
        """The iteration of each rule's pick, by name; without the rules that have none. Waits for the device."""
        if self._picks is None:
            return {}
        iterations = zip(self._active, self._picks.iteration.tolist(), strict=True)
        return {name: iteration for name, iteration in iterations if iteration >= 0}

    def chosen(self) -> tuple[int, Tensor] | None:
        """The iteration and the picture that are handed back; None where no rule has a pick. Waits for the device."""
        refuted = self.refuted()
        voting = self._voting(refuted)
        picks = {name: iteration for name, iteration in self.picks().items() if name in voting}
        if self._picks is None or not picks:
            return None
        judges = [name for name in voting if self._active[name].follows_output]
        name = choose(picks, self.settled, judges, voters=len(voting), agree=min(self.agree, len(voting)))
        if not set(refuted).isdisjoint(voting):
            # A rule that takes the noise for stronger than it is picks too early.
            name = max(picks, key=lambda one: picks[one])
        index = list(self._active).index(name)
        return picks[name], self._picks.images[index : index + 1]


def _is_deceived(rule: StoppingRule) -> bool:
    """Whether a rule needs noise that neighbours do not share."""
    return bool(getattr(rule, "needs_independent_noise", False))
