"""Models by folder or hub id: found, downloaded, uploaded."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from huggingface_hub import HfApi, snapshot_download, try_to_load_from_cache
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, RepositoryNotFoundError

from mlcmr.errors import UserError, reason
from mlcmr.model.opening import opening


def find_model(
    name: str,
    option: str = "",
    what: str = "model",
    *,
    revision: str | None = None,
    token: str | None = None,
) -> str:
    """The folder `name`, or the hub id where the hub, or its cache on this machine, has such a model.

    Asking once is quick. Left to itself, the download tries again and again where there is no connection.

    Args:
        name: Hub id or folder.
        option: What names another one, to say so.
        what: What people call it.
        revision: Branch, tag or commit on the hub.
        token: For private models on the hub.

    Raises:
        UserError: there is none under this name, or the hub cannot be reached.
    """
    folder = Path(name).expanduser()
    if os.path.isdir(folder):
        return str(folder)
    by = f" with {option}" if option else ""
    if name.startswith((".", "~", "/")) or name.count("/") > 1:
        raise UserError(f"{what} '{name}': no such folder; name another{by}")
    try:
        if not isinstance(try_to_load_from_cache(name, "config.json", revision=revision), str):
            HfApi(token=token).model_info(name, revision=revision)
    except (HFValidationError, RepositoryNotFoundError) as error:
        raise UserError(
            f"{what} '{name}': no such folder, and no such model on the hub; name another{by}"
        ) from error
    except HfHubHTTPError:
        pass  # the hub is there; what it lacks, the download will say
    except Exception as error:  # each version of the hub's client has another library's
        raise UserError(
            f"{what} '{name}' cannot be downloaded: no connection to the hub; name a folder that holds it{by}"
        ) from error
    return name


def fetch_model(
    name: str | Path, option: str = "", *, revision: str | None = None, token: str | None = None
) -> Path:
    """The folder of a model: `name` itself if it is a folder, else a copy from the hub; see `find_model`."""
    found = find_model(str(name), option, revision=revision, token=token)
    if Path(found).is_dir():
        return Path(found)
    with opening(f"model '{name}': cannot be downloaded"):
        return Path(snapshot_download(found, revision=revision, token=token))


def push_folder(
    name: str, save: Callable[[Path], None], *, private: bool = False, token: str | None = None
) -> str:
    """Uploads what `save` writes into a folder as the hub's model `name`; returns the commit's address.

    Raises:
        UserError: the hub cannot be reached, or does not take it.
    """
    hub = HfApi(token=token)
    with tempfile.TemporaryDirectory() as folder:
        save(Path(folder))
        try:
            repository = hub.create_repo(name, private=private, exist_ok=True).repo_id
            return str(hub.upload_folder(repo_id=repository, folder_path=folder).commit_url)
        except (HFValidationError, OSError) as error:
            raise UserError(f"model '{name}': cannot be uploaded: {reason(error)}") from error
