/** The examples of the docs, word for word, on a real API server. */
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { readdirSync, readFileSync } from 'node:fs';
import { KubeClient } from '@serval/kube-runtime/kubernetes';
import { parse } from 'yaml';
import { requireRoot } from '../lab/processes.js';
import { ControlPlane } from './control-plane.js';
import { installCrds } from './crds.js';
import { kindsOf, pathOf, type Thing } from './kinds.js';

beforeAll(() => requireRoot());
jest.setTimeout(60_000);

const folder = new URL('../../../docs/examples/', import.meta.url);

describe('the examples of the docs', () => {
  let plane: ControlPlane;
  let client: KubeClient;

  beforeAll(async () => {
    plane = await ControlPlane.start({ progress: console.log });
    client = KubeClient.load('serval-test', plane.kubeconfigFile(plane.admin()));
    await installCrds(client);
  });
  afterAll(async () => {
    await client?.close();
    await plane?.stop();
  });

  it.each(readdirSync(folder))('%s is taken as it is', async (file) => {
    const thing = parse(readFileSync(new URL(file, folder), 'utf8')) as Thing;
    const answer = await client.request<Thing>({
      method: 'PATCH',
      path: pathOf(await kindsOf(client), thing, 'default'),
      query: { fieldManager: 'test', dryRun: 'All', fieldValidation: 'Strict' },
      contentType: 'application/apply-patch+yaml',
      body: thing,
    });
    expect(answer.metadata.name).toBe(thing.metadata.name);
  });
});
