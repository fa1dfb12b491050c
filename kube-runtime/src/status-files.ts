/** The status of each object, in a file of its own. Only agents write them, whole, so that there is no half-written one. */
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { kinds, type Kind } from '@serval/api';
import type { StatusRecord } from './contents.js';
import { keyOf } from './documents.js';
import { readIfThere, signatureOf, writeWhole } from './files.js';
import { statusValidators } from './schemas.js';

export class StatusFiles {
  /** signature of each file as it was read or written last */
  readonly #seen = new Map<string, string | undefined>();

  constructor(readonly directory: string) {}

  /** Undefined where there is none, or none that can be read: it is written anew then. */
  async read(key: string): Promise<StatusRecord | undefined> {
    return parse(key, await readIfThere(this.#path(fileOf(key))));
  }

  exists(key: string): boolean {
    return signatureOf(this.#path(fileOf(key))) !== undefined;
  }

  async write(key: string, record: StatusRecord): Promise<void> {
    const path = this.#path(fileOf(key));
    await writeWhole(path, `${JSON.stringify(record, undefined, 2)}\n`);
    this.#seen.set(fileOf(key), signatureOf(path));
  }

  async remove(key: string): Promise<void> {
    await rm(this.#path(fileOf(key)), { force: true });
    this.#seen.delete(fileOf(key));
  }

  /** What others have written since the last time: in one file, or in all. */
  async changed(only?: string): Promise<Array<[key: string, record: StatusRecord | undefined]>> {
    const files = only === undefined ? [...(await readdir(this.directory)), ...this.#seen.keys()] : [only];
    const found: Array<[string, StatusRecord | undefined]> = [];
    for (const file of new Set(files)) {
      const key = keyOfFile(file);
      const signature = key === undefined ? undefined : signatureOf(this.#path(file));
      if (key === undefined || signature === this.#seen.get(file)) continue;
      if (signature === undefined) this.#seen.delete(file);
      else this.#seen.set(file, signature);
      found.push([key, await this.read(key)]);
    }
    return found;
  }

  #path(file: string): string {
    return join(this.directory, file);
  }
}

function fileOf(key: string): string {
  return `${key.replaceAll(/[ /]/g, '_')}.json`;
}

function keyOfFile(file: string): string | undefined {
  const [kind = '', ...name] = file.replace(/\.json$/, '').split('_');
  if (!file.endsWith('.json') || !Object.hasOwn(kinds, kind) || name.length === 0) return undefined;
  return keyOf(kind, name.join('/'));
}

function parse(key: string, text: string | undefined): StatusRecord | undefined {
  if (text === undefined) return undefined;
  try {
    const record = JSON.parse(text) as StatusRecord;
    const kind = key.split(' ')[0] as Kind;
    return statusValidators[kind](record.status).length === 0 ? record : undefined;
  } catch {
    return undefined;
  }
}
