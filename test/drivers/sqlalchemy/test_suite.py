"""SQLAlchemy's own suite: what it asks of every dialect and driver."""

from sqlalchemy.testing.suite import *  # noqa: F401, F403
