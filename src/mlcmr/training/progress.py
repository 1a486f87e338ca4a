"""How far a run has come: all that a restart needs beside weights and optimizer."""

from dataclasses import dataclass

from mlcmr.training.optimizer import Schedule


@dataclass
class RunProgress:
    """Where a run stands.

    Attributes:
        schedule: The learning rate and what it follows from.
        epoch: The current epoch, from 0.
        batch: Batches of this epoch that are done.
        step: Steps that are done.
    """

    schedule: Schedule
    epoch: int = 0
    batch: int = 0
    step: int = 0

    def batch_done(self) -> None:
        """Counts a step."""
        self.batch += 1
        self.step += 1

    def epoch_done(self, score: float) -> bool:
        """Counts an epoch that ended with this validation score; true when it is the best so far."""
        self.epoch += 1
        self.batch = 0
        return self.schedule.epoch_done(score)
