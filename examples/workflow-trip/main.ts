/**
 * Workflow: a trip as plain code, in which a saga's step, a TCC branch and an XA branch stand side by side. What is done is
 * recorded; when the process dies, another run takes up where it was.
 */
import type pg from 'pg';
import { type Gid, newGid } from '../../src/client/index.ts';
import { freePort } from '../support/free-port.ts';
import { type Answer, call } from '../support/http.ts';
import type { ManagedProcess } from '../support/processes.ts';
import { until } from '../support/until.ts';
import { type ExampleOptions, onStage, type Stage } from '../stage.ts';
import { type Bookings, openBookings } from './bookings.ts';

interface World {
  readonly stage: Stage;
  readonly flights: Bookings;
  readonly hotels: Bookings;
  readonly accounts: pg.Pool;
  /** The agency, and one that dies halfway through the first trip that it gets; both at the same address. */
  readonly agency: ManagedProcess;
  readonly dyingAgency: ManagedProcess;
  readonly agencyUrl: string;
}

const SCHEMA = `create table account (traveller text primary key, balance int not null check (balance >= 0));
  insert into account values ('ada', 100), ('bob', 10), ('eve', 100);`;

/** Runs the example; answers whether every check held. */
export function run(options: ExampleOptions): Promise<boolean> {
  return onStage('Workflow: a flight, a hotel and a car, all or none', options, async (stage) => {
    const world = await openWorld(stage);
    await world.agency.start(stage.signal);
    stage.screen.step(`the agency listens at ${world.agencyUrl}`);
    await booked(world);
    await refused(world);
    await died(world);
  });
}

async function openWorld(stage: Stage): Promise<World> {
  const flights = await openBookings(stage, 'flights');
  const hotels = await openBookings(stage, 'hotels');
  const accounts = await stage.database('accounts', SCHEMA);
  const port = await freePort();
  const file = new URL('agency.ts', import.meta.url);
  const environment = { FLIGHTS_URL: flights.url, HOTELS_URL: hotels.url, DATABASE_URL: accounts.url };
  return {
    stage,
    flights,
    hotels,
    accounts: accounts.pool,
    agency: stage.process('agency', file, port, environment),
    dyingAgency: stage.process('dying-agency', file, port, { ...environment, DIES: 'halfway' }),
    agencyUrl: `http://127.0.0.1:${port}`,
  };
}

async function booked(world: World): Promise<void> {
  const { screen, check } = world.stage;
  screen.scene(1, 'a trip', ['Ada travels. The car costs 60, and she has 100.']);
  const answer = await order(world, newGid(), 'ada');
  check(answer.status === 200, `the agency answers ${JSON.stringify(answer.body)}`, String(answer.status));
  await checkTrip(world, 'ada', { flight: 'booked', hotel: 'booked', left: 40 });
}

async function refused(world: World): Promise<void> {
  const { screen, check } = world.stage;
  screen.scene(2, 'a trip that fails at its end', ['Bob travels too, and cannot pay for the car.']);
  const gid = newGid();
  const answer = await order(world, gid, 'bob');
  check(answer.status === 409, 'the agency refuses, and says why', String(answer.status));
  screen.lines([`      ${JSON.stringify(answer.body)}`]);
  check((await world.stage.endOf(gid)) === 'failed', 'flight and hotel have been taken back');
  await checkTrip(world, 'bob', { flight: 'nothing', hotel: 'nothing', left: 10 });
}

async function died(world: World): Promise<void> {
  const { stage, agency, dyingAgency, flights } = world;
  const { screen, check } = stage;
  screen.scene(3, 'an agency that dies halfway', [
    'Eve travels. When flight and hotel are done the agency kills itself (SIGKILL); nothing is paid.',
  ]);
  await agency.stop();
  await dyingAgency.start(stage.signal);
  const gid = newGid();
  const answer = await order(world, gid, 'eve').catch(() => undefined);
  check(answer === undefined, 'the agency is dead; Eve has no answer');
  await checkTrip(world, 'eve', { flight: 'booked', hotel: 'held', left: 100 });

  await agency.start(stage.signal);
  screen.step('the agency is started again; nobody but the coordinator remembers the trip');
  check((await stage.endOf(gid)) === 'succeed', 'the coordinator has had the trip run to its end');
  await checkTrip(world, 'eve', { flight: 'booked', hotel: 'booked', left: 40 });
  check(flights.requestsFor('eve') === 1, 'the flight was booked by one request', String(flights.requestsFor('eve')));
  const again = await until('the agency knows the trip', () => order(world, gid, 'eve'), { signal: stage.signal });
  check(again.status === 200, `Eve asks again, and is told ${JSON.stringify(again.body)}`, String(again.status));
}

/** What the customer sends; it may be sent again. */
function order({ stage, agencyUrl }: World, gid: Gid, traveller: string): Promise<Answer> {
  return call('POST', `${agencyUrl}/trips`, { body: { gid, trip: { traveller, carPrice: 60 } }, signal: stage.signal });
}

interface Booked {
  readonly flight: string;
  readonly hotel: string;
  readonly left: number;
}

async function checkTrip(
  { stage, flights, hotels, accounts }: World,
  traveller: string,
  wanted: Booked,
): Promise<void> {
  const text = 'select balance from account where traveller = $1';
  const { rows } = await accounts.query<{ balance: number }>(text, [traveller]);
  const found: Booked = {
    flight: await flights.stateOf(traveller),
    hotel: await hotels.stateOf(traveller),
    left: rows[0]?.balance ?? 0,
  };
  const said = ({ flight, hotel, left }: Booked): string =>
    `flight: ${flight}, hotel: ${hotel}, ${left} on the account`;
  stage.check(said(found) === said(wanted), said(wanted), said(found));
}
