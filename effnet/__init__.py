"""EfficientNet on MindSpore: train, evaluate, export, infer."""

__version__ = "0.1.0"
