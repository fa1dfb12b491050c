/**
 * Resources as YAML files in a directory. Files are people's: agents write whole objects there when they are asked to
 * (`apply`), and each object's status into a file of its own under `status/`, so that an editor and an agent never write
 * the same file. What is in memory is what readers get; the files are looked at when the kernel says that they changed,
 * and now and then anyway.
 */
import { randomUUID } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { ServalError, objectName, type Kind, type Kinds } from '@serval/api';
import { Contents, type Change, type StatusRecord } from './contents.js';
import {
  hasDocuments,
  keyOf,
  normal,
  readDocuments,
  replaceDocument,
  specOf,
  type AnyObject,
} from './documents.js';
import { fileError, makeDirectory, readIfThere, signatureOf, writeWhole } from './files.js';
import { withLock } from './lock.js';
import { mergePatch } from './merge-patch.js';
import { immutableSpec, statusValidators, validators } from './schemas.js';
import { StatusFiles } from './status-files.js';
import type { ResourceEvent, ResourceHandler, ResourceProblem, ResourceStore, StatusPatch } from './store.js';
import type { FieldProblem } from './validate.js';
import { WatchedFiles, type WatchOptions } from './watched-files.js';

export interface DirectoryOptions extends WatchOptions {
  /** something in a file can not be used; told once for each state of the file */
  onProblem?: (problem: ResourceProblem) => void;
}

type Handler = (event: ResourceEvent<Kind>) => void;

export class DirectoryStore implements ResourceStore {
  /** problems met so far; for metrics */
  problems = 0;
  readonly #directory: string;
  readonly #options: DirectoryOptions;
  readonly #contents = new Contents();
  readonly #statusFiles: StatusFiles;
  readonly #handlers = new Map<Kind, Set<Handler>>();
  readonly #files: WatchedFiles;
  /** writes of this process, and looks at files, one after the other */
  #queue: Promise<unknown> = Promise.resolve();
  #closed = false;

  private constructor(options: DirectoryOptions) {
    this.#directory = options.directory;
    this.#options = options;
    this.#statusFiles = new StatusFiles(join(options.directory, 'status'));
    this.#files = new WatchedFiles(options, {
      inTurn: (work) => this.#inTurn(work),
      read: (file, text) => this.#update(file, text),
      report: (file, error) => this.#report(file, error),
      relist: () => this.#readStatuses(),
    });
  }

  /** Resolves when everything was read once. @throws ServalError ERR_NO_PERMISSION, ERR_BAD_INPUT (no folder) */
  static async open(options: DirectoryOptions): Promise<DirectoryStore> {
    const store = new DirectoryStore(options);
    await makeDirectory(store.#statusFiles.directory);
    store.#files.watch(store.#statusFiles.directory, (file) => store.#lookAtStatus(file));
    await store.#files.open();
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
      this.#accept(file, written);
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
      this.#accept(file, hasDocuments(text) ? text : undefined);
    });
    return found;
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#files.close();
    this.#handlers.clear();
    await this.#queue;
  }

  // --- what files say

  /** After a write of our own: it counts at once. */
  #accept(file: string, text: string | undefined): void {
    this.#files.accept(file);
    this.#update(file, text);
  }

  #update(file: string, text: string | undefined): void {
    const { changes, problems, doubles } = this.#contents.setFile(file, text);
    for (const { owner, problem } of doubles)
      if (signatureOf(this.#path(owner)) !== undefined) problems.push(problem);
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
    const removeIfThere = async (): Promise<void> => {
      // Most have none: 10,000 services that go at once don't take the lock for that.
      if (this.#statusFiles.exists(key)) await this.#write(remove);
    };
    void removeIfThere().catch((error: unknown) => this.#report(`status of ${key}`, error));
  }

  /** What others have written since the last time, in one file or in all. */
  async #readStatuses(only?: string): Promise<void> {
    for (const [key, record] of await this.#statusFiles.changed(only))
      this.#emit(this.#contents.setStatus(key, record));
  }

  #lookAtStatus(file: string): void {
    void this.#inTurn(() => this.#readStatuses(file)).catch((error: unknown) => this.#report(file, error));
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

/** Names have no `_`, so that this is one file for one object. @throws ServalError ERR_BAD_INPUT (the name is too long) */
function defaultFile(object: AnyObject): string {
  const file = `${[object.kind.toLowerCase(), ...objectName(object).split('/')].join('_')}.yaml`;
  if (file.length <= longestFile) return file;
  const reason = `a file would be named by it, and that has ${longestFile} characters at most, not ${file.length}`;
  throw invalid(`${object.kind} ${object.metadata.name}`, {
    field: 'metadata.name',
    reason,
    remedy: 'Choose a shorter one',
  });
}

/** As Linux has it; what is written beside it for a moment has a longer name. */
const longestFile = 230;

/** A copy that is valid, frozen, without status and what is not used. */
function check<Any extends AnyObject>(object: Any): Any {
  if (!Object.hasOwn(validators, object.kind)) throw noKind(object);
  const plain = structuredClone(object) as Any & { status?: unknown };
  delete plain.status;
  const problem = validators[object.kind](plain)[0];
  if (problem !== undefined) throw invalid(`${object.kind} ${object.metadata.name}`, problem);
  return normal<Any>(plain);
}

function noKind({ kind, metadata }: AnyObject): ServalError {
  const problem = {
    field: 'kind',
    reason: 'there is no such kind',
    remedy: `Use one of ${Object.keys(validators).join(', ')}`,
  };
  return invalid(`${kind as string} ${metadata.name}`, problem);
}

/** What is stored in place of `old`. */
function successor(old: AnyObject | undefined, next: AnyObject): AnyObject {
  const { uid, creationTimestamp } = old?.metadata ?? next.metadata;
  if (old !== undefined && immutableSpec.has(next.kind) && !isDeepStrictEqual(specOf(old), specOf(next)))
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
