"""A progress bar that appears after two seconds, or one that never does."""


def progress_bar(description, verbose):
    """A context manager whose value has ``to(share)``: how much is done, from 0 to 1.

    Args:
      description: what stands before the bar.
      verbose: 0 for none.
    """
    try:
        from tqdm.auto import tqdm
    except ImportError:
        return _NoBar()
    return _Bar(
        tqdm(
            total=1.0,
            desc=description,
            delay=2,
            disable=not verbose,
            leave=False,
            bar_format="{l_bar}{bar}| {elapsed}",
        )
    )


class _Bar:
    def __init__(self, bar):
        self._bar = bar

    def __enter__(self):
        self._bar.__enter__()
        return self

    def __exit__(self, *error):
        return self._bar.__exit__(*error)

    def to(self, share):
        self._bar.update(min(share, 1.0) - self._bar.n)


class _NoBar:
    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def to(self, share):
        pass
