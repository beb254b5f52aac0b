"""Hints go on being sent, whatever the broker's client says."""

import threading

import pytest
from celery import Celery
from pydantic import SecretStr

from app.kernel.broker import BrokerHints
from app.kernel.config import Settings
from app.kernel.hints import Hint
from app.kernel.signals import Signals


def test_an_error_without_words_does_not_end_the_sending(monkeypatch: pytest.MonkeyPatch) -> None:
    hints = BrokerHints(Settings(broker_url=SecretStr("redis://127.0.0.1:1/0")), Signals())
    asked = threading.Event()
    ended: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", ended.append)

    def refuse(*_: object, **__: object) -> None:
        asked.set()
        raise ConnectionError

    monkeypatch.setattr(Celery, "send_task", refuse)
    hints.send([Hint("reconcile", "runs", "run_1")])
    assert asked.wait(30)
    hints.close()

    assert not ended
