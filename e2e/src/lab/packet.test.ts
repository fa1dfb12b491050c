import { describe, expect, it } from '@jest/globals';
import { parseFrame, tcpFlag } from './packet.js';

const hex = (text: string) => Buffer.from(text.replace(/[^0-9a-f]/g, ''), 'hex');
const macs = '0a580a010102 020000000001';
const tcp = '0fa0 0050 00000007 00000009 5018 0200 0000 0000'; // 4000 > 80, seq 7, ack 9, PSH ACK
const udp = '0fa0 12b5 000c 0000'; // 4000 > 4789, 4 bytes
const payload = '61626364';

interface Header4 {
  protocol: string;
  total?: string;
  fragment?: string;
  options?: string;
  words?: string;
}

/** Ethernet and IPv4 header from 10.1.1.2 to 10.2.1.2. */
function ipv4({ protocol, total = '002c', fragment = '4000', options = '', words = '5' }: Header4): string {
  return `${macs} 0800 4${words} 00 ${total} 0001 ${fragment} 40 ${protocol} 0000 0a010102 0a020102 ${options}`;
}

/** Ethernet and IPv6 header from fd00:1:1::2 to fd00:2:1::2. */
function ipv6(next: string, length = '0018'): string {
  const address = (site: string) => `fd00 000${site} 0001 0000 0000 0000 0000 0002`;
  return `${macs} 86dd 60000000 ${length} ${next} 40 ${address('1')} ${address('2')}`;
}

describe('parseFrame', () => {
  it('reads TCP over IPv4', () => {
    expect(parseFrame(hex(ipv4({ protocol: '06' }) + tcp + payload), 1000)).toEqual({
      length: 1000,
      etherType: 0x0800,
      vlans: [],
      source: '10.1.1.2',
      destination: '10.2.1.2',
      protocolNumber: 6,
      protocol: 'tcp',
      extensionHeaders: [],
      options: [],
      fragmentOffset: 0,
      sourcePort: 4000,
      destinationPort: 80,
      seq: 7,
      ack: 9,
      tcpFlags: tcpFlag.psh | tcpFlag.ack,
      payloadLength: 4,
    });
  });

  it('reads TCP over IPv6', () => {
    expect(parseFrame(hex(ipv6('06') + tcp + payload))).toMatchObject({
      source: 'fd00:1:1::2',
      destination: 'fd00:2:1::2',
      protocol: 'tcp',
      sourcePort: 4000,
      destinationPort: 80,
      seq: 7,
      payloadLength: 4,
    });
  });

  it('reads UDP and ICMP', () => {
    expect(parseFrame(hex(ipv4({ protocol: '11', total: '0020' }) + udp + payload))).toMatchObject({
      protocol: 'udp',
      destinationPort: 4789,
      payloadLength: 4,
    });
    expect(parseFrame(hex(ipv4({ protocol: '01' }) + '0301 0000'))).toMatchObject({
      protocol: 'icmp',
      icmpType: 3,
      icmpCode: 1,
    });
    expect(parseFrame(hex(ipv6('3a') + '8700 0000'))).toMatchObject({ protocol: 'icmp6', icmpType: 135 });
  });

  it('reads ARP', () => {
    const arp = `${macs} 0806 0001 0800 0604 0001 0a580a010102 0a010102 000000000000 0a010101`;
    expect(parseFrame(hex(arp))).toMatchObject({
      protocol: 'arp',
      source: '10.1.1.2',
      destination: '10.1.1.1',
    });
  });

  it('looks through VLAN tags and keeps them', () => {
    const tagged = ipv4({ protocol: '06' }).replace('0800', '88a8 0064 8100 2007 0800') + tcp;
    expect(parseFrame(hex(tagged))).toMatchObject({
      vlans: [100, 7],
      etherType: 0x0800,
      source: '10.1.1.2',
      destinationPort: 80,
    });
  });

  it('finds IPv4 options, but not router alert and padding', () => {
    const routed =
      ipv4({ protocol: '06', words: '7', total: '0034', options: '8307040a010101 00' }) + tcp + payload;
    expect(parseFrame(hex(routed))).toMatchObject({ options: [0x83], destinationPort: 80, payloadLength: 4 });
    const alert =
      ipv4({ protocol: '02', words: '7', options: '01 94040000 010100'.replace('010100', '0101 00') }) +
      '2200';
    expect(parseFrame(hex(alert))).toMatchObject({ options: [], protocol: 'igmp' });
  });

  it('follows IPv6 extension headers', () => {
    const home = '06 02 0102 0000 c910 fd00 0001 0001 0000 0000 0000 0000 0002'; // destination options: home address
    const withHome = ipv6('3c', '0030') + home + tcp + payload;
    expect(parseFrame(hex(withHome))).toMatchObject({
      extensionHeaders: [60],
      options: [0xc9],
      destinationPort: 80,
      payloadLength: 4,
    });
    const mld = ipv6('00') + '3a00 0502 0000 0100' + '8f00';
    expect(parseFrame(hex(mld))).toMatchObject({
      extensionHeaders: [0],
      options: [],
      protocol: 'icmp6',
      icmpType: 143,
    });
    const segments = ipv6('2b') + '06 02 04 00 00 00 0000' + '00'.repeat(16) + tcp;
    expect(parseFrame(hex(segments))).toMatchObject({
      extensionHeaders: [43],
      protocol: 'tcp',
      destinationPort: 80,
    });
  });

  it('reads no ports out of later fragments', () => {
    const later4 = parseFrame(hex(ipv4({ protocol: '11', fragment: '00b9' }) + 'ffffffffffffffff'));
    expect(later4).toMatchObject({ protocol: 'udp', fragmentOffset: 1480 });
    expect(later4).not.toHaveProperty('sourcePort');
    const later6 = parseFrame(hex(ipv6('2c') + '1100 05a9 00000001' + 'ffffffffffffffff'));
    expect(later6).toMatchObject({ protocol: 'udp', fragmentOffset: 1448, extensionHeaders: [44] });
    expect(later6).not.toHaveProperty('sourcePort');
  });

  it('takes the length from the frame when the packet was too large for its length field', () => {
    expect(parseFrame(hex(ipv4({ protocol: '06', total: '0000' }) + tcp), 70_054).payloadLength).toBe(70_000);
  });

  it.each([
    ['an empty frame', ''],
    ['an IPv4 header that was cut', ipv4({ protocol: '06' }).slice(0, 50)],
    ['a TCP header that was cut', ipv4({ protocol: '06' }) + tcp.slice(0, 12)],
    ['an extension header that was cut', ipv6('3c') + '0602'],
    ['a wrong version', ipv4({ protocol: '06' }).replace('0800 45', '0800 65') + tcp],
    ['a wrong header length', ipv4({ protocol: '06', words: '4' }) + tcp],
    ['a wrong version of IPv6', ipv6('06').replace('86dd 6', '86dd 4') + tcp],
  ])('says that it can not read %s', (_, text) => {
    expect(parseFrame(hex(text)).problem).toBeDefined();
  });
});
