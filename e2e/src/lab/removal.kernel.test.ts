import { afterEach, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { createLab, labIds, removeLab, removeStaleLabs } from './index.js';
import { readState } from './state.js';
import { requireRoot } from './processes.js';
import { mainFile, pidsOf, ping, traces } from './testing.js';

/* Works on the real kernel. Without root the first hook fails and says what to do. */
beforeAll(() => requireRoot());
jest.setTimeout(30_000);

const code = (value: string): unknown => expect.objectContaining({ code: value });

describe('removal', () => {
  it('leaves no namespace, process, mount or file behind; a second time does nothing', async () => {
    const lab = await createLab({ sites: 1, podsPerHost: 2 });
    const pod = lab.pod('p1');
    const inner = await pod.processOf(pod.spawn('sleep', ['1000'], { stdio: 'ignore' }));
    const onHost = lab.host('s1-h1').spawn('sleep', ['1000'], { stdio: 'ignore' });
    await lab.recordFabric();
    await lab.mount('tmpfs', 'scratch');
    lab.cgroup('one');
    const pids = [...pidsOf(lab.id), inner.pid, onHost.pid ?? 0];
    expect(pids.length).toBeGreaterThanOrEqual(6); // two pauses, nsenter, two sleeps, tcpdump
    expect(traces(lab.id, pids)).toEqual(
      expect.arrayContaining([expect.stringMatching(/scratch/), expect.stringMatching(/cgroup.*-one$/)]),
    );
    lab.remove();
    expect(traces(lab.id, pids)).toEqual([]);
    lab.remove();
    expect(labIds()).not.toContain(lab.id);
    expect(() => removeLab(lab.id)).toThrow(code('ERR_NOT_FOUND'));
  });

  it('touches only the one of two labs, which have the same addresses and run at once', async () => {
    const labs = await Promise.all([
      createLab({ sites: 2, podsPerHost: 1 }),
      createLab({ sites: 2, podsPerHost: 1 }),
    ]);
    const [one, two] = labs;
    try {
      expect(one.pod('p1').address4).toBe(two.pod('p1').address4);
      await Promise.all(labs.map((lab) => ping(lab.pod('p1'), lab.pod('p2').address4)));
      await expect(createLab({ sites: 1 }, { id: two.id })).rejects.toThrow(code('ERR_CONFLICT'));
      one.remove();
      expect(traces(one.id)).toEqual([]);
      await ping(two.pod('p1'), two.pod('p2').address4);
    } finally {
      labs.forEach((lab) => lab.remove());
    }
  });

  it('follows a creation that fails in the middle', async () => {
    const id = `h${process.pid}`;
    const building = createLab({ sites: 1, podsPerHost: 2 }, { id });
    writeFileSync(`/run/netns/lab${id}-s1-h1-p2`, ''); // after the look for foreign namespaces, before pods are made
    await expect(building).rejects.toThrow(/File exists/);
    expect(traces(id)).toEqual([]);
  });

  it('never takes over what somebody else has under its names', async () => {
    const id = `f${process.pid}`;
    const foreign = `/run/netns/lab${id}-of-somebody`;
    writeFileSync(foreign, '');
    try {
      await expect(createLab({ sites: 1 }, { id })).rejects.toThrow(code('ERR_CONFLICT'));
      expect(existsSync(foreign)).toBe(true);
      expect(labIds()).not.toContain(id);
    } finally {
      rmSync(foreign);
    }
  });

  it('spares a process that was given the pid of one that had ended', async () => {
    const lab = await createLab({ sites: 1, podsPerHost: 1 });
    await delay(20); // a start is told in ticks of 10 ms: within one, half of all new labs, the two would be the same
    const bystander = spawn('sleep', ['1000'], { stdio: 'ignore' });
    try {
      const { pid = 0 } = bystander;
      const file = `/run/serval-labs/${lab.id}.json`;
      const state = readState(lab.id);
      const pause = state.pods[0]?.pause ?? { pid: 0, start: 0 };
      writeFileSync(
        file,
        JSON.stringify(state).replace(JSON.stringify(pause), JSON.stringify({ ...pause, pid })),
      );
      const pids = pidsOf(lab.id);
      lab.remove();
      expect(traces(lab.id, pids)).toEqual([]); // the real one was found by its namespace
      expect(existsSync(`/proc/${pid}/ns/net`)).toBe(true);
    } finally {
      bystander.kill();
    }
  });
});

describe('an owner that dies', () => {
  const id = `t${process.pid % 100000}`;

  const children: ChildProcess[] = [];

  /** Starts `lab up --hold` and waits until the lab stands. */
  async function hold(): Promise<ChildProcess> {
    if (!existsSync(mainFile)) throw new Error(`${mainFile} is missing: run "npm run build" first`);
    const args = [mainFile, 'up', '--hold', '--json', '--id', id, '--sites', '1', '--pods', '2'];
    const child = spawn(process.execPath, args, {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { ...process.env, NODE_OPTIONS: '' },
    });
    children.push(child);
    await Promise.race([
      once(child.stdout, 'data'),
      once(child, 'exit').then(([exitCode]) =>
        Promise.reject(new Error(`lab up ended with ${String(exitCode)}`)),
      ),
    ]);
    return child;
  }

  afterEach(() => {
    for (const child of children.splice(0)) child.kill('SIGKILL'); // also when a test failed in the middle
    if (labIds().includes(id)) removeLab(id);
  });

  it('by kill -9 leaves a lab that the next removeStaleLabs removes whole', async () => {
    const child = await hold();
    const pids = pidsOf(id);
    expect(pids).toHaveLength(2);
    expect(removeStaleLabs().removed).not.toContain(id); // its owner lives
    child.kill('SIGKILL');
    await once(child, 'exit');
    expect(traces(id, pids).length).toBeGreaterThan(6);
    expect(removeStaleLabs()).toMatchObject({ removed: expect.arrayContaining([id]) });
    expect(traces(id, pids)).toEqual([]);
  });

  it('is cleaned up after by the next createLab', async () => {
    const child = await hold();
    child.kill('SIGKILL');
    await once(child, 'exit');
    const lab = await createLab({ sites: 1 }, { id }); // would be a conflict otherwise
    lab.remove();
    expect(traces(id)).toEqual([]);
  });

  it.each(['SIGTERM', 'SIGINT', 'SIGHUP'] as const)('by %s removes its lab itself', async (signal) => {
    const child = await hold();
    const pids = pidsOf(id);
    child.kill(signal);
    expect(await once(child, 'exit')).toEqual([null, signal]);
    expect(traces(id, pids)).toEqual([]);
  });
});
