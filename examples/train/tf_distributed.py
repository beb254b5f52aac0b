"""Train one small network on handwritten digits in one process, or in several as TF_CONFIG says.

Without TF_CONFIG it trains alone. With workers only they reduce among themselves
(MultiWorkerMirroredStrategy). With a chief and parameter servers the chief coordinates
(ParameterServerStrategy; needs TensorFlow 2.15 or older, because Keras 3 has left it). All three
go through the data equally often in batches of the same size, so that their accuracies compare.
The learning rate falls linearly to nothing over all steps, so that no way ends on the noise of its
last ones.
"""

import argparse
import json
import math
import os

import numpy as np
import tensorflow as tf
from tf_mnist import find, load

TASK = json.loads(os.environ.get("TF_CONFIG", "{}")).get("task", {"type": "worker", "index": 0})


def read(data_folder, part, count):
    """Images as rows between 0 and 1, and labels, of the first ``count`` of a part."""
    images = load(find(data_folder, part + "-images*"))[:count]
    labels = load(find(data_folder, part + "-labels*"))[:count]
    return images.reshape(-1, 784) / np.float32(255), labels.astype(np.int64)


def build():
    """784 → 64 → 10 logits; every process starts from the same weights."""
    tf.keras.utils.set_random_seed(1)
    return tf.keras.Sequential(
        [
            tf.keras.layers.Dense(64, activation="relu", input_shape=(784,)),
            tf.keras.layers.Dense(10),
        ]
    )


def batches(images, labels, batch_size, seed):
    """The data in another order each time, sharded by example where it is distributed."""
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    data = tf.data.Dataset.from_tensor_slices((images, labels))
    return data.shuffle(len(labels), seed=seed).batch(batch_size).with_options(options)


def step_count(labels, args):
    """The steps of all epochs; the last batch of each may be smaller."""
    return args.epochs * math.ceil(len(labels) / args.batch_size)


def build_optimizer(labels, args):
    """Gradient descent whose learning rate falls linearly to nothing over all steps."""
    return tf.keras.optimizers.legacy.SGD(
        tf.keras.optimizers.schedules.PolynomialDecay(
            args.learning_rate, step_count(labels, args), end_learning_rate=0.0
        )
    )


def fit(strategy, images, labels, args):
    """Alone, or with workers that apply the same step at the same time."""
    with strategy.scope():
        model = build()
        model.compile(
            optimizer=build_optimizer(labels, args),
            loss=tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
    history = model.fit(batches(images, labels, args.batch_size, seed=1), epochs=args.epochs, verbose=0)
    print("replicas", strategy.num_replicas_in_sync, "loss", history.history["loss"][-1], flush=True)
    return model


def coordinate(resolver, images, labels, args):
    """As the coordinator: give steps to whichever worker is free."""
    strategy = tf.distribute.ParameterServerStrategy(resolver)
    coordinator = tf.distribute.coordinator.ClusterCoordinator(strategy)
    with strategy.scope():
        model = build()
        optimizer = build_optimizer(labels, args)
        none = tf.keras.losses.Reduction.NONE
        loss_of = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction=none)

    @tf.function
    def per_worker():
        return batches(images, labels, args.batch_size, seed=None).repeat()

    @tf.function
    def step(iterator):
        def replica(some_images, some_labels):
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(loss_of(some_labels, model(some_images, training=True)))
            gradients = tape.gradient(loss, model.trainable_variables)
            optimizer.apply_gradients(zip(gradients, model.trainable_variables))
            return loss

        return strategy.run(replica, args=next(iterator))

    iterator = iter(coordinator.create_per_worker_dataset(per_worker))
    loss = coordinator.schedule(step, args=(iterator,))
    coordinator.join()
    print("first step, loss", float(loss.fetch()), flush=True)
    for _ in range(step_count(labels, args) - 1):
        loss = coordinator.schedule(step, args=(iterator,))
    coordinator.join()
    print("loss", float(loss.fetch()), flush=True)
    return model


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data-folder", dest="data_folder", required=True)
    parser.add_argument("--train-count", dest="train_count", type=int, default=None)
    parser.add_argument("--batch-size", dest="batch_size", type=int, default=50, help="of all workers together")
    parser.add_argument("--learning-rate", dest="learning_rate", type=float, default=0.2)
    parser.add_argument("--epochs", type=int, default=20)
    args = parser.parse_args()

    resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
    has_servers = "ps" in resolver.cluster_spec().jobs
    if has_servers and TASK["type"] in ("worker", "ps"):
        server = tf.distribute.Server(
            resolver.cluster_spec(), job_name=TASK["type"], task_index=TASK["index"], protocol="grpc", start=True
        )
        server.join()
    images, labels = read(args.data_folder, "train", args.train_count)
    if has_servers:
        model = coordinate(resolver, images, labels, args)
    else:
        is_alone = not resolver.cluster_spec().jobs
        strategy = tf.distribute.get_strategy() if is_alone else tf.distribute.MultiWorkerMirroredStrategy()
        model = fit(strategy, images, labels, args)

    test_images, test_labels = read(args.data_folder, "t10k", None)
    guesses = np.argmax(model(test_images, training=False).numpy(), axis=1)
    accuracy = float(np.mean(guesses == test_labels))
    print(f"{TASK['type']} {TASK['index']}: accuracy {accuracy:.4f}", flush=True)
    with open(os.path.join("outputs", "accuracy.json"), "w") as file:
        json.dump({"accuracy": accuracy}, file)


if __name__ == "__main__":
    main()
