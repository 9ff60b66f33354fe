"""The networks that ``training.py`` trains, each on this library, on TFP's and in JAX on dynamax's.

A workload is an object with

  name, sizes      of its row: what it is, numbers of states and steps
  batch            what a training step is made on
  network(form)    a Keras model, always with the same weights, on the filter or smoother of
                   "statespace" or "TFP", or on "nothing", which costs next to nothing
  compile(network, jit_compile)
"""
