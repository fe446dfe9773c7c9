<?php
/**
 * What PHP's drivers hear of a server, one line for each thing that was said: `php talk.php <port> <user> <database> <gid>`. With a gid, every
 * connection belongs to that global transaction. mysqli, and PDO with prepares of its own and the server's, buffered and not.
 */
declare(strict_types=1);

[, $port, $user, $database, $gid] = $argv;
$port = (int) $port;
mysqli_report(MYSQLI_REPORT_OFF);
$init = $gid === '' ? 'DO 0' : "SET @atomesh_gid = '$gid'";
$insert = "insert into item (code, price, name, at, raw, flag, big) values (?, ?, ?, ?, ?, b'1', ?)";
$rows = 'select code, price, name, at, hex(raw), flag + 0, big, note from item where code like ? order by code';

/** Writes an answer; a long one by its digest. */
function say(string $variant, string $name, mixed ...$said): void
{
    $text = json_encode($said, JSON_INVALID_UTF8_SUBSTITUTE | JSON_THROW_ON_ERROR);
    echo "= $variant $name: ", strlen($text) > 600 ? strlen($text) . ' ' . hash('sha256', $text) : $text, "\n";
}

/** The values of a row of the talk, under this code. */
function values(string $code): array
{
    return [$code, '12.3400', "quo'te\\ä😀", '2024-02-29 23:59:59.999999', "\0\1\xff", '18446744073709551615'];
}

// ── mysqli ──

function connect(): mysqli
{
    global $port, $user, $database, $init;
    $db = mysqli_init();
    $db->options(MYSQLI_INIT_COMMAND, $init);
    if (!$db->real_connect('127.0.0.1', $user, '', $database, $port)) {
        throw new RuntimeException("no connection: {$db->connect_error}");
    }
    $db->set_charset('utf8mb4');
    return $db;
}

/** What a text answers, or its error. */
function told(mysqli $db, string $text): array
{
    $result = $db->query($text);
    $state = [$db->affected_rows, $db->errno, $db->error, $db->info, $db->warning_count];
    return $result instanceof mysqli_result ? [$result->fetch_all(), ...$state] : [$result, $db->insert_id > 0, ...$state];
}

/** What a prepared statement answers, or its error. */
function executed(mysqli_stmt $statement, ?array $values = null): array
{
    $isDone = $statement->execute($values);
    $result = $isDone ? $statement->get_result() : false;
    $rows = $result instanceof mysqli_result ? $result->fetch_all() : null;
    return [$isDone, $rows, $statement->affected_rows, $statement->errno, $statement->error];
}

function texts(mysqli $db, string $mark): void
{
    $v = "mysqli $mark";
    foreach (range(0, 9) as $n) {
        say($v, 'insert', told($db, "insert into item (code, price, name) values ('{$mark}t$n', $n, 'ä😀')"));
    }
    $texts = [
        "insert into item (code) values ('{$mark}t1')",
        "update item set note = 'a;b', price = price + 1 where code like '{$mark}t%'",
        "update item set note = 'a;b' where code like '{$mark}t%'",
        "delete from item where code in ('{$mark}t2', '{$mark}t3')",
        "insert ignore into item (code) values ('{$mark}t1')",
        'show warnings',
        "insert into counter values ('ann', 1) on duplicate key update n = n + values(n)",
        "replace into counter values ('bob', 7)",
        'insert into line (item, n) values (1, 2)',
        'insert into line (item) values (999999)',
        'selec',
        "select * from counter where name in ('ann', 'bob') order by name for update",
        "select code, price, name, note from item where code like '{$mark}t%' order by code",
    ];
    foreach ($texts as $text) {
        say($v, str_replace(':', '', $text), told($db, $text));
    }
}

