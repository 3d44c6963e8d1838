"""Options and arguments that several commands share; options made from the fields of a request."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any, get_type_hints

import typer

from launcher.core.run.requests import DATA_ALIASES, IGNORE, SET, Request, options_of
from launcher.errors import UsageError

KEYWORD = inspect.Parameter.KEYWORD_ONLY

PROFILE = typer.Argument(help="name of a profile, or path of its TOML file", show_default=False)
COMMAND = typer.Argument(
    metavar="[-- COMMAND...]",
    help="run this on every rank, and not the bundled trainer",
    show_default=False,
)
RUN = typer.Argument(help="id of a run, the start of one, `latest`, or a path")
JSON = typer.Option("--json", help="print JSON")
FOLLOW = typer.Option("--follow", "-f", help="show progress to the end")
SETTINGS = typer.Option("--set", metavar="KEY=VALUE", help=SET)
DATA = typer.Option("--data", *DATA_ALIASES, help="data folder, instead of the profile's")
IGNORED = typer.Option("--ignore", metavar="CHECK", help=IGNORE)
QUIET = typer.Option("--quiet", "-q", help="print only warnings and failed checks")
YES = typer.Option("--yes", "-y", help="do not ask for confirmation")


def with_request(
    record: type[Request], /, **fixed: str
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Replaces a command's parameter `request` by an option for each field of the record."""

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        own = inspect.signature(function, eval_str=True)
        made = {item.name: item for item in _parameters(record, fixed.get("kind", ""))}

        def command(**values: Any) -> None:
            given = {name: _value(record, name, values.pop(name)) for name in made}
            function(request=record(**fixed, **given), **values)

        parameters = [
            one
            for item in own.parameters.values()
            for one in (made.values() if item.name == "request" else [item.replace(kind=KEYWORD)])
        ]
        command.__name__, command.__doc__ = function.__name__, function.__doc__
        command.__annotations__ = {item.name: item.annotation for item in parameters}
        vars(command)["__signature__"] = own.replace(parameters=parameters)
        return command

    return decorate


def _parameters(request: type[Request], kind: str) -> Iterator[inspect.Parameter]:
    hints = get_type_hints(request)
    for name, option in options_of(request, kind):
        default, metavar = getattr(request, name), option.metavar or None
        type_: Any = hints[name]
        if type_ is bool:
            default = False
        elif type_ not in (str, int):
            type_, default = list[str], []
        made = typer.Option(option.flag, *option.aliases, help=option.help, metavar=metavar)
        yield inspect.Parameter(name, KEYWORD, default=default, annotation=Annotated[type_, made])


def _value(request: type[Request], name: str, value: Any) -> Any:
    if name == "settings":
        return pairs(value)
    if isinstance(value, bool):
        # A switch turns its default around.
        return getattr(request, name) is not value
    return tuple(value) if isinstance(value, list) else value


def pairs(settings: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """`KEY=VALUE` texts. Raises `UsageError`."""
    found = []
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or not key:
            raise UsageError(
                f"--set {setting}: expected KEY=VALUE", "For example --set lr_max=0.01"
            )
        found.append((key, value))
    return tuple(found)


def confirm_on_terminal() -> Callable[[str], bool] | None:
    """A function that asks a yes-or-no question; None without a terminal."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return None
    return lambda question: typer.confirm(question, err=True)
