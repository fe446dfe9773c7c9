/** Topics: names under which the targets of messages are subscribed. Read for each message, so that a change counts at once. */
import type { Instant } from '../contract/transaction.ts';
import type { Records, StoredRecord } from '../runner/ports.ts';
import { isRecordKey } from './record-key.ts';
import { fault, SUCCESS, type Refused } from './reply.ts';
import type { DtmReply } from './service.ts';

/** The category of the records; clients of DTM read them under this name (`/queryKV?cat=topics`). */
const TOPICS = 'topics';
/** A message to a topic is one branch for each subscriber. */
const SUBSCRIBERS_MAX = 1000;
const TEXT_CHARACTERS_MAX = 2000;
/** So often others may be faster before we give up. */
const TRIES = 20;

interface Subscriber {
  readonly url: string;
  readonly remark: string;
}

export interface Topics {
  subscribe(topic: string, url: string, remark: string): Promise<DtmReply>;
  unsubscribe(topic: string, url: string): Promise<DtmReply>;
  delete(topic: string): Promise<DtmReply>;
  /** The subscribers of each topic that has any. Rejects when the store fails. */
  subscribersOf(topics: readonly string[]): Promise<ReadonlyMap<string, readonly string[]>>;
}

/** Topics over the records of a store. A store that fails is an `error`. The texts are DTM's (svr/topics.go). */
export function createTopics(
  records: Records,
  now: () => Instant,
  targetFault: (url: string) => string | undefined,
): Topics {
  return {
    subscribe: async (topic, url, remark) => {
      if (topic === '') return fault('empty topic');
      if (url === '') return fault('empty url');
      if (!isRecordKey(topic)) return fault('topic: expected at most 128 characters, none of them a control character');
      if (remark.length > TEXT_CHARACTERS_MAX)
        return fault(`remark: expected at most ${TEXT_CHARACTERS_MAX} characters`);
      const wrong = targetFault(url);
      if (wrong !== undefined) return fault(`url: ${wrong}`);
      return change(topic, (subscribers = []) => {
        if (subscribers.some((subscriber) => subscriber.url === url)) return fault('this url exists');
        if (subscribers.length >= SUBSCRIBERS_MAX)
          return fault(`this topic has ${SUBSCRIBERS_MAX} subscribers already`);
        return [...subscribers, { url, remark }];
      });
    },
    unsubscribe: async (topic, url) => {
      if (topic === '') return fault('empty topic');
      if (url === '') return fault('empty url');
      return change(topic, (subscribers) => {
        if (subscribers === undefined) return fault('no such a topic');
        if (subscribers.length === 0) return fault('this topic is empty');
        const left = subscribers.filter((subscriber) => subscriber.url !== url);
        return left.length === subscribers.length ? fault('no such an url ') : left;
      });
    },
    delete: async (topic) => {
      if (topic === '') return fault('empty topic');
      const isGone = isRecordKey(topic) && (await records.deleteRecord(TOPICS, topic));
      return isGone ? SUCCESS : fault('storage: NotFound');
    },
    subscribersOf: async (topics) => {
      const found = await Promise.all(topics.map(read));
      return new Map(
        found.flatMap((record) =>
          record === undefined ? [] : [[record.key, subscribersIn(record.value).map(({ url }) => url)] as const],
        ),
      );
    },
  };

  async function read(topic: string): Promise<StoredRecord | undefined> {
    return isRecordKey(topic) ? records.readRecord(TOPICS, topic) : undefined;
  }

  /** Replaces the subscribers by what `next` makes of them, unless it refuses; again when somebody else was faster. */
  async function change(
    topic: string,
    next: (subscribers: readonly Subscriber[] | undefined) => readonly Subscriber[] | Refused,
  ): Promise<DtmReply> {
    for (let tries = 0; tries < TRIES; tries += 1) {
      const record = await read(topic);
      const changed = next(record === undefined ? undefined : subscribersIn(record.value));
      if ('kind' in changed) return changed;
      const saved = await records.saveRecord(
        { category: TOPICS, key: topic, value: JSON.stringify(changed) },
        record?.version ?? 0,
        now(),
      );
      if (saved === 'saved') return SUCCESS;
    }
    return fault(`topic ${topic} is being changed by others; send the same request again`);
  }
}

/** The value is our own JSON: a list in the order of subscription. */
function subscribersIn(value: string): readonly Subscriber[] {
  return JSON.parse(value) as readonly Subscriber[];
}
