"""What the database can do; the suite skips what is not said here."""

from sqlalchemy.testing import exclusions
from sqlalchemy.testing.requirements import SuiteRequirements


class Requirements(SuiteRequirements):
    """PostgreSQL has all of these."""

    schemas = property(lambda self: exclusions.open())
    sequences = property(lambda self: exclusions.open())
    ctes = property(lambda self: exclusions.open())
    ctes_on_dml = property(lambda self: exclusions.open())
    datetime_timezone = property(lambda self: exclusions.open())
    json_type = property(lambda self: exclusions.open())
    savepoints = property(lambda self: exclusions.open())
    server_side_cursors = property(lambda self: exclusions.open())
    isolation_level = property(lambda self: exclusions.open())
    unicode_ddl = property(lambda self: exclusions.open())
    views = property(lambda self: exclusions.open())
    temp_table_reflection = property(lambda self: exclusions.open())
    table_value_constructor = property(lambda self: exclusions.open())
    update_from = property(lambda self: exclusions.open())
    delete_from = property(lambda self: exclusions.open())
    returning = property(lambda self: exclusions.open())
