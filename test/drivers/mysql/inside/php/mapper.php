<?php
/**
 * What Laravel's Eloquent hears of a server, one line for each thing that was said: `php mapper.php <port> <user> <database> <gid>`. With a gid,
 * every connection belongs to that global transaction. With the server's own prepared statements, as Laravel has it, and with PDO's.
 */
declare(strict_types=1);

// Debian's release is older than its PHP.
error_reporting(E_ALL & ~E_DEPRECATED);
require '/usr/share/php/Illuminate/Database/autoload.php';

use Illuminate\Database\Capsule\Manager;
use Illuminate\Database\Connection;
use Illuminate\Database\Eloquent\Model;
use Illuminate\Database\QueryException;

[, $port, $user, $database, $gid] = $argv;

abstract class Plain extends Model
{
    public $timestamps = false;
    protected $guarded = [];
}

class Tag extends Plain
{
    protected $table = 'tag';
}

class Line extends Plain
{
    protected $table = 'line';
}

class Counter extends Plain
{
    protected $table = 'counter';
    protected $primaryKey = 'name';
    protected $keyType = 'string';
    public $incrementing = false;
}

class Item extends Plain
{
    protected $table = 'item';

    public function lines()
    {
        return $this->hasMany(Line::class, 'item');
    }

    public function tags()
    {
        return $this->belongsToMany(Tag::class, 'item_tag', 'item', 'tag');
    }
}

/** Writes an answer; the numbers of connections and keys are in none. */
function say(string $name, mixed ...$said): void
{
    echo "= $name: ", json_encode($said, JSON_INVALID_UTF8_SUBSTITUTE | JSON_THROW_ON_ERROR), "\n";
}

/** What a part is told that fails. */
function failing(callable $part): mixed
{
    try {
        return $part();
    } catch (QueryException $error) {
        return array_slice($error->errorInfo, 0, 3);
    } catch (DomainException $error) {
        return $error->getMessage();
    }
}

/** A usual unit of work, in a local transaction or statement by statement. */
function changes(Connection $db, string $mark): void
{
    $made = Item::create(['code' => $mark, 'price' => '12.34', 'name' => "quo'te\\ä😀", 'at' => '2024-02-29 23:59:59.999999', 'raw' => "\0\1\xff"]);
    say("$mark made", $made->id > 0, $made->wasRecentlyCreated);
    $made->note = 'a;b';
    say("$mark saved", $made->save(), $made->save(), $made->increment('price', 2, ['edition' => 1]));
    $made->lines()->createMany([['n' => 1], ['n' => 2], ['n' => 3]]);
    say("$mark lines", $made->lines()->where('n', '>', 1)->update(['n' => $db->raw('n * 10')]), $made->lines()->where('n', 20)->delete());
    say("$mark inserted", Item::insert(array_map(fn (int $n) => ['code' => "$mark $n", 'price' => $n], range(0, 24))));
    say("$mark ignored", Item::insertOrIgnore([['code' => $mark], ['code' => "$mark new"]]));
    say("$mark upsert", Counter::upsert([['name' => 'ann', 'n' => 10], ['name' => substr($mark, -20), 'n' => 1]], ['name'], ['n']));
    say("$mark upsert all", $db->table('counter')->upsert([['name' => 'bob', 'n' => 3]], ['name'], ['n' => $db->raw('n + 1')]));
    say("$mark first", Item::firstOrCreate(['code' => "$mark once"], ['price' => 1])->wasRecentlyCreated);
    say("$mark or", Item::updateOrCreate(['code' => "$mark once"], ['price' => 2])->wasChanged());
    say("$mark insert or update", $db->table('item')->updateOrInsert(['code' => "$mark once"], ['note' => 'x']));
    say("$mark updated", Item::where('code', 'like', "$mark 1%")->update(['name' => 'all']));
    say("$mark limited", Item::where('code', 'like', "$mark %")->orderBy('code')->limit(3)->update(['note' => 'first']));
    say("$mark joined", Line::join('item', 'item.id', '=', 'line.item')->where('item.code', $mark)->update(['line.n' => $db->raw('line.n + 100')]));
    say("$mark stale", Item::where(['code' => $mark, 'edition' => 7])->update(['edition' => 8]));
    [$blue, $late, $red] = Tag::orderBy('name')->get()->modelKeys();
    $made->tags()->attach([$blue, $late]);
    $sync = $made->tags()->sync([$late, $red]);
    say("$mark tags", array_map('count', $sync), $made->tags()->orderBy('name')->pluck('name'), $made->tags()->detach($late));
    say("$mark gone", Item::whereIn('code', ["$mark 3", "$mark 4"])->delete(), Item::destroy(Item::where('code', "$mark 5")->value('id')));
    say("$mark gone by join", $db->table('line')->join('item', 'item.id', '=', 'line.item')->where('item.code', $mark)->where('line.n', '<', 110)->delete());
    say("$mark locked", Counter::whereIn('name', ['eve', 'fay'])->orderBy('name')->lockForUpdate()->pluck('n'), Counter::where('name', 'dee')->sharedLock()->value('n'));
    foreach (Item::with('lines')->where('code', 'like', "$mark%")->orderBy('code')->lazy(10) as $row) {
        say("$mark row", $row->code, $row->price, $row->name, $row->at, bin2hex((string) $row->raw), $row->note, $row->edition, $row->lines->pluck('n'));
    }
}

foreach (['prepared' => false, 'text' => true] as $way => $isEmulated) {
    $options = [PDO::ATTR_EMULATE_PREPARES => $isEmulated];
    if ($gid !== '') {
        $options[PDO::MYSQL_ATTR_INIT_COMMAND] = "SET @atomesh_gid = '$gid'";
    }
    $manager = new Manager();
    $manager->addConnection([
        'driver' => 'mysql', 'host' => '127.0.0.1', 'port' => $port, 'database' => $database, 'username' => $user, 'password' => '',
        'charset' => 'utf8mb4', 'collation' => 'utf8mb4_general_ci', 'strict' => true, 'options' => $options,
    ]);
    $manager->setAsGlobal();
    $manager->bootEloquent();
    $db = $manager->getConnection();
    changes($db, "$way alone");
    say("$way twice", failing(fn () => Item::create(['code' => 'seed'])));
    say("$way refers to nothing", failing(fn () => Line::create(['item' => 999_999])));
    foreach (['kept', 'gone'] as $mark) {
        say("$way $mark end", failing(fn () => $db->transaction(function () use ($db, $way, $mark) {
            changes($db, "$way $mark");
            say("$way $mark nested", failing(fn () => $db->transaction(function () use ($way) {
                Item::create(['code' => "$way inner"]);
                Item::create(['code' => 'seed']);
            })));
            $mark === 'kept' || throw new DomainException('changed its mind');
        }, 3)));
    }
    $db->disconnect();
}
echo "= the end\n";
