"""Train a small network on handwritten digits, the way the Azure ML TensorFlow sample does.

The data folder may be mounted as deep as you like: the archives are searched for in it. Works
with TensorFlow 2.12 and later (Keras 2 and Keras 3), and runs outside Trainwright too.
"""

import argparse
import glob
import gzip
import os
import struct
import time

import numpy as np
import tensorflow as tf

try:
    from azureml.core import Run
except ImportError:  # outside a run, without the package: train all the same
    Run = None


def find(data_folder, pattern):
    """The one archive below ``data_folder`` whose name matches ``pattern``."""
    found = sorted(glob.glob(os.path.join(data_folder, "**", pattern), recursive=True))
    if not found:
        raise SystemExit(f"no file {pattern} below {data_folder}")
    return found[0]


def load(path):
    """The array in one idx archive."""
    with gzip.open(path) as archive:
        raw = archive.read()
    rank = raw[3]
    shape = struct.unpack(f">{rank}I", raw[4 : 4 + 4 * rank])
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * rank).reshape(shape)


def build(first_layer_neurons, second_layer_neurons):
    """784 → first → second → 10, with probabilities at the end."""
    pixels = tf.keras.Input(shape=(784,), dtype="float32", name="image")
    hidden = tf.keras.layers.Dense(first_layer_neurons, activation="relu")(pixels)
    hidden = tf.keras.layers.Dense(second_layer_neurons, activation="relu")(hidden)
    digits = tf.keras.layers.Dense(10, activation="softmax", name="probabilities")(hidden)
    return tf.keras.Model(pixels, digits)


class Report(tf.keras.callbacks.Callback):
    """Logs the metrics of each epoch to the run and to a file below ./logs."""

    def __init__(self, run, log_file):
        super().__init__()
        self.run = run
        self.log_file = log_file

    def on_epoch_end(self, epoch, logs=None):
        """Called by Keras with the metrics of the epoch that has just ended."""
        training = float(logs["accuracy"])
        validation = float(logs["val_accuracy"])
        line = f"epoch {epoch}: training accuracy {training:.4f}, validation accuracy {validation:.4f}"
        print(line, flush=True)
        self.log_file.write(line + "\n")
        self.log_file.flush()
        if self.run is not None:
            self.run.log("training_acc", training)
            self.run.log("validation_acc", validation)
            self.run.log_row("loss", epoch=epoch, training=float(logs["loss"]), validation=float(logs["val_loss"]))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data-folder", dest="data_folder", required=True, help="where the archives are")
    parser.add_argument("--batch-size", dest="batch_size", type=int, default=50)
    parser.add_argument("--first-layer-neurons", dest="first", type=int, default=300)
    parser.add_argument("--second-layer-neurons", dest="second", type=int, default=100)
    parser.add_argument("--learning-rate", dest="learning_rate", type=float, default=0.001)
    parser.add_argument("--epochs", dest="epochs", type=int, default=5)
    args = parser.parse_args()

    print("TensorFlow", tf.__version__, flush=True)
    print("data folder", args.data_folder, flush=True)
    train_images = load(find(args.data_folder, "train-images*")).reshape(-1, 784) / np.float32(255)
    train_labels = load(find(args.data_folder, "train-labels*")).astype(np.int32)
    test_images = load(find(args.data_folder, "t10k-images*")).reshape(-1, 784) / np.float32(255)
    test_labels = load(find(args.data_folder, "t10k-labels*")).astype(np.int32)
    print("training on", train_images.shape, "testing on", test_images.shape, flush=True)

    run = Run.get_context() if Run is not None else None
    tf.keras.utils.set_random_seed(1)
    model = build(args.first, args.second)
    model.compile(
        optimizer=tf.keras.optimizers.Adam(args.learning_rate),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    os.makedirs("logs", exist_ok=True)
    started = time.monotonic()
    with open(os.path.join("logs", "training.txt"), "w") as log_file:
        model.fit(
            train_images,
            train_labels,
            batch_size=args.batch_size,
            epochs=args.epochs,
            validation_data=(test_images, test_labels),
            callbacks=[Report(run, log_file)],
            verbose=0,
        )
    loss, accuracy = model.evaluate(test_images, test_labels, verbose=0)
    if run is not None:
        run.log("final_acc", float(accuracy))
        run.log("training_seconds", time.monotonic() - started)

    @tf.function(input_signature=[tf.TensorSpec([None, 784], tf.float32, name="image")])
    def serve(image):
        return {"probabilities": model(image, training=False)}

    os.makedirs("outputs", exist_ok=True)
    target = os.path.join("outputs", "model")
    tf.saved_model.save(model, target, signatures={"serving_default": serve})
    print(f"final accuracy {accuracy:.4f}; the model is in {target}", flush=True)


if __name__ == "__main__":
    main()
