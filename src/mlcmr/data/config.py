"""The data that a model is trained, validated and evaluated on."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from mlcmr.data.collection import Collection, open_collection
from mlcmr.data.languages import language_among
from mlcmr.data.scenarios import Queries, Scenario, ScenarioKind, read_bank, read_queries
from mlcmr.errors import NotFoundError
from mlcmr.settings import require_valid


@dataclass(kw_only=True)
class DataConfig:
    """The data of a run.

    Attributes:
        rootpath: The folder that holds the collections.
        collection: The name of the collection, which is the name of its folder.
        feature: The frame feature, a folder in the collection's `FeatureData`.
        scenario: The origin of the training captions in several languages: written by people in each
            (`parallel`), machine-translated into `target` (`pseudo-parallel`), or one language per video
            (`unparallel`).
        languages: The languages; each caption of the first one makes a training example.
        target: The language whose training captions are machine translations; for `pseudo-parallel` only.
        engine: The translation engine, as in the names of the files: `<collection>train_<engine>_enc2zh`.
        validation_split: The split that chooses the best checkpoint.
        missing_captions: What to do with training captions that lack a counterpart in another language:
            stop (`error`), leave them out and say how many (`skip`), or train each example in the languages
            that it has (`keep`).
    """

    rootpath: str = "~/VisualSearch"
    collection: str = "vatex"
    feature: str = "i3d_kinetics"
    scenario: Literal["parallel", "pseudo-parallel", "unparallel"] = "parallel"
    languages: list[str] = field(default_factory=lambda: ["en", "zh"])
    target: str | None = None
    engine: str = "google"
    validation_split: str = "val"
    missing_captions: Literal["error", "skip", "keep"] = "error"

    def __post_init__(self) -> None:
        require_valid(self, {})

    def open_collection(self) -> Collection:
        """Find the collection.

        Raises:
            NotFoundError: If the collection does not exist.
            MlcmrError: If the user may not list its folder.
        """
        try:
            return open_collection(self.rootpath, self.collection)
        except NotFoundError as error:
            raise NotFoundError(f"{error} (`rootpath`)", path=error.path, parameter="rootpath") from error

    def require_names(self) -> None:
        """Check the names in the settings, before anything heavy is imported or read.

        Raises:
            NotFoundError: If the collection or the feature does not exist.
            InvalidValueError: If the languages and the target do not fit together.
        """
        self.as_scenario()
        self.open_collection().require_feature(self.feature)

    def as_scenario(self) -> Scenario:
        """Return the scenario.

        Raises:
            InvalidValueError: If the languages and the target do not fit together.
        """
        return Scenario(ScenarioKind(self.scenario), tuple(self.languages), self.target, self.engine)

    def read_queries(self, split: str, targets: str | Sequence[str] | None = None) -> list[Queries]:
        """Read the queries of a split in each target language.

        Args:
            split: The split.
            targets: The languages, or one of them as text; by default those of the settings.

        Raises:
            NotFoundError: If the collection, or the caption file of a language, does not exist.
            InvalidValueError: If a target is no language.
            CorruptFileError: If a caption file is malformed, empty or in another language.
        """
        scenario, collection = self.as_scenario(), self.open_collection()
        known = {*scenario.languages, *collection.languages(split)}
        default = [self.target] if self.target else self.languages
        named = [targets] if isinstance(targets, str) else targets or default
        codes = dict.fromkeys(language_among(known, target) for target in named)
        return [read_queries(collection, scenario, split, code) for code in codes]

    def read_bank(self, target: str, size: int) -> Queries:
        """Read training captions in a language that correct the hubness of a model.

        Args:
            target: The language, by code.
            size: The largest number of captions.

        Raises:
            NotFoundError: If the collection, or its training captions in the language, do not exist.
            CorruptFileError: If the caption file is malformed, or has no captions in the language.
        """
        return read_bank(self.open_collection(), self.as_scenario(), target, size)
