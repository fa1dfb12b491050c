/**
 * Pure: what all files together say. A file that can not be read, in whole or in part, leaves its last good version in
 * use; an object that two files have is the first one's, until that gives it up.
 */
import { isDeepStrictEqual } from 'node:util';
import type { Kind } from '@serval/api';
import { freeze, readDocuments, type AnyObject, type FileDocument } from './documents.js';
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

export class Contents {
  private readonly files = new Map<string, Map<string, AnyObject>>();
  private readonly entries = new Map<string, Entry>();
  private readonly statuses = new Map<string, StatusRecord>();

  get(key: string): AnyObject | undefined {
    return this.entries.get(key)?.whole;
  }

  fileOf(key: string): string | undefined {
    return this.entries.get(key)?.file;
  }

  list(kind: Kind): AnyObject[] {
    return [...this.entries.values()].filter(({ object }) => object.kind === kind).map(({ whole }) => whole);
  }

  knownFiles(): string[] {
    return [...this.files.keys()];
  }

  /** A file has this text now, or is gone. */
  setFile(
    file: string,
    text: string | undefined,
  ): { changes: Change[]; problems: ResourceProblem[]; doubles: Double[] } {
    const before = this.files.get(file) ?? new Map<string, AnyObject>();
    const { objects, problems } = text === undefined ? noObjects : this.read(file, text, before);
    if (text === undefined) this.files.delete(file);
    else this.files.set(file, objects);
    const keys = new Set([...before.keys(), ...objects.keys()]);
    const changes = [...keys].flatMap((key) => this.settle(key, file) ?? []);
    const doubles = [...objects.keys()].flatMap((key) => {
      const owner = this.fileOf(key);
      return owner === undefined || owner === file ? [] : { owner, problem: alsoIn(file, key, owner) };
    });
    return { changes, problems, doubles };
  }

  /** The status file of an object says this now, or is gone. */
  setStatus(key: string, record: StatusRecord | undefined): Change | undefined {
    if (record === undefined) this.statuses.delete(key);
    else this.statuses.set(key, record);
    const entry = this.entries.get(key);
    if (entry === undefined) return undefined;
    return this.changed(key, entry, { ...entry, whole: this.withStatus(key, entry.object) });
  }

  private read(
    file: string,
    text: string,
    before: Map<string, AnyObject>,
  ): { objects: Map<string, AnyObject>; problems: ResourceProblem[] } {
    const documents = readDocuments(file, text);
    const problems = documents.flatMap((document) => document.problems);
    const objects = new Map<string, AnyObject>();
    for (const document of documents) {
      const { key } = document;
      if (key === undefined) continue;
      const object = document.object ?? before.get(key);
      if (objects.has(key)) problems.push(twice(file, document));
      else if (object !== undefined) objects.set(key, this.allowed(file, document, key, object, problems));
    }
    if (documents.length === 0 && before.size > 0) problems.push(empty(file));
    const unreadable = documents.length === 0 || documents.some(({ key }) => key === undefined);
    // What it was about can't be told: nothing of this file counts as removed.
    if (unreadable) for (const [key, object] of before) if (!objects.has(key)) objects.set(key, object);
    return { objects, problems };
  }

  /** The object, or its last good version where the new one changes what may not change. */
  private allowed(
    file: string,
    { number }: FileDocument,
    key: string,
    object: AnyObject,
    problems: ResourceProblem[],
  ): AnyObject {
    const old = this.entries.get(key);
    if (old?.file !== file || !immutableSpec.has(object.kind)) return object;
    const { uid } = object.metadata;
    const another = uid !== undefined && old.object.metadata.uid !== uid;
    if (another || isDeepStrictEqual(old.object.spec, object.spec)) return object;
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
    const old = this.entries.get(key);
    const file = this.ownerOf(key, old?.file ?? changedFile);
    const object = file === undefined ? undefined : this.files.get(file)?.get(key);
    if (file === undefined || object === undefined) {
      this.entries.delete(key);
      this.statuses.delete(key);
      return old === undefined ? undefined : { type: 'deleted', key, object: old.whole };
    }
    return this.changed(key, old, { file, object, whole: this.withStatus(key, object) });
  }

  private changed(key: string, old: Entry | undefined, entry: Entry): Change | undefined {
    this.entries.set(key, entry);
    if (old === undefined) return { type: 'added', key, object: entry.whole };
    if (!isDeepStrictEqual(old.whole, entry.whole)) return { type: 'modified', key, object: entry.whole };
    this.entries.set(key, { ...entry, whole: old.whole });
    return undefined;
  }

  /** The file that has it, if it still does; else the first by name that does. */
  private ownerOf(key: string, likely: string): string | undefined {
    if (this.files.get(likely)?.has(key)) return likely;
    let first: string | undefined;
    for (const [file, objects] of this.files)
      if (objects.has(key) && (first === undefined || file < first)) first = file;
    return first;
  }

  private withStatus(key: string, object: AnyObject): AnyObject {
    const record = this.statuses.get(key);
    const { uid } = object.metadata;
    if (record === undefined) return object;
    if (uid !== undefined && record.uid !== undefined && uid !== record.uid) return object;
    return freeze({ ...object, status: record.status }) as AnyObject;
  }
}

const noObjects = {
  get objects() {
    return new Map<string, AnyObject>();
  },
  get problems(): ResourceProblem[] {
    return [];
  },
};

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
