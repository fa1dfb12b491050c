/**
 * Generate the TypeScript codec of the structs in serval_abi.h from the BTF of the compiled objects, so that no layout
 * is ever copied by hand. `--check` only compares, and fails where the committed file is stale.
 *
 * usage: generate-abi.mjs [--check] OBJECT... OUTPUT
 */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';

const check = process.argv.includes('--check');
const objects = process.argv.slice(2).filter((word) => word !== '--check');
const output = objects.pop();
if (objects.length === 0) {
  console.error('usage: generate-abi.mjs [--check] OBJECT... OUTPUT');
  process.exit(2);
}

/** Types by their numbers, of the object that is looked at. */
let types = new Map();

function typesOf(object) {
  const dump = execFileSync('bpftool', ['-j', 'btf', 'dump', 'file', object], { maxBuffer: 64 << 20 });
  return new Map(JSON.parse(dump.toString()).types.map((type) => [type.id, type]));
}

const camel = (name) => name.replace(/_([a-z0-9])/g, (_, letter) => letter.toUpperCase());
const pascal = (name) => camel(`_${name}`);
/** Not of the ABI: the programs' own working structs. */
const internal = new Set(['sal_packet', 'sal_parsed', 'sal_fragment_kind', 'sal_resolution']);

/** Strip typedefs and qualifiers; remember a __be typedef on the way. */
function resolve(id) {
  let bigEndian = false;
  for (let type = types.get(id); ; type = types.get(type.type_id)) {
    if (type.kind === 'TYPEDEF' && /^__be\d+$/.test(type.name)) bigEndian = true;
    if (!['TYPEDEF', 'CONST', 'VOLATILE'].includes(type.kind)) return { type, bigEndian };
  }
}

function sizeOf(id) {
  const { type } = resolve(id);
  return type.kind === 'ARRAY' ? type.nr_elems * sizeOf(type.type_id) : type.size;
}

/** How one integer is read and written: [TypeScript type, reader, writer]. */
function integer(size, bigEndian) {
  const end = bigEndian ? 'BE' : 'LE';
  if (size === 1)
    return ['number', (at) => `buffer.readUInt8(${at})`, (value, at) => `buffer.writeUInt8(${value}, ${at})`];
  if (size === 8)
    return [
      'bigint',
      (at) => `buffer.readBigUInt64${end}(${at})`,
      (value, at) => `buffer.writeBigUInt64${end}(${value}, ${at})`,
    ];
  const bits = size * 8;
  return [
    'number',
    (at) => `buffer.readUInt${bits}${end}(${at})`,
    (value, at) => `buffer.writeUInt${bits}${end}(${value}, ${at})`,
  ];
}

/** One member: [TypeScript type, read expression, write statement]. */
function member(id, value, at) {
  const { type, bigEndian } = resolve(id);
  if (type.kind === 'STRUCT') {
    const codec = camel(type.name);
    return [pascal(type.name), `${codec}.read(buffer, ${at})`, `${codec}.write(buffer, ${at}, ${value})`];
  }
  if (type.kind === 'INT' || type.kind === 'ENUM') {
    const [ts, read, write] = integer(type.size, bigEndian);
    return [ts, read(at), write(value, at)];
  }
  if (type.kind !== 'ARRAY') throw new Error(`no codec for a member of kind ${type.kind}`);
  const element = resolve(type.type_id);
  const length = sizeOf(id);
  if (element.type.name === 'char')
    return ['string', `readText(buffer, ${at}, ${length})`, `writeText(buffer, ${at}, ${length}, ${value})`];
  if (element.type.size === 1 || element.bigEndian)
    return [
      'Buffer',
      `Buffer.from(buffer.subarray(${at}, ${at} + ${length}))`,
      `writeBytes(buffer, ${at}, ${length}, ${value})`,
    ];
  const [ts, read, write] = integer(element.type.size, false);
  const where = `${at} + i * ${element.type.size}`;
  return [
    `${ts}[]`,
    `Array.from({ length: ${type.nr_elems} }, (_, i) => ${read(where)})`,
    `for (let i = 0; i < ${type.nr_elems}; i++) ${write(`${value}[i] ?? ${ts === 'bigint' ? '0n' : '0'}`, where)}`,
  ];
}

function enumText(type) {
  const prefix =
    type.name === 'sal_limit' ? 'SAL_' : `${longestPrefix(type.values.map((value) => value.name))}`;
  const lines = type.values.map((value) => `  ${value.name.slice(prefix.length)}: ${value.val},`);
  return `export const ${camel(type.name)} = {\n${lines.join('\n')}\n} as const;\n`;
}

function longestPrefix(names) {
  let prefix = names[0];
  for (const name of names) while (!name.startsWith(prefix)) prefix = prefix.slice(0, -1);
  return prefix.slice(0, prefix.lastIndexOf('_') + 1);
}

function structText(type) {
  const fields = type.members
    .filter((field) => field.name !== 'reserved')
    .map((field) => {
      const offset = field.bits_offset / 8;
      const name = camel(field.name);
      const [ts, read, write] = member(
        field.type_id,
        `value.${name}`,
        offset === 0 ? 'at' : `at + ${offset}`,
      );
      return { name, offset, ts, read, write };
    });
  return [
    `export interface ${pascal(type.name)} {`,
    ...fields.map((field) => `  ${field.name}: ${field.ts};`),
    '}\n',
    `export const ${camel(type.name)} = {`,
    `  size: ${type.size},`,
    `  offset: { ${fields.map((field) => `${field.name}: ${field.offset}`).join(', ')} },`,
    `  read(buffer: Buffer, at = 0): ${pascal(type.name)} {`,
    '    return {',
    ...fields.map((field) => `      ${field.name}: ${field.read},`),
    '    };',
    '  },',
    `  write(buffer: Buffer, at: number, value: ${pascal(type.name)}): void {`,
    ...fields.map((field) => `    ${field.write};`),
    '  },',
    '} as const;\n',
  ].join('\n');
}

/** Each type once, from the first object that has it. */
const texts = { ENUM: new Map(), STRUCT: new Map() };
for (const object of objects) {
  types = typesOf(object);
  for (const type of types.values()) {
    const known = texts[type.kind];
    if (known === undefined || !type.name?.startsWith?.('sal_') || internal.has(type.name)) continue;
    if (!known.has(type.name)) known.set(type.name, type.kind === 'ENUM' ? enumText(type) : structText(type));
  }
}

const text = `// Generated from the BTF of the compiled programs by node-agent/scripts/generate-abi.mjs. Do not edit.
/* eslint-disable */

function readText(buffer: Buffer, at: number, length: number): string {
  const end = buffer.indexOf(0, at);
  return buffer.toString('utf8', at, end < 0 || end > at + length ? at + length : end);
}

function writeText(buffer: Buffer, at: number, length: number, value: string): void {
  if (Buffer.byteLength(value) >= length) throw new RangeError(\`text of more than \${length - 1} bytes: \${value}\`);
  buffer.fill(0, at, at + length);
  buffer.write(value, at, 'utf8');
}

function writeBytes(buffer: Buffer, at: number, length: number, value: Buffer): void {
  if (value.length !== length) throw new RangeError(\`\${value.length} bytes where \${length} belong\`);
  value.copy(buffer, at);
}

${[...texts.ENUM.values()].join('\n')}
${[...texts.STRUCT.values()].join('\n')}`;

if (check) {
  const current = readFileSync(output, 'utf8');
  if (current !== text) {
    console.error(`${output} is stale: run \`npm run bootstrap\` and commit it.`);
    process.exit(1);
  }
} else {
  writeFileSync(output, text);
}
