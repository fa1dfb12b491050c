import { describe, expect, it } from '@jest/globals';
import type { ServalMigration } from '@serval/api';
import { moveTimes } from './move-times.js';

const phases = {
  freeze: [100, 5],
  dump: [105, 20],
  transfer: [125, 10],
  restore: [135, 30],
  resume: [166, 2],
  switch: [168, 4],
};

function migration(names: readonly string[]): ServalMigration {
  const timeline = Object.entries(phases)
    .filter(([name]) => names.includes(name))
    .map(([name, [startMs = 0, durationMs = 0]]) => ({ name, startMs, durationMs, frozen: true }));
  const status = { startedAt: '2026-01-01T00:00:00.000Z', freezeMs: 68, switchMs: 4, flows: 7, timeline };
  return { metadata: { name: 'm' }, status } as unknown as ServalMigration;
}

describe('times of a move', () => {
  it('puts them on the clock of everybody, and takes the shares apart', () => {
    const began = Date.parse('2026-01-01T00:00:00.000Z') + 0.5;
    expect(moveTimes(migration(Object.keys(phases)))).toEqual({
      flows: 7,
      freezeMs: 68,
      switchMs: 4,
      moverMs: 60,
      dumpMs: 20,
      transferMs: 10,
      restoreMs: 30,
      frozenAt: began + 100,
      resumedAt: began + 168,
      switchedAt: began + 172,
    });
  });

  it('wants to know when it was frozen, resumed and switched', () => {
    expect(() => moveTimes(migration(['freeze', 'dump', 'resume']))).toThrow('migration m');
  });
});
