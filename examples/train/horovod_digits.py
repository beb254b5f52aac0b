"""Train on handwritten digits on several ranks, the way Horovod's own Keras examples do.

Works under mpirun, under Trainwright with {"type": "mpi"}, and alone. ``--style tape`` uses
TensorFlow's GradientTape instead of Keras's fit.
"""

import argparse
import glob
import gzip
import os
import struct

import numpy as np
import tensorflow as tf

import horovod.tensorflow as hvd_tensorflow
import horovod.tensorflow.keras as hvd


def load(data_folder, pattern):
    """The array in the one idx archive below ``data_folder`` whose name matches."""
    path = sorted(glob.glob(os.path.join(data_folder, "**", pattern), recursive=True))[0]
    with gzip.open(path) as archive:
        raw = archive.read()
    rank = raw[3]
    shape = struct.unpack(f">{rank}I", raw[4 : 4 + 4 * rank])
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * rank).reshape(shape)


def build():
    """784 → 64 → 10, the same on every rank."""
    tf.keras.utils.set_random_seed(1 + hvd.rank())
    return tf.keras.Sequential(
        [
            tf.keras.layers.Input((784,)),
            tf.keras.layers.Dense(64, activation="relu"),
            tf.keras.layers.Dense(10),
        ]
    )


def train_with_keras(model, images, labels, epochs):
    """Keras's fit with Horovod's optimizer and callbacks."""
    optimizer = hvd.DistributedOptimizer(tf.keras.optimizers.Adam(0.001 * hvd.size()))
    loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=optimizer, loss=loss, metrics=["accuracy"])
    callbacks = [
        hvd.callbacks.BroadcastGlobalVariablesCallback(0),
        hvd.callbacks.MetricAverageCallback(),
    ]
    if hvd.rank() == 0:
        path = "outputs/checkpoint-{epoch}.weights.h5"
        callbacks.append(tf.keras.callbacks.ModelCheckpoint(path, save_weights_only=True))
    model.fit(images, labels, batch_size=32, epochs=epochs, callbacks=callbacks, verbose=0)


def train_with_tape(model, images, labels, epochs):
    """A loop of one's own with Horovod's tape."""
    optimizer = tf.keras.optimizers.Adam(0.001 * hvd.size())
    loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    data = tf.data.Dataset.from_tensor_slices((images, labels)).shuffle(1500, seed=1).batch(32)

    @tf.function
    def step(batch, truth, is_first):
        with tf.GradientTape() as tape:
            value = loss(truth, model(batch, training=True))
        tape = hvd_tensorflow.DistributedGradientTape(tape)
        gradients = tape.gradient(value, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables))
        if is_first:
            hvd_tensorflow.broadcast_variables(model.variables, root_rank=0)
            hvd_tensorflow.broadcast_variables(optimizer.variables, root_rank=0)
        return value

    is_first = True
    for _ in range(epochs):
        for batch, truth in data:
            step(batch, truth, is_first)
            is_first = False
    if hvd.rank() == 0:
        tf.train.Checkpoint(model=model).save("outputs/checkpoint")


def main():
    """Parse arguments, train this rank's share, test, save on rank 0."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data-folder", required=True)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--style", choices=["keras", "tape"], default="keras")
    args = parser.parse_args()

    hvd.init()
    images = load(args.data_folder, "train-images*").reshape(-1, 784) / np.float32(255)
    labels = load(args.data_folder, "train-labels*").astype(np.int32)
    count = len(images) // hvd.size() * hvd.size()
    own = slice(hvd.rank(), count, hvd.size())
    print("rank", hvd.rank(), "of", hvd.size(), "trains on", len(images[own]), flush=True)

    model = build()
    train = train_with_keras if args.style == "keras" else train_with_tape
    train(model, images[own], labels[own], args.epochs)

    tests = load(args.data_folder, "t10k-images*").reshape(-1, 784) / np.float32(255)
    truth = load(args.data_folder, "t10k-labels*").astype(np.int32)
    accuracy = float(np.mean(np.argmax(model(tests), axis=1) == truth))
    # Ranks that trained together have the same weights, to the bit.
    weights = sum(float(tf.reduce_sum(w)) for w in model.trainable_variables)
    print(f"accuracy {accuracy:.4f} weights {weights!r}", flush=True)
    if hvd.rank() == 0:
        tf.saved_model.save(model, "outputs/model")


if __name__ == "__main__":
    main()
