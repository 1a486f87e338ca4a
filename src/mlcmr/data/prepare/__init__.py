"""Make the captions of a collection from annotations and tables (`mlcmr prepare`)."""

from mlcmr.data.prepare.preparation import prepare
from mlcmr.data.prepare.summary import PrepareSummary

__all__ = ["PrepareSummary", "prepare"]
