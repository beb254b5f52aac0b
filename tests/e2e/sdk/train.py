"""What the walks of the generated clients run: reads its data, logs, and leaves a model."""

import sys
from pathlib import Path

import tensorflow as tf
from azureml.core import Run

print("files", len([path for path in Path(sys.argv[1]).rglob("*") if path.is_file()]), flush=True)
Run.get_context().log("accuracy", 0.5)


class Doubler(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, name="x")])
    def __call__(self, x):
        return {"y": x * 2.0}


tf.saved_model.save(Doubler(), "outputs/model")
