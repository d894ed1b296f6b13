"""py-consul, in an environment of its own: run with that environment's Python."""

import importlib.metadata
import unittest

import python_tour

try:
    importlib.metadata.version("py-consul")
    import consul
except ImportError:
    consul = None


@unittest.skipIf(consul is None, "py-consul is not installed here; tests/clients/run.sh does it")
class PyConsul(python_tour.PythonTour):
    consul = consul
    bad_request = getattr(consul, "exceptions", consul).BadRequest


@unittest.skipIf(consul is None, "py-consul is not installed here; tests/clients/run.sh does it")
class PyConsulGroup(python_tour.KeysThroughDeaths):
    consul = consul


@unittest.skipIf(consul is None, "py-consul is not installed here; tests/clients/run.sh does it")
class PyConsulAgent(python_tour.KeysThroughDeathsAtAnAgent):
    consul = consul


del python_tour
