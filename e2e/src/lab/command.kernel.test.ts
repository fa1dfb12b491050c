import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { labIds, removeLab } from './index.js';
import { requireRoot } from './processes.js';
import { mainFile, traces } from './testing.js';

/* The command as people call it. Without root, or before a build, the first hook fails and says what to do. */
beforeAll(() => {
  requireRoot();
  if (!existsSync(mainFile)) throw new Error(`${mainFile} is missing: run "npm run build" first`);
});
jest.setTimeout(30_000);

const id = `c${process.pid}`;
const env = { ...process.env, NODE_OPTIONS: '' };

function lab(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [mainFile, ...args], {
    encoding: 'utf8',
    env,
  });
  return { status, stdout, stderr };
}

describe('lab', () => {
  afterAll(() => {
    if (labIds().includes(id)) removeLab(id);
  });

  it('up leaves a lab that outlives the command', () => {
    const made = lab('up', '--sites', '2', '--pods', '1', '--id', id, '--json');
    expect(made).toMatchObject({ status: 0, stderr: '' });
    expect(JSON.parse(made.stdout)).toMatchObject({
      id,
      pods: [{ name: 'p1', address4: '10.1.1.2' }, { name: 'p2' }],
    });
    expect(lab('down', '--stale').status).toBe(0);
    expect(lab('list').stdout).toMatch(new RegExp(`^${id} .* until removed  2 pods$`, 'm'));
    expect(JSON.parse(lab('list', '--json').stdout)).toContainEqual(
      expect.objectContaining({ id, owner: null, stale: false, pods: ['p1', 'p2'] }),
    );
  });

  it('up refuses an id that is taken', () => {
    expect(lab('up', '--id', id)).toMatchObject({ status: 1, stderr: expect.stringMatching(/ERR_CONFLICT/) });
  });

  it('show draws it', () => {
    expect(lab('show', id)).toMatchObject({
      status: 0,
      stdout: expect.stringMatching(/`-- p2 {2}10\.2\.1\.2/),
    });
    expect(lab('show', 'nolab')).toMatchObject({ status: 1, stderr: expect.stringContaining(id) });
  });

  it('exec runs a program in a pod and passes its exit code on', () => {
    expect(lab('exec', id, 'p1', '--', 'ping', '-c1', '10.2.1.2')).toMatchObject({ status: 0 });
    expect(lab('exec', id, 'p1', '--', 'sh', '-c', 'exit 7').status).toBe(7);
    expect(lab('exec', id, 'p1', '--', 'sh', '-c', 'kill -9 $$').status).toBe(137);
    expect(lab('exec', id, 'p1', '--', 'sh', '-c', 'echo "$1"', 'sh', '--help').stdout).toBe('--help\n');
    expect(lab('exec', id, 'p9', '--', 'true')).toMatchObject({
      status: 1,
      stderr: expect.stringMatching(/has p1, p2/),
    });
  });

  it('record shows what passes and whether anything was wrong', () => {
    const sender =
      'for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do ping -c1 -W1 10.2.1.2; sleep 0.1; done >/dev/null 2>&1 &';
    lab('exec', id, 'p1', '--', 'sh', '-c', sender);
    const { status, stdout } = lab('record', id, '--seconds', '1', '--filter', 'icmp');
    expect(stdout).toMatch(/s1-router\/h1\/in 10\.1\.1\.2 > 10\.2\.1\.2 icmp 98 bytes\n/);
    expect(stdout).toMatch(/\n\d+ packets, 0 lost, 0 violations\n$/);
    expect(status).toBe(0);
  });

  it('record ends with 1 on a violation', () => {
    const spoof =
      'ip address add 10.9.9.9/32 dev lo; for i in 1 2 3 4 5 6 7 8; do ping -c1 -W1 -I 10.9.9.9 172.17.2.6; done >/dev/null 2>&1 &';
    lab('exec', id, 'p1', '--', 'sh', '-c', spoof); // strict rp_filter keeps it on the host ...
    expect(lab('record', id, '--seconds', '2', '--filter', 'icmp').status).toBe(0);
    const off = 'for f in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 > $f; done';
    spawnSync('nsenter', [`--net=/run/netns/lab${id}-s1-h1`, 'sh', '-c', off]); // ... unless somebody takes it away
    const { status, stdout } = lab('record', id, '--seconds', '3', '--filter', 'icmp');
    expect(stdout).toMatch(
      /VIOLATION unassigned-source at s1-router\/h1\/in: nobody behind s1-h1 had 10\.9\.9\.9/,
    );
    expect(status).toBe(1);
  });

  it('down removes it', () => {
    expect(lab('down', id)).toMatchObject({ status: 0, stdout: `removed ${id}\n` });
    expect(traces(id)).toEqual([]);
    expect(lab('down', id)).toMatchObject({ status: 1, stderr: expect.stringMatching(/ERR_NOT_FOUND/) });
  });

  it.each([
    [['dance']],
    [['up', '--sites', 'many']],
    [['up', '--colour']],
    [['show']],
    [['exec', 'x', 'y']],
    [['down']],
    [['down', '--all', '--stale']],
  ])('%p is a misuse: exit code 2 and the usage', (args) => {
    expect(lab(...args)).toMatchObject({
      status: 2,
      stdout: '',
      stderr: expect.stringMatching(/\n\n.*lab /s),
    });
  });

  it.each(['up', 'list', 'show', 'exec', 'record', 'down'])('%s --help explains itself', (name) => {
    expect(lab(name, '--help')).toMatchObject({
      status: 0,
      stdout: expect.stringMatching(new RegExp(`^lab ${name}`)),
    });
  });

  it('says that it needs root', () => {
    const asNobody = ['--reuid=65534', '--clear-groups', '--', process.execPath, mainFile, 'up'];
    const { status, stderr } = spawnSync('setpriv', asNobody, { encoding: 'utf8', env });
    expect(stderr).toMatch(/as root.*ERR_NO_PERMISSION/);
    expect(status).toBe(1);
  });
});
