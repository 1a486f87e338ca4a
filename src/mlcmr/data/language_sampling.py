"""Choose the languages of each training step."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class LanguageSampler:
    """Draw some of L languages for each step, as a function of (seed, epoch, step).

    Every L steps in a row, counted from the start of an epoch, draw each language equally often.

    Attributes:
        languages: The languages.
        per_step: The number of languages per step.
        seed: The seed of the run.
    """

    languages: tuple[str, ...]
    per_step: int
    seed: int

    def __call__(self, epoch: int, step: int) -> tuple[str, ...]:
        """Return the languages of a step, in the order of `languages`.

        Args:
            epoch: The epoch, from 0.
            step: The number of the step in the epoch, from 0.
        """
        count = len(self.languages)
        turn, place = divmod(step, count)
        draw = np.random.default_rng((self.seed, epoch, turn))
        # The languages stand in a circle; each step of a turn takes `per_step` neighbours from another start.
        circle, starts = draw.permutation(count), draw.permutation(count)
        drawn = {int(circle[(starts[place] + number) % count]) for number in range(self.per_step)}
        return tuple(self.languages[number] for number in sorted(drawn))
