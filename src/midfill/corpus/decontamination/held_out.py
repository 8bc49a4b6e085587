"""Whole repositories that no corpus may hold: a later release contains what a task asks for.

SWE-bench takes its tasks from twelve projects; our own repository completion tasks come from
twenty packages. A name is compared whole, so `django-extensions` stays.
"""

import re
from functools import lru_cache

SWE_BENCH = (
    "astropy",
    "django",
    "flask",
    "matplotlib",
    "pylint",
    "pytest",
    "requests",
    "scikit-learn",
    "seaborn",
    "sphinx",
    "sympy",
    "xarray",
)
REPOSITORY_COMPLETION = (  # scripts/repocompletion_packages.json
    "authlib",
    "aws-sam-translator",
    "awswrangler",
    "clickhouse-connect",
    "deepdiff",
    "gql",
    "joserfc",
    "kafka-python",
    "opensearch-py",
    "optuna",
    "pyiceberg",
    "pyspnego",
    "singer-sdk",
    "slack-sdk",
    "tableauserverclient",
    "trio",
    "universal-pathlib",
    "vcs-versioning",
    "ydb",
    "zeep",
)
HELD_OUT = frozenset((*SWE_BENCH, *REPOSITORY_COMPLETION))

_RUNS = re.compile(r"[-_.]+")
_VERSION = re.compile(r"[-_]v?\d[^-/]*$")
_REVISION = re.compile(r"(?<=\d)-\d[^-/]*$")  # of a Debian version, as in 2.31.0-1
# Debian puts these before the names of Python's own packages; Python's index does not.
_DEBIAN = re.compile(r"^python3?-")


@lru_cache(maxsize=1024)  # it is asked for every file
def held_out(repository: str) -> str | None:
    """The project that a repository is, where that must be held out; else None.

    `repository` is a name such as "pypi/flask-3.1.2", "debian/python-django-4.2.1-1",
    "github.com/pallets/flask" or plain "flask"; a version at its end is not part of the name.
    """
    last = repository.rstrip("/").removesuffix(".git").rpartition("/")[2].lower()
    names = {last, _VERSION.sub("", last), _VERSION.sub("", _REVISION.sub("", last))}
    normalised = {_RUNS.sub("-", name) for name in names}
    if repository.lower().startswith("debian/"):
        normalised |= {_DEBIAN.sub("", name) for name in normalised}
    return min(normalised & HELD_OUT, default=None)
