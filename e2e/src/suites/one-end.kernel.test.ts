import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { requireRoot } from '../lab/processes.js';
import { MovedWorld, type MovedPair, type PairFlow } from './moved-pair.js';
import type { SocketOption } from './sockets.js';

/*
 * Each end's translation on its own. Where both ends translate, a checksum that both forget to mend comes out right;
 * here one end translates, and an ordinary stack at the other judges every packet as the wire has it, and sends its own.
 */
beforeAll(() => requireRoot());
jest.setTimeout(30_000);

const megabyte = 1_000_000;
const ways = [
  { way: 'by TCX with direct writes', options: {} },
  { way: 'by clsact with helpers', options: { attach: 'clsact', kernelContext: false } },
] as const;
/** SO_NO_CHECK; for IPv6 UDP_NO_CHECK6_TX and _RX */
const withoutChecksum: Record<4 | 6, SocketOption[]> = {
  4: [[1, 11, 1]],
  6: [
    [17, 101, 1],
    [17, 102, 1],
  ],
};

let port = 25_000;

describe.each(ways)('translation at one end, $way', ({ options }) => {
  let world: MovedWorld;
  let pair: MovedPair;

  beforeAll(async () => {
    world = await MovedWorld.build(options);
    pair = await world.pair();
    await pair.turnOffOffloads(); // else nobody ever completes a checksum, and nobody verifies it
  });
  afterAll(() => world?.remove());

  describe.each(['client', 'server'] as const)('the %s', (at) => {
    describe.each([4, 6] as const)('over IPv%i', (family) => {
      const newFlow = (protocol: 'tcp' | 'udp'): PairFlow => {
        return { protocol, family, clientPort: ++port, serverPort: ++port, wireServerPort: ++port };
      };

      it('understands and is understood: TCP', async () => {
        const flow = newFlow('tcp');
        await pair.translate(flow, at);
        const { client, server } = await pair.connect(flow, at);
        expect(await pair.exchange(client.handle, server.handle, 2 * megabyte)).toEqual({
          intact: true,
          bytes: 2 * megabyte,
        });
      });

      it.each([
        { what: 'UDP', sockets: [] },
        { what: 'UDP without checksums', sockets: withoutChecksum[family] },
      ])('understands and is understood: $what, whole and in fragments', async ({ sockets }) => {
        const flow = newFlow('udp');
        await pair.translate(flow, at);
        const { client, server } = await pair.datagrams(flow, sockets, at);
        for (const size of [0, 1, 101, 1_400, 8_001])
          expect(await pair.roundTrip(client, server, size)).toEqual({ there: true, back: true });
      });

      it('hears of the closed port of the other, and tells of its own', async () => {
        const flow = newFlow('udp');
        await pair.translate(flow, at);
        const ends = pair.socketsOf(flow, at);
        for (const [sockets, own] of [
          [pair.atClient, ends.client],
          [pair.atServer, ends.server],
        ] as const) {
          const { handle } = await sockets.do('open', { kind: 'udp', family, ...own });
          await sockets.do('send', { handle, seed: 1, size: 100 });
          await expect(sockets.do('receive', { handle })).rejects.toMatchObject({ code: 'ECONNREFUSED' });
          await sockets.do('close', { handle });
        }
      });
    });
  });
});
