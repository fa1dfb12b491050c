import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FakeCluster, refusal } from '../cluster.fixture.js';
import { collect, contents, type Piece } from './collect.js';
import { writeBugReport } from './command.js';
import { tarOf } from './tar.js';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'serval-report-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

describe('a tar archive', () => {
  it('is read by tar, whatever the lengths', () => {
    const files = ['', 'a', 'x'.repeat(511), 'y'.repeat(512), 'ä'.repeat(700)].map((content, i) => ({
      name: `d/${i}.txt`,
      content,
    }));
    const file = join(folder, 'a.tar');
    writeFileSync(file, tarOf(files, 1_700_000_000));
    execFileSync('tar', ['xf', file, '-C', folder]);
    for (const { name, content } of files) expect(readFileSync(join(folder, name), 'utf8')).toBe(content);
    expect(statSync(join(folder, 'd/1.txt')).mtimeMs).toBe(1_700_000_000_000);
  });

  it('has no names that are too long for it', () => {
    expect(() => tarOf([{ name: 'x'.repeat(101), content: '' }], 0)).toThrow(/longer than 100/);
  });
});

describe('what is collected', () => {
  const piece = (name: string, get: () => unknown): Piece => ({
    name,
    what: `what ${name} is`,
    get: () => Promise.resolve().then(get),
  });

  it('stands in the order of the pieces; what failed is told with its reason', async () => {
    const pieces = [
      piece('b', () => ({ x: 1 })),
      piece('no', () => Promise.reject(refusal('secret thing', 403))),
      piece('a', () => 'text'),
    ];
    const collected = await collect(pieces);
    expect(collected).toEqual({
      files: [
        { name: 'b', content: 'x: 1\n' },
        { name: 'a', content: 'text' },
      ],
      errors: ['no: it is forbidden'],
    });
    const text = contents(pieces, collected, ['A note.']);
    expect(text).toMatch(/b\n {4}what b is\na\n {4}what a is\nerrors\.txt\n[^]*A note\./);
    expect(text).not.toMatch(/what no is/);
  });
});

describe('a report', () => {
  it('takes those agents first that are not ready, says who was left out, and keeps to its bounds', async () => {
    const cluster = new FakeCluster();
    cluster.put('/version', { major: '1', minor: '34' });
    const labels = { 'app.kubernetes.io/component': 'agent' };
    for (const [name, status] of [
      ['fine', 'True'],
      ['ill', 'False'],
      ['well', 'True'],
    ] as const)
      cluster.put(`/api/v1/namespaces/s/pods/${name}`, {
        metadata: { name, namespace: 's', labels },
        spec: { nodeName: `node-of-${name}`, containers: [{ name: 'agent' }] },
        status: {
          phase: 'Running',
          conditions: [{ type: 'Ready', status }],
          containerStatuses: [{ name: 'agent', restartCount: 1 }],
        },
      });
    cluster.answers.set('GET /api/v1/pods', ({ query }) => ({
      items: [...cluster.objects.values()].filter(
        (each) => 'spec' in each && String(query?.['labelSelector']).endsWith('agent'),
      ),
    }));
    cluster.answers.set('GET /api/v1/namespaces/s/pods/ill/log', () => ['first line', 'last line']);
    let out = '';
    const session = {
      ...{ cluster, allNamespaces: false, isNamespaceGiven: false },
      agents: { nodes: () => Promise.resolve([]), ask: () => Promise.reject(refusal('exec', 403)) },
      around: {
        screen: { write: (text: string) => void (out += text), terminal: false, width: 80 },
        printError: () => undefined,
        environment: {},
        version: '1.0.0',
      },
    };
    const output = join(folder, 'r.tar.gz');
    expect(await writeBugReport(session, { output, agents: 1, lines: 10 })).toBe(0);
    execFileSync('tar', ['xzf', output, '-C', folder, '--strip-components=1']);
    expect(readFileSync(join(folder, 'logs/ill-agent.log'), 'utf8')).toBe('first line\nlast line\n');
    expect(readFileSync(join(folder, 'README.txt'), 'utf8')).toMatch(
      /Of 2 other agents neither logs nor answers were taken/,
    );
    expect(readFileSync(join(folder, 'errors.txt'), 'utf8')).toMatch(
      /^agents\/node-of-ill\/flows\.yaml: it is forbidden$/m,
    );
    expect(out).toMatch(/^NOT COLLECTED {2}agents\/node-of-ill\/status\.yaml: it is forbidden$/m);
    expect(out).not.toMatch(/node-of-fine/);
    expect(statSync(output).mode & 0o777).toBe(0o600);
    expect(cluster.asked.filter(({ path }) => /secret/i.test(path))).toEqual([]);
    const nowhere = writeBugReport(session, { output: join(folder, 'no/where'), agents: 1, lines: 1 });
    await expect(nowhere).rejects.toThrow(/can not be written/);
  });
});
