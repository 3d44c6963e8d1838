"""A checkpoint's network as a file for other programs: ONNX, MINDIR, AIR."""
