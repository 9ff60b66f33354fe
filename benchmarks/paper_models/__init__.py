"""The models of ``paper.py``, written once on this library's operators and once on MXNet's."""
