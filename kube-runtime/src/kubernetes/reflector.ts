/**
 * Keeps a copy of all objects of one kind: a list, then a watch from there, for as long as it runs. What breaks is begun again
 * with a growing wait; a watch that has gone quiet is not believed; now and then everything is listed anyway.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { ObjectMeta } from '@serval/api';
import { Backoff } from './backoff.js';
import type { KubeClient } from './client.js';
import { answerError, statusOf } from './errors.js';

/** What every object has, as far as it is used here. */
export interface KubeObject {
  metadata: ObjectMeta;
}

export interface ReflectorOptions {
  client: KubeClient;
  /** of the collection: `/apis/serval.io/v1alpha1/servalnodes` */
  path: string;
  labelSelector?: string;
  fieldSelector?: string;
  /** what is kept of an object, as it comes from the server */
  shape?: (object: KubeObject) => KubeObject;
  /** what became of an object; the last one's copy is replaced before */
  onChange: (change: ObjectChange) => void;
  /** what went wrong; it is tried again */
  onError: (error: unknown) => void;
  times?: Partial<ReflectorTimes>;
}

export interface ReflectorTimes {
  /** everything is listed again so often, ms, and what was missed comes as changes */
  resyncMs: number;
  /** the server ends a watch by itself after so long, half of it more by chance, s */
  watchSeconds: number;
  /**
   * Nothing has come for so long, ms: the connection may be dead, and the watch is begun again. Bookmarks come each minute, but
   * of a kind of which nothing has changed since the API server started none do.
   */
  silentMs: number;
  /** the server has to begin its answer to a watch within so long, ms */
  openMs: number;
  /** waits after failures: the first at most, and any at most, ms */
  firstWaitMs: number;
  mostWaitMs: number;
  /** a watch that has held for so long was none of the failures, ms */
  steadyMs: number;
}

export const defaultTimes: ReflectorTimes = {
  resyncMs: 1_800_000,
  watchSeconds: 300,
  silentMs: 150_000,
  openMs: 30_000,
  firstWaitMs: 1_000,
  mostWaitMs: 30_000,
  steadyMs: 10_000,
};

export type ObjectChange =
  { type: 'added' | 'modified'; object: KubeObject } | { type: 'deleted'; object: KubeObject };

interface WatchEvent {
  type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK' | 'ERROR';
  object: KubeObject & { code?: number };
}

interface Page {
  metadata: { resourceVersion: string; continue?: string };
  items: KubeObject[] | null;
}

const pageSize = 500;
const listMs = 60_000;
/** Too old a version: what changed since is not known any more. */
const gone = 410;

export class Reflector {
  private readonly objects = new Map<string, KubeObject>();
  /** identities of objects that are gone, of which the watch may still tell old news */
  private readonly buried = new Set<string>();
  private readonly times: ReflectorTimes;
  private readonly end = new AbortController();
  private readonly backoff: Backoff;
  /** from where the next watch begins; undefined: list first */
  private version: string | undefined;
  private listedAt = 0;
  private running: Promise<void> | undefined;
  /** of the server's last word, on the clock of `performance` */
  private heardAt = performance.now();

  constructor(private readonly options: ReflectorOptions) {
    this.times = { ...defaultTimes, ...options.times };
    const { firstWaitMs: firstMs, mostWaitMs: mostMs } = this.times;
    this.backoff = new Backoff({ firstMs, mostMs });
  }

  /** Resolves when everything was listed once, however long that takes. */
  async start(): Promise<void> {
    const { signal } = this.end;
    while (this.version === undefined && !signal.aborted)
      await this.list().catch((error: unknown) => this.failed(error));
    this.running = this.run();
  }

  async stop(): Promise<void> {
    this.end.abort();
    await this.running;
  }

  get(key: string): KubeObject | undefined {
    return this.objects.get(key);
  }

  values(): IterableIterator<KubeObject> {
    return this.objects.values();
  }

  /** How long the server has said nothing, ms: what is here is as old at most. */
  silentFor(): number {
    return performance.now() - this.heardAt;
  }

  /** What a write has answered: readers here see it before the watch tells of it. */
  take(object: KubeObject): void {
    const key = keyOf(object);
    const before = this.objects.get(key);
    if (this.buried.has(object.metadata.uid ?? '')) return;
    if (before !== undefined && !isNewer(object, before)) return;
    // Another one of the same name: that the first went was not told.
    const isSame = before?.metadata.uid === object.metadata.uid;
    if (before !== undefined && !isSame) this.drop(before);
    this.objects.set(key, object);
    this.options.onChange({ type: isSame && before !== undefined ? 'modified' : 'added', object });
  }

  /** It was deleted, which the watch has yet to tell; what it tells before that is old. */
  bury(object: KubeObject): void {
    if (this.objects.get(keyOf(object))?.metadata.uid !== object.metadata.uid) return;
    this.buried.add(object.metadata.uid ?? '');
    this.drop(object);
  }

