/**
 * The barrier in MongoDB, through `mongodb`: the user hands in the client, so that nothing is imported here. Multi-document
 * transactions need a replica set or a sharded cluster.
 */
import { CodedError } from '../../contract/errors.ts';
import { now } from '../../platform/clock.ts';
import { attemptsOf, commitUnknown, outsideTransaction, retrying, someCause } from './attempts.ts';
import { checkCleanOptions, cleanRows, type OldRows } from './clean.ts';
import { fenceMessage, passBarrier, tableName, type BarrierRow, type BarrierRows } from './rows.ts';
import type { BarrierStore } from './types.ts';

/** What the barrier asks of a session; a `ClientSession` of `mongodb` has it. */
export interface MongoSession {
  inTransaction(): boolean;
  startTransaction(options: object): void;
  commitTransaction(): Promise<unknown>;
  abortTransaction(): Promise<unknown>;
  endSession(): Promise<unknown>;
}

/** What the barrier asks of a collection. */
export interface MongoCollection {
  findOne(filter: object, options: object): Promise<object | null>;
  insertOne(document: object, options: object): Promise<unknown>;
  find(filter: object, options: object): { toArray(): Promise<object[]> };
  deleteMany(filter: object): Promise<{ readonly deletedCount: number }>;
  createIndex(keys: Record<string, 1>, options: { unique: true }): Promise<unknown>;
}

/** What the barrier asks of a client; a `MongoClient` of `mongodb` has it. */
export interface MongoClient<Session extends MongoSession> {
  startSession(): Session;
  db(name: string): { collection(name: string): MongoCollection };
}

export interface MongoBarrierOptions {
  /** `database.collection`; DTM's `dtm_barrier.barrier` when absent. */
  readonly table?: string;
  /** How often `call` tries a local transaction that met another one, and how often a commit is asked for; 5 when absent. */
  readonly attempts?: number;
}

/** The barrier of MongoDB. `Session` is the session whose transaction the work writes in. */
export interface MongoBarrier<Session> extends BarrierStore<Session, MongoSession> {
  /** Makes the unique index that the barrier rests on, unless it is there. Without it two requests at once would both take effect. */
  createIndex(): Promise<void>;
}

/**
 * What is read has to last, not only what is written: an operation that is taken for repeated must not turn out to be lost with
 * the primary. A commit for the majority answers for both (MongoDB manual, "Read Concern snapshot").
 */
const TRANSACTION = {
  readConcern: { level: 'snapshot' },
  writeConcern: { w: 'majority' },
  readPreference: 'primary',
} as const;

const DUPLICATE_KEY = 11_000;

/** The barrier of the deployment that `client` leads to. Throws `CodedError` `BAD_REQUEST` for options that cannot be. */
export function mongoBarrier<Session extends MongoSession>(
  client: MongoClient<Session>,
  options: MongoBarrierOptions = {},
): MongoBarrier<Session> {
  const max = attemptsOf(options.attempts);
  const collection = collectionOf(client, options.table);
  const transaction = <T>(work: (session: Session) => Promise<T>): Promise<T> =>
    inSession(client, (session) =>
      retrying({ max, isPassing }, async () => {
        // Outside of what is rolled back: what this throws is the answer, and no success.
        session.startTransaction(TRANSACTION);
        return inTransaction(session, max, work);
      }),
    );
  return {
    call: (branch, work, choice = {}) =>
      transaction((session) => passBarrier(rowsOf(collection, session), branch, choice, () => work(session))),
    async within(session, branch, work, choice = {}) {
      if (!session.inTransaction()) throw outsideTransaction();
      return passBarrier(rowsOf(collection, session), branch, choice, () => work(session));
    },
    queryPrepared: (gid) => transaction((session) => fenceMessage(rowsOf(collection, session), gid)),
    async clean(cleaning) {
      checkCleanOptions(cleaning);
      return cleanRows(oldRows(collection, now() - cleaning.olderThanMs), cleaning);
    },
    async createIndex() {
      await collection.createIndex({ gid: 1, branch_id: 1, op: 1, barrier_id: 1 }, { unique: true });
    },
  };
}

