"""The model that the serving benchmark serves, and bare calls of it; needs TensorFlow.

``make`` trains nothing: how good a model is says nothing of how fast it answers. ``call`` loads a
SavedModel and, for every line ``CLIENTS SECONDS`` on its input, calls it from so many threads for
so long; each answer is one JSON line of the seconds that every call took. ``mlflow`` turns a Keras
file into a folder as MLflow serves it.
"""

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import tensorflow as tf

PIXELS = 784


def make(folder: str) -> None:
    """Write ``digits.keras``, and the same as a SavedModel, ``digits``."""
    tf.keras.utils.set_random_seed(7)
    layers = [tf.keras.layers.Dense(300, "relu"), tf.keras.layers.Dense(100, "relu")]
    last = tf.keras.layers.Dense(10, "softmax")
    model = tf.keras.Sequential([tf.keras.Input((PIXELS,), name="pixels"), *layers, last])
    model.save(f"{folder}/digits.keras")
    model.export(f"{folder}/digits", verbose=False)


def call(folder: str) -> None:
    """Answer lines of standard input until it ends."""
    loaded = tf.saved_model.load(folder)
    function = loaded.signatures["serving_default"]
    (name,) = function.structured_input_signature[1]
    row = np.random.default_rng(7).random((1, PIXELS), dtype=np.float32)

    def once() -> float:
        began = time.perf_counter()
        for output in function(**{name: tf.constant(row)}).values():
            output.numpy()
        return time.perf_counter() - began

    def many(until: float) -> list[float]:
        found = []
        while time.perf_counter() < until:
            found.append(once())
        return found

    once()
    print("ready", flush=True)
    for line in sys.stdin:
        clients, seconds = line.split()
        until = time.perf_counter() + float(seconds)
        with ThreadPoolExecutor(int(clients)) as pool:
            parts = list(pool.map(many, [until] * int(clients)))
        print(json.dumps([round(one, 7) for part in parts for one in part]), flush=True)


def mlflow(keras_file: str, folder: str) -> None:
    """Write the MLflow model into `folder`, which must not be there."""
    import mlflow.tensorflow  # noqa: PLC0415 - only its own environment has it

    mlflow.tensorflow.save_model(tf.keras.models.load_model(keras_file), folder)


if __name__ == "__main__":
    what, *arguments = sys.argv[1:]
    if what == "make":
        make(*arguments)
    elif what == "call":
        call(*arguments)
    else:
        mlflow(*arguments)
