const ON_MYSQL =
  'CREATE TRIGGER atomesh.no_locks BEFORE INSERT ON atomesh.row_lock FOR EACH ROW SET NEW.lock_key = concat(left(NEW.lock_key, 200), uuid());';

/** SQL that makes a build without row locks, for each kind of server: nobody ever meets one of another's. */
export const LOCKS_OFF = {
  // Whoever comes takes the lock of whoever has it. Whatever the function's parameters are.
  postgres: `
  DO $do$ DECLARE parameters text; BEGIN
    SELECT pg_get_function_arguments(oid) INTO STRICT parameters FROM pg_proc
    WHERE pronamespace = 'atomesh'::regnamespace AND proname = 'row_lock_conflict';
    EXECUTE format('CREATE OR REPLACE FUNCTION atomesh.row_lock_conflict(%s) RETURNS text LANGUAGE sql AS %L', parameters, 'SELECT own');
  END $do$;`,
  mariadb: ON_MYSQL,
  mysql: ON_MYSQL,
} as const;
