"""Models by folder or hub id: find, download, upload."""

import os
import tempfile
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from pathlib import Path

from huggingface_hub import HfApi, hf_hub_download, snapshot_download, try_to_load_from_cache
from huggingface_hub.constants import HF_HUB_CACHE
from huggingface_hub.errors import (
    DryRunError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
)

from mlcmr.errors import MlcmrError, NotFoundError, reason
from mlcmr.model.hf_errors import opening
from mlcmr.model.model_card import CARD
from mlcmr.paths import user_path
from mlcmr.progress import SILENT, Progress
from mlcmr.text import file_size

_TIMEOUT = 10.0  # seconds; without a limit, a hub that does not answer takes two minutes
_UNREACHABLE = "cannot be downloaded: no connection to the hub; name a folder that holds it"


def find_model(
    name: str,
    parameter: str = "",
    what: str = "model",
    *,
    revision: str | None = None,
    token: str | None = None,
    built_in: Sequence[str] = (),
    alternative: str = "",
) -> str:
    """Return the folder or the hub id of a model that exists: on this machine, in the cache or on the hub.

    The hub is asked once, which is quick. A download would retry for long without a connection.

    Args:
        name: A hub id or folder.
        parameter: The parameter that names the model, for messages.
        what: The kind of model, for messages.
        revision: A branch, tag or commit on the hub.
        token: An access token for private models on the hub.
        built_in: Names that the caller opens by itself, to suggest where a name is close.
        alternative: What the user can do instead of naming another model, for messages.

    Raises:
        NotFoundError: If there is no model of this name, or the hub cannot be reached.
    """
    folder = user_path(name)
    by = (f" with `{parameter}`" if parameter else "") + alternative
    if os.path.isdir(folder):
        return str(folder)
    if name.startswith((".", "~", "/")) or name.count("/") > 1:
        close = _suggest_models(name, built_in)
        raise NotFoundError(f"{what} '{name}': no such folder; name another{by}{close}", path=folder)
    try:
        if not isinstance(try_to_load_from_cache(name, "config.json", revision=revision), str):
            HfApi(token=token).model_info(name, revision=revision, timeout=_TIMEOUT)
    except (HFValidationError, RepositoryNotFoundError) as error:
        raise NotFoundError(
            f"{what} '{name}': no such folder, and no such model on the hub; name another"
            f"{by}{_suggest_models(name, built_in)}"
        ) from error
    except HfHubHTTPError:
        pass  # the hub answers; the download will report what is wrong
    except Exception as error:  # each version of the hub's client raises errors of another library
        raise NotFoundError(
            f"{what} '{name}': no such folder, and {_UNREACHABLE}{by}{_suggest_models(name, built_in)}"
        ) from error
    return name


def _suggest_models(name: str, built_in: Sequence[str]) -> str:
    """Return the end of a message that names similar models: built in, cached or local."""
    folder = user_path(name)
    cached = [path.name.split("--")[1:] for path in _matching_entries(Path(HF_HUB_CACHE), "models--*")]
    parent = name.rstrip("/").removesuffix(folder.name)
    local = [parent + path.name for path in _matching_entries(folder.parent, "*") if path.is_dir()]
    close = get_close_matches(name, [*built_in, *map("/".join, cached), *local])
    return f"; did you mean {' or '.join(close)}?" if close else ""


def _matching_entries(folder: Path, pattern: str) -> list[Path]:
    """Return the matching entries of a folder; none if it cannot be read."""
    try:
        return sorted(folder.glob(pattern))
    except OSError:
        return []


