/**
 * The files of a directory: what was read of them, and when a changed one counts. The kernel says that a file changed;
 * all of them are looked at now and then anyway, a few at a time, so that 20,000 keep nobody waiting.
 *
 * A file that is written in place counts when it has been quiet for a while: it may be half-written. One that was
 * renamed into place is whole and counts at once. The kernel tells of it by its name alone, as of one that was just
 * created; but what was created and has something in it was written under this name, and that the kernel tells as well.
 */
import { watch, type FSWatcher } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate as turnOfTheLoop } from 'node:timers/promises';
import { ServalError } from '@serval/api';
import { isEmpty, readNow, signatureOf } from './files.js';

export interface WatchOptions {
  directory: string;
  /** a file that somebody writes in place counts when it has not changed for so long, ms; default 50 */
  quietMs?: number;
  /** all files are looked at so often, ms, for what the kernel doesn't tell (network file systems); default 10000 */
  relistMs?: number;
  /** false: don't ask the kernel to tell of changes; default true */
  notify?: boolean;
}

export interface WatchDeps {
  /** work that is done one after the other, with the caller's own */
  inTurn: (work: () => Promise<void>) => Promise<void>;
  /** a file has this text now, or is gone */
  read: (file: string, text: string | undefined) => void;
  /** '': the directory */
  report: (file: string, error: unknown) => void;
  /** also now and then, with everything else */
  relist: () => Promise<void>;
}

interface Sighting {
  signature: string | undefined;
  since: number;
}

const resourceFile = /^[^.].*\.(ya?ml|json)$/;

/** A renamed file waits so long for what would say that it was written in place, ms. */
const renamedMs = 2;
/** So long files are looked at, or read at the start, before others get their turn, ms. */
const lookMs = 1;
const startMs = 10;
/** The kernel keeps 16,384 events: after that many there may have been more. */
const manyEvents = 8_192;
const afterManyMs = 250;

export class WatchedFiles {
  /** signature of each file as it was read last */
  readonly #read = new Map<string, string>();
  readonly #sightings = new Map<string, Sighting>();
  /** came under this name, and was not written since */
  readonly #renamed = new Set<string>();
  readonly #timers = new Map<string, NodeJS.Timeout>();
  readonly #watchers: FSWatcher[] = [];
  #events = 0;
  #closed = false;

  constructor(
    private readonly options: WatchOptions,
    private readonly deps: WatchDeps,
  ) {}

