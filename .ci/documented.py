"""Run the documented commands as a reader would, each with the extra that its page names and nothing else.

    documented.py ENVIRONMENTS SCRATCH

Every `$ mlcmr …` and `$ ./do_all.sh …` of README.md and docs/**/*.md runs, those of a page in order, in the
environments that `environments.py` makes. The tutorial runs first, with its whole sample and two epochs; its
model must have learnt. The other pages start from its run and index, from a small sample, and from the
collection that README.md makes. Their trainings end after one epoch.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from threading import Lock

from reader import (
    ROOT,
    copy_collections,
    copy_tutorial,
    write_collections,
    write_models,
    write_page_folder,
)

EXTRAS = {"sample": "video", "extract": "video", "translate": "translate"}
EXTRAS |= dict.fromkeys(("index", "search", "serve"), "search")
TUTORIAL, README = ROOT / "docs/tutorial/index.md", ROOT / "README.md"
PAGES = list(dict.fromkeys([TUTORIAL, README, *sorted((ROOT / "docs").rglob("[!_]*.md"))]))
# tests/extraction/test_ray_cluster.py, tests/search/stores/test_qdrant_server.py and
# tests/model/test_legacy_checkpoint.py run these.
ELSEWHERE = re.compile(r" --ray | --url |import-checkpoint|runs/published")

# A few clips and one epoch are enough to see that a command works, and two epochs that a model learns.
SHORTER = {"mlcmr sample": "--videos 40", "mlcmr train": "--epochs 1", "mlcmr reproduce": "--epochs 1"}
SHORTER_TUTORIAL = {"mlcmr train": "--epochs 2"}

_port = Lock()  # pages that serve do so at the same port


# ─── pages ───────────────────────────────────────────────────────────────────────────────────────────────

PRELUDE = """
set -euo pipefail
serving=
trap '[ -z "$serving" ] || kill $serving' EXIT
ASK_HEALTH='from urllib.request import urlopen; urlopen("http://127.0.0.1:8000/health", timeout=60)'
mlcmr() {
  local environment=$1 command=$2
  shift
  printf '\\n$ mlcmr %s   [%s]\\n' "$*" "$environment"
  case $command in
    serve)
      [ -z "$serving" ] || { kill $serving; wait $serving || true; }
      "$ENVIRONMENTS/$environment/bin/python" -m mlcmr "$@" &
      serving=$!
      for _ in $(seq 120); do # the port is open before the index is, which later commands replace
        "$ENVIRONMENTS/core/bin/python" -c "$ASK_HEALTH" 2>/dev/null && return
        kill -0 $serving
        sleep 0.5
      done
      return 1
      ;;
    *) "$ENVIRONMENTS/$environment/bin/python" -m mlcmr "$@" ;;
  esac
}
"""


def commands(page: Path) -> list[str]:
    """Return the commands of a page, without prompts, each in one line."""
    blocks = re.findall(r"```console\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", "").splitlines()]
    return [
        line[2:]
        for line in lines
        if re.match(r"\$ (PYTHONPATH=\. )?(mlcmr|\./do_all|export|ROOTPATH=)", line)
    ]


def modules(page: Path) -> list[tuple[str, str]]:
    """Return the Python files of a page: blocks that begin with `# name.py`."""
    text = page.read_text(encoding="utf-8")
    return [
        (name, block) for block, name in re.findall(r"```python\n((?:# (\w+\.py)\n).*?)```", text, re.DOTALL)
    ]


def extra_of(word: str, named: set[str]) -> str:
    """Return the environment for a command, of those that its page names."""
    extra = EXTRAS.get(word, "core")
    return "search" if extra == "video" and extra not in named else extra  # `search` includes `video`


def script(page: Path) -> str:
    """Return the commands of a page as a program for bash."""
    named = {"core", *re.findall(r"\[(\w+)\]'", page.read_text(encoding="utf-8"))}
    lines = []
    for command in commands(page):
        if ELSEWHERE.search(command):
            continue
        called = re.match(r"(?:PYTHONPATH=\. )?mlcmr (\S+)", command)
        word = called[1] if called else ""
        environment = extra_of(word, named)
        if environment not in named:
            sys.exit(f"{page}: `{command}` needs the extra '{environment}', which the page does not name")
        lines += before(command) if word else []
        chosen = shortened(command, SHORTER_TUTORIAL if page == TUTORIAL else SHORTER)
        lines.append(chosen.replace("mlcmr ", f"mlcmr {environment} ", 1) if word else chosen)
    return "\n".join(lines)


def before(command: str) -> list[str]:
    """Return what makes room for a command, and what its page takes for granted."""
    words = command.removeprefix("PYTHONPATH=. ").split()
    collection, run = (
        words[words.index(name) + 1] if name in words else "" for name in ("--collection", "--run")
    )
    match words[1]:
        case "sample":
            return ["rm -rf demo"]
        case "prepare":
            return [f"rm -rf {collection}/TextData"]
        case "index":
            return ["rm -rf index", *([f"[ -e {run} ] || cp -r runs/sample-parallel {run}"] if run else [])]
        case "train" if "--print-config" not in words:
            recipe = re.search(r"configs/(\w+)/(\S+)\.yaml", command)
            mine = "VisualSearch/mine/FeatureData"
            named = (
                f"[ -e {mine}/clip ] || cp -r {mine}/clip-* {mine}/clip"
                if " --feature clip " in command
                else ":"
            )
            return [f"rm -rf {run or f'runs/{recipe[1]}-{recipe[2]}' if recipe or run else ''}", named]
    return []


def shortened(command: str, options: Mapping[str, str]) -> str:
    """Return a command with the option that `options` has for it."""
    bare, _, comment = command.partition(" #")
    for start, option in options.items():
        if start in command:
            return f"{bare} {option} #{comment}"
    return command


def folder_of(page: Path, scratch: Path) -> Path:
    """Return the folder in which the commands of a page run."""
    return scratch / "-".join(page.relative_to(ROOT).with_suffix("").parts)


def run(page: Path, scratch: Path, environ: Mapping[str, str]) -> None:
    """Run the commands of a page in a folder of its own, and print what they print."""
    if not (program := script(page)):
        return
    folder, home = folder_of(page, scratch), Path(environ["HOME"])
    write_page_folder(folder, home)
    for name, block in modules(page):
        (folder / name).write_text(block, encoding="utf-8")
    if page != TUTORIAL:
        copy_tutorial(folder_of(TUTORIAL, scratch), folder)
        (folder / "demo").symlink_to(home / "drawn")
    if page not in (TUTORIAL, README):
        copy_collections(folder_of(README, scratch), folder)
    with _port if re.search(r"^mlcmr \w+ serve", program, re.MULTILINE) else nullcontext():
        done = subprocess.run(
            ["bash", "-c", PRELUDE + program],
            cwd=folder,
            env=environ,
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
    print(f"\n── {page.relative_to(ROOT)}", done.stdout.decode(errors="replace"), sep="\n", flush=True)
    if done.returncode:
        raise SystemExit(f"{page.relative_to(ROOT)}: a command ended with status {done.returncode}")


# ─── learning ────────────────────────────────────────────────────────────────────────────────────────────


def check_learning(folder: Path, environ: Mapping[str, str]) -> None:
    """Train in the other scenarios beside the tutorial, and require that the models have learnt."""
    require_recall(folder / "runs/sample-parallel", 60)
    for scenario in ("pseudo-parallel-zh", "unparallel"):
        recipe = [f"configs/sample/{scenario}.yaml", "--rootpath", "demo", "--epochs", "2"]
        for command in (["train", *recipe], ["evaluate", f"runs/sample-{scenario}"]):
            subprocess.run(["mlcmr", *command], cwd=folder, env=environ, check=True)
        require_recall(folder / f"runs/sample-{scenario}", 5)


def require_recall(run: Path, least: float) -> None:
    """Require a t2v R@1 above `least` in every target, without fusion; chance is 0.25."""
    evaluations = json.loads((run / "results.json").read_text(encoding="utf-8"))["evaluations"]
    found = {one["target"]: one["metrics"]["target_only"]["t2v"]["R@1"] for one in evaluations}
    print(f"{run}: t2v R@1 {found}, required {least}", flush=True)
    if not found or min(found.values()) <= least:
        raise SystemExit(f"{run}: this model has learnt too little")


def main(environments: Path, scratch: Path) -> None:
    """Make a home, run the pages, and check what the tutorial teaches."""
    home = scratch / "home"
    home.mkdir()
    write_models(home)
    write_collections(home)
    own = {"HOME": home, "ENVIRONMENTS": environments, "HF_HUB_OFFLINE": "1", "BROWSER": "true"}
    own |= {"MLCMR_OPTIONS": "--epochs 1", "PATH": f"{environments / 'core/bin'}:{os.environ['PATH']}"}
    environ = {**os.environ, **{name: str(value) for name, value in own.items()}}
    for name in ("HF_HOME", "XDG_CACHE_HOME", "PYTHONPATH", "VIRTUAL_ENV"):
        environ.pop(name, None)
    subprocess.run(
        [environments / "video/bin/python", "-m", "mlcmr", "sample", home / "drawn", "--videos", "40"],
        check=True,
        env=environ,
    )
    shutil.copytree(home / "drawn/sample/VideoData", home / "Videos")
    for page in (TUTORIAL, README):
        run(page, scratch, environ)
    # Most of the time of these commands is imports, on one core each.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        learning = pool.submit(check_learning, folder_of(TUTORIAL, scratch), environ)
        others = [page for page in PAGES if page not in (TUTORIAL, README)]
        for _ in pool.map(lambda page: run(page, scratch, environ), others):
            pass
        learning.result()


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute(), Path(sys.argv[2]).absolute())
