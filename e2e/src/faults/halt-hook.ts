/**
 * Loaded into an agent before its own code (`NODE_OPTIONS=--import=…`): halts the whole process at a step, so that a test
 * can do something exactly then: kill it, cut its host off, turn its clock. Steps are read from `halt/armed.json` beside
 * the agent's configuration; without that file nothing is different. What is done to the agent's children is not seen here.
 */
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { basename, dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { HaltStep, Orders } from './halt.js';

/** What need not wait for a record happens within this. */
const slowDiskMs = 100;

const config = process.argv[process.argv.indexOf('--config') + 1];
// The agent's own children are ordinary.
delete process.env['NODE_OPTIONS'];
if (process.argv.includes('--config') && config !== undefined) watchOver(join(dirname(config), 'halt'));

function watchOver(folder: string): void {
  const clock = turnableClock();
  const sleeper = new Int32Array(new SharedArrayBuffer(4));
  const done = new Set<string>();
  const writes = new Map<string, number>();

  const armed = (): HaltStep[] => {
    const file = join(folder, 'armed.json');
    return fs.existsSync(file) ? (JSON.parse(fs.readFileSync(file, 'utf8')) as HaltStep[]) : [];
  };
  /** Everything stands still until the test says how it goes on. */
  const halt = (step: HaltStep): void => {
    if (done.has(step.id)) return;
    done.add(step.id);
    fs.writeFileSync(join(folder, `${step.id}.reached`), '');
    const orders = join(folder, `${step.id}.orders`);
    while (!fs.existsSync(orders)) Atomics.wait(sleeper, 0, 0, 1);
    const { clockMs = 0 } = JSON.parse(fs.readFileSync(orders, 'utf8')) as Orders;
    clock.turn(clockMs);
  };
  const at = (matches: (step: HaltStep) => boolean): void => {
    for (const step of armed()) if (matches(step)) halt(step);
  };

  // The log is written at once, a line at a time: a phase is entered when its line is written.
  const writeSync = fs.writeSync as (...args: unknown[]) => number;
  const told = (...args: unknown[]): number => {
    const written = writeSync.apply(fs, args);
    const text = String(args[1]);
    if (args[0] === 2 && text.includes('"phase"'))
      at(({ role, phase }) => text.includes(`"role":"${role}"`) && text.includes(`"phase":"${phase}"`));
    return written;
  };
  fs.writeSync = told;

  const open = fs.promises.open;
  fs.promises.open = async (path, flags, mode) => {
    const handle = await open.call(fs.promises, path, flags, mode);
    const role = basename(String(path)).split('-')[0] ?? '';
    const nextCount = (): number => (writes.get(role) ?? 0) + 1;
    const write = handle.write.bind(handle) as (...args: unknown[]) => Promise<never>;
    handle.write = async (...args: unknown[]) => {
      const isIt = ({ unwritten, nth = 1 }: HaltStep): boolean => unwritten === role && nth === nextCount();
      if (armed().some(isIt)) {
        await delay(slowDiskMs);
        at(isIt);
      }
      return write(...args);
    };
    const datasync = handle.datasync.bind(handle);
    handle.datasync = async () => {
      await datasync();
      const count = nextCount();
      if (armed().some(({ written, unwritten }) => [written, unwritten].includes(role)))
        writes.set(role, count);
      at(({ written, nth = 1 }) => written === role && nth === count);
    };
    return handle;
  };
  syncBuiltinESMExports();
}

/** A clock that a test can turn: of this process only, timers go on as they were. */
function turnableClock(): { turn: (ms: number) => void } {
  const Real = Date;
  const real = Real.now.bind(Real);
  let offset = 0;
  globalThis.Date = new Proxy(Real, {
    construct: (target, args: [], newTarget) =>
      Reflect.construct(target, args.length === 0 ? [real() + offset] : args, newTarget) as Date,
    get: (target, name, receiver) =>
      name === 'now' ? () => real() + offset : (Reflect.get(target, name, receiver) as unknown),
  });
  return { turn: (ms) => (offset += ms) };
}
