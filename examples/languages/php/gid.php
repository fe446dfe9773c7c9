<?php

declare(strict_types=1);

/*
 * Passes the name of the global transaction on: from the request into SQL and into calls. The service needs no more
 * than this. The name is opaque, and there is none when nobody has begun a global transaction.
 */

/** The name that the request came with; an empty text when it came without one. */
function gid(): string
{
    return $_SERVER['HTTP_ATOMESH_GID'] ?? '';
}

/** Runs a local transaction, which belongs to the global one. */
function inTransaction(PDO $db, callable $work): void
{
    $db->beginTransaction();
    try {
        if (gid() !== '') {
            $db->exec('SET LOCAL atomesh.gid = ' . $db->quote(gid()));
        }
        $work($db);
        $db->commit();
    } catch (Throwable $error) {
        if ($db->inTransaction()) {
            $db->rollBack();
        }
        throw $error;
    }
}

/** Header lines for a call to another service. */
function gidHeaders(): array
{
    return gid() === '' ? [] : ['atomesh-gid: ' . gid()];
}
