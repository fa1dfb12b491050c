/**
 * The model of the migration protocol (docs/model), searched by spin: every property within its bounds, to the end; and
 * each property again with the protocol broken in one place, where spin must find a way to the failure. What
 * docs/model/README.md says of states and depth is compared with what was found.
 */
import { execFile } from 'node:child_process';
import { copyFileSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, it, jest } from '@jest/globals';

const folder = fileURLToPath(new URL('../../../docs/model', import.meta.url));
const protocol = join(folder, '../../node-agent/src/protocol');
const execute = promisify(execFile);
jest.setTimeout(300_000);

/** How spin searches. Each is exhaustive: no bit state, no hash compaction. */
const searches = {
  /** assertions in every state, and in the states where nothing can happen any more */
  ends: { compile: ['-DSAFETY'], search: [] },
  /** no cycle: whatever is not marked as progress may not go on for ever, and nothing is marked */
  cycles: { compile: ['-DNP'], search: ['-l'] },
  /** the ltl formula under weak fairness */
  fair: { compile: ['-DNFAIR=3'], search: ['-a', '-f'] },
} as const;

interface Property {
  /** as in the table of README.md */
  name: string;
  model: 'move' | 'both-ends';
  define: string[];
  by: keyof typeof searches;
}

const properties: Property[] = [
  { name: 'M1', model: 'move', define: ['MISFORTUNES=4'], by: 'ends' },
  { name: 'M2', model: 'move', define: ['MISFORTUNES=3'], by: 'cycles' },
  { name: 'M3', model: 'move', define: ['PEERS=2', 'MISFORTUNES=1'], by: 'ends' },
  { name: 'M4', model: 'move', define: ['PEERS=2', 'MISFORTUNES=0'], by: 'cycles' },
  { name: 'B1', model: 'both-ends', define: ['MISFORTUNES=1'], by: 'fair' },
  { name: 'B2', model: 'both-ends', define: ['MISFORTUNES=1', 'GIVE_UPS=1'], by: 'fair' },
  { name: 'B3', model: 'both-ends', define: ['MISFORTUNES=1', 'WITHOUT_WAIT'], by: 'fair' },
];

interface Broken extends Omit<Property, 'name'> {
  what: string;
  finds: RegExp;
}

/** The model with one thing broken and so many misfortunes, and what spin must say then. */
const inMove = (what: string, misfortunes: number, finds: RegExp): Broken => {
  return { what, model: 'move', define: [`BREAK_${what}`, `MISFORTUNES=${misfortunes}`], by: 'ends', finds };
};
const inBothEnds = (what: string, finds: RegExp): Broken => {
  return { what, model: 'both-ends', define: [`BREAK_${what}`, 'MISFORTUNES=0'], by: 'fair', finds };
};

const broken = [
  inMove('RESUME_WITHOUT_RELEASE', 0, /assertion violated .*copy==/),
  inMove('THAW_AFTER_RELEASED', 0, /assertion violated .*copy==/),
  inMove('RSYN_BEFORE_OPEN', 0, /assertion violated isOpen/),
  inMove('SEND_BEFORE_WRITE', 1, /assertion violated .*sourceDisk==.*targetDisk==/),
  inMove('FORGET_RESTORED', 1, /assertion violated .*target==/),
  inMove('FORGET_RELEASE', 0, /assertion violated .*sourceDisk==.*targetDisk==/),
  inMove('TARGET_NEVER_ASKS', 0, /assertion violated .*copy==/),
  inMove('ANSWER_BEFORE_WRITTEN', 1, /assertion violated .*sourceDisk==/),
  inMove('RELEASE_BEFORE_DIFFERENCE', 0, /assertion violated .*late/),
  inMove('NO_DEADLINE', 0, /assertion violated .*rule/),
  inMove('ONLY_HELD_ASK', 0, /assertion violated .*rule/),
  inMove('UNKNOWN_IS_GIVEN_UP', 0, /assertion violated .*sourceDisk/),
  inMove('HOLD_AFTER_SWITCH', 1, /assertion violated .*rule/),
  inMove('HOLD_WHILE_FLIPPING', 1, /assertion violated .*rule/),
  inBothEnds('NO_ORDER', /acceptance cycle/),
  inBothEnds('NO_LOCK', /acceptance cycle/),
  inBothEnds('FROZEN_HOLDS', /assertion violated .*view/),
  inBothEnds('NO_NEW_PLAN', /acceptance cycle/),
  inBothEnds('PREPARED_LOCKS', /acceptance cycle/),
];

