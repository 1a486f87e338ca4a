"""Which data a model is trained, validated and evaluated on."""

from dataclasses import dataclass, field
from typing import Literal

from mlcmr.data.collection import Collection, open_collection
from mlcmr.data.scenario import Scenario, ScenarioKind
from mlcmr.errors import UserError


@dataclass(kw_only=True)
class DataConfig:
    """The data of a run.

    Attributes:
        rootpath: The folder that holds the collections.
        collection: The collection's name, which is its folder's.
        feature: The frame feature, a folder in the collection's `FeatureData`.
        scenario: How the training captions of several languages came about: written by people in each
            (`parallel`), machine-translated into `target` (`pseudo-parallel`), or one language per video
            (`unparallel`).
        languages: The languages; the first makes the training examples, one per caption.
        target: The language whose training captions are machine translations; for `pseudo-parallel` only.
        engine: Which engine's translations, as their files are named: `<collection>train_<engine>_enc2zh`.
        validation_split: The split that chooses the best checkpoint.
        missing_captions: What to do with training captions that lack a counterpart in another language:
            stop, or leave them out and say how many.
    """

    rootpath: str = "~/VisualSearch"
    collection: str = "vatex"
    feature: str = "i3d_kinetics"
    scenario: Literal["parallel", "pseudo-parallel", "unparallel"] = "parallel"
    languages: list[str] = field(default_factory=lambda: ["en", "zh"])
    target: str | None = None
    engine: str = "google"
    validation_split: str = "val"
    missing_captions: Literal["error", "skip"] = "error"

    def open_collection(self) -> Collection:
        """Finds the collection.

        Raises:
            UserError: there is none.
        """
        try:
            return open_collection(self.rootpath, self.collection)
        except UserError as error:
            raise UserError(f"{error} (--rootpath)") from error

    def as_scenario(self) -> Scenario:
        """The scenario.

        Raises:
            UserError: the languages and the target do not fit together.
        """
        return Scenario(ScenarioKind(self.scenario), tuple(self.languages), self.target, self.engine)
