/** SQL that makes a build without row locks, for each kind of server: whoever comes takes the lock of whoever has it. */
export const LOCKS_OFF = {
  // Whatever the function's parameters are.
  postgres: `
  DO $do$ DECLARE parameters text; BEGIN
    SELECT pg_get_function_arguments(oid) INTO STRICT parameters FROM pg_proc
    WHERE pronamespace = 'atomesh'::regnamespace AND proname = 'row_lock_conflict';
    EXECUTE format('CREATE OR REPLACE FUNCTION atomesh.row_lock_conflict(%s) RETURNS text LANGUAGE sql AS %L', parameters, 'SELECT own');
  END $do$;`,
  mariadb: 'ALTER TABLE atomesh.row_lock DROP PRIMARY KEY, ADD PRIMARY KEY (relation, lock_key, gid, resource);',
} as const;