function prepared(mysqli $db, string $mark): void
{
    global $insert, $rows;
    $v = "mysqli $mark";
    $statement = $db->prepare($insert);
    say($v, 'prepared insert', executed($statement, values("{$mark}p0")));
    [$code, $price, $name, $at, $raw, $big] = values("{$mark}p1");
    $statement->bind_param('sdssbi', $code, $price, $name, $at, $raw, $big);
    [$big, $price] = [42, 2.5];
    foreach (range(1, 20) as $piece) {
        $statement->send_long_data(4, str_repeat(chr(64 + $piece), 10_000));
    }
    say($v, 'long data', executed($statement));
    [$code, $name, $price] = ["{$mark}p2", null, null];
    say($v, 'again', $statement->reset(), executed($statement));
    $update = $db->prepare('update item set price = ?, note = ? where code = ?');
    foreach ([['p0', 1.5], ['p1', 7], ['p2', '3.25'], ['nothing', null]] as [$which, $amount]) {
        say($v, 'prepared update', executed($update, [$amount, "was $which", $mark . $which]));
        $wanted = $mark . $which;
        $update->bind_param(is_float($amount) ? 'dss' : (is_int($amount) ? 'iss' : 'sss'), $amount, $which, $wanted);
        say($v, 'bound update', executed($update));
    }
    say($v, 'prepared upsert', executed($db->prepare("insert into counter values (?, ?) on duplicate key update n = n + ?"), ["$mark", 1, 2]));
    say($v, 'prepared delete', executed($db->prepare('delete from item where code = ?'), ["{$mark}p2"]));
    say($v, 'prepared lock', executed($db->prepare('select n from counter where name = ? for update'), ['cy']));
    say($v, 'prepared rows', executed($db->prepare($rows), ["$mark%"]));
    foreach ([MYSQLI_CURSOR_TYPE_NO_CURSOR, MYSQLI_CURSOR_TYPE_READ_ONLY] as $cursor) {
        $select = $db->prepare('select id, length(body) from big where id < ? order by id');
        $select->attr_set(MYSQLI_STMT_ATTR_CURSOR_TYPE, $cursor);
        $least = 50;
        $select->bind_param('i', $least);
        $select->bind_result($id, $length);
        $select->execute();
        for ($sum = 0, $count = 0; $select->fetch(); $count += 1) {
            $sum += $id + $length;
            if ($count === 10 && $cursor === MYSQLI_CURSOR_TYPE_READ_ONLY) {
                say($v, 'between two rows', told($db, "update counter set n = n + 1 where name = 'dee'"));
            }
        }
        say($v, "cursor $cursor", $sum, $count, $select->errno);
        $select->close();
    }
}

function mysqliTalk(): void
{
    $db = connect();
    texts($db, 'a');
    $db->begin_transaction();
    texts($db, 'b');
    prepared($db, 'b');
    say('mysqli', 'commit', $db->commit());
    $db->begin_transaction(MYSQLI_TRANS_START_WITH_CONSISTENT_SNAPSHOT, 'named');
    texts($db, 'c');
    say('mysqli', 'rollback', $db->rollback());
    $db->begin_transaction(MYSQLI_TRANS_START_READ_ONLY);
    say('mysqli', 'read only', told($db, "update counter set n = 0 where name = 'eve'"), $db->commit());
    prepared($db, 'd');
    $db->autocommit(false);
    say('mysqli', 'savepoint', $db->savepoint('a'), told($db, "update counter set n = 50 where name = 'eve'"), $db->query('rollback to a'), $db->release_savepoint('a'));
    say('mysqli', 'chained', told($db, "update counter set n = 51 where name = 'eve'"), $db->commit(MYSQLI_TRANS_COR_AND_CHAIN));
    say('mysqli', 'not kept', told($db, "update counter set n = 52 where name = 'eve'"), $db->rollback());
    $db->autocommit(true);
    $db->multi_query("update counter set n = n + 7 where name = 'fay'; select n from counter where name = 'fay'; insert into counter values ('gil', 1); selec; delete from counter");
    do {
        $result = $db->store_result();
        say('mysqli', 'several', $result instanceof mysqli_result ? $result->fetch_all() : $db->affected_rows, $db->errno, $db->error);
    } while ($db->more_results() && $db->next_result());
    say('mysqli', 'several, over', $db->errno, $db->error);
    $db->query('select id, body from big', MYSQLI_USE_RESULT)->free();
    say('mysqli', 'freed before it was read', told($db, "delete from counter where name = 'gil'"));
    $db->close();
}

