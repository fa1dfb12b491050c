/** What is wrong with services in a directory is said, and everybody else is served; and what is merely large is served. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { discoveryVersion, serviceNameLabel, type ServalServiceSpec } from '@serval/api';
import { DirectoryStore } from '@serval/kube-runtime';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { EbpfDatapath } from '../../datapath/ebpf.js';
import { salEndpoint, salReplica, salService, salServiceFlag } from '../../datapath/abi.generated.js';
import { readEndpoint } from '../../datapath/services/encode.js';
import type { EbpfServices, ServiceRule } from '../../datapath/services/index.js';
import { native, type BpfMap } from '../../native.js';
import { ServiceFixture, type Talk } from '../../datapath/services/services.fixture.js';
import { ServiceController } from './controller.js';

const [r0, r1] = ['10.99.0.1', '10.99.0.2'] as const;

describe('bad input', () => {
  let fixture: ServiceFixture;
  let datapath: EbpfDatapath;
  let services: EbpfServices;
  let controller: ServiceController;
  let store: DirectoryStore;
  let directory: string;
  let talk: Talk;
  let cookie: bigint;
  let errors: unknown[];
  /** what the store could not use: file, field, reason */
  let refused: string[];

  beforeAll(async () => {
    fixture = new ServiceFixture('bad-input');
    await fixture.serve('r0', 8080, r0);
    await fixture.serve('r1', 8080, r1);
    // All the rest of 10.99.0.0/16, at these ports.
    await fixture.serve('many', 9000, '0.0.0.0');
    await fixture.serve('many', 9001, '0.0.0.0');
    // Where nobody serves yet a connect() fails at once.
    execFileSync('ip', ['-n', fixture.near, 'route', 'add', 'unreachable', '10.200.0.0/16']);
    talk = await fixture.talk();
    cookie = await fixture.cookie(fixture.near);
  }, 30_000);

  afterAll(() => fixture?.dispose());

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'serval-bad-input-'));
    [errors, refused] = [[], []];
  });

  /** With the room that an agent has by default, unless told otherwise. */
  const start = async (room: { choices?: number; replicas?: number } = {}): Promise<void> => {
    const byDefault = { choices: 1 << 22, replicas: 1 << 19 };
    datapath = await EbpfDatapath.open({ bpffs: fixture.bpffs, slots: 1024, ...byDefault, ...room });
    services = await datapath.openServices();
    services.setClients([{ cookie, number: 7 }]);
    store = await DirectoryStore.open({
      directory,
      onProblem: ({ file, field = '', reason }) =>
        refused.push(`${file.replace(/.*\//, '')} ${field}: ${reason}`),
    });
    controller = new ServiceController({
      node: 'here',
      store,
      services,
      measured: () => undefined,
      moved: () => undefined,
      ownClient: () => undefined,
      onError: (error) => errors.push(error),
    });
    await controller.start();
  };

  afterEach(async () => {
    await controller.stop();
    await store.close();
    services.close();
    await datapath.uninstall();
    rmSync(directory, { recursive: true });
  });

  const write = (file: string, object: object): void => {
    writeFileSync(join(directory, `${file}.new`), JSON.stringify(object));
    renameSync(join(directory, `${file}.new`), join(directory, `${file}.yaml`));
  };
  const remove = (file: string): void => rmSync(join(directory, `${file}.yaml`));

  const service = (name: string, virtualIP: string, more: object = {}, metadata: object = {}): void => {
    const spec: ServalServiceSpec = { virtualIPs: [virtualIP], ports: [{ port: 80 }] };
    write(`service-${name}`, {
      apiVersion: 'serval.io/v1alpha1',
      kind: 'ServalService',
      metadata: { name, namespace: 'shop', ...metadata },
      spec: { ...spec, ...more },
    });
  };

  const slice = (
    owner: string,
    addresses: readonly string[],
    { port = 8080, number = 0, namespace = 'shop' } = {},
  ): void =>
    write(`slice-${owner}-${number}`, {
      apiVersion: discoveryVersion,
      kind: 'EndpointSlice',
      metadata: { name: `${owner}-${number}`, namespace, labels: { [serviceNameLabel]: owner } },
      addressType: 'IPv4',
      endpoints: addresses.map((address) => ({ addresses: [address] })),
      ports: [{ port }],
    });

  /** Resolves when this is who answers. */
  const answers = async (virtualIP: string, who: string): Promise<void> => {
    let met: unknown;
    for (const end = performance.now() + 5_000; performance.now() < end; await delay(10)) {
      met = await talk.ask('tcp', virtualIP, 80);
      if ((met as { who?: string }).who === who) return;
    }
    throw new Error(`not ${who} at ${virtualIP}: ${JSON.stringify(met)}`);
  };

  const problems = (name: string): string[] =>
    controller.state(`shop/${name}`)?.problems.map(({ subject, reason }) => `${subject}: ${reason}`) ?? [];

  it('that no schema lets through is said by its file, and others are served, before and after', async () => {
    service('good', '10.200.0.1');
    slice('good', [r0]);
    service('no-ports', '10.200.0.2', { ports: [] });
    service('range', '10.200.0.3', { ports: [{ port: '8000-8010' }] });
    service('x'.repeat(64), '10.200.0.4');
    service('nobody', '0.0.0.0');
    writeFileSync(join(directory, 'half.yaml'), '{"apiVersion": "serval.io/v1alpha1", "kind": "Serv');
    await start();
    await answers('10.200.0.1', 'r0');
    const said = [
      ['service-no-ports.yaml', /spec.ports: .*without ports/],
      ['service-range.yaml', /spec.ports\[0\].port: .*range/],
      [`service-${'x'.repeat(64)}.yaml`, /metadata.name: .*64 characters/],
      ['service-nobody.yaml', /spec.virtualIPs\[0\]: .*unspecified/],
      ['half.yaml', /./],
    ] as const;
    expect(refused.map((line) => line.replace(/ .*/s, '')).sort()).toEqual(said.map(([file]) => file).sort());
    for (const [file, reason] of said)
      expect(refused).toContainEqual(
        expect.stringMatching(new RegExp(`^${file.replace('.', '\\.')} ${reason.source}`)),
      );
    // What was good and becomes bad goes on as it was.
    service('good', '10.200.0.1', { ports: [{ port: '80-90' }] });
    service('later', '10.200.0.5');
    slice('later', [r1]);
    await answers('10.200.0.5', 'r1');
    await answers('10.200.0.1', 'r0');
    expect(refused.at(-1)).toMatch(/^service-good.yaml spec.ports\[0\].port: .*range/);
    service('no-ports', '10.200.0.2');
    slice('no-ports', [r1]);
    await answers('10.200.0.2', 'r1');
    expect(errors).toEqual([]);
  }, 30_000);

  it('such as names that are as long as they may be is served', async () => {
    const [name, namespace, port] = ['n', 'm', 'p'].map((letter) => letter.repeat(63)) as [
      string,
      string,
      string,
    ];
    service(name, '10.200.0.1', { ports: [{ name: port, port: 80 }] }, { namespace });
    write('slice', {
      apiVersion: discoveryVersion,
      kind: 'EndpointSlice',
      metadata: {
        name: `${'s'.repeat(63)}.${'s'.repeat(63)}`,
        namespace,
        labels: { [serviceNameLabel]: name },
      },
      addressType: 'IPv4',
      endpoints: [{ addresses: [r0] }],
      ports: [{ name: port, port: 8080 }],
    });
    await start();
    await answers('10.200.0.1', 'r0');
    expect(refused).toEqual([]);
    expect(controller.state(`${namespace}/${name}`)?.problems).toEqual([]);
  });

  it('of two at one virtual IP the older is served, the other one when it has gone', async () => {
    service('a', '10.200.0.1', {}, { creationTimestamp: '2026-02-01T00:00:00Z' });
    slice('a', [r0]);
    service('z', '10.200.0.1', {}, { creationTimestamp: '2026-01-01T00:00:00Z' });
    slice('z', [r1]);
    await start();
    await answers('10.200.0.1', 'r1');
    expect(problems('z')).toEqual([]);
    expect(problems('a')).toEqual([
      'service shop/a: 10.200.0.1:80/TCP belongs to service shop/z, which is older',
    ]);
    remove('service-z');
    await answers('10.200.0.1', 'r0');
    expect(problems('a')).toEqual([]);
    // Back again: the older has it.
    service('z', '10.200.0.1', {}, { creationTimestamp: '2026-01-01T00:00:00Z' });
    await answers('10.200.0.1', 'r1');
    // It takes another address: each has its own.
    service('z', '10.200.0.2', {}, { creationTimestamp: '2026-01-01T00:00:00Z' });
    await answers('10.200.0.2', 'r1');
    await answers('10.200.0.1', 'r0');
    expect(errors).toEqual([]);
  }, 30_000);

  it("a virtual IP that is a replica's own address is left to it, until it is none any more", async () => {
    service('own', r0);
    slice('own', [r1]);
    service('other', '10.200.0.2');
    slice('other', [r0]);
    await start();
    await answers('10.200.0.2', 'r0');
    const at8080 = await talk.ask('tcp', r0, 8080);
    expect(at8080).toMatchObject({ who: 'r0', peer: [r0, 8080] });
    expect(await talk.ask('tcp', r0, 80)).toMatchObject({ error: 'ECONNREFUSED' });
    expect(problems('own')).toEqual([`service shop/own: its virtual IP ${r0} is a replica's own address`]);
    slice('other', [r1]);
    await answers('10.200.0.2', 'r1');
    await answers(r0, 'r1');
    expect(problems('own')).toEqual([]);
    slice('other', [r0]);
    await answers('10.200.0.2', 'r0');
    expect(await talk.ask('tcp', r0, 80)).toMatchObject({ error: 'ECONNREFUSED' });
  }, 30_000);

  it('such as one service with 100,000 endpoints is served, and one of them changes', async () => {
    const perSlice = 1000;
    const addresses = (number: number): string[] =>
      Array.from({ length: perSlice }, (_, i) => {
        const at = 256 * 8 + (number % 50) * perSlice + i;
        return `10.99.${at >> 8}.${at & 255}`;
      });
    const portOf = (number: number): number => (number < 50 ? 9000 : 9001);
    service('many', '10.200.0.1', { locality: 'Ignore' });
    service('small', '10.200.0.2');
    slice('small', [r0]);
    await start();
    await answers('10.200.0.2', 'r0');
    const began = performance.now();
    for (let number = 0; number < 100; number++)
      slice('many', addresses(number), { number, port: portOf(number) });
    // As they are kept: what the plan says of each is made when it is asked, and would be 100,000 times each time.
    const planned = () => controller.state('shop/many')?.ports[0]?.port.replicas ?? [];
    const holds = async (what: () => boolean): Promise<number> => {
      for (const end = performance.now() + 40_000; performance.now() < end; await delay(10))
        if (what()) return performance.now();
      throw new Error(`waited in vain with ${planned().length} replicas`);
    };
    const has = (): boolean =>
      services.table.has(controller.state('shop/many')?.ports[0]?.rules[0] as ServiceRule);
    const whole = (await holds(() => planned().length === 100_000 && has())) - began;
    // Another service is not kept waiting, and is what it was.
    await answers('10.200.0.2', 'r0');
    const sources = inKernel('10.200.0.1');
    expect(sources.size).toBe(100_000);
    expect(sources).toContain('10.99.8.0 9000');
    for (let i = 0; i < 50; i++)
      expect(await talk.ask('tcp', '10.200.0.1', 80)).toMatchObject({
        who: 'many',
        peer: ['10.200.0.1', 80],
      });
    const times: number[] = [];
    for (let change = 0; change < 2; change++) {
      const told = performance.now();
      slice('many', [`10.99.7.${change}`, ...addresses(3).slice(1)], { number: 3, port: 9000 });
      const at = await holds(() => planned().some(({ address }) => address === `10.99.7.${change}`) && has());
      times.push(Math.round(at - told));
      const now = inKernel('10.200.0.1');
      expect(now.size).toBe(100_000);
      expect(now).toContain(`10.99.7.${change} 9000`);
      expect(now).not.toContain(`10.99.7.${change - 1} 9000`);
    }
    process.stderr.write(
      `100,000 endpoints: ${Math.round(whole)} ms, one change: ${times.map(Math.round).join(', ')} ms\n`,
    );
    expect([errors, refused]).toEqual([[], []]);
  }, 120_000);

  /** Address and port of whom a service's choices lead to, as a reader in the kernel finds them. */
  const inKernel = (virtualIP: string): Set<string> => {
    const open = (name: string) => native().openPinnedMap(join(fixture.bpffs, 'serval/maps', name));
    const [table, choices, replicas] = ['sal_services', 'sal_choices', 'sal_replicas'].map(open) as [
      BpfMap,
      BpfMap,
      BpfMap,
    ];
    try {
      const { count, keys, values } = table.entries();
      const found = Array.from({ length: count }, (_, i) => i).find(
        (i) => readEndpoint(keys, i * salEndpoint.size).address === virtualIP,
      );
      const value = salService.read(values, (found ?? NaN) * salService.size);
      const [numbers, ends] = [choices.mapped(), replicas.mapped()];
      const met = new Set<string>();
      for (let i = 0; i < value.size; i++) {
        const isEven = (value.flags & salServiceFlag.EVEN) !== 0;
        const number = isEven ? i : numbers.readUInt32LE((value.choices + i) * 4);
        if (number >= value.count) throw new Error(`a choice of replica ${number} of ${value.count}`);
        const { address, port } = readEndpoint(ends, (value.replicas + number) * salReplica.size);
        met.add(`${address} ${port}`);
      }
      return met;
    } finally {
      for (const map of [table, choices, replicas]) map.close();
    }
  };
});
