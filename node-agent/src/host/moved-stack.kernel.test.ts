import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { must, TestFabric, type TestPod } from '../movers/pods.fixture.js';
import { prepareStack, restoreStack } from './moved-stack.js';

// The machine may be busy; alone each of these takes below one second.
jest.setTimeout(60_000);

/** Answers every TCP connection and datagram at port 7000 with its own name and the peer that it sees. */
const server = `
import socket, sys, threading
name, family = sys.argv[1], socket.AF_INET6 if ":" in sys.argv[2] else socket.AF_INET
tcp = socket.socket(family); tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
tcp.bind(("::" if family == socket.AF_INET6 else "", 7000)); tcp.listen()
udp = socket.socket(family, socket.SOCK_DGRAM); udp.bind(("::" if family == socket.AF_INET6 else "", 7000))
def datagrams():
    while True:
        _, peer = udp.recvfrom(100); print("datagram from " + peer[0])
threading.Thread(target=datagrams, daemon=True).start()
print("ready")
while True:
    c, peer = tcp.accept(); c.sendall(("%s sees %s" % (name, peer[0])).encode()); c.close()
`;

/** One command for each line: [connect|send] LOCAL|- REMOTE; says what came back. */
const caller = `
import socket, sys
print("ready")
for line in sys.stdin:
    kind, local, remote = line.split()
    s = socket.socket(socket.AF_INET6 if ":" in remote else socket.AF_INET, socket.SOCK_STREAM if kind == "connect" else socket.SOCK_DGRAM)
    s.settimeout(2)
    try:
        if local != "-": s.bind((local, 0))
        if kind == "connect":
            s.connect((remote, 7000)); print(s.recv(100).decode() + ", from " + s.getsockname()[0])
        else:
            s.sendto(b"x", (remote, 7000)); print("sent")
    except OSError as error:
        print("error", error)
    s.close()
`;

/** Says the sender's address of each ARP request on eth0. */
const arpSniffer = `
import socket
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0806)); s.bind(("eth0", 0))
print("ready")
while True:
    frame = s.recv(100)
    if frame[20:22] == b"\\0\\1": print("%s asks for %s" % (socket.inet_ntoa(frame[28:32]), socket.inet_ntoa(frame[38:42])))
`;

