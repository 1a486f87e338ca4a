"""A hub in a folder."""

import shutil
from pathlib import Path


class FakeHub:
    """Keeps what is uploaded."""

    store: Path

    def __init__(self, token: str | None = None) -> None:
        self.token = token

    def create_repo(self, name: str, *, private: bool, exist_ok: bool):
        assert exist_ok
        if self.token == "wrong":
            raise OSError("401 Unauthorized\nmore")
        return type("Url", (), {"repo_id": f"{'private' if private else 'public'}/{name}"})

    def file_exists(self, repo_id: str, name: str) -> bool:
        return (self.store / repo_id / name).exists()

    def upload_folder(self, *, repo_id: str, folder_path: str, ignore_patterns: str | None):
        left_out = shutil.ignore_patterns(ignore_patterns or "")
        shutil.copytree(folder_path, self.store / repo_id, ignore=left_out, dirs_exist_ok=True)
        return type("Commit", (), {"commit_url": f"https://hub/{repo_id}/commit/1"})
