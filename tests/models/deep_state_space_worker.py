"""Trains a DeepStateSpace with one of TensorFlow's strategies and saves its weights.

Arguments: a file for the weights; "alone", "mirrored", or "workers" with this one's number and the
ports of all.
"""

import json
import os
import sys

import keras
import numpy as np
import tensorflow as tf

import statespace as ss


def strategy_of(kind, index="0", *ports):
    """The strategy, and two processors for the mirrored one."""
    if kind == "workers":
        cluster = {"worker": [f"localhost:{port}" for port in ports]}
        task = {"type": "worker", "index": int(index)}
        os.environ["TF_CONFIG"] = json.dumps({"cluster": cluster, "task": task})
        return tf.distribute.MultiWorkerMirroredStrategy()
    if kind == "mirrored":
        cpu, half = (
            tf.config.list_physical_devices("CPU")[0],
            tf.config.LogicalDeviceConfiguration(),
        )
        tf.config.set_logical_device_configuration(cpu, [half, half])
        return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    return tf.distribute.get_strategy()


def main(file, *strategy):
    strategy = strategy_of(*strategy)
    y = 10 + np.random.default_rng(0).normal(size=(12, 20)).cumsum(axis=1)
    y[1, 5:] = y[4, 2:9] = np.nan  # so that the replicas have different numbers of values
    y = y.astype(np.float32)  # as Keras hands arrays out
    keras.utils.set_random_seed(0)
    with strategy.scope():
        model = ss.models.DeepStateSpace(ss.models.LocalLevel(), "convolution", dtype="float64")
        model.compile(keras.optimizers.Adam(0.01))
    if isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        train(model, strategy, y)
    else:
        model.fit(y, epochs=2, batch_size=4, shuffle=False, verbose=0)
    np.savez(file, *[weight.numpy() for weight in model.weights])


def train(model, strategy, y):
    """Keras's own ``fit`` fails with several workers (keras-team/keras#20585)."""
    panel = model.panel(y)
    dataset = tf.data.Dataset.from_tensor_slices(panel).batch(4)
    with strategy.scope():
        model.build({name: (None, *np.shape(x)[1:]) for name, x in panel.items()})
        model.optimizer.build(model.trainable_variables)

    @tf.function
    def step(batch):
        strategy.run(model.train_step, args=(batch,))

    for _ in range(2):
        for batch in strategy.experimental_distribute_dataset(dataset):
            step(batch)


if __name__ == "__main__":
    main(*sys.argv[1:])
