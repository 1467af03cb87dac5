"""A worker process of Beam on this machine: `python -m preprocessing.beam_worker`.

Beam's own worker program greets people with some twenty lines; this one speaks about problems only.
"""

from __future__ import annotations

import logging
import sys

from preprocessing.beam_options import silence_beam_import_logs


def main() -> None:
    """Works for the runner that started this process, until it ends."""
    logging.basicConfig(format="%(message)s")
    for handler in logging.getLogger().handlers:
        handler.setLevel(logging.WARNING)
    silence_beam_import_logs()
    from apache_beam.runners.worker import sdk_worker_main

    # It warns of a folder that workers in containers have.
    logging.getLogger(sdk_worker_main.__name__).setLevel(logging.ERROR)
    sdk_worker_main.main(sys.argv)


if __name__ == "__main__":
    main()
