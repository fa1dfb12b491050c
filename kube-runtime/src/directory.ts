/**
 * Resources as YAML files in a directory. Files are people's: agents write whole objects there when they are asked to
 * (`apply`), and each object's status into a file of its own under `status/`, so that an editor and an agent never write
 * the same file. What is in memory is what readers get; the files are looked at when the kernel says that they changed,
 * and now and then anyway.
 */
import { randomUUID } from 'node:crypto';
import { watch, type FSWatcher } from 'node:fs';
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { ServalError, objectName, type Kind, type Kinds } from '@serval/api';
import { Contents, type Change, type StatusRecord } from './contents.js';
import { hasDocuments, keyOf, normal, readDocuments, replaceDocument, type AnyObject } from './documents.js';
import { fileError, makeDirectory, readIfThere, signatureOf, writeWhole } from './files.js';
import { withLock } from './lock.js';
import { mergePatch } from './merge-patch.js';
import { immutableSpec, statusValidators, validators } from './schemas.js';
import { StatusFiles } from './status-files.js';
import type { ResourceEvent, ResourceHandler, ResourceProblem, ResourceStore, StatusPatch } from './store.js';
import type { FieldProblem } from './validate.js';

export interface DirectoryOptions {
  directory: string;
  /** something in a file can not be used; told once for each state of the file */
  onProblem?: (problem: ResourceProblem) => void;
  /** a file that somebody else writes counts when it has not changed for so long, ms; default 50 */
  quietMs?: number;
  /** all files are looked at so often, ms, for what the kernel doesn't tell (network file systems); default 10000 */
  relistMs?: number;
  /** false: don't ask the kernel to tell of changes; default true */
  notify?: boolean;
}

interface Sighting {
  signature: string | undefined;
  since: number;
}

type Handler = (event: ResourceEvent<Kind>) => void;

const resourceFile = /^[^.].*\.(ya?ml|json)$/;

export class DirectoryStore implements ResourceStore {
  /** problems met so far; for metrics */
  problems = 0;
  readonly #directory: string;
  readonly #options: DirectoryOptions;
  readonly #contents = new Contents();
  readonly #statusFiles: StatusFiles;
  readonly #handlers = new Map<Kind, Set<Handler>>();
  /** signature of each file as it was read last */
  readonly #read = new Map<string, string>();
  readonly #sightings = new Map<string, Sighting>();
  readonly #timers = new Map<string, NodeJS.Timeout>();
  #watchers: FSWatcher[] = [];
  /** writes of this process, and looks at files, one after the other */
  #queue: Promise<unknown> = Promise.resolve();
  #closed = false;

  private constructor(options: DirectoryOptions) {
    this.#directory = options.directory;
    this.#options = options;
    this.#statusFiles = new StatusFiles(join(options.directory, 'status'));
  }

  /** Resolves when everything was read once. @throws ServalError ERR_NO_PERMISSION, ERR_BAD_INPUT (no folder) */
  static async open(options: DirectoryOptions): Promise<DirectoryStore> {
    const store = new DirectoryStore(options);
    await makeDirectory(join(options.directory, 'status'));
    if (options.notify !== false) {
      store.#watch(options.directory, (file) => resourceFile.test(file) && store.#look(file));
      store.#watch(store.#statusFiles.directory, (file) => store.#lookAtStatus(file));
    }
    await store.#inTurn(() => store.#relist(true));
    store.#later('', options.relistMs ?? 10_000);
    return store;
  }

  list<Name extends Kind>(kind: Name): Array<Kinds[Name]> {
    return this.#contents.list(kind) as Array<Kinds[Name]>;
  }

  get<Name extends Kind>(kind: Name, name: string): Kinds[Name] | undefined {
    return this.#contents.get(keyOf(kind, name)) as Kinds[Name] | undefined;
  }

