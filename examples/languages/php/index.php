<?php

declare(strict_types=1);

/* The points service: grants points for payments, and gives goods for points. */

require __DIR__ . '/gid.php';
require __DIR__ . '/points.php';

$routes = [
    'GET /health' => fn () => null,
    'POST /points' => fn (array $body) => grant(connect(), $body['order'], $body['member'], $body['points']),
    'POST /redemptions' => fn (array $body) => redeem(connect(), $body['order'], $body['member'], $body['item']),
];

/** Where the database is stands in PGHOST, PGPORT, PGDATABASE, PGUSER and PGPASSWORD. */
function connect(): PDO
{
    return new PDO('pgsql:');
}

function reply(int $status, array $body = []): void
{
    http_response_code($status);
    header('content-type: application/json');
    echo json_encode((object) $body);
}

$route = $routes[$_SERVER['REQUEST_METHOD'] . ' ' . parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH)] ?? null;
try {
    if ($route === null) {
        reply(404, ['detail' => 'no such page']);
    } else {
        $route(json_decode(file_get_contents('php://input'), true) ?? []);
        reply(200);
    }
} catch (Refusal $refusal) {
    reply(409, ['detail' => $refusal->getMessage()]);
} catch (Throwable $error) {
    error_log((string) $error);
    reply(500, ['detail' => $error->getMessage()]);
}
