<?php
/**
 * What PHP's drivers hear of a server, one line for each thing that was said: `php talk.php <port> <user> <password> <database> <file>`.
 * Both lie on mysqlnd. The file is a list of `number,text` for LOAD DATA LOCAL INFILE.
 */
declare(strict_types=1);

[, $port, $user, $password, $database, $file] = $argv;
$port = (int) $port;
mysqli_report(MYSQLI_REPORT_OFF);

/** Writes an answer; a long one by its digest. */
function say(string $name, mixed ...$said): void
{
    $text = json_encode($said, JSON_INVALID_UTF8_SUBSTITUTE | JSON_THROW_ON_ERROR);
    echo "= $name ", strlen($text) > 400 ? strlen($text) . ' ' . hash('sha256', $text) : $text, "\n";
}

function connect(int $flags = 0): mysqli
{
    global $port, $user, $password, $database;
    $db = mysqli_init();
    $db->options(MYSQLI_OPT_LOCAL_INFILE, 1);
    if (!$db->real_connect('127.0.0.1', $user, $password, $database, $port, null, $flags)) {
        throw new RuntimeException("no connection: {$db->connect_error}");
    }
    return $db;
}

/** Everything that one result has. */
function rows(mysqli_result|bool $result): mixed
{
    if (!$result instanceof mysqli_result) {
        return $result;
    }
    $fields = array_map(fn (object $field) => [$field->name, $field->table, $field->type, $field->flags, $field->length, $field->decimals], $result->fetch_fields());
    return [$fields, $result->fetch_all()];
}

function state(mysqli|mysqli_stmt $of): array
{
    $info = $of instanceof mysqli ? [$of->info, $of->warning_count] : [];
    return [$of->affected_rows, $of->insert_id, $of->errno, $of->sqlstate, $of->error, ...$info];
}

/** Statements as text, one after the other. */
function texts(mysqli $db): void
{
    $texts = [
        'drop table if exists php_row, php_other',
        'create table php_row (id int unsigned auto_increment primary key, price decimal(12,4), name varchar(60), at datetime(6), raw blob, bits bit(12), big bigint unsigned, kind enum(\'a\',\'b\'), year_ year, ratio double)',
        "insert into php_row (price, name, at, raw, bits, big, kind, year_, ratio) values (1.5, 'ä€😀', '2024-02-29 23:59:59.999999', x'00ff00', b'101', 18446744073709551615, 'b', 2024, 0.1), (null, null, null, null, null, null, null, null, null)",
        'insert into php_row (id) values (2)',
        "update php_row set name = 'other' where id = 1",
        "update php_row set name = 'other' where id = 1",
        "select * from php_row order by id",
        'select 1 as one from dual where false',
        'selec',
        'select * from nowhere',
        'select 1/0, cast(\'x\' as signed)',
        'show warnings',
        'explain select * from php_row where id = 1',
        'call nothing()',
        "do 1",
        "set names latin1",
        "select 'ä'",
        "set names utf8mb4",
    ];
    foreach ($texts as $text) {
        say("text $text", rows($db->query($text)), state($db));
    }
    $result = $db->query('select seq, repeat(\'x\', 500) from seq_1_to_2000', MYSQLI_USE_RESULT);
    $bytes = 0;
    while ($result && ($row = $result->fetch_row())) {
        $bytes += strlen($row[1]) + (int) $row[0];
    }
    say('unbuffered', $bytes, state($db));
    $db->query('select 1, 2', MYSQLI_USE_RESULT)->free();
    say('freed before it was read', rows($db->query('select 3')));
}

function several(mysqli $db): void
{
    $db->query('drop procedure if exists php_twice');
    $db->query('create procedure php_twice(in a int, out b int) begin set b = a * 2; select a as first; select b as second, a; end');
    foreach (['select 1; insert into php_row (name) values (\'m\'); call php_twice(4, @b); select @b', 'select 1; selec; select 3', ';', 'select 7;'] as $text) {
        $isOk = $db->multi_query($text);
        $all = [$isOk];
        do {
            $all[] = [rows($db->store_result()), state($db)];
        } while ($db->more_results() && $db->next_result());
        say("several $text", $all, state($db));
    }
}

function prepared(mysqli $db): void
{
    $insert = $db->prepare('insert into php_row (price, name, raw, big, ratio) values (?, ?, ?, ?, ?)');
    [$price, $name, $raw, $big, $ratio] = ['12.3400', 'prepared', null, 42, 2.5];
    $insert->bind_param('ssbid', $price, $name, $raw, $big, $ratio);
    foreach (range(1, 20) as $piece) {
        $insert->send_long_data(2, str_repeat(chr(64 + $piece), 100_000));
    }
    say('prepared insert', $insert->execute(), state($insert));
    $name = null;
    say('prepared again', $insert->reset(), $insert->execute(), state($insert));
    foreach ([MYSQLI_CURSOR_TYPE_NO_CURSOR, MYSQLI_CURSOR_TYPE_READ_ONLY] as $cursor) {
        $select = $db->prepare('select id, price, name, at, length(raw), bits + 0, big, kind, year_, ratio from php_row where id >= ? order by id');
        $select->attr_set(MYSQLI_STMT_ATTR_CURSOR_TYPE, $cursor);
        $select->attr_set(MYSQLI_STMT_ATTR_PREFETCH_ROWS, 1);
        $least = 1;
        $select->bind_param('i', $least);
        say("prepared select, cursor $cursor", $select->execute(), $select->bind_result($a, $b, $c, $d, $e, $f, $g, $h, $i, $j), state($select));
        while ($select->fetch()) {
            say('row', $a, $b, $c, $d, $e, $f, $g, $h, $i, $j);
        }
        $select->close();
    }
    say('cannot be prepared', $db->prepare('selec ?'), state($db));
    $call = $db->prepare('call php_twice(?, @out)');
    $call->bind_param('i', $big);
    $all = [$call->execute()];
    do {
        $all[] = rows($call->get_result());
    } while ($call->more_results() && $call->next_result());
    say('prepared call', $all);
    $call->close();
    say('the parameter that came back', rows($db->query('select @out')));
    foreach (range(1, 50) as $n) {
        $one = $db->prepare("select $n + ?");
        $one->execute([$n]);
        $sum = ($sum ?? 0) + $one->get_result()->fetch_row()[0];
    }
    say('fifty of them', $sum);
}