  watch<Name extends Kind>(kind: Name, handler: ResourceHandler<Name>): () => void {
    const handlers = this.#handlers.get(kind) ?? new Set();
    this.#handlers.set(kind, handlers);
    // One handler may be given twice: each watch is one of its own.
    const own: Handler = (event) => handler(event as ResourceEvent<Name>);
    handlers.add(own);
    for (const object of this.#contents.list(kind)) this.#tell(own, { type: 'added', object });
    return () => handlers.delete(own);
  }

  async apply<Name extends Kind>(object: Kinds[Name]): Promise<Kinds[Name]> {
    const valid = check(object);
    const key = keyOf(valid.kind, objectName(valid));
    await this.#write(async () => {
      const file = this.#contents.fileOf(key) ?? defaultFile(valid);
      const text = (await readIfThere(this.#path(file))) ?? '';
      const old = readDocuments(file, text).find((document) => document.key === key)?.object;
      const next = successor(old, valid);
      if (old !== undefined && isDeepStrictEqual(old, next)) return this.#accept(file, text);
      const written = replaceDocument(text, key, next);
      await writeWhole(this.#path(file), written);
      await this.#accept(file, written);
    });
    return this.#contents.get(key) as Kinds[Name];
  }

  async patchStatus<Name extends Kind>(
    kind: Name,
    name: string,
    status: StatusPatch<Name>,
  ): Promise<Kinds[Name]> {
    const key = keyOf(kind, name);
    await this.#write(async () => {
      const object = this.#contents.get(key);
      if (object === undefined) throw notFound(kind, name);
      const { uid } = object.metadata;
      const record = await this.#statusFiles.read(key);
      const stale = uid !== undefined && record?.uid !== undefined && record.uid !== uid;
      const next = mergePatch(stale ? {} : record?.status, status) as StatusRecord['status'];
      const problem = statusValidators[kind](next)[0];
      if (problem !== undefined) throw invalid(`${kind} ${name}`, problem, 'status.');
      const written = { ...(uid === undefined ? {} : { uid }), status: next };
      await this.#statusFiles.write(key, written);
      this.#emit(this.#contents.setStatus(key, written));
    });
    return this.#contents.get(key) as Kinds[Name];
  }

