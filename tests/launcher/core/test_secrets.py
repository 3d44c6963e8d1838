"""Which variables are secret, and that nothing made from a profile has their values."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.core.checks.questions import questions
from launcher.core.plan.make import make_plan
from launcher.core.plan.model import RunContext
from launcher.core.profile.load import load_profile, profile_from_json, without_secrets
from launcher.core.profile.secrets import HIDDEN, is_secret, redact
from launcher.core.text.toml import to_value
from launcher.errors import ProfileError

HEAD = """
name = "p"
device_target = "CPU"
start_method = "{method}"
"""
NODE = """
[[nodes]]
address = "127.0.0.1"
slots = 2
"""
SECRET = (
    *("HF_TOKEN", "hf_token", "WANDB_API_KEY", "AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID"),
    *("DB_PASSWORD", "PGPASSWORD", "MYSQL_PWD", "SMTP_PASS", "GITHUB_TOKENS", "apiKey", "apiToken"),
    *("GOOGLE_APPLICATION_CREDENTIALS", "REGISTRY_AUTH", "SSH_PASSPHRASE", "CLIENT_SECRET"),
)
SHOWN = (
    *("TOKENIZERS_PARALLELISM", "PWD", "OMP_NUM_THREADS", "PYTHONPATH", "LD_LIBRARY_PATH"),
    *("GLOG_v", "KEYBOARD", "XAUTHORITY", "PASSED", "MS_ENABLE_HCCL", "SECRETARY_NAME"),
)


def profile(value: str, name: str = "HF_TOKEN", method: str = "cluster", head: str = ""):
    variables = f"[environment]\n{name} = {to_value(value)}\n"
    return load_profile(HEAD.format(method=method) + head + variables + NODE, "p.toml")


@pytest.mark.parametrize("name", SECRET)
def test_names_that_are_secret(name):
    assert is_secret(name, "x")


@pytest.mark.parametrize("name", SHOWN)
def test_names_that_are_not(name):
    assert not is_secret(name, "x")


@pytest.mark.parametrize("value", ["http://me:pw@host/", "x https://a:b@c:1", "redis://:pw@h"])
def test_a_url_with_a_password_is_secret(value):
    assert is_secret("ANY", value)
    assert not is_secret("ANY", "http://host:80/a@b")


@pytest.mark.parametrize("method", ["cluster", "mpirun"])
@given(tail=st.text(min_size=1))
def test_nothing_that_is_made_from_a_profile_has_a_value(method, tail):
    value = f"mark-7d1e{tail}".replace("\0", "")
    found = profile(value, method=method)
    plan = make_plan(found, RunContext("r", "/runs/r"))
    made = (repr(found), found.to_json(), plan.to_json(), repr(plan), str(found.model_dump()))
    assert not any("mark-7d1e" in text for text in made)
    assert all(p.environment["HF_TOKEN"] == HIDDEN for p in plan.ranks)
    part = plan.for_node("127.0.0.1").with_secrets(found.secrets_of("127.0.0.1"))
    assert all(p.environment["HF_TOKEN"] == value for p in part.ranks)
    assert not any("HF_TOKEN" in word for p in plan.processes for word in p.argv)
    assert questions(found)[0].environment["HF_TOKEN"] == HIDDEN
    back = profile_from_json(found.to_json())
    assert back.unknown_secrets == ("HF_TOKEN",)
    assert back.with_secrets(found.secrets) == found


def test_a_nodes_own_value_wins_and_listed_names_are_secret():
    text = HEAD.format(method="cluster") + 'secret_env = ["PLAIN"]\n[environment]\nPLAIN = "one"\n'
    text += 'HF_TOKEN = "two"\n' + NODE + 'environment = { HF_TOKEN = "three" }\n'
    found = load_profile(text, "p.toml")
    assert found.secrets_of("127.0.0.1") == {"PLAIN": "one", "HF_TOKEN": "three"}
    assert not {"one", "two", "three"} & set(found.to_json().split('"'))


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ('secret_env = ["HF_TOKE"]', "did you mean 'HF_TOKEN'?"),
        ("secret_env = [1]", "secret_env[0]: a string"),
    ],
)
def test_a_listed_name_that_no_variable_has_is_reported(lines, problem):
    with pytest.raises(ProfileError) as caught:
        profile("x", head=lines + "\n")
    assert problem in "\n".join(caught.value.problems)


def test_errors_do_not_quote_a_value():
    text = HEAD.format(method="cluster") + "[environment]\nHF_TOKEN = 71234567\n" + NODE
    with pytest.raises(ProfileError) as caught:
        load_profile(text, "p.toml")
    assert "environment.HF_TOKEN: a string in quotes" in str(caught.value)
    assert "71234567" not in str(caught.value)


def test_what_stands_for_a_value_is_not_one():
    with pytest.raises(ProfileError, match=r"environment.HF_TOKEN: the value itself"):
        profile(HIDDEN)


@pytest.mark.parametrize(
    "written",
    [
        '"mark-7d1e"',
        "'mark-7d1e'",
        '"""\nmark-7d1e"""',
        "'''mark-7d1e'''",
        '"mark\\u002d7d1e"',
        '"ab"',
        '"\\u0061b"',
    ],
)
def test_the_text_of_a_profile_is_shown_without_values(written):
    text = HEAD.format(method="cluster") + f"# why\n[environment]\nHF_TOKEN = {written}\n" + NODE
    found = load_profile(text, "p.toml")
    shown = without_secrets(text, found)
    assert "HF_TOKEN" in shown
    assert HIDDEN in shown
    assert "7d1e" not in shown
    assert written not in shown


@given(st.text(), st.text(min_size=6))
def test_redact_leaves_no_long_value(text, value):
    assert value not in redact(text + value, [value]) or value in HIDDEN
