"""`mlcmr serve`."""

from mlcmr.cli.command import FunctionCommand

COMMAND = FunctionCommand(
    "mlcmr.search.http.run:serve",
    examples="""
  mlcmr serve                                    the index in ./index, on this machine only
  MLCMR_TOKEN=… mlcmr serve films --host 0.0.0.0 --port 80""",
    positional=("index",),
    names={"models": ("model",), "media_roots": ("media_root",), "browse": ("open",)},
    repeated=("models", "media_roots"),
    groups={"limits": "mlcmr.search.http.service:ServerLimits"},
    show=lambda *_: None,
)