  /** Resolves when everything was read once. */
  async open(): Promise<void> {
    this.watch(this.options.directory, (file, renamed) => {
      if (resourceFile.test(file)) this.#noticed(file, renamed);
    });
    await this.deps.inTurn(() => this.#readAll());
    this.#later('', this.options.relistMs ?? 10_000);
  }

  close(): void {
    this.#closed = true;
    for (const watcher of this.#watchers) watcher.close();
    for (const timer of this.#timers.values()) clearTimeout(timer);
  }

  /** After a write of our own: it counts as it is. */
  accept(file: string): void {
    this.#remember(file, signatureOf(this.#path(file)));
  }

  /** Where the kernel can't tell, the listing now and then finds the changes all the same. */
  watch(directory: string, onFile: (file: string, renamed: boolean) => void): void {
    if (this.options.notify === false) return;
    try {
      const watcher = watch(directory, { persistent: false }, (type, file) => {
        if (file !== null) onFile(file, type === 'rename');
      });
      watcher.on('error', (error) => this.deps.report('', error));
      this.#watchers.push(watcher);
    } catch (error) {
      this.deps.report('', error);
    }
  }

  async #readAll(): Promise<void> {
    const files = (await this.#list()).sort();
    await this.deps.relist();
    let begun = performance.now();
    for (const file of files) {
      await this.#readFile(file);
      if (performance.now() - begun < startMs) continue;
      await turnOfTheLoop();
      begun = performance.now();
    }
  }

  /** Look at everything. A directory that can not be listed is no empty directory: nothing changes then. */
  async #relist(): Promise<void> {
    this.#events = 0;
    const files = [...new Set([...(await this.#list()), ...this.#read.keys()])];
    await this.deps.inTurn(this.deps.relist);
    for (let next = 0; next < files.length && !this.#closed;) {
      await this.deps.inTurn(async () => {
        next = await this.#lookFrom(files, next);
      });
      await turnOfTheLoop();
    }
  }

  /** Looks for a moment. Returns where to go on. */
  async #lookFrom(files: readonly string[], first: number): Promise<number> {
    const end = performance.now() + lookMs;
    let next = first;
    for (; next < files.length && performance.now() < end; next += 1) {
      const file = files[next] ?? '';
      try {
        if (signatureOf(this.#path(file)) !== this.#read.get(file)) await this.#sight(file);
      } catch (error) {
        this.deps.report(file, error);
      }
    }
    return next;
  }

  async #list(): Promise<string[]> {
    return (await readdir(this.options.directory)).filter((file) => resourceFile.test(file));
  }

  #noticed(file: string, renamed: boolean): void {
    if (renamed) this.#renamed.add(file);
    else this.#renamed.delete(file);
    this.#events += 1;
    if (this.#events % manyEvents === 0) this.#later('', afterManyMs);
    this.#look(file);
  }

  #look(file: string): void {
    void this.deps.inTurn(() => this.#sight(file)).catch((error: unknown) => this.deps.report(file, error));
  }

  /** Read a file that has changed and counts; come back to one that does not count yet. */
  async #sight(file: string): Promise<void> {
    const signature = signatureOf(this.#path(file));
    if (signature === this.#read.get(file)) return this.#forget(file);
    const now = performance.now();
    const before = this.#sightings.get(file);
    const since = before?.signature === signature ? (before?.since ?? now) : now;
    this.#sightings.set(file, { signature, since });
    const due = (): boolean => now - since >= this.#quietMs(file, signature);
    // What was told until now of a renamed one has come by the end of this turn.
    if (due() && this.#renamed.has(file)) await turnOfTheLoop();
    if (!due()) return this.#later(file, Math.ceil(this.#quietMs(file, signature) - (now - since)));
    return signature === undefined ? this.#remove(file) : this.#readFile(file, signature);
  }

  /** How long a file must not have changed before it counts, ms. */
  #quietMs(file: string, signature: string | undefined): number {
    const { quietMs = 50 } = this.options;
    // One that is gone counts later than one that came: what was renamed is then never missing in between.
    if (signature === undefined) return 2 * quietMs;
    return this.#renamed.has(file) && !isEmpty(signature) ? Math.min(renamedMs, quietMs) : quietMs;
  }

  /** @param expected what counts; where it has become something else meanwhile, that has to wait as well */
  async #readFile(file: string, expected?: string): Promise<void> {
    try {
      const signature = signatureOf(this.#path(file));
      if (expected !== undefined && signature !== expected) return await this.#sight(file);
      this.#forget(file);
      this.#remember(file, signature);
      this.deps.read(file, readNow(this.#path(file)));
    } catch (error) {
      this.deps.report(file, error);
    }
  }

  /** What is gone with its whole directory (a file system that is not mounted) was not removed. */
  #remove(file: string): void {
    if (signatureOf(this.options.directory) === undefined)
      throw new ServalError('ERR_NOT_FOUND', {
        subject: this.options.directory,
        reason: 'it is gone; what was in it stays in use',
        remedy: 'Bring it back: is its file system mounted? To remove resources, remove their files',
      });
    this.#forget(file);
    this.#remember(file, undefined);
    this.deps.read(file, undefined);
  }

  #remember(file: string, signature: string | undefined): void {
    if (signature === undefined) this.#read.delete(file);
    else this.#read.set(file, signature);
  }

  #forget(file: string): void {
    this.#sightings.delete(file);
    this.#renamed.delete(file);
  }

  /** Look at a file again after a while; at all of them where it is ''. */
  #later(file: string, ms: number): void {
    if (this.#closed) return;
    clearTimeout(this.#timers.get(file));
    const due = (): void => {
      this.#timers.delete(file);
      if (file !== '') return this.#look(file);
      void this.#relist()
        .catch((error: unknown) => this.deps.report('', error))
        .finally(() => this.#later('', this.options.relistMs ?? 10_000));
    };
    this.#timers.set(file, setTimeout(due, ms).unref());
  }

  #path(file: string): string {
    return join(this.options.directory, file);
  }
}
