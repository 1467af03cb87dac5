"""The threads with which TensorFlow's C++ runtime computes."""

from __future__ import annotations

from configs.command_line import CommandError
from serving.runtime.c_library import library


def start_threads() -> None:
    """Starts them, where they do not run yet.

    All sessions share them, and they have the priority of the thread that opens the first session.

    Raises:
      CommandError: the installed package has no such runtime, or it opens no session.
    """
    functions = library()
    status, options = functions.TF_NewStatus(), functions.TF_NewSessionOptions()
    graph = functions.TF_NewGraph()
    try:
        session = functions.TF_NewSession(graph, options, status)
        if not session:
            reason = functions.TF_Message(status).decode(errors="replace")
            raise CommandError(f"TensorFlow's C API opens no session ({reason})")
        functions.TF_DeleteSession(session, status)
    finally:
        functions.TF_DeleteGraph(graph)
        functions.TF_DeleteSessionOptions(options)
        functions.TF_DeleteStatus(status)