  private drop(object: KubeObject): void {
    const key = keyOf(object);
    const before = this.objects.get(key);
    // One of the same name may have been made since.
    if (before === undefined || before.metadata.uid !== object.metadata.uid) return;
    this.objects.delete(key);
    this.options.onChange({ type: 'deleted', object: before });
  }

  private async run(): Promise<void> {
    const { signal } = this.end;
    while (!signal.aborted) {
      const began = performance.now();
      const isDue = this.version === undefined || began > this.listedAt + this.times.resyncMs;
      const failure = await (isDue ? this.list() : this.watch()).catch((error: unknown) => ({ error }));
      if (performance.now() - began >= this.times.steadyMs) this.backoff.reset();
      if (failure !== undefined) await this.failed(failure.error);
      // A server that ends each watch at once is asked no oftener than one that refuses.
      else if (!isDue) await this.rest();
    }
  }

  private async failed(error: unknown): Promise<void> {
    if (this.end.signal.aborted) return;
    if (statusOf(error) === gone) this.version = undefined;
    this.options.onError(error);
    await this.rest();
  }

  private async rest(): Promise<void> {
    await delay(this.backoff.next(), undefined, { signal: this.end.signal, ref: false }).catch(
      () => undefined,
    );
  }

  private async list(): Promise<void> {
    const listed = new Set<string>();
    let page: Page | undefined;
    do {
      page = await this.page(page?.metadata.continue);
      for (const object of page.items ?? []) {
        listed.add(keyOf(object));
        this.take(this.shaped(object));
      }
      this.heardAt = performance.now();
    } while (page.metadata.continue !== undefined && page.metadata.continue !== '');
    // Whatever was made after the list is not missing from it.
    for (const [key, object] of this.objects)
      if (!listed.has(key) && !isNewer(object, page)) this.drop(object);
    this.buried.clear();
    this.version = page.metadata.resourceVersion;
    this.listedAt = performance.now();
  }

  private shaped(object: KubeObject): KubeObject {
    return this.options.shape?.(object) ?? object;
  }

  private page(next: string | undefined): Promise<Page> {
    const { client, path, labelSelector, fieldSelector } = this.options;
    return client.request<Page>({
      path,
      query: { labelSelector, fieldSelector, limit: pageSize, continue: next },
      timeoutMs: listMs,
      signal: this.end.signal,
    });
  }

  private async watch(): Promise<void> {
    const { client, path, labelSelector, fieldSelector } = this.options;
    const { watchSeconds, silentMs, openMs } = this.times;
    const silence = new AbortController();
    const bark = (): void => silence.abort();
    let dog = setTimeout(bark, openMs).unref();
    let isOpen = false;
    const timeoutSeconds = Math.ceil(watchSeconds * (1 + Math.random() / 2));
    const query = {
      ...{ labelSelector, fieldSelector, watch: true, allowWatchBookmarks: true, timeoutSeconds },
      resourceVersion: this.version,
    };
    const signal = AbortSignal.any([silence.signal, this.end.signal]);
    try {
      for await (const line of client.lines({ path, query, signal })) {
        if (isOpen) dog.refresh();
        else {
          isOpen = true;
          clearTimeout(dog);
          dog = setTimeout(bark, silentMs).unref();
        }
        this.heardAt = performance.now();
        if (line !== '') this.seen(JSON.parse(line) as WatchEvent);
      }
    } catch (error) {
      // Whether there was nothing to tell or nobody to tell it, the next watch shows.
      if (!isOpen || !silence.signal.aborted) throw error;
    } finally {
      clearTimeout(dog);
    }
  }

  private seen({ type, object }: WatchEvent): void {
    if (type === 'ERROR')
      throw answerError(`watch of ${this.options.path}`, object.code ?? 500, JSON.stringify(object));
    if (type === 'DELETED') {
      this.buried.delete(object.metadata.uid ?? '');
      this.drop(object);
    } else if (type !== 'BOOKMARK') this.take(this.shaped(object));
    this.version = object.metadata.resourceVersion ?? this.version;
  }
}

/** `namespace/name`, or the name alone. */
export function keyOf({ metadata }: KubeObject): string {
  return metadata.namespace === undefined ? metadata.name : `${metadata.namespace}/${metadata.name}`;
}

interface Versioned {
  metadata: { resourceVersion?: string };
}

/**
 * Versions of one kind can be compared since Kubernetes 1.35 says so (KEP-5504), and could before. What is no number is taken
 * for newer.
 */
function isNewer(a: Versioned, b: Versioned): boolean {
  const [one, other] = [a, b].map(({ metadata }) => metadata.resourceVersion ?? '') as [string, string];
  if (one === other) return false;
  if (!/^\d+$/.test(one) || !/^\d+$/.test(other)) return true;
  return one.length === other.length ? one > other : one.length > other.length;
}