/** Another request wrote the same document meanwhile: the next attempt will read it. */
class Raced extends Error {
  constructor(cause: unknown) {
    super('another request wrote the document of the barrier at the same time', { cause });
    this.name = 'Raced';
  }
}

function collectionOf<Session extends MongoSession>(
  client: MongoClient<Session>,
  table: string | undefined,
): MongoCollection {
  const [database, name] = tableName(table).split('.');
  if (database !== undefined && name !== undefined) return client.db(database).collection(name);
  throw new CodedError('BAD_REQUEST', `${String(table)} names no database`, { hint: 'Name it database.collection.' });
}

function rowsOf(collection: MongoCollection, session: MongoSession): BarrierRows {
  return {
    async insert(row) {
      if ((await collection.findOne(keyOf(row), { session })) !== null) return false;
      const { transType, reason } = row;
      try {
        await collection.insertOne({ trans_type: transType, ...keyOf(row), reason }, { session });
        return true;
      } catch (error) {
        throw isDuplicate(error) ? new Raced(error) : error;
      }
    },
    async read(row) {
      return ((await collection.findOne(keyOf(row), { session })) ?? undefined) as
        | { readonly gid: string; readonly reason: string }
        | undefined;
    },
  };
}

function keyOf({ gid, branchId, op, barrierId }: BarrierRow): object {
  return { gid, branch_id: branchId, op, barrier_id: barrierId };
}

async function inSession<Session extends MongoSession, T>(
  client: MongoClient<Session>,
  use: (session: Session) => Promise<T>,
): Promise<T> {
  const session = client.startSession();
  try {
    return await use(session);
  } finally {
    await session.endSession();
  }
}

/** Does `work` in the transaction that has just been started, and ends it. */
async function inTransaction<Session extends MongoSession, T>(
  session: Session,
  max: number,
  work: (session: Session) => Promise<T>,
): Promise<T> {
  let result: T;
  try {
    result = await work(session);
  } catch (error) {
    // A transaction whose end cannot be said any more ends by itself: it is a minute old at the most.
    await session.abortTransaction().catch(() => undefined);
    throw error;
  }
  try {
    // A commit may be asked for again: it is done once.
    await retrying({ max, isPassing: (error) => hasLabel(error, 'UnknownTransactionCommitResult') }, () =>
      session.commitTransaction(),
    );
  } catch (error) {
    throw isPassing(error) && !hasLabel(error, 'UnknownTransactionCommitResult') ? error : commitUnknown(error);
  }
  return result;
}

function isPassing(error: unknown): boolean {
  return someCause(error, (cause) => cause instanceof Raced || hasLabel(cause, 'TransientTransactionError'));
}

function isDuplicate(error: unknown): boolean {
  return typeof error === 'object' && error !== null && 'code' in error && error.code === DUPLICATE_KEY;
}

/** Labels say what a driver may do about an error (MongoDB specifications, "Driver Transactions", "Error Labels"). */
function hasLabel(error: unknown, label: 'TransientTransactionError' | 'UnknownTransactionCommitResult'): boolean {
  if (typeof error !== 'object' || error === null || !('hasErrorLabel' in error)) return false;
  const { hasErrorLabel } = error;
  return typeof hasErrorLabel === 'function' && hasErrorLabel.call(error, label) === true;
}

/** An id of `mongodb`, which bears the time at which its maker made it; nothing else in DTM's documents does. */
interface ObjectId {
  getTimestamp(): Date;
}

function oldRows(collection: MongoCollection, beforeMs: number): OldRows<ObjectId> {
  return {
    async list(place, limit) {
      const filter = { _id: { $type: 'objectId', ...(place === undefined ? {} : { $gt: place }) } };
      const options = { sort: { _id: 1 }, limit, projection: { gid: 1 } };
      const found = (await collection.find(filter, options).toArray()) as readonly OldDocument[];
      return found
        .filter(({ _id }) => _id.getTimestamp().getTime() < beforeMs)
        .map(({ _id, gid }) => ({ gid, place: _id }));
    },
    async delete(places) {
      return (await collection.deleteMany({ _id: { $in: places } })).deletedCount;
    },
  };
}

interface OldDocument {
  readonly _id: ObjectId;
  readonly gid: string;
}
