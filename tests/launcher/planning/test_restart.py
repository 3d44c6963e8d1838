"""auto_resume: when it tries again, and when it gives up."""

from __future__ import annotations

from launcher.store import run_lock


def test_auto_resume_retries_and_gives_up_without_progress(lab):
    root = lab.start({"rank": 1, "step": 14, "do": "kill"}, auto_resume=5)
    lab.until(lambda: len(lab.events(root, "attempt_failed")) == 3, 30)
    lab.until(lambda: not run_lock.is_supervised(root))
    # The first saved step 10; two more saved nothing beyond it.
    attempts = lab.events(root, "attempt_started")
    assert [a["resume"] and a["resume"]["step"] for a in attempts] == [None, 10, 10]


def test_auto_resume_reaches_the_end(lab):
    root = lab.start({"rank": 1, "step": 14, "do": "kill", "attempt": 1}, auto_resume=1)
    lab.wait_for(root, "attempt_finished")
    assert len(lab.events(root, "attempt_started")) == 2
