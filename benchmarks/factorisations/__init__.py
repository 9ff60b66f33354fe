"""Problems, libraries and tables of ``linalg.py`` and the scripts beside it."""
