<?php

declare(strict_types=1);

/** What was asked for cannot be had. */
final class Refusal extends RuntimeException
{
}

const POINTS_FOR_A_PIECE = 50;

function grant(PDO $db, string $order, string $member, int $points): void
{
    inTransaction($db, function (PDO $db) use ($order, $member, $points) {
        $update = $db->prepare('update member set points = points + ? where id = ? and not is_suspended');
        $update->execute([$points, $member]);
        if ($update->rowCount() === 0) {
            throw new Refusal("$member collects no points");
        }
        $db->prepare('insert into grant_of_points (order_id, member_id, points) values (?, ?, ?)')
            ->execute([$order, $member, $points]);
    });
}

/** One piece of an item for points; the goods are the stock service's. */
function redeem(PDO $db, string $order, string $member, string $item): void
{
    inTransaction($db, function (PDO $db) use ($member) {
        $update = $db->prepare('update member set points = points - :price where id = :id and points >= :price');
        $update->execute(['price' => POINTS_FOR_A_PIECE, 'id' => $member]);
        if ($update->rowCount() === 0) {
            throw new Refusal("$member has fewer points than " . POINTS_FOR_A_PIECE);
        }
    });
    post(getenv('STOCK_URL') . '/reservations', ['order' => $order, 'item' => $item, 'quantity' => 1]);
}

/** Has another service do its share, through the proxy of http_proxy, which curl looks for by itself. */
function post(string $url, array $body): void
{
    $call = curl_init($url);
    curl_setopt_array($call, [
        CURLOPT_POSTFIELDS => json_encode($body),
        CURLOPT_HTTPHEADER => ['content-type: application/json', ...gidHeaders()],
        CURLOPT_RETURNTRANSFER => true,
        CURLOPT_TIMEOUT => 20,
    ]);
    $answer = curl_exec($call);
    $status = curl_getinfo($call, CURLINFO_RESPONSE_CODE);
    if ($status === 409) {
        throw new Refusal(json_decode($answer)->detail);
    }
    if ($answer === false || $status >= 400) {
        throw new RuntimeException("$url answers $status: " . ($answer ?: curl_error($call)));
    }
}
