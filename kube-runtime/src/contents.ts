/**
 * Pure: what all files together say. A file that can not be read, in whole or in part, leaves its last good version in
 * use; an object that two files have is the first one's, until that gives it up.
 */
import { isDeepStrictEqual } from 'node:util';
import type { Kind } from '@serval/api';
import {
  freeze,
  readDocuments,
  specOf,
  type AnyObject,
  type FileDocument,
  type KnownObjects,
} from './documents.js';
import { immutableSpec } from './schemas.js';
import type { ResourceProblem } from './store.js';

export interface Change {
  type: 'added' | 'modified' | 'deleted';
  key: string;
  object: AnyObject;
}

interface Entry {
  file: string;
  /** without status */
  object: AnyObject;
  /** as readers get it */
  whole: AnyObject;
}

/** An object of this file is another file's: a problem, unless that other one is just being renamed. */
export interface Double {
  owner: string;
  problem: ResourceProblem;
}

export interface StatusRecord {
  /** of the object that it was written for, where that had one */
  uid?: string | undefined;
  status: Record<string, unknown>;
}

type Objects = Pick<ReadonlyMap<string, AnyObject>, 'size' | 'get' | 'has' | 'keys' | typeof Symbol.iterator>;

/** Most files have one object: a Map for each of 20,000 takes 5 MB. */
class OneObject implements Objects {
  readonly size = 1;
  constructor(
    private readonly key: string,
    private readonly object: AnyObject,
  ) {}

  get(key: string): AnyObject | undefined {
    return key === this.key ? this.object : undefined;
  }

  has(key: string): boolean {
    return key === this.key;
  }

  keys(): MapIterator<string> {
    return [this.key].values();
  }

  [Symbol.iterator](): MapIterator<[string, AnyObject]> {
    return [[this.key, this.object] as [string, AnyObject]].values();
  }
}

/** What a file says. */
interface FileContents {
  objects: Objects;
  /** by the marks of their documents, where there are several */
  known: KnownObjects;
}

const noneKnown: KnownObjects = new Map();
const nothing: FileContents = { objects: new Map(), known: noneKnown };

export class Contents {
  private readonly files = new Map<string, FileContents>();
  private readonly entries = new Map<string, Map<string, Entry>>();
  /** all files that have a key, where there are several */
  private readonly sharers = new Map<string, Set<string>>();
  private readonly statuses = new Map<string, StatusRecord>();

  get(key: string): AnyObject | undefined {
    return this.entry(key)?.whole;
  }

  fileOf(key: string): string | undefined {
    return this.entry(key)?.file;
  }

  list(kind: Kind): AnyObject[] {
    return Array.from(this.entries.get(kind)?.values() ?? [], ({ whole }) => whole);
  }

  /** A file has this text now, or is gone. Costs as much as there is in that file, whatever the others have. */
  setFile(
    file: string,
    text: string | undefined,
  ): { changes: Change[]; problems: ResourceProblem[]; doubles: Double[] } {
    const before = this.files.get(file) ?? nothing;
    const problems: ResourceProblem[] = [];
    const contents = text === undefined ? nothing : this.read(file, text, before, problems);
    if (text === undefined) this.files.delete(file);
    else this.files.set(file, contents);
    const { objects } = contents;
    const changes: Change[] = [];
    const doubles: Double[] = [];
    const settle = (key: string): void => {
      const change = this.settle(key, file);
      if (change !== undefined) changes.push(change);
    };
    for (const key of before.objects.keys()) settle(key);
    for (const key of objects.keys()) {
      if (!before.objects.has(key)) settle(key);
      const owner = this.fileOf(key);
      if (owner !== undefined && owner !== file) doubles.push({ owner, problem: alsoIn(file, key, owner) });
    }
    return { changes, problems, doubles };
  }

  /** The status file of an object says this now, or is gone. */
  setStatus(key: string, record: StatusRecord | undefined): Change | undefined {
    if (record === undefined) this.statuses.delete(key);
    else this.statuses.set(key, record);
    const entry = this.entry(key);
    if (entry === undefined) return undefined;
    return this.changed(key, entry, { ...entry, whole: this.withStatus(key, entry.object) });
  }

  private read(
    file: string,
    text: string,
    { objects: before, known: knownBefore }: FileContents,
    problems: ResourceProblem[],
  ): FileContents {
    const documents = readDocuments(file, text, knownBefore);
    const objects = new Map<string, AnyObject>();
    for (const document of documents) {
      problems.push(...document.problems);
      const { key } = document;
      if (key === undefined) continue;
      const old = before.get(key);
      // One and the same as before is kept, so that it is not in memory twice.
      const object = isDeepStrictEqual(old, document.object) ? old : (document.object ?? old);
      if (objects.has(key)) problems.push(twice(file, document));
      else if (object !== undefined) objects.set(key, this.allowed(file, document, key, object, problems));
    }
    if (documents.length === 0 && before.size > 0) problems.push(empty(file));
    if (!isReadable(documents))
      for (const [key, object] of before) if (!objects.has(key)) objects.set(key, object);
    return { objects: compact(objects), known: marked(documents) };
  }