def fetch_model(
    name: str | Path,
    parameter: str = "",
    *,
    revision: str | None = None,
    token: str | None = None,
    progress: Progress = SILENT,
) -> Path:
    """Return the folder of a model, downloaded if the model is on the hub; see `find_model`.

    Args:
        name: A hub id or folder.
        parameter: The parameter that names the model, for messages.
        revision: A branch, tag or commit on the hub.
        token: An access token for private models on the hub.
        progress: Gets the size of the files before they are downloaded.

    Raises:
        NotFoundError: If there is no model of this name, or the hub cannot be reached.
        MlcmrError: If the download fails.
    """
    found = find_model(str(name), parameter, revision=revision, token=token)
    if Path(found).is_dir():
        return Path(found)
    with opening(f"model '{name}'", "cannot be downloaded"):
        try:
            files = snapshot_download(found, revision=revision, token=token, dry_run=True)
        except DryRunError as error:
            return _complete_snapshot(found, parameter, revision, error.__cause__)
        if missing := [file.file_size or 0 for file in files if file.will_download]:
            progress.message(f"model '{name}': downloading {file_size(sum(missing))} from the hub")
        return Path(snapshot_download(found, revision=revision, token=token))


def _complete_snapshot(
    name: str, parameter: str, revision: str | None, failure: BaseException | None
) -> Path:
    """Return the folder of a hub model that is on this machine; the hub does not say what it has.

    Raises:
        NotFoundError: If files are missing, and the hub cannot be reached.
        HfHubHTTPError: If files are missing, and the hub has refused them.
    """
    try:
        return Path(snapshot_download(name, revision=revision, local_files_only=True))
    except LocalEntryNotFoundError as error:
        if isinstance(failure, HfHubHTTPError):
            raise failure from error
        by = f" with `{parameter}`" if parameter else ""
        raise NotFoundError(f"model '{name}': not complete on this machine; {_UNREACHABLE}{by}") from error


def find_optional_file(name: str, file: str) -> Path | None:
    """Return the path of a file that only some models have; None if there is no such file.

    The hub is asked only if the model is not on this machine.

    Args:
        name: A hub id or folder that `find_model` has found: a download from a silent hub retries for long.
        file: The name of the file.
    """
    if os.path.isdir(name):
        return Path(name, file) if os.path.isfile(Path(name, file)) else None
    try:
        found = try_to_load_from_cache(name, file)
        if found is None and not isinstance(try_to_load_from_cache(name, "config.json"), str):
            found = hf_hub_download(name, file, etag_timeout=_TIMEOUT)
    except Exception:  # opening the model will say what is wrong
        return None
    return Path(found) if isinstance(found, str) else None


def cached_model(name: str, parameter: str, what: str = "model") -> Path:
    """Return the folder of a hub model that is on this machine already; nothing is downloaded.

    Args:
        name: A hub id that a file names, and not the user.
        parameter: The parameter with which the user can name the model, to have it downloaded.
        what: The kind of model, for messages.

    Raises:
        NotFoundError: If the model is not on this machine.
    """
    try:
        return Path(snapshot_download(name, local_files_only=True))
    except Exception as error:  # each version of the hub's client raises errors of another library
        raise NotFoundError(
            f"{what} '{name}': is not on this machine, and only a file names it; to have it downloaded, "
            f"name it yourself: `{parameter}` {name}"
        ) from error


def push_folder(
    name: str, save: Callable[[Path], None], *, private: bool = False, token: str | None = None
) -> str:
    """Upload a folder as a model of the hub.

    Args:
        name: The hub id.
        save: Writes the model into a folder.
        private: Whether a new repository is private.
        token: An access token.

    Returns:
        The address of the commit.

    Raises:
        MlcmrError: If the hub cannot be reached, or refuses the model.
    """
    hub = HfApi(token=token)
    with tempfile.TemporaryDirectory() as folder:
        save(Path(folder))
        try:
            repository = hub.create_repo(name, private=private, exist_ok=True).repo_id
            # The card on the hub may have been edited there.
            left_out = CARD if hub.file_exists(repository, CARD) else None
            commit = hub.upload_folder(repo_id=repository, folder_path=folder, ignore_patterns=left_out)
        except (HFValidationError, OSError) as error:
            raise MlcmrError(f"model '{name}': cannot be uploaded: {reason(error)}") from error
    return str(commit.commit_url)
