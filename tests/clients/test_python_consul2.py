"""python-consul2, as Debian packages it."""

import unittest

import python_tour

try:
    import consul
    if not hasattr(consul.base.Check, "grpc"):
        consul = None  # an older fork of the same name
except ImportError:
    consul = None


@unittest.skipIf(consul is None, "the package python3-consul2 is not installed")
class PythonConsul2(python_tour.PythonTour):
    consul = consul
    bad_request = getattr(consul, "base", consul).BadRequest


del python_tour  # or its class would be run as a test too
