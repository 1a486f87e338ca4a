"""Contract tests that you can run on your own implementation of a part of mlcmr.

Each function raises `AssertionError` with the property that does not hold. Call them from your own tests:

    from mlcmr.testing import check_loss

    def test_my_loss():
        check_loss(MyLoss())
"""

from typing import TYPE_CHECKING

from mlcmr.lazy import lazy_names

if TYPE_CHECKING:
    from mlcmr.testing.encoders import check_frame_encoder as check_frame_encoder
    from mlcmr.testing.loggers import check_logger as check_logger
    from mlcmr.testing.losses import check_loss as check_loss
    from mlcmr.testing.metrics import check_metric as check_metric
    from mlcmr.testing.models import check_model as check_model
    from mlcmr.testing.pooling import check_pooling as check_pooling
    from mlcmr.testing.stores import check_vector_store as check_vector_store

# Each check imports what it checks, and with it the packages of an extra, only when it is used.
__all__ = [
    "check_frame_encoder",
    "check_logger",
    "check_loss",
    "check_metric",
    "check_model",
    "check_pooling",
    "check_vector_store",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "check_frame_encoder": "encoders",
        "check_logger": "loggers",
        "check_loss": "losses",
        "check_metric": "metrics",
        "check_model": "models",
        "check_pooling": "pooling",
        "check_vector_store": "stores",
    },
)
