/** What the clients of these tests find in their database. */

/** Made once. */
export const SCHEMA = `
  create table item (id int primary key, name text not null, price numeric(10,2), unique (name) deferrable initially deferred);
  create table log (id serial primary key, line text);
  create function shout(t text) returns text language plpgsql as $$ begin raise notice 'he said %', t; return upper(t); end $$;
  create procedure twice() language plpgsql as
    $$ begin insert into log (line) values ('a'); commit; insert into log (line) values ('b'); rollback; end $$;
`;

/** Puts the rows in, in place of all that there are. */
export const FILL = `
  truncate item, log restart identity;
  insert into item select n, 'item ' || n, n * 1.5 from generate_series(1, 12) n;
`;
