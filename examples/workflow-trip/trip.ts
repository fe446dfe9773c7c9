/** The workflow: a trip is a flight, a hotel and a rented car. All of them, or none. */
import type pg from 'pg';
import { FailureError, type RegisteredWorkflow, type Workflows, type XaDatabase } from '../../src/client/index.ts';

export interface Trip {
  readonly traveller: string;
  readonly carPrice: number;
}

export interface TripServices {
  readonly flights: string;
  readonly hotels: string;
  /** The agency's own database, where the car is paid. */
  readonly accounts: XaDatabase<pg.PoolClient>;
  /** Called when flight and hotel are done, and nothing is paid. */
  readonly onHalfway: () => void;
}

/**
 * Makes the workflow known. It is plain code: what it has done is recorded step by step, and when it runs again, after a crash,
 * recorded steps give what they gave, without being done again.
 */
export function registerTrip(
  workflows: Workflows,
  { flights, hotels, accounts, onHalfway }: TripServices,
): RegisteredWorkflow<Trip, { readonly left: number }> {
  return workflows.register(
    'trip',
    async (workflow, { traveller, carPrice }: Trip) => {
      const body = { traveller };

      // A step of a saga: booked at once, and taken back when the trip fails later.
      await workflow
        .newBranch()
        .onRollback(async ({ http }) => void (await http({ url: `${flights}/unbook`, body })))
        .http({ url: `${flights}/book`, body });

      // TCC: held now, then confirmed or cancelled with the whole trip.
      await workflow
        .newBranch()
        .onCommit(async ({ http }) => void (await http({ url: `${hotels}/confirm`, body })))
        .onRollback(async ({ http }) => void (await http({ url: `${hotels}/cancel`, body })))
        .http({ url: `${hotels}/hold`, body });

      onHalfway();

      // XA: paid in the agency's own database, prepared, and committed or rolled back with the whole trip.
      return workflow.newBranch().doXa(accounts, (tx) => pay(tx, traveller, carPrice));
    },
    // How long after its last sign of life a run is taken for dead. Short, for an example.
    { retryIntervalMs: 500 },
  );
}

async function pay(tx: pg.PoolClient, traveller: string, amount: number): Promise<{ readonly left: number }> {
  const text = 'update account set balance = balance - $2 where traveller = $1 and balance >= $2 returning balance';
  const { rows } = await tx.query<{ balance: number }>(text, [traveller, amount]);
  if (rows[0] === undefined) throw new FailureError(`${traveller} cannot pay ${amount} for the car`);
  return { left: rows[0].balance };
}
