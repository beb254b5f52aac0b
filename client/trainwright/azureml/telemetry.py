"""Diagnostics: there are none."""


def set_diagnostics_collection(send_diagnostics: bool = True, verbosity: int = 30) -> None:
    """Say that nothing is collected or sent, whatever is asked for."""
    if send_diagnostics:
        print("Trainwright collects no diagnostics.")
