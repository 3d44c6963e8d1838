"""Images: found in folders, decoded, augmented, and delivered in batches."""

from effnet.data.errors import BadImages, DataError
from effnet.data.folders import ImageIndex, index_folder, require_same_classes
from effnet.data.loader import eval_batches, train_batches
from effnet.data.prefetch import Batch
from effnet.data.preprocess import Preprocessing
from effnet.data.sampler import shard, steps_per_epoch

__all__ = [
    "BadImages",
    "Batch",
    "DataError",
    "ImageIndex",
    "Preprocessing",
    "eval_batches",
    "index_folder",
    "require_same_classes",
    "shard",
    "steps_per_epoch",
    "train_batches",
]
