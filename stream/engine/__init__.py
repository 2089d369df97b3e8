"""The engine room: bundles loaded from the model store and run by onnxruntime."""