describe.each([
  { family: '-4', OLD: '10.77.0.10', OLDER: '10.77.0.9', NEW: '10.77.0.20', PEER: '10.77.0.1' },
  { family: '-6', OLD: 'fd77::10', OLDER: 'fd77::9', NEW: 'fd77::20', PEER: 'fd77::1' },
] as const)("a moved pod's own stack ($family)", ({ family, OLD, OLDER, NEW, PEER }) => {
  let fabric: TestFabric;
  let moved: TestPod;
  let owner: TestPod;
  let peer: TestPod;

  beforeEach(async () => {
    fabric = await TestFabric.create();
    // OLD's new owner is on the moved pod's own segment: the hardest case, where both could answer for it.
    [moved, owner, peer] = [
      await fabric.pod('moved', NEW),
      await fabric.pod('owner', OLD),
      await fabric.pod('peer', PEER),
    ];
    for (const pod of [moved, owner, peer]) await fabric.attach(pod);
  });

  afterEach(async () => fabric.close());

  const netns = (pod: TestPod) => `/proc/${pod.pausePid}/ns/net`;
  const ip = (pod: TestPod, ...args: string[]) =>
    must('nsenter', `--net=${netns(pod)}`, 'ip', family, ...args);
  const ready = async (pod: TestPod, script: string, ...args: string[]) => {
    const talker = fabric.python(pod, script, ...args);
    expect(await talker.hear()).toBe('ready');
    return talker;
  };

  it("reaches OLD's new owner with a new socket, which bears NEW", async () => {
    await prepareStack(netns(moved), [OLD]);
    await ready(owner, server, 'owner', OLD);
    await ready(moved, server, 'moved', NEW);
    const call = await ready(moved, caller);
    expect(await call.ask(`connect - ${OLD}`)).toBe(`owner sees ${NEW}, from ${NEW}`);
    expect(await call.ask(`connect ${NEW} ${OLD}`)).toBe(`owner sees ${NEW}, from ${NEW}`);
  });

  it("is reached by OLD's new owner, whose packets bear an address that is local here", async () => {
    await prepareStack(netns(moved), [OLD]);
    await ready(moved, server, 'moved', NEW);
    const call = await ready(owner, caller);
    expect(await call.ask(`connect - ${NEW}`)).toBe(`moved sees ${OLD}, from ${OLD}`);
  });

  it('sends with source OLD from a socket that is bound to OLD, through eth0', async () => {
    await prepareStack(netns(moved), [OLD]);
    const listener = await ready(peer, server, 'peer', PEER);
    const call = await ready(moved, caller);
    expect(await call.ask(`send ${OLD} ${PEER}`)).toBe('sent');
    expect(await listener.hear()).toBe(`datagram from ${OLD}`);
    expect(await call.ask(`send - ${PEER}`)).toBe('sent');
    expect(await listener.hear()).toBe(`datagram from ${NEW}`);
  });

  it('keeps a connection of the workload with itself inside', async () => {
    await prepareStack(netns(moved), [OLD]);
    await ready(moved, server, 'moved', NEW);
    await ready(owner, server, 'owner', OLD);
    const call = await ready(moved, caller);
    expect(await call.ask(`connect ${OLD} ${OLD}`)).toBe(`moved sees ${OLD}, from ${OLD}`);
  });

  it('never answers for OLD on the wire, even where its new owner is silent', async () => {
    await prepareStack(netns(moved), [OLD]);
    await ready(moved, server, 'moved', NEW);
    await fabric.detach(owner);
    const call = await ready(peer, caller);
    expect(await call.ask(`connect - ${OLD}`)).toMatch(/^error/);
    expect(await ip(peer, 'neigh', 'show', OLD)).not.toContain('lladdr');
  });

  it('takes a second old address for the next hop, and gives each back alone', async () => {
    const before = await ip(moved, 'rule', 'show');
    const addresses = await ip(moved, '-brief', 'addr', 'show', 'dev', 'lo');
    await prepareStack(netns(moved), [OLD]);
    const one = await ip(moved, 'rule', 'show');
    await prepareStack(netns(moved), [OLD]);
    expect(await ip(moved, 'rule', 'show')).toBe(one);
    await prepareStack(netns(moved), [OLD, OLDER]);
    await prepareStack(netns(moved), [OLDER]);
    expect((await ip(moved, 'rule', 'show')).match(/iif lo lookup main/g)).toHaveLength(2);

    await restoreStack(netns(moved), OLDER);
    await restoreStack(netns(moved), OLDER);
    expect(await ip(moved, 'rule', 'show')).toBe(one);
    await restoreStack(netns(moved), OLD);
    await restoreStack(netns(moved), OLD);
    expect(await ip(moved, 'rule', 'show')).toBe(before);
    expect(await ip(moved, '-brief', 'addr', 'show', 'dev', 'lo')).toBe(addresses);
  });

  it('says what is wrong with a namespace that is gone', async () => {
    await expect(prepareStack('/proc/2147483647/ns/net', [OLD])).rejects.toMatchObject({
      code: 'ERR_NETNS_GONE',
    });
    await expect(restoreStack('/proc/2147483647/ns/net', OLD)).rejects.toMatchObject({
      code: 'ERR_NETNS_GONE',
    });
  });

  if (family === '-4') {
    it('asks by ARP in the name of NEW, though the packet bears OLD', async () => {
      await prepareStack(netns(moved), [OLD]);
      const heard = await ready(peer, arpSniffer);
      const call = await ready(moved, caller);
      await call.ask(`send ${OLD} ${PEER}`);
      expect(await heard.hear()).toBe(`${NEW} asks for ${PEER}`);
    });
  }
});
