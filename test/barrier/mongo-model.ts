/**
 * A model of a MongoDB client, for the rules of the barrier only. It is no MongoDB: it holds the barrier to what the manual says of
 * transactions with read concern snapshot (each reads the state of its beginning; of two that write the same unique key the later
 * one fails with the label TransientTransactionError), and can show nothing about a real server.
 */
import { ObjectId } from 'mongodb';
import type { MongoClient, MongoCollection, MongoSession } from '../../src/client/barrier/mongo.ts';

export interface Document {
  readonly [field: string]: unknown;
  readonly _id: ObjectId;
}

/** An error as the driver makes it. */
export class ModelError extends Error {
  readonly code: number;
  readonly #label: string;

  constructor(label: string, code = 0) {
    super(label === '' ? `error ${code}` : label);
    this.#label = label;
    this.code = code;
  }

  hasErrorLabel(label: string): boolean {
    return label === this.#label;
  }
}

/** What goes wrong next: each entry is thrown once. */
export interface Faults {
  readonly start: Error[];
  /** `isDone`: the commit took effect, and its answer was lost. */
  readonly commit: { readonly error: Error; readonly isDone: boolean }[];
}

const UNIQUE = ['gid', 'branch_id', 'op', 'barrier_id'];

export class ModelClient implements MongoClient<ModelSession> {
  readonly faults: Faults = { start: [], commit: [] };
  readonly startedWith: object[] = [];
  readonly collections = new Map<string, ModelCollection>();

  startSession(): ModelSession {
    return new ModelSession(this);
  }

  db(name: string): { collection(name: string): ModelCollection } {
    return {
      collection: (collection) => {
        const known = this.collections.get(`${name}.${collection}`) ?? new ModelCollection();
        this.collections.set(`${name}.${collection}`, known);
        return known;
      },
    };
  }
}

export class ModelSession implements MongoSession {
  readonly #client: ModelClient;
  /** What this transaction has written, and sees beside its snapshot. */
  readonly written: { readonly collection: ModelCollection; readonly document: Document }[] = [];
  #snapshots = new Map<ModelCollection, readonly Document[]>();
  #isOpen = false;

  constructor(client: ModelClient) {
    this.#client = client;
  }

  inTransaction(): boolean {
    return this.#isOpen;
  }

  startTransaction(options: object): void {
    const fault = this.#client.faults.start.shift();
    if (fault !== undefined) throw fault;
    this.#client.startedWith.push(options);
    this.#isOpen = true;
    this.#snapshots = new Map([...this.#client.collections.values()].map((known) => [known, [...known.documents]]));
  }

  snapshotOf(collection: ModelCollection): readonly Document[] {
    const own = this.written.filter((write) => write.collection === collection).map(({ document }) => document);
    return [...(this.#snapshots.get(collection) ?? []), ...own];
  }

  async commitTransaction(): Promise<void> {
    await Promise.resolve();
    const fault = this.#client.faults.commit.shift();
    if (fault === undefined || fault.isDone) {
      for (const { collection, document } of this.written) collection.documents.push(document);
    }
    this.#end();
    if (fault !== undefined) throw fault.error;
  }

  async abortTransaction(): Promise<void> {
    this.#end();
  }

  endSession(): Promise<void> {
    return this.abortTransaction();
  }

  #end(): void {
    for (const { collection, document } of this.written.splice(0)) collection.pending.delete(keyOf(document));
    this.#isOpen = false;
  }
}

export class ModelCollection implements MongoCollection {
  readonly documents: Document[] = [];
  readonly indexes: object[] = [];
  /** The unique keys that open transactions have written. */
  readonly pending = new Set<string>();

  async findOne(filter: object, { session }: { readonly session: ModelSession }): Promise<Document | null> {
    await Promise.resolve();
    return session.snapshotOf(this).find((document) => matches(document, filter)) ?? null;
  }

  async insertOne(fields: object, { session }: { readonly session: ModelSession }): Promise<void> {
    await Promise.resolve();
    const document = { ...fields, _id: new ObjectId() };
    const key = keyOf(document);
    if (session.snapshotOf(this).some((known) => keyOf(known) === key)) throw new ModelError('', 11_000);
    if (this.pending.has(key) || this.documents.some((known) => keyOf(known) === key)) {
      throw new ModelError('TransientTransactionError', 112);
    }
    this.pending.add(key);
    session.written.push({ collection: this, document });
  }

  find(filter: object, options: object): { toArray(): Promise<Document[]> } {
    const { _id: place } = filter as { readonly _id: { readonly $gt?: ObjectId } };
    const { limit } = options as { readonly limit: number };
    const after = place.$gt?.toHexString() ?? '';
    const sorted = this.documents.toSorted((a, b) => (a._id.toHexString() < b._id.toHexString() ? -1 : 1));
    return { toArray: () => Promise.resolve(sorted.filter(({ _id }) => _id.toHexString() > after).slice(0, limit)) };
  }

  deleteMany(filter: object): Promise<{ deletedCount: number }> {
    const { _id } = filter as { readonly _id: { readonly $in: readonly ObjectId[] } };
    const going = this.documents.filter((document) => _id.$in.some((id) => id.equals(document._id)));
    for (const document of going) this.documents.splice(this.documents.indexOf(document), 1);
    return Promise.resolve({ deletedCount: going.length });
  }

  createIndex(keys: object, options: object): Promise<void> {
    this.indexes.push({ keys, options });
    return Promise.resolve();
  }
}

function keyOf(document: Readonly<Record<string, unknown>>): string {
  return JSON.stringify(UNIQUE.map((field) => document[field]));
}

function matches(document: Document, filter: object): boolean {
  return Object.entries(filter).every(([field, value]) => document[field] === value);
}
