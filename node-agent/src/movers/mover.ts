/** What moves the workload itself. Everything here is about the workload; packets are the agent's business. */
import type { CriuMover, RestoreTarget, Workload } from './criu.js';

/** A workload or the pod that waits for it, as its mover sees it. */
export interface MoverPlace {
  name: string;
  pausePid: number;
  cgroup: string;
  /** root of the process tree, where it runs here */
  pid?: number;
}

export interface Mover {
  /** resolves when the workload may be quiesced; by then its pod at the target is ready */
  ready(migration: string): Promise<void>;
  /** The move is given up: whatever waits for somebody else in here must end. What is under way may end by itself. */
  cancel(migration: string): void;
  /** Stop it; its kernel stays awake. Idempotent. */
  freeze(migration: string, place: MoverPlace): Promise<void>;
  /** Let it run on at the source. Idempotent. */
  thaw(migration: string, place: MoverPlace): Promise<void>;
  /** Write what has to be carried into the folder; false where nothing has to be carried by us. */
  dump(migration: string, place: MoverPlace, imagesDir: string): Promise<boolean>;
  /** Restore from the folder; it stands still afterwards. Returns its root process where that is known. */
  restore(migration: string, place: MoverPlace, imagesDir: string): Promise<number | undefined>;
  /** Let the restored workload run. Idempotent. */
  resume(migration: string, place: MoverPlace): Promise<void>;
  /** Kill it here, frozen or restored. Idempotent. */
  discard(migration: string, place: MoverPlace): Promise<void>;
}

/** Processes and process trees, by CRIU. */
export function criuMover(criu: CriuMover): Mover {
  const workload = ({ pid, ...place }: MoverPlace): Workload => ({ ...place, pid: pid ?? 0 });
  const target = ({ name, pausePid, cgroup }: MoverPlace): RestoreTarget => ({ name, pausePid, cgroup });
  return {
    ready: () => Promise.resolve(),
    cancel: () => undefined,
    async freeze(_, place) {
      await criu.freeze(workload(place));
    },
    thaw(_, place) {
      criu.thaw(workload(place));
      return Promise.resolve();
    },
    async dump(_, place, imagesDir) {
      await criu.dump(workload(place), imagesDir);
      return true;
    },
    async restore(_, place, imagesDir) {
      return (await criu.restore(target(place), imagesDir)).pid;
    },
    resume(_, place) {
      criu.resume(target(place));
      return Promise.resolve();
    },
    async discard(_, place) {
      await criu.discard(target(place));
    },
  };
}
