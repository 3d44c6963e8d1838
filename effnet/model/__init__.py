"""EfficientNet B0 to B7 in MindSpore; `scaling` is plain arithmetic and imports nothing."""
