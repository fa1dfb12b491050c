import { expect, it } from '@jest/globals';
import { ServalError } from '@serval/api';
import { makeLog } from '@serval/kube-runtime';
import { migrationLog } from './log.js';

it('writes JSON lines with the node, the migration and what an error says', () => {
  const lines: Array<Record<string, unknown>> = [];
  const write = (line: string): number => lines.push(JSON.parse(line) as Record<string, unknown>);
  const log = makeLog({ level: 'info', base: { node: 'host-1' }, destination: { write } });
  log.debug('not this');
  const error = new ServalError('ERR_MOVER', { subject: 'pod', reason: 'it is', remedy: 'Do' });
  migrationLog(log, '00000000000000aa', 'source').warn({ err: error }, 'words');
  log.error({ err: new TypeError('oh') }, 'more');
  expect(lines).toMatchObject([
    {
      level: 'warn',
      node: 'host-1',
      migration: '00000000000000aa',
      role: 'source',
      msg: 'words',
      err: { code: 'ERR_MOVER', subject: 'pod', reason: 'it is', remedy: 'Do' },
    },
    { level: 'error', msg: 'more', err: { type: 'TypeError', message: 'oh' } },
  ]);
  expect(lines[0]?.time).toMatch(/^\d{4}-\d\d-\d\dT/);
  expect(lines[1]).not.toHaveProperty('migration');
});
