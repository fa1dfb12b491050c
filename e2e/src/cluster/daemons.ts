/** The programs of one control plane, each under its name. */
import { Daemon } from './daemon.js';

export class Daemons {
  private readonly known = new Map<string, Daemon>();

  /** @param folder gets their words, in NAME.log */
  constructor(readonly folder: string) {}

  /** Starts a program, in place of the one of this name, which has ended. */
  start(name: string, command: readonly string[]): Daemon {
    const daemon = Daemon.start(name, this.folder, command);
    this.known.set(name, daemon);
    return daemon;
  }

  /** Whether it runs is told by its pid. */
  find(name: string): Daemon | undefined {
    return this.known.get(name);
  }

  /** Those that run at the moment, by name. */
  pids(): ReadonlyMap<string, number> {
    const running = [...this.known].map(([name, { pid }]) => [name, pid] as const);
    return new Map(running.filter((entry): entry is [string, number] => entry[1] !== undefined));
  }

  /** Resolves when all have ended, those too that are not ready yet. */
  async kill(): Promise<void> {
    await Promise.all([...this.known.values()].map((daemon) => daemon.end('SIGKILL')));
  }
}