/** Generate, compile and run the search; all that it says. Throws where one of the steps can not be done. */
async function run({ model, define, by }: Omit<Property, 'name'>, optimise = '-O2'): Promise<string> {
  const cwd = mkdtempSync(join(tmpdir(), 'serval-model-'));
  try {
    for (const file of readdirSync(folder).filter((name) => name.endsWith('.pml')))
      copyFileSync(join(folder, file), join(cwd, file));
    const { compile, search } = searches[by];
    await execute('spin', ['-a', ...define.map((name) => `-D${name}`), `${model}.pml`], { cwd });
    await execute('gcc', [optimise, '-w', '-DMEMLIM=1500', ...compile, '-o', 'pan', 'pan.c'], { cwd });
    const { stdout } = await execute('./pan', ['-m20000', '-w24', ...search], { cwd, maxBuffer: 16 << 20 });
    return stdout;
  } finally {
    rmSync(cwd, { recursive: true });
  }
}

/** Statements that no run came to. The end of a process is none: agents go on for ever. */
function unreached(said: string): string[] {
  return said.split('\n').filter((line) => /, state \d+, "/.test(line) && !line.includes('"-end-"'));
}

/** States and depth. */
function found(said: string): string[] {
  return [/(\d+) states, stored/, /depth reached (\d+)/].map((number) => number.exec(said)?.[1] ?? 'nothing');
}

/** Cells of the rows of README.md's tables, by the first one. */
function documented(): Map<string, string[]> {
  const rows = readFileSync(join(folder, 'README.md'), 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('|'))
    .map((line) => line.split('|').map((cell) => cell.trim()));
  return new Map(rows.map(([, name = '', ...cells]) => [name, cells.slice(0, -1)]));
}

describe('the model of the migration protocol', () => {
  it.each(properties)('$name holds: $model.pml with $define', async (property) => {
    const said = await run(property);
    expect(said).toContain('errors: 0');
    expect(said).not.toMatch(/max search depth too small|Search not completed|Bit statespace/);
    // Without misfortunes nothing of what follows from one is reached; the other searches of the model reach it.
    if (!property.define.includes('MISFORTUNES=0')) expect(unreached(said)).toEqual([]);
    expect(documented().get(property.name)?.slice(-2)).toEqual(found(said));
  });

  it.each(broken)('spin notices $what', async ({ finds, ...model }) => {
    const said = await run(model, '-O0');
    expect(said).toContain('errors: 1');
    expect(said).toMatch(finds);
  });

  it('every switch that breaks something is tried, and documented', () => {
    const texts = readdirSync(folder)
      .filter((name) => name.endsWith('.pml'))
      .map((name) => readFileSync(join(folder, name), 'utf8'));
    const switches = new Set(texts.join().match(/\bBREAK_[A-Z_]*[A-Z]\b/g));
    expect([...switches].sort()).toEqual(broken.map(({ what }) => `BREAK_${what}`).sort());
    const rows = documented();
    for (const { what } of broken) expect([what, rows.has(`\`${what}\``)]).toEqual([what, true]);
  });

  it('every function that README.md names is in the file that it names', () => {
    const named = [...documented().values()].flatMap(([cell = '']) =>
      [...cell.matchAll(/([\w-]+\.ts) ((?:`\w+`(?:, )?)+)/g)].flatMap(([, file = '', functions = '']) =>
        [...functions.matchAll(/`(\w+)`/g)].map(([, name = '']) => ({ file, name })),
      ),
    );
    expect(named.length).toBeGreaterThan(60);
    const isMissing = ({ file, name }: { file: string; name: string }): boolean =>
      !new RegExp(`function ${name}\\b`).test(readFileSync(join(protocol, file), 'utf8'));
    expect(named.filter(isMissing)).toEqual([]);
  });
});
