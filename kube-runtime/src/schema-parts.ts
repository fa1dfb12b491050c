/** What JSON schemas of resources are put together from. */

export const text = { type: 'string', minLength: 1, maxLength: 4096 };

export const formatted = (format: string): object => ({ type: 'string', maxLength: 4096, format });

export const list = (items: object, more: object = {}): object => ({
  type: 'array',
  items,
  maxItems: 4096,
  ...more,
});

export const whole = (minimum: number): object => ({ type: 'integer', minimum });

export const texts = { type: 'object', additionalProperties: { type: 'string' } };

/**
 * A schema of a CRD with formats and words of ours, which an API server knows nothing of (there CEL rules say the same).
 * @param more by the field's path: `ports.items.name`
 * @throws Error where there is no such field
 */
export function speaking(schema: object, more: Record<string, object>): object {
  const whole = structuredClone(schema);
  for (const [path, words] of Object.entries(more)) Object.assign(partAt(whole, path), words);
  return whole;
}

interface Part {
  properties?: Record<string, Part>;
  items?: Part;
}

function partAt(schema: Part, path: string): Part {
  if (path === '') return schema;
  const part = path
    .split('.')
    .reduce<Part | undefined>((at, step) => (step === 'items' ? at?.items : at?.properties?.[step]), schema);
  if (part === undefined) throw new Error(`crds/ has no field ${path}`);
  return part;
}

/** Without unknown fields. */
export function object(properties: Record<string, object>, required: string[]): object {
  return { type: 'object', additionalProperties: false, required, properties };
}

export const metadata = {
  type: 'object',
  required: ['name'],
  properties: {
    name: formatted('name'),
    namespace: formatted('name'),
    uid: text,
    labels: texts,
    annotations: texts,
    creationTimestamp: text,
  },
};
