/** Bad input and bad surroundings: a typed error that names the thing and the remedy, and nothing half applied. */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { ServalError } from '@serval/api';
import { native } from '../native.js';
import { salConfig } from './abi.generated.js';
import { KernelFixture } from './ebpf.fixture.js';
import { defaultObjectPath, EbpfDatapath } from './ebpf.js';
import type { FlowRule } from './types.js';

const rule: FlowRule = {
  flowId: 1n,
  migration: 1n,
  protocol: 'tcp',
  identity: { local: { address: '10.0.0.1', port: 1 }, remote: { address: '10.0.0.2', port: 2 } },
  wire: { local: { address: '10.0.0.1', port: 1 }, remote: { address: '10.0.0.3', port: 2 } },
  state: 'active',
};

async function failureOf(work: Promise<unknown>): Promise<ServalError> {
  try {
    await work;
  } catch (error) {
    return error as ServalError;
  }
  throw new Error('it did not fail');
}

describe('the eBPF data plane refuses', () => {
  let fixture: KernelFixture;

  beforeEach(() => {
    fixture = new KernelFixture('errors', 1);
  });
  afterEach(() => fixture.dispose());

  const pinned = (): string[] => {
    const folder = join(fixture.bpffs, 'serval/maps');
    return existsSync(folder) ? readdirSync(folder) : [];
  };

  it.each([
    ['a truncated object', (whole: Buffer) => whole.subarray(0, 5000)],
    ['an object that is none', () => Buffer.from('not an object')],
  ])('%s, and pins nothing', async (_, mangle) => {
    const objectPath = `${fixture.bpffs}.o`;
    writeFileSync(objectPath, mangle(readFileSync(defaultObjectPath)));
    try {
      const failure = await failureOf(EbpfDatapath.open({ bpffs: fixture.bpffs, objectPath }));
      expect(failure).toMatchObject({ name: 'ServalError', code: 'ERR_BAD_OBJECT', subject: objectPath });
      expect(failure.remedy).toContain('npm run bootstrap');
      expect(pinned()).toEqual([]);
    } finally {
      execFileSync('rm', [objectPath]);
    }
  });

  it('an object that is not there', async () => {
    const failure = await failureOf(EbpfDatapath.open({ bpffs: fixture.bpffs, objectPath: '/nowhere.o' }));
    expect(failure).toMatchObject({ code: 'ERR_BAD_OBJECT', subject: '/nowhere.o' });
  });

  it('a process without the right', () => {
    const script = `import('${new URL('../../dist/datapath/ebpf.js', import.meta.url).href}').then(({ EbpfDatapath }) =>
      EbpfDatapath.open({ bpffs: '${fixture.bpffs}' })).catch((error) => console.log(error.code, '|', error.remedy))`;
    const args = ['--bounding-set=-all', '--inh-caps=-all', process.execPath, '-e', script];
    const { stdout, stderr } = spawnSync('setpriv', args, {
      encoding: 'utf8',
      env: { ...process.env, NODE_OPTIONS: '' },
    });
    expect(`${stdout}${stderr}`).toMatch(/^ERR_NO_PERMISSION \| Run as root/);
    expect(pinned()).toEqual([]);
  });

  it('a second writer', async () => {
    const datapath = await EbpfDatapath.open({ bpffs: fixture.bpffs, slots: 64 });
    const failure = await failureOf(EbpfDatapath.open({ bpffs: fixture.bpffs, slots: 64 }));
    expect(failure).toMatchObject({ code: 'ERR_CONFLICT', subject: fixture.bpffs });
    await datapath.uninstall();
  });

  it('pinned maps of another version, and leaves them alone', async () => {
    await (await EbpfDatapath.open({ bpffs: fixture.bpffs, slots: 64 })).close();
    const path = join(fixture.bpffs, 'serval/maps/sal_config_map');
    const map = native().openPinnedMap(path);
    const value = map.lookup(Buffer.alloc(4)) as Buffer;
    value.writeUInt32LE(999, salConfig.offset.abiVersion);
    map.update(Buffer.alloc(4), value);
    map.close();
    const failure = await failureOf(EbpfDatapath.open({ bpffs: fixture.bpffs, slots: 64 }));
    expect(failure).toMatchObject({ code: 'ERR_STATE_MISMATCH' });
    expect(failure.message).toContain('999');
    expect(pinned()).toContain('sal_config_map');
  });

  it.each([0, 17, 1 << 21])('%d slots', async (slots) => {
    expect(await failureOf(EbpfDatapath.open({ bpffs: fixture.bpffs, slots }))).toMatchObject({
      code: 'ERR_BAD_INPUT',
    });
    expect(pinned()).toEqual([]);
  });

  it('a pod whose device went away, and forgets the attempt', async () => {
    const datapath = await EbpfDatapath.open({ bpffs: fixture.bpffs, slots: 64 });
    const pod = fixture.pod(0);
    await datapath.addPod(pod);
    execFileSync('nsenter', [`--net=${pod.netns}`, 'ip', 'link', 'delete', 'eth0']);
    const failure = await failureOf(datapath.apply(pod.name, [rule]));
    expect(failure).toMatchObject({ code: 'ERR_NOT_FOUND' });
    expect(failure.subject).toContain(pod.name);
    expect(await datapath.pods()).toMatchObject([{ attached: false, flows: 0 }]);
    expect(readdirSync(join(fixture.bpffs, 'serval/pods'))).toEqual([]);
    await datapath.uninstall();
  });

  it('a pod whose namespace went away; what it had is taken away all the same', async () => {
    const datapath = await EbpfDatapath.open({ bpffs: fixture.bpffs, slots: 64 });
    const pod = fixture.pod(0);
    await datapath.addPod(pod);
    await datapath.apply(pod.name, [rule]);
    fixture.endPod(0);
    await datapath.removePod(pod.name);
    expect(await datapath.pods()).toEqual([]);
    expect(await failureOf(datapath.addPod(pod))).toMatchObject({ code: 'ERR_NETNS_GONE' });
    await datapath.close();
    // And where the agent was down meanwhile.
    const next = await EbpfDatapath.open({ bpffs: fixture.bpffs });
    expect(await next.pods()).toEqual([]);
    await next.uninstall();
  });
});
