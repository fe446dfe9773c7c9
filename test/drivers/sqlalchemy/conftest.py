"""Makes pytest run SQLAlchemy's compliance suite for dialects, as SQLAlchemy's README.dialects.rst describes it."""

import pytest

pytest.register_assert_rewrite("sqlalchemy.testing.assertions")

from sqlalchemy.testing.plugin.pytestplugin import *  # noqa: E402, F401, F403
