"""Loaded by Python itself before an application that `atomesh run --trace-agent python` starts: OpenTelemetry's automatic
instrumentation as `opentelemetry-instrument` starts it, with SQL comments switched on, for which there is no variable.

Distributions may hand arguments to instrumentations (`BaseDistro.load_instrumentor`); that is all that differs.
"""

import sys

# The instrumentations of drivers that write comments. Not SQLAlchemy's: below it there is a driver, and one comment is enough.
WITH_COMMENTS = {"psycopg", "psycopg2", "mysql", "mysqlclient", "pymysql"}


def _with_comments(load):
    def load_instrumentor(self, entry_point, **kwargs):
        if entry_point.name in WITH_COMMENTS:
            kwargs.setdefault("enable_commenter", True)
        return load(self, entry_point, **kwargs)

    return load_instrumentor


try:
    from opentelemetry.instrumentation.auto_instrumentation import initialize
    from opentelemetry.instrumentation.distro import BaseDistro
except ImportError as error:
    # Another Python than the application's, started by it: it goes on as it would have.
    print(f"atomesh run: no OpenTelemetry in {sys.executable}: {error}", file=sys.stderr)
else:
    BaseDistro.load_instrumentor = _with_comments(BaseDistro.load_instrumentor)
    initialize()