// ── PDO ──

function pdo(string $v, bool $isEmulated, bool $isBuffered): void
{
    global $port, $user, $database, $init, $insert, $rows;
    $db = new PDO("mysql:host=127.0.0.1;port=$port;dbname=$database;charset=utf8mb4", $user, '', [
        PDO::ATTR_EMULATE_PREPARES => $isEmulated,
        PDO::MYSQL_ATTR_USE_BUFFERED_QUERY => $isBuffered,
        PDO::MYSQL_ATTR_INIT_COMMAND => $init,
        PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION,
    ]);
    $try = function (string $name, callable $part) use ($v): void {
        try {
            say($v, $name, $part());
        } catch (PDOException $error) {
            say($v, $name, $error->errorInfo);
        }
    };
    $execute = function (string $text, array $values = []) use ($db): array {
        $statement = $db->prepare($text);
        $statement->execute($values);
        return $statement->columnCount() > 0 ? $statement->fetchAll(PDO::FETCH_NUM) : [$statement->rowCount(), $db->lastInsertId() > 0];
    };
    foreach (['kept', 'gone', 'alone'] as $part) {
        $mark = "$v-$part";
        if ($part !== 'alone') {
            $db->beginTransaction();
        }
        $try("$part insert", fn () => $execute($insert, values($mark)));
        $try("$part twice", fn () => $execute($insert, values($mark)));
        $named = $db->prepare('insert into item (code, price, name) values (:code, :price, :name)');
        foreach (range(1, 5) as $n) {
            $try("$part named", fn () => [$named->execute(['code' => "$mark$n", 'price' => $n, 'name' => $n % 2 === 0 ? null : "n'$n"]), $named->rowCount()]);
        }
        $bound = $db->prepare('update item set price = ?, note = ?, raw = ? where code = ?');
        $try("$part bound", function () use ($bound, $mark) {
            $bound->bindValue(1, 7, PDO::PARAM_INT);
            $bound->bindValue(2, null, PDO::PARAM_NULL);
            $bound->bindValue(3, "\0'\xff", PDO::PARAM_LOB);
            $bound->bindValue(4, "{$mark}1");
            return [$bound->execute(), $bound->rowCount()];
        });
        $try("$part update", fn () => $db->exec("update item set note = 'x' where code like '$mark%' order by code limit 3"));
        $try("$part upsert", fn () => $execute('insert into counter values (?, ?) on duplicate key update n = n + 1', [substr($v, 0, 20), 1]));
        $try("$part delete", fn () => $execute("delete from item where code = ? or code = ?", ["{$mark}4", "{$mark}5"]));
        $try("$part refers", fn () => $execute('insert into line (item, n) values (?, ?)', [1, 3]));
        $try("$part to nothing", fn () => $db->exec('insert into line (item) values (999999)'));
        $try("$part locked", fn () => $execute("select * from counter where name in (?, 'bob') for update", ['ann']));
        $try("$part rows", fn () => $execute($rows, ["$mark%"]));
        if ($part !== 'alone') {
            say($v, "$part end", $db->inTransaction(), $part === 'kept' ? $db->commit() : $db->rollBack(), $db->inTransaction());
        }
    }
    $try('a number by itself', fn () => $execute("update counter set n = ? where name = 'cy'", [$isEmulated ? '8' : 8]));
    $try('no statement', fn () => $db->exec('selec'));
}

mysqliTalk();
pdo('emulated', true, true);
pdo('emulated-unbuffered', true, false);
pdo('native', false, true);
pdo('native-unbuffered', false, false);
say('end', 'reached');
echo "= the end\n";
