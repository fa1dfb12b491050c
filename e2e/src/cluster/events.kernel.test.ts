/** Events in a real API server, and as kubectl finds them. */
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { Events, KubeClient, type Occurrence } from '@serval/kube-runtime/kubernetes';
import { requireRoot } from '../lab/processes.js';
import { askKube, ControlPlane, type KubeUser } from './index.js';

/* Works on the real kernel. Without root the first hook fails and says what to do. */
beforeAll(() => requireRoot());
jest.setTimeout(120_000);

interface Told {
  metadata: { name: string; namespace: string };
  type: string;
  reason: string;
  action: string;
  message: string;
  series?: { count: number; lastObservedTime: string };
  reportingComponent: string;
  reportingInstance: string;
}

describe('events', () => {
  let plane: ControlPlane;
  let admin: KubeUser;
  const clients: KubeClient[] = [];
  const errors: unknown[] = [];

  beforeAll(async () => {
    plane = await ControlPlane.start({ controllerManager: false, progress: console.log });
    admin = plane.admin();
  });
  afterAll(async () => {
    for (const client of clients) await client.close();
    await plane?.stop();
  });

  const eventsOf = (user: KubeUser): Events => {
    const client = KubeClient.load('serval-test', plane.kubeconfigFile(user));
    clients.push(client);
    const reporter = { controller: 'serval.io/operator', instance: 'operator-1' };
    return new Events({ client, reporter, onError: (error) => errors.push(error) });
  };
  const about = (name: string, more: Partial<Occurrence> = {}): Occurrence => ({
    object: {
      apiVersion: 'serval.io/v1alpha1',
      kind: 'ServalMigration',
      name,
      namespace: 'default',
      uid: `uid-of-${name}`,
    },
    type: 'Warning',
    reason: 'Lost',
    message: 'three packets are lost',
    action: 'Move',
    ...more,
  });
  /** As `kubectl describe` asks. */
  const listed = async (name: string): Promise<Told[]> => {
    const selector = `involvedObject.name=${name},involvedObject.uid=uid-of-${name}`;
    const path = `/api/v1/namespaces/default/events?fieldSelector=${encodeURIComponent(selector)}`;
    return (await askKube<{ items: Told[] }>(admin, 'GET', path)).items;
  };

  it('are listed for their object; the same again is a series with a count', async () => {
    const events = eventsOf(admin);
    events.record(about('one'));
    await events.flush();
    const [first, ...none] = await listed('one');
    expect(none).toEqual([]);
    expect(first).toMatchObject({
      metadata: { namespace: 'default', name: expect.stringMatching(/^one\.[0-9a-f]{16}$/) },
      type: 'Warning',
      reason: 'Lost',
      action: 'Move',
      message: 'three packets are lost',
      reportingComponent: 'serval.io/operator',
      reportingInstance: 'operator-1',
    });
    expect(first).not.toHaveProperty('series');
    for (let i = 0; i < 3; i++) {
      events.record(about('one'));
      await events.flush();
    }
    events.record(about('one', { message: 'another' }));
    await events.flush();
    const later = await listed('one');
    expect(later.map(({ message, series }) => [message, series?.count]).sort()).toEqual([
      ['another', undefined],
      ['three packets are lost', 4],
    ]);
    expect(later.find(({ series }) => series)?.metadata.name).toBe(first?.metadata.name);
    expect(errors).toEqual([]);
  });

  it('are taken as long as they may be, of what is in no namespace, and again after they are gone', async () => {
    const events = eventsOf(admin);
    const { namespace, ...object } = about('two').object;
    expect(namespace).toBe('default');
    const long = about('two', { object, message: 'é'.repeat(2_000) });
    events.record(long);
    events.record(long);
    await events.flush();
    const [told] = await listed('two');
    expect(told?.message).toBe(`${'é'.repeat(510)}…`);
    expect(told?.series?.count).toBe(2);
    await askKube(admin, 'DELETE', `/api/v1/namespaces/default/events/${told?.metadata.name}`);
    events.record(long);
    await events.flush();
    expect((await listed('two')).map(({ series }) => series?.count)).toEqual([3]);
    expect(errors).toEqual([]);
  });

  it('cost only a count where they are not allowed', async () => {
    const events = eventsOf(await plane.issueUser('nobody'));
    events.record(about('three'));
    await events.close();
    expect(events.figures).toEqual({ written: 0, dropped: 0, failed: 1 });
    expect(errors).toEqual([expect.objectContaining({ code: 'ERR_NO_PERMISSION' })]);
    expect(await listed('three')).toEqual([]);
  });

  it('come although the API server was gone for a moment', async () => {
    const events = eventsOf(admin);
    await plane.stopApiServer();
    events.record(about('four'));
    await events.flush(500);
    expect(events.figures).toEqual({ written: 0, dropped: 0, failed: 0 });
    await plane.startApiServer();
    await events.flush(60_000);
    expect(await listed('four')).toHaveLength(1);
    await events.close();
  });
});
