"""A trainer that only initialises; all else of the package, the scheduler too, is the real one."""

from pkgutil import extend_path

__path__ = extend_path(__path__, __name__)