function transactions(mysqli $db): void
{
    $count = fn () => $db->query('select count(*) from php_row')->fetch_row()[0];
    $db->begin_transaction();
    $db->query("insert into php_row (name) values ('gone')");
    $db->savepoint('a');
    $db->query("insert into php_row (name) values ('gone too')");
    say('savepoint', $count(), $db->query('rollback to a'), $count(), $db->rollback(), $count());
    say('read only', $db->begin_transaction(MYSQLI_TRANS_START_READ_ONLY), $db->query('delete from php_row'), state($db), $db->commit());
    $db->autocommit(false);
    $db->query("insert into php_row (name) values ('kept')");
    say('chained', $db->commit(MYSQLI_TRANS_COR_AND_CHAIN), rows($db->query('select @@in_transaction')), $count(), $db->rollback(MYSQLI_TRANS_COR_RELEASE));
}

function rare(mysqli $db, string $file): void
{
    global $user, $password, $database;
    $other = connect();
    $other->query('select sleep(0.05), 9', MYSQLI_ASYNC);
    do {
        [$read, $failed, $refused] = [[$other], [$other], [$other]];
    } while (!mysqli_poll($read, $failed, $refused, 1));
    say('asynchronous', rows($other->reap_async_query()));
    say('ping', $db->ping(), is_string($db->stat()), $db->select_db('nowhere'), state($db), $db->select_db($database), $db->set_charset('utf8mb4'), $db->character_set_name());
    $db->query('set @here = 1');
    say('another user', $db->change_user($user, $password, $database), rows($db->query('select @here')));
    say('wrong password', @connect()->change_user($user, 'wrong', $database));
    $db->query('create temporary table php_file (n int, t text)');
    say('local file', $db->query("load data local infile '$file' into table php_file fields terminated by ','"), state($db));
    say('of the file', rows($db->query('select count(*), sum(n), max(t) from php_file')));
    say('no such file', @$db->query("load data local infile '/nowhere' into table php_file"), state($db));
    say('killed', $db->query("kill query {$other->thread_id}"), rows($other->query('select 5')));
    $large = str_repeat('l', 17 * 1024 * 1024);
    say('17 MiB', $db->query("select length('$large')")->fetch_row(), hash('sha256', $db->query('select repeat(\'m\', 17 * 1024 * 1024)')->fetch_row()[0]));
    say('too large', $db->query('select repeat(\'m\', 100 * 1024 * 1024) is null'), rows($db->query('show warnings')));
    say('rows found', rows(connect(MYSQLI_CLIENT_FOUND_ROWS)->query('select 1')), connect(MYSQLI_CLIENT_FOUND_ROWS)->query("update php_row set name = 'other' where id = 1"));
    say('gone', $db->query("kill {$other->thread_id}"), @$other->query('select 5'), $other->errno);
}

function pdo(bool $isEmulated, bool $isBuffered): void
{
    global $port, $user, $password, $database;
    $db = new PDO("mysql:host=127.0.0.1;port=$port;dbname=$database;charset=utf8mb4", $user, $password, [
        PDO::ATTR_EMULATE_PREPARES => $isEmulated,
        PDO::MYSQL_ATTR_USE_BUFFERED_QUERY => $isBuffered,
        PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION,
    ]);
    $name = sprintf('PDO, %s, %s:', $isEmulated ? 'emulated' : 'prepared', $isBuffered ? 'buffered' : 'unbuffered');
    $db->beginTransaction();
    $insert = $db->prepare('insert into php_row (price, name, at) values (:price, :name, :at)');
    foreach ([['9.99', "quo'te\\", '2001-01-01 00:00:00'], [null, '', null]] as [$price, $text, $at]) {
        $insert->execute(['price' => $price, 'name' => $text, 'at' => $at]);
        say("$name insert", $insert->rowCount(), is_numeric($db->lastInsertId()));
    }
    $select = $db->prepare('select price, name, at, bits + 0 as bits, ratio from php_row where name = ? or id = ? order by id');
    $select->execute(["quo'te\\", 1]);
    say("$name rows", $select->fetchAll(PDO::FETCH_ASSOC), $select->getColumnMeta(0), $select->columnCount());
    try {
        $db->exec('insert into php_row (id) values (1)');
    } catch (PDOException $error) {
        say("$name error", $error->errorInfo);
    }
    try {
        $several = $db->query('select 1 as a; select 2 as b');
        say("$name several", $several->fetchAll(PDO::FETCH_ASSOC), $several->nextRowset(), $several->fetchAll(PDO::FETCH_ASSOC));
        $several->closeCursor();
    } catch (PDOException $error) {
        say("$name several", $error->errorInfo);
    }
    say("$name rollback", $db->inTransaction(), $db->rollBack());
}

$db = connect();
say('server', $db->server_info, $db->protocol_version, $db->character_set_name());
texts($db);
several($db);
prepared($db);
transactions(connect());
rare($db, $file);
foreach ([[true, true], [true, false], [false, true], [false, false]] as [$isEmulated, $isBuffered]) {
    pdo($isEmulated, $isBuffered);
}
say('the end');