  async delete(kind: Kind, name: string): Promise<boolean> {
    const key = keyOf(kind, name);
    let found = false;
    await this.#write(async () => {
      const file = this.#contents.fileOf(key);
      if (file === undefined) return;
      found = true;
      const text = replaceDocument((await readIfThere(this.#path(file))) ?? '', key, undefined);
      if (hasDocuments(text)) await writeWhole(this.#path(file), text);
      else await rm(this.#path(file), { force: true });
      await this.#accept(file, hasDocuments(text) ? text : undefined);
    });
    return found;
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const watcher of this.#watchers) watcher.close();
    for (const timer of this.#timers.values()) clearTimeout(timer);
    this.#handlers.clear();
    await this.#queue;
  }

  // --- looking at files

  /** Look at everything. A directory that can not be listed is no empty directory: nothing changes then. */
  async #relist(first: boolean): Promise<void> {
    const files = (await readdir(this.#directory)).filter((file) => resourceFile.test(file)).sort();
    for (const [key, record] of await this.#statusFiles.changed())
      this.#emit(this.#contents.setStatus(key, record));
    for (const file of files)
      if (first) await this.#readFile(file, await signatureOf(this.#path(file)));
      else await this.#sight(file);
    for (const file of this.#contents.knownFiles()) if (!files.includes(file)) await this.#sight(file);
  }

  #look(file: string): void {
    void this.#inTurn(() => this.#sight(file)).catch((error: unknown) => this.#report(file, error));
  }

  /** Read a file that has changed and is quiet; come back to one that is not quiet yet. */
  async #sight(file: string): Promise<void> {
    const signature = await signatureOf(this.#path(file));
    if (signature === this.#read.get(file)) {
      this.#sightings.delete(file);
      return;
    }
    // One that is gone counts later than one that came: what was renamed is then never missing in between.
    const quietMs = (this.#options.quietMs ?? 50) * (signature === undefined ? 2 : 1);
    const now = performance.now();
    const before = this.#sightings.get(file);
    const since = before?.signature === signature ? (before?.since ?? now) : now;
    if (now - since >= quietMs) return this.#readFile(file, signature);
    this.#sightings.set(file, { signature, since });
    this.#later(file, Math.ceil(quietMs - (now - since)));
  }

  async #readFile(file: string, signature: string | undefined): Promise<void> {
    this.#sightings.delete(file);
    if (signature === undefined) this.#read.delete(file);
    else this.#read.set(file, signature);
    try {
      await this.#update(file, await readIfThere(this.#path(file)));
    } catch (error) {
      this.#report(file, error);
    }
  }

  /** After a write of our own: it counts at once. */
  async #accept(file: string, text: string | undefined): Promise<void> {
    const signature = await signatureOf(this.#path(file));
    if (signature === undefined) this.#read.delete(file);
    else this.#read.set(file, signature);
    await this.#update(file, text);
  }

  async #update(file: string, text: string | undefined): Promise<void> {
    const { changes, problems, doubles } = this.#contents.setFile(file, text);
    for (const { owner, problem } of doubles)
      if ((await signatureOf(this.#path(owner))) !== undefined) problems.push(problem);
    for (const problem of problems) this.#problem({ ...problem, file: this.#path(file) });
    for (const change of changes) {
      this.#emit(change);
      if (change.type === 'deleted') this.#removeStatus(change);
    }
  }

  /** Not that of another object of this name, which somebody else may have made in the meantime. */
  #removeStatus({ key, object }: Change): void {
    const remove = async (): Promise<void> => {
      const record = await this.#statusFiles.read(key);
      if (this.#contents.get(key) !== undefined || record?.uid !== object.metadata.uid) return;
      await this.#statusFiles.remove(key);
    };
    void this.#write(remove).catch((error: unknown) => this.#report(`status of ${key}`, error));
  }

  #lookAtStatus(file: string): void {
    const look = async (): Promise<void> => {
      for (const [key, record] of await this.#statusFiles.changed(file))
        this.#emit(this.#contents.setStatus(key, record));
    };
    void this.#inTurn(look).catch((error: unknown) => this.#report(file, error));
  }

  /** Look at a file again after a while; at all of them where it is ''. */
  #later(file: string, ms: number): void {
    if (this.#closed) return;
    clearTimeout(this.#timers.get(file));
    const due = (): void => {
      this.#timers.delete(file);
      if (file !== '') return this.#look(file);
      void this.#inTurn(() => this.#relist(false))
        .catch((error: unknown) => this.#report('', error))
        .finally(() => this.#later('', ms));
    };
    this.#timers.set(file, setTimeout(due, ms).unref());
  }

  #watch(directory: string, onFile: (file: string) => void): void {
    try {
      const watcher = watch(directory, { persistent: false }, (_, file) => {
        if (file !== null) onFile(file);
      });
      watcher.on('error', (error) => this.#report('', error));
      this.#watchers.push(watcher);
    } catch (error) {
      // The listing now and then finds the changes all the same.
      this.#report('', error);
    }
  }

  // --- telling

  #emit(change: Change | undefined): void {
    if (change === undefined) return;
    const { type, object } = change;
    for (const handler of [...(this.#handlers.get(object.kind) ?? [])]) this.#tell(handler, { type, object });
  }

  #tell(handler: Handler, event: ResourceEvent<Kind>): void {
    try {
      handler(event);
    } catch (error) {
      this.#report('', error);
    }
  }

  #report(file: string, thrown: unknown): void {
    const path = file === '' ? this.#directory : this.#path(file);
    const { reason, remedy } = thrown instanceof ServalError ? thrown : fileError(path, thrown);
    this.#problem({ file: path, reason, remedy });
  }

  #problem(problem: ResourceProblem): void {
    this.problems += 1;
    this.#options.onProblem?.(problem);
  }

  // --- writing

  /** One change of files: alone in this process and in the directory. */
  #write(work: () => Promise<void>): Promise<void> {
    return this.#inTurn(() => withLock(join(this.#directory, '.lock'), work));
  }

  #inTurn(work: () => Promise<void>): Promise<void> {
    if (this.#closed) return Promise.resolve();
    const result = this.#queue.then(work);
    this.#queue = result.catch(() => undefined);
    return result;
  }

  #path(file: string): string {
    return join(this.#directory, file);
  }
}

/** Names have no `_`, so that this is one file for one object. */
function defaultFile(object: AnyObject): string {
  return `${[object.kind.toLowerCase(), ...objectName(object).split('/')].join('_')}.yaml`;
}

function check<Any extends AnyObject>(object: Any): Any {
  const plain = normal(object);
  const problem = Object.hasOwn(validators, object.kind)
    ? validators[object.kind](structuredClone(plain))[0]
    : { field: 'kind', reason: 'there is no such kind', remedy: 'Use one of those of resources.ts' };
  if (problem !== undefined) throw invalid(`${object.kind} ${object.metadata.name}`, problem);
  return plain;
}

/** What is stored in place of `old`. */
function successor(old: AnyObject | undefined, next: AnyObject): AnyObject {
  const { uid, creationTimestamp } = old?.metadata ?? next.metadata;
  if (old !== undefined && immutableSpec.has(next.kind) && !isDeepStrictEqual(old.spec, next.spec))
    throw new ServalError('ERR_CONFLICT', {
      subject: `${next.kind} ${objectName(next)}`,
      reason: 'it exists with another spec, and the spec of this kind is immutable',
      remedy: 'Use another name, or delete the old object first',
    });
  return normal({
    ...next,
    metadata: {
      ...next.metadata,
      uid: uid ?? next.metadata.uid ?? randomUUID(),
      creationTimestamp: creationTimestamp ?? new Date().toISOString(),
    },
  });
}

function invalid(subject: string, { field, reason, remedy }: FieldProblem, prefix = ''): ServalError {
  return new ServalError('ERR_BAD_INPUT', { subject: `${prefix}${field} of ${subject}`, reason, remedy });
}

function notFound(kind: Kind, name: string): ServalError {
  return new ServalError('ERR_NOT_FOUND', {
    subject: `${kind} ${name}`,
    reason: 'there is no such object',
    remedy: 'Check its name, or create it first',
  });
}