  /** The object, or its last good version where the new one changes what may not change. */
  private allowed(
    file: string,
    { number }: FileDocument,
    key: string,
    object: AnyObject,
    problems: ResourceProblem[],
  ): AnyObject {
    const old = this.entry(key);
    if (old?.file !== file || !immutableSpec.has(object.kind)) return object;
    const { uid } = object.metadata;
    const another = uid !== undefined && old.object.metadata.uid !== uid;
    if (another || isDeepStrictEqual(specOf(old.object), specOf(object))) return object;
    problems.push({
      file,
      document: number,
      field: 'spec',
      reason: 'it was changed, and the spec of this kind is immutable',
      remedy: 'Undo the change, and make a new object of another name',
    });
    return old.object;
  }

  /** Who has the key now, and what that changes for readers. */
  private settle(key: string, changedFile: string): Change | undefined {
    const old = this.entry(key);
    if (old !== undefined && old.file !== changedFile) this.share(key, old.file, changedFile);
    const file = this.ownerOf(key, old?.file ?? changedFile);
    const object = file === undefined ? undefined : this.objectIn(file, key);
    if (file === undefined || object === undefined) return this.gone(key, old);
    if (old?.file === file && old.object === object) return undefined;
    return this.changed(key, old, { file, object, whole: this.withStatus(key, object) });
  }

  private gone(key: string, old: Entry | undefined): Change | undefined {
    this.entries.get(kindOf(key))?.delete(key);
    this.statuses.delete(key);
    return old === undefined ? undefined : { type: 'deleted', key, object: old.whole };
  }

  private changed(key: string, old: Entry | undefined, entry: Entry): Change | undefined {
    const same = old !== undefined && isDeepStrictEqual(old.whole, entry.whole);
    this.setEntry(key, same ? { ...entry, whole: old.whole } : entry);
    if (old === undefined) return { type: 'added', key, object: entry.whole };
    return same ? undefined : { type: 'modified', key, object: entry.whole };
  }

  private entry(key: string): Entry | undefined {
    return this.entries.get(kindOf(key))?.get(key);
  }

  private setEntry(key: string, entry: Entry): void {
    const kind = kindOf(key);
    const ofKind = this.entries.get(kind) ?? new Map<string, Entry>();
    this.entries.set(kind, ofKind.set(key, entry));
  }

  private objectIn(file: string, key: string): AnyObject | undefined {
    return this.files.get(file)?.objects.get(key);
  }

  private share(key: string, ...files: string[]): void {
    const sharers = this.sharers.get(key) ?? new Set();
    this.sharers.set(key, sharers);
    for (const file of files) sharers.add(file);
  }

  /** The file that has it, if it still does; else the first by name that does. */
  private ownerOf(key: string, likely: string): string | undefined {
    const sharers = this.sharers.get(key);
    for (const file of sharers ?? []) if (this.objectIn(file, key) === undefined) sharers?.delete(file);
    if (sharers !== undefined && sharers.size < 2) this.sharers.delete(key);
    if (this.objectIn(likely, key) !== undefined) return likely;
    return [...(sharers ?? [])].sort()[0];
  }

  private withStatus(key: string, object: AnyObject): AnyObject {
    const record = this.statuses.get(key);
    const { uid } = object.metadata;
    if (record === undefined) return object;
    if (uid !== undefined && record.uid !== undefined && uid !== record.uid) return object;
    return freeze({ ...object, status: record.status });
  }
}

/** Whether it can be told what all of it is about. Where not, nothing of this file counts as removed. */
function isReadable(documents: readonly FileDocument[]): boolean {
  return documents.length > 0 && documents.every(({ key }) => key !== undefined);
}

function marked(documents: readonly FileDocument[]): KnownObjects {
  const known = new Map<string, AnyObject>();
  for (const { mark, object } of documents)
    if (mark !== undefined && object !== undefined) known.set(mark, object);
  return known.size > 0 ? known : noneKnown;
}

function compact(objects: ReadonlyMap<string, AnyObject>): Objects {
  const [only] = objects;
  return objects.size === 1 && only !== undefined ? new OneObject(...only) : objects;
}

/** The first word of a key. */
function kindOf(key: string): string {
  return key.slice(0, key.indexOf(' '));
}

function alsoIn(file: string, key: string, owner: string): ResourceProblem {
  return {
    file,
    reason: `${key} is in ${owner} as well, and that counts`,
    remedy: 'Remove it from one of the two files',
  };
}

function twice(file: string, { number, key }: FileDocument): ResourceProblem {
  return {
    file,
    document: number,
    reason: `${key ?? ''} is in this file already, and the first one counts`,
    remedy: 'Remove one of the two documents',
  };
}

function empty(file: string): ResourceProblem {
  return {
    file,
    reason: 'it is empty, as if it were half-written: its last good version stays in use',
    remedy: 'Delete the file if its objects are to go; write files under another name and rename them',
  };
}
