/** Migrations by kubectl-serval as it ships, on a real API server; the test plays the operator and the agents. */
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { KubeClient } from '@serval/kube-runtime/kubernetes';
import { parse } from 'yaml';
import { requireRoot } from '../lab/processes.js';
import { CliProgram, type Ran } from './cli-program.js';
import { CliWorld, ended } from './cli-world.js';
import { ControlPlane } from './control-plane.js';
import { installCrds } from './crds.js';
import { freePorts, loopback } from './ports.js';

beforeAll(() => requireRoot());
jest.setTimeout(120_000);

const running = { phase: 'Moving', sourceNode: 'n1', targetNode: 'n2', startedAt: new Date().toISOString() };

describe('migrations by kubectl-serval', () => {
  let plane: ControlPlane;
  let client: KubeClient;
  let world: CliWorld;
  let cli: CliProgram;

  beforeAll(async () => {
    plane = await ControlPlane.start({ progress: console.log });
    const kubeconfig = plane.kubeconfigFile(plane.admin());
    client = KubeClient.load('serval-test', kubeconfig);
    world = new CliWorld(client);
    cli = CliProgram.make(kubeconfig);
    await installCrds(client);
    for (const name of ['n1', 'n2']) {
      await world.makeNode(name, '6.12.0');
      await world.makeServalNode(name, 'True');
    }
    await world.makePod('redis-0', 'n1');
  });
  afterAll(async () => {
    cli?.remove();
    await client?.close();
    await plane?.stop();
  });

  const run = (...words: string[]): Promise<Ran> => cli.run(words);

  it('are checked by a dry run, which makes nothing', async () => {
    const trial = await run('migrate', 'pod/redis-0', '--to', 'n2', '--dry-run=server', '-o', 'json');
    expect(trial).toMatchObject({ code: 0, err: '' });
    expect(JSON.parse(trial.out)).toMatchObject({
      metadata: { name: expect.stringMatching(/^redis-0-\w+$/), namespace: 'default' },
      spec: { workload: { kind: 'Pod', name: 'redis-0' }, targetNode: 'n2', deadlineSeconds: 600 },
    });
    expect((await world.list()).items).toEqual([]);
  });

  it('go on while they are watched, to their end', async () => {
    const process = cli.start([
      'migrate',
      'redis-0',
      '--to',
      'n2',
      '--mover',
      'criu',
      '--deadline',
      '60',
      '--wait',
    ]);
    const { metadata, spec } = await world.until('it is made', async () => (await world.list()).items[0]);
    expect(spec).toEqual({
      workload: { kind: 'Pod', name: 'redis-0' },
      targetNode: 'n2',
      mover: 'criu',
      deadlineSeconds: 60,
    });
    const { name } = metadata;
    await process.says(/: waiting, after /);
    const waits = [
      {
        type: 'Succeeded',
        status: 'Unknown',
        reason: 'Waits',
        message: 'another one goes first',
        lastTransitionTime: running.startedAt,
      },
    ];
    await world.tell(name, { phase: 'Pending', conditions: waits });
    await process.says(/: Pending \(another one goes first\), after /);
    await world.tell(name, { phase: 'Preparing', conditions: [] });
    await process.says(/: Preparing, after /);
    await world.tell(name, { ...running, sourceStep: 'freezing', flows: 12 });
    await process.says(/: Moving, freezing, 12 flows, after /);
    const timeline = [{ name: 'dump', startMs: 0, durationMs: 80, frozen: true }];
    await world.tell(name, {
      ...ended('Succeeded', ''),
      sourceStep: 'retired',
      timeline,
      lost: {},
      freezeMs: 180,
      switchMs: 3.2,
    });
    const { code, out, err } = await process.end();
    expect([code, err]).toEqual([0, '']);
    expect(out).toMatch(/^dump +\|#+\|/m);
    expect(out).toMatch(
      /default\/redis-0 to n2: moved; 12 flows, none lost, frozen for 180 ms, switched in 3\.2 ms\n$/,
    );
  });

  it('say why they failed', async () => {
    const process = cli.start(['migrate', 'redis-0', '--name', 'fails', '--wait', '-o', 'yaml']);
    await world.until('it is made', () => world.read('fails'));
    await world.tell('fails', running);
    await world.tell('fails', { ...ended('Failed', 'criu: the dump failed'), sourceStep: 'aborted' });
    const { code, out } = await process.end();
    expect([code, (parse(out) as { status: { phase: string } }).status.phase]).toEqual([1, 'Failed']);
    const shown = await run('migrations', 'fails');
    expect([shown.code, shown.out]).toEqual([
      1,
      expect.stringMatching(
        /^from +n1\n[^]*fails: default\/redis-0 to n2: not moved \(Failed\): criu: the dump failed\n$/m,
      ),
    ]);
  });

  it('are left alone by Ctrl-C, and can be followed again', async () => {
    const process = cli.start(['migrate', 'redis-0', '--name', 'left', '--wait']);
    await process.says(/left: waiting/);
    process.interrupt();
    const { code, err } = await process.end();
    expect([code, err]).toEqual([
      130,
      expect.stringMatching(
        /left goes on [^]*kubectl serval migrations left -n default -w\n.*kubectl serval abort left -n default\n/,
      ),
    ]);
    expect((await world.read('left')).metadata.deletionTimestamp).toBeUndefined();
    const again = cli.start(['migrations', 'left', '-w']);
    await again.says(/left: waiting/);
    await world.tell('left', { ...running, ...ended('Succeeded', '') });
    expect((await again.end()).code).toBe(0);
  });

  it('outlive a lost API server while they are watched', async () => {
    const process = cli.start(['migrate', 'redis-0', '--name', 'outage', '--wait']);
    await process.says(/outage: waiting/);
    await plane.killApiServer();
    await process.says(/the API server is lost and is tried again/);
    await plane.startApiServer();
    await world.tell('outage', { ...running, ...ended('Succeeded', '') });
    expect((await process.end()).code).toBe(0);
  });

  it('are given up, and the workload goes on', async () => {
    expect(await run('migrate', 'redis-0', '--name', 'wrong', '--no-wait')).toMatchObject({
      code: 0,
      out: expect.stringMatching(/kubectl serval migrations wrong -n default -w/),
    });
    await world.hold('wrong', ['serval.io/migration']);
    await world.tell('wrong', { ...running, sourceStep: 'freezing' });
    const process = cli.start(['abort', 'wrong']);
    await world.until('it is deleted', async () => (await world.read('wrong')).metadata.deletionTimestamp);
    await world.tell('wrong', { ...ended('Aborted', 'it was deleted'), sourceStep: 'aborted' });
    await world.hold('wrong', []);
    expect(await process.end()).toEqual({
      code: 0,
      out: 'wrong: given up; redis-0 goes on where it was, on n1\n',
      err: '',
    });
  });

  it('can be too far to be given up', async () => {
    await run('migrate', 'redis-0', '--name', 'late', '--no-wait');
    await world.hold('late', ['serval.io/migration']);
    await world.tell('late', { ...running, sourceStep: 'released' });
    const process = cli.start(['abort', 'late']);
    await world.until('it is deleted', async () => (await world.read('late')).metadata.deletionTimestamp);
    await world.tell('late', { ...ended('Succeeded', ''), sourceStep: 'retired' });
    await world.hold('late', []);
    expect(await process.end()).toMatchObject({
      code: 1,
      out: expect.stringMatching(/^late: too late, .*moved/),
    });
  });

  it('are not given up where they have ended', async () => {
    expect(await run('abort', 'fails')).toMatchObject({
      code: 1,
      err: expect.stringMatching(/it has ended \(Failed\)/),
    });
    expect((await world.read('fails')).metadata.deletionTimestamp).toBeUndefined();
  });

  it('are listed, and told as they change', async () => {
    const list = await run('migrations', '-A', '-o', 'wide');
    expect([list.code, list.out]).toEqual([
      0,
      expect.stringMatching(/^NAME +WORKLOAD[^]*^fails +default\/redis-0 +n2 +failed +Failed, aborted/m),
    ]);
    const process = cli.start(['migrations', '-w']);
    await process.says(/^fails /m);
    await run('migrate', 'redis-0', '--name', 'new', '--no-wait');
    await process.says(/^new +default\/redis-0 +- +running +waiting/m);
    process.interrupt();
    expect((await process.end()).code).toBe(0);
    const there = JSON.parse((await run('migrations', '-o', 'json')).out) as Array<{
      metadata: { name: string };
    }>;
    expect(there.map(({ metadata }) => metadata.name)).toContain('new');
  });

  it.each([
    [['migrate', 'nobody'], 1, /pod default\/nobody: there is no such pod/],
    [
      ['migrate', 'redis-0', '--to', 'n9'],
      1,
      /ServalNode n9: no node of this name has an agent\. Choose one of n1, n2/,
    ],
    [['migrate', 'deploy/web'], 2, /what moves is one pod/],
    [['migrate', 'redis-0', '--deadline', '1'], 2, /from 10 to 86400/],
    [['migrate', 'redis-0', '--name', 'fails', '--no-wait'], 1, /there is one of this name already/],
    [['migrate', 'redis-0', '--name', 'Bad_Name', '--no-wait'], 2, /Bad_Name/],
    [['migrations', 'nothing'], 1, /"nothing" not found/],
    [['migrations', '--context', 'other'], 1, /no such context\. It has serval/],
    [['migrations', '--kubeconfig', '/nowhere'], 2, /can not be read/],
    [['flows', '--pod', 'a', '--node', 'b'], 2, /a pod or a node/],
    [['bogus'], 2, /unknown command/],
  ])('%j ends with %d and says why', async (words, code, why) => {
    expect(await run(...words)).toMatchObject({ code, out: '', err: expect.stringMatching(why) });
  });

  it('ends with 3 where nobody answers', async () => {
    const [port = 0] = await freePorts(1);
    const server = `https://${loopback}:${port}`;
    const gone = plane.kubeconfigFile({ ...plane.admin(), server });
    expect(await cli.run(['status'], gone)).toMatchObject({
      code: 3,
      err: expect.stringMatching(/API server at https:.* \(context serval\): .*ECONNREFUSED/),
    });
  });
});
