"""Open models of strangers: their files are compared with each other before a model is built."""

from mlcmr.model.foreign.budget import building as building
from mlcmr.model.foreign.files import CONFIG as CONFIG
from mlcmr.model.foreign.files import find_file as find_file
from mlcmr.model.foreign.files import read_model_settings as read_model_settings
from mlcmr.model.foreign.files import require_plain_files as require_plain_files
from mlcmr.model.foreign.modules import require_safe_modules as require_safe_modules
from mlcmr.model.foreign.opening import open_config as open_config
from mlcmr.model.foreign.opening import open_foreign_model as open_foreign_model
from mlcmr.model.foreign.opening import require_finite_weights as require_finite_weights
from mlcmr.model.foreign.preprocessing import open_foreign_tokenizer as open_foreign_tokenizer
from mlcmr.model.foreign.preprocessing import require_safe_tokenizer as require_safe_tokenizer
from mlcmr.model.foreign.preprocessing import require_small_pictures as require_small_pictures
from mlcmr.model.foreign.weights import Shapes as Shapes
from mlcmr.model.foreign.weights import load_pickled as load_pickled
from mlcmr.model.foreign.weights import read_safetensors as read_safetensors
from mlcmr.model.foreign.weights import read_shapes as read_shapes
from mlcmr.model.foreign.weights import require_own_numbers as require_own_numbers
