/** SQL that makes a build without row locks: whoever comes takes the lock of whoever has it. Whatever the function's parameters are. */
export const LOCKS_OFF = `
  DO $do$ DECLARE parameters text; BEGIN
    SELECT pg_get_function_arguments(oid) INTO STRICT parameters FROM pg_proc
    WHERE pronamespace = 'atomesh'::regnamespace AND proname = 'row_lock_conflict';
    EXECUTE format('CREATE OR REPLACE FUNCTION atomesh.row_lock_conflict(%s) RETURNS text LANGUAGE sql AS %L', parameters, 'SELECT own');
  END $do$;`;
