"""Writes small models of each kind; runs in the environment with TensorFlow."""

import sys
from pathlib import Path

import numpy as np
import tensorflow as tf


class Mixed(tf.Module):  # type: ignore[misc]
    """Numbers and strings in, numbers, bytes and strings out."""

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, 2], tf.float32, name="a"),
            tf.TensorSpec([None], tf.string, name="s"),
        ]
    )
    def call(self, a: tf.Tensor, s: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"sum": tf.reduce_sum(a, 1), "raw_bytes": s, "upper": tf.strings.upper(s)}


class Scalar(tf.Module):  # type: ignore[misc]
    """One number in, its double out; the signature has an unusual name."""

    @tf.function(input_signature=[tf.TensorSpec([], tf.int32, name="n")])
    def call(self, n: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"doubled": n * 2}


class Broken(tf.Module):  # type: ignore[misc]
    """Refuses every input."""

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, name="x")])
    def call(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        with tf.control_dependencies([tf.debugging.assert_greater(x, 1e30)]):
            return {"y": tf.identity(x)}


def write_classifier(folder: Path) -> None:
    """A model with signatures for classify and regress, as estimators exported them."""
    v1 = tf.compat.v1
    with tf.Graph().as_default() as graph, v1.Session(graph=graph) as session:
        packed = v1.placeholder(tf.string, [None], name="examples")
        spec = {"x": v1.io.FixedLenFeature([2], tf.float32)}
        x = v1.io.parse_example(packed, spec)["x"]
        v1.get_variable("unused", initializer=tf.ones([1]))
        session.run(v1.global_variables_initializer())
        names = tf.tile(tf.constant([["left", "right"]]), [tf.shape(x)[0], 1])
        info = v1.saved_model.utils.build_tensor_info
        make = v1.saved_model.signature_def_utils.build_signature_def
        classify = make(
            {"inputs": info(packed)},
            {"classes": info(names), "scores": info(x)},
            "tensorflow/serving/classify",
        )
        regress = make(
            {"inputs": info(packed)},
            {"outputs": info(tf.reduce_sum(x, 1, keepdims=True))},
            "tensorflow/serving/regress",
        )
        predict = make({"x": info(x)}, {"y": info(x * 2.0)}, "tensorflow/serving/predict")
        builder = v1.saved_model.Builder(str(folder))
        builder.add_meta_graph_and_variables(
            session,
            ["serve"],
            {"serving_default": predict, "classify": classify, "regress": regress},
        )
        builder.save()


def main(folder: Path) -> None:
    """Write all of them below ``folder``."""
    tf.keras.utils.set_random_seed(7)
    layers = tf.keras.layers
    mlp = tf.keras.Sequential(
        [tf.keras.Input((784,), name="pixels"), layers.Dense(30, "relu"), layers.Dense(10)]
    )
    mlp.export(folder / "mlp", verbose=False)
    mlp.save(folder / "mlp.keras")
    mlp.save(folder / "mlp.h5")
    expected = mlp(np.full((1, 784), 0.5, dtype=np.float32)).numpy()
    np.save(folder / "expected.npy", expected)
    for name, module in (("mixed", Mixed()), ("scalar", Scalar()), ("broken", Broken())):
        signature = "double" if name == "scalar" else "serving_default"
        tf.saved_model.save(module, folder / name, signatures={signature: module.call})
    write_classifier(folder / "classifier")
    with tf.Graph().as_default() as graph, tf.compat.v1.Session(graph=graph) as session:
        x = tf.compat.v1.placeholder(tf.float32, [None, 3], name="X")
        weights = tf.compat.v1.get_variable("w", initializer=tf.ones([3, 1]))
        y = tf.matmul(x, weights)
        session.run(tf.compat.v1.global_variables_initializer())
        tf.compat.v1.saved_model.simple_save(session, str(folder / "tf1"), {"X": x}, {"Y": y})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
