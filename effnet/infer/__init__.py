"""An exported ONNX file over a folder of images, without MindSpore."""
